//! What would prove that `brownout init` leads a newcomer to a verdict: a small real service in a
//! folder with nothing but its `.env` and its compose file, then `init`, `check` and `run` as they
//! would be typed.

mod harness;

use harness::{Bench, Left, python};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// A server of prices on a port of its own, ended when dropped.
struct Prices {
    child: Child,
    port: u16,
}

impl Prices {
    fn start() -> Self {
        let code = "import http.server as h\n\
                    class H(h.BaseHTTPRequestHandler):\n\
                    \tprotocol_version = 'HTTP/1.1'\n\
                    \tdef do_GET(self):\n\
                    \t\tself.send_response(200)\n\
                    \t\tself.send_header('Content-Length', '1')\n\
                    \t\tself.end_headers()\n\
                    \t\tself.wfile.write(b'7')\n\
                    \tdef log_message(self, *a): pass\n\
                    s = h.ThreadingHTTPServer(('127.0.0.1', 0), H)\n\
                    print(s.server_address[1], flush=True)\n\
                    s.serve_forever()\n";
        let mut child = Command::new(python::interpreter())
            .args(["-c", code])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says its port");
        let port = line.trim().parse().expect("a port");
        Self { child, port }
    }
}

impl Drop for Prices {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of a shop: `.env` and compose file, and nothing else.
fn shop(prices: &Prices, deadline: &str) -> Bench {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/shop_app.py");
    let compose = format!(
        "services:\n  web:\n    build: .\n    command: [{:?}, {:?}, \"--port\", \"8000\"{deadline}]\n    \
         healthcheck:\n      test: curl -f http://localhost:8000/healthz\n",
        python.display().to_string(),
        program.display().to_string(),
    );
    let env = format!(
        "# The shop.\nPRICES_API_URL=http://127.0.0.1:{}\nSESSION_SECRET=hunter2\nnonsense\n",
        prices.port
    );
    Bench::new()
        .file(".env", &env)
        .file("compose.yaml", &compose)
}

/// `init`, `check`, `run`.
fn rehearsed(prices: &Prices, deadline: &str) -> Left {
    let bench = shop(prices, deadline);
    let init = bench.brownout(&["init", "--yes"]);
    init.assert_status(0);
    assert!(
        init.stderr.contains("`.env`, line 4: no `=`"),
        "{}",
        init.stderr
    );
    assert!(!init.stderr.contains("hunter2"), "{}", init.stderr);
    for file in ["brownout.toml", "scenarios/first-outage.toml"] {
        let text = fs::read_to_string(bench.path().join(file)).expect("it was written");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let check = bench.brownout(&["check", "scenarios/first-outage.toml"]);
    check.assert_status(0);
    assert_eq!(check.stderr, "");
    bench.brownout(&[
        "run",
        "scenarios/first-outage.toml",
        "--seed",
        "1",
        "--speed",
        "2x",
    ])
}

#[test]
fn a_service_with_time_outs_passes_its_first_rehearsal_and_one_without_fails() {
    let prices = Prices::start();
    let (careful, careless) = std::thread::scope(|scope| {
        let careful = scope.spawn(|| rehearsed(&prices, ", \"--deadline\", \"1\""));
        let careless = scope.spawn(|| rehearsed(&prices, ""));
        (
            careful.join().expect("it ends"),
            careless.join().expect("it ends"),
        )
    });
    careful.assert_status(0);
    careless.assert_status(1);
    assert_eq!(careless.verdict("FIRST-1"), "fail");
    assert_eq!(careless.verdict("FIRST-2"), "fail");
    for id in ["FIRST-1", "FIRST-2", "FIRST-3", "FIRST-4", "FIRST-5"] {
        assert_eq!(careful.verdict(id), "pass");
    }
}

/// The program of the shop, with a deadline of a second.
fn shop_command(port: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/shop_app.py");
    [
        &python::interpreter().display().to_string(),
        &program.display().to_string(),
        "--port",
        port,
        "--deadline",
        "1",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What was written checks, and its run comes to verdicts. One run after the other: a machine that has
/// too much to do shows nothing.
fn first_run(bench: &Bench, speed: &str, env: &[(&str, &str)]) -> Left {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let check = bench.brownout(&["check", "scenarios/first-outage.toml"]);
    check.assert_status(0);
    assert_eq!(check.stderr, "");
    let args = ["--seed", "1", "--speed", speed];
    let run = [&["run", "scenarios/first-outage.toml"][..], &args].concat();
    bench.finished(bench.command(&run).envs(env.iter().copied()))
}

#[test]
fn a_third_party_that_is_called_by_its_name_is_rehearsed_too() {
    let bench = Bench::new();
    let command = shop_command("{port.app}").join(" ");
    let init = bench.brownout(&[
        "init",
        "--yes",
        "--host",
        "api.prices.example",
        "--command",
        &command,
        "--ready",
        "/healthz",
    ]);
    init.assert_status(0);
    let system = fs::read_to_string(bench.path().join("brownout.toml")).expect("it was written");
    assert!(
        system.contains("[dependency.prices]")
            && system.contains(r#"hosts    = ["api.prices.example"]"#),
        "{system}"
    );
    // The program has the host from nobody that Brownout could ask.
    let left = first_run(
        &bench,
        "4x",
        &[("PRICES_API_URL", "http://api.prices.example")],
    );
    left.assert_status(0);
    for id in ["FIRST-1", "FIRST-2", "FIRST-3", "FIRST-4", "FIRST-5"] {
        assert_eq!(left.verdict(id), "pass", "{id}: {}", left.stdout);
    }
    let both = bench.brownout(&[
        "init",
        "--host",
        "a.example",
        "--external",
        "http://127.0.0.1:1",
    ]);
    both.assert_status(64);
}

/// A port of loopback on which nobody listens.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn a_system_that_somebody_else_starts_is_rehearsed_too() {
    let prices = Prices::start();
    let (own, listen) = (free_port(), free_port());
    let bench = Bench::new();
    let url = format!("http://127.0.0.1:{own}");
    let depends = format!("PRICES_API_URL=http://127.0.0.1:{}", prices.port);
    let init = bench.brownout(&["init", "--yes", "--external", &url, "--depends", &depends]);
    init.assert_status(0);
    let said = "start the system with PRICES_API_URL=http://127.0.0.1:10080";
    assert!(init.stderr.contains(said), "{}", init.stderr);
    // Several such tests may run side by side.
    let file = bench.path().join("brownout.toml");
    let system = fs::read_to_string(&file).expect("it was written");
    assert!(
        system.contains("PRICES_API_URL=http://127.0.0.1:10080\n"),
        "{system}"
    );
    fs::write(&file, system.replace(":10080", &format!(":{listen}"))).expect("it is written");
    let command = shop_command(&own.to_string());
    let child = Command::new(&command[0])
        .args(&command[1..])
        .env("PRICES_API_URL", format!("http://127.0.0.1:{listen}"))
        .spawn()
        .expect("python starts");
    let _shop = Ended(child);
    until_it_listens(own);
    let left = first_run(&bench, "4x", &[]);
    left.assert_status(0);
    for id in ["FIRST-1", "FIRST-2", "FIRST-3", "FIRST-4"] {
        assert_eq!(left.verdict(id), "pass", "{id}: {}", left.stdout);
    }
    // Its processes are not seen.
    assert!(!left.stdout.contains("FIRST-5"), "{}", left.stdout);
}

/// A program that is ended when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody listens on this port of loopback.
fn until_it_listens(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_that_is_named_by_host_and_port_is_rehearsed_too() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/postgres_app.py");
    let command = format!(
        "{} {} {{port.app}}",
        python::interpreter().display(),
        program.display()
    );
    let env = "PGHOST=db.internal.example\nPGPORT=6432\nPGUSER=app\nPGDATABASE=app\n";
    let bench = Bench::new().file(".env", env);
    let init = bench.brownout(&[
        "init",
        "--yes",
        "--command",
        &command,
        "--ready",
        "/healthz",
        "--path",
        "/one",
    ]);
    init.assert_status(0);
    // What else stands in `.env` the system has from its environment, as ever.
    let left = first_run(&bench, "2x", &[("PGUSER", "app"), ("PGDATABASE", "app")]);
    // psycopg waits for ever where nobody says otherwise.
    left.assert_status(1);
    for (id, status) in [
        ("FIRST-1", "fail"),
        ("FIRST-2", "fail"),
        ("FIRST-5", "pass"),
    ] {
        assert_eq!(left.verdict(id), status, "{id}: {}", left.stdout);
    }
}

#[test]
fn questions_are_asked_on_a_terminal_and_the_answers_written() {
    let bench = Bench::new().file(
        "compose.yaml",
        "services: {db: {image: postgres, ports: ['5433:5432']}}\n",
    );
    let mut command = python::command("tests/clients/terminal.py");
    let output = command
        .args([
            "./api --listen 127.0.0.1:9000",
            "/healthz",
            "/orders",
            "10",
            "yes",
            "--",
        ])
        .args([env!("CARGO_BIN_EXE_brownout"), "init"])
        .current_dir(bench.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("python starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("How is the system started?: "), "{shown}");
    assert!(
        shown.contains("How many requests a second? [20/s]: 10"),
        "{shown}"
    );
    let system = fs::read_to_string(bench.path().join("brownout.toml")).expect("it was written");
    for part in [
        r#"command = ["./api", "--listen", "127.0.0.1:{port.app}"]"#,
        r#"ready   = { path = "/healthz""#,
        r#"path = "/orders""#,
        r#"rate     = "10/s""#,
        r#"upstream = "127.0.0.1:5433""#,
    ] {
        assert!(system.contains(part), "{part}\n{system}");
    }
    bench
        .brownout(&["check", "scenarios/first-outage.toml"])
        .assert_status(0);
}

#[test]
fn nothing_is_written_over_what_is_there() {
    let bench = Bench::new()
        .file(".env", "REDIS_URL=redis://localhost\n")
        .file("server.js", "")
        .file("brownout.toml", "mine\n");
    let left = bench.brownout(&["init", "--yes"]);
    left.assert_status(64);
    assert_eq!(
        left.stderr,
        "error: `brownout.toml` is there already; nothing was written\n\
         hint: --force replaces what is there, --dry-run only prints\n"
    );
    assert!(!bench.path().join("scenarios").exists());
    assert_eq!(
        fs::read_to_string(bench.path().join("brownout.toml")).unwrap(),
        "mine\n"
    );
    let dry = bench.brownout(&["init", "--yes", "--dry-run"]);
    dry.assert_status(0);
    assert!(dry.stdout.contains("[dependency.redis]"), "{}", dry.stdout);
    assert!(!bench.path().join("scenarios").exists());
    bench
        .brownout(&["init", "--yes", "--force"])
        .assert_status(0);
    bench
        .brownout(&["check", "scenarios/first-outage.toml"])
        .assert_status(0);
}

#[test]
fn what_is_missing_is_named_with_its_options() {
    let left = Bench::new().brownout(&["init"]);
    left.assert_status(64);
    assert_eq!(
        left.stderr,
        "error: nothing in `.` says how the system is started or what it depends on\n\
         hint: --command 'node server.js' --depends DATABASE_URL=postgres://127.0.0.1:5432/app\n"
    );
}

#[test]
fn a_password_is_taken_from_the_environment_of_the_run() {
    let bench = Bench::new()
        .file(".env", "MQ_URL=amqp://u:hunter2@127.0.0.1:1\n")
        .file("server.py", "import sys\nsys.exit('never started')\n");
    let init = bench.brownout(&["init", "--yes"]);
    init.assert_status(0);
    assert!(
        init.stderr.contains("first     export MQ_PASSWORD=…"),
        "{}",
        init.stderr
    );
    let run = bench.brownout(&["run", "scenarios/first-outage.toml"]);
    run.assert_status(69);
    let said = format!("{}{}", run.stdout, run.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        said.contains("the environment variable MQ_PASSWORD is not set"),
        "{said}"
    );
}
