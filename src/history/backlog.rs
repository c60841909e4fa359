//! When the backlog of a ledger counts as drained: one rule for those who judge and those who show.
//!
//! It is drained as soon as it is no deeper than it may be and stays so: for a second at least, and
//! until another outage begins or the run ends. One that is deeper again for a second has risen
//! again; less is the load's own coming and going.

use super::{Curve, View, Window};
use crate::{scenario::Phase, units::Micros};
use std::time::Duration;

/// How far apart a backlog is looked at.
pub const BACKLOG_STEP: Duration = Duration::from_millis(100);

/// How long it must stay shallow, or deep, to be so.
const SHALLOW: Duration = Duration::from_secs(1);

/// When a backlog was drained for good, and when and how deep it had risen again before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// When it was drained; `None` if it was not.
    pub at: Option<Micros>,
    /// When it was found to have risen again, and how deep it was then.
    pub rose: Option<(Micros, u64)>,
}

impl Drained {
    /// When a backlog of these depths, one for each [`BACKLOG_STEP`], was no deeper than `shallow`
    /// for good.
    pub fn of(depths: &[(Micros, u64)], shallow: u64) -> Self {
        let mut drained = Self::default();
        let mut since: Option<(bool, Micros)> = None;
        for (at, depth) in depths {
            let is_deep = *depth > shallow;
            let start = match since {
                Some((was_deep, start)) if was_deep == is_deep => start,
                _ => *at,
            };
            since = Some((is_deep, start));
            if at.since(start) < SHALLOW {
                continue;
            }
            if !is_deep {
                drained.at.get_or_insert(start);
            } else if drained.at.take().is_some() {
                drained.rose = Some((*at, *depth));
            }
        }
        drained
    }
}

impl Curve {
    /// The depths at every [`BACKLOG_STEP`] of a window, its first moment included.
    pub fn depths(&self, window: Window) -> Vec<(Micros, u64)> {
        let steps = window.length().as_micros() / BACKLOG_STEP.as_micros();
        (0..=u64::try_from(steps).unwrap_or(u64::MAX))
            .map(|step| Micros(window.from.0 + step * Micros::from(BACKLOG_STEP).0))
            .map(|at| (at, self.at(at)))
            .collect()
    }

    /// How deep it was at the worst of the steady phases.
    pub fn usual(&self, view: &View<'_>) -> u64 {
        let steady = view.steady().into_iter();
        let depths = steady.flat_map(|window| self.depths(window));
        depths.map(|(_, depth)| depth).max().unwrap_or(0)
    }
}

impl View<'_> {
    /// The time in which a backlog is to drain and to stay so: from the end of the outage until the
    /// load changes or a fault comes into force after the aftermath, or until `end`.
    pub fn draining(&self, outage_ended: Micros, end: Micros) -> Window {
        let next = self.history.phases.iter().find(|span| {
            let another = |phase: &Phase| {
                !phase.aftermath && (!phase.faults.is_empty() || !phase.loads.is_empty())
            };
            span.began >= outage_ended && self.phase(span).is_some_and(another)
        });
        Window::new(outage_ended, next.map_or(end, |span| span.began.min(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backlog of these depths, each for so many steps.
    fn drained(parts: &[(u64, usize)]) -> Drained {
        let depths = parts.iter().flat_map(|(depth, steps)| vec![*depth; *steps]);
        let moments = (0..).map(|step| Micros(step * 100_000));
        Drained::of(&moments.zip(depths).collect::<Vec<_>>(), 2)
    }

    #[test]
    fn drained_is_what_stays_so() {
        assert_eq!(drained(&[(5, 10), (2, 20)]).at, Some(Micros::from_secs(1)));
        assert_eq!(drained(&[(5, 10), (2, 10)]).at, None, "not for a second");
        let wave = drained(&[(5, 10), (0, 20), (3, 9), (0, 20)]);
        assert_eq!((wave.at, wave.rose), (Some(Micros::from_secs(1)), None));
        let again = drained(&[(5, 10), (0, 20), (3, 11), (0, 20)]);
        assert_eq!(again.at, Some(Micros::from_millis(4_100)));
        assert_eq!(again.rose, Some((Micros::from_secs(4), 3)));
        assert_eq!(drained(&[(0, 20), (9, 20)]).at, None);
    }
}
