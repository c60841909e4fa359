//! Brownout's proxies beside others and beside what is possible at all: the same work through each of
//! them in turn, in one run, round after round, so that a machine that changes its speed changes all.
//!
//! ```text
//! cargo bench --bench peers              every row
//! cargo bench --bench peers -- bulk idle  the rows that have one of the words in their name
//! ```
//!
//! `direct` is no proxy. `floor` is the least that a second process can do: see `floor.rs`. Brownout
//! runs as its users run it, the optimised binary: in a run, where the history is written to disk as it
//! happens, and as `brownout serve`. HAProxy, nginx and Toxiproxy take part if they are on the path,
//! and are said to be missing otherwise; nothing is installed. Client and server are processes of their
//! own, so that the processor time of a proxy's process is what the proxy costs.
//!
//! Under `cargo test` every row is carried out once with next to nothing to do: it shows that the
//! rows work, and measures nothing.
//!
//! A group of rows is one file in `rows/` and a line in [`rows::GROUPS`].

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod floor;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod stand;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((&process::KEEP, rest)) => process::keep(rest),
        Some((&server::ROLE, ports)) => server::serve(ports),
        Some((&floor::COPY, [from, to])) => floor::relay(from, to, floor::Way::Copy),
        Some((&floor::SPLICE, [from, to])) => floor::relay(from, to, floor::Way::Splice),
        _ => measure(&words),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn measure(words: &[&str]) -> std::io::Result<()> {
    let scale = if words.contains(&"--bench") {
        stand::Scale::FULL
    } else {
        stand::Scale::SMOKE
    };
    let wanted = |name: &str| {
        let mut words = words
            .iter()
            .filter(|word| !word.starts_with('-'))
            .peekable();
        words.peek().is_none() || words.any(|word| name.contains(word))
    };
    let groups: Vec<_> = rows::GROUPS
        .iter()
        .filter(|group| wanted(group.name))
        .collect();
    if groups.is_empty() {
        return Ok(());
    }
    let mut stand = stand::Stand::new(scale)?;
    stand.print_head();
    let mut table = table::Table::default();
    for group in groups {
        let began = std::time::Instant::now();
        for row in (group.measure)(&mut stand)? {
            row.print();
            table.add(row);
        }
        eprintln!("[{}: {:.1} s]", group.name, began.elapsed().as_secs_f64());
    }
    stand.print_missing();
    table.print();
    stand.end()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("peers: what processes cost is measured on Linux alone");
}
