//! How much of redis-benchmark's direct rate is left through the proxy with nothing in force, and
//! what a command costs there: `cargo bench --bench redis`. Needs redis-server and redis-benchmark.
//! The goal is 85 % of the direct rate, as far as the floor leaves room for it.

mod hop;

use brownout::protocol::Protocol;
use hop::{Ran, Ways};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_server() -> (Server, u16) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("its address").port();
    drop(free);
    let child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "redis-server did not come up");
        std::thread::yield_now();
    }
    (Server(child), port)
}

/// What redis-benchmark says.
fn run(port: u16, command: &str, pipeline: usize, requests: u64) -> Ran {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-t", command, "-c", "50", "--csv"])
        .args(["-n", &requests.to_string(), "-P", &pipeline.to_string()])
        .output()
        .expect("redis-benchmark runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().unwrap_or_default().to_owned();
    let rate = line.split(',').nth(1).map(|rate| rate.trim_matches('"'));
    let rate = rate.and_then(|rate| rate.parse().ok());
    Ran {
        rate: rate.unwrap_or_else(|| panic!("no rate in {text}")),
        requests,
    }
}

fn main() {
    // `cargo bench` says so; `cargo test` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (_server, port) = start_server();
    let ways = Ways::to(port, Protocol::Redis);
    ways.print_head("command × pipe");
    for (command, pipeline, requests) in [
        ("get", 1, 200_000),
        ("set", 1, 200_000),
        ("get", 16, 1_000_000),
        ("set", 16, 1_000_000),
    ] {
        let asked = format!("{command} × {pipeline}");
        ways.measure(&asked, |port| run(port, command, pipeline, requests));
    }
    ways.end();
}
