//! What a connection takes that has had one answer and says nothing more.

use super::{Better, Group, Row, Stand};
use crate::{client, stand::Program};
use std::{io, thread, time::Duration};

pub const GROUP: Group = Group {
    name: "idle",
    measure,
};

/// Connections that are open at the same time.
const CONNECTIONS: usize = 800;

/// Connections that came before, so that what is taken once is taken.
const BEFORE: usize = 20;

/// The time in which a process comes to rest.
const REST: Duration = Duration::from_millis(100);

/// How often: each time with processes that have done nothing else.
const ROUNDS: usize = 3;

fn measure(stand: &mut Stand) -> io::Result<Vec<Row>> {
    let mut bytes = Row::new("KiB of memory per idle connection, as bytes", Better::Less);
    let mut calls = Row::new(
        "KiB of memory per idle connection, HTTP-aware",
        Better::Less,
    );
    let connections = stand.scale.of(CONNECTIONS);
    for _ in 0..ROUNDS.min(stand.scale.rounds) {
        for program in Program::ALL {
            for (row, is_http) in [(&mut bytes, false), (&mut calls, true)] {
                if program == Program::FloorSplice || (is_http && !program.speaks_http()) {
                    continue;
                }
                let Some(running) = stand.start_fresh(program)? else {
                    continue;
                };
                let port = if is_http {
                    running.calls()
                } else {
                    running.bytes()
                };
                let Some(port) = port else { continue };
                drop(client::warm(port, BEFORE)?);
                thread::sleep(REST * stand.scale.of(100) as u32 / 100);
                let before = running.process.memory()?;
                let held = client::warm(port, connections)?;
                thread::sleep(REST * stand.scale.of(100) as u32 / 100);
                let more = running.process.memory()? - before;
                drop(held);
                row.add(program.name(), program.role(), more / connections as f64);
            }
        }
    }
    Ok(vec![bytes, calls])
}
