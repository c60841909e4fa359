//! Counts of a stretch of time, and counts since the beginning.

use crate::{
    history::{Attempt, AttemptEnd},
    protocol::asks_for_retry,
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc};

/// The most operations of a dependency that are counted apart; further ones are counted together.
pub(crate) const OPERATIONS_MAX: usize = 50;

/// What operations are called that are counted together.
const OTHERS: &str = "other";

/// How an attempt ended, for people who look at many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// A whole answer that is no failure.
    Ok,
    /// An answer that broke off, or one that says that something broke.
    Failed,
    /// An answer that says that it cannot be served now.
    Refused,
    /// No answer: who asked gave up, or it was still open when its proxy closed.
    Unfinished,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Ok, Self::Failed, Self::Refused, Self::Unfinished];

    /// The outcome of an attempt.
    pub(crate) fn of(attempt: &Attempt) -> Self {
        let code = attempt.code.as_deref();
        let is_refusal = match attempt.status {
            Some(status) => matches!(status, 429 | 503),
            None => code.is_some_and(asks_for_retry),
        };
        match attempt.end {
            AttemptEnd::GaveUp | AttemptEnd::Unfinished => Self::Unfinished,
            AttemptEnd::Answered if is_refusal => Self::Refused,
            _ if attempt.failed() => Self::Failed,
            _ => Self::Ok,
        }
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unfinished => "unfinished",
        }
    }
}

/// What happened in a second, or in several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bin {
    /// Which second since the beginning it is.
    pub(crate) step: u64,
    /// Attempts by outcome.
    pub(crate) ok: u64,
    /// See [`Outcome::Failed`].
    pub(crate) failed: u64,
    /// See [`Outcome::Refused`].
    pub(crate) refused: u64,
    /// See [`Outcome::Unfinished`].
    pub(crate) unfinished: u64,
    /// Calls whose first attempt ended.
    pub(crate) calls: u64,
    /// Attempts on which faults acted.
    pub(crate) acted: u64,
    /// Bytes from clients.
    pub(crate) bytes_in: u64,
    /// Bytes to clients.
    pub(crate) bytes_out: u64,
    /// How many attempts took how long: steps of 5 %.
    took: BTreeMap<u16, u64>,
}

/// How much longer each step is than the one before.
const STEP: f64 = 1.05;

impl Bin {
    /// Nothing has happened.
    pub(crate) fn new(step: u64) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }

    /// Counts an attempt.
    pub(crate) fn add(&mut self, outcome: Outcome, took: Micros, begins_call: bool, acted: bool) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Unfinished => self.unfinished += 1,
        }
        self.calls += u64::from(begins_call);
        self.acted += u64::from(acted);
        let step = (took.0.max(1) as f64).ln() / STEP.ln();
        *self.took.entry(step as u16).or_default() += 1;
    }

    /// Adds what happened in another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.refused += other.refused;
        self.unfinished += other.unfinished;
        self.calls += other.calls;
        self.acted += other.acted;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        for (step, count) in &other.took {
            *self.took.entry(*step).or_default() += count;
        }
    }

    /// How many attempts there were.
    pub(crate) fn attempts(&self) -> u64 {
        self.ok + self.failed + self.refused + self.unfinished
    }

    /// The time that this share of the attempts took at most, in microseconds, to about 3 %.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.took.values().sum();
        let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let mut so_far = 0;
        for (step, count) in &self.took {
            so_far += count;
            if so_far >= wanted {
                return Some(STEP.powf(f64::from(*step) + 0.5));
            }
        }
        None
    }
}

/// The bounds of the latency histogram, in seconds.
pub(crate) const BOUNDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How many attempts took how long, since the beginning.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Of each bound, how many took as long at most and longer than the bound before; behind them
    /// those that took longer than all.
    counts: [u64; BOUNDS.len() + 1],
    /// All times together, in seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    fn add(&mut self, took: Micros) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[place.unwrap_or(BOUNDS.len())] += 1;
        self.sum += seconds;
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound with how many took as long at most.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut so_far = 0;
        BOUNDS.iter().zip(&self.counts).map(move |(bound, count)| {
            so_far += count;
            (*bound, so_far)
        })
    }
}

