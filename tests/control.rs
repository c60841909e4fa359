//! What would prove the native API of `brownout serve`: every route answers as its document says, also
//! to whatever can be made of that document; faults act and end by themselves; no page of another
//! origin changes anything; no file beyond the folder is read and no program but the system's started;
//! a scenario of the folder runs to its verdict; the metrics are what Prometheus reads.

#![cfg(feature = "demo")]

mod python;
mod serve;
mod signals;

use serde_json::{Value, json};
use serve::{Answer, PATIENCE, Server, connect, echo};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Two dependencies that stand by themselves.
const SYSTEM: &str = r#"
[system]
name = "shop"
external = "http://127.0.0.1:9"

[dependency.pager]
protocol = "http"
role     = "alerts"
upstream = "embedded:sink"

[dependency.s3]
protocol = "s3"
role     = "object-store"
upstream = "embedded"
buckets  = ["models"]
"#;

/// A system whose only program asks its pager for each request.
fn running_system() -> String {
    let python = python::interpreter();
    let program = r#"
import http.client, http.server, os
pager = os.environ["PAGER"]
class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200
        if self.path != "/healthz":
            client = http.client.HTTPConnection(pager, timeout=2)
            try:
                client.request("POST", "/alerts", "hello")
                status = 200 if client.getresponse().status < 400 else 502
            except OSError:
                status = 502
            client.close()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Shop).serve_forever()
"#;
    format!(
        r#"
[system]
name = "shop"
command = [{python:?}, "-c", {program:?}]
env = {{ PAGER = "{{dependency.pager.address}}", PORT = "{{port.shop}}" }}
url = "http://127.0.0.1:{{port.shop}}"
ready = {{ path = "/healthz", within = "60s" }}

[dependency.pager]
protocol = "http"
role     = "alerts"
upstream = "embedded:sink"

[load.buy]
rate = "20/s"
arrivals = "constant"
request = {{ method = "GET", path = "/buy" }}
timeout = "3s"
"#
    )
}

/// An outage of the pager, with what is required in it.
fn scenario(outage: &str, expects: &str) -> String {
    format!(
        r#"
title = "The pager is gone"
story = "For a while it answers 503."
system = "none.toml"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "pager gone"
lasts = "{outage}"
  [[phase.fault]]
  kind = "error"
  on = "alerts"
  status = 503

[[phase]]
name = "recovery"
lasts = "until steady, at most 20s"

{expects}
"#
    )
}

const LATE: &str = r#"
[[expect]]
id = "BUY-1"
that = "who buys is answered"
kind = "success-rate"
load = "buy"
during = ["pager gone"]
at_least = "90%"
"#;

/// A server in a folder of its own.
struct Bench {
    folder: TempDir,
    server: Server,
}

impl Bench {
    fn new(system: &str, scenarios: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("brownout.toml"), system).expect("a file");
        std::fs::create_dir(folder.path().join("scenarios")).expect("a folder");
        for (name, text) in scenarios {
            std::fs::write(folder.path().join("scenarios").join(name), text).expect("a file");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command
            .args(["serve", "--port", "0", "--system", "brownout.toml"])
            .args(["--scenarios", "scenarios", "--runs", "runs"])
            .current_dir(folder.path());
        let server = Server::of(command);
        Self { folder, server }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        ask(&self.server, method, path, body)
    }

    #[track_caller]
    fn done(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.ask(method, path, body);
        let is_done = (200..300).contains(&answer.status);
        assert!(is_done, "{method} {path} {body}: {answer:?}");
        answer.json()
    }

    /// Where a dependency is to be asked.
    fn listen(&self, name: &str) -> SocketAddr {
        serve::listen_of(&self.done("GET", &format!("/api/v1/dependencies/{name}"), ""))
    }
}

/// Asks as a program does that means it.
fn ask(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let host = format!("Host: {}\r\n", server.address);
    let headers = format!("{host}X-Brownout: 1\r\nContent-Type: application/json\r\n");
    let mut answer = server.ask_with(method, path, body, &headers);
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body);
    }
    answer
}

fn unchunked(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            break;
        }
        whole.push_str(&after[..length]);
        rest = &after[length + 2..];
    }
    whole
}

/// The status that a dependency answers.
fn status(listen: SocketAddr, path: &str) -> u16 {
    let mut stream = connect(listen);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or(0)
}

/// Asks until something is so.
#[track_caller]
fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE * 3, "{what}");
        thread::sleep(Duration::from_millis(30));
    }
}

/// The document, and what of it was asked.
struct Document {
    document: Value,
    asked: BTreeSet<String>,
}

impl Document {
    fn of(bench: &Bench) -> Self {
        Self {
            document: bench.done("GET", "/api/v1/openapi.json", ""),
            asked: BTreeSet::new(),
        }
    }

    /// Asks, and holds the answer against the document.
    #[track_caller]
    fn check(
        &mut self,
        bench: &Bench,
        (method, template, path): (&str, &str, &str),
        body: &str,
        expected: u16,
    ) -> Value {
        let answer = bench.ask(method, path, body);
        assert_eq!(
            answer.status, expected,
            "{method} {path} {body}: {answer:?}"
        );
        self.hold(&answer, method, template);
        answer.json()
    }

    #[track_caller]
    fn hold(&mut self, answer: &Answer, method: &str, template: &str) {
        let operation = &self.document["paths"][template][method.to_lowercase()];
        let said = &operation["responses"][answer.status.to_string()];
        assert!(said.is_object(), "{method} {template} {}", answer.status);
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let content = said["content"].as_object();
        let kinds: Vec<&String> = content
            .into_iter()
            .flatten()
            .map(|(kind, _)| kind)
            .collect();
        match kinds.first() {
            None => assert_eq!(answer.body, "", "{method} {template}"),
            Some(wanted) => assert_eq!(kind, **wanted, "{method} {template}"),
        }
        if kind == "application/json" {
            let mut schema = said["content"][kind]["schema"].clone();
            schema["components"] = self.document["components"].clone();
            let validator = jsonschema::draft202012::new(&schema).expect("a schema");
            let value = answer.json();
            let wrong: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(
                wrong.is_empty(),
                "{method} {template}: {wrong:#?}\n{value:#}"
            );
        }
        self.asked.insert(format!("{method} {template}"));
    }

