//! How much of redis-benchmark's direct rate is left through the proxy with nothing in force:
//! `cargo bench --bench redis`. Needs redis-server and redis-benchmark.
//!
//! Both rates are taken in turn, several times, so that a machine that changes its speed changes
//! both; the median of the ratios is what counts. The goal is 85 %.

use brownout::{
    fault::Switch,
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls::client_config},
    seed::Seed,
};
use std::{
    collections::BTreeMap,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Pairs of runs for each setting.
const ROUNDS: usize = 5;

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

/// Requests a second, as redis-benchmark says.
fn rate(port: u16, command: &str, pipeline: usize, requests: usize) -> f64 {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-t", command, "-c", "50", "--csv"])
        .args(["-n", &requests.to_string(), "-P", &pipeline.to_string()])
        .output()
        .expect("redis-benchmark runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().unwrap_or_default().to_owned();
    let rate = line.split(',').nth(1).map(|rate| rate.trim_matches('"'));
    rate.and_then(|rate| rate.parse().ok())
        .unwrap_or_else(|| panic!("no rate in {text}"))
}

fn main() {
    // `cargo bench` says so; `cargo test` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (_server, direct) = start_server();
    let (recorder, mut observed) = Recorder::channel(Recorder::QUEUE);
    runtime.spawn(async move { while observed.recv().await.is_some() {} });
    let proxy = runtime.block_on(async {
        let config = Config {
            dependency: "cache".into(),
            protocol: Protocol::Redis,
            listen: None,
            tls: None,
            upstream: UpstreamAddress {
                host: "127.0.0.1".to_owned(),
                port: direct,
                tls: false,
            },
            upstream_tls: client_config(&[]).expect("roots"),
            virtual_host: None,
            capture: BTreeMap::new(),
            key: None,
            limits: Limits::default(),
            seed: Seed(1),
        };
        Proxy::start(config, Switch::new(), recorder).expect("the proxy starts")
    });
    let proxied = proxy.address().port();
    println!(
        "{:>8} {:>9} {:>12} {:>12} {:>7}",
        "command", "pipeline", "direct/s", "proxied/s", "ratio"
    );
    for (command, pipeline, requests) in [
        ("get", 1, 200_000),
        ("set", 1, 200_000),
        ("get", 16, 1_000_000),
        ("set", 16, 1_000_000),
    ] {
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| {
                let one = rate(direct, command, pipeline, requests);
                (one, rate(proxied, command, pipeline, requests))
            })
            .collect();
        rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
        let (one, other) = rounds[ROUNDS / 2];
        let ratio = other / one;
        println!("{command:>8} {pipeline:>9} {one:>12.0} {other:>12.0} {ratio:>7.2}");
    }
    runtime.block_on(proxy.stop());
}
