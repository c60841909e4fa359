//! What the history has behind a piece of evidence: the operation or call itself, and the
//! requests on the wire that belong to it, on one axis.
//!
//! The attempts of a call are known. Which requests an operation caused is not: nothing on the wire
//! says so. Shown are those that were open while it was, first those that carry one of its captured
//! values; a reader is told which is which.

use super::timeline::is_error;
use crate::{
    expectation::{Evidence, Subject, Verdict},
    history::{Attempt, AttemptEnd, LogicalCall, Operation, Outcome, View},
    units::Micros,
};
use std::collections::BTreeSet;

/// The most requests shown with one piece of evidence.
pub const SPANS_MAX: usize = 5;

/// The most of these that were only open at the same time.
const MEANWHILE_MAX: usize = 3;

/// One piece of evidence as the history has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The place of its verdict.
    pub verdict: usize,
    /// Its place in the verdict's evidence.
    pub evidence: usize,
    /// What it is about comes first where it is an operation; then requests by when they began.
    pub spans: Vec<Span>,
    /// Requests left out.
    pub more: usize,
}

/// An operation or a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What it was: "ask #412 POST /bots/7/ask", "s3 PutObject models/7, attempt 2".
    pub what: String,
    /// How it belongs here.
    pub part: Part,
    /// When it began; an operation: when it should have begun.
    pub began: Micros,
    /// When it was over.
    pub ended: Micros,
    /// How it ended, in words.
    pub how: String,
    /// How that looks.
    pub end: End,
    /// The faults that acted on it, by their numbers.
    pub faults: Vec<u16>,
}

/// How a span belongs to the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It is what the evidence is about.
    Itself,
    /// It carries a value of the operation.
    Carries,
    /// It was open at the same time.
    Meanwhile,
}

/// How a span ended, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Good,
    /// By a fallback.
    Degraded,
    /// With an error, or cut.
    Bad,
    /// The client gave up: what became of it is not known to it.
    GaveUp,
    /// It was not over when last seen.
    Open,
}

/// The traces of all evidence that is about an operation or a call.
pub fn traces(view: &View<'_>, verdicts: &[Verdict]) -> Vec<Trace> {
    let mut traces = Vec::new();
    for (verdict, one) in verdicts.iter().enumerate() {
        for (evidence, seen) in one.evidence.iter().enumerate() {
            if let Some((spans, more)) = spans(view, seen) {
                traces.push(Trace {
                    verdict,
                    evidence,
                    spans,
                    more,
                });
            }
        }
    }
    traces
}

fn spans(view: &View<'_>, evidence: &Evidence) -> Option<(Vec<Span>, usize)> {
    match evidence.about.as_ref()? {
        Subject::Operation { load, nth } => {
            let mut operations = view.history.operations_of(load).iter();
            operations
                .find(|one| one.nth == *nth)
                .map(|one| of_operation(view, one))
        }
        Subject::Call {
            dependency,
            connection,
            began,
        } => {
            let attempts = view.history.attempts_of(dependency);
            let first = |call: &&LogicalCall| {
                let first = &attempts[call.attempts[0] as usize];
                first.connection == *connection && first.began == *began
            };
            let mut calls = view.history.calls_of(dependency).iter();
            calls.find(first).map(|call| of_call(attempts, call))
        }
    }
}

fn of_call(attempts: &[Attempt], call: &LogicalCall) -> (Vec<Span>, usize) {
    let spans = call.attempts.iter().take(SPANS_MAX);
    let spans = spans.map(|index| request(&attempts[*index as usize], Part::Itself));
    let more = call.attempts.len().saturating_sub(SPANS_MAX);
    (spans.collect(), more)
}

fn of_operation(view: &View<'_>, operation: &Operation) -> (Vec<Span>, usize) {
    let values: BTreeSet<&str> = operation.captured.values().map(String::as_str).collect();
    let part = |attempt: &Attempt| {
        let carries = attempt
            .captured
            .values()
            .any(|value| values.contains(value.as_str()))
            || attempt.key.split('/').any(|piece| values.contains(piece));
        if carries {
            Part::Carries
        } else {
            Part::Meanwhile
        }
    };
    let mut open: Vec<(Part, &Attempt)> = view
        .history
        .attempts
        .values()
        .flatten()
        .filter(|one| one.began < operation.ended && operation.began < one.ended)
        .map(|one| (part(one), one))
        .collect();
    open.sort_by_key(|(part, one)| (*part, one.faults.is_empty(), one.began));
    let all = open.len();
    let own = open.partition_point(|(part, _)| *part == Part::Carries);
    open.truncate(SPANS_MAX.min(own + MEANWHILE_MAX));
    let more = all - open.len();
    open.sort_by_key(|(_, one)| one.began);
    let itself = Span {
        what: format!(
            "{} #{} {}",
            operation.load, operation.nth, operation.request
        ),
        part: Part::Itself,
        began: operation.intended,
        ended: operation.ended,
        how: outcome(operation),
        end: match operation.outcome {
            Outcome::Ok => End::Good,
            Outcome::Degraded => End::Degraded,
            Outcome::Failed => End::Bad,
            Outcome::Indeterminate => End::GaveUp,
        },
        faults: Vec::new(),
    };
    let requests = open.into_iter().map(|(part, one)| request(one, part));
    (std::iter::once(itself).chain(requests).collect(), more)
}

