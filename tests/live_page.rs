//! What would prove that the live page does what it says: a real browser switches a fault on by a click
//! and sees the failures rise, lifts it and sees the recovery, does the same by keys alone, saves what it
//! did; and that scenario runs.

mod harness;
mod node;
mod serve;

use harness::{Bench, python};
use serde_json::{Value, json};
use serve::{Server, served};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Between two requests of the program that plays the system while faults are switched by hand.
const EVERY: Duration = Duration::from_millis(40);

/// What the second server asks for.
const TOKEN: &str = "0123456789abcdef0123";

/// An interface of prices that always answers.
fn prices() -> SocketAddr {
    served(|mut stream| {
        let mut head = [0; 4096];
        while matches!(stream.read(&mut head), Ok(1..)) {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

/// Somebody who asks for prices again and again, and waits no longer than a second for each; until it is
/// dropped.
struct Visitor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Visitor {
    fn of(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                // Whatever comes of it: the page says it.
                let _ = ask(address);
                std::thread::sleep(EVERY);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(
        b"GET /prices/<b>today</b> HTTP/1.1\r\nHost: prices\r\nConnection: close\r\n\r\n",
    )?;
    stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// The system's file: a shop with a deadline, and its prices.
fn system(prices: SocketAddr) -> String {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/shop_app.py");
    format!(
        r#"[system]
name    = "shop"
command = [{python:?}, {program:?}, "--port", "{{port.shop}}", "--deadline", "1"]
env     = {{ PRICES_API_URL = "{{dependency.prices.url}}" }}
url     = "http://127.0.0.1:{{port.shop}}"
ready   = {{ path = "/healthz", within = "60s" }}

[dependency.prices]
protocol = "http"
upstream = "{prices}"

[load.visit]
rate     = "40/s"
arrivals = "constant"
request  = {{ method = "GET", path = "/" }}
timeout  = "5s"
degraded = {{ status = 503 }}
"#
    )
}

const SCENARIO: &str = r#"title  = "Prices hang"
system = "../brownout.toml"

[[phase]]
name   = "steady"
lasts  = "4s"
steady = true

[[phase]]
name  = "they hang"
lasts = "30s"
  [[phase.fault]]
  kind = "hang"
  on   = "prices"

[[phase]]
name  = "recovery"
lasts = "until steady, at most 60s"

[[expect]]
id       = "ANSWERED"
that     = "visitors are answered"
kind     = "success-rate"
load     = "visit"
at_least = "95%"
"#;

/// What a browser saw, and the folder that it left things in.
fn visited() -> (Bench, Value) {
    let bench = Bench::new().file("brownout.toml", &system(prices()));
    std::fs::create_dir(bench.path().join("scenarios")).expect("a folder");
    let bench = bench.file("scenarios/prices.toml", SCENARIO);
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "--port", "0", "--system", "brownout.toml"])
        .args(["--scenarios", "scenarios", "--runs", "runs"])
        .current_dir(bench.path());
    let server = Server::of(command);
    server.proxy("<img src=x onerror=ran=1>", prices());
    let found = server.done("GET", "/api/v1/dependencies/prices", "");
    let _visitor = Visitor::of(serve::listen_of(&found));
    let (address, pid) = (server.address.to_string(), server.child.id().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "--port", "0"])
        .env("BROWNOUT_TOKEN", TOKEN);
    let empty = Server::of(command);
    let second = empty.address.to_string();
    let arguments = [
        Path::new(&address),
        Path::new(&pid),
        bench.path(),
        Path::new(&second),
        Path::new(TOKEN),
    ];
    let seen = node::run("live_page.js", &arguments);
    (bench, seen)
}

#[test]
fn a_person_switches_faults_by_hand_and_makes_a_scenario_of_it() {
    let (bench, seen) = visited();
    let nothing = json!([]);
    assert_eq!(seen["asked"], nothing, "it fetched from elsewhere");
    assert_eq!(seen["complaints"], nothing, "the browser complained");
    assert_eq!(seen["serious"], nothing, "axe-core complained");
    assert_eq!(seen["overflow"], nothing, "it is wider than the screen");
    let looked = seen["checked"].as_array().expect("pages");
    assert_eq!(looked.len(), 4 + 2 + 1 + 1);
    assert!(
        looked.iter().all(|count| count.as_u64() > Some(15)),
        "{looked:?}"
    );
    assert_eq!(seen["skip"], "To the dependencies");
    let policy = seen["policy"].as_str().expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    by_click(&seen["clicked"]);
    by_keys(&seen["keys"]);
    as_text(&seen["hostile"]);
    let offered = seen["presets"].as_object().expect("protocols");
    assert_eq!(offered.len(), 7);
    assert!(
        offered.values().all(|count| count.as_u64() >= Some(5)),
        "{offered:?}"
    );
    let waiting = seen["waiting"].as_str().unwrap_or_default();
    assert!(
        waiting.contains("waiting") && waiting.contains("so far"),
        "{waiting:?}"
    );
    attempts(&seen["attempts"]);
    let run = &seen["run"];
    assert_eq!(run["phase"], "steady");
    assert_eq!(
        run["shaded"],
        json!([0, 1]),
        "what the scenario has in force"
    );
    assert!(
        run["words"]
            .as_str()
            .is_some_and(|words| words.contains("was stopped")),
        "{run}"
    );
    lost(&seen["lost"]);
    first(&seen["first"]);
    runs(&bench, &seen["saved"]);
}

fn by_click(clicked: &Value) {
    let (before, during, after) = (&clicked["before"], &clicked["during"], &clicked["after"]);
    assert_eq!(before["failed"], 0, "{clicked:#}");
    assert!(before["ok"].as_u64() >= Some(1), "{clicked:#}");
    assert_eq!(during["words"], "✕everything fails", "{clicked:#}");
    assert!(during["failed"].as_u64() >= Some(1), "{clicked:#}");
    assert!(during["wrong"].as_f64() > Some(0.0), "{clicked:#}");
    assert_eq!(after["words"], "✓all answered", "{clicked:#}");
    assert!(after["ok"].as_u64() > before["ok"].as_u64(), "{clicked:#}");
    assert_eq!(clicked["title"], "1 fault in force");
    assert_eq!(clicked["lifted"], "No fault in force");
    let tab = |title: &str, icon: &str| json!({"title": title, "icon": icon});
    let faulty = tab("(1) 1 fault in force · Brownout", "/page/icon-fault.svg");
    assert_eq!(clicked["tab"], faulty);
    assert_eq!(clicked["tabAfter"], tab("Brownout", "/page/icon.svg"));
    let pressed = clicked["pressed"].as_str().expect("a button");
    assert!(
        pressed.starts_with("500s") && pressed.contains("0:"),
        "{pressed}"
    );
    let call = clicked["call"].as_str().expect("a call");
    assert!(call.contains("hit by error"), "{call}");
}

fn by_keys(keys: &Value) {
    assert_eq!(
        (&keys["help"], &keys["closed"]),
        (&true.into(), &true.into())
    );
    assert!(
        keys["first"]
            .as_str()
            .is_some_and(|text| text.starts_with("Time out")),
        "{keys}"
    );
    assert_eq!(keys["kind"], "refuse");
    let wrong = keys["wrong"].as_str().expect("what is wrong");
    assert!(wrong.contains("duration"), "{wrong}");
    assert_eq!(keys["placed"], "1 fault in force");
    assert_eq!(keys["label"], "refuse on prices");
}

fn as_text(hostile: &Value) {
    let names = hostile["names"].as_array().expect("names");
    let name = json!("toxiproxy:<img src=x onerror=ran=1>");
    assert!(names.contains(&name), "{names:?}");
    assert_eq!(hostile["made"], 0, "markup was made of text");
    assert_eq!(hostile["ran"], Value::Null);
}

/// Two of three attempts failed: the call is one, and did not.
fn attempts(attempts: &Value) {
    assert_eq!(attempts["statuses"], json!([500, 500, 200]));
    assert_eq!(attempts["rows"], 1, "{attempts:#}");
    assert_eq!(attempts["outcome"], "ok", "{attempts:#}");
    let bars = json!(["failed hit", "failed hit", "ok"]);
    assert_eq!(attempts["bars"], bars, "{attempts:#}");
    let lefts = attempts["lefts"].as_array().expect("places");
    let lefts: Vec<f64> = lefts.iter().filter_map(Value::as_f64).collect();
    assert!(
        lefts.is_sorted() && lefts[0] == 0.0 && lefts[2] > 0.0,
        "{lefts:?}"
    );
    let said = "3 attempts · answered 200 · hit by error";
    assert_eq!(attempts["said"], said);
}

fn first(first: &Value) {
    let says = first["says"].as_str().expect("words");
    assert!(says.contains("Say below what your program calls"), "{says}");
    assert_eq!(first["wrong"], "That is not the server’s token.");
    let hint = first["hint"].as_str().expect("a hint");
    let address = hint.strip_prefix("Point your program at redis://127.0.0.1:");
    assert!(address.is_some(), "{hint}");
}

fn lost(lost: &Value) {
    let words = lost["words"].as_str().expect("words");
    assert!(
        words.contains("Connection lost") && words.contains("Next attempt"),
        "{words}"
    );
    assert_eq!(lost["tab"]["title"], "Connection lost · Brownout");
    assert_eq!(lost["tab"]["icon"], "/page/icon-lost.svg");
    assert_eq!(lost["again"], "Live");
    assert_eq!(lost["tabAfter"]["title"], "Brownout");
}

/// What was saved is what was done, and it runs as it is.
fn runs(bench: &Bench, saved: &Value) {
    assert_eq!(saved["file"], "prices-fail-for-a-while.toml");
    assert_eq!(saved["text"], saved["copied"]);
    let text = saved["text"].as_str().expect("a scenario");
    let parsed: toml::Table = text.parse().expect("TOML");
    assert_eq!(parsed["title"].as_str(), Some("Prices <fail> for a while"));
    let kinds: Vec<&str> = parsed["phase"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|phase| phase.get("fault")?.as_array())
        .flatten()
        .filter_map(|fault| fault["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["error", "refuse"], "{text}");
    let arguments = ["by-hand.toml", "--system", "brownout.toml"];
    let checked = bench.brownout(&[&["check"][..], &arguments].concat());
    checked.assert_status(0);
    let run = [&["run"][..], &arguments, &["--seed", "1", "--speed", "2x"]].concat();
    let left = bench.brownout(&run);
    let answered = left.verdict_of("HAND-1");
    assert_eq!(answered["status"], "pass", "{answered:#}\n{}", left.stderr);
    let faults = left.report["scenarios"][0]["faults"].as_array();
    let hits: Vec<u64> = faults
        .into_iter()
        .flatten()
        .filter_map(|fault| fault["hits"].as_u64())
        .collect();
    assert!(
        hits.len() == 2 && hits.iter().all(|hits| *hits > 0),
        "{hits:?}"
    );
}
