//! How much of pgbench's direct select-only rate is left through the proxy with nothing in force:
//! `cargo bench --bench postgres`. Needs PostgreSQL with pgbench.
//!
//! The rates are taken in turn, several times, so that a machine that changes its speed changes
//! all; the median of the ratios is what counts. The goal is 90 % at 8 clients. Beside it stands
//! what is left through the bare relay of `tcp`, which looks at nothing: the price of one process
//! more on the way. Client, proxy and server share the cores.

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
    let asked = ["--select-only", "--no-vacuum", "--client=8", "--time=4"];
    let output = pgbench(port, &[&asked[..], &[&protocol]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    rate.and_then(|rate| rate.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no rate in {text}"))
}

fn main() {
    // `cargo bench` says so; `cargo test` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
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
    let start = |protocol: Protocol| {
        let config = Config {
            dependency: "db".into(),
            protocol,
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
        Proxy::start(config, Switch::new(), recorder.clone()).expect("the proxy starts")
    };
    let (relay, proxy) =
        runtime.block_on(async { (start(Protocol::Tcp), start(Protocol::Postgres)) });
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "protocol", "direct/s", "relayed/s", "proxied/s", "relayed", "proxied"
    );
    for protocol in ["simple", "extended", "prepared"] {
        let ports = [direct, relay.address().port(), proxy.address().port()];
        let mut rounds: Vec<[f64; 3]> = (0..ROUNDS)
            .map(|_| ports.map(|port| rate(port, protocol)))
            .collect();
        let mut median = |nth: usize| {
            rounds.sort_by(|one, other| (one[nth] / one[0]).total_cmp(&(other[nth] / other[0])));
            let [direct, seen] = [rounds[ROUNDS / 2][0], rounds[ROUNDS / 2][nth]];
            (direct, seen, seen / direct)
        };
        let (_, relayed, of_relay) = median(1);
        let (direct, proxied, of_proxy) = median(2);
        println!(
            "{protocol:>9} {direct:>9.0} {relayed:>9.0} {proxied:>9.0} {of_relay:>7.2} {of_proxy:>7.2}"
        );
    }
    runtime.block_on(async { tokio::join!(relay.stop(), proxy.stop()) });
}
