//! How many connections were open, and when.

use crate::{
    history::{Connection, Window},
    units::Micros,
};
use std::collections::BTreeMap;

/// Whether any was closed in a window.
pub fn any_closed(connections: &[&Connection], window: Window) -> bool {
    connections.iter().any(|one| window.contains(one.closed))
}

/// The fewest that were open at any moment of a window: after one was closed, or at its beginning.
pub fn fewest_open(connections: &[&Connection], window: Window) -> usize {
    let mut changes: BTreeMap<Micros, (i64, bool)> = BTreeMap::new();
    for one in connections {
        let opened = changes.entry(one.opened).or_default();
        opened.0 += 1;
        let closed = changes.entry(one.closed).or_default();
        (closed.0, closed.1) = (closed.0 - 1, true);
    }
    let mut fewest = open_at(connections, window.from);
    let mut open = 0;
    for (at, (change, has_closed)) in changes {
        open += change;
        if has_closed && window.contains(at) {
            fewest = fewest.min(usize::try_from(open).unwrap_or(0));
        }
    }
    fewest
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::Story;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fewest_are_those_of_the_barest_moment(
            spans in prop::collection::vec((0u64..40, 1u64..20), 0..12),
            from in 0u64..30,
        ) {
            let story = spans.iter().fold(Story::new(), |story, (opened, lasts)| {
                story.connection("s3", *opened, opened + lasts)
            });
            let history = story.history();
            let own: Vec<&Connection> = history.connections.iter().collect();
            let at = Micros::from_millis;
            let window = Window::new(at(from), at(from + 15));
            let moments = own.iter().map(|one| one.closed).filter(|at| window.contains(*at));
            let by_hand = moments.chain([window.from]).map(|at| open_at(&own, at)).min();
            prop_assert_eq!(Some(fewest_open(&own, window)), by_hand);
        }
    }
}