fn outcome(operation: &Operation) -> String {
    let word = match operation.outcome {
        Outcome::Ok => "ok",
        Outcome::Degraded => "degraded",
        Outcome::Failed => "failed",
        Outcome::Indeterminate => "indeterminate",
    };
    match &operation.why {
        Some(why) => format!("{word}: {why}"),
        None => word.to_owned(),
    }
}

fn request(attempt: &Attempt, part: Part) -> Span {
    let mut what = format!(
        "{} {} {}",
        attempt.dependency, attempt.operation, attempt.key
    );
    // Of a request that stands alone, that it is the first attempt says nothing.
    if part == Part::Itself || attempt.attempt > 1 {
        what.push_str(&format!(", attempt {}", attempt.attempt));
    }
    Span {
        what,
        part,
        began: attempt.began,
        ended: attempt.ended,
        how: how(attempt),
        end: match attempt.end {
            AttemptEnd::Answered if is_error(attempt) => End::Bad,
            AttemptEnd::Answered => End::Good,
            AttemptEnd::Cut | AttemptEnd::UpstreamFailed => End::Bad,
            AttemptEnd::GaveUp => End::GaveUp,
            AttemptEnd::Unfinished => End::Open,
        },
        faults: attempt.faults.iter().map(|fault| fault.0).collect(),
    }
}

fn how(attempt: &Attempt) -> String {
    let end = match attempt.end {
        AttemptEnd::Answered => "answered",
        AttemptEnd::GaveUp => "gave up",
        AttemptEnd::Cut => "cut by a fault",
        AttemptEnd::UpstreamFailed => "the dependency failed",
        AttemptEnd::Unfinished => "still open",
    };
    let status = attempt.status.map(|status| status.to_string());
    let code = attempt.code.as_ref().map(ToString::to_string);
    let said: Vec<String> = status.into_iter().chain(code).collect();
    if said.is_empty() {
        end.to_owned()
    } else {
        format!("{end} {}", said.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        expectation::Status,
        history::sample::{self, Story, attempt},
    };

    /// The traces of one piece of evidence.
    fn traced(story: &Story, find: impl Fn(&View<'_>) -> Evidence) -> Vec<Trace> {
        let (scenario, system) = (sample::scenario(), sample::system());
        let history = story.history();
        let view = View::new(&history, &scenario, &system);
        let verdict = Verdict {
            id: "X".to_owned(),
            that: "it holds".to_owned(),
            kind: "success-rate".to_owned(),
            status: Status::Fail,
            required: String::new(),
            measured: String::new(),
            count: 1,
            window: Default::default(),
            phases: Vec::new(),
            reason: None,
            evidence: vec![find(&view)],
            place: None,
        };
        traces(&view, &[verdict])
    }

    #[test]
    fn a_call_is_shown_with_its_attempts() {
        let story = Story::new().attempts([
            attempt("s3", 11_000, 13_000).sdk("a", 1).hit().gave_up(),
            attempt("s3", 13_200, 13_210).sdk("a", 2).hit().status(503),
            attempt("s3", 13_205, 13_300).sdk("b", 1),
        ]);
        let traces = traced(&story, |view| {
            Evidence::of_call(&view.history.attempts_of("s3")[0], "it".to_owned())
        });
        let spans = &traces[0].spans;
        let ends: Vec<_> = spans
            .iter()
            .map(|span| (span.end, span.how.as_str()))
            .collect();
        assert_eq!(ends[0].0, End::GaveUp);
        assert_eq!(ends[1], (End::Bad, "answered 503"));
        assert_eq!((spans.len(), traces[0].more), (2, 0));
    }

    #[test]
    fn an_operation_is_shown_with_what_was_open_meanwhile_and_says_what_is_its_own() {
        let mut story = Story::new().work(11_000, "7", Outcome::Failed);
        for nth in 0..10 {
            story = story.attempt(attempt("s3", 10_900 + nth, 11_500 + nth));
        }
        let story = story
            .attempt(attempt("s3", 11_005, 11_500).captured("id", "7"))
            .attempt(attempt("s3", 11_100, 11_500).captured("id", "7"));
        let traces = traced(&story, |view| {
            let operation = &view.history.operations_of("train")[0];
            Evidence::of_operation(operation.intended, operation, "it".to_owned())
        });
        let spans = &traces[0].spans;
        assert_eq!(spans[0].part, Part::Itself);
        assert_eq!(spans.len(), 1 + 1 + MEANWHILE_MAX);
        let own = spans.iter().filter(|span| span.part == Part::Carries);
        // The second one began when the operation was over.
        assert_eq!(own.count(), 1);
        assert_eq!(traces[0].more, 7);
    }
}
