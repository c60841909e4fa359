//! What a section found of one measure, before it is known what of all is noise.

use super::{
    ALONE_MAX, Change, MUCH,
    statistics::{Part, binomial, fisher, fisher_least, quantile_ranks, wilson},
};
use crate::report::{
    spread::{at_rank, quantile_us},
    words::span,
};
use std::collections::BTreeMap;

/// The points of a share for each part of noise: a fifth of a time is as much as two points.
pub const POINTS: f64 = 0.1;

/// Times that differ by less, in microseconds, do not matter, however certain that is: so much a
/// busy machine does to the same system from run to run, and outages are told in seconds.
pub const TIME_LEAST_US: u64 = 50_000;

/// Times that a run has once, in microseconds, do not matter where they differ by less.
pub const ONCE_LEAST_US: u64 = 5_000_000;

/// One measure of both runs.
#[derive(Debug)]
pub struct Found {
    /// What it is a measure of.
    pub of: String,
    /// The measure.
    pub what: String,
    /// In the old run.
    pub old: String,
    /// In the new run.
    pub new: String,
    /// What was found.
    pub verdict: Verdict,
}

/// What was found.
#[derive(Debug)]
pub enum Verdict {
    /// It is as it is: chance has no part in it.
    Fact(Change, Option<String>),
    /// It must be told from chance.
    Tested(Test),
}

/// A difference that may be chance.
#[derive(Debug)]
pub struct Test {
    /// How likely so great a difference is by chance.
    pub chance: f64,
    /// The least that `chance` could have been with this many hits and samples.
    pub least: f64,
    /// What it is called if it is not chance.
    pub change: Change,
    /// Why nothing can be told, if nothing can: too few samples.
    pub too_few: Option<String>,
    /// Whether it is much worse, and would be so certainly if operations did not share their fate.
    pub is_stretch: bool,
    /// Whether something was lost or done twice, of which the old run knows nothing at all.
    pub is_news: bool,
}

impl Verdict {
    /// Nothing can be said, and why.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Fact(Change::CannotBeTold, Some(why.into()))
    }

    /// What must be told from chance. Where there are too few samples there is nothing to tell.
    pub fn test(&self) -> Option<&Test> {
        match self {
            Self::Tested(test) if test.too_few.is_none() => Some(test),
            Self::Tested(_) | Self::Fact(..) => None,
        }
    }

    /// What became of it; `real`: whether it is more than chance, `None` if with so little of it
    /// no test could tell.
    pub fn decided(&self, real: Option<bool>) -> (Change, Option<String>) {
        match (self, real) {
            (Self::Fact(change, why), _) => (*change, why.clone()),
            (Self::Tested(test), Some(true)) => (test.change, None),
            (Self::Tested(test), _) if test.too_few.is_some() => {
                (Change::CannotBeTold, test.too_few.clone())
            }
            (Self::Tested(test), _) if test.change == Change::NoChange => (Change::NoChange, None),
            (Self::Tested(_), Some(_)) => (
                Change::CannotBeTold,
                Some("it differs, but it may be chance".to_owned()),
            ),
            (Self::Tested(_), None) => (
                Change::CannotBeTold,
                Some("too little of it to be told from chance".to_owned()),
            ),
        }
    }

    /// Whether it is much worse, which only that operations share their fate makes uncertain.
    pub fn is_stretch(&self) -> bool {
        matches!(self, Self::Tested(test) if test.is_stretch)
    }

    /// The same of something that must never be, where `is_news`: the old run had none of it.
    #[must_use]
    pub fn of_loss(mut self, is_news: bool) -> Self {
        if let Self::Tested(test) = &mut self {
            test.is_news = is_news;
        }
        self
    }

    /// Whether something that must never be came up, of which chance alone is to be made out.
    pub fn is_news(&self) -> bool {
        matches!(self, Self::Tested(test) if test.is_news)
    }

    /// Whether both runs were measured alike and differ by more than is too small to matter,
    /// whether or not that is chance.
    pub fn differs(&self) -> bool {
        matches!(self, Self::Tested(test) if test.change != Change::NoChange)
    }
}

