//! Requests of HTTP/1.1 over kept connections, passed as bytes and spoken as HTTP.

use super::{Better, Group, Role, Row, Stand, at, per_cpu_second};
use crate::{client, stand::Running};
use std::io;

pub const GROUP: Group = Group {
    name: "requests",
    measure,
};

/// Connections side by side.
const CONNECTIONS: usize = 16;

/// Requests in all.
const REQUESTS: usize = 12_000;

/// Requests a second where time counts.
const RATE: u32 = 2_000;

/// How many of them.
const PACED: usize = 1_500;

fn measure(stand: &mut Stand) -> io::Result<Vec<Row>> {
    let requests = stand.scale.of(REQUESTS);
    let work = |port| {
        let mut streams = client::warm(port, CONNECTIONS)?;
        client::ask_all(&mut streams, requests)?;
        Ok((CONNECTIONS + requests) as f64)
    };
    let bytes = "HTTP/1.1 keep-alive as bytes: requests per proxy CPU-second";
    let calls = "HTTP-aware: requests per proxy CPU-second";
    Ok(vec![
        per_cpu_second(stand, bytes, Running::bytes, work)?,
        per_cpu_second(stand, calls, Running::calls, work)?,
        added(
            stand,
            "as bytes: µs added at p50, 2,000 requests/s",
            Running::bytes,
        )?,
        added(
            stand,
            "HTTP-aware: µs added at p50, 2,000 requests/s",
            Running::calls,
        )?,
    ])
}

/// How much later the median answer comes.
fn added(stand: &Stand, what: &str, port: impl Fn(&Running) -> Option<u16>) -> io::Result<Row> {
    let mut row = Row::new(what, Better::Less);
    let requests = stand.scale.of(PACED);
    let once = |port| {
        let mut streams = client::warm(port, CONNECTIONS)?;
        Ok::<f64, io::Error>(client::paced(&mut streams, RATE, requests)? * 1e6)
    };
    for _ in 0..stand.scale.rounds {
        let direct = once(stand.direct)?;
        row.add("direct, whole", Role::Direct, direct);
        for running in &stand.running {
            let Some(port) = port(running) else { continue };
            let whole = once(port).map_err(|error| at(what, running, &error))?;
            let program = running.program;
            row.add(program.name(), program.role(), whole - direct);
        }
    }
    Ok(row)
}
