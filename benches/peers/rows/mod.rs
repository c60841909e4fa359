//! The rows, in groups: what is measured of all that stand.

mod bulk;
mod calls;
mod connections;
mod idle;
mod requests;
mod start;

use super::{
    process::Process,
    stand::{Running, Stand},
    table::{Better, Role, Row},
};
use std::{io, thread, time::Duration};

/// Rows that are measured together.
pub struct Group {
    /// Its name, by which the command line asks for it.
    pub name: &'static str,
    /// Measures them.
    pub measure: fn(&mut Stand) -> io::Result<Vec<Row>>,
}

/// All of them, in the order of the table.
pub const GROUPS: &[Group] = &[
    bulk::GROUP,
    requests::GROUP,
    connections::GROUP,
    calls::GROUP,
    start::GROUP,
    idle::GROUP,
];

/// The time in which a process is done with what its client has seen the end of.
const AFTERWARDS: Duration = Duration::from_millis(10);

/// What somebody was seen to take.
struct Taken<T> {
    /// Seconds of processor time.
    cpu: f64,
    /// What came of the work.
    came: T,
}

/// Does work through a process, and sees what that takes of its processor time.
fn taken<T>(process: &Process, work: impl FnOnce() -> io::Result<T>) -> io::Result<Taken<T>> {
    let before = process.cpu()?;
    let came = work()?;
    thread::sleep(AFTERWARDS);
    let cpu = process.cpu()?.since(&before);
    Ok(Taken { cpu, came })
}

/// A row of how often something is done in a second of processor time of the process.
fn per_cpu_second(
    stand: &Stand,
    what: &str,
    port: impl Fn(&Running) -> Option<u16>,
    mut work: impl FnMut(u16) -> io::Result<f64>,
) -> io::Result<Row> {
    let mut row = Row::new(what, Better::More);
    for _ in 0..stand.scale.rounds {
        for running in &stand.running {
            let Some(port) = port(running) else { continue };
            let taken = taken(&running.process, || work(port))
                .map_err(|error| at(what, running, &error))?;
            let (program, figure) = (running.program, taken.came / taken.cpu);
            row.add(program.name(), program.role(), figure);
        }
    }
    Ok(row)
}

/// What went wrong where.
fn at(what: &str, running: &Running, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what}: {}: {error}", running.program.name()))
}
