//! What the report's words mean.

use maud::{Markup, html};

/// Each word with its meaning, in the order in which a reader meets them.
const WORDS: &[(&str, &str)] = &[
    (
        "system",
        "the programs under test; each of them is an instance",
    ),
    (
        "dependency",
        "a service that the system calls; Brownout stands between the two and sees every request",
    ),
    (
        "fault",
        "what Brownout did to a dependency, a connection or an instance; it acted as often as the table of faults says",
    ),
    (
        "phase",
        "a stretch of the run with its faults; the steady phase has none and is the baseline that later phases are compared with",
    ),
    (
        "load",
        "requests that Brownout itself sends to the system, at a fixed rate whether or not earlier ones were answered",
    ),
    (
        "operation",
        "one request of a load; its time counts from when it should have begun, so that a system that stalls cannot hide it",
    ),
    ("ok", "the operation was answered as required"),
    (
        "degraded",
        "a fallback answered: less than usual, but an answer",
    ),
    ("failed", "refused, or answered with an error"),
    (
        "indeterminate",
        "no answer in time: the work may have been done or not",
    ),
    (
        "call, attempt",
        "a call is one thing that the system wants of a dependency; each request it sends for it is an attempt, and those after the first are retries",
    ),
    (
        "error",
        "an attempt that was not answered, or with an error that invites a retry",
    ),
    ("in flight", "attempts open at the same moment"),
    (
        "p50, p90, p99",
        "the time within which 50, 90 or 99 of 100 operations were answered; of few operations p99 is the slowest",
    ),
    (
        "ledger",
        "the account of work that the system has accepted and must deliver",
    ),
    (
        "lost",
        "accepted, and never delivered though all had come to rest",
    ),
    (
        "acknowledged, unacknowledged",
        "whether the caller was told that its write is done; what it was not told, it may do again",
    ),
    (
        "doubled",
        "a write that was asked for once and done more often",
    ),
    ("backlog", "work that was accepted and not delivered yet"),
    (
        "steady again",
        "every load is answered as in the steady phase, for a while and not only for a moment",
    ),
    (
        "wedged",
        "not steady again though every fault is gone and the dependencies are healthy",
    ),
    (
        "pass",
        "the requirement was met, and enough was measured to say so",
    ),
    ("fail", "the requirement was not met"),
    (
        "inconclusive",
        "nothing can be said: a fault did not act, too little was measured, or the measuring itself was disturbed; never a pass",
    ),
    (
        "samples",
        "how many operations, calls or events a verdict rests on",
    ),
    (
        "window",
        "the stretch of the run that was judged; times count from its beginning",
    ),
    (
        "seed",
        "the number that all chance in a run is drawn from: the same seed makes the same decisions",
    ),
];

/// The glossary.
pub fn glossary() -> Markup {
    html! {
        section.glossary aria-labelledby="words" {
            h2 id="words" { "What the words mean" }
            dl {
                @for (word, meaning) in WORDS {
                    div { dt { (word) } dd { (meaning) } }
                }
            }
        }
    }
}
