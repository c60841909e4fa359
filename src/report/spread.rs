//! What comparing two runs needs beyond sums: how latencies spread, and how much what happened
//! clumps.

use super::{Calls, Spread, clumps::Blocks, timeline::is_error};
use crate::{
    history::{Account, Fate, History, Operation, Outcome, Window},
    units::Micros,
};
use std::collections::BTreeMap;

/// How many steps there are to each doubling of a latency: a step is a sixteenth of it at most.
const STEPS: u64 = 16;

/// The percentiles that two runs are compared by.
pub const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// The longest latency of the step that a latency lies in.
pub fn step(us: u64) -> u64 {
    let bits = u64::BITS - us.leading_zeros();
    let shift = bits.saturating_sub(STEPS.ilog2() + 1);
    (((us >> shift) + 1) << shift) - 1
}

/// How the operations of a phase spread.
pub fn spread(window: Window, operations: &[&Operation]) -> Spread {
    let mut answered_us = BTreeMap::new();
    for operation in operations.iter().filter(|one| is_answered(one)) {
        *answered_us.entry(step(latency_us(operation))).or_default() += 1;
    }
    let total = operations.len() as u64;
    let share = |hit: &dyn Fn(&Operation) -> bool| {
        let mut blocks = Blocks::of(window);
        for operation in operations {
            blocks.add(operation.intended, u64::from(hit(operation)), 1);
        }
        blocks.of_share()
    };
    let mut clumping = BTreeMap::new();
    clumping.insert("answered".to_owned(), share(&is_answered));
    let is = |outcome: Outcome| move |one: &Operation| one.outcome == outcome;
    clumping.insert("degraded".to_owned(), share(&is(Outcome::Degraded)));
    clumping.insert("failed".to_owned(), share(&is(Outcome::Failed)));
    for (name, quantile) in PERCENTILES {
        // One that is never answered takes longer than any: where the quantile is none, only
        // those lie beyond it.
        let bound = quantile_us(&answered_us, total, quantile);
        let slow = |one: &Operation| bound.is_some_and(|bound| step(latency_us(one)) > bound);
        let beyond = |one: &Operation| !is_answered(one) || slow(one);
        clumping.insert(name.to_owned(), share(&beyond));
    }
    clumping.retain(|_, factor| *factor > 1.0);
    Spread {
        answered_us,
        clumping,
    }
}

fn is_answered(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Ok | Outcome::Degraded)
}

fn latency_us(operation: &Operation) -> u64 {
    Micros::from(operation.latency()).0
}

/// The time within which this share of `total` operations was answered; `None` if so many never
/// were.
pub fn quantile_us(answered_us: &BTreeMap<u64, u64>, total: u64, share: f64) -> Option<u64> {
    let rank = (share * total as f64 - 1e-9).ceil().max(1.0) as u64;
    at_rank(answered_us, rank)
}

/// The latency of this rank, from 1; `None` beyond those answered.
pub fn at_rank(answered_us: &BTreeMap<u64, u64>, rank: u64) -> Option<u64> {
    let mut seen = 0;
    let found = answered_us.iter().find(|(_, count)| {
        seen += **count;
        seen >= rank
    });
    found.map(|(us, _)| *us)
}

/// The calls of a dependency in a phase.
pub fn calls(window: Window, history: &History, dependency: &str) -> Calls {
    let attempts = history.attempts_of(dependency);
    let calls = window.of(history.calls_of(dependency), |call| call.began);
    let mut by_call = Blocks::of(window);
    let mut by_attempt = Blocks::of(window);
    let (mut retries, mut errors) = (0, 0);
    for call in calls {
        let more = call.attempts.len() as u64 - 1;
        retries += more;
        by_call.add(call.began, more, 1);
    }
    let attempts = window.of(attempts, |attempt| attempt.began);
    for attempt in attempts {
        let error = u64::from(is_error(attempt));
        errors += error;
        by_attempt.add(attempt.began, error, 1);
    }
    let mut clumping = BTreeMap::from([
        ("calls".to_owned(), by_call.of_rate()),
        ("attempts".to_owned(), by_attempt.of_rate()),
        ("errors".to_owned(), by_attempt.of_share()),
        ("retries".to_owned(), by_call.of_ratio()),
    ]);
    clumping.retain(|_, factor| *factor > 1.0);
    Calls {
        total: calls.len() as u64,
        retries,
        attempts: attempts.len() as u64,
        errors,
        during_us: Micros::from(window.length()).0,
        clumping,
    }
}

