//! How many connections were open, and when.

use crate::{
    history::{Connection, Window},
    units::Micros,
};

/// Whether any was closed in a window.
pub fn any_closed(connections: &[&Connection], window: Window) -> bool {
    connections.iter().any(|one| window.contains(one.closed))
}

/// The fewest that were open at any moment of a window: after one was closed, or at its beginning.
pub fn fewest_open(connections: &[&Connection], window: Window) -> usize {
    let closed = connections.iter().map(|one| one.closed);
    closed
        .filter(|at| window.contains(*at))
        .chain([window.from])
        .map(|at| open_at(connections, at))
        .min()
        .unwrap_or(0)
}

/// How many were open at a moment.
pub fn open_at(connections: &[&Connection], at: Micros) -> usize {
    let open = |one: &&&Connection| one.opened <= at && at < one.closed;
    connections.iter().filter(open).count()
}

/// The median number open, looked at each second of the windows.
pub fn usual(connections: &[&Connection], windows: &[Window]) -> usize {
    let mut counts: Vec<u64> = windows
        .iter()
        .flat_map(|window| window.seconds())
        .map(|second| open_at(connections, second.to) as u64)
        .collect();
    let middle = counts.len() / 2;
    if counts.is_empty() {
        return 0;
    }
    usize::try_from(*counts.select_nth_unstable(middle).1).unwrap_or(0)
}
