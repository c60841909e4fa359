//! What would prove that a whole scenario can be run from a Rust test: a system that the test itself
//! has started passes where it behaves and fails where it does not, what shows nothing is no pass, and
//! a system that is started by its command is gone when the scenario is over.

mod python;
mod spans;

use brownout::rehearsal::{Error, Scenario, Status};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Answers each connection's request with what `answer` says to it: the rest of a status line.
fn serve(answer: impl Fn() -> String + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let text = answer();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {text}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            });
        }
    });
    address
}

/// The status with which an address answers; none if it does not.
fn status_of(address: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(
        stream,
        "GET /items HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.get(9..12)?.parse().ok()
}

const SCENARIO: &str = r#"
title = "The stock answers 503"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "errors"
lasts = "2s"
  [[phase.fault]]
  kind = "error"
  on = "stock"
  status = 503

[[phase]]
name = "recovery"
lasts = "2s"

[[expect]]
id = "SHOP-1"
that = "a shop without its stock goes on selling"
kind = "success-rate"
load = "buy"
during = ["errors"]
at_least = "90%"
"#;

/// The files of a run: the start of the system, and the address at which its stock is proxied.
fn files(start: &str, stock: SocketAddr, upstream: SocketAddr) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let system = format!(
        "[system]\n{start}\n\n[dependency.stock]\nprotocol = \"http\"\nupstream = \"{upstream}\"\nlisten = \"{stock}\"\n\n\
         [load.buy]\nrate = \"50/s\"\nrequest = {{ method = \"GET\", path = \"/\" }}\ntimeout = \"2s\"\nok = {{ status = \"200\" }}\n"
    );
    std::fs::write(folder.path().join("system.toml"), system).expect("written");
    std::fs::write(folder.path().join("scenario.toml"), SCENARIO).expect("written");
    folder
}

fn scenario(folder: &Path) -> Scenario {
    let scenario = Scenario::file(folder.join("scenario.toml")).system(folder.join("system.toml"));
    scenario.out(folder.join("out")).seed(7)
}

/// An address on which nothing listens.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

/// A shop that asks its stock, and says what that says, or sells all the same.
fn shop(sells_all_the_same: bool) -> TempDir {
    let upstream = serve(|| "200 OK".to_owned());
    let stock = free();
    let shop = serve(move || match status_of(stock) {
        Some(200) => "200 OK".to_owned(),
        _ if sells_all_the_same => "200 Sold".to_owned(),
        _ => "500 No Stock".to_owned(),
    });
    files(&format!("external = \"http://{shop}\""), stock, upstream)
}

#[test]
fn a_shop_that_sells_all_the_same_passes() {
    let folder = shop(true);
    let judged = scenario(folder.path())
        .run()
        .wait()
        .expect("it is carried out");
    judged.require_pass().expect("it behaves");
    assert_eq!((judged.status(), judged.seed()), (Status::Pass, 7));
    assert!(judged.history().is_file());
}

#[tokio::test]
async fn a_shop_that_does_not_fails_and_the_error_says_why() {
    let folder = shop(false);
    let judged = scenario(folder.path())
        .run()
        .await
        .expect("it is carried out");
    let error = judged.require_pass().expect_err("it misbehaves");
    let said = format!("{error:?}");
    for part in [
        "The stock answers 503: fail (seed 7)",
        "fail: SHOP-1 - a shop without its stock goes on selling",
        "required: at least 90%",
        "GET /: status 500",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let verdict = judged.verdict("SHOP-1").expect("it was judged");
    assert_eq!(verdict.status, Status::Fail);
    assert!(verdict.count >= 50 && !verdict.evidence.is_empty());
}

#[test]
fn a_shop_that_never_asks_its_stock_shows_nothing_and_is_stopped_in_the_end() {
    let start = format!(
        "command = [\"{}\", \"-m\", \"http.server\", \"{{port.shop}}\", \"--bind\", \"127.0.0.1\"]\n\
         url = \"http://127.0.0.1:{{port.shop}}\"\nready = {{ path = \"/\", within = \"20s\" }}",
        python::interpreter().display()
    );
    let folder = files(&start, free(), serve(|| "200 OK".to_owned()));
    let brownout = env!("CARGO_BIN_EXE_brownout");
    let judged = scenario(folder.path()).program(brownout).run().wait();
    let judged = judged.expect("it is carried out");
    assert_eq!(judged.status(), Status::Inconclusive);
    let said = judged
        .require_pass()
        .expect_err("it shows nothing")
        .to_string();
    assert!(
        said.contains("because:") && said.contains("acted on 0"),
        "{said}"
    );
    let history = std::fs::read_to_string(judged.history()).expect("it is kept");
    assert!(history.contains("\"event\":\"stopped\""), "{history}");
    assert!(history.contains(r#""how":"completed""#));
}

#[test]
fn files_that_are_wrong_are_refused_with_all_their_problems() {
    let folder = files("external = \"http://127.0.0.1:1\"", free(), free());
    let text = SCENARIO
        .replace("success-rate", "success-rat")
        .replace("status = 503", "status = 3");
    std::fs::write(folder.path().join("scenario.toml"), text).expect("written");
    let Err(Error::Files { problems, .. }) = scenario(folder.path()).run().wait() else {
        panic!("they are wrong");
    };
    for part in ["did you mean `success-rate`?", "from 200 to 599"] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn a_run_sends_spans_with_its_faults_where_the_environment_says() {
    let (receiver, spans) = spans::receiver();
    let folder = shop(true);
    let run = || {
        let left = std::process::Command::new(env!("CARGO_BIN_EXE_brownout"))
            .args(["run", "scenario.toml", "--system", "system.toml"])
            .args(["--out", "out"])
            .current_dir(folder.path())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{receiver}"))
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&left.stdout).into_owned();
        (left.status, said)
    };
    let (mut status, mut said) = run();
    // That the machine was too busy for the load is no answer.
    if status.code() == Some(2) && said.contains("missed its schedule") {
        spans.try_iter().for_each(drop);
        (status, said) = run();
    }
    assert!(status.success(), "{status}: {said}");
    let names: Vec<String> = spans
        .try_iter()
        .map(|span| span["events"].to_string())
        .collect();
    let hit = names
        .iter()
        .filter(|events| events.contains("error on stock, status 503"));
    let hit = hit.count();
    assert!(hit > 50 && hit < names.len(), "{hit} of {}", names.len());
}