/// How much what was lost clumps among what was accepted; `None` where that is not at all.
pub fn lost_clumping(account: &Account<'_>) -> Option<f64> {
    let mut blocks = Blocks::of(Window::new(Micros(0), account.end));
    for entry in account.entries.iter().filter(|entry| entry.accepted > 0) {
        let lost = u64::from(entry.fate == Fate::Lost);
        if let Some(operation) = entry.asked.first() {
            blocks.add(operation.intended, lost, 1);
        }
    }
    let factor = blocks.of_share();
    (factor > 1.0).then_some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::{Story, attempt};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_holds_its_latency_and_is_narrow(us in 0u64..4_000_000_000) {
            let longest = step(us);
            prop_assert!(longest >= us);
            prop_assert!(longest - us <= us / STEPS);
            prop_assert_eq!(step(longest), longest);
            prop_assert!(step(longest + 1) > longest);
        }
    }

    fn outage() -> Window {
        Window::new(Micros::from_secs(10), Micros::from_secs(30))
    }

    #[test]
    fn what_is_never_answered_takes_longer_than_anything() {
        let history = Story::new()
            .load("ask", 10..28, 20, Outcome::Ok, 20)
            .load("ask", 28..30, 20, Outcome::Failed, 1)
            .history();
        let operations: Vec<&Operation> = history.operations_of("ask").iter().collect();
        let spread = spread(outage(), &operations);
        assert_eq!(spread.answered_us, BTreeMap::from([(step(20_000), 360)]));
        let at = |share| quantile_us(&spread.answered_us, 400, share);
        assert_eq!(
            (at(0.5), at(0.9), at(0.95)),
            (Some(step(20_000)), at(0.5), None)
        );
        assert!(spread.clumping["answered"] > 15.0, "{spread:?}");
        for never in ["p95", "p99"] {
            assert_eq!(
                spread.clumping.get(never),
                spread.clumping.get("answered"),
                "{spread:?}"
            );
        }
        assert!(!spread.clumping.contains_key("degraded"), "{spread:?}");
    }

    #[test]
    fn calls_are_counted_with_what_they_tried_again() {
        let story = (0..20u64).fold(Story::new(), |story, nth| {
            let (began, id) = (10_000 + nth * 900, format!("call-{nth}"));
            story.attempts([
                attempt("s3", began, began + 10).sdk(&id, 1).status(503),
                attempt("s3", began + 100, began + 110)
                    .sdk(&id, 2)
                    .status(200),
            ])
        });
        let calls = calls(outage(), &story.history(), "s3");
        assert_eq!((calls.total, calls.retries, calls.errors), (20, 20, 20));
        assert_eq!(calls.during_us, 20_000_000);
    }

    #[test]
    fn what_is_lost_together_clumps() {
        let story = (0..60u64).fold(Story::new(), |story, id| {
            let name = id.to_string();
            let story = story.work(10_000 + id * 200, &name, Outcome::Ok);
            match id {
                20..30 => story,
                _ => story.delivery(10_100 + id * 200, &name),
            }
        });
        let story = story.watched(60_000);
        let (scenario, system) = (
            crate::history::sample::scenario(),
            crate::history::sample::system(),
        );
        let history = story.history();
        let view = crate::history::View::new(&history, &scenario, &system);
        let account = Account::of(&view, &system.ledgers[0]);
        assert_eq!(account.counts.lost, 10);
        assert!(lost_clumping(&account) > Some(2.0));
    }
}