    fn assert_all_asked(&self) {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().expect("paths") {
            for method in operations.as_object().expect("operations").keys() {
                all.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        assert_eq!(self.asked, all);
    }
}

#[test]
fn every_route_answers_as_its_document_says() {
    let good = scenario("2s", LATE);
    let bench = Bench::new(
        SYSTEM,
        &[("good.toml", &good), ("bad.toml", "title = 1\n[[phase]]\n")],
    );
    let mut document = Document::of(&bench);
    let mut check = |method: &str, template: &str, path: &str, body: &str, status| {
        document.check(&bench, (method, template, path), body, status)
    };
    let mut get = |path: &str| check("GET", path, path, "", 200);
    for path in [
        "/api/v1",
        "/api/v1/openapi.json",
        "/api/v1/kinds",
        "/api/v1/runs",
    ] {
        get(path);
    }
    let scenarios = get("/api/v1/scenarios");
    let files: Vec<&str> = scenarios["scenarios"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["file"].as_str())
        .collect();
    assert_eq!(files, ["bad.toml", "good.toml"]);
    assert!(scenarios["scenarios"][0]["problems"][0]["place"].is_string());

    // A dependency that a request makes, over Toxiproxy's words too.
    let dependencies = "/api/v1/dependencies";
    let one = "/api/v1/dependencies/{name}";
    let upstream = echo();
    let new = format!(r#"{{"name":"web","protocol":"http","upstream":"{upstream}"}}"#);
    let made = check("POST", dependencies, dependencies, &new, 201);
    assert_eq!(made["of"], "api");
    check("POST", dependencies, dependencies, &new, 409);
    let wrong = check(
        "POST",
        dependencies,
        dependencies,
        r#"{"name":"a b","protocl":"http"}"#,
        400,
    );
    assert_eq!(
        wrong["error"]["problems"].as_array().map(Vec::len),
        Some(4),
        "{wrong}"
    );
    check("POST", dependencies, dependencies, "{", 400);
    let toxiproxys = format!(r#"{{"name":"p","upstream":"{upstream}","protocol":"http"}}"#);
    bench.server.done("POST", "/proxies", &toxiproxys);
    bench
        .server
        .toxic("p", r#""type":"latency","attributes":{"latency":1}"#);
    let all = check("GET", dependencies, dependencies, "", 200);
    let of: BTreeMap<&str, &str> = all["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| Some((one["name"].as_str()?, one["of"].as_str()?)))
        .collect();
    let expected = [
        ("pager", "file"),
        ("s3", "file"),
        ("toxiproxy:p", "toxiproxy"),
        ("web", "api"),
    ];
    assert_eq!(of, BTreeMap::from(expected));
    check("GET", one, "/api/v1/dependencies/toxiproxy:p", "", 200);
    check("GET", one, "/api/v1/dependencies/none", "", 404);
    check("DELETE", one, "/api/v1/dependencies/pager", "", 409);

    // Faults, with calls that they act on.
    let faults = "/api/v1/faults";
    let fault = r#"{"on":["alerts","web"],"kind":"error","status":503,"ttl":"1m","label":"gone"}"#;
    let placed = check("POST", faults, faults, fault, 201);
    let id = placed["id"].as_u64().expect("a number");
    assert_eq!(placed["on"], json!(["pager", "web"]));
    assert_eq!(status(bench.listen("pager"), "/alerts"), 503);
    let path = format!("{faults}/{id}");
    let of_id = "/api/v1/faults/{id}";
    let shown = eventually("it acted", || {
        let shown = bench.done("GET", &path, "");
        (shown["acted"] == 1).then_some(shown)
    });
    assert_eq!(shown["label"], "gone");
    check("GET", faults, faults, "", 200);
    check("GET", of_id, &path, "", 200);
    check("GET", of_id, "/api/v1/faults/999", "", 404);
    check(
        "POST",
        faults,
        faults,
        r#"{"on":"alerts","kind":"eror"}"#,
        400,
    );
    let overload = r#"{"on":"alerts","kind":"overload","ttl":"1m","servers":1,"service":{"exponential":"1ms"}}"#;
    check("POST", faults, faults, overload, 201);
    check("POST", faults, faults, overload, 409);
    let renew = "/api/v1/faults/{id}/renew";
    check(
        "POST",
        renew,
        &format!("{path}/renew"),
        r#"{"ttl":"2m"}"#,
        200,
    );
    check(
        "POST",
        renew,
        &format!("{path}/renew"),
        r#"{"ttl":"2h"}"#,
        400,
    );
    let calls = eventually("the call is seen", || {
        let calls = bench.done("GET", "/api/v1/calls?dependency=pager&limit=5", "");
        calls["calls"].get(0).is_some().then_some(calls)
    });
    let attempt = &calls["calls"][0]["attempts"][0];
    assert_eq!(
        attempt["faults"],
        json!([{ "id": id, "kind": "error" }]),
        "{calls:#}"
    );
    check("GET", "/api/v1/calls", "/api/v1/calls?limit=2", "", 200);
    check("GET", "/api/v1/calls", "/api/v1/calls?limit=9999", "", 400);
    check("DELETE", of_id, &path, "", 204);
    check("DELETE", of_id, &path, "", 404);
    check("DELETE", faults, faults, "", 204);
    check("DELETE", one, "/api/v1/dependencies/web", "", 204);

    // What was done, and what was seen.
    let session = check("GET", "/api/v1/session", "/api/v1/session", "", 200);
    assert!(
        session["actions"]
            .as_array()
            .is_some_and(|all| all.len() >= 6),
        "{session:#}"
    );
    let saved = "/api/v1/session/scenario";
    let made = check("GET", saved, &format!("{saved}?name=By%20hand"), "", 200);
    assert_eq!(made["name"], "By hand");
    let file = "/api/v1/session/scenario.toml";
    check("GET", file, file, "", 200);
    check(
        "POST",
        "/api/v1/session/restart",
        "/api/v1/session/restart",
        "",
        200,
    );
    check("GET", saved, saved, "", 409);
    check("GET", "/api/v1/history", "/api/v1/history", "", 200);

    // Runs of the folder: this system is not there, so that they end at once.
    let runs = "/api/v1/runs";
    check(
        "POST",
        runs,
        runs,
        r#"{"scenario":"../brownout.toml"}"#,
        404,
    );
    check("POST", runs, runs, r#"{"scenario":"bad.toml"}"#, 422);
    check("POST", runs, runs, r#"{"scenari":"good.toml"}"#, 400);
    let run = check("POST", runs, runs, r#"{"scenario":"good.toml"}"#, 422);
    assert!(run["error"]["problems"][0]["what"].is_string(), "{run}");
    for (method, template) in [
        ("GET", "/api/v1/runs/{id}"),
        ("POST", "/api/v1/runs/{id}/stop"),
        ("GET", "/api/v1/runs/{id}/history"),
        ("GET", "/api/v1/runs/{id}/report"),
    ] {
        check(method, template, &template.replace("{id}", "7"), "", 404);
    }
    let mut stream = Events::open(&bench);
    stream.next("state");
    document.asked.insert("GET /api/v1/stream".to_owned());
    document.assert_all_asked();
    for (method, path, status) in [
        ("PUT", faults, 405),
        ("GET", "/api/v1/none", 404),
        ("GET", "/api", 404),
    ] {
        let answer = bench.ask(method, path, "");
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"]["problems"][0]["what"].is_string());
    }
    assert_eq!(
        bench.ask("PUT", faults, "").header("allow"),
        Some("GET, HEAD, POST, DELETE")
    );
}

/// A reader of events.
struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    fn open(bench: &Bench) -> Self {
        let mut stream = connect(bench.server.address);
        let host = bench.server.address;
        write!(
            stream,
            "GET /api/v1/stream HTTP/1.1\r\nHost: {host}\r\n\r\n"
        )
        .expect("sent");
        Self {
            lines: BufReader::new(stream),
        }
    }

    fn status(&mut self) -> u16 {
        let line = self.line();
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("{line}"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line).expect("it goes on");
        assert!(count > 0, "it ended");
        line.trim_end().to_owned()
    }

    /// The data of the next event of this name; others are passed over.
    fn next(&mut self, name: &str) -> Value {
        loop {
            if self.line() == format!("event: {name}") {
                let data = self.line();
                let data = data.strip_prefix("data: ").expect("data");
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }
}

#[test]
fn who_looks_sees_calls_faults_and_what_changes() {
    let bench = Bench::new(SYSTEM, &[]);
    let mut events = Events::open(&bench);
    let state = events.next("state");
    assert_eq!(state["faults"], json!([]));
    assert_eq!(state["run"], Value::Null);
    let pager = bench.listen("pager");
    assert_eq!(status(pager, "/alerts"), 204);
    let calls = events.next("calls");
    assert_eq!(calls["calls"][0]["outcome"], "ok");
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"alerts","kind":"error","status":500,"ttl":"1500ms"}"#,
    );
    let changed = events.next("changed");
    assert_eq!(changed["faults"][0]["kind"], "error");
    assert_eq!(status(pager, "/alerts"), 500);
    let failed = events.next("calls");
    assert_eq!(failed["calls"][0]["outcome"], "failed");
    let tick = events.next("tick");
    let live = tick["dependencies"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["name"] == "pager")
        .expect("it is there");
    assert_eq!(
        (&live["live"]["ok"], &live["live"]["failed"]),
        (&json!(1), &json!(1)),
        "{tick:#}"
    );
    // It ends by itself, and that is a change too.
    let lifted = events.next("changed");
    assert_eq!(lifted["faults"], json!([]));
    let last = lifted["session"]["actions"]
        .as_array()
        .and_then(|all| all.last());
    assert_eq!(last.map(|last| &last["what"]), Some(&json!("expired")));
    assert_eq!(status(pager, "/alerts"), 204);

    // Others may look too, as many as there may be; one who does not read keeps nobody waiting.
    let mut others: Vec<Events> = (0..15).map(|_| Events::open(&bench)).collect();
    for other in &mut others {
        assert_eq!(other.status(), 200);
    }
    assert_eq!(Events::open(&bench).status(), 429);
    drop(others);
    eventually("there is room again", || {
        (Events::open(&bench).status() == 200).then_some(())
    });
}

#[test]
fn hosts_that_are_wired_into_a_program_are_led_to_their_dependency() {
    let hosts = "protocol = \"http\"\nhosts    = [\"api.example.test\"]";
    let system = SYSTEM.replacen("protocol = \"http\"", hosts, 1);
    let bench = Bench::new(&system, &[]);
    let about = bench.done("GET", "/api/v1", "");
    let proxy = about["forward_proxy"]
        .as_str()
        .and_then(|url| url.strip_prefix("http://"));
    let proxy: SocketAddr = proxy.and_then(|at| at.parse().ok()).expect("its address");
    assert!(proxy.ip().is_loopback());
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"error","status":503,"when":{"path":"/refused"},"ttl":"1m"}"#,
    );
    for (url, expected) in [
        ("http://api.example.test/alerts", 204),
        ("http://api.example.test/refused", 503),
        ("http://elsewhere.example.test/alerts", 403),
    ] {
        assert_eq!(status(proxy, url), expected, "{url}");
    }
    let calls = eventually("both calls are seen", || {
        let calls = bench.done("GET", "/api/v1/calls?dependency=pager", "");
        let calls = calls["calls"].as_array().expect("a list").clone();
        (calls.len() == 2).then_some(calls)
    });
    let outcomes: Vec<&Value> = calls.iter().map(|call| &call["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "ok"]);
    assert!(bench.folder.path().join("runs/ca.pem").exists());
}

#[test]
fn a_fault_that_is_over_at_once_was_placed_all_the_same() {
    let bench = Bench::new(SYSTEM, &[]);
    thread::scope(|scope| {
        let placing = scope.spawn(|| {
            let body = r#"{"on":"pager","kind":"hang","ttl":"1ms"}"#;
            let each = (0..300).map(|_| bench.ask("POST", "/api/v1/faults", body));
            each.filter(|answer| answer.status != 201 || answer.json()["kind"] != "hang")
                .collect::<Vec<Answer>>()
        });
        while !placing.is_finished() {
            bench.ask("DELETE", "/api/v1/faults", "");
        }
        let others = placing.join().expect("all were placed");
        assert!(
            others.is_empty(),
            "{} of 300: {:?}",
            others.len(),
            others[0]
        );
    });
}

#[test]
fn there_are_so_many_faults_and_dependencies_and_no_more() {
    let bench = Bench::new(SYSTEM, &[]);
    let fault = r#"{"on":"pager","kind":"hang","share":"1%","ttl":"10m"}"#;
    let upstream = echo();
    let dependency = |nth: usize| {
        let body = format!(r#"{{"name":"d{nth}","protocol":"tcp","upstream":"{upstream}"}}"#);
        bench.ask("POST", "/api/v1/dependencies", &body)
    };
    let few = bench.done("GET", "/api/v1/dependencies", "");
    let few = few["dependencies"].as_array().expect("a list").len();
    for nth in few..100 {
        assert_eq!(dependency(nth).status, 201, "{nth}");
    }
    for nth in 0..200 {
        assert_eq!(
            bench.ask("POST", "/api/v1/faults", fault).status,
            201,
            "{nth}"
        );
    }
    for (refused, words) in [
        (
            dependency(100),
            "there are 100 dependencies, which is the most",
        ),
        (
            bench.ask("POST", "/api/v1/faults", fault),
            "there are 200 faults in force, which is the most",
        ),
    ] {
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.body.contains(words), "{refused:?}");
    }
    // Who makes room may go on.
    bench.done("DELETE", "/api/v1/dependencies/d99", "");
    bench.done("DELETE", "/api/v1/faults", "");
    assert_eq!(dependency(99).status, 201);
    bench.done("POST", "/api/v1/faults", fault);
}

#[test]
fn who_says_nothing_keeps_nobody_out() {
    let bench = Bench::new(SYSTEM, &[]);
    let mut events = Events::open(&bench);
    events.next("state");
    // More than there may be at once: some say nothing, some never come to the end of a head or of a
    // body, some were answered and stay.
    let host = bench.server.address;
    let begun = [
        String::new(),
        "GET /version HTTP/1.1\r\nHo".to_owned(),
        format!("POST /populate HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\n["),
        format!("GET /version HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ];
    let silent: Vec<TcpStream> = (0..600)
        .map(|nth| {
            let mut stream = connect(host);
            let begun = &begun[nth % begun.len()];
            // One that had to make room already is gone.
            let _ = stream.write_all(begun.as_bytes());
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(bench.ask("GET", "/api/v1", "").status, 200);
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    // Who is being answered is not silent.
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"hang","ttl":"30s"}"#,
    );
    // What changed before that may be told first.
    let mut changed = events.next("changed");
    while changed["faults"] == json!([]) {
        changed = events.next("changed");
    }
    assert_eq!(changed["faults"][0]["kind"], "hang", "{changed:#}");
    drop(silent);
}

#[test]
fn a_lease_that_nobody_renews_lapses_and_ends_take_their_faults_along() {
    let bench = Bench::new(SYSTEM, &[]);
    let pager = bench.listen("pager");
    let placed = bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"error","status":503,"lease":"1s"}"#,
    );
    let renew = format!("/api/v1/faults/{}/renew", placed["id"]);
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(400));
        bench.done("POST", &renew, "{}");
    }
    assert_eq!(status(pager, "/alerts"), 503);
    eventually("it lapses", || {
        let faults = bench.done("GET", "/api/v1/faults", "");
        (faults["faults"] == json!([])).then_some(())
    });
    assert_eq!(status(pager, "/alerts"), 204);
    assert_eq!(bench.ask("POST", &renew, "{}").status, 404);

    // A client that a fault holds is let go when the fault is lifted.
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"hang","ttl":"1m"}"#,
    );
    let held = thread::spawn(move || status(pager, "/alerts"));
    eventually("it is under way", || {
        let pager = bench.done("GET", "/api/v1/dependencies/pager", "");
        (pager["live"]["in_flight"] == 1).then_some(())
    });
    // It is listed too, and grows older; those who look are told.
    let of = |path: &str| bench.done("GET", path, "")["under_way"].clone();
    let listed = of("/api/v1/calls");
    let open = &listed[0];
    assert_eq!(
        (
            &open["dependency"],
            &open["key"],
            listed.as_array().map(Vec::len)
        ),
        (&json!("pager"), &json!("/alerts"), Some(1)),
        "{listed:#}"
    );
    assert_eq!(of("/api/v1/calls?dependency=nobody"), json!([]));
    let mut events = Events::open(&bench);
    let told = events.next("tick")["under_way"][0].clone();
    assert_eq!((&told["id"], &told["at_ms"]), (&open["id"], &open["at_ms"]));
    assert!(
        told["age_ms"].as_f64() > open["age_ms"].as_f64(),
        "{told:#}"
    );
    bench.done("DELETE", "/api/v1/faults", "");
    assert_eq!(held.join().expect("it is answered"), 204);
    eventually("it is a call like any other", || {
        (of("/api/v1/calls") == json!([])).then_some(())
    });

    let upstream = echo();
    let new = format!(r#"{{"name":"web","protocol":"tcp","upstream":"{upstream}"}}"#);
    let web = serve::listen_of(&bench.done("POST", "/api/v1/dependencies", &new));
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"web","kind":"latency","delay":"1ms","ttl":"1m"}"#,
    );
    assert_eq!(
        serve::round_trip(&mut connect(web), "hello").expect("it passes"),
        "hello"
    );
    bench.done("DELETE", "/api/v1/dependencies/web", "");
    assert_eq!(bench.done("GET", "/api/v1/faults", "")["faults"], json!([]));
    assert!(TcpStream::connect(web).is_err());

    // The end of the server is the end of every fault, and of what holds its clients.
    let mut bench = bench;
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"hang","ttl":"1h"}"#,
    );
    let held = thread::spawn(move || status(pager, "/alerts"));
    eventually("it is under way", || {
        let pager = bench.done("GET", "/api/v1/dependencies/pager", "");
        (pager["live"]["in_flight"] == 1).then_some(())
    });
    let child = &mut bench.server.child;
    let pid = rustix::process::Pid::from_child(child);
    signals::interrupt(pid);
    held.join().expect("it is let go");
    assert!(child.wait().expect("it ends").success());
    assert!(TcpStream::connect(pager).is_err());
}

#[test]
fn no_page_of_another_origin_changes_anything() {
    let bench = Bench::new(SYSTEM, &[]);
    let address = bench.server.address;
    let own = format!("Host: {address}\r\n");
    let meant = "X-Brownout: 1\r\nContent-Type: application/json\r\n";
    let fault = r#"{"on":"pager","kind":"hang","ttl":"1m"}"#;
    let dependency = r#"{"name":"evil","protocol":"tcp","upstream":"127.0.0.1:1"}"#;
    let rebound = format!("Host: evil.example:{}\r\n", address.port());
    for (headers, expected) in [
        // Another origin, also one that names itself nothing.
        (format!("{own}{meant}Origin: https://evil.example\r\n"), 403),
        (format!("{own}{meant}Origin: null\r\n"), 403),
        (format!("{own}{meant}Origin: http://localhost:1\r\n"), 403),
        // A name that was made to lead here.
        (format!("{rebound}{meant}"), 403),
        (
            format!(
                "{rebound}{meant}Origin: http://evil.example:{}\r\n",
                address.port()
            ),
            403,
        ),
        // What a browser says of itself.
        (format!("{own}{meant}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{own}{meant}Sec-Fetch-Site: same-site\r\n"), 403),
        // What a form or a script can send without asking first.
        (format!("{own}Content-Type: text/plain\r\n"), 403),
        (
            format!("{own}Content-Type: application/x-www-form-urlencoded\r\n"),
            403,
        ),
        (format!("{own}Content-Type: application/json\r\n"), 403),
        (
            format!("{own}X-Brownout: 1\r\nContent-Type: text/plain\r\n"),
            415,
        ),
        (format!("{own}X-Brownout: 1\r\n"), 415),
    ] {
        for (method, path, body) in [
            ("POST", "/api/v1/faults", fault),
            ("POST", "/api/v1/dependencies", dependency),
            ("POST", "/api/v1/runs", r#"{"scenario":"x.toml"}"#),
        ] {
            let answer = bench.server.ask_with(method, path, body, &headers);
            assert_eq!(answer.status, expected, "{method} {path} {headers}");
            assert!(
                answer.json()["error"]["problems"][0]["what"].is_string(),
                "{answer:?}"
            );
        }
        // What changes something without a body.
        if expected == 403 {
            for (method, path) in [
                ("DELETE", "/api/v1/faults"),
                ("POST", "/api/v1/session/restart"),
            ] {
                let answer = bench.server.ask_with(method, path, "", &headers);
                assert_eq!(answer.status, 403, "{method} {path} {headers}");
            }
        }
    }
    // Nor does it read anything.
    for headers in [
        format!("{own}Origin: https://evil.example\r\n"),
        format!("{own}Sec-Fetch-Site: cross-site\r\n"),
        rebound.clone(),
    ] {
        for path in [
            "/api/v1/calls",
            "/api/v1/history",
            "/api/v1/stream",
            "/metrics",
        ] {
            let answer = bench.server.ask_with("GET", path, "", &headers);
            assert_eq!(answer.status, 403, "{path} {headers}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    let preflight = format!(
        "{own}Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-brownout\r\n"
    );
    let answer = bench
        .server
        .ask_with("OPTIONS", "/api/v1/faults", "", &preflight);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-headers"), None);
    // The page itself is no secret, but not under a name that was made to lead here.
    let from_elsewhere = format!("{own}Sec-Fetch-Site: cross-site\r\n");
    let page = bench.server.ask_with("GET", "/", "", &from_elsewhere);
    assert_eq!(page.status, 200);
    for (name, part) in [
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert!(
            page.header(name).is_some_and(|value| value.contains(part)),
            "{name}"
        );
    }
    assert_eq!(bench.server.ask_with("GET", "/", "", &rebound).status, 403);

    // Nothing has changed.
    assert_eq!(bench.done("GET", "/api/v1/faults", "")["faults"], json!([]));
    let dependencies = bench.done("GET", "/api/v1/dependencies", "");
    assert_eq!(
        dependencies["dependencies"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        bench.done("GET", "/api/v1/session", "")["actions"],
        json!([])
    );
    assert_eq!(bench.done("GET", "/api/v1/runs", "")["runs"], json!([]));
    // And the page of our own may.
    let ours = format!(
        "{own}{meant}Origin: http://{address}\r\nSec-Fetch-Site: same-origin\r\nUser-Agent: Mozilla/5.0\r\n"
    );
    let placed = bench
        .server
        .ask_with("POST", "/api/v1/faults", fault, &ours);
    assert_eq!(placed.status, 201, "{placed:?}");
}

#[test]
fn on_another_address_the_token_is_wanted_for_all_but_the_page() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "--host", "0.0.0.0", "--port", "0"])
        .env("BROWNOUT_TOKEN", "0123456789abcdef");
    let server = Server::of(command);
    let ask = |path: &str, headers: &str| {
        server.ask_with("GET", path, "", &format!("Host: faults:8474\r\n{headers}"))
    };
    assert_eq!(ask("/", "").status, 200);
    for path in ["/api/v1", "/api/v1/stream", "/metrics"] {
        let refused = ask(path, "");
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Bearer realm=\"brownout\"")
        );
    }
    assert_eq!(
        ask("/api/v1", "Authorization: Bearer 0123456789abcdef\r\n").status,
        200
    );
}