/// What more of something means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// More is better.
    More,
    /// Less is better.
    Less,
    /// Neither.
    Neither,
}

impl Good {
    fn change(self, grew: bool) -> Change {
        match (self, grew) {
            (Self::Neither, _) => Change::Different,
            (Self::More, true) | (Self::Less, false) => Change::Better,
            (Self::More, false) | (Self::Less, true) => Change::Worse,
        }
    }
}

/// So many hits among so many, and how much they clump.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// Those meant.
    pub hits: u64,
    /// All, or for a rate the exposure: microseconds, calls.
    pub all: u64,
    /// How much they clump.
    pub clumping: f64,
}

/// Both worth as much as the one that clumps more allows: where nothing failed, nothing can be
/// seen to fail together.
fn worth(old: Counted, new: Counted) -> (Part, Part) {
    let clumping = old.clumping.max(new.clumping);
    let part = |one: Counted| Part::worth(one.hits, one.all, clumping);
    (part(old), part(new))
}

/// The fewest samples of each run, as many as they are worth, of which anything is told. Whether so
/// few can show a change is for the test to say, which asks how unlikely the greatest difference
/// would be; with fewer than these how much they clump is not known well enough.
const SAMPLES_MIN: u64 = 8;

fn too_few(old: u64, new: u64, least: u64) -> Option<String> {
    (old.min(new) < least).then(|| {
        format!(
            "too few samples: both runs must have {least} that have nothing to do with each other"
        )
    })
}

/// A share of both runs.
pub fn share(old: Counted, new: Counted, good: Good, margin: f64) -> (String, String, Verdict) {
    let text = |one: Counted| {
        if one.all == 0 {
            return "none".to_owned();
        }
        let (low, high) = wilson(Part::worth(one.hits, one.all, one.clumping));
        format!(
            "{} % [{}–{}]",
            number(100.0 * one.hits as f64 / one.all as f64),
            number(100.0 * low),
            number(100.0 * high)
        )
    };
    let (before, after) = worth(old, new);
    let ratio = |one: Counted| one.hits as f64 / one.all.max(1) as f64;
    let grown = ratio(new) - ratio(old);
    let change = if grown == 0.0 || grown.abs() < margin {
        Change::NoChange
    } else {
        good.change(grown > 0.0)
    };
    let alone = |one: Counted| Part::worth(one.hits, one.all, 1.0);
    let verdict = Verdict::Tested(Test {
        chance: fisher(before, after),
        least: fisher_least(before, after),
        change,
        too_few: too_few(before.all, after.all, SAMPLES_MIN),
        is_stretch: change == Change::Worse
            && grown.abs() >= MUCH
            && fisher(alone(old), alone(new)) <= ALONE_MAX,
        is_news: false,
    });
    (text(old), text(new), verdict)
}

/// A number of events in so much time, or for so many calls, of both runs. `each` is the exposure
/// that the rate is shown for, and how it is shown.
pub fn rate(
    old: Counted,
    new: Counted,
    good: Good,
    noise: f64,
    (each, unit): (f64, &str),
) -> (String, String, Verdict) {
    let ratio = |one: Counted| one.hits as f64 / one.all.max(1) as f64 * each;
    let text = |one: Counted| {
        if one.all == 0 {
            return "none".to_owned();
        }
        // The root of a Poisson number varies by a half, whatever its mean.
        let worth = one.hits as f64 / one.clumping;
        let low = (worth.sqrt() - 0.98).max(0.0).powi(2);
        let high = ((worth + 1.0).sqrt() + 0.98).powi(2);
        let scale = one.clumping / one.all as f64 * each;
        format!(
            "{}{unit} [{}–{}]",
            number(ratio(one)),
            number(low * scale),
            number(high * scale)
        )
    };
    let clumping = old.clumping.max(new.clumping).max(1.0);
    let worth = |one: Counted| (one.hits as f64 / clumping).round() as u64;
    let events = worth(old) + worth(new);
    let exposed = old.all as f64 / (old.all + new.all).max(1) as f64;
    let grown = ratio(new) - ratio(old);
    let change = if grown == 0.0 || grown.abs() < noise * ratio(old) {
        Change::NoChange
    } else {
        good.change(grown > 0.0)
    };
    let verdict = Verdict::Tested(Test {
        chance: binomial(worth(old), events, exposed),
        least: binomial(0, events, exposed).min(binomial(events, events, exposed)),
        change,
        too_few: (old.all == 0 || new.all == 0)
            .then(|| "nothing of it happened in one of the runs".to_owned()),
        is_stretch: false,
        is_news: false,
    });
    (text(old), text(new), verdict)
}

