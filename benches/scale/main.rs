//! What bounds one machine: how fast load can be made, how much can be judged, how long a run can be.
//!
//! `cargo bench --bench scale` measures all of it, `cargo bench --bench scale -- load` (or `history`, or
//! `soak`) one; see there.

mod history;
mod load;
mod soak;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [load::SYSTEM, ..] => load::serve(),
        [soak::SYSTEM, port, store, ..] => soak::serve(port, store),
        [history::MEASURE, file, ..] => history::measure(file.as_ref()),
        ["history", "write", file, count, ..] => {
            history::write(file.as_ref(), count.parse().expect("a number"));
        }
        _ => {
            // Without the word of `cargo bench` it is a test, that all of this still runs.
            let is_bench = words.contains(&"--bench");
            let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
            let names = ["load", "history", "soak"];
            let is_meant =
                |name| words.contains(&name) || !names.iter().any(|one| words.contains(one));
            if is_meant("load") {
                load::measure(is_bench);
            }
            if is_meant("history") {
                history::table(is_bench, &numbers);
            }
            if is_meant("soak") {
                soak::soak(is_bench, &numbers);
            }
        }
    }
}
