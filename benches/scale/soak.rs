//! Whether a long run stays as it began: the memory of `brownout run` while requests go through it at a
//! high rate, at each quarter of its time.
//!
//! `cargo bench --bench scale -- soak` takes 80 seconds at 1,000 requests a second, `… soak 3600 500` an hour
//! at 500.
//!
//! The load goes to a small system, which asks a dependency for each request, through the proxy, where
//! every request is observed and written down. One phase has a fault that slows a tenth of them.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long before the end of each quarter is looked at the memory.
const BEFORE_END: Duration = Duration::from_secs(3);

/// The argument by which this program is the system.
pub const SYSTEM: &str = "--system-of-soak";

/// Prints what was measured.
pub fn soak(is_bench: bool, numbers: &[u64]) {
    let seconds = numbers.first().copied().unwrap_or(80);
    let rate = numbers.get(1).copied().unwrap_or(1_000);
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), seconds, rate);
    // As a test, that the files still are what they should be.
    if is_bench {
        run(folder.path(), seconds);
    } else {
        let checked = brownout(folder.path(), "check").status();
        assert!(
            checked.expect("it starts").success(),
            "both files are valid"
        );
    }
}

/// Writes both files.
fn put(folder: &Path, seconds: u64, rate: u64) {
    let own = std::env::current_exe().expect("this program has a path");
    let system = format!(
        r#"[system]
command = [{own:?}, "{SYSTEM}", "{{port.app}}", "{{dependency.store.address}}"]
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/", within = "10s" }}

[dependency.store]
protocol = "http"
upstream = "embedded:sink"

[load.ask]
rate = "{rate}/s"
request = {{ path = "/items/{{item}}" }}
vars = {{ item = {{ zipf = 1.1, of = 10000 }} }}
capture = {{ item = "var:item" }}
timeout = "5s"
"#
    );
    let scenario = format!(
        r#"title = "a long run"
system = "system.toml"

[[phase]]
name = "steady"
lasts = "{steady}s"
steady = true

[[phase]]
name = "slow"
lasts = "{slow}s"
  [[phase.fault]]
  kind = "latency"
  on = "store"
  delay = "50ms"
  share = "10%"

[[phase]]
name = "recovery"
lasts = "10s"

[[expect]]
id = "ASKED"
that = "everything is answered"
kind = "success-rate"
load = "ask"
at_least = "99.9%"
"#,
        steady = seconds / 2,
        slow = (seconds / 2).saturating_sub(10).max(5),
    );
    fs::write(folder.join("system.toml"), system).expect("it is written");
    fs::write(folder.join("soak.toml"), scenario).expect("it is written");
}

fn brownout(folder: &Path, command: &str) -> Command {
    let mut brownout = Command::new(env!("CARGO_BIN_EXE_brownout"));
    brownout.args([command, "soak.toml"]).current_dir(folder);
    brownout
}

/// Runs it, and looks at its memory.
fn run(folder: &Path, seconds: u64) {
    let mut run = brownout(folder, "run")
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let quarter = Duration::from_secs(seconds) / 4;
    let mut lines = Vec::new();
    for nth in 1..=4 {
        // A little before its end: the judging, which reads all of it, belongs to none of them.
        let look = (quarter * nth).saturating_sub(BEFORE_END);
        thread::sleep(look.saturating_sub(began.elapsed()));
        let seen = memory(run.id());
        lines.push(format!("after {:>6.1?}: {seen}", began.elapsed()));
    }
    let mut last = String::new();
    let status = loop {
        if let Some(status) = run.try_wait().expect("it can be asked") {
            break status;
        }
        // A process that has ended has no memory any more.
        let now = memory(run.id());
        if !now.is_empty() {
            last = now;
        }
        thread::sleep(Duration::from_millis(50));
    };
    lines.push(format!("judged after {:.1?}: {last}", began.elapsed()));
    let history = folder.join("brownout-report/soak/history.jsonl");
    // One of this size is packed.
    let bytes = fs::metadata(brownout::history::place_of(&history));
    println!("{}", lines.join("\n"));
    println!(
        "{status}; a history of {} bytes",
        bytes.expect("a history").len()
    );
    assert!(status.success(), "it passes");
}

/// What a process has in memory now, and had at most.
fn memory(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let wanted = |line: &&str| ["VmRSS", "VmHWM"].iter().any(|name| line.starts_with(name));
    let lines: Vec<String> = status.lines().filter(wanted).map(plain).collect();
    lines.join(", ")
}

fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The system: asks the store for each request, a thread for each connection.
pub fn serve(port: &str, store: &str) {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    for stream in listener.incoming().flatten() {
        let store = store.to_owned();
        thread::spawn(move || answer(stream, &store));
    }
}

fn answer(mut stream: TcpStream, store: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut asked = BufReader::new(stream.try_clone()?);
    let mut kept: Option<BufReader<TcpStream>> = None;
    while let Some((first, length)) = head(&mut asked)? {
        skip(&mut asked, length)?;
        let path = first.split(' ').nth(1).unwrap_or("/");
        let is_well = path == "/" || ask(&mut kept, store, path).is_ok();
        let status = if is_well { "200 OK" } else { "502 Bad Gateway" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// One request on a kept connection, or once more on a new one.
fn ask(kept: &mut Option<BufReader<TcpStream>>, store: &str, path: &str) -> io::Result<()> {
    for _ in 0..2 {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(store)?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: store\r\n\r\n");
        let sent = connection.get_mut().write_all(request.as_bytes());
        if let (Ok(()), Ok(Some((_, length)))) = (sent, head(&mut connection)) {
            skip(&mut connection, length)?;
            *kept = Some(connection);
            return Ok(());
        }
    }
    Err(io::Error::other("no answer"))
}

/// The first line of a head and the length of its body; `None` at the end.
fn head(from: &mut impl BufRead) -> io::Result<Option<(String, u64)>> {
    let mut first = String::new();
    if from.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    let mut line = String::new();
    while from.read_line(&mut line)? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        line.clear();
    }
    Ok(Some((first, length)))
}

fn skip(from: &mut impl BufRead, length: u64) -> io::Result<()> {
    io::copy(&mut from.take(length), &mut io::sink()).map(drop)
}