/// The operations of a load in a phase by the time until they were answered.
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    /// Those answered, by the longest latency of their step.
    pub answered_us: &'a BTreeMap<u64, u64>,
    /// All, with those never answered.
    pub total: u64,
    /// How much those beyond the quantile clump.
    pub clumping: f64,
}

impl Times<'_> {
    fn beyond(self, us: u64) -> u64 {
        let within = self.answered_us.range(..=us).map(|(_, count)| count);
        self.total - within.sum::<u64>().min(self.total)
    }

    fn counted(self, hits: u64) -> Counted {
        Counted {
            hits,
            all: self.total,
            clumping: self.clumping,
        }
    }

    fn shown(self, share: f64) -> String {
        if self.total == 0 {
            return "none".to_owned();
        }
        let worth = Part::worth(0, self.total, self.clumping).all;
        let (low, high) = quantile_ranks(worth, share);
        let scale = self.total as f64 / worth.max(1) as f64;
        let at = |rank: u64| {
            let rank = (rank as f64 * scale).round() as u64;
            within(at_rank(self.answered_us, rank.clamp(1, self.total)))
        };
        format!(
            "{} [{}–{}]",
            within(quantile_us(self.answered_us, self.total, share)),
            low.map_or_else(|| "0".to_owned(), at),
            high.map_or_else(|| "?".to_owned(), at)
        )
    }
}

/// A time until an answer, or that there was none.
fn within(us: Option<u64>) -> String {
    us.map_or_else(|| "never".to_owned(), span)
}

/// A quantile of the time until an answer, of both runs. How many of each run took longer than
/// the quantile of both together is compared (the median test, for any quantile).
pub fn quantile(
    old: Times<'_>,
    new: Times<'_>,
    share: f64,
    noise: f64,
) -> (String, String, Verdict) {
    let cut = cut(old, new, share);
    let counted = |one: Times<'_>| one.counted(cut.map_or(0, |cut| one.beyond(cut)));
    let (before, after) = worth(counted(old), counted(new));
    let at = |one: Times<'_>| quantile_us(one.answered_us, one.total, share);
    let change = match (at(old), at(new)) {
        (None, None) => Change::NoChange,
        (Some(_), None) => Change::Worse,
        (None, Some(_)) => Change::Better,
        (Some(old), Some(new)) => {
            let grown = new.abs_diff(old);
            if grown < TIME_LEAST_US || (grown as f64) < noise * old as f64 {
                Change::NoChange
            } else {
                Good::Less.change(new > old)
            }
        }
    };
    let needed = crate::expectation::samples_needed(share).max(SAMPLES_MIN);
    let verdict = Verdict::Tested(Test {
        chance: fisher(before, after),
        least: fisher_least(before, after),
        change,
        too_few: too_few(before.all, after.all, needed),
        is_stretch: false,
        is_news: false,
    });
    (old.shown(share), new.shown(share), verdict)
}

