//! What would prove that Brownout does not lie when it is itself in trouble: stopped and continued, short
//! of file descriptors, of room for files and of ports, in front of upstreams that vanish, dribble or
//! never read, and of systems that will not go. After each nothing is left running, and the verdict is
//! never a pass that was not measured. The same run without trouble passes, so that each can fail. What was
//! measured while it was itself stopped for a moment is neither passed nor failed where that decides.
//!
//! `tests/runs.rs` has those that kill, interrupt and fill the disk; `tests/processes.rs` has those of
//! single instances.

#![cfg(all(feature = "demo", target_os = "linux"))]

mod harness;

use harness::Bench;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A limit that only a defect reaches.
const LIMIT: Duration = Duration::from_secs(60);

const SCENARIO: &str = r#"title  = "recommendations are slow"
system = "system.toml"

[[phase]]
name   = "steady"
lasts  = "2s"
steady = true

[[phase]]
name  = "in trouble"
lasts = "3s"

  [[phase.fault]]
  kind  = "latency"
  on    = "recommendations"
  delay = "20ms"

[[phase]]
name  = "over"
lasts = "1s"

[[expect]]
id       = "ANSWERED"
that     = "the page is shown"
kind     = "success-rate"
load     = "page"
at_least = "90%"

[[expect]]
id     = "GIVES-UP"
that   = "a call is over in a second"
kind   = "gives-up"
on     = "recommendations"
within = "1s"
"#;

/// A planted system, started so, in front of this upstream.
fn system(command: &str, upstream: &str) -> String {
    format!(
        r#"[system]
command = {command}
url     = "http://127.0.0.1:{{port.app}}"
ready   = {{ within = "30s" }}
stop    = {{ signal = "TERM", within = "1s" }}

[dependency.recommendations]
protocol = "http"
upstream = "{upstream}"

[load.page]
rate     = "20/s"
arrivals = "constant"
request  = {{ path = "/page" }}
timeout  = "5s"
"#
    )
}

const PROGRAM: &str = r#"["{brownout}", "reference", "planted-fallback", "--port", "{port.app}",
  "--twin", "bad", "--dependency", "{dependency.recommendations.url}"]"#;

