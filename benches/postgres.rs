//! How much of pgbench's direct select-only rate is left through the proxy with nothing in force,
//! and what a statement costs there: `cargo bench --bench postgres`. Needs PostgreSQL with pgbench.
//! The goal is 90 % of the direct rate at 8 clients, as far as the floor leaves room for it.

mod hop;
#[path = "../tests/postgres_server/mod.rs"]
mod postgres_server;

use brownout::protocol::Protocol;
use hop::{Ran, Ways};
use postgres_server::{Server, program_path};
use std::process::{Command, Output};

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

/// What pgbench says.
fn run(port: u16, protocol: &str) -> Ran {
    let protocol = format!("--protocol={protocol}");
    let asked = ["--select-only", "--no-vacuum", "--client=8", "--time=4"];
    let output = pgbench(port, &[&asked[..], &[&protocol]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |of: &str| -> f64 {
        let rest = text.lines().find_map(|line| line.strip_prefix(of));
        let word = rest.and_then(|rest| rest.split([' ', '/']).next());
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("no `{of}` in {text}"))
    };
    Ran {
        rate: number("tps = "),
        requests: number("number of transactions actually processed: ") as u64,
    }
}

fn main() {
    // `cargo bench` says so; `cargo test` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let server = Server::start();
    server.wait();
    let port = server.address.port();
    pgbench(port, &["--initialize", "--scale=10", "--quiet"]);
    let ways = Ways::to(port, Protocol::Postgres);
    ways.print_head("protocol");
    for protocol in ["simple", "extended", "prepared"] {
        ways.measure(protocol, |port| run(port, protocol));
    }
    ways.end();
}
