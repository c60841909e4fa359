//! What would prove that Brownout does not lie when it is itself in trouble: stopped and continued, short
//! of file descriptors, of room for files and of ports, in front of upstreams that vanish, dribble or
//! never read, and of systems that will not go. After each nothing is left running, and the verdict is
//! never a pass that was not measured. The same run without trouble passes, so that each can fail.
//!
//! `tests/runs.rs` has those that kill, interrupt and fill the disk; `tests/processes.rs` has those of
//! single instances.

#![cfg(all(feature = "demo", target_os = "linux"))]

mod harness;

use harness::Bench;
use rustix::process::{Pid, Signal, kill_process};
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
