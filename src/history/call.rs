//! Attempts grouped into logical calls.
//!
//! Where the client sends its own id, grouping is a fact. Elsewhere it is a guess, and marked as
//! one: a request continues the call for the same operation, key and captured values whose last
//! attempt failed before it began, if not more than [`GAP_MAX`] before. The price of the guess:
//! independent requests for the same thing that fail one after another look like one call. Whether an
//! attempt had failed *before* is told by when its client had the answer, which may be before we
//! noted its end.

use super::{Attempt, AttemptEnd};
use crate::{fault::FaultId, units::Micros};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// The longest pause between two attempts that are taken for one call without the client's id:
/// above the longest back-off of the clients of the field (boto2 and botocore stay below 35 s).
pub const GAP_MAX: Duration = Duration::from_secs(60);

/// How long before the end of an attempt was noted its client may have begun the next, if it had the
/// answer: an error's body is short, and a busy machine wakes us late.
pub const NOTED_LATE: Duration = Duration::from_millis(250);

/// One logical request of the system to a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalCall {
    /// Its attempts in the order they began: indices into the dependency's attempts.
    pub attempts: Vec<u32>,
    /// Whether the attempts were grouped by the client's own id, else by time.
    pub by_sdk_id: bool,
    /// When its first attempt began.
    pub began: Micros,
    /// When its last attempt was over.
    pub ended: Micros,
    /// Which faults acted on any of its attempts.
    pub faults: Vec<FaultId>,
    /// Whether its last attempt settled it; otherwise the client gave up, or was still at it.
    pub settled: bool,
    /// Whether its last attempt was open when it was last seen.
    pub unfinished: bool,
}

impl LogicalCall {
    fn new(index: usize, attempt: &Attempt) -> Self {
        let mut call = Self {
            attempts: Vec::with_capacity(1),
            by_sdk_id: attempt.by_sdk_id,
            began: attempt.began,
            ended: attempt.ended,
            faults: Vec::new(),
            settled: false,
            unfinished: false,
        };
        call.add(index, attempt);
        call
    }

    fn add(&mut self, index: usize, attempt: &Attempt) {
        self.attempts
            .push(u32::try_from(index).expect("a history is limited to fewer attempts"));
        self.ended = self.ended.max(attempt.ended);
        self.settled = attempt.settled();
        self.unfinished = attempt.end == AttemptEnd::Unfinished;
        for fault in &attempt.faults {
            if !self.faults.contains(fault) {
                self.faults.push(*fault);
            }
        }
    }
}

/// What two requests must share to be taken for attempts of one call.
pub(super) type Likeness<'a> = (&'a str, &'a str, &'a BTreeMap<String, String>);

/// Groups one dependency's attempts, sorted by when they began.
pub fn calls<A: Borrow<Attempt>>(attempts: &[A]) -> Vec<LogicalCall> {
    let attempts: Vec<&Attempt> = attempts.iter().map(Borrow::borrow).collect();
    group(&attempts)
}

fn group(attempts: &[&Attempt]) -> Vec<LogicalCall> {
    let mut calls: Vec<LogicalCall> = Vec::with_capacity(attempts.len());
    let mut by_id: HashMap<&Arc<str>, usize> = HashMap::new();
    let mut open: HashMap<Likeness<'_>, Vec<usize>> = HashMap::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let known = if attempt.by_sdk_id {
            by_id.get(&attempt.call).copied()
        } else {
            let candidates = open.get_mut(&likeness(attempt));
            candidates.and_then(|candidates| continued(&calls, attempts, candidates, attempt))
        };
        let number = match known {
            Some(number) => {
                calls[number].add(index, attempt);
                number
            }
            None => {
                calls.push(LogicalCall::new(index, attempt));
                calls.len() - 1
            }
        };
        if attempt.by_sdk_id {
            by_id.insert(&attempt.call, number);
        } else if !calls[number].settled {
            open.entry(likeness(attempt)).or_default().push(number);
        }
    }
    calls
}

pub(super) fn likeness(attempt: &Attempt) -> Likeness<'_> {
    (&attempt.operation, &attempt.key, &attempt.captured)
}

