//! What would prove that a run can be trusted: the same seed decides the same, every way out leaves
//! nothing behind and a history that can be judged, and what cannot start says so with 69.

#![cfg(feature = "demo")]

mod harness;
mod signals;

use harness::{Bench, Left, boto3_system, fetches, program};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const PATIENT: &str = r#", CONNECT_TIMEOUT = "1", READ_TIMEOUT = "5", TOTAL_MAX_ATTEMPTS = "1""#;

/// A third of the requests fails, drawn by request.
const A_THIRD: &str = r#"title = "a third of the requests fails"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "partial"
lasts = "6s"
  [[phase.fault]]
  kind = "error"
  on = "object-store"
  error = "InternalError"
  applied = "maybe"
  share = "33%"

[[phase]]
name = "recovery"
lasts = "until steady, at most 30s"

[[expect]]
id = "ALIVE"
that = "the program stays up"
kind = "alive"
"#;

/// Every request fails for a while.
const ALL_FAIL: &str = r#"title = "every request fails"
system = "system.toml"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "outage"
lasts = "3s"
  [[phase.fault]]
  kind = "error"
  on = "object-store"
  error = "AccessDenied"

[[phase]]
name = "recovery"
lasts = "15s"

[[expect]]
id = "STORED"
that = "what is stored is stored"
kind = "success-rate"
load = "store"
at_least = "99%"

[[expect]]
id = "ALIVE"
that = "the program stays up"
kind = "alive"
"#;

fn bench(scenario: &str) -> Bench {
    let stores = r#"[load.store]
rate = "10/s"
arrivals = "constant"
request = { method = "PUT", path = "/objects/k{n}", body = "a model" }
vars = { n = { sequence = 1000 } }
timeout = "10s"
"#;
    Bench::new()
        .file("system.toml", &boto3_system(PATIENT, stores))
        .file("outage.toml", scenario)
}

/// What was decided for each logical request: (operation, key) to (faults, applied), for every
/// attempt in order.
fn decisions(history: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut decided: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in history.iter().filter(|entry| entry["type"] == "attempt") {
        let request = format!("{} {}", entry["operation"], entry["key"]);
        let decision = format!(
            "{} {} {}",
            entry["faults"], entry["status"], entry["applied"]
        );
        decided.entry(request).or_default().push(decision);
    }
    decided
}

/// How the requests that both runs sent while the fault was in force were decided.
fn compare(one: &[Value], other: &[Value]) -> (usize, usize) {
    let (one, other) = (decisions(one), decisions(other));
    let both = one.keys().filter(|request| other.contains_key(*request));
    let (mut same, mut different) = (0, 0);
    for request in both {
        if one[request] == other[request] {
            same += 1;
        } else {
            different += 1;
        }
    }
    (same, different)
}

#[test]
fn what_is_decided_is_told_while_the_run_goes_on_as_so_far() {
    let left = bench(ALL_FAIL).brownout(&["run", "outage.toml"]);
    left.assert_status(1);
    let lines: Vec<&str> = left.stderr.lines().collect();
    let place = |text: &str| lines.iter().position(|line| line.contains(text));
    let told = place("so far: STORED fails; 1 still open");
    assert!(told > place("outage is over"), "{lines:#?}");
    assert!(told < place("recovery is over"), "{lines:#?}");
    assert!(place("so far STORED fails: ").is_some(), "{lines:#?}");
    assert_eq!(left.verdict("STORED"), "fail");
    // Nothing turned out otherwise.
    assert_eq!(place("of which it was said"), None, "{lines:#?}");
}

#[test]
fn the_same_seed_decides_the_same_for_every_request_and_another_seed_differently() {
    let benches: Vec<Bench> = (0..3).map(|_| bench(A_THIRD)).collect();
    let seeds = ["11", "11", "12"];
    // Side by side: their ports must not collide.
    std::thread::scope(|scope| {
        for (bench, seed) in benches.iter().zip(seeds) {
            scope.spawn(move || {
                bench
                    .brownout(&["run", "outage.toml", "--seed", seed])
                    .assert_status(0);
            });
        }
    });
    let histories: Vec<Vec<Value>> = benches
        .iter()
        .map(|bench| bench.history("outage"))
        .collect();
    let struck = histories[0]
        .iter()
        .filter(|entry| entry["faults"].is_array())
        .count();
    assert!(
        (8..35).contains(&struck),
        "about a third of 60 requests was struck: {struck}"
    );

    let (same, different) = compare(&histories[0], &histories[1]);
    // Requests at the edges of the phase may fall on either side of it.
    assert!(
        same >= 80 && different <= 2,
        "{same} the same, {different} not"
    );
    let (_, different) = compare(&histories[0], &histories[2]);
    assert!(
        different >= 8,
        "another seed decides differently: {different}"
    );
}

/// Waits until `condition` gives something, at most a minute.
fn await_some<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within a minute"
        );
        std::thread::yield_now();
    }
}