/// The same from a shell that heeds no TERM, beside a child that does not either.
const STUBBORN: &str = r#"["sh", "-c", '''
trap "" TERM
(trap "" TERM; sleep 1000) &
"$0" reference planted-fallback --port "$1" --twin bad --dependency "$2" &
wait; sleep 1000''', "{brownout}", "{port.app}", "{dependency.recommendations.url}"]"#;

fn bench(command: &str, upstream: &str) -> Bench {
    Bench::new()
        .file("outage.toml", SCENARIO)
        .file("system.toml", &system(command, upstream))
}

const RUN: [&str; 2] = ["run", "outage.toml"];

/// A run with a limit that a shell sets.
fn limited(bench: &Bench, limit: &str) -> Command {
    let brownout = env!("CARGO_BIN_EXE_brownout");
    let mut command = Command::new("sh");
    let script = format!("ulimit {limit} && exec \"$0\" run outage.toml");
    command
        .args(["-c", &script, brownout])
        .current_dir(bench.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// A clock on the wall that jumps each second, ten years to and fro: for whoever asks what time it is, and
/// not for whoever asks how much has passed.
const JUMPING_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    struct timespec passed;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &passed);
    now->tv_sec += (passed.tv_sec % 2 ? 1 : -1) * 315360000L;
  }
  return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  (void)zone;
  int failed = clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return failed;
}
time_t time(time_t *out) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (out) *out = exact.tv_sec;
  return exact.tv_sec;
}
"#;

/// Waits until no process works in the folder any more: a guard may need a moment.
fn nothing_is_left(bench: &Bench) {
    let limit = Instant::now() + LIMIT;
    while works_in(bench) {
        assert!(Instant::now() < limit, "something is left behind");
        thread::sleep(Duration::from_millis(20));
    }
}

fn works_in(bench: &Bench) -> bool {
    let folder = bench.path().canonicalize().expect("a folder");
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    processes
        .filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok())
        .any(|cwd| cwd == folder)
}

/// Starts a run and waits until its trouble begins; what else it says is read by a thread.
fn in_trouble(bench: &Bench) -> Child {
    let mut child = bench
        .command(&RUN)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("brownout starts");
    let lines = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut lines = lines.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("in trouble")));
    thread::spawn(move || lines.for_each(drop));
    child
}

/// An upstream of ours, until this is dropped.
struct Upstream {
    address: String,
    gone: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers at once.
    Well,
    /// Sends a byte of its answer each second.
    Dribbles,
    /// Neither reads nor answers.
    Deaf,
}

impl Upstream {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let gone = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&gone);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let stop = Arc::clone(&stop);
                thread::spawn(move || serve(stream, manner, &stop));
            }
        });
        Self { address, gone }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Whoever waits for a connection looks whether it is over.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(mut stream: TcpStream, manner: Manner, gone: &AtomicBool) {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let mut request = [0; 4096];
    let mut sent = 0;
    while !gone.load(Ordering::SeqCst) {
        match manner {
            Manner::Well => match stream.read(&mut request) {
                Ok(count) if count > 0 && !gone.load(Ordering::SeqCst) => {
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
                _ => return,
            },
            Manner::Dribbles => {
                if stream.write_all(&answer[sent..=sent]).is_err() {
                    return;
                }
                sent = (sent + 1).min(answer.len() - 1);
                thread::sleep(Duration::from_secs(1));
            }
            Manner::Deaf => thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[test]
fn without_trouble_of_ours_it_passes_and_leaves_nothing() {
    let bench = bench(PROGRAM, "embedded:sink");
    for _ in 0..3 {
        let left = bench.brownout(&RUN);
        nothing_is_left(&bench);
        // A machine that is busy with other tests may be too late for its load.
        if left.status == Some(2) && left.stdout.contains("missed its schedule") {
            continue;
        }
        left.assert_status(0);
        return;
    }
    panic!("the machine is too busy");
}

#[test]
fn who_was_stopped_and_continued_blames_nobody_and_passes_nobody() {
    let bench = bench(PROGRAM, "embedded:sink");
    let mut child = in_trouble(&bench);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).expect("it is there");
    // The whole outage goes by meanwhile.
    thread::sleep(Duration::from_millis(2_500));
    kill_process(pid, Signal::CONT).expect("it is there");
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
    nothing_is_left(&bench);
    let report = std::fs::read_to_string(bench.path().join("brownout-report/report.json"));
    let report = report.expect("a report");
    assert!(report.contains("missed its schedule"), "{report}");
}

/// What a program keeps to that asks on its own account: prices, which hang, and its peer's health. The load
/// is so thin that a short stop of ours makes none of it miss its schedule.
const BEATS: &str = r#"title  = "prices hang"
system = "system.toml"

[[phase]]
name   = "steady"
lasts  = "3s"
steady = true

[[phase]]
name  = "in trouble"
lasts = "6s"

  [[phase.fault]]
  kind = "hang"
  on   = "prices"

[[phase]]
name  = "over"
lasts = "1s"

[[expect]]
id     = "GIVES-UP"
that   = "a call for a price is over in 1.2 s"
kind   = "gives-up"
on     = "prices"
within = "1200ms"

[[expect]]
id        = "BEAT"
that      = "the peer is asked twice a second"
kind      = "cadence"
on        = "peer"
every     = "500ms"
tolerance = "300ms"
at_least  = "90%"
"#;

/// A folder with that program, started with these arguments; it leaves there how far it is.
fn beating(arguments: &str) -> Bench {
    let bench = Bench::new();
    let python = harness::python::interpreter();
    let program = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = program.join("tests/systems/beat_app.py");
    let folder = bench.path().to_owned();
    let system = format!(
        r#"[system]
command = [{python:?}, {program:?}, "--port", "{{port.app}}", "--folder", {folder:?}{arguments}]
env     = {{ PRICES = "{{dependency.prices.address}}", PEER = "{{dependency.peer.address}}" }}
url     = "http://127.0.0.1:{{port.app}}"
ready   = {{ within = "60s" }}
stop    = {{ signal = "KILL", within = "5s" }}

[dependency.prices]
protocol = "http"
upstream = "embedded:sink"

[dependency.peer]
protocol = "http"
upstream = "embedded:sink"

[load.look]
rate     = "1/s"
arrivals = "constant"
request  = {{ path = "/" }}
timeout  = "5s"
"#
    );
    bench
        .file("outage.toml", BEATS)
        .file("system.toml", &system)
}

/// Waits until the program has left this file.
fn has_left(bench: &Bench, name: &str) {
    let limit = Instant::now() + LIMIT;
    while !bench.path().join(name).exists() {
        assert!(Instant::now() < limit, "no `{name}`");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How a run is stopped.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    /// Not at all.
    Never,
    /// Once a price did not come in time, while the next one is asked for.
    Meanwhile,
    /// While nothing is asked; then a price is asked for that is waited for much too long.
    Before,
}

/// Longer than the bound on a call by more than a program is late on a busy machine, and too short for more
/// than two operations of the load.
const STOPPED: Duration = Duration::from_millis(1_600);
/// What of the slow call is left when it is first seen is within the bound.
const UNSEEN: Duration = Duration::from_millis(1_300);

/// A run that is stopped so; made again where the machine was too busy for its load.
fn stopped(arguments: &str, stop: Stop) -> harness::Left {
    for _ in 0..3 {
        let bench = beating(arguments);
        let left = stopped_once(&bench, stop);
        nothing_is_left(&bench);
        if !left.was_starved() {
            return left;
        }
    }
    panic!("the machine is too busy");
}

fn stopped_once(bench: &Bench, stop: Stop) -> harness::Left {
    let mut child = in_trouble(bench);
    let pid = Pid::from_child(&child);
    let signal = |signal| kill_process(pid, signal).expect("it is there");
    match stop {
        Stop::Never => {}
        Stop::Meanwhile => {
            has_left(bench, "hung");
            signal(Signal::STOP);
            thread::sleep(STOPPED);
            signal(Signal::CONT);
        }
        Stop::Before => {
            let file = |name: &str| bench.path().join(name);
            std::fs::write(file("pause"), "").expect("a file");
            has_left(bench, "paused");
            signal(Signal::STOP);
            std::fs::write(file("slow"), "").expect("a file");
            std::fs::remove_file(file("pause")).expect("it was there");
            has_left(bench, "asked");
            thread::sleep(UNSEEN);
            signal(Signal::CONT);
        }
    }
    let status = child.wait().expect("it ends").code();
    let history = bench.history("outage");
    let stood_still = |entry: &&serde_json::Value| {
        let at = |key: &str| entry[key].as_u64().unwrap_or_default();
        let lasted = Duration::from_micros(at("to").saturating_sub(at("from")));
        entry["type"] == "stalled" && lasted >= UNSEEN
    };
    let stalls = history.iter().filter(stood_still).count();
    assert_eq!(stalls > 0, stop != Stop::Never, "{stalls}");
    // What was noted is judged alike at any other time.
    let judged = bench.history_path("outage");
    let left = bench.finished(&mut bench.command(&["judge", judged.to_str().expect("a path")]));
    assert_eq!(left.status, status, "{}", left.stdout);
    left
}

#[test]
fn who_was_stopped_neither_passes_nor_fails_what_turns_on_it() {
    let (well, ill) = ("", r#", "--deadline", "3.5", "--every", "2""#);
    let runs = [
        (well, Stop::Never, "pass"),
        (well, Stop::Meanwhile, "inconclusive"),
        (well, Stop::Before, "inconclusive"),
        // What is wrong all the time turns on no stop.
        (ill, Stop::Meanwhile, "fail"),
    ];
    thread::scope(|scope| {
        for (arguments, stop, verdict) in runs {
            scope.spawn(move || {
                let left = stopped(arguments, stop);
                for id in ["GIVES-UP", "BEAT"] {
                    let of = left.verdict_of(id);
                    assert_eq!(of["status"], verdict, "{of:#}");
                    let reason = of["reason"].as_str().unwrap_or_default();
                    let is_said = reason.contains("Brownout itself stood still");
                    assert_eq!(is_said, verdict == "inconclusive", "{of:#}");
                }
            });
        }
    });
}

#[test]
fn without_file_descriptors_nothing_passes() {
    let bench = bench(PROGRAM, "embedded:sink");
    for few in ["-n 14", "-n 20", "-n 26"] {
        let left = bench.finished(&mut limited(&bench, few));
        let status = left.status.expect("it was not killed");
        assert!(
            matches!(status, 2 | 64 | 69),
            "{few}: {status}\n{}{}",
            left.stdout,
            left.stderr
        );
        nothing_is_left(&bench);
    }
}

#[test]
fn without_room_for_its_history_nothing_passes_and_what_there_is_can_be_judged() {
    let bench = bench(PROGRAM, "embedded:sink");
    // In blocks of 512 bytes: the head has room, the run has not.
    let left = bench.finished(&mut limited(&bench, "-f 32"));
    assert_ne!(left.status, Some(0), "{}", left.stdout);
    nothing_is_left(&bench);
    let history = bench.history_path("outage");
    let judged = bench.brownout(&["judge", history.to_str().expect("a path")]);
    judged.assert_status(2);
}

#[test]
fn without_a_port_for_the_system_nothing_is_started() {
    let bench = bench(PROGRAM, "embedded:sink").file("no-folder", "");
    // Ports are reserved by files in the folder for such.
    let mut command = bench.command(&RUN);
    let left = bench.finished(command.env("TMPDIR", bench.path().join("no-folder")));
    left.assert_status(69);
    nothing_is_left(&bench);
}

#[test]
fn an_upstream_that_vanishes_is_no_pass() {
    let upstream = Upstream::start(Manner::Well);
    let bench = bench(PROGRAM, &upstream.address);
    let mut child = in_trouble(&bench);
    drop(upstream);
    let status = child.wait().expect("it ends").code();
    assert!(matches!(status, Some(1 | 2)), "{status:?}");
    nothing_is_left(&bench);
}

#[test]
fn upstreams_that_dribble_or_never_read_hold_nothing_up() {
    for manner in [Manner::Dribbles, Manner::Deaf] {
        let upstream = Upstream::start(manner);
        let bench = bench(PROGRAM, &upstream.address);
        let began = Instant::now();
        // It was never well: there is nothing to judge by.
        bench.brownout(&RUN).assert_status(2);
        assert!(began.elapsed() < LIMIT / 2);
        nothing_is_left(&bench);
    }
}

#[test]
fn a_system_that_will_not_go_is_gone_all_the_same() {
    let bench = bench(STUBBORN, "embedded:sink");
    let left = bench.brownout(&RUN);
    assert!(
        matches!(left.status, Some(0 | 2)),
        "{}{}",
        left.stdout,
        left.stderr
    );
    nothing_is_left(&bench);
}

#[test]
fn a_clock_that_jumps_changes_no_verdict() {
    let bench = bench(PROGRAM, "embedded:sink").file("clock.c", JUMPING_CLOCK);
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "clock.so", "clock.c"])
        .current_dir(bench.path())
        .status();
    assert!(built.expect("a C compiler").success());
    for _ in 0..3 {
        let mut command = bench.command(&RUN);
        command.env("LD_PRELOAD", bench.path().join("clock.so"));
        let left = bench.finished(&mut command);
        nothing_is_left(&bench);
        // What was noted of the clock shows that it did jump.
        let history = bench.history("outage");
        let year = history[0]["began"]
            .as_str()
            .and_then(|began| began.get(..4));
        let year: i32 = year.and_then(|year| year.parse().ok()).expect("a year");
        let is_off = |year: i32| !(2025..2033).contains(&year);
        assert!(is_off(year), "{year}");
        // Everything else is counted from the beginning.
        let times = history.iter().filter_map(|one| one["ended"].as_u64());
        assert!(times.max().is_some_and(|last| last < 120_000_000));
        if left.was_starved() {
            continue;
        }
        left.assert_status(0);
        let judged = bench.history_path("outage");
        let judged = bench.brownout(&["judge", judged.to_str().expect("a path")]);
        judged.assert_status(0);
        return;
    }
    panic!("the machine is too busy");
}

/// The most memory that a process has had, in KiB.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn ten_thousand_connections_at_once_are_borne() {
    // Both ends of each are ours; the run has its own descriptors, as many.
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most).expect("up to the hard limit");
    let given = limit.maximum.unwrap_or(u64::MAX);
    let count = usize::try_from(given.saturating_sub(1_000).min(10_000)).expect("a count");
    assert!(count >= 1_000, "no more than {given} files may be open");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let system = system(PROGRAM, "embedded:sink").replace(
        "upstream = \"embedded:sink\"",
        &format!("upstream = \"embedded:sink\"\nlisten = \"{address}\""),
    );
    let bench = Bench::new()
        .file("outage.toml", SCENARIO)
        .file("system.toml", &system);
    let mut child = in_trouble(&bench);
    let pid = child.id();
    // Some say nothing, some half of something, some ask and never read.
    let says: [&[u8]; 3] = [b"", b"G", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"];
    let crowd: Vec<thread::JoinHandle<Vec<TcpStream>>> = (0..20)
        .map(|_| {
            thread::spawn(move || {
                let within = Duration::from_secs(2);
                let one = |nth: usize| {
                    let mut stream = TcpStream::connect_timeout(&address, within).ok()?;
                    stream.write_all(says[nth % says.len()]).ok()?;
                    Some(stream)
                };
                (0..count / 20).filter_map(one).collect()
            })
        })
        .collect();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(pid).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status.code();
        }
        thread::sleep(Duration::from_millis(20));
    };
    let crowd: usize = crowd
        .into_iter()
        .map(|some| some.join().expect("they came").len())
        .sum();
    assert!(crowd >= count / 2, "{crowd} of {count} came");
    // Whether the system was served beside the crowd, the run says; it is no crash and no hang.
    assert!(matches!(status, Some(0..=2)), "{status:?}");
    assert!(peak > 0 && peak < 1 << 20, "{peak} KiB");
    nothing_is_left(&bench);
    TcpListener::bind(address).expect("the port is free again");
    let history = bench.history_path("outage");
    let judged = bench.brownout(&["judge", history.to_str().expect("a path")]);
    assert_eq!(judged.status, status, "{}", judged.stdout);
}
