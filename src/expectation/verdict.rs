//! Verdicts.

use crate::units::Micros;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Pass, inconclusive, fail: in the order in which the worse wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: Micros,
    /// What: "ask #412 POST /bots/7/ask: no answer within 5s".
    pub what: String,
}
