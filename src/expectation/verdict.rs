//! Verdicts.

use crate::{
    history::{Attempt, Operation},
    input::{Source, Span},
    units::Micros,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Pass, inconclusive, fail: in the order in which the worse wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It held, and enough was measured to say so.
    Pass,
    /// Nothing can be said: nothing was injected, too little was measured, or the measuring
    /// itself was disturbed. Never a pass.
    Inconclusive,
    /// It did not hold.
    Fail,
}

impl Status {
    /// The worse of two; `Pass` is the neutral element.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        self.max(other)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        })
    }
}

/// What became of one expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The expectation's id.
    pub id: String,
    /// What it says.
    pub that: String,
    /// Its kind.
    pub kind: String,
    /// The verdict.
    pub status: Status,
    /// What is required.
    pub required: String,
    /// What was measured.
    pub measured: String,
    /// How many samples.
    pub count: u64,
    /// From when to when it was judged.
    pub window: (Micros, Micros),
    /// The phases it was judged over.
    pub phases: Vec<String>,
    /// Why it is not a pass, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first few offending operations, calls or events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Where the expectation stands; not known of reports by a Brownout that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Where an expectation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Place {
    /// The scenario's file, as typed.
    pub file: String,
    /// The line of its header, from 1.
    pub line: u64,
    /// Its last line.
    pub end_line: u64,
}

impl Place {
    /// The place of a span of a source.
    pub fn of(source: &Source, span: &Span) -> Self {
        let line = |offset| source.position(offset).0 as u64;
        Self {
            file: source.name.to_string(),
            line: line(span.start),
            end_line: line(span.end),
        }
    }
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// When.
    pub at: Micros,
    /// What: "ask #412 POST /bots/7/ask: no answer within 5s".
    pub what: String,
    /// The operation or call that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Subject>,
}

/// What a piece of evidence is about, so that it can be found in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Subject {
    /// One request of a load or through the ingress.
    Operation {
        /// The load.
        load: Arc<str>,
        /// The operation's number within it.
        nth: u64,
    },
    /// A call of the system to a dependency.
    Call {
        /// The dependency.
        dependency: Arc<str>,
        /// The connection of its first attempt.
        connection: u64,
        /// When its first attempt began.
        began: Micros,
    },
}

impl Evidence {
    /// What is said of an operation.
    pub fn of_operation(at: Micros, operation: &Operation, what: String) -> Self {
        let about = Subject::Operation {
            load: Arc::clone(&operation.load),
            nth: operation.nth,
        };
        Self {
            at,
            what,
            about: Some(about),
        }
    }

    /// What is said of a call, by its first attempt.
    pub fn of_call(first: &Attempt, what: String) -> Self {
        let about = Subject::Call {
            dependency: Arc::clone(&first.dependency),
            connection: first.connection,
            began: first.began,
        };
        Self {
            at: first.began,
            what,
            about: Some(about),
        }
    }
}

impl From<(Micros, String)> for Evidence {
    fn from((at, what): (Micros, String)) -> Self {
        Self {
            at,
            what,
            about: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statuses() -> impl Strategy<Value = Vec<Status>> {
        let one = prop_oneof![
            Just(Status::Pass),
            Just(Status::Inconclusive),
            Just(Status::Fail)
        ];
        prop::collection::vec(one, 0..12)
    }

    fn merged(statuses: &[Status]) -> Status {
        statuses
            .iter()
            .fold(Status::Pass, |worst, status| worst.worst(*status))
    }

    proptest! {
        #[test]
        fn verdicts_merge_to_the_same_in_any_order_and_any_grouping(
            (statuses, shuffled) in statuses().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            cut in any::<prop::sample::Index>(),
            again in any::<prop::sample::Index>(),
        ) {
            let expected = if statuses.contains(&Status::Fail) {
                Status::Fail
            } else if statuses.contains(&Status::Inconclusive) {
                Status::Inconclusive
            } else {
                Status::Pass
            };
            prop_assert_eq!(merged(&statuses), expected);
            prop_assert_eq!(merged(&shuffled), expected);
            let (one, other) = shuffled.split_at(cut.index(shuffled.len() + 1));
            prop_assert_eq!(merged(one).worst(merged(other)), expected);
            // Hearing one of them twice changes nothing.
            if !statuses.is_empty() {
                prop_assert_eq!(expected.worst(statuses[again.index(statuses.len())]), expected);
            }
        }
    }
}
