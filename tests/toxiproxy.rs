//! What would prove that `brownout serve` takes the place of Toxiproxy: the suites of its clients,
//! item by item, and three clients as they are; then that what was wrong with the server they know is
//! right here.

mod node;
mod python;
mod serve;
mod signals;
mod spans;

use serde_json::{Value, json};
use serve::{PATIENCE, Server, connect, echo, listen_of, round_trip, served, whole_answer};
use std::{
    cell::Cell,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The client's error as Toxiproxy's own Go client words it.
fn go_error(what: &str, answer: &serve::Answer) -> String {
    let error = answer.json();
    assert_eq!(error["status"], answer.status);
    format!(
        "{what}: HTTP {}: {}",
        answer.status,
        error["error"].as_str().unwrap_or("?")
    )
}

fn names(toxics: &Value) -> Vec<&str> {
    let toxics = toxics.as_array().expect("a list");
    toxics
        .iter()
        .filter_map(|toxic| toxic["name"].as_str())
        .collect()
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

#[test]
fn every_route_answers_with_its_status_its_type_and_its_body() {
    const JSON: &str = "application/json";
    const PLAIN: &str = "text/plain; charset=utf-8";
    let server = Server::start(&[]);
    let upstream = echo();
    let listen = server.proxy("a", upstream);
    let a = |toxics: &str| {
        format!(
            r#"{{"name":"a","listen":"{listen}","upstream":"{upstream}","enabled":true,"Logger":{{}},"toxics":[{toxics}]}}"#
        )
    };
    let toxic = |latency: u32, toxicity: &str| {
        format!(
            r#"{{"attributes":{{"latency":{latency},"jitter":0}},"name":"t","type":"latency","stream":"downstream","toxicity":{toxicity}}}"#
        )
    };
    let no_proxy = "{\"error\":\"proxy not found\",\"status\":404}\n";
    let no_toxic = "{\"error\":\"toxic not found\",\"status\":404}\n";
    let new = r#"{"name":"t","type":"latency","attributes":{"latency":5}}"#;
    let (one, half) = (toxic(5, "1"), toxic(6, "0.5"));
    let (list, same) = (format!("{{\"a\":{}}}", a("")), a(""));
    let (with, listed) = (a(&half), format!("[{half}]"));
    for (method, path, body, status, kind, expected) in [
        (
            "GET",
            "/version",
            "",
            200,
            "application/json;charset=utf-8",
            "{\"version\": \"2.12.0\"}\n",
        ),
        ("GET", "/proxies", "", 200, JSON, &*list),
        ("GET", "/proxies/a", "", 200, JSON, &same),
        ("GET", "/proxies/%61", "", 200, JSON, &same),
        ("POST", "/proxies/a", "{}", 200, JSON, &same),
        ("PATCH", "/proxies/a", "{}", 200, JSON, &same),
        ("GET", "/proxies/a/toxics", "", 200, JSON, "[]"),
        ("POST", "/proxies/a/toxics", new, 200, JSON, &one),
        (
            "PATCH",
            "/proxies/a/toxics/t",
            r#"{"attributes":{"latency":6}}"#,
            200,
            JSON,
            &toxic(6, "1"),
        ),
        (
            "POST",
            "/proxies/a/toxics/t",
            r#"{"toxicity":0.5}"#,
            200,
            JSON,
            &half,
        ),
        ("GET", "/proxies/a/toxics/t", "", 200, JSON, &half),
        ("GET", "/proxies/a/toxics", "", 200, JSON, &listed),
        ("GET", "/proxies/a", "", 200, JSON, &with),
        ("DELETE", "/proxies/a/toxics/t", "", 204, "", ""),
        ("DELETE", "/proxies/a/toxics/t", "", 404, PLAIN, no_toxic),
        ("PATCH", "/proxies/a/toxics/t", "{}", 404, PLAIN, no_toxic),
        ("GET", "/proxies/a/toxics/t", "", 404, PLAIN, no_toxic),
        ("POST", "/reset", "", 204, "", ""),
        ("POST", "/populate", "[]", 201, JSON, r#"{"proxies":null}"#),
        ("DELETE", "/proxies/a", "", 204, "", ""),
        ("GET", "/proxies", "", 200, JSON, "{}"),
        ("GET", "/proxies/a", "", 404, PLAIN, no_proxy),
        ("PATCH", "/proxies/a", "{}", 404, PLAIN, no_proxy),
        ("DELETE", "/proxies/a", "", 404, PLAIN, no_proxy),
        ("GET", "/proxies/a/toxics", "", 404, PLAIN, no_proxy),
        ("POST", "/proxies/a/toxics", new, 404, PLAIN, no_proxy),
        ("GET", "/proxies/a/toxics/t", "", 404, PLAIN, no_proxy),
    ] {
        let answer = server.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(
            answer.header("content-type").unwrap_or(""),
            kind,
            "{method} {path}"
        );
        assert_eq!(answer.body, expected, "{method} {path}");
        let id = answer
            .header("x-toxiproxy-request-id")
            .expect("every route has it");
        assert_eq!(id.len(), 20, "{id}");
        let plain = answer.header("x-content-type-options") == Some("nosniff");
        assert_eq!(plain, kind == PLAIN, "{method} {path}");
    }
    for (method, path, status, body) in [
        ("GET", "/test", 404, "404 page not found\n"),
        ("GET", "/proxies/", 404, "404 page not found\n"),
        ("GET", "/proxies/a%2Fb", 404, "404 page not found\n"),
        ("GET", "/proxies/a/b/c", 404, "404 page not found\n"),
        ("GET", "/reset", 405, ""),
        ("GET", "/populate", 405, ""),
        ("POST", "/version", 405, ""),
        ("DELETE", "/proxies", 405, ""),
        ("PUT", "/proxies/a", 405, ""),
        ("DELETE", "/proxies/a/toxics", 405, ""),
        ("GET", "//proxies", 301, ""),
    ] {
        let answer = server.ask(method, path, "");
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{method} {path}"
        );
        assert_eq!(
            answer.header("x-toxiproxy-request-id"),
            None,
            "{method} {path}"
        );
    }
}

#[test]
fn go_client_and_api_test() {
    let server = Server::start(&[]);
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = busy.local_addr().expect("its address");
    let create = |body: &str| go_error("create", &server.ask("POST", "/proxies", body));
    server.done(
        "POST",
        "/proxies",
        r#"{"name":"one","listen":"localhost:0","upstream":"x:1","attributes":null}"#,
    );
    assert_eq!(
        create(r#"{"name":"one","upstream":"x:1"}"#),
        "create: HTTP 409: proxy already exists"
    );
    assert_eq!(
        create(r#"{"upstream":"x:1"}"#),
        "create: HTTP 400: missing required field: name"
    );
    assert_eq!(
        create("{}"),
        "create: HTTP 400: missing required field: name"
    );
    assert_eq!(
        create(r#"{"name":"two"}"#),
        "create: HTTP 400: missing required field: upstream"
    );
    assert_eq!(create(""), "create: HTTP 400: bad request body: EOF");
    assert_eq!(
        create(r#"{"name":"#),
        "create: HTTP 400: bad request body: unexpected EOF"
    );
    assert_eq!(
        create(&format!(
            r#"{{"name":"two","upstream":"x:1","listen":"{taken}"}}"#
        )),
        format!("create: HTTP 500: listen tcp {taken}: bind: address already in use")
    );
    assert_eq!(
        create(r#"{"name":"two","upstream":"x:1","listen":"local373"}"#),
        "create: HTTP 500: listen tcp: address local373: missing port in address"
    );
    assert_eq!(
        server
            .done("GET", "/proxies", "")
            .as_object()
            .expect("an object")
            .len(),
        1
    );
    let delete = server.ask("DELETE", "/proxies/two", "");
    assert_eq!(
        go_error("Delete", &delete),
        "Delete: HTTP 404: proxy not found"
    );

    // Toxics: names over both directions, types, streams, attributes.
    let add = |body: &str| server.ask("POST", "/proxies/one/toxics", body);
    for stream in ["upstream", "downstream"] {
        let body =
            format!(r#"{{"type":"latency","stream":"{stream}","toxicity":1,"attributes":null}}"#);
        assert_eq!(add(&body).json()["name"], format!("latency_{stream}"));
    }
    for (body, error) in [
        (
            r#"{"name":"latency_upstream","type":"noop"}"#,
            "HTTP 409: toxic already exists",
        ),
        (r#"{"type":"foobar"}"#, "HTTP 400: invalid toxic type"),
        (
            r#"{"type":"latency","stream":"sideways"}"#,
            "HTTP 400: stream was invalid, can be either upstream or downstream",
        ),
        (
            r#"{"name":"n","type":"latency","attributes":{"latency":1.5}}"#,
            "HTTP 400: bad request body: json: cannot unmarshal number 1.5 into Go struct field attributes.latency of type int64",
        ),
        (
            r#"{"name":"n","type":"latency","attributes":{"latency":"5"}}"#,
            "HTTP 400: bad request body: json: cannot unmarshal string into Go struct field attributes.latency of type int64",
        ),
    ] {
        assert_eq!(
            go_error("AddToxic", &add(body)),
            format!("AddToxic: {error}")
        );
    }
    assert_eq!(
        names(&server.done("GET", "/proxies/one/toxics", "")),
        ["latency_upstream", "latency_downstream"]
    );
    let updated = server.done(
        "PATCH",
        "/proxies/one/toxics/latency_upstream",
        r#"{"attributes":{"jitter":7}}"#,
    );
    assert_eq!(updated["attributes"], json!({"latency": 0, "jitter": 7}));

    // Reset opens what is closed and removes every toxic.
    assert_eq!(
        server.done("PATCH", "/proxies/one", r#"{"enabled":false}"#)["enabled"],
        false
    );
    server.done("POST", "/reset", "");
    let one = server.done("GET", "/proxies/one", "");
    assert_eq!(
        (&one["enabled"], &one["toxics"]),
        (&json!(true), &json!([]))
    );
    assert!(server.ask("GET", "/version", "").body.contains("2.12"));
}

#[test]
fn go_client_populate() {
    let server = Server::start(&[]);
    let port = free_port();
    let (there, other) = (format!("localhost:{port}"), "localhost:0");
    let body = |upstream: &str| {
        format!(
            r#"[{{"name":"one","listen":"{there}","upstream":"{upstream}","enabled":true}},{{"name":"two","listen":"{other}","upstream":"x:2"}}]"#
        )
    };
    let done = server.done("POST", "/populate", &body("x:1"));
    assert_eq!(done["proxies"][0]["listen"], format!("127.0.0.1:{port}"));
    let two = listen_of(&done["proxies"][1]);
    // One that is there as it is asked for stays untouched, its toxics and its state too.
    server.toxic("one", r#""type":"latency""#);
    server.done("PATCH", "/proxies/one", r#"{"enabled":false}"#);
    let again = server.done("POST", "/populate", &body("x:1"));
    assert_eq!(
        names(&again["proxies"][0]["toxics"]),
        ["latency_downstream"]
    );
    assert_eq!(again["proxies"][0]["enabled"], false);
    assert_ne!(
        listen_of(&again["proxies"][1]),
        two,
        "a free port is another port"
    );
    // One that differs is replaced, on the same port at once.
    let moved = server.done("POST", "/populate", &body("x:3"));
    assert_eq!(moved["proxies"][0]["listen"], format!("127.0.0.1:{port}"));
    assert_eq!(moved["proxies"][0]["enabled"], true);
    assert_eq!(moved["proxies"][0]["toxics"], json!([]));

    let populate = |body: &str| server.ask("POST", "/populate", body);
    let missing = populate(r#"[{"name":"three","upstream":"x:1"},{"upstream":"x:1"}]"#);
    assert_eq!(
        go_error("Populate", &missing),
        "Populate: HTTP 400: missing required field: name at proxy 2"
    );
    assert_eq!(missing.header("content-type"), Some("application/json"));
    let missing = populate(r#"[{"name":"three"}]"#);
    assert_eq!(
        missing.json()["error"],
        "missing required field: upstream at proxy 1"
    );
    assert_eq!(
        server.ask("GET", "/proxies/three", "").status,
        404,
        "nothing was made"
    );
    let bad = populate(
        r#"[{"name":"three","upstream":"x:1"},{"name":"four","listen":"local373","upstream":"x:1"}]"#,
    );
    assert_eq!(bad.status, 500);
    let keys: Vec<String> = bad
        .body
        .split('"')
        .skip(1)
        .step_by(2)
        .take(1)
        .map(str::to_owned)
        .collect();
    assert_eq!(keys, ["error"], "{}", bad.body);
    let listed = bad.json();
    assert_eq!(listed["proxies"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["proxies"][0]["name"], "three");
    assert_eq!(server.ask("GET", "/proxies/four", "").status, 404);
}

#[test]
fn ruby_client() {
    let server = Server::start(&[]);
    let upstream = echo();
    let body =
        format!(r#"{{"name":"r","listen":"localhost:0","upstream":"{upstream}","enabled":null}}"#);
    let listen = listen_of(&server.done("POST", "/proxies", &body));
    let timed = || {
        let mut stream = connect(listen);
        round_trip(&mut stream, "omgs").expect("it is open");
        let began = Instant::now();
        assert_eq!(round_trip(&mut stream, "omgs").expect("it answers"), "omgs");
        began.elapsed()
    };
    let is_about = |wanted: u64| {
        // Never too early. How late it may be is the machine's to say: the best of some.
        let best = (0..5).map(|_| timed()).min().expect("some");
        let wanted = Duration::from_millis(wanted);
        assert!(
            best >= wanted && best < wanted + Duration::from_millis(20),
            "{best:?} {wanted:?}"
        );
    };
    is_about(0);
    server.toxic(
        "r",
        r#""type":"latency","stream":"upstream","name":"x","attributes":{"latency":100}"#,
    );
    is_about(100);
    server.toxic(
        "r",
        r#""type":"latency","stream":"upstream","name":"y","attributes":{"latency":100}"#,
    );
    is_about(200);
    server.done("DELETE", "/proxies/r/toxics/y", "");
    server.toxic(
        "r",
        r#""type":"latency","stream":"downstream","attributes":{"latency":100}"#,
    );
    is_about(200);
    server.done("POST", "/reset", "");
    is_about(0);

    // Disabled is refused; enabled again it is where it was.
    assert_eq!(
        server.done("POST", "/proxies/r", r#"{"enabled":false}"#)["listen"],
        listen.to_string()
    );
    let refused = TcpStream::connect(listen).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        server.done("PATCH", "/proxies/r", r#"{"enabled":true}"#)["listen"],
        listen.to_string()
    );
    is_about(0);

    // The same port with another upstream, at once, while a connection is open.
    let mut open = connect(listen);
    round_trip(&mut open, "x").expect("it is open");
    let other = served(|mut stream| {
        let _ = stream.write_all(b"other");
    });
    let body = format!(r#"[{{"name":"r","listen":"{listen}","upstream":"{other}"}}]"#);
    server.done("POST", "/populate", &body);
    assert_eq!(open.read(&mut [0; 8]).expect("closed in order"), 0);
    let mut said = String::new();
    connect(listen)
        .read_to_string(&mut said)
        .expect("it answers");
    assert_eq!(said, "other");
    for (method, path, status) in [("POST", "/proxies", 409), ("GET", "/proxies/n", 404)] {
        let body = r#"{"name":"r","upstream":"x:1"}"#;
        assert_eq!(server.ask(method, path, body).status, status);
    }
    assert_eq!(
        server
            .ask("POST", "/proxies/r/toxics", r#"{"type":"bad"}"#)
            .status,
        400
    );
}

#[test]
fn java_client() {
    let server = Server::start(&[]);
    for name in ["b", "c", "a"] {
        server.done(
            "POST",
            "/proxies",
            &format!(r#"{{"name":"{name}","upstream":"x:1"}}"#),
        );
    }
    let list = server.ask("GET", "/proxies", "").body;
    let place = |name: &str| list.find(&format!("\"{name}\":{{")).expect("it is there");
    assert!(place("a") < place("b") && place("b") < place("c"), "{list}");
    let form = format!(
        "Host: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        server.address
    );
    let post = |path: &str, body: &str| {
        let answer = server.ask_with("POST", path, body, &form);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    for (kind, attributes) in [
        ("latency", json!({"latency": 0, "jitter": 0})),
        ("bandwidth", json!({"rate": 0})),
        ("slow_close", json!({"delay": 0})),
        ("timeout", json!({"timeout": 0})),
        ("reset_peer", json!({"timeout": 0})),
        (
            "slicer",
            json!({"average_size": 0, "size_variation": 0, "delay": 0}),
        ),
        ("limit_data", json!({"bytes": 0})),
        ("noop", json!({})),
        ("packet_loss", json!({"loss_rate": 0.1, "correlation": 0})),
    ] {
        let made = post(
            "/proxies/a/toxics",
            &format!(r#"{{"type":"{kind}","unknown":[{{}}]}}"#),
        );
        assert_eq!(made["attributes"], attributes, "{kind}");
    }
    let path = "/proxies/a/toxics/bandwidth_downstream";
    assert_eq!(post(path, r#"{"attributes":{"rate":200}}"#)["toxicity"], 1);
    let changed = post(path, r#"{"toxicity":0.1}"#);
    assert_eq!(
        (&changed["toxicity"], &changed["attributes"]["rate"]),
        (&json!(0.1), &json!(200))
    );
    assert_eq!(post("/proxies/a", r#"{"enabled":false}"#)["enabled"], false);
    let there = format!("127.0.0.1:{}", free_port());
    assert_eq!(
        post("/proxies/a", &format!(r#"{{"listen":"{there}"}}"#))["listen"],
        there
    );
    assert_eq!(
        post("/proxies/a", r#"{"upstream":"y:2"}"#)["upstream"],
        "y:2"
    );
    assert_eq!(server.ask("POST", "/reset", "").status, 204);
    let again = server.ask("POST", "/proxies", r#"{"name":"a","upstream":"x:1"}"#);
    assert_eq!(
        again.json(),
        json!({"error": "proxy already exists", "status": 409})
    );
}

#[test]
fn php_client() {
    let server = Server::start(&[]);
    let create = server.ask(
        "POST",
        "/proxies",
        r#"{"name":"p","upstream":"x:1","listen":null}"#,
    );
    assert_eq!(create.status, 201);
    let body =
        r#"{"type":"slicer","attributes":{"delay":1,"average_size":1000,"size_variation":1000}}"#;
    let made = server.ask("POST", "/proxies/p/toxics", body);
    assert_eq!(made.status, 200);
    assert!(
        made.body
            .starts_with(r#"{"attributes":{"average_size":1000,"size_variation":1000,"delay":1},"#),
        "{}",
        made.body
    );
    assert_eq!(
        server
            .ask("GET", "/proxies/p/toxics/slicer_downstream", "")
            .body,
        made.body
    );
    assert_eq!(
        server
            .ask("POST", "/populate", r#"{"name":"q","upstream":"x:1"}"#)
            .status,
        400
    );
    // A closed proxy keeps the address in the words in which it was asked for.
    server.done(
        "POST",
        "/proxies",
        r#"{"name":"c","upstream":"x:1","listen":"localhost:55555","enabled":false}"#,
    );
    let moved = server.done(
        "POST",
        "/proxies/c",
        r#"{"listen":"localhost:55556","enabled":false}"#,
    );
    assert_eq!(moved["listen"], "localhost:55556");
    let nowhere = server.ask("POST", "/proxies/c", r#"{"listen":"local373"}"#);
    assert_eq!(
        nowhere.json(),
        json!({"error": "address local373: missing port in address", "status": 500})
    );
    assert_eq!(
        server.done("GET", "/proxies/c", "")["listen"],
        "localhost:55556"
    );
    for (path, status) in [
        ("/proxies/p/toxics/slicer_downstream", 204),
        ("/proxies/p", 204),
        ("/proxies/p", 404),
    ] {
        assert_eq!(server.ask("DELETE", path, "").status, status);
    }
}

#[test]
fn net_client() {
    let server = Server::start(&[]);
    let made = server.done(
        "POST",
        "/proxies",
        r#"{"Name":"n","Listen":"localhost:55555","Upstream":"google.com","Enabled":false,"Client":null}"#,
    );
    assert_eq!(
        (&made["listen"], &made["upstream"]),
        (&json!("localhost:55555"), &json!("google.com"))
    );
    let toxic = server.done(
        "POST",
        "/proxies/n/toxics",
        r#"{"Attributes":{"Latency":1000,"Jitter":5},"Name":"L","Type":"latency","Stream":"UpStream","Toxicity":80.0}"#,
    );
    assert_eq!(
        toxic,
        json!({"attributes": {"latency": 1000, "jitter": 5}, "name": "L", "type": "latency", "stream": "UpStream", "toxicity": 80})
    );
    let same = server.done(
        "POST",
        "/proxies/n/toxics/L",
        r#"{"Name":"M","Type":"slicer","Stream":"DownStream","Attributes":{"Latency":null,"Jitter":6},"Toxicity":null}"#,
    );
    assert_eq!(
        same,
        json!({"attributes": {"latency": 1000, "jitter": 6}, "name": "L", "type": "latency", "stream": "UpStream", "toxicity": 80})
    );
    let slicer =
        r#"{"Type":"slicer","Attributes":{"Average_Size":5,"average_size":6,"Size_Variation":2}}"#;
    assert_eq!(
        server.done("POST", "/proxies/n/toxics", slicer)["attributes"]["average_size"],
        6
    );
    let renamed = server.done(
        "POST",
        "/proxies/n",
        r#"{"Name":"other","Listen":null,"Upstream":"y:1"}"#,
    );
    assert_eq!(
        (&renamed["name"], &renamed["upstream"]),
        (&json!("n"), &json!("y:1"))
    );
    server.done(
        "POST",
        "/proxies",
        r#"{"Name":"closed","Listen":"localhost:0","Upstream":"x:1","Enabled":false}"#,
    );
    server.done("DELETE", "/proxies/n", "");
    server.done("POST", "/reset", "");
    assert_eq!(server.done("GET", "/proxies/closed", "")["enabled"], true);
}

#[test]
fn python_clients_as_they_are() {
    let server = Server::start(&[]);
    let output = python::command("tests/clients/toxiproxy_clients.py")
        .arg(server.address.port().to_string())
        .arg(echo().port().to_string())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["toxiproxy-python", "chaostoolkit-toxiproxy"]
    );
}

#[test]
fn rust_clients_as_they_are() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/toxiproxy_clients");
    let server = Server::start(&[]);
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("toxiproxy-clients"))
        .arg(server.address.port().to_string())
        .arg(echo().port().to_string())
        // What is meant for the test's own package is not meant for this one.
        .env_remove("RUSTFLAGS")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["noxious-client", "toxiproxy_rust"]
    );
}

#[test]
fn node_client_as_it_is() {
    // Its users name `localhost`, which may be either address.
    let server = Server::start(&[]);
    let url = format!("http://localhost:{}", server.address.port());
    let upstream = echo().to_string();
    let found = node::run(
        "toxiproxy_client.js",
        &[Path::new(&url), Path::new(&upstream)],
    );
    assert_eq!(found["failed"], json!([]), "{found}");
    assert_eq!(found["passed"].as_u64(), Some(9), "{found}");
}

#[test]
fn toxics_act_on_connections_that_are_open_and_let_go_of_them() {
    let server = Server::start(&[]);
    let mut stream = connect(server.proxy("e", echo()));
    assert_eq!(round_trip(&mut stream, "before").expect("open"), "before");
    server.toxic("e", r#""type":"latency","attributes":{"latency":60000}"#);
    stream.write_all(b"held").expect("open");
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("set");
    assert!(stream.read(&mut [0; 8]).is_err(), "it is held");
    // What waits is let go as soon as the toxic is, and its removal does not wait for anything.
    let began = Instant::now();
    server.done("DELETE", "/proxies/e/toxics/latency_downstream", "");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut back = [0; 4];
    stream.read_exact(&mut back).expect("let go");
    assert_eq!(&back, b"held");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(round_trip(&mut stream, "after").expect("open"), "after");
    // A timeout's removal closes.
    server.toxic("e", r#""type":"timeout","attributes":{"timeout":0}"#);
    stream.write_all(b"lost").expect("open");
    server.done("DELETE", "/proxies/e/toxics/timeout_downstream", "");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed in order");
    assert!(rest.is_empty() || rest == b"lost", "{rest:?}");
}

#[test]
fn a_client_that_has_sent_all_still_gets_its_answer() {
    let server = Server::start(&[]);
    let listen = server.proxy("e", echo());
    assert_eq!(
        whole_answer(connect(listen), "all").expect("an answer"),
        "all bye"
    );
    server.toxic("e", r#""type":"latency","attributes":{"latency":50}"#);
    assert_eq!(
        whole_answer(connect(listen), "all").expect("an answer"),
        "all bye"
    );
}

#[test]
fn reset_peer_resets_where_it_fires_and_nowhere_else() {
    let server = Server::start(&[]);
    let upstream = echo();
    let (fires, spares) = (
        server.proxy("fires", upstream),
        server.proxy("spares", upstream),
    );
    let mut open = connect(fires);
    round_trip(&mut open, "x").expect("open");
    server.toxic("fires", r#""type":"reset_peer","attributes":{"timeout":0}"#);
    server.toxic(
        "spares",
        r#""type":"reset_peer","toxicity":0,"attributes":{"timeout":0}"#,
    );
    // Also on a connection that was open before.
    for stream in [&mut open, &mut connect(fires)] {
        let error = round_trip(stream, "x").expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let mut spared = connect(spares);
    assert_eq!(round_trip(&mut spared, "x").expect("open"), "x");
    server.done("PATCH", "/proxies/spares", r#"{"enabled":false}"#);
    assert_eq!(spared.read(&mut [0; 8]).expect("in order"), 0);
}

/// A server that says how many of its connections are open.
fn counted() -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let address = served(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        while matches!(stream.read(&mut [0; 64]), Ok(count) if count > 0) {}
        counter.fetch_sub(1, Ordering::SeqCst);
    });
    (address, open)
}

/// Waits until something is so.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_connection_that_its_client_has_reset_does_not_stay_for_a_toxic_that_holds_it() {
    use std::sync::atomic::Ordering;
    let server = Server::start(&[]);
    let (upstream, open) = counted();
    let listen = server.proxy("p", upstream);
    server.toxic(
        "p",
        r#""type":"latency","stream":"upstream","attributes":{"latency":3600000}"#,
    );
    let mut client = connect(listen);
    client.write_all(b"held").expect("sent");
    eventually("it is led on", || open.load(Ordering::SeqCst) == 1);
    let socket = socket2::Socket::from(client);
    socket
        .set_linger(Some(Duration::ZERO))
        .expect("it is reset when it is closed");
    drop(socket);
    eventually("it ends", || open.load(Ordering::SeqCst) == 0);
}

#[test]
fn populate_knows_a_proxy_that_was_never_open_by_its_address() {
    let server = Server::start(&[]);
    let upstream = echo();
    let port = free_port();
    let made = format!(
        r#"{{"name":"p","listen":"localhost:{port}","upstream":"{upstream}","enabled":false}}"#
    );
    server.done("POST", "/proxies", &made);
    server.toxic("p", r#""type":"latency","name":"kept""#);
    let same = format!(
        r#"[{{"name":"p","listen":"127.0.0.1:{port}","upstream":"{upstream}","enabled":false}}]"#
    );
    let populated = server.done("POST", "/populate", &same);
    assert_eq!(names(&populated["proxies"][0]["toxics"]), ["kept"]);
}

#[test]
fn where_a_path_leads_is_said_in_letters_that_a_header_may_hold() {
    let server = Server::start(&[]);
    let answer = server.ask("GET", "//proxies//a%20b%0d%0aX-Evil:%20y%C3%A9", "");
    assert_eq!(answer.status, 301);
    assert_eq!(
        answer.header("location"),
        Some("/proxies/a%20b%0D%0AX-Evil:%20y%C3%A9")
    );
    assert_eq!(answer.header("x-evil"), None);
}

#[test]
fn limits_rates_and_slices_are_as_asked_for() {
    let server = Server::start(&[]);
    let listen = server.proxy("e", echo());
    server.toxic("e", r#""type":"limit_data","attributes":{"bytes":5}"#);
    assert_eq!(
        whole_answer(connect(listen), "0123456789").expect("in order"),
        "01234"
    );
    server.done("POST", "/reset", "");
    server.toxic(
        "e",
        r#""type":"bandwidth","stream":"upstream","attributes":{"rate":100}"#,
    );
    let (began, text) = (Instant::now(), "x".repeat(50_000));
    let answer = whole_answer(connect(listen), &text).expect("an answer");
    assert_eq!(answer.len(), 50_004);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(500) && took < Duration::from_secs(5),
        "{took:?}"
    );
    server.done("POST", "/reset", "");
    server.toxic(
        "e",
        r#""type":"slicer","attributes":{"average_size":0,"size_variation":-1,"delay":0}"#,
    );
    server.toxic(
        "e",
        r#""type":"bandwidth","stream":"upstream","name":"odd","attributes":{"rate":-1}"#,
    );
    let mut stalled = connect(listen);
    stalled.write_all(b"slices").expect("open");
    server.done("DELETE", "/proxies/e/toxics/odd", "");
    let mut back = [0; 6];
    stalled.read_exact(&mut back).expect("let go");
    assert_eq!(&back, b"slices");
}

#[test]
fn a_server_that_is_slow_to_accept_or_not_there_keeps_nobody_waiting() {
    let server = Server::start(&[]);
    // Its queue is full, so that further connects stay unanswered.
    let full =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("a port");
    full.listen(0).expect("it listens");
    let address = full
        .local_addr()
        .expect("its address")
        .as_socket()
        .expect("an address");
    let listen = server.proxy("slow", address);
    let waiting: Vec<TcpStream> = (0..5).map(|_| connect(listen)).collect();
    let began = Instant::now();
    server.toxic("slow", r#""type":"latency""#);
    let echoed = server.proxy("e", echo());
    assert_eq!(round_trip(&mut connect(echoed), "x").expect("open"), "x");
    server.done("PATCH", "/proxies/slow", r#"{"enabled":false}"#);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(waiting);
    // One that is not there: accepted, then closed in order.
    let nobody = server.proxy("nobody", SocketAddr::from(([127, 0, 0, 1], free_port())));
    assert_eq!(connect(nobody).read(&mut [0; 8]).expect("in order"), 0);
}

/// Which of 40 connections a toxic of toxicity 0.5 closes.
fn closed(server: &Server, listen: SocketAddr) -> Vec<bool> {
    server.toxic(
        "e",
        r#""type":"limit_data","toxicity":0.5,"attributes":{"bytes":1}"#,
    );
    let closed = (0..40).map(|_| {
        let mut stream = connect(listen);
        round_trip(&mut stream, "ab").is_err()
    });
    closed.collect()
}

#[test]
fn the_seed_decides_on_which_connections_toxics_act() {
    let run = |seed: &str| {
        let server = Server::start(&["-seed", seed]);
        let listen = server.proxy("e", echo());
        closed(&server, listen)
    };
    let first = run("7");
    let hits = first.iter().filter(|hit| **hit).count();
    assert!((8..=32).contains(&hits), "{hits}");
    assert_eq!(first, run("7"));
    assert_ne!(first, run("-8"));
}

#[test]
fn bytes_are_counted_while_they_flow() {
    let server = Server::start(&["-proxy-metrics", "-runtime-metrics=true"]);
    let upstream = echo();
    let listen = server.proxy("e", upstream);
    let mut stream = connect(listen);
    round_trip(&mut stream, "12345").expect("open");
    let metrics = server.ask("GET", "/metrics", "");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for (way, direction) in [
        ("received", "upstream"),
        ("sent", "upstream"),
        ("received", "downstream"),
        ("sent", "downstream"),
    ] {
        let line = format!(
            r#"toxiproxy_proxy_{way}_bytes_total{{direction="{direction}",listener="{listen}",proxy="e",upstream="{upstream}"}} 5"#
        );
        assert!(
            metrics.body.lines().any(|one| one == line),
            "{line}\n{}",
            metrics.body
        );
    }
    assert!(metrics.body.contains("\nprocess_resident_memory_bytes "));
}

#[test]
fn no_page_in_a_browser_changes_anything() {
    let server = Server::start(&[]);
    let (host, create) = (
        format!("Host: {}\r\n", server.address),
        r#"{"name":"x","upstream":"x:1"}"#,
    );
    for (headers, body, says) in [
        (
            format!("{host}User-Agent: Mozilla/5.0 (X11)\r\n"),
            create,
            "User agent not allowed\n",
        ),
        (
            format!("{host}Origin: https://evil.example\r\n"),
            create,
            "Origin not allowed\n",
        ),
        (
            format!("{host}Origin: null\r\nContent-Type: text/plain\r\n"),
            create,
            "Origin not allowed\n",
        ),
        (
            format!("{host}Sec-Fetch-Site: cross-site\r\n"),
            create,
            "Origin not allowed\n",
        ),
        (
            format!("Host: rebound.example:{}\r\n", server.address.port()),
            create,
            "Host not allowed\n",
        ),
    ] {
        let answer = server.ask_with("POST", "/proxies", body, &headers);
        assert_eq!((answer.status, &*answer.body), (403, says), "{headers}");
    }
    assert_eq!(server.ask("GET", "/proxies", "").body, "{}");
    for agent in ["Mozilla", "curl/8", "mozilla/5.0", ""] {
        let headers = format!("{host}User-Agent: {agent}\r\n");
        assert_eq!(
            server.ask_with("GET", "/proxies", "", &headers).status,
            200,
            "{agent}"
        );
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(2_000_000));
    let mut stream = connect(server.address);
    let head = format!(
        "POST /proxies HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n",
        large.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let _ = stream.write_all(large.as_bytes());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn another_address_than_loopback_needs_a_token() {
    let refused = Command::new(env!("CARGO_BIN_EXE_brownout"))
        .args(["serve", "-host=0.0.0.0", "-port", "0"])
        .env_remove("BROWNOUT_TOKEN")
        .output()
        .expect("it starts");
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("BROWNOUT_TOKEN"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "-host=0.0.0.0", "-port", "0"])
        .env("BROWNOUT_TOKEN", "0123456789abcdef");
    let server = Server::of(command);
    let ask = |token: &str| {
        let headers = format!("Host: faults:8474\r\n{token}");
        server.ask_with("GET", "/proxies", "", &headers).status
    };
    assert_eq!(ask(""), 401);
    assert_eq!(ask("Authorization: Bearer wrong\r\n"), 401);
    assert_eq!(ask("Authorization: Bearer 0123456789abcdef\r\n"), 200);
}

#[test]
fn a_proxy_that_others_reach_needs_a_token_or_stands_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("proxies.json");
    let text = r#"[{"name":"f","listen":"0.0.0.0:0","upstream":"x:1"}]"#;
    std::fs::write(&file, text).expect("written");
    // A seed of 64 bits, as Toxiproxy takes it, is one that every reader of JSON can give back.
    let server = Server::start(&["-config", file.to_str().expect("text"), "-seed=-1"]);
    let about = server.done("GET", "/api/v1", "");
    assert_eq!(about["seed"], 9_007_199_254_740_991_u64);
    let of_file = server.done("GET", "/proxies/f", "");
    assert!(
        of_file["listen"]
            .as_str()
            .is_some_and(|listen| listen.starts_with("0.0.0.0:")),
        "{of_file}"
    );
    // It may be closed and opened again, and led elsewhere.
    for body in [
        r#"{"enabled":false}"#,
        r#"{"enabled":true}"#,
        r#"{"upstream":"y:1"}"#,
    ] {
        let there = server.done("POST", "/proxies/f", body);
        assert_eq!(there["listen"], of_file["listen"], "{body}");
    }
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let body = format!(r#"{{"name":"a","listen":"{listen}","upstream":"x:1"}}"#);
        for (path, body) in [
            ("/proxies", body.clone()),
            ("/populate", format!("[{body}]")),
        ] {
            let refused = server.ask("POST", path, &body);
            assert_eq!(refused.status, 400, "{path} {body}: {refused:?}");
            assert!(refused.body.contains("others could connect"), "{refused:?}");
        }
        assert_eq!(server.ask("GET", "/proxies/a", "").status, 404);
    }
    server.done(
        "POST",
        "/proxies",
        r#"{"name":"a","listen":"127.0.0.2:0","upstream":"x:1"}"#,
    );
    let refused = server.ask("POST", "/proxies/a", r#"{"listen":"0.0.0.0:0"}"#);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(server.done("GET", "/proxies/a", "")["enabled"], false);
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "-port", "0"])
        .env("BROWNOUT_TOKEN", "0123456789abcdef");
    let server = Server::of(command);
    let headers = format!(
        "Host: {}\r\nAuthorization: Bearer 0123456789abcdef\r\n",
        server.address
    );
    let body = r#"{"name":"a","listen":"0.0.0.0:0","upstream":"x:1"}"#;
    let made = server.ask_with("POST", "/proxies", body, &headers);
    assert_eq!(made.status, 201, "{made:?}");
}

#[test]
fn it_starts_with_its_file_and_ends_with_its_ports_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("proxies.json");
    let port = free_port();
    let text = format!(
        r#"[{{"name":"f","listen":"localhost:{port}","upstream":"{}"}}]"#,
        echo()
    );
    std::fs::write(&file, text).expect("written");
    let mut server = Server::start(&["-config", file.to_str().expect("text")]);
    let mut open = connect(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(round_trip(&mut open, "x").expect("open"), "x");
    let pid = rustix::process::Pid::from_child(&server.child);
    signals::interrupt(pid);
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
    for address in [server.address, SocketAddr::from(([127, 0, 0, 1], port))] {
        TcpListener::bind(address).expect("the port is free");
    }
    // Toxics may stand in the file; only a proxy that is new gets them.
    let toxics = r#""toxics":[{"type":"latency","attributes":{"latency":5}},{"type":"http_error","attributes":{"status":500}}]"#;
    let text = format!(r#"[{{"name":"f","upstream":"x:1",{toxics}}}]"#);
    std::fs::write(&file, text).expect("written");
    let server = Server::start(&["-config", file.to_str().expect("text")]);
    let there = server.done("GET", "/proxies/f/toxics", "");
    assert_eq!(
        names(&there),
        ["latency_downstream", "http_error_downstream"]
    );
    let wrong = r#"[{"name":"g","upstream":"x:1","toxics":[{"type":"nothing"}]}]"#;
    let refused = server.ask("POST", "/populate", wrong);
    assert_eq!(
        (refused.status, refused.json()["proxies"].is_null()),
        (400, true)
    );
    assert_eq!(server.ask("GET", "/proxies/g", "").status, 404);
    // A file that is wrong keeps nothing from starting; a port that is taken does.
    std::fs::write(&file, "{").expect("written");
    let server = Server::start(&["-config", file.to_str().expect("text")]);
    assert_eq!(server.ask("GET", "/proxies", "").body, "{}");
    let taken = Command::new(env!("CARGO_BIN_EXE_brownout"))
        .args(["serve", "--port", &server.address.port().to_string()])
        .output()
        .expect("it starts");
    assert_eq!(taken.status.code(), Some(69), "{taken:?}");
}

/// What a server says on standard error from its start to its end, with this configuration file.
fn said_of(config: &Path, level: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["serve", "--port", "0", "--config"])
        .arg(config);
    command.env_remove("LOG_LEVEL").env("NO_COLOR", "1");
    if let Some(level) = level {
        command.env("LOG_LEVEL", level);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut line).expect("its line");
    // Whatever is to be said, where it listens is.
    assert!(line.starts_with("listening on http://"), "{line:?}");
    signals::interrupt(rustix::process::Pid::from_child(&child));
    let mut said = String::new();
    let mut err = child.stderr.take().expect("a pipe");
    err.read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success(), "{said}");
    said
}

#[test]
fn log_level_says_how_much_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, r#"[{"name":"f","upstream":"x:1"}]"#).expect("written");
    std::fs::write(&wrong, "{").expect("written");
    let (done, failed) = (
        "1 proxies from the configuration",
        "the configuration file:",
    );
    for (level, tells, tells_failures) in [
        (None, true, true),
        (Some("trace"), true, true),
        (Some("info"), true, true),
        (Some("nothing that is known"), true, true),
        (Some("warn"), false, true),
        (Some("ERROR"), false, true),
        (Some("fatal"), false, false),
        (Some("disabled"), false, false),
    ] {
        let said = said_of(&right, level);
        assert_eq!(said.contains(done), tells, "{level:?}: {said}");
        let said = said_of(&wrong, level);
        assert_eq!(said.contains(failed), tells_failures, "{level:?}: {said}");
        assert!(tells_failures || said.is_empty(), "{level:?}: {said}");
    }
}

/// A number that `tests/endure` sets for its long form; this one in short.
fn long_or(variable: &str, short: u64) -> u64 {
    std::env::var(variable).map_or(short, |said| {
        let number = said.parse();
        number.unwrap_or_else(|error| panic!("{variable}={said}: {error}"))
    })
}

/// A server of the tests' binary; `tests/endure` names the optimised one.
fn endured() -> Server {
    let binary = std::env::var_os("BROWNOUT_ENDURE_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_brownout").into());
    let mut command = Command::new(binary);
    command.args(["serve", "--port", "0"]);
    Server::of(command)
}

/// A link that is always under data: what came back over it, in bytes or in answers. It connects anew
/// when its connection ends, until nobody listens any more.
fn under_data(
    listen: SocketAddr,
    one: impl Fn(TcpStream, &AtomicU64) + Send + 'static,
) -> Arc<AtomicU64> {
    let came = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&came);
    thread::spawn(move || {
        while let Ok(stream) = TcpStream::connect(listen) {
            one(stream, &counted);
        }
    });
    came
}

/// Keeps sending, and takes back what comes, until the connection ends.
fn bytes_to_and_fro(mut stream: TcpStream, came: &AtomicU64) {
    let Ok(mut sending) = stream.try_clone() else {
        return;
    };
    let sent = thread::spawn(move || while sending.write_all(&[b'x'; 16 * 1024]).is_ok() {});
    let mut buffer = [0; 64 * 1024];
    while let Ok(count) = stream.read(&mut buffer)
        && count > 0
    {
        came.fetch_add(count as u64, Ordering::Relaxed);
    }
    let _ = stream.shutdown(Shutdown::Both);
    let _ = sent.join();
}

/// Keeps asking, one request after another, until the connection ends.
fn requests_to_and_fro(mut stream: TcpStream, came: &AtomicU64) {
    while fetched(&mut stream, "/").is_ok_and(|answer| answer.ends_with("200 OK ok")) {
        came.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kinds of toxics, with what may hold them up for longest.
const KINDS: &[&str] = &[
    r#""type":"latency","attributes":{"latency":60000,"jitter":500}"#,
    r#""type":"bandwidth","attributes":{"rate":0}"#,
    r#""type":"slicer","attributes":{"average_size":10,"size_variation":5,"delay":1000000}"#,
    r#""type":"slow_close","attributes":{"delay":60000}"#,
    r#""type":"noop""#,
    r#""type":"packet_loss","attributes":{"loss_rate":0.5}"#,
    r#""type":"reset_peer","toxicity":0.01,"attributes":{"timeout":60000}"#,
    r#""type":"timeout","toxicity":0.01,"attributes":{"timeout":0}"#,
    r#""type":"limit_data","toxicity":0.01,"attributes":{"bytes":1}"#,
];

/// The same of those that know HTTP. None is about a direction.
const KINDS_OF_HTTP: &[&str] = &[
    r#""type":"http_latency","attributes":{"delay":"60s"}"#,
    r#""type":"http_hang""#,
    r#""type":"http_error","toxicity":0.01,"attributes":{"status":503}"#,
    r#""type":"http_late_reply","attributes":{"delay":"60s"}"#,
    r#""type":"http_stalled_body""#,
    r#""type":"http_lost_reply","toxicity":0.01"#,
    r#""type":"http_overload","attributes":{"servers":1,"service":"60s"}"#,
    r#""type":"http_quota","attributes":{"counts":"requests","limit":1,"window":"60s","refusal":"429"}"#,
];

/// Adds, changes and removes toxics of these kinds, round after round, and gives the longest that any
/// request took.
fn switched(server: &Server, proxy: &str, kinds: &[&str], change: &str, rounds: u64) -> Duration {
    let longest = Cell::new(Duration::ZERO);
    let timed = |method: &str, path: &str, body: &str| {
        let began = Instant::now();
        server.done(method, path, body);
        longest.set(longest.get().max(began.elapsed()));
    };
    let toxics = format!("/proxies/{proxy}/toxics");
    let toxic = format!("{toxics}/t");
    for round in 0..rounds {
        for kind in kinds {
            let stream = ["upstream", "downstream"][(round % 2) as usize];
            let body = format!(r#"{{"name":"t","stream":"{stream}",{kind}}}"#);
            timed("POST", &toxics, &body);
            timed("PATCH", &toxic, change);
            timed("DELETE", &toxic, "");
        }
        timed("POST", "/reset", "");
    }
    longest.get()
}

/// That data flows over every one of these links.
fn all_flow(links: &[Arc<AtomicU64>]) {
    let before: Vec<u64> = links
        .iter()
        .map(|came| came.load(Ordering::Relaxed))
        .collect();
    let limit = Instant::now() + PATIENCE;
    for (nth, (came, before)) in links.iter().zip(before).enumerate() {
        while came.load(Ordering::Relaxed) == before {
            assert!(Instant::now() < limit, "nothing comes over link {nth}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn adding_and_removing_toxics_never_waits_for_connections_under_data() {
    let rounds = long_or("BROWNOUT_ENDURE_ROUNDS", 20);
    let count = long_or("BROWNOUT_ENDURE_LINKS", 64);
    let server = endured();
    let bytes = server.proxy("bytes", echo());
    let body = format!(
        r#"{{"name":"http","upstream":"{}","protocol":"http"}}"#,
        web()
    );
    let http = listen_of(&server.done("POST", "/proxies", &body));
    let jitter = r#"{"attributes":{"jitter":1}}"#;
    for (name, kinds, change) in [
        ("bytes", KINDS, jitter),
        ("http", KINDS_OF_HTTP, r#"{"toxicity":0.02}"#),
    ] {
        let links: Vec<_> = (0..count)
            .map(|_| match name {
                "bytes" => under_data(bytes, bytes_to_and_fro),
                _ => under_data(http, requests_to_and_fro),
            })
            .collect();
        all_flow(&links);
        let longest = switched(&server, name, kinds, change, rounds);
        // They were under data to the end, and nothing of it stays.
        all_flow(&links);
        let began = Instant::now();
        server.done("DELETE", &format!("/proxies/{name}"), "");
        let longest = longest.max(began.elapsed());
        println!(
            "measured: {name}: {rounds} times each of {} toxics added, changed, removed with {count} links: \
             at most {longest:.1?}",
            kinds.len()
        );
        assert!(longest < Duration::from_secs(1), "{name}: {longest:?}");
    }
}

/// A number of kilobytes in the kernel's words about a process, in bytes.
fn memory(server: &Server, name: &str) -> u64 {
    let path = format!("/proc/{}/status", server.child.id());
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let count = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    count.expect("it is there") * 1024
}

#[test]
fn what_large_transfers_take_under_latency_is_bounded() {
    let each = long_or("BROWNOUT_ENDURE_MIB", 96) << 20;
    let server = endured();
    let source = served(move |mut stream| {
        let chunk = vec![7; 1 << 20];
        for _ in 0..each >> 20 {
            if stream.write_all(&chunk).is_err() {
                return;
            }
        }
    });
    let listen = server.proxy("e", source);
    server.toxic("e", r#""type":"latency","attributes":{"latency":300}"#);
    let before = memory(&server, "RssAnon:");
    let reads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let (mut stream, mut buffer, mut all) = (connect(listen), vec![0; 1 << 18], 0);
                while let Ok(count) = stream.read(&mut buffer)
                    && count > 0
                {
                    all += count as u64;
                }
                all
            })
        })
        .collect();
    let mut most = 0;
    while !reads.iter().all(thread::JoinHandle::is_finished) {
        most = most.max(memory(&server, "RssAnon:"));
        thread::sleep(Duration::from_millis(20));
    }
    for read in reads {
        assert_eq!(read.join().expect("it reads"), each);
    }
    println!(
        "measured: 4 transfers of {} MiB at once under a latency of 300 ms: at most {} MiB of memory, {} before",
        each >> 20,
        most >> 20,
        before >> 20
    );
    assert!(most < 64 << 20, "{most} bytes, {before} before");
    assert!(
        most > before + (8 << 20),
        "nothing was held: {most} bytes, {before} before"
    );
}

/// A server of HTTP that answers everything with `ok`.
fn web() -> SocketAddr {
    served(|mut stream| {
        let mut buffer = [0; 64 * 1024];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

/// Asks for a path, and gives the answer's first line with what its body holds.
fn fetched(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: web\r\n\r\n")?;
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().ok())?
        });
        if count == 0 || body.len() >= length.unwrap_or(usize::MAX) {
            let line = head.lines().next().unwrap_or_default();
            return Ok(format!("{line} {body}"));
        }
    }
}

#[test]
fn toxics_that_know_http_and_s3_answer_as_those_do() {
    let server = Server::start(&["--seed", "3"]);
    let listen = server.proxy("web", web());
    let mut before = connect(listen);
    assert_eq!(
        fetched(&mut before, "/").expect("an answer"),
        "HTTP/1.1 200 OK ok"
    );
    let toxic = r#"{"type":"http_error","attributes":{"status":503,"body":"over","retry_after":"2s","when":{"path":"/a*"}}}"#;
    let made = server.done("POST", "/proxies/web/toxics", toxic);
    assert_eq!(
        (&made["name"], &made["attributes"]["status"]),
        (&json!("http_error_downstream"), &json!(503))
    );
    // The first of them puts an engine in the way: what was open is closed, once.
    assert_eq!(before.read(&mut [0; 8]).expect("in order"), 0);
    let mut stream = connect(listen);
    assert_eq!(
        fetched(&mut stream, "/a/b").expect("an answer"),
        "HTTP/1.1 503 Service Unavailable over"
    );
    assert_eq!(
        fetched(&mut stream, "/b").expect("an answer"),
        "HTTP/1.1 200 OK ok"
    );
    // From now on they come and go on connections that are open.
    let path = "/proxies/web/toxics/http_error_downstream";
    let updated = server.done(
        "PATCH",
        path,
        r#"{"attributes":{"when":null,"status":429}}"#,
    );
    assert_eq!(
        updated["attributes"],
        json!({"status": 429, "body": "over", "retry_after": "2s"})
    );
    assert_eq!(
        fetched(&mut stream, "/b").expect("an answer"),
        "HTTP/1.1 429 Too Many Requests over"
    );
    server.done("DELETE", path, "");
    assert_eq!(
        fetched(&mut stream, "/b").expect("an answer"),
        "HTTP/1.1 200 OK ok"
    );
    // Two requests of a quota, then what a refusal looks like.
    server.toxic("web", r#""type":"quota","name":"q","attributes":{"counts":"requests","limit":2,"total":true,"refusal":{"status":429}}"#);
    let lines: Vec<String> = (0..3)
        .map(|_| {
            fetched(&mut stream, "/")
                .expect("an answer")
                .chars()
                .take(12)
                .collect()
        })
        .collect();
    assert_eq!(lines, ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 429"]);
    assert_eq!(names(&server.done("GET", "/proxies/web/toxics", "")), ["q"]);
    server.done("POST", "/reset", "");
    assert_eq!(
        fetched(&mut stream, "/").expect("an answer"),
        "HTTP/1.1 200 OK ok"
    );
    // A share of the requests, decided by the seed.
    server.toxic(
        "web",
        r#""type":"http_error","toxicity":0.5,"attributes":{"status":500}"#,
    );
    let failed = (0..60)
        .filter(|_| {
            fetched(&mut stream, "/")
                .expect("an answer")
                .contains(" 500 ")
        })
        .count();
    assert!((15..=45).contains(&failed), "{failed}");

    // Made with its protocol, a proxy has its engine from the start.
    let body = format!(r#"{{"name":"s3","upstream":"{}","protocol":"s3"}}"#, web());
    let made = server.done("POST", "/proxies", &body);
    assert_eq!(made["protocol"], "s3");
    let mut open = connect(listen_of(&made));
    fetched(&mut open, "/bucket/key").expect("an answer");
    server.toxic(
        "s3",
        r#""type":"s3_error","attributes":{"error":"SlowDown"}"#,
    );
    let answer = fetched(&mut open, "/bucket/key").expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 503 Slow Down") && answer.contains("<Code>SlowDown</Code>"),
        "{answer}"
    );
}

#[test]
fn toxics_that_know_redis_or_only_a_stream() {
    let server = Server::start(&[]);
    let redis = served(|mut stream| {
        while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
            if stream.write_all(b"+PONG\r\n").is_err() {
                return;
            }
        }
    });
    let listen = server.proxy("cache", redis);
    server.toxic(
        "cache",
        r#""type":"redis_error","attributes":{"error":"LOADING"}"#,
    );
    let mut stream = connect(listen);
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").expect("open");
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"-LOADING");
    // Nobody said what is spoken, and nobody needs to know: it hangs, and goes on when let go.
    let listen = server.proxy("stream", echo());
    server.toxic("stream", r#""type":"hang""#);
    let mut stream = connect(listen);
    stream.write_all(b"hello").expect("open");
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("set");
    assert!(stream.read(&mut [0; 8]).is_err(), "it hangs");
    server.done("POST", "/reset", "");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut back = [0; 5];
    stream.read_exact(&mut back).expect("let go");
    assert_eq!(&back, b"hello");
}

/// A PostgreSQL that lets everybody in and does one statement.
fn postgres() -> SocketAddr {
    served(|mut stream| {
        let ready = b"Z\0\0\0\x05I";
        let mut length = [0; 4];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        if stream.read_exact(&mut startup).is_err() {
            return;
        }
        let _ = stream.write_all(&[&b"R\0\0\0\x08\0\0\0\0"[..], ready].concat());
        // What no client of this test asks is meant to fail.
        while let Ok((b'Q', text)) = message(&mut stream) {
            let answer: &[u8] = match &*text {
                b"SELECT 1\0" => b"C\0\0\0\x0dSELECT 1\0",
                _ => b"E\0\0\0\x1eSERROR\0VERROR\0C42601\0Mno\0\0",
            };
            let _ = stream.write_all(&[answer, ready].concat());
        }
    })
}

/// The next message of PostgreSQL's protocol: its type and its body.
fn message(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// What a session is told until it may go on, or until it ends: what was done, or the SQLSTATE.
fn told(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut told = String::new();
    loop {
        let (kind, body) = match message(stream) {
            Ok((b'Z', _)) => return Ok(told),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(told + " and out"),
            other => other?,
        };
        let mut fields = body.split(|byte| *byte == 0);
        let said = match kind {
            b'C' => fields.next(),
            b'E' => fields.find_map(|field| field.strip_prefix(b"C")),
            _ => None,
        };
        told.push_str(&String::from_utf8_lossy(said.unwrap_or_default()));
    }
}

/// A session that was asked to be opened.
fn session(listen: SocketAddr) -> TcpStream {
    let mut stream = connect(listen);
    let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    stream.write_all(startup).expect("sent");
    stream
}

fn ask_for_a_row(stream: &mut TcpStream) {
    stream.write_all(b"Q\0\0\0\x0dSELECT 1\0").expect("open");
}

#[test]
fn toxics_that_know_postgresql_act_and_let_go() {
    let server = Server::start(&[]);
    let listen = server.proxy("db", postgres());
    let error = |name: &str, error: &str| {
        let said = format!(
            r#""name":"{name}","type":"postgres_error","attributes":{{"error":"{error}"}}"#
        );
        server.toxic("db", &said);
    };
    let lift = |name: &str| server.done("DELETE", &format!("/proxies/db/toxics/{name}"), "");
    let row = |stream: &mut TcpStream| {
        ask_for_a_row(stream);
        told(stream).expect("an answer")
    };
    // A statement is refused, by its condition's name or its SQLSTATE, and the session goes on.
    error("statements", "serialization_failure");
    let mut open = session(listen);
    assert_eq!(told(&mut open).expect("it is let in"), "");
    assert_eq!(row(&mut open), "40001");
    server.done(
        "PATCH",
        "/proxies/db/toxics/statements",
        r#"{"attributes":{"error":"57014"}}"#,
    );
    assert_eq!(row(&mut open), "57014");
    lift("statements");
    assert_eq!(row(&mut open), "SELECT 1");
    // Who connects is refused, and who is in stays in.
    error("connects", "53300");
    let refused = told(&mut session(listen)).expect("an answer");
    assert_eq!(refused, "53300 and out");
    assert_eq!(row(&mut open), "SELECT 1");
    lift("connects");
    let mut let_in = session(listen);
    assert_eq!(told(&mut let_in).expect("it is let in"), "");
    // The one server that there is takes a minute for each: who waits for it is let go with the rest.
    server.toxic(
        "db",
        r#""type":"postgres_overload","attributes":{"servers":1,"service":"60s"}"#,
    );
    ask_for_a_row(&mut open);
    open.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("set");
    assert!(open.read(&mut [0; 8]).is_err(), "it waits");
    let began = Instant::now();
    lift("postgres_overload_downstream");
    open.set_read_timeout(Some(PATIENCE)).expect("set");
    assert_eq!(told(&mut open).expect("an answer"), "SELECT 1");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn overload_refuses_what_finds_no_room_and_lets_go() {
    let server = Server::start(&[]);
    let body = format!(
        r#"{{"name":"web","upstream":"{}","protocol":"http"}}"#,
        web()
    );
    let listen = listen_of(&server.done("POST", "/proxies", &body));
    // The kind alone, as it is known what is spoken.
    server.toxic(
        "web",
        r#""type":"overload","attributes":{"servers":1,"service":"60s","queue":0}"#,
    );
    let served = thread::spawn(move || fetched(&mut connect(listen), "/first"));
    eventually("it is served", || {
        let proxy = server.done("GET", "/api/v1/dependencies/toxiproxy:web", "");
        proxy["live"]["in_flight"] == 1
    });
    let mut second = connect(listen);
    let refused = fetched(&mut second, "/second").expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(!served.is_finished(), "the first was not served for long");
    let path = "/proxies/web/toxics/overload_downstream";
    server.done("DELETE", path, "");
    for answer in [
        served.join().expect("it ends"),
        fetched(&mut second, "/fourth"),
    ] {
        assert_eq!(answer.expect("an answer"), "HTTP/1.1 200 OK ok");
    }
}

#[test]
fn what_is_wrong_with_such_a_toxic_is_said_and_changes_nothing() {
    let server = Server::start(&[]);
    let listen = server.proxy("web", web());
    let mut open = connect(listen);
    fetched(&mut open, "/").expect("an answer");
    let add = |body: &str| server.ask("POST", "/proxies/web/toxics", body);
    for (body, words) in [
        (
            r#"{"type":"http_error","attributes":{"statsu":500}}"#,
            "unknown key `statsu`",
        ),
        (
            r#"{"type":"http_error","attributes":{"status":"lots"}}"#,
            "status",
        ),
        (
            r#"{"type":"s3_error","attributes":{"error":"SlowDwon"}}"#,
            "SlowDown",
        ),
        (
            r#"{"type":"tcp_error","attributes":{}}"#,
            "cannot act on the protocol tcp",
        ),
        (r#"{"type":"lost_reply"}"#, "http_lost_reply"),
        (r#"{"type":"overload"}"#, "http_overload"),
        (
            r#"{"type":"http_overload","attributes":{"servers":0,"service":"10ms"}}"#,
            "no server: a capacity of zero",
        ),
        (
            r#"{"type":"http_overload","attributes":{"servers":1,"service":"0s"}}"#,
            "a service that takes no time",
        ),
        (
            r#"{"type":"http_overload","attributes":{"servers":1,"service":"10ms","queue":"long"}}"#,
            "`queue` is a number of requests",
        ),
        (
            r#"{"type":"http_overload","attributes":{"service":"10ms"}}"#,
            "servers",
        ),
        (
            r#"{"type":"postgres_error","attributes":{}}"#,
            "does not say which `error`",
        ),
        (
            r#"{"type":"postgres_error","attributes":{"error":"serialization_failur"}}"#,
            "did you mean `serialization_failure`?",
        ),
        (
            r#"{"type":"postgres_error","attributes":{"error":"XX123"}}"#,
            "no message is known for the SQLSTATE `XX123`",
        ),
        (
            r#"{"type":"postgres_error","attributes":{"error":"53300","status":503}}"#,
            "an error of PostgreSQL has no `status`",
        ),
        (
            r#"{"type":"http_error","stream":"x"}"#,
            "stream was invalid",
        ),
        (r#"{"type":"kill"}"#, "invalid toxic type"),
        (r#"{"type":"refuse"}"#, "invalid toxic type"),
    ] {
        let answer = add(body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(words), "{words}: {}", answer.body);
    }
    assert_eq!(server.done("GET", "/proxies/web/toxics", ""), json!([]));
    assert_eq!(
        fetched(&mut open, "/").expect("still open"),
        "HTTP/1.1 200 OK ok"
    );
    assert_eq!(add(r#"{"type":"http_hang"}"#).status, 200);
    assert_eq!(add(r#"{"type":"http_hang"}"#).status, 409);
    let other = add(r#"{"type":"redis_error","attributes":{"error":"OOM"}}"#);
    assert!(other.body.contains("which speaks http"), "{}", other.body);
    let unknown = server.ask(
        "POST",
        "/proxies",
        r#"{"name":"x","upstream":"x:1","protocol":"ftp"}"#,
    );
    assert!(
        unknown.body.contains("no protocol `ftp`"),
        "{}",
        unknown.body
    );
    for number in 0..99 {
        server.toxic("web", &format!(r#""type":"noop","name":"{number}""#));
    }
    assert!(add(r#"{"type":"noop"}"#).body.contains("at most 100"));
    let closed =
        |nth: usize| format!(r#"{{"name":"closed{nth}","upstream":"x:1","enabled":false}}"#);
    let many: Vec<String> = (0..1_000).map(closed).collect();
    let answer = server.ask("POST", "/populate", &format!("[{}]", many.join(",")));
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("too many proxies: at most 1000"),
        "{answer:?}"
    );
    let all = server.done("GET", "/proxies", "");
    assert_eq!(all.as_object().expect("proxies").len(), 1_000);
    for nth in 0..10 {
        server.ask("DELETE", &format!("/proxies/closed{nth}"), "");
    }
    // An upstream that no engine can connect to is one of Toxiproxy's all the same.
    server.done(
        "POST",
        "/proxies",
        r#"{"name":"x","upstream":"google.com"}"#,
    );
    assert_eq!(
        server
            .ask("POST", "/proxies/x/toxics", r#"{"type":"http_hang"}"#)
            .status,
        400
    );
}

#[test]
fn ctl_does_by_hand_what_clients_do() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address);
    let upstream = echo().to_string();
    let ctl = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_brownout"))
            .arg("ctl")
            .args(arguments)
            .env("TOXIPROXY_URL", &url)
            .env("NO_COLOR", "1")
            .output()
            .expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let said = |arguments: &[&str]| {
        let (status, out, err) = ctl(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {out}{err}");
        out
    };
    assert_eq!(said(&["list"]), "");
    let made = said(&["create", "-l", "localhost:0", "-u", &upstream, "odd name"]);
    let listen = made
        .rsplit(' ')
        .next()
        .expect("where it listens")
        .to_owned();
    assert_eq!(
        said(&["ls"]),
        format!("odd name\t{listen}\t{upstream}\tenabled\t0")
    );
    let add = [
        "toxic",
        "add",
        "-t",
        "latency",
        "-a",
        "latency=5",
        "--tox",
        "0.5",
        "-u",
        "odd name",
    ];
    assert_eq!(said(&add), "added latency_upstream to odd name");
    let update = [
        "toxic",
        "update",
        "-n",
        "latency_upstream",
        "-a",
        "jitter=7",
        "odd name",
    ];
    said(&update);
    assert_eq!(
        said(&["inspect", "odd name"]).lines().nth(1),
        Some(
            "latency_upstream\ttype=latency\tstream=upstream\ttoxicity=0.50\tattributes=[jitter=7 latency=5]"
        ),
        "what was not said stays"
    );
    said(&["toxic", "remove", "-n", "latency_upstream", "odd name"]);
    assert_eq!(said(&["toggle", "odd name"]), "odd name is now disabled");
    assert_eq!(
        server.done("GET", "/proxies/odd%20name", "")["enabled"],
        false
    );
    said(&["reset"]);
    assert_eq!(
        server.done("GET", "/proxies/odd%20name", "")["enabled"],
        true
    );
    let (status, _, err) = ctl(&["toxic", "add", "-t", "nothing", "odd name"]);
    assert_eq!(status, Some(64));
    assert!(err.contains("invalid toxic type"), "{err}");
    said(&["delete", "odd name"]);
    let (status, _, err) = ctl(&["inspect", "odd name"]);
    assert_eq!(
        (status, err.contains("proxy not found")),
        (Some(64), true),
        "{err}"
    );
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (status, _, err) = ctl(&["--host", &nobody, "list"]);
    assert_eq!(status, Some(69), "{err}");
    assert!(err.contains("brownout serve"), "{err}");
}

#[test]
fn what_is_asked_and_the_faults_that_act_are_in_the_teams_own_traces() {
    let (address, spans) = spans::receiver();
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command.args(["serve", "--port", "0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
    let server = Server::of(command);
    let upstream = echo();
    let made = server.done(
        "POST",
        "/proxies",
        &format!(r#"{{"name":"stock","upstream":"{upstream}","protocol":"http"}}"#),
    );
    server.toxic(
        "stock",
        r#""name":"t","type":"http_error","attributes":{"status":503}"#,
    );
    let mut stream = connect(listen_of(&made));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    write!(
        stream,
        "GET /items?secret=1 HTTP/1.1\r\nHost: x\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\nConnection: close\r\n\r\n"
    )
    .expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let span = spans.recv_timeout(PATIENCE).expect("a span");
    assert_eq!(span["traceId"], trace);
    assert_eq!(span["parentSpanId"], "b7ad6b7169203331");
    let event = span["events"][0].to_string();
    assert!(event.contains("http_error t on stock"), "{event}");
    assert!(!span.to_string().contains("secret"), "{span}");
}