/// The time that parts the operations of both runs at a quantile; of the two ways to count those
/// of the very step that the quantile lies in, the one that parts them more evenly. It hangs on
/// both runs together alone, as the test requires.
fn cut(old: Times<'_>, new: Times<'_>, share: f64) -> Option<u64> {
    let mut both = old.answered_us.clone();
    for (us, count) in new.answered_us {
        *both.entry(*us).or_default() += count;
    }
    let total = old.total + new.total;
    let evenness = |us: u64| {
        let beyond = old.beyond(us) + new.beyond(us);
        beyond.min(total - beyond)
    };
    let here = quantile_us(&both, total, share);
    let below = match here {
        Some(us) => both.range(..us).next_back(),
        None => both.iter().next_back(),
    };
    let candidates = here.into_iter().chain(below.map(|(us, _)| *us));
    candidates.max_by_key(|us| evenness(*us))
}

/// A time that a run has once and no interval of; `None`: it did not happen while the run was
/// watched. It is called changed only where it differs by half and by five seconds, which is what
/// such times differ by from run to run of the same system, and by `grain_us` besides: what one bad
/// second more or less makes of it.
pub fn once(
    old: Option<u64>,
    new: Option<u64>,
    never: &str,
    grain_us: u64,
) -> (String, String, Verdict) {
    let least_us = ONCE_LEAST_US.saturating_add(grain_us);
    let text = |one: Option<u64>| one.map_or_else(|| never.to_owned(), span);
    let change = match (old, new) {
        (None, None) => Change::NoChange,
        (Some(_), None) => Change::Worse,
        (None, Some(_)) => Change::Better,
        (Some(before), Some(after)) => {
            let grown = after.abs_diff(before);
            if grown < least_us || grown * 2 < before {
                Change::NoChange
            } else {
                Good::Less.change(after > before)
            }
        }
    };
    (text(old), text(new), Verdict::Fact(change, None))
}