#[test]
fn no_program_that_a_run_starts_is_handed_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    let program = "command = [\"/bin/sh\", \"-c\", \"echo handed [$BROWNOUT_TOKEN]; exit 3\"]\nurl = \"http://127.0.0.1:{port.shop}\"";
    write(
        "brownout.toml",
        &running_system()
            .lines()
            .filter(|line| !line.starts_with("url") && !line.starts_with("env"))
            .map(|line| {
                if line.starts_with("command") {
                    program
                } else {
                    line
                }
            })
            .collect::<Vec<_>>()
            .join("\n"),
    );
    std::fs::create_dir(folder.path().join("scenarios")).expect("a folder");
    write("scenarios/short.toml", &scenario("3s", LATE));
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "--port", "0", "--system", "brownout.toml"])
        .args(["--scenarios", "scenarios", "--runs", "runs"])
        .env("BROWNOUT_TOKEN", "0123456789abcdef")
        .current_dir(folder.path());
    let server = Server::of(command);
    let ask = |method: &str, path: &str, body: &str| {
        let host = format!("Host: {}\r\n", server.address);
        let token = "Authorization: Bearer 0123456789abcdef\r\n";
        let meant = "X-Brownout: 1\r\nContent-Type: application/json\r\n";
        server.ask_with(method, path, body, &format!("{host}{token}{meant}"))
    };
    let run = ask("POST", "/api/v1/runs", r#"{"scenario":"short.toml"}"#);
    assert_eq!(run.status, 202, "{run:?}");
    let path = format!("/api/v1/runs/{}", run.json()["id"]);
    let run = eventually("it has failed", || {
        let run = ask("GET", &path, "").json();
        (run["state"] == "error").then_some(run)
    });
    let error = run["error"].as_str().unwrap_or_default();
    assert!(error.contains("handed []"), "{run:#}");
}

