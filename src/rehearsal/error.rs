//! What can go wrong, in words that a failed test may end with.

use super::seen::Seen;
use std::{fmt, io, sync::Arc};

/// What went wrong. `{}` and `{:?}` are the same text, so that a test that returns it ends with a
/// readable one.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The proxy could not be started.
    #[error("the proxy of `{dependency}` cannot be started: {error}")]
    #[non_exhaustive]
    Start {
        /// The dependency.
        dependency: Arc<str>,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// An upstream that is no address.
    #[error("the upstream of `{dependency}`: {what} (write {hint})")]
    #[non_exhaustive]
    Upstream {
        /// The dependency.
        dependency: Arc<str>,
        /// What is wrong.
        what: String,
        /// What would be right.
        hint: String,
    },
    /// A fault that is none, or none for this dependency: every problem with its place and a hint.
    #[error("this fault cannot be put on `{dependency}`\n{problems}")]
    #[non_exhaustive]
    Fault {
        /// The dependency.
        dependency: Arc<str>,
        /// All that is wrong.
        problems: String,
    },
    /// A fault acted on fewer events than it had to, so that the test shows nothing.
    #[error(
        "{fault} acted {}, and has to {} at least: what it is to show was not shown\n{seen}",
        times(*acted),
        times(*required)
    )]
    #[non_exhaustive]
    Idle {
        /// The fault, in words.
        fault: String,
        /// On how many events it acted.
        acted: u64,
        /// On how many it had to act.
        required: u64,
        /// What was seen at its dependency while it was in force.
        seen: Box<Seen>,
    },
    /// More was seen than is kept.
    #[error(
        "{forgotten} of what `{dependency}` was asked is not on record: nothing is said of a part (keep more: `Builder::keep`)"
    )]
    #[non_exhaustive]
    TooMuch {
        /// The dependency.
        dependency: Arc<str>,
        /// How many attempts and connections are not on record.
        forgotten: u64,
    },
    /// The proxy found no quiet moment in which to say what it has seen.
    #[error(
        "the proxy of `{dependency}` had no quiet moment for {seconds} s, so that what it has seen would not be complete"
    )]
    #[non_exhaustive]
    Restless {
        /// The dependency.
        dependency: Arc<str>,
        /// For how long it was waited.
        seconds: u64,
    },
    /// The proxy's thread is gone, which is a bug of Brownout's.
    #[error("the thread of `{dependency}` is gone, which is a bug in Brownout")]
    #[non_exhaustive]
    Gone {
        /// The dependency.
        dependency: Arc<str>,
    },
    /// Scenario or system file: every problem with its place and a hint.
    #[error("the scenario cannot be run\n{problems}")]
    #[non_exhaustive]
    Files {
        /// All that is wrong.
        problems: String,
    },
    /// A run could not be begun or carried through.
    #[error("the scenario was not carried through: {what}")]
    #[non_exhaustive]
    Run {
        /// Why.
        what: String,
    },
    /// A scenario that did not pass: its verdicts with their evidence.
    #[error("{text}")]
    #[non_exhaustive]
    NotPassed {
        /// What was required, what was measured, and where the history is.
        text: String,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn times(count: u64) -> String {
    match count {
        0 => "on nothing".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}
