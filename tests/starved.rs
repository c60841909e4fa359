//! A system from which other programs take the processors: that is not held against it. Nothing may run
//! beside this file, which starves nobody but its own system.
#![cfg(target_os = "linux")]

mod harness;

use harness::{Bench, program};
use serde_json::Value;
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const OUTAGE: &str = r#"
title = "busy neighbours"
system = "system.toml"

[[phase]]
name = "steady"
lasts = "4s"
steady = true

[[phase]]
name = "slower"
lasts = "6s"

[[phase.fault]]
kind = "latency"
on = "peer"
delay = "1ms"

[[phase]]
name = "after"
lasts = "1s"

[[expect]]
id = "FAST-1"
that = "work is done as fast as ever"
kind = "latency"
load = "work"
quantile = "median"
below_steady = "2x"
"#;

/// Programs that take all they can get of one processor, until they are dropped.
struct Greedy(Vec<Child>);

impl Greedy {
    fn start(count: usize, processor: usize) -> Self {
        // It ends by itself, whatever becomes of the test.
        let program = format!(
            "import os, time\nos.sched_setaffinity(0, {{{processor}}})\nend = time.monotonic() + 20\n\
             while time.monotonic() < end: pass"
        );
        let start = |_| {
            Command::new("python3")
                .args(["-c", &program])
                .stdin(Stdio::null())
                .spawn()
                .expect("python3 is missing: run tests/run, which installs it")
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        for one in &mut self.0 {
            let _ = one.kill();
            let _ = one.wait();
        }
    }
}

fn is_in_its_second_phase(bench: &Bench) -> bool {
    let text = std::fs::read_to_string(bench.history_path("outage")).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains(r#""type":"phase""#))
        .count()
        >= 2
}

/// A run beside so many greedy programs, and its history without what was noted of processors.
fn run_beside(greedy: usize) -> (Value, Value, u64) {
    let environment = "DEPENDENCY = \"{dependency.peer.url}\", PROCESSOR = \"0\"";
    let system = program(
        "pinned_app.py",
        "\"--port\", \"{port.app}\"",
        environment,
        "TERM",
    ) + r#"
[dependency.peer]
protocol = "http"
upstream = "embedded:sink"

[load.work]
rate = "30/s"
arrivals = "constant"
request = { path = "/work" }
timeout = "5s"
"#;
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", OUTAGE);
    let mut run = bench.spawn(&["run", "outage.toml"]);
    let began = Instant::now();
    while !is_in_its_second_phase(&bench) {
        assert!(began.elapsed() < Duration::from_secs(60), "no second phase");
        assert!(
            run.try_wait().expect("it can be asked").is_none(),
            "it ended"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let neighbours = Greedy::start(greedy, 0);
    let _ = run.wait();
    drop(neighbours);

    let judged = |history: &str, out: &str| {
        bench.brownout(&["judge", history, "--out", out]);
        let report = std::fs::read_to_string(bench.path().join(out).join("report.json"));
        let report: Value = serde_json::from_str(&report.expect("a report")).expect("it is JSON");
        report["scenarios"][0]["verdicts"][0].clone()
    };
    let told = judged("brownout-report/outage/history.jsonl", "told");
    let text = std::fs::read_to_string(bench.history_path("outage")).expect("a history");
    let (held_up, others): (Vec<&str>, Vec<&str>) = text
        .lines()
        .partition(|line| line.contains(r#""type":"held-up""#));
    let behind = held_up.iter().filter_map(|line| {
        let entry: Value = serde_json::from_str(line).expect("it is JSON");
        entry["behind_others"].as_u64()
    });
    let behind = behind.sum();
    std::fs::write(bench.path().join("untold.jsonl"), others.join("\n") + "\n").expect("a file");
    (told, judged("untold.jsonl", "untold"), behind)
}

#[test]
fn what_other_programs_took_from_a_system_is_not_held_against_it() {
    // Beside so many it is sure to be slower; how much slower is the scheduler's to say.
    for greedy in [6, 12, 24] {
        let (told, untold, behind) = run_beside(greedy);
        assert_ne!(told["status"], "fail", "{told}");
        assert!(behind > 200_000, "{behind} us behind {greedy} others");
        if untold["status"] == "fail" {
            assert_eq!(told["status"], "inconclusive", "{told}");
            let why = told["reason"].as_str().unwrap_or_default();
            assert!(why.contains("other programs"), "{told}");
            return;
        }
    }
    panic!("it was never slower beside others");
}
