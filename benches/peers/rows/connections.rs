//! Connections that come for one request and go.

use super::{Group, Row, Stand, per_cpu_second};
use crate::{client, stand::Running};
use std::io;

pub const GROUP: Group = Group {
    name: "connections",
    measure,
};

/// Connections in all.
const CONNECTIONS: usize = 2_000;

fn measure(stand: &mut Stand) -> io::Result<Vec<Row>> {
    let connections = stand.scale.of(CONNECTIONS);
    let what = "short connections per proxy CPU-second";
    let work = |port| {
        client::come_and_go(port, connections)?;
        Ok(connections as f64)
    };
    Ok(vec![per_cpu_second(stand, what, Running::bytes, work)?])
}
