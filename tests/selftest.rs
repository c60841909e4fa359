//! What would prove that the calibration is one: a round of all planted systems through the binary, in
//! which no verdict is wrong (what a busy machine keeps from being told is tried again); that nothing
//! of it stays behind, however it ends; and that what it says is what its JSON says. That a wrong
//! verdict is noticed is proved where the account is made, with verdicts that are flipped
//! (`src/selftest`, `src/cli/selftest`).

#![cfg(feature = "demo")]

mod harness;
mod signals;

use harness::Bench;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A limit that only a defect reaches.
const LIMIT: Duration = Duration::from_secs(60);

/// The planted systems.
const SYSTEMS: [&str; 8] = [
    "time-out",
    "fallback",
    "retries",
    "cache-first",
    "queue",
    "pool",
    "breaker",
    "herd",
];

fn json(bench: &Bench) -> Value {
    let text = std::fs::read_to_string(bench.path().join("selftest.json")).expect("it was written");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Of these systems, or of all: those with a twin of which the machine was too busy to tell. All else
/// is as it must be.
fn unclear_after_a_round(only: &[String]) -> Vec<String> {
    let bench = Bench::new();
    let mut arguments = vec!["selftest", "--json", "selftest.json"];
    arguments.extend(only.iter().flat_map(|name| ["--only", name.as_str()]));
    // Once: it tries again by itself, and what it kept would be in the way.
    let left = bench.finished(&mut bench.command(&arguments));
    for line in left.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let account = json(&bench);
    assert_eq!(
        (&account["version"], &account["wrong"]),
        (&1.into(), &0.into()),
        "{}",
        left.stdout
    );
    let rows = account["rows"].as_array().expect("rows");
    let systems = if only.is_empty() {
        SYSTEMS.len()
    } else {
        only.len()
    };
    assert_eq!(rows.len(), 3 * systems, "{}", left.stdout);
    for (row, nth) in rows.iter().zip(0..) {
        let required = ["pass", "fail", "inconclusive"][nth % 3];
        assert_eq!(row["required"], required, "{row}");
        let seen = ["pass", "fail", "inconclusive"].map(|verdict| row[verdict].as_u64());
        assert_eq!(seen.into_iter().flatten().sum::<u64>(), 1, "{row}");
        if row["unclear"] == 0 {
            assert_eq!(row[required], 1, "{row}");
        }
    }
    if only.is_empty() {
        let names: Vec<&str> = rows
            .iter()
            .filter_map(|row| row["system"].as_str())
            .collect();
        assert_eq!(names, SYSTEMS.map(|name| [name; 3]).concat());
    }
    let unclear = rows.iter().filter(|row| row["unclear"] != 0);
    let unclear = unclear.filter_map(|row| row["system"].as_str().map(str::to_owned));
    let unclear: BTreeSet<String> = unclear.collect();
    // What was not as it should be is kept, and nothing else.
    let kept = bench.path().join("brownout-selftest");
    if unclear.is_empty() {
        left.assert_status(0);
        assert!(left.stdout.contains("✓ red is red"), "{}", left.stdout);
        assert!(!kept.exists());
    } else {
        left.assert_status(2);
        assert!(kept.exists());
    }
    unclear.into_iter().collect()
}

#[test]
fn one_round_tells_good_from_bad_and_either_from_what_was_not_measured() {
    let mut unclear = unclear_after_a_round(&[]);
    for _ in 0..4 {
        if !unclear.is_empty() {
            unclear = unclear_after_a_round(&unclear);
        }
    }
    assert!(unclear.is_empty(), "never told: {unclear:?}");
}

#[test]
fn an_unknown_name_and_a_file_that_cannot_be_written_start_nothing() {
    let bench = Bench::new();
    let left = bench.brownout(&["selftest", "--only", "hert"]);
    left.assert_status(64);
    assert!(
        left.stderr.contains("did you mean `herd`?"),
        "{}",
        left.stderr
    );
    let left = bench.brownout(&["selftest", "--json", "no/folder/selftest.json"]);
    left.assert_status(64);
    assert!(!bench.path().join("brownout-selftest").exists());
    let own = bench.path().join("mine/herd-bad-1");
    std::fs::create_dir_all(&own).expect("a folder");
    let left = bench.brownout(&["selftest", "--out", "mine", "--json", "selftest.json"]);
    left.assert_status(64);
    assert!(left.stderr.contains("is there already"), "{}", left.stderr);
    assert!(own.is_dir() && !bench.path().join("selftest.json").exists());
}

/// The processes that a process started, and those that these did.
fn descendants(parent: u32) -> BTreeSet<u32> {
    let out = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid="])
        .output()
        .expect("ps is there");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let pairs: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect();
    let mut found = BTreeSet::from([parent]);
    loop {
        let more = pairs.iter().filter(|(_, parent)| found.contains(parent));
        let more: Vec<u32> = more.map(|(pid, _)| *pid).collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            found.remove(&parent);
            return found;
        }
    }
}

/// Whether a process runs: it exists and is no zombie.
fn runs(pid: u32) -> bool {
    let out = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .expect("ps is there");
    let state = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// Waits until something holds; polls, as another process makes it hold.
fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(Instant::now() < limit, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A calibration with noise, once its noise, its guard and a planted system run; and these processes.
fn under_way(bench: &Bench) -> (Child, BTreeSet<u32>) {
    let child = bench
        .command(&["selftest", "--only", "pool", "--rounds", "1000", "--noise"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("brownout starts");
    let started = until("noise and a planted system", || {
        let found = descendants(child.id());
        let lines = found.iter().filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        let lines: Vec<String> = lines.collect();
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        (count("reference noise") == 2 && count("reference planted-pool") > 0).then_some(found)
    });
    (child, started)
}

#[test]
fn ctrl_c_shows_what_was_done_and_ends_all_of_it() {
    let bench = Bench::new();
    let (child, started) = under_way(&bench);
    signals::interrupt(Pid::from_child(&child));
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("? interrupted after"), "{said}");
    for pid in started {
        until("an end of what was started", || (!runs(pid)).then_some(()));
    }
}

#[test]
fn kill_minus_nine_ends_the_noise_as_well() {
    let bench = Bench::new();
    let (mut child, started) = under_way(&bench);
    kill_process(Pid::from_child(&child), Signal::KILL).expect("it is there");
    child.wait().expect("it ends");
    for pid in started {
        until("an end of what was started", || (!runs(pid)).then_some(()));
    }
}