/// A number with three digits at most behind which nothing is lost that matters.
pub fn number(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(hits: u64, all: u64) -> Counted {
        Counted {
            hits,
            all,
            clumping: 1.0,
        }
    }

    fn decided(verdict: &Verdict) -> Change {
        // As among fifty.
        let real = verdict.test().map(|test| test.chance < 1e-3);
        verdict.decided(real).0
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.004, "0"),
            (99.5, "99.5"),
            (100.0, "100"),
            (1_234.5, "1234"),
            (2.0, "2"),
            (0.25, "0.25"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn a_share_is_worse_only_where_it_is_certain_and_matters() {
        let check = |old, new, clumping: f64| {
            let with = |(hits, all)| Counted {
                clumping,
                ..counted(hits, all)
            };
            let (_, _, verdict) = share(with(old), with(new), Good::More, 0.02);
            decided(&verdict)
        };
        assert_eq!(check((400, 400), (300, 400), 1.0), Change::Worse);
        assert_eq!(check((300, 400), (400, 400), 1.0), Change::Better);
        assert_eq!(check((400, 400), (396, 400), 1.0), Change::NoChange);
        // Certain, and too little to matter.
        assert_eq!(
            check((100_000, 100_000), (99_000, 100_000), 1.0),
            Change::NoChange
        );
        // All of it within one second.
        assert_eq!(check((400, 400), (380, 400), 20.0), Change::CannotBeTold);
        assert_eq!(check((400, 400), (396, 400), 20.0), Change::NoChange);
        // Nearly all of a phase that was not answered at a stretch, and half of it.
        assert_eq!(check((400, 400), (28, 400), 40.0), Change::Worse);
        assert_eq!(check((400, 400), (200, 400), 40.0), Change::CannotBeTold);
        assert_eq!(check((4, 4), (0, 4), 1.0), Change::CannotBeTold);
        assert_eq!(check((0, 0), (0, 400), 1.0), Change::CannotBeTold);
    }

    #[test]
    fn shares_are_shown_with_their_intervals() {
        let (old, new, _) = share(counted(81, 263), counted(0, 0), Good::More, 0.02);
        assert_eq!(old, "30.8 % [25.5–36.6]");
        assert_eq!(new, "none");
    }

    fn times(list: &[(u64, u64)]) -> BTreeMap<u64, u64> {
        list.iter().copied().collect()
    }

    fn compared(old: (&[(u64, u64)], u64), new: (&[(u64, u64)], u64), at: f64) -> Change {
        let (before, after) = (times(old.0), times(new.0));
        let of = |answered_us, total| Times {
            answered_us,
            total,
            clumping: 1.0,
        };
        let (_, _, verdict) = quantile(of(&before, old.1), of(&after, new.1), at, 0.2);
        decided(&verdict)
    }

    #[test]
    fn a_quantile_is_compared_with_what_was_never_answered_as_the_slowest() {
        let fast: (&[_], _) = (&[(20_000, 200), (24_000, 200)], 400);
        let slow: (&[_], _) = (&[(20_000, 200), (900_000, 200)], 400);
        let all_slow: (&[_], _) = (&[(900_000, 400)], 400);
        let unanswered: (&[_], _) = (&[(1_000, 100)], 400);
        for at in [0.95, 0.99] {
            assert_eq!(compared(fast, slow, at), Change::Worse, "{at}");
            assert_eq!(compared(slow, fast, at), Change::Better, "{at}");
            assert_eq!(compared(fast, all_slow, at), Change::Worse, "{at}");
            assert_eq!(compared(fast, unanswered, at), Change::Worse, "{at}");
            assert_eq!(compared(unanswered, slow, at), Change::Better, "{at}");
            assert_eq!(compared(unanswered, unanswered, at), Change::NoChange);
        }
        assert_eq!(compared(fast, slow, 0.5), Change::NoChange);
        // A quarter more, and four milliseconds.
        let later: (&[_], _) = (&[(24_000, 200), (28_000, 200)], 400);
        assert_eq!(compared(fast, later, 0.5), Change::NoChange);
        let few: (&[_], _) = (&[(20_000, 40)], 40);
        assert_eq!(compared(few, few, 0.99), Change::CannotBeTold);
    }

    #[test]
    fn a_quantile_is_shown_with_the_order_statistics_around_it() {
        let list: Vec<(u64, u64)> = (1..=100).map(|ms| (ms * 1_000, 1)).collect();
        let answered = times(&list);
        let shown = |clumping, share| {
            Times {
                answered_us: &answered,
                total: 100,
                clumping,
            }
            .shown(share)
        };
        assert_eq!(shown(1.0, 0.5), "50ms [40ms–61ms]");
        assert_eq!(shown(5.0, 0.5), "50ms [30ms–75ms]");
        assert_eq!(shown(1.0, 0.99), "99ms [97ms–?]");
    }

    #[test]
    fn a_rate_counts_for_its_exposure_and_its_bursts() {
        let check = |old, new, clumping: f64| {
            let with = |(hits, all)| Counted {
                clumping,
                ..counted(hits, all)
            };
            let (_, _, verdict) = rate(with(old), with(new), Good::Less, 0.2, (1e6, "/s"));
            decided(&verdict)
        };
        let second = 1_000_000;
        assert_eq!(
            check((400, 20 * second), (200, 10 * second), 1.0),
            Change::NoChange
        );
        assert_eq!(
            check((400, 20 * second), (600, 20 * second), 1.0),
            Change::Worse
        );
        assert_eq!(
            check((400, 20 * second), (600, 20 * second), 100.0),
            Change::CannotBeTold
        );
        assert_eq!(check((0, 0), (5, second), 1.0), Change::CannotBeTold);
        assert_eq!(
            check((0, 20 * second), (0, 20 * second), 1.0),
            Change::NoChange
        );
    }

    #[test]
    fn what_a_run_has_once_must_differ_by_half_and_five_seconds() {
        let s = |seconds: u64| Some(seconds * 1_000_000);
        for (old, new, change) in [
            (s(3), s(7), Change::NoChange),
            (s(3), s(9), Change::Worse),
            (s(30), s(40), Change::NoChange),
            (s(30), s(14), Change::Better),
            (s(3), None, Change::Worse),
            (None, s(50), Change::Better),
            (None, None, Change::NoChange),
        ] {
            let (_, _, verdict) = once(old, new, "never", 0);
            assert_eq!(decided(&verdict), change, "{old:?} {new:?}");
        }
    }
}