#[test]
fn no_file_beyond_the_folder_is_read_and_no_program_but_the_systems_is_started() {
    let started = "\n[[expect]]\nid = \"P\"\nthat = \"x\"\nkind = \"probe\"\ncommand = [\"touch\", \"started\"]\nwhen = \"always\"\nevery = \"1s\"\n";
    let probing = scenario("2s", &format!("{LATE}{started}"));
    let bench = Bench::new(&running_system(), &[("probing.toml", &probing)]);
    let folder = bench.folder.path();
    std::fs::write(folder.join("outside.toml"), scenario("2s", LATE)).expect("a file");
    std::fs::create_dir(folder.join("scenarios/sub")).expect("a folder");
    std::fs::write(folder.join("scenarios/sub/x.toml"), scenario("2s", LATE)).expect("a file");
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        folder.join("outside.toml"),
        folder.join("scenarios/link.toml"),
    )
    .expect("a link");
    let absolute = folder.join("outside.toml");
    for name in [
        "../outside.toml",
        "..",
        "sub/x.toml",
        "./probing.toml",
        "link.toml",
        "outside.toml",
        &*absolute.display().to_string(),
        "..%2Foutside.toml",
        "probing.toml\u{0}",
    ] {
        let body = json!({ "scenario": name }).to_string();
        let answer = bench.ask("POST", "/api/v1/runs", &body);
        assert_eq!(answer.status, 404, "{name}: {answer:?}");
        assert!(!answer.body.contains("outside.toml`"), "{answer:?}");
    }
    let answer = bench.ask("POST", "/api/v1/runs", r#"{"scenario":"probing.toml"}"#);
    assert_eq!(answer.status, 422, "{answer:?}");
    let listed = bench.done("GET", "/api/v1/scenarios", "");
    let files: Vec<&Value> = listed["scenarios"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["file"])
        .collect();
    assert_eq!(files, ["probing.toml"]);
    // Nor by what a dependency or a fault is made of.
    for body in [
        r#"{"name":"a","protocol":"postgres","upstream":"embedded","schema":"/etc/passwd"}"#,
        r#"{"name":"a","protocol":"http","upstream":"instance:main"}"#,
        r#"{"name":"a","protocol":"http","upstream":"file:///etc/passwd"}"#,
        r#"{"name":"a\"]\n[system]\ncommand=[\"touch\",\"x\"]","protocol":"tcp","upstream":"x:1"}"#,
        r#"{"name":"a","protocol":"tcp","upstream":"x:1","listen":"0.0.0.0:0"}"#,
    ] {
        let answer = bench.ask("POST", "/api/v1/dependencies", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    for body in [
        r#"{"on":"instance:main","kind":"kill","ttl":"1s"}"#,
        r#"{"on":"instance:main","kind":"hang","ttl":"1s"}"#,
    ] {
        let answer = bench.ask("POST", "/api/v1/faults", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(bench.done("GET", "/api/v1/runs", "")["runs"], json!([]));
    assert!(!folder.join("runs").exists());
    let left = |folder: &Path| folder.join("started").exists() || folder.join("x").exists();
    assert!(!left(folder) && !left(&folder.join("scenarios")));
}

#[test]
fn a_scenario_of_the_folder_runs_to_its_verdict_and_can_be_stopped() {
    let (short, long) = (scenario("3s", LATE), scenario("5m", LATE));
    let bench = Bench::new(
        &running_system(),
        &[("short.toml", &short), ("long.toml", &long)],
    );
    let mut document = Document::of(&bench);
    let run = bench.done("POST", "/api/v1/runs", r#"{"scenario":"long.toml"}"#);
    let path = format!("/api/v1/runs/{}", run["id"]);
    let stop = format!("{path}/stop");
    assert_eq!(
        bench
            .ask("POST", "/api/v1/runs", r#"{"scenario":"short.toml"}"#)
            .status,
        409
    );
    assert_eq!(bench.ask("GET", &format!("{path}/report"), "").status, 409);
    eventually("it is in its second phase and its calls are seen", || {
        let run = bench.done("GET", &path, "");
        assert_ne!(run["state"], "error", "{run:#}");
        let pager = &run["dependencies"][0]["live"];
        (run["phase"] == "pager gone" && pager["refused"].as_u64() > Some(0)).then_some(())
    });
    bench.done("POST", &stop, "");
    let stopped = eventually("it is stopped", || {
        let run = bench.done("GET", &path, "");
        (run["state"] == "stopped").then_some(run)
    });
    // It is judged as far as it came, and that is no pass.
    assert_ne!(stopped["verdict"], "pass", "{stopped:#}");
    assert!(stopped["verdict"].is_string(), "{stopped:#}");

    let run = bench.done("POST", "/api/v1/runs", r#"{"scenario":"short.toml"}"#);
    let path = format!("/api/v1/runs/{}", run["id"]);
    let done = eventually("it is done", || {
        let run = bench.done("GET", &path, "");
        assert_ne!(run["state"], "error", "{run:#}");
        (run["state"] == "done").then_some(run)
    });
    assert_eq!(
        done["phases"][1]["faults"],
        json!([{ "kind": "error", "on": ["pager"], "label": "error on alerts, status 503" }])
    );
    assert_eq!(done["phases"][2]["faults"], json!([]));
    // Who buys is not answered while the pager is gone, and that is what is said.
    assert_eq!(done["verdict"], "fail", "{done:#}");
    assert_eq!(done["verdicts"][0]["id"], "BUY-1");
    assert!(
        done["phases"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|phase| phase["began_at_ms"].is_number())
    );
    for (template, kind, said) in [
        ("history", "jsonl", "short.toml"),
        ("report", "html", "The pager is gone"),
    ] {
        let answer = bench.ask("GET", &format!("{path}/{template}"), "");
        assert_eq!(answer.status, 200);
        document.hold(&answer, "GET", &format!("/api/v1/runs/{{id}}/{template}"));
        assert!(
            answer
                .header("content-type")
                .is_some_and(|value| value.contains(kind))
        );
        assert!(answer.body.contains(said), "{template}");
    }
    document.check(&bench, ("GET", "/api/v1/runs/{id}", &path), "", 200);
    document.check(&bench, ("GET", "/api/v1/runs", "/api/v1/runs"), "", 200);
    assert!(
        bench
            .folder
            .path()
            .join("runs/short-1/report.json")
            .exists()
    );
    let metrics = bench.ask("GET", "/metrics", "").body;
    let line = "brownout_run_verdicts{scenario=\"short.toml\",verdict=\"fail\"} 1";
    assert!(metrics.lines().any(|one| one == line), "{metrics}");
}

#[test]
fn a_system_that_cannot_stand_is_said_before_anything_is_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address");
    let told = |system: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("brownout.toml"), system).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_brownout"))
            .args(["serve", "--port", "0", "--system", "brownout.toml"])
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        assert_eq!(output.stdout, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let misspelt = SYSTEM.replace("upstream", "upsteam");
    let (status, said) = told(&misspelt);
    assert_eq!(status, Some(64), "{said}");
    assert!(said.contains("did you mean `upstream`?"), "{said}");
    let fixed = SYSTEM.replace("role     = \"alerts\"", &format!("listen = \"{taken}\""));
    let (status, said) = told(&fixed);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("dependency `pager`"), "{said}");
}

#[test]
fn no_answer_gives_out_what_is_secret_in_a_file() {
    let planted = "planted-in-a-file";
    let system = running_system()
        .replace(
            "\n[load.buy]",
            &format!("\n# password = {planted:?}\n[load.buy]"),
        )
        .replace("env = { ", &format!("env = {{ API_KEY = {planted:?}, "))
        .replace(
            "path = \"/buy\" }",
            &format!("path = \"/buy\", headers = {{ authorization = \"Bearer {planted}\" }} }}"),
        );
    assert_eq!(system.matches(planted).count(), 3);
    let bench = Bench::new(&system, &[("short.toml", &scenario("3s", LATE))]);
    let run = bench.done(
        "POST",
        "/api/v1/runs",
        r#"{"scenario":"short.toml","seed":77}"#,
    );
    assert_eq!(run["seed"], 77);
    let path = format!("/api/v1/runs/{}", run["id"]);
    eventually("it is done", || {
        let run = bench.done("GET", &path, "");
        assert_ne!(run["state"], "error", "{run:#}");
        (run["state"] == "done").then_some(())
    });
    // Nor what is told on the wire.
    let body = format!(r#"{{"password":"{planted}"}}"#);
    let mut told = connect(bench.listen("pager"));
    write!(
        told,
        "POST /alerts?access_token={planted} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {planted}\r\n\
         Cookie: id={planted}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    told.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let placed = bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"hang","ttl":"30s"}"#,
    );
    let fault = format!("/api/v1/faults/{}", placed["id"]);
    let (history, report) = (format!("{path}/history"), format!("{path}/report"));
    for path in [
        "/api/v1",
        "/api/v1/kinds",
        "/api/v1/dependencies",
        "/api/v1/dependencies/pager",
        "/api/v1/faults",
        &fault,
        "/api/v1/calls",
        "/api/v1/scenarios",
        "/api/v1/runs",
        &path,
        &history,
        &report,
        "/api/v1/session",
        "/api/v1/session/scenario",
        "/api/v1/session/scenario.toml",
        "/api/v1/history",
        "/metrics",
    ] {
        let answer = bench.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains(planted), "{path}: {}", answer.body);
    }
    let mut events = Events::open(&bench);
    for name in ["state", "tick"] {
        let event = events.next(name);
        assert!(!event.to_string().contains(planted), "{name}: {event:#}");
    }
    // What is left says all the same what was run; who would judge it is told where the whole is.
    let answer = bench.ask("GET", &history, "");
    let head = answer.body.lines().next().unwrap_or_default();
    assert!(
        head.contains("short.toml") && head.contains("brownout.toml") && !head.contains("[load"),
        "{head}"
    );
    assert!(answer.body.lines().count() > 10, "{}", answer.body);
    let folder = bench.folder.path();
    std::fs::write(folder.join("given.jsonl"), &answer.body).expect("a file");
    let judged = |file: &str| {
        let mut judge = Command::new(env!("CARGO_BIN_EXE_brownout"));
        let judge = judge.args(["judge", file]).current_dir(folder);
        let output = judge.output().expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (status, said) = judged("given.jsonl");
    assert_eq!(status, Some(64), "{said}");
    assert!(said.contains("without the texts of its files"), "{said}");
    let (status, said) = judged("runs/short-1/history.jsonl");
    assert_eq!(status, Some(1), "{said}");
    // One that was packed is given out as it was.
    let file = folder.join("runs/short-1/history.jsonl");
    let packed = std::fs::File::create(brownout::history::packed(&file)).expect("a file");
    let mut into = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    let mut plain = std::fs::File::open(&file).expect("a history");
    std::io::copy(&mut plain, &mut into).expect("it is packed");
    into.finish().expect("it is whole");
    std::fs::remove_file(&file).expect("the plain one goes");
    let again = bench.ask("GET", &history, "");
    assert_eq!((again.status, again.body), (200, answer.body));
    let (status, said) = judged("runs/short-1/history.jsonl");
    assert_eq!(status, Some(1), "{said}");
    let live = bench.ask("GET", "/api/v1/history", "").body;
    let head = live.lines().next().unwrap_or_default();
    assert!(
        head.contains("brownout.toml") && !head.contains("[dependency"),
        "{head}"
    );
}

#[test]
fn it_ends_with_whoever_holds_its_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "--port", "0", "--until-stdin-closes"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut said = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    output.read_line(&mut said).expect("its line");
    assert!(said.starts_with("listening on "), "{said}");
    // What is written to it is not its end.
    input.write_all(b"anything\n").expect("it is read");
    let address = said["listening on http://".len()..]
        .split(',')
        .next()
        .and_then(|address| address.parse().ok());
    drop(connect(address.expect("an address")));
    assert!(child.try_wait().expect("it can be asked").is_none());
    drop(input);
    let began = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be asked") {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                let _ = child.kill();
                panic!("it goes on");
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{status}");
}

/// The samples of a text as Prometheus reads it, by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().expect("a name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            name.strip_suffix(end)
                .filter(|name| kinds.contains_key(name))
        });
        let kind = kinds.get(family.unwrap_or(name));
        let kind = kind.unwrap_or_else(|| panic!("no type: {line}"));
        assert!(*kind != "counter" || name.ends_with("_total"), "{line}");
        if let Some(labels) = series
            .strip_prefix(name)
            .filter(|labels| !labels.is_empty())
        {
            let labels = labels
                .strip_prefix('{')
                .and_then(|labels| labels.strip_suffix('}'));
            for label in labels.expect("braces").split("\",") {
                let (name, value) = label.split_once("=\"").expect("a label");
                let is_name = name
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter == '_');
                assert!(is_name && !value.is_empty(), "{line}");
            }
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(
            samples.insert(series.to_owned(), value).is_none(),
            "twice: {line}"
        );
    }
    samples
}

#[test]
fn the_metrics_are_what_prometheus_reads_and_count_what_happened() {
    let bench = Bench::new(SYSTEM, &[]);
    let pager = bench.listen("pager");
    for _ in 0..3 {
        assert_eq!(status(pager, "/alerts"), 204);
    }
    bench.done(
        "POST",
        "/api/v1/faults",
        r#"{"on":"pager","kind":"error","status":500,"ttl":"1m"}"#,
    );
    assert_eq!(status(pager, "/alerts"), 500);
    let seen = eventually("all is counted", || {
        let answer = bench.ask("GET", "/metrics", "");
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let samples = samples(&answer.body);
        let count = samples.get("brownout_attempt_duration_seconds_count{dependency=\"pager\"}");
        (count == Some(&4.0)).then_some(samples)
    });
    let of_pager = |name: &str, labels: &str| {
        let series = format!("{name}{{dependency=\"pager\"{labels}}}");
        *seen
            .get(&series)
            .unwrap_or_else(|| panic!("{series}: {seen:#?}"))
    };
    let post = ",operation=\"POST\",outcome=";
    assert_eq!(
        of_pager("brownout_attempts_total", &format!("{post}\"ok\"")),
        3.0
    );
    assert_eq!(
        of_pager("brownout_attempts_total", &format!("{post}\"failed\"")),
        1.0
    );
    assert_eq!(of_pager("brownout_calls_total", ""), 4.0);
    assert_eq!(
        of_pager("brownout_attempt_duration_seconds_bucket", ",le=\"+Inf\""),
        4.0
    );
    let buckets: Vec<f64> = seen
        .iter()
        .filter(|(series, _)| {
            series.starts_with("brownout_attempt_duration_seconds_bucket{dependency=\"pager\"")
        })
        .map(|(_, count)| *count)
        .collect();
    assert_eq!(buckets.len(), 16);
    assert!(buckets.iter().all(|count| *count <= 4.0));
    assert_eq!(of_pager("brownout_in_flight", ""), 0.0);
    assert!(of_pager("brownout_bytes_total", ",direction=\"in\"") > 200.0);
    let fault = |name: &str| seen[&format!("{name}{{fault=\"error\",dependency=\"pager\"}}")];
    assert_eq!(
        (
            fault("brownout_faults_in_force"),
            fault("brownout_faults_acted_total")
        ),
        (1.0, 1.0)
    );
    // A lifted fault has acted all the same.
    bench.done("DELETE", "/api/v1/faults", "");
    let after = samples(&bench.ask("GET", "/metrics", "").body);
    let fault = |name: &str| after[&format!("{name}{{fault=\"error\",dependency=\"pager\"}}")];
    assert_eq!(
        (
            fault("brownout_faults_in_force"),
            fault("brownout_faults_acted_total")
        ),
        (0.0, 1.0)
    );
}

#[test]
fn nothing_that_can_be_made_of_the_document_breaks_the_server() {
    let bench = Bench::new(SYSTEM, &[("good.toml", &scenario("2s", LATE))]);
    let address = bench.server.address;
    let fuzz = Command::new(python::tool("schemathesis"))
        .arg("run")
        .arg(format!("http://{address}/api/v1/openapi.json"))
        .args(["--url", &format!("http://{address}")])
        .args(["--header", "X-Brownout: 1"])
        // It never ends.
        .args(["--exclude-path", "/api/v1/stream"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--mode", "all"])
        .args(["--max-examples", "12", "--seed", "7", "--generation-deterministic"])
        .args(["--request-timeout", "10", "--workers", "1", "--warnings", "off", "--no-color"])
        .current_dir(bench.folder.path())
        .env("HYPOTHESIS_DATABASE_FILE", "none")
        .output()
        .expect("schemathesis starts");
    let said = String::from_utf8_lossy(&fuzz.stdout);
    assert!(
        fuzz.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&fuzz.stderr)
    );
    // It did ask: `706 generated, 706 passed`.
    let cases = said.lines().find(|line| line.contains(" generated, "));
    let cases = cases.unwrap_or_else(|| panic!("{said}"));
    let numbers = cases.split(|letter: char| !letter.is_ascii_digit());
    let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
    assert!(numbers[0] > 300 && numbers[0] == numbers[1], "{said}");
    assert_eq!(bench.ask("GET", "/api/v1", "").status, 200);
}