/// Starts a run and waits until it has said this; the thread reads what else it says.
fn run_into(bench: &Bench, said: &str) -> (Child, JoinHandle<()>) {
    let mut child = bench
        .command(&["run", "outage.toml", "--seed", "3", "--verbose"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("brownout starts");
    let lines = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut lines = lines.lines().map_while(Result::ok);
    let seen = lines.any(|line| line.contains(said));
    assert!(seen, "the run never said {said:?}");
    (child, std::thread::spawn(move || lines.for_each(drop)))
}

/// The processes that carry this run's program file in their command line.
fn programs_of(bench: &Bench) -> Vec<u32> {
    let folder = bench.path().to_str().expect("a path").to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let here = std::fs::read_link(entry.path().join("cwd"))
            .is_ok_and(|cwd| cwd.to_str() == Some(&folder));
        if here {
            found.push(pid);
        }
    }
    found
}

const LONG: &str = r#"lasts = "60s""#;

#[cfg(target_os = "linux")]
#[test]
fn kill_minus_nine_leaves_no_process_and_a_history_that_can_be_judged() {
    let bench = bench(&A_THIRD.replace(r#"lasts = "6s""#, LONG));
    let (mut child, _lines) = run_into(&bench, "partial");
    assert!(
        programs_of(&bench).len() >= 2,
        "the runner and the program are there"
    );
    child.kill().expect("SIGKILL");
    child.wait().expect("it is gone");
    await_some("the end of every process", || {
        programs_of(&bench).is_empty().then_some(())
    });

    let history = bench.history_path("outage");
    let judged = bench.brownout(&["judge", history.to_str().expect("a path")]);
    // What was seen is judged, and nothing passes on half a run.
    judged.assert_status(2);
    assert!(judged.stdout.contains("ALIVE"), "{}", judged.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_heals_at_once_saves_says_so_and_exits_130() {
    // A probe that is never answered, and has an hour: nobody waits for that.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let probe = format!(
        "\n[[expect]]\nid = \"SILENT\"\nthat = \"somebody answers\"\nkind = \"probe\"\n\
         http = \"http://{}/\"\nevery = \"1h\"\ntimeout = \"1h\"\n",
        silent.local_addr().expect("its address")
    );
    let bench = bench(&(A_THIRD.replace(r#"lasts = "6s""#, LONG) + &probe));
    let (mut child, _lines) = run_into(&bench, "partial");
    let pid = rustix::process::Pid::from_child(&child);
    let asked = Instant::now();
    signals::interrupt(pid);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(60), "it took {took:?}");
    assert!(programs_of(&bench).is_empty(), "nothing is left behind");
    let history = bench.history("outage");
    let last = history.last().expect("a history");
    assert_eq!(
        (&last["type"], &last["how"]),
        (&"ended".into(), &"interrupted".into())
    );
    let report = std::fs::read_to_string(bench.path().join("brownout-report/report.json"));
    assert!(report.expect("a report was saved").contains("interrupted"));
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_while_ledgers_settle_is_no_completed_run() {
    let ledger = r#"capture = { id = "var:n" }

[ledger.stored]
accepted = { load = "store", id = "id" }
delivered = { dependency = "s3", operation = "PutObject", id = "id" }
settle = "60s"
"#;
    let bench = bench(&A_THIRD.replace("until steady, at most 30s", "2s"));
    let system = std::fs::read_to_string(bench.path().join("system.toml")).expect("a file");
    let buckets = r#"buckets = ["models"]"#;
    let captured = format!("{buckets}\ncapture = {{ id = \"key\" }}");
    let system = system.replace(buckets, &captured) + ledger;
    let bench = bench.file("system.toml", &system);
    let (mut child, _lines) = run_into(&bench, "waiting for the ledgers to settle");
    signals::interrupt(rustix::process::Pid::from_child(&child));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let history = bench.history("outage");
    let last = history.last().expect("a history");
    assert_eq!(last["how"], "interrupted");
    assert!(history.iter().all(|entry| entry["type"] != "watched"));
}

#[test]
fn a_system_that_never_becomes_ready_exits_69_with_its_last_output() {
    let system = boto3_system("", &fetches("2/s", "5s"))
        .replace("/healthz", "/objects/nothing-of-this-name")
        .replace(r#"within = "60s""#, r#"within = "4s""#);
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", A_THIRD);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    assert!(left.stderr.contains("main"), "{}", left.stderr);
    assert!(programs_of(&bench).is_empty());
}

#[test]
fn a_system_that_exits_at_once_exits_69_with_its_last_output() {
    let system = boto3_system("", &fetches("2/s", "5s"))
        .replace("\"{port.app}\"]", "\"not a port {port.app}\"]");
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", A_THIRD);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    assert!(
        left.stdout.contains("ValueError"),
        "its last words are shown: {}",
        left.stdout
    );
}

const AGAIN: &str = r#"title = "the worker is killed, and started again"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "gone"
lasts = "3s"
  [[phase.fault]]
  kind = "kill"
  on = "instance:worker"
  restart = true

[[phase]]
name = "recovery"
lasts = "5s"

[[expect]]
id = "ANSWERED"
that = "the page is shown meanwhile"
kind = "success-rate"
load = "page"
at_least = "90%"
"#;

const ALIVE: &str = r#"
[[expect]]
id = "ALIVE"
that = "who is started comes up"
kind = "alive"
"#;

/// A page, and a worker that is killed and started again, with these words more.
fn worker(more: &str) -> Bench {
    let python = harness::python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/strays_app.py");
    let instance = |name: &str, more: &str| {
        format!(
            r#"
[[system.instance]]
name = "{name}"
command = [{python:?}, {program:?}, "{{port.{name}}}"{more}]
env = {{ PEER = "{{dependency.{name}.url}}" }}
folder = "{name}"
url = "http://127.0.0.1:{{port.{name}}}"
ready = {{ path = "/healthz", within = "3s" }}
stop = {{ signal = "KILL", within = "5s" }}
"#
        )
    };
    let sink = |name: &str| {
        format!("\n[dependency.{name}]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\n")
    };
    let system = format!(
        r#"[system]
url = "http://127.0.0.1:{{port.page}}"
{}{}{}{}
[load.page]
rate = "10/s"
arrivals = "constant"
request = {{ path = "/page" }}
timeout = "5s"
"#,
        instance("page", ""),
        instance("worker", more),
        sink("page"),
        sink("worker"),
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", AGAIN)
        .file("alive.toml", &format!("{AGAIN}{ALIVE}"));
    for name in ["page", "worker"] {
        std::fs::create_dir(bench.path().join(name)).expect("a folder");
    }
    bench
}

/// The verdict on `alive` over the run that was.
fn alive(bench: &Bench) -> Left {
    let history = bench.history_path("outage");
    let history = history.to_str().expect("a path");
    bench.brownout(&["judge", history, "--scenario", "alive.toml"])
}

/// When the worker's process asked its peer that has left its group, and when the worker was killed, started
/// again, and ready again.
fn beats(bench: &Bench) -> (Vec<u64>, [Option<u64>; 3]) {
    let history = bench.history("outage");
    let at = |entry: &Value, key: &str| entry[key].as_u64().expect("a moment");
    let beats = history
        .iter()
        .filter(|entry| entry["type"] == "attempt" && entry["dependency"] == "worker")
        .map(|entry| at(entry, "began"))
        .collect();
    let own = history.iter().filter(|entry| entry["instance"] == "worker");
    let own: Vec<&Value> = own.filter(|entry| entry["event"].is_string()).collect();
    let killed = own.iter().position(|entry| entry["event"] == "killed");
    let killed = killed.expect("it was killed");
    let after = |event: &str| {
        let found = own[killed..].iter().find(|entry| entry["event"] == event);
        found.map(|entry| at(entry, "at"))
    };
    (beats, [after("killed"), after("started"), after("ready")])
}

/// A kill reaches who has left the group and the session, with parents that are gone; and who is started again and
/// never ready makes no pass, however well the others do.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_instance_is_gone_with_all_its_processes_and_must_come_back() {
    let (back, away) = (worker(""), worker(r#", "--once""#));
    let run = |bench: &Bench| bench.brownout(&["run", "outage.toml"]);
    let (came_back, stayed_away) = thread::scope(|both| {
        let one = both.spawn(|| run(&back));
        let other = both.spawn(|| run(&away));
        (one.join().expect("it ran"), other.join().expect("it ran"))
    });
    came_back.assert_status(0);
    stayed_away.assert_status(2);
    assert_eq!(stayed_away.verdict("ANSWERED"), "pass");
    assert!(
        stayed_away.stdout.contains("was not ready in time"),
        "{}",
        stayed_away.stdout
    );
    alive(&back).assert_status(0);
    let left = alive(&away);
    left.assert_status(1);
    let said = "1 times an instance exited or did not come up";
    assert!(left.stdout.contains(said), "{}", left.stdout);

    for (bench, is_back) in [(&back, true), (&away, false)] {
        let (beats, [killed, started, ready]) = beats(bench);
        let (killed, started) = (killed.expect("a moment"), started.expect("a moment"));
        let within = |from: u64, to: u64| beats.iter().filter(|at| (from..to).contains(at)).count();
        assert!(within(0, killed) >= 20, "{beats:?}");
        // What was sent just before may only arrive.
        let gone = killed + 500_000;
        assert!(gone + 1_000_000 < started, "{killed} {started}");
        assert_eq!(within(gone, started), 0, "{killed} {started} {beats:?}");
        assert_eq!(ready.is_some(), is_back);
        assert_eq!(within(started, u64::MAX) >= 20, is_back, "{beats:?}");
    }
}

/// Whoever connects is told that nothing works.
fn out_of_order() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let _ = lines.any(|line| line.is_empty());
            let answer = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    address
}

const PRICES: &str = r#"title = "prices cannot be had, as ever"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "outage"
lasts = "3s"
  [[phase.fault]]
  on = "prices"
  FAULT

[[phase]]
name = "recovery"
lasts = "3s"

[[expect]]
id = "ANSWERED"
that = "there are prices, if only remembered ones"
kind = "success-rate"
load = "prices"
at_least = "90%"
"#;

/// A shop that never had any prices but those it remembers, with this about its load.
fn remembering(more: &str, fault: &str) -> Left {
    let environment = r#"PRICES_URL = "{dependency.prices.url}""#;
    let system = program(
        "lease_app.py",
        r#""--port", "{port.app}""#,
        environment,
        "KILL",
    );
    let system = format!(
        r#"{system}
[dependency.prices]
protocol = "http"
upstream = "{}"

[load.prices]
rate = "40/s"
arrivals = "constant"
request = {{ path = "/prices" }}
degraded = {{ header = {{ x-answered-from = "memory" }} }}
timeout = "5s"
{more}"#,
        out_of_order()
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", &PRICES.replace("FAULT", fault));
    bench.brownout(&["run", "outage.toml"])
}

/// What lives on fallbacks alone shows nothing, unless its file says that it always does: then it is
/// judged, either way.
#[test]
fn fallbacks_alone_are_no_steady_state_unless_that_is_usual() {
    let usual = "usually_degraded = \"100%\"\n";
    let (error, hang) = ("kind = \"error\"\n  status = 503", "kind = \"hang\"");
    let [unusual, kept, broken] = thread::scope(|all| {
        [("", error), (usual, error), (usual, hang)]
            .map(|(more, fault)| all.spawn(move || remembering(more, fault)))
            .map(|run| run.join().expect("it ran"))
    });
    unusual.assert_status(2);
    assert_eq!(unusual.verdict("ANSWERED"), "inconclusive");
    let why = unusual.verdict_of("ANSWERED")["reason"].as_str();
    let why = why.unwrap_or_default();
    assert!(why.contains("were answered by a fallback"), "{why}");
    kept.assert_status(0);
    assert_eq!(kept.verdict("ANSWERED"), "pass");
    // All its leases wait for what never comes, and there is none for the next.
    broken.assert_status(1);
    assert_eq!(broken.verdict("ANSWERED"), "fail");
}

#[test]
fn an_instance_that_dies_while_others_still_start_exits_69() {
    let system = boto3_system("", &fetches("2/s", "5s"));
    let (head, rest) = system.split_once("command = ").expect("a command");
    let (command, rest) = rest.split_once('\n').expect("a line");
    let python = harness::python::interpreter();
    let instances = format!(
        r#"[[system.instance]]
name = "api"
command = {command}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}

[[system.instance]]
name = "worker"
command = [{python:?}, "-c", "print('no work here'); raise SystemExit(3)"]

[dependency.s3]"#
    );
    let rest = rest.replace("ready = { path = \"/healthz\", within = \"60s\" }\n", "");
    let rest = rest.replace("stop = { signal = \"TERM\", within = \"5s\" }\n", "");
    let system = format!("{head}{rest}").replace("[dependency.s3]", &instances);
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", A_THIRD);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    assert!(
        left.stdout.contains("worker") && left.stdout.contains("no work here"),
        "{}",
        left.stdout
    );
    assert!(programs_of(&bench).is_empty());
}

#[test]
fn an_upstream_that_is_not_there_exits_69_before_the_system_is_started() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let system = boto3_system("", &fetches("2/s", "5s")).replace(
        "upstream = \"embedded\"\nbuckets = [\"models\"]",
        &format!("upstream = \"{address}\""),
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", A_THIRD);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    assert!(
        left.stderr.contains("s3") && left.stderr.contains(&address.to_string()),
        "{}",
        left.stderr
    );
}

#[test]
fn a_fixed_port_that_is_taken_exits_69_and_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let system = boto3_system("", &fetches("2/s", "5s")).replace(
        "role = \"object-store\"",
        &format!("role = \"object-store\"\nlisten = \"{address}\""),
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", A_THIRD);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    assert!(left.stderr.contains("in use"), "{}", left.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_everything_is_healed() {
    let bench = bench(A_THIRD);
    std::fs::create_dir_all(bench.path().join("brownout-report/outage")).expect("a folder");
    // /dev/full takes the opening and refuses every write.
    std::os::unix::fs::symlink("/dev/full", bench.history_path("outage")).expect("a link");
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(2);
    assert!(left.stdout.contains("history.jsonl"), "{}", left.stdout);
    assert!(
        left.stdout.contains("nothing was judged"),
        "{}",
        left.stdout
    );
    assert!(programs_of(&bench).is_empty());
}

#[test]
fn a_large_history_is_packed_once_it_is_judged_and_judged_again_to_the_same() {
    // Long lines, so that few requests make a large file.
    let long = format!(
        "[load.long]\nrate = \"60/s\"\nrequest = {{ path = \"/long/{}\" }}\ntimeout = \"10s\"\n",
        "x".repeat(50_000)
    );
    let loads = fetches("5/s", "10s") + &long;
    let bench = Bench::new()
        .file("system.toml", &boto3_system("", &loads))
        .file("outage.toml", A_THIRD);
    let ran = bench.brownout(&["run", "outage.toml"]);
    // What is asked here is how it is kept: where the machine lets the load be late, the run is inconclusive.
    let status = ran.status.expect("it ended by itself");
    assert!([0, 2].contains(&status), "{}\n{}", ran.stdout, ran.stderr);
    let plain = bench.history_path("outage");
    let packed = plain.with_extension("jsonl.gz");
    assert!(packed.is_file() && !plain.exists());
    let mut unpacked = Vec::new();
    let mut history = brownout::history::open(&packed).expect("a history");
    history.read_to_end(&mut unpacked).expect("it is whole");
    assert!(unpacked.len() as u64 > brownout::history::PACK_BEYOND);

    let read = |folder: &str| {
        let text = std::fs::read(bench.path().join(folder).join("report.json"));
        let mut report: Value =
            serde_json::from_slice(&text.expect("a report")).expect("it is JSON");
        let history = report["scenarios"][0]["history"].take();
        // Where a report was written is no part of what it says.
        report["files"].take();
        (report, history)
    };
    let (_, named) = read("brownout-report");
    assert_eq!(named, "brownout-report/outage/history.jsonl.gz");
    // By both names, and as it was before.
    std::fs::write(bench.path().join("as-it-was.jsonl"), &unpacked).expect("a file");
    for (file, out) in [
        ("brownout-report/outage/history.jsonl", "by-its-name"),
        ("brownout-report/outage/history.jsonl.gz", "packed"),
        ("as-it-was.jsonl", "plain"),
    ] {
        let judged = bench.brownout(&["judge", file, "--out", out]);
        judged.assert_status(status);
        assert_eq!(read(out).0, read("by-its-name").0, "{file}");
    }
}

/// Three seconds, of which the second fails every request.
const SHORT: &str = r#"title = "every request fails for a second"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "1s"
steady = true

[[phase]]
name = "outage"
lasts = "1s"
  [[phase.fault]]
  kind = "error"
  on = "object-store"
  error = "AccessDenied"

[[phase]]
name = "recovery"
lasts = "1s"

[[expect]]
id = "ALIVE"
that = "the program stays up"
kind = "alive"
"#;

#[test]
fn a_fixed_port_is_refused_while_a_stranger_has_it_and_used_by_one_run_at_a_time() {
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = stranger.local_addr().expect("its address");
    let bench = bench(SHORT).file("two.toml", SHORT);
    let system = std::fs::read_to_string(bench.path().join("system.toml")).expect("a file");
    let system = system.replace("{port.app}", &address.port().to_string());
    let bench = bench.file("system.toml", &system);
    let run = ["run", "outage.toml", "two.toml"];
    let refused = bench.brownout(&run);
    refused.assert_status(69);
    let said = format!("somebody else listens at {address}");
    let told = refused.stdout.clone() + &refused.stderr;
    assert!(told.contains(&said), "{told}");
    drop(stranger);
    let left = bench.brownout(&run);
    left.assert_status(0);
    let said = format!("2 scenarios run one after another, as all of them need {address}");
    assert!(left.stderr.contains(&said), "{}", left.stderr);
}

/// When the run of a scenario began and when it ended.
fn lasted(bench: &Bench, stem: &str) -> (jiff::Timestamp, jiff::Timestamp) {
    let history = bench.history(stem);
    let began = history[0]["began"].as_str().expect("a moment");
    let began: jiff::Timestamp = began.parse().expect("a moment");
    let last = history.last().expect("an end");
    assert_eq!(last["type"], "ended", "{last}");
    let micros = last["at"].as_u64().expect("a moment");
    (began, began + Duration::from_micros(micros))
}

#[test]
fn scenarios_that_share_a_real_server_run_one_after_another_and_say_why() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("its address");
    let bench = bench(SHORT).file("two.toml", SHORT);
    let system = std::fs::read_to_string(bench.path().join("system.toml")).expect("a file");
    let run = ["run", "outage.toml", "two.toml"];
    let said = |address: SocketAddr| {
        format!("2 scenarios run one after another, as all of them need {address}")
    };
    // With servers of their own they wait for nobody.
    let left = bench.brownout(&run);
    assert!(
        !left.stderr.contains("one after another"),
        "{}",
        left.stderr
    );
    let (one, two) = (lasted(&bench, "outage"), lasted(&bench, "two"));
    assert!(one.0 < two.1 && two.0 < one.1, "{one:?} and {two:?}");

    let shared = format!(
        "\n[dependency.database]\nprotocol = \"tcp\"\nupstream = \"localhost:{}\"\n",
        address.port()
    );
    let bench = bench.file("system.toml", &(system + &shared));
    let left = bench.brownout(&run);
    assert!(left.stderr.contains(&said(address)), "{}", left.stderr);
    let (one, two) = (lasted(&bench, "outage"), lasted(&bench, "two"));
    assert!(one.1 <= two.0 || two.1 <= one.0, "{one:?} and {two:?}");
}

#[test]
fn nobody_is_taken_for_a_system_whose_instances_have_no_url() {
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = stranger.local_addr().expect("its address");
    let system = format!(
        r#"[system]
url = "http://{address}"

[[system.instance]]
name = "web"
command = ["sleep", "1000"]

[dependency.object-store]
protocol = "s3"
upstream = "embedded"

[load.ask]
rate = "10/s"
request = {{ path = "/" }}
"#
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", &SHORT.replace("AccessDenied", "SlowDown"));
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    let told = left.stdout.clone() + &left.stderr;
    let said = format!("somebody else listens at {address} already, where load is to go");
    assert!(told.contains(&said), "{told}");
    let forewarned = "no instance has this address as its `url`";
    assert!(left.stderr.contains(forewarned), "{}", left.stderr);
    assert!(
        bench
            .history("outage")
            .iter()
            .all(|entry| entry["type"] != "process")
    );
    // Nobody is there, so that the system can be asked: it does not answer.
    drop(stranger);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(2);
    let history = bench.history("outage");
    assert!(history.iter().any(|entry| entry["type"] == "operation"));
    let system = system.replace(
        "name = \"web\"",
        &format!("name = \"web\"\nurl = \"http://{address}\""),
    );
    let bench = bench.file("system.toml", &system);
    let left = bench.brownout(&["check", "outage.toml"]);
    assert!(!left.stderr.contains(forewarned), "{}", left.stderr);
}

#[test]
fn a_system_without_url_is_judged_by_what_it_calls() {
    const WORKER: &str = r#"
import os, time, urllib.request
for tick in range(1000000):
    try:
        urllib.request.urlopen(os.environ["UP"] + "/tick/%d" % tick, timeout=1).read()
    except OSError:
        pass
    time.sleep(0.1)
"#;
    let system = format!(
        r#"[system]
command = [{:?}, "worker.py"]
env = {{ UP = "{{dependency.api.url}}" }}

[dependency.api]
protocol = "http"
upstream = "embedded:sink"
"#,
        harness::python::interpreter()
    );
    let scenario = r#"title = "the API hangs"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "outage"
lasts = "10s"
  [[phase.fault]]
  kind = "hang"
  on = "api"

[[phase]]
name = "recovery"
lasts = "2s"

[[expect]]
id = "GIVES-UP"
that = "the worker waits no longer than a moment"
kind = "gives-up"
on = "api"
within = "WITHIN"
"#;
    for (within, verdict) in [("6s", "pass"), ("300ms", "fail")] {
        let bench = Bench::new()
            .file("worker.py", WORKER)
            .file("system.toml", &system)
            .file("outage.toml", &scenario.replace("WITHIN", within));
        let left = bench.brownout(&["run", "outage.toml"]);
        assert_eq!(
            left.verdict("GIVES-UP"),
            verdict,
            "{}\n{}",
            left.stdout,
            left.stderr
        );
    }
}

#[test]
fn an_external_system_that_speaks_tls_is_run_behind_the_ingress() {
    let there = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0"));
    let there = there.expect("a port");
    let address = there.local_addr().expect("its address");
    let listen = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = listen.local_addr().expect("its address");
    drop(listen);
    let system = format!(
        r#"[system]
external = "https://{address}"

[dependency.api]
protocol = "http"
upstream = "embedded:sink"
listen = "{free}"

[ingress]
name = "visitors"
"#
    );
    let scenario = SHORT
        .replace("object-store", "api")
        .replace("error = \"AccessDenied\"", "status = 503");
    let alive = "that = \"the program stays up\"\nkind = \"alive\"";
    assert!(scenario.contains(alive));
    let served = "that = \"visitors are served\"\nkind = \"success-rate\"\nload = \"visitors\"\n\
                  at_least = \"99%\"";
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", &scenario.replace(alive, served));
    // Nobody came, and nothing can be said.
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(2);
    assert_eq!(
        bench.history("outage").last().expect("an end")["how"],
        "completed"
    );
    drop(there);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(69);
    let told = left.stdout.clone() + &left.stderr;
    assert!(told.contains("does not answer"), "{told}");
}

/// A pipe that takes no more: whoever writes there waits for somebody to read.
#[cfg(target_os = "linux")]
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("it does not block us");
    for piece in [4096, 1] {
        while writer.write(&vec![b'.'; piece]).is_ok() {}
    }
    rustix::io::ioctl_fionbio(&writer, false).expect("it blocks others");
    (reader, writer)
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_heals_also_where_nobody_reads_what_is_said() {
    let bench = bench(&A_THIRD.replace(r#"lasts = "6s""#, LONG));
    let (unread, full) = full_pipe();
    let mut child = bench
        .command(&["run", "outage.toml", "--seed", "3"])
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .expect("brownout starts");
    await_some("the fault", || {
        let history = std::fs::read_to_string(bench.history_path("outage")).ok()?;
        history.contains(r#""type":"armed""#).then_some(())
    });
    signals::interrupt(rustix::process::Pid::from_child(&child));
    let status = await_some("the end", || child.try_wait().expect("it is ours"));
    assert_eq!(status.code(), Some(130));
    drop(unread);
    assert!(programs_of(&bench).is_empty(), "nothing is left behind");
    let history = bench.history("outage");
    assert_eq!(history.last().expect("an end")["how"], "interrupted");
    let report = std::fs::read_to_string(bench.path().join("brownout-report/report.json"));
    assert!(report.expect("a report was saved").contains("interrupted"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_phases_of_others_go_on_where_nobody_reads_what_is_said() {
    let longer = SHORT.replacen("lasts = \"1s\"", "lasts = \"8s\"", 1);
    let bench = bench(SHORT).file("two.toml", &longer);
    let (mut unread, full) = full_pipe();
    let mut child = bench
        .command(&["run", "outage.toml", "two.toml", "--jobs", "2"])
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .expect("brownout starts");
    for stem in ["outage", "two"] {
        await_some("the end of both", || {
            let history = std::fs::read_to_string(bench.history_path(stem)).ok()?;
            history.contains(r#""type":"ended""#).then_some(())
        });
    }
    // They end, and what they said waits for whoever reads it at last.
    assert_eq!(child.try_wait().expect("it is ours"), None);
    let mut said = String::new();
    unread.read_to_string(&mut said).expect("text");
    let status = child.wait().expect("it ends").code();
    assert!([Some(0), Some(2)].contains(&status), "{status:?}\n{said}");
    for name in ["outage: ", "two: "] {
        assert!(said.contains(&format!("{name}completed")), "{said}");
    }
}

/// Sends requests one after another, as somebody else's load, until the door is closed.
fn others_load(address: &str) {
    use std::io::{Read, Write};
    while let Ok(mut stream) = std::net::TcpStream::connect(address) {
        let request = "GET /objects/warm HTTP/1.1\r\nHost: system\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        if stream.write_all(request.as_bytes()).is_err() || stream.read_to_end(&mut answer).is_err()
        {
            return;
        }
    }
}

#[test]
fn other_peoples_load_through_the_ingress_is_judged_like_our_own() {
    let door = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = door.local_addr().expect("its address").to_string();
    drop(door);
    let ingress =
        format!("[ingress]\nname = \"visitors\"\nlisten = \"{address}\"\ntimeout = \"5s\"\n");
    let expect = r#"
[[expect]]
id = "VISITORS"
that = "visitors are served although the store fails"
kind = "success-rate"
load = "visitors"
during = ["partial"]
at_least = "99%"
"#;
    let scenario = A_THIRD.replace("share = \"33%\"", "share = \"100%\"") + expect;
    let bench = Bench::new()
        .file("system.toml", &boto3_system(PATIENT, &ingress))
        .file("outage.toml", &scenario);
    let (mut child, lines) = run_into(&bench, "steady");
    let visitors = std::thread::spawn(move || others_load(&address));
    let status = child.wait().expect("it ends");
    visitors.join().expect("the visitors left");
    lines.join().expect("everything said was read");

    assert_eq!(status.code(), Some(1), "the visitors were not served");
    let history = bench.history("outage");
    let came = history
        .iter()
        .filter(|entry| entry["source"] == "ingress")
        .count();
    assert!(came > 50, "{came} requests came through the ingress");
}

/// The scenario of a system with very many dependencies, one of which fails.
const ONE_OF_MANY: &str = r#"title = "one of two hundred fails"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "the seventh fails"
lasts = "3s"
  [[phase.fault]]
  kind = "error"
  on = "d7"
  status = 503

[[phase]]
name = "recovery"
lasts = "until steady, at most 15s"

[[expect]]
id = "ALL"
that = "the others are not harmed"
kind = "success-rate"
load = "all"
during = "the seventh fails"
at_least = "95%"

[[expect]]
id = "SEVENTH"
that = "nobody notices the seventh"
kind = "success-rate"
load = "seventh"
during = "the seventh fails"
at_least = "95%"
"#;

#[test]
fn two_hundred_dependencies_in_one_file_are_each_reached_and_judged() {
    const COUNT: usize = 200;
    let urls: Vec<String> = (0..COUNT)
        .map(|nth| format!("{{dependency.d{nth}.url}}"))
        .collect();
    let environment = format!("DEPENDENCIES = \"{}\"", urls.join(" "));
    let mut system = program(
        "hub_app.py",
        "\"--port\", \"{port.app}\"",
        &environment,
        "TERM",
    );
    for nth in 0..COUNT {
        system +=
            &format!("[dependency.d{nth}]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\n");
    }
    system += r#"
[load.all]
rate = "80/s"
arrivals = "constant"
request = { path = "/call/{n}" }
vars = { n = { sequence = 199 } }
timeout = "5s"

[load.seventh]
rate = "20/s"
arrivals = "constant"
request = { path = "/call/7" }
timeout = "5s"

[load.last]
rate = "2/s"
arrivals = "constant"
request = { path = "/call/0" }
timeout = "5s"
"#;
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", ONE_OF_MANY);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(1);
    assert_eq!(left.verdict("SEVENTH"), "fail");
    let all = left.verdict_of("ALL");
    let why = all["reason"].as_str().unwrap_or_default();
    let is_busy = all["status"] == "inconclusive" && why.contains("missed its schedule");
    assert!(all["status"] == "pass" || is_busy, "{all}");
    let dependencies = left.report["scenarios"][0]["dependencies"].as_array();
    let dependencies = dependencies.expect("they are in the report");
    assert_eq!(dependencies.len(), COUNT);
    for one in dependencies {
        let attempts = &one["attempts"];
        assert!(attempts["total"].as_u64() > Some(0), "{one}");
        let is_hit = attempts["faulty"].as_u64() > Some(0);
        assert_eq!(is_hit, one["name"] == "d7", "{one}");
    }
}

/// A server that greets, and answers whatever comes.
fn speaking(
    greeting: &[u8],
    answer: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let greeting = greeting.to_vec();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (greeting, answer) = (greeting.clone(), answer.clone());
            thread::spawn(move || {
                let mut heard = [0; 64 * 1024];
                let mut said = stream.write_all(&greeting);
                while said.is_ok() {
                    match stream.read(&mut heard) {
                        Ok(count) if count > 0 => said = stream.write_all(&answer(&heard[..count])),
                        _ => return,
                    }
                }
            });
        }
    });
    address
}

/// Redis, PostgreSQL and MySQL as far as it takes to be told passwords and statements, and to quote them
/// when they refuse.
fn confidants() -> [SocketAddr; 3] {
    let redis = speaking(b"", |_| b"-ERR no `planted-quoted`\r\n".to_vec());
    let postgres = speaking(b"", |heard| match heard[0] {
        0 => b"R\0\0\0\x08\0\0\0\x03".to_vec(),
        b'p' => b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec(),
        _ => {
            let said = b"SERROR\0C42601\0Mnear 'planted-quoted'\0\0";
            let length = u32::try_from(said.len() + 4).expect("a length");
            let ready = b"Z\0\0\0\x05I";
            [b"E", &length.to_be_bytes()[..], said, ready].concat()
        }
    });
    let greeting = [
        b"\x0a8.0.36\0\x07\0\0\0abcdefgh\0\xff\xff\x21\x02\0\xff\xdf\x15".as_slice(),
        &[0; 10],
        b"ijklmnopqrst\0mysql_native_password\0",
    ]
    .concat();
    let packet = |number: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a length");
        [&[length, 0, 0, number], payload].concat()
    };
    let mysql = speaking(&packet(0, &greeting), move |heard| match heard[3] {
        1 => packet(2, b"\0\0\0\x02\0\0\0"),
        _ => packet(1, b"\xff\x28\x04#42000near 'planted-quoted'"),
    });
    [redis, postgres, mysql]
}

/// A receiver of traces; what it was sent, without the heads.
fn receiver() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let bodies = Arc::<Mutex<String>>::default();
    let kept = Arc::clone(&bodies);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
                let mut heard = Vec::new();
                // It is a short request; its end is not looked for.
                let _ = stream.read_to_end(&mut heard);
                let text = String::from_utf8_lossy(&heard).into_owned();
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                kept.lock().expect("unbroken").push_str(body);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
                );
            });
        }
    });
    (address, bodies)
}

/// Every file below a folder.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// What of the secrets is in a text: as it is, or as it is sent with a password.
fn given_out(text: &str) -> Vec<String> {
    let plain = text.match_indices("planted-").map(|(at, _)| {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let rest = &text[at..];
        let around = &text[text.floor_char_boundary(at.saturating_sub(60))..at];
        let end = rest.find(|c| !letter(c)).unwrap_or(rest.len());
        format!("{} behind {around:?}", &rest[..end])
    });
    // `app:planted-basic` in base64.
    let basic = text
        .contains("YXBwOnBsYW50ZWQtYmFzaWM")
        .then(|| "the basic one".to_owned());
    plain.take(5).chain(basic).collect()
}

/// A system that tells its dependencies secrets, with some in its file.
fn secretive([redis, postgres, mysql]: [SocketAddr; 3]) -> String {
    let head = program(
        "secretive.py",
        r#""{port.app}", "--api-key", "planted-argument""#,
        r#"WEB = "{dependency.web.address}", STORE = "{dependency.store.address}",
            CACHE = "{dependency.cache.address}", DATABASE = "{dependency.database.address}",
            SHOP = "{dependency.shop.address}", API_KEY = "planted-file", PLAIN = "planted-plain",
            DSN = "postgres://app:planted-dsn@{dependency.database.address}/app",
            FROM_OUTSIDE = "{env.OUTSIDE}""#
            .replace('\n', " ")
            .as_str(),
        "TERM",
    );
    format!(
        r#"# The password is planted-comment.
{head}
[dependency.web]
protocol = "http"
role = "prices"
upstream = "embedded:sink"
answer = {{ status = 200, body = "fine" }}

[dependency.store]
protocol = "s3"
upstream = "embedded"

[dependency.cache]
protocol = "redis"
upstream = "{redis}"

[dependency.database]
protocol = "postgres"
upstream = "{postgres}"

[dependency.shop]
protocol = "mysql"
upstream = "{mysql}"

[load.page]
rate = "5/s"
arrivals = "constant"
request = {{ path = "/page?token=planted-target", headers = {{ Authorization = "Bearer planted-load" }} }}
timeout = "5s"
"#
    )
}

const PRICES_FAIL: &str = r#"title = "prices fail"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "outage"
lasts = "3s"
  [[phase.fault]]
  kind = "error"
  on = "prices"
  status = 503
  headers = { Set-Cookie = "id=planted-fault" }
  body = '{"token": "planted-reply"}'
  when = { header = { authorization = "Bearer planted-*" } }

[[phase]]
name = "recovery"
lasts = "until steady, at most 20s"

[[expect]]
id = "SHOWN"
that = "the page is shown"
kind = "success-rate"
load = "page"
at_least = "99%"

[[expect]]
id = "TRIES"
that = "prices are asked for once"
kind = "attempts"
on = "prices"
at_most = 1
"#;

#[test]
fn no_output_gives_out_a_secret() {
    let (traces, sent) = receiver();
    let system = secretive(confidants());
    // What is wrong is shown with its line, and what it quotes with it.
    let wrong = system
        .replace(
            "{dependency.database.address}/app",
            "{dependency.databse.address}/app",
        )
        .replace(
            "upstream = \"embedded\"",
            "upstream = \"https://app:planted-upstream@127.0.0.1:9000\"",
        )
        .replace(
            "timeout = \"5s\"",
            "timeout = \"5s\"\nheaders = { Cookie = \"planted-unknown\" }",
        );
    let bench = Bench::new()
        .file("outage.toml", PRICES_FAIL)
        .file("system.toml", &system)
        .file("wrong.toml", &wrong)
        .file("torn.toml", &system.replace("[load.page]", "[load.page"));
    let command = |arguments: &[&str]| {
        let mut command = bench.command(arguments);
        command
            .env("OUTSIDE", "planted-outside")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{traces}"))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=planted-receiver");
        command
    };
    let history = "brownout-report/outage/history.jsonl";
    let mut said = Vec::new();
    for (arguments, status) in [
        (&["check", "wrong.toml"][..], 64),
        (&["check", "torn.toml"], 64),
        (&["plan", "outage.toml"], 0),
        (
            &[
                "run",
                "outage.toml",
                "--verbose",
                "--annotations",
                "github",
                "--append-summary",
                "summary-of-all.md",
            ],
            1,
        ),
        (&["judge", history, "--out", "judged"], 1),
        (
            &["diff", "brownout-report/report.json", "judged/report.json"],
            2,
        ),
        (
            &[
                "matrix",
                "--system",
                "system.toml",
                "--on",
                "prices",
                "--fault",
                "error",
                "--steady",
                "1s",
                "--recovery",
                "10s",
            ],
            0,
        ),
    ] {
        let left = bench.finished(&mut command(arguments));
        left.assert_status(status);
        said.push((
            arguments.join(" "),
            format!("{}{}", left.stdout, left.stderr),
        ));
    }
    // They were told: a test in which nobody was is none.
    let observed = bench.history("outage");
    for dependency in ["web", "store", "cache", "database", "shop"] {
        let of_it = |one: &&Value| one["type"] == "attempt" && one["dependency"] == dependency;
        let count = observed.iter().filter(of_it).count();
        assert!(count >= 5, "{dependency}: {count}");
    }
    let spans = sent.lock().expect("unbroken").clone();
    assert!(spans.contains("resourceSpans"), "{spans}");
    said.push(("traces".to_owned(), spans));
    let mut files = Vec::new();
    for folder in ["brownout-report", "judged", "brownout-matrix"] {
        files_below(&bench.path().join(folder), &mut files);
    }
    files.push(bench.path().join("summary-of-all.md"));
    for name in [
        "history.jsonl",
        "report.html",
        "report.json",
        "junit.xml",
        "summary.md",
        "matrix.json",
    ] {
        assert!(
            files.iter().any(|path| path.ends_with(name)),
            "{name}: {files:?}"
        );
    }
    for path in files {
        let text = std::fs::read(&path).expect("a file");
        said.push((
            path.display().to_string(),
            String::from_utf8_lossy(&text).into_owned(),
        ));
    }
    let given_out: BTreeMap<String, Vec<String>> = said
        .into_iter()
        .map(|(name, text)| (name, given_out(&text)))
        .filter(|(_, found)| !found.is_empty())
        .collect();
    assert!(given_out.is_empty(), "{given_out:#?}");
}