/// What metrics count of a dependency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// Attempts by operation and outcome.
    by_operation: BTreeMap<Arc<str>, [u64; Outcome::ALL.len()]>,
    /// Calls.
    pub(crate) calls: u64,
    /// Times of attempts.
    pub(crate) latency: Histogram,
    /// Bytes from clients.
    pub(crate) bytes_in: u64,
    /// Bytes to clients.
    pub(crate) bytes_out: u64,
}

impl Totals {
    /// Counts an attempt.
    pub(crate) fn add(
        &mut self,
        operation: &Arc<str>,
        outcome: Outcome,
        took: Micros,
        begins_call: bool,
    ) {
        let is_known = self.by_operation.contains_key(operation);
        let name = if is_known || self.by_operation.len() < OPERATIONS_MAX {
            Arc::clone(operation)
        } else {
            Arc::from(OTHERS)
        };
        self.by_operation.entry(name).or_default()[outcome as usize] += 1;
        self.calls += u64::from(begins_call);
        self.latency.add(took);
    }

    /// Attempts by operation and outcome, those there were.
    pub(crate) fn by_operation(&self) -> impl Iterator<Item = (&str, Outcome, u64)> {
        self.by_operation.iter().flat_map(|(operation, counts)| {
            let each = Outcome::ALL.into_iter().zip(counts);
            each.filter(|(_, count)| **count > 0)
                .map(|(outcome, count)| (&**operation, outcome, *count))
        })
    }

    /// All attempts.
    #[cfg(test)]
    pub(crate) fn attempts(&self) -> u64 {
        self.latency.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::attempt;

    #[test]
    fn outcomes_tell_what_broke_from_what_cannot_be_served_now() {
        let of = |attempt: crate::history::sample::AttemptBuilder| Outcome::of(&attempt.done());
        assert_eq!(of(attempt("s3", 0, 1).status(200)), Outcome::Ok);
        assert_eq!(of(attempt("s3", 0, 1).status(404)), Outcome::Ok);
        assert_eq!(of(attempt("s3", 0, 1).status(500)), Outcome::Failed);
        assert_eq!(of(attempt("s3", 0, 1).status(503)), Outcome::Refused);
        assert_eq!(of(attempt("s3", 0, 1).status(429)), Outcome::Refused);
        assert_eq!(of(attempt("s3", 0, 1).gave_up()), Outcome::Unfinished);
    }

    #[test]
    fn quantiles_are_right_to_a_few_percent() {
        let mut bin = Bin::new(0);
        for millis in 1..=1_000 {
            bin.add(Outcome::Ok, Micros::from_millis(millis), true, false);
        }
        for (share, expected) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = bin.quantile(share).expect("there are samples");
            assert!((found / expected - 1.0f64).abs() < 0.05, "{share}: {found}");
        }
        assert_eq!(Bin::new(0).quantile(0.5), None);
    }

    #[test]
    fn a_histogram_counts_what_took_as_long_at_most() {
        let mut histogram = Histogram::default();
        for millis in [1, 2, 1_000, 100_000] {
            histogram.add(Micros::from_millis(millis));
        }
        let at = |bound| {
            histogram
                .cumulative()
                .find(|one| one.0 == bound)
                .map(|one| one.1)
        };
        assert_eq!(
            (at(0.001), at(0.0025), at(1.0), at(60.0)),
            (Some(1), Some(2), Some(3), Some(3))
        );
        assert_eq!(histogram.count(), 4);
    }

    #[test]
    fn operations_without_number_are_counted_together() {
        let mut totals = Totals::default();
        for n in 0..OPERATIONS_MAX + 20 {
            let operation = Arc::from(format!("OP{n}"));
            totals.add(&operation, Outcome::Ok, Micros(1), true);
        }
        assert_eq!(totals.by_operation().count(), OPERATIONS_MAX + 1);
        let others = totals.by_operation().find(|one| one.0 == OTHERS);
        assert_eq!(others, Some((OTHERS, Outcome::Ok, 20)));
    }
}
