//! How many connections were open, and when.

use crate::{
    history::{Connection, Window},
    units::Micros,
};
use std::{collections::BTreeMap, ops::Bound, time::Duration};

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

/// The stretches of a window in which at least so many were open.
fn full(connections: &[&Connection], wanted: usize, window: Window) -> Vec<Window> {
    let mut changes: BTreeMap<Micros, i64> = BTreeMap::new();
    for one in connections {
        *changes.entry(one.opened).or_default() += 1;
        *changes.entry(one.closed).or_default() -= 1;
    }
    let (mut open, mut since) = (0, None);
    let mut spans = Vec::new();
    for (at, change) in changes {
        open += change;
        let is_full = usize::try_from(open).is_ok_and(|open| open >= wanted);
        match since {
            None if is_full => since = Some(at),
            Some(from) if !is_full => {
                spans.push(Window::new(window.from.max(from), window.to.min(at)));
                since = None;
            }
            _ => {}
        }
    }
    spans.extend(since.map(|from| Window::new(window.from.max(from), window.to)));
    spans.retain(|one| one.from < one.to);
    spans
}

/// The least that must be seen of connections before it is said that they are back to stay.
const STAY_MIN: Duration = Duration::from_secs(1);

/// Whether as many connections as there were came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Since this moment, and most of the time from then on.
    Since(Micros),
    /// At this moment, too near the end for anybody to see whether they stayed.
    Unseen(Micros),
    /// Never, or for moments only.
    Never,
}

/// Whether as many were open for at least half of the time from the first of these spans on, whenever
/// one looks up to this moment.
fn stay(spans: &[Window], to: Micros) -> bool {
    let Some(from) = spans.first().map(|one| one.from) else {
        return false;
    };
    let mut open = Duration::ZERO;
    for one in spans.iter().take_while(|one| one.from < to) {
        if open * 2 < one.from.since(from) {
            return false;
        }
        open += one.to.min(to).since(one.from);
    }
    open * 2 >= to.since(from)
}

/// Since when at least `wanted` connections were back in a window: from the first moment after which
/// they were open for at least half of the time, for as long as `hold` or for what of it was seen. Who
/// makes connections that are closed at once, again and again, is not back.
pub fn back(connections: &[&Connection], wanted: usize, window: Window, hold: Duration) -> Back {
    let spans = full(connections, wanted, window);
    let mut unseen = None;
    for (place, span) in spans.iter().enumerate() {
        let to = window.to.min(span.from + hold);
        let seen = to.since(span.from);
        if !stay(&spans[place..], to) {
            continue;
        }
        if seen >= hold.min(STAY_MIN) {
            return Back::Since(span.from);
        }
        unseen = unseen.or(Some(span.from));
    }
    unseen.map_or(Back::Never, Back::Unseen)
}

/// So many were open for at least half of the time of the windows.
pub fn usual(connections: &[&Connection], windows: &[Window]) -> usize {
    open_for(connections, windows, 0.5)
}

/// Fewer than so many were open for less than a quarter of the time of the windows: less than [`usual`]
/// where connections come and go. Who has so many again may have as many as ever.
pub fn seldom_fewer(connections: &[&Connection], windows: &[Window]) -> usize {
    open_for(connections, windows, 0.75)
}

/// The most that were open, or more, for this share of the time of the windows.
fn open_for(connections: &[&Connection], windows: &[Window], share: f64) -> usize {
    let mut changes: BTreeMap<Micros, i64> = BTreeMap::new();
    for one in connections {
        *changes.entry(one.opened).or_default() += 1;
        *changes.entry(one.closed).or_default() -= 1;
    }
    let mut times: BTreeMap<i64, Duration> = BTreeMap::new();
    for window in windows {
        let mut at = window.from;
        let mut open = open_at(connections, at) as i64;
        let within = changes.range((Bound::Excluded(window.from), Bound::Excluded(window.to)));
        for (moment, change) in within {
            *times.entry(open).or_default() += moment.since(at);
            at = *moment;
            open += change;
        }
        *times.entry(open).or_default() += window.to.since(at);
    }
    let whole: Duration = times.values().sum();
    let mut time = Duration::ZERO;
    let most = times.iter().rev().find(|(_, part)| {
        time += **part;
        time >= whole.mul_f64(share)
    });
    most.map_or(0, |(open, _)| usize::try_from(*open).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::Story;
    use proptest::prelude::*;

    #[test]
    fn who_is_closed_at_once_again_and_again_is_not_back() {
        let hold = Duration::from_secs(5);
        let since = |spans: &[(u64, u64)], to: u64| {
            let story = spans.iter().fold(Story::new(), |story, (opened, closed)| {
                story.connection("s3", *opened, *closed)
            });
            let history = story.history();
            let own: Vec<&Connection> = history.connections.iter().collect();
            let at = Micros::from_millis;
            back(&own, 2, Window::new(at(10_000), at(to)), hold)
        };
        let at = |millis| Back::Since(Micros::from_millis(millis));
        let stay = [(11_000, 40_000), (12_000, 40_000)];
        assert_eq!(since(&stay, 30_000), at(12_000));
        assert_eq!(since(&stay[..1], 30_000), Back::Never);
        // From before the window on.
        assert_eq!(since(&[(1, 40_000), (2, 40_000)], 30_000), at(10_000));
        // For 50 ms each second; and from 20 s on for good.
        let mut closed: Vec<(u64, u64)> = (11..29)
            .flat_map(|second| [(second * 1_000, second * 1_000 + 50); 2])
            .collect();
        assert_eq!(since(&closed, 30_000), Back::Never);
        closed.extend([(20_500, 40_000); 2]);
        assert_eq!(since(&closed, 30_000), at(20_500));
        // One that is replaced now and then.
        let renewed = [(11_000, 40_000), (12_000, 13_000), (13_200, 40_000)];
        assert_eq!(since(&renewed, 30_000), at(12_000));
        // As far as it was seen, but a second at least.
        assert_eq!(since(&stay, 13_000), at(12_000));
        let unseen = Back::Unseen(Micros::from_millis(12_000));
        assert_eq!(since(&stay, 12_900), unseen);
    }

    #[test]
    fn what_is_usual_is_so_for_half_of_the_time_whenever_one_looks() {
        // Three that stay; two more for so many milliseconds of each second, at its end.
        let counted = |extra: u64| {
            let stay = (0..3).map(|nth| (100 + nth, 40_000));
            let more = (0..10)
                .flat_map(|second| [(second * 1_000 + 1_010 - extra, second * 1_000 + 1_010); 2]);
            let story = stay
                .chain(more)
                .fold(Story::new(), |story, (opened, closed)| {
                    story.connection("s3", opened, closed)
                });
            let history = story.history();
            let own: Vec<&Connection> = history.connections.iter().collect();
            let windows = [(0, 4_000), (5_000, 10_000)];
            let windows = windows
                .map(|(from, to)| Window::new(Micros::from_millis(from), Micros::from_millis(to)));
            (usual(&own, &windows), seldom_fewer(&own, &windows))
        };
        assert_eq!(counted(0), (3, 3));
        assert_eq!(counted(450), (3, 3));
        assert_eq!(counted(550), (5, 3));
        assert_eq!(counted(850), (5, 5));
        assert_eq!((usual(&[], &[]), seldom_fewer(&[], &[])), (0, 0));
    }

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