/// Takes the call that `attempt` continues out of the unsettled ones: the one that failed last
/// before it began. Those that failed too long ago are forgotten.
fn continued(
    calls: &[LogicalCall],
    attempts: &[&Attempt],
    candidates: &mut Vec<usize>,
    attempt: &Attempt,
) -> Option<usize> {
    candidates.retain(|number| calls[*number].ended + GAP_MAX >= attempt.began);
    let place = candidates
        .iter()
        .enumerate()
        .filter(|(_, number)| {
            let last = calls[**number].attempts.last();
            last.is_some_and(|last| {
                let last = &attempts[*last as usize];
                is_over(last, attempt.began) && follows(last.attempt, attempt.attempt)
            })
        })
        .max_by_key(|(_, number)| calls[**number].ended)
        .map(|(place, _)| place)?;
    Some(candidates.swap_remove(place))
}

/// Whether the client may have been done with an attempt at this moment.
fn is_over(last: &Attempt, at: Micros) -> bool {
    last.ended <= at || (last.told() <= at && last.ended <= at + NOTED_LATE)
}

/// Whether attempt `number` can be the next after attempt `last`. Where a client numbers its attempts
/// without naming its calls, a 1 after a higher number begins a call; where none are numbered, all
/// are 1.
const fn follows(last: u32, number: u32) -> bool {
    (last == 1 && number == 1) || number == last.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::attempt;

    fn sizes(attempts: &[Attempt]) -> Vec<usize> {
        calls(attempts)
            .iter()
            .map(|call| call.attempts.len())
            .collect()
    }

    #[test]
    fn attempts_with_the_clients_id_are_one_call_however_far_apart() {
        let attempts = [
            attempt("s3", 0, 10).sdk("a", 1).status(500),
            attempt("s3", 20, 30).sdk("b", 1).status(200),
            attempt("s3", 400_000, 410_000).sdk("a", 2).status(200),
        ]
        .map(|build| build.done());
        assert_eq!(sizes(&attempts), [2, 1]);
        let calls = calls(&attempts);
        assert!(calls[0].settled && calls[0].by_sdk_id);
        assert_eq!(calls[0].ended, Micros::from_millis(410_000));
    }

    #[test]
    fn without_an_id_a_request_continues_the_failed_one_for_the_same_thing() {
        let attempts = [
            attempt("s3", 0, 70_000).gave_up(),
            attempt("s3", 75_000, 75_100).status(503),
            attempt("s3", 80_000, 80_100).status(200),
            attempt("s3", 81_000, 81_100).status(200),
        ]
        .map(|build| build.done());
        assert_eq!(sizes(&attempts), [3, 1]);
        assert!(!calls(&attempts)[0].by_sdk_id);
    }

    #[test]
    fn a_retry_that_is_here_before_the_end_of_the_first_was_noted_continues_it() {
        let noted = |late: u64| {
            let mut first = attempt("s3", 0, 10 + late).status(500).done();
            first.first_byte = Some(Micros::from_millis(10));
            let second = attempt("s3", 12, 20).status(500).done();
            sizes(&[first, second])
        };
        assert_eq!(noted(0), [2]);
        assert_eq!(noted(30), [2]);
        // A body that goes on and on is another matter, and so is one that was not answered yet.
        assert_eq!(noted(400), [1, 1]);
        let parallel = [
            attempt("s3", 0, 30).status(500),
            attempt("s3", 12, 40).status(500),
        ];
        assert_eq!(sizes(&parallel.map(|build| build.done())), [1, 1]);
    }

    #[test]
    fn a_client_that_numbers_its_attempts_is_believed() {
        let numbered = |began: u64, number: u32| {
            let mut one = attempt("s3", began, began + 10).status(500).done();
            one.attempt = number;
            one
        };
        let attempts = [
            numbered(0, 1),
            numbered(100, 2),
            numbered(200, 3),
            numbered(300, 1),
            numbered(400, 2),
        ];
        assert_eq!(sizes(&attempts), [3, 2]);
    }

    #[test]
    fn without_an_id_parallel_late_or_different_requests_are_calls_of_their_own() {
        let parallel = [
            attempt("s3", 0, 1_000).gave_up(),
            attempt("s3", 500, 1_500).gave_up(),
        ];
        let late = [
            attempt("s3", 0, 1_000).status(500),
            attempt("s3", 61_001, 61_002).status(200),
        ];
        let other_key = [
            attempt("s3", 0, 10).status(500),
            attempt("s3", 20, 30).key("bucket/other").status(200),
        ];
        let other_version = [
            attempt("s3", 0, 10).captured("version", "1").status(500),
            attempt("s3", 20, 30).captured("version", "2").status(200),
        ];
        for pair in [parallel, late, other_key, other_version] {
            assert_eq!(sizes(&pair.map(|build| build.done())), [1, 1]);
        }
    }
}
