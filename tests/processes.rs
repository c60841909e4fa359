//! Instances as the keeper starts, signals and stops them, with real small programs.
//!
//! What would prove the promise "nothing is left behind": a harness killed with -9 while it runs
//! an instance whose children left the group, the session and even the environment, after which
//! none of their process ids is alive.

use brownout::{
    history::{Observation, ProcessEvent, Recorder},
    process::{InstanceSpec, Keeper, Readiness, SignalError, StartError},
    run::ports::ReservedPort,
    seed::Seed,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A limit that only a defect reaches.
const LIMIT: Duration = Duration::from_secs(30);

struct Bench {
    keeper: Keeper,
    events: mpsc::Receiver<Observation>,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, events) = Recorder::channel(1_000);
        let keeper = keeper(recorder, folder.path());
        Self {
            keeper,
            events,
            folder,
        }
    }

    /// The next event, which must be this one.
    async fn event(&mut self, name: &str) -> ProcessEvent {
        let event = tokio::time::timeout(LIMIT, self.events.recv()).await;
        match event.expect("an event in time") {
            Some(Observation::Process(event)) => {
                assert_eq!(event.event, name, "{event:?}");
                event
            }
            other => panic!("{other:?}"),
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("logs/{name}.log"))).unwrap()
    }

    /// An instance that runs this shell script.
    fn sh(&self, script: &str) -> InstanceSpec {
        self.argv(&["sh", "-c", script])
    }

    fn argv(&self, argv: &[&str]) -> InstanceSpec {
        spec(self.folder.path(), argv)
    }

    /// The process ids that an instance wrote into `pids`, once there are `count`.
    async fn pids(&self, count: usize) -> Vec<i32> {
        let path = self.folder.path().join("pids");
        until(&format!("{count} process ids"), || {
            pids_in(&path).len() >= count
        })
        .await;
        pids_in(&path)
    }
}

fn keeper(recorder: Recorder, folder: &Path) -> Keeper {
    let guard = Path::new(env!("CARGO_BIN_EXE_brownout"));
    Keeper::with_guard(recorder, folder.join("logs"), "test".to_owned(), guard).unwrap()
}

