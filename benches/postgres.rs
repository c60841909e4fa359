//! How much of pgbench's direct select-only rate is left through the proxy with nothing in force:
//! `cargo bench --bench postgres`. Needs PostgreSQL with pgbench.
//!
//! Both rates are taken in turn, several times, so that a machine that changes its speed changes
//! both; the median of the ratios is what counts. The goal is 90 % at 8 clients.

#[path = "../tests/postgres_server/mod.rs"]
mod postgres_server;

use brownout::{
    fault::Switch,
    history::Recorder,
    protocol::Protocol,
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls::client_config},
    seed::Seed,
};
use postgres_server::{Server, program_path};
use std::{
    collections::BTreeMap,
    process::{Command, Output},
};

/// Pairs of runs for each way of asking.
const ROUNDS: usize = 5;

fn pgbench(port: u16, arguments: &[&str]) -> Output {
    let port = port.to_string();
    let output = Command::new(program_path("pgbench"))
        .env("PGPASSWORD", "secret-word")
        .args(["--host=127.0.0.1", "--username=app", "--port", &port])
        .args(arguments)
        .arg("postgres")
        .output()
        .expect("pgbench runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output
}

/// Transactions a second, as pgbench says.
fn rate(port: u16, protocol: &str) -> f64 {
    let protocol = format!("--protocol={protocol}");
    let asked = ["--select-only", "--no-vacuum", "--client=8", "--time=8"];
    let output = pgbench(port, &[&asked[..], &[&protocol]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    rate.and_then(|rate| rate.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no rate in {text}"))
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let server = Server::start();
    server.wait();
    let direct = server.address.port();
    pgbench(direct, &["--initialize", "--scale=10", "--quiet"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (recorder, mut observed) = Recorder::channel(Recorder::QUEUE);
    runtime.spawn(async move { while observed.recv().await.is_some() {} });
    let proxy = runtime.block_on(async {
        let config = Config {
            dependency: "db".into(),
            protocol: Protocol::Postgres,
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
        "{:>9} {:>12} {:>12} {:>7}",
        "protocol", "direct/s", "proxied/s", "ratio"
    );
    for protocol in ["simple", "extended", "prepared"] {
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| (rate(direct, protocol), rate(proxied, protocol)))
            .collect();
        rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
        let (one, other) = rounds[ROUNDS / 2];
        println!(
            "{protocol:>9} {one:>12.0} {other:>12.0} {:>7.2}",
            other / one
        );
    }
    runtime.block_on(proxy.stop());
}
