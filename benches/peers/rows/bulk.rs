//! One stream of bytes, as fast as it goes.

use super::{Better, Group, Role, Row, Stand, at, taken};
use crate::client;
use std::io;

pub const GROUP: Group = Group {
    name: "bulk",
    measure,
};

/// Bytes of a stream.
const STREAM: usize = 768 * 1024 * 1024;

fn measure(stand: &mut Stand) -> io::Result<Vec<Row>> {
    let mut cost = Row::new("bulk, 1 stream: GB per proxy CPU-second", Better::More);
    let mut share = Row::new("bulk, 1 stream: share of direct throughput", Better::More);
    let bytes = stand.scale.of(STREAM);
    for _ in 0..stand.scale.rounds {
        let direct = client::stream(stand.direct, bytes)?.as_secs_f64();
        share.add("direct, GB/s", Role::Direct, bytes as f64 / direct / 1e9);
        for running in &stand.running {
            let Some(port) = running.bytes() else {
                continue;
            };
            let taken = taken(&running.process, || client::stream(port, bytes))
                .map_err(|error| at("bulk", running, &error))?;
            let (program, took) = (running.program, taken.came.as_secs_f64());
            let figure = bytes as f64 / taken.cpu / 1e9;
            cost.add(program.name(), program.role(), figure);
            share.add(program.name(), program.role(), direct / took);
        }
    }
    Ok(vec![cost, share])
}