fn spec(folder: &Path, argv: &[&str]) -> InstanceSpec {
    InstanceSpec {
        name: "main".to_owned(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        folder: folder.to_owned(),
        ready: Readiness::Immediately,
        ready_within: LIMIT,
        stop_signal: "TERM",
        stop_within: LIMIT,
    }
}

fn pids_in(path: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}

/// Waits until something holds; polls, as another process makes it hold.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < limit, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs: it exists and is no zombie.
fn runs(pid: i32) -> bool {
    state(pid).is_some_and(|state| !state.starts_with('Z'))
}

fn state(pid: i32) -> Option<String> {
    let out = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    (!state.is_empty()).then_some(state)
}

/// A port that is free as long as the test's process lives.
fn free_port() -> u16 {
    let reserved =
        ReservedPort::take(&mut Seed(u64::from(std::process::id())).stream(&["ports"])).unwrap();
    let port = reserved.port;
    std::mem::forget(reserved);
    port
}

/// Starts one child that left the session (its parent lives) with an empty environment, and one daemon
/// with parents that are gone; writes all their ids, its own first.
const RUNAWAYS: &str = r#"
import os, subprocess, sys, time
def note(pid):
    with open("pids", "a") as file:
        file.write(f"{pid}\n")
note(os.getpid())
note(subprocess.Popen(["sleep", "1000"], start_new_session=True, env={}).pid)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note(os.getpid())
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"#;

#[tokio::test]
async fn an_instance_is_started_ready_and_stopped_by_its_signal() {
    let mut bench = Bench::new();
    let port = free_port().to_string();
    let mut spec = bench.argv(&["python3", "-u", "-m", "http.server", &port]);
    spec.argv
        .extend(["--bind".to_owned(), "127.0.0.1".to_owned()]);
    spec.ready = Readiness::Http {
        url: format!("http://127.0.0.1:{port}/"),
    };
    bench.keeper.start(spec).await.unwrap();
    bench.event("started").await;
    assert!(bench.event("ready").await.ours);
    assert!(bench.keeper.is_alive("main"));
    let pids = bench.keeper.pids("main");
    assert!(!pids.is_empty());

    bench.keeper.stop_all().await;
    bench.event("stopping").await;
    let stopped = bench.event("stopped").await;
    assert!(stopped.ours);
    let detail = stopped.detail.unwrap();
    assert!(
        detail.starts_with("killed by signal 15 (TERM); last output:"),
        "{detail}"
    );
    assert!(!bench.keeper.is_alive("main"));
    assert!(!runs(pids[0]));
    assert!(
        bench.log("main").contains("GET / HTTP/1.1"),
        "{}",
        bench.log("main")
    );
}

#[tokio::test]
async fn an_instance_is_ready_when_its_port_accepts() {
    let mut bench = Bench::new();
    let port = free_port();
    let mut spec = bench.argv(&[
        "python3",
        "-c",
        "import socket, sys, time\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\ntime.sleep(1000)",
    ]);
    spec.argv.push(port.to_string());
    spec.ready = Readiness::Port {
        address: format!("127.0.0.1:{port}"),
    };
    bench.keeper.start(spec).await.unwrap();
    bench.event("started").await;
    bench.event("ready").await;
}

#[tokio::test]
async fn one_that_is_never_ready_is_killed_and_its_output_shown() {
    let mut bench = Bench::new();
    let mut spec = bench.sh("echo waiting for the moon; sleep 1000");
    let port = free_port();
    spec.ready = Readiness::Port {
        address: format!("127.0.0.1:{port}"),
    };
    spec.ready_within = Duration::from_millis(1_500);
    let error = bench.keeper.start(spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "instance `main` was not ready within 1.5s: connection refused; its last output:\n  \
         | waiting for the moon"
    );
    assert!(!bench.keeper.is_alive("main"));
    bench.event("started").await;
    assert!(!bench.event("not-ready").await.ours);
    bench.event("killed").await;
    assert!(bench.event("exited").await.ours);
}

#[tokio::test]
async fn one_that_exits_early_shows_its_last_twenty_lines_and_its_status() {
    let mut bench = Bench::new();
    let mut spec = bench.sh("for i in $(seq 30); do echo line $i >&2; done; exit 3");
    spec.ready = Readiness::Http {
        url: format!("http://127.0.0.1:{}/", free_port()),
    };
    let error = bench.keeper.start(spec).await.unwrap_err();
    let StartError::Exited { status, output, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(status, "exit status 3");
    assert_eq!(output.len(), 20);
    assert_eq!(output[0], "line 11");
    assert!(error.to_string().ends_with("\n  | line 30"), "{error}");
    bench.event("started").await;
    let exited = bench.event("exited").await;
    assert!(!exited.ours);
    assert!(
        exited
            .detail
            .unwrap()
            .starts_with("exit status 3; last output:")
    );
}

#[tokio::test]
async fn an_exit_that_nobody_asked_for_is_noticed_and_its_workers_go_too() {
    let mut bench = Bench::new();
    let script = "sleep 1000 & echo $! > pids; while [ ! -e go ]; do sleep 0.02; done; exit 7";
    bench.keeper.start(bench.sh(script)).await.unwrap();
    bench.event("started").await;
    bench.event("ready").await;
    let worker = bench.pids(1).await[0];
    assert!(runs(worker));
    std::fs::write(bench.folder.path().join("go"), "").unwrap();
    let exited = bench.event("exited").await;
    assert!(!exited.ours);
    assert_eq!(exited.detail.as_deref(), Some("exit status 7"));
    assert!(!bench.keeper.is_alive("main"));
    until("the worker is gone", || !runs(worker)).await;
}

#[tokio::test]
async fn a_killed_instance_can_be_started_again() {
    let mut bench = Bench::new();
    bench
        .keeper
        .start(bench.sh("exec sleep 1000"))
        .await
        .unwrap();
    bench.event("started").await;
    bench.event("ready").await;
    let before = bench.keeper.pids("main");

    bench.keeper.kill("main").await.unwrap();
    bench.keeper.restart("main").await.unwrap();
    bench.event("killed").await;
    let exited = bench.event("exited").await;
    assert!(exited.ours);
    assert_eq!(exited.detail.as_deref(), Some("killed by signal 9 (KILL)"));
    bench.event("started").await;
    bench.event("ready").await;
    assert!(bench.keeper.is_alive("main"));
    assert_ne!(bench.keeper.pids("main"), before);
}

#[tokio::test]
async fn a_registered_instance_runs_only_once_it_is_started() {
    let mut bench = Bench::new();
    bench.keeper.register(bench.sh("exec sleep 1000")).unwrap();
    assert!(!bench.keeper.is_alive("main"));
    assert!(matches!(
        bench.keeper.kill("main").await,
        Err(SignalError::NotRunning(_))
    ));
    bench.keeper.restart("main").await.unwrap();
    bench.event("started").await;
    assert!(bench.keeper.is_alive("main"));
    assert!(matches!(
        bench.keeper.restart("main").await,
        Err(StartError::AlreadyRunning(_))
    ));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_paused_group_stands_still_until_it_is_resumed() {
    let mut bench = Bench::new();
    let script = "sleep 1000 & echo $! > pids; wait";
    bench.keeper.start(bench.sh(script)).await.unwrap();
    bench.event("started").await;
    bench.event("ready").await;
    let worker = bench.pids(1).await[0];
    let stands = || state(worker).is_some_and(|state| state.starts_with('T'));
    bench.keeper.pause("main").await.unwrap();
    bench.event("paused").await;
    until("the worker stands still", stands).await;
    assert!(bench.keeper.is_alive("main"));
    bench.keeper.resume("main").unwrap();
    bench.event("resumed").await;
    until("the worker goes on", || !stands()).await;
    assert_eq!(bench.keeper.pids("main").len(), 2);
    assert!(bench.keeper.memory("main").unwrap() > 4096);
}

#[tokio::test]
async fn a_paused_instance_is_still_asked_to_stop() {
    let mut bench = Bench::new();
    let script = "trap 'echo bye; exit 0' TERM; echo $$ > pids; while :; do sleep 0.02; done";
    bench.keeper.start(bench.sh(script)).await.unwrap();
    bench.pids(1).await;
    bench.keeper.pause("main").await.unwrap();
    bench.keeper.stop_all().await;
    for event in ["started", "ready", "paused", "stopping"] {
        bench.event(event).await;
    }
    let stopped = bench.event("stopped").await;
    let detail = stopped.detail.unwrap();
    assert!(detail.starts_with("exit status 0;"), "{detail}");
    assert!(detail.ends_with("bye"), "{detail}");
}

#[tokio::test]
async fn one_that_will_not_stop_is_killed_after_its_time() {
    let mut bench = Bench::new();
    let mut spec = bench.sh("trap '' TERM; echo $$ > pids; while :; do sleep 0.02; done");
    spec.stop_within = Duration::from_millis(300);
    bench.keeper.start(spec).await.unwrap();
    bench.pids(1).await;
    let began = Instant::now();
    bench.keeper.stop_all().await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    for event in ["started", "ready", "stopping"] {
        bench.event(event).await;
    }
    let stopped = bench.event("stopped").await;
    assert_eq!(stopped.detail.as_deref(), Some("killed by signal 9 (KILL)"));
}

#[tokio::test]
async fn what_is_handed_over_reaches_the_program_and_no_shell() {
    let bench = Bench::new();
    let script = bench.folder.path().join("program");
    std::fs::write(
        &script,
        "#!/bin/sh\nprintf '%s|' \"$@\" \"$GREETING\" \"$PWD\"; echo\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let mut spec = bench.argv(&["./program", "$HOME; ls", "two words", "*"]);
    spec.env.insert("GREETING".to_owned(), "hello".to_owned());
    bench.keeper.start(spec).await.ok();
    let folder = bench.folder.path().canonicalize().unwrap();
    let wanted = format!("$HOME; ls|two words|*|hello|{}|\n", folder.display());
    until("the output is there", || bench.log("main") == wanted).await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let bench = Bench::new();
    let no_such = bench.argv(&["./no-such-program"]);
    let mut no_folder = bench.sh("true");
    no_folder.folder = PathBuf::from("/no/such/folder");
    let mut bad_url = bench.sh("true");
    bad_url.ready = Readiness::Http {
        url: "https://x/".to_owned(),
    };
    for (spec, why) in [
        (no_such, "No such file"),
        (bench.argv(&[]), "no program to start"),
        (no_folder, "no such folder: /no/such/folder"),
        (bad_url, "`https://x/` is not an http:// URL to be ready at"),
    ] {
        let error = bench.keeper.start(spec).await.unwrap_err().to_string();
        assert!(error.starts_with("instance `main`: "), "{error}");
        assert!(error.contains(why), "{error}");
    }
    assert!(matches!(
        bench.keeper.restart("nobody").await,
        Err(StartError::Unknown(_))
    ));
}

#[tokio::test]
async fn nothing_is_started_where_somebody_else_listens() {
    let bench = Bench::new();
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    for ready in [
        Readiness::Port {
            address: address.clone(),
        },
        Readiness::Http {
            url: format!("http://{address}/"),
        },
    ] {
        let mut spec = bench.sh("echo $$ > pids; exec sleep 1000");
        spec.ready = ready;
        let error = bench.keeper.start(spec).await.unwrap_err();
        assert!(matches!(error, StartError::Taken { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    }
    assert!(!bench.keeper.is_alive("main"));
    assert!(!bench.folder.path().join("pids").exists());
}

#[tokio::test]
async fn nothing_is_started_twice_or_after_the_end() {
    let bench = Bench::new();
    bench
        .keeper
        .start(bench.sh("exec sleep 1000"))
        .await
        .unwrap();
    let again = bench.keeper.start(bench.sh("true")).await;
    assert!(
        matches!(again, Err(StartError::AlreadyRunning(_))),
        "{again:?}"
    );
    bench.keeper.stop_all().await;
    let late = bench.keeper.start(bench.sh("true")).await;
    assert!(matches!(late, Err(StartError::Closed(_))), "{late:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_orderly_stop_takes_runaway_children_along() {
    let bench = Bench::new();
    bench
        .keeper
        .start(bench.argv(&["python3", "-c", RUNAWAYS]))
        .await
        .unwrap();
    let pids = bench.pids(3).await;
    assert!(pids.iter().all(|pid| runs(*pid)));
    bench.keeper.stop_all().await;
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_kill_and_a_pause_reach_runaway_children_too() {
    let bench = Bench::new();
    bench
        .keeper
        .start(bench.argv(&["python3", "-c", RUNAWAYS]))
        .await
        .unwrap();
    let pids = bench.pids(3).await;
    let stands = |pid: i32| state(pid).is_some_and(|state| state.starts_with('T'));
    bench.keeper.pause("main").await.unwrap();
    assert!(pids.iter().all(|pid| stands(*pid)), "{pids:?}");
    bench.keeper.resume("main").unwrap();
    until("all go on", || !pids.iter().any(|pid| stands(*pid))).await;
    bench.keeper.kill("main").await.unwrap();
    assert!(pids.iter().all(|pid| !runs(*pid)), "{pids:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_was_killed_where_somebody_still_serves() {
    let bench = Bench::new();
    let address = format!("127.0.0.1:{}", free_port());
    let serve = "import socket, sys, time\nhost, port = sys.argv[1].split(':')\n\
                 s = socket.create_server((host, int(port)), reuse_port=True)\ntime.sleep(1000)";
    let mut spec = bench.argv(&["python3", "-c", serve, &address]);
    spec.ready = Readiness::Port {
        address: address.clone(),
    };
    bench.keeper.start(spec).await.unwrap();
    // Somebody who is none of its processes serves at the same port.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.set_reuseport(true).unwrap();
    other.bind(address.parse().unwrap()).unwrap();
    let other = other.listen(16).unwrap();
    let error = bench.keeper.kill("main").await.unwrap_err();
    assert!(matches!(error, SignalError::StillServed { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
    drop(other);
    assert!(!bench.keeper.is_alive("main"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dropping_the_keeper_kills_at_once() {
    let bench = Bench::new();
    let mut spec = bench.argv(&["python3", "-c", RUNAWAYS]);
    spec.stop_within = LIMIT;
    bench.keeper.start(spec).await.unwrap();
    let pids = bench.pids(3).await;
    drop(bench.keeper);
    assert!(!runs(pids[1]) && !runs(pids[2]), "{pids:?}");
    until("the leader is gone", || !runs(pids[0])).await;
}

const HARNESS: &str = "BROWNOUT_TEST_HARNESS";

/// No test of its own: what `kill_9_of_the_harness_leaves_no_process` runs and kills.
#[tokio::test]
async fn harness_that_waits_to_be_killed() {
    let Ok(folder) = std::env::var(HARNESS) else {
        return;
    };
    let folder = Path::new(&folder);
    let (recorder, _events) = Recorder::channel(1_000);
    let keeper = keeper(recorder, folder);
    keeper
        .start(spec(folder, &["python3", "-c", RUNAWAYS]))
        .await
        .unwrap();
    let mut deaf = spec(
        folder,
        &[
            "sh",
            "-c",
            "trap '' TERM INT HUP PIPE; echo $$ >> pids; while :; do sleep 0.05; done",
        ],
    );
    deaf.name = "deaf".to_owned();
    keeper.start(deaf).await.unwrap();
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kill_9_of_the_harness_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness_that_waits_to_be_killed"])
        .env(HARNESS, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let path = folder.path().join("pids");
    until("all are up", || pids_in(&path).len() == 4).await;
    let pids = pids_in(&path);
    let guards = children(harness.id());
    assert!(pids.iter().all(|pid| runs(*pid)));

    harness.kill().unwrap();
    harness.wait().unwrap();
    for pid in pids {
        until(&format!("process {pid} is gone"), || !runs(pid)).await;
    }
    for guard in guards {
        until("the guard itself is gone", || !runs(guard)).await;
    }
}

#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<i32> {
    let out = Command::new("ps")
        .args(["-o", "pid=", "--ppid", &parent.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .map(|line| line.trim().parse().unwrap())
        .collect()
}
