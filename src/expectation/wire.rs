//! What arrived at a dependency, for expectations that count and time it.

use super::names;
use crate::{
    fault::wildcard,
    history::{Attempt, Stalls, View, Window},
    input::{Fields, Key, Problems, Shape},
    units::{Micros, Rate},
};
use std::time::Duration;

pub use super::beat::{BUSY_FACTOR, STORM_OVER, is_storm};

/// Key of expectations that count requests at a dependency.
pub const OPERATION: Key = Key::optional(
    "operation",
    Shape::TextOrTexts,
    "only requests of this operation, or this HTTP method",
);

/// Key of expectations that count requests at a dependency.
pub const PATH: Key = Key::optional(
    "path",
    Shape::Text,
    "only requests for this path or key, with `*` for any characters",
);

/// Which requests are meant.
#[derive(Debug, Clone, Default)]
pub struct Meant {
    operations: Vec<String>,
    path: Option<String>,
}

impl Meant {
    /// Reads [`OPERATION`] and, where it is declared, [`PATH`].
    pub fn read(fields: &Fields<'_>, with_path: bool, problems: &mut Problems) -> Self {
        let path = with_path.then(|| fields.text("path", problems)).flatten();
        Self {
            operations: names::operations(fields, "operation", problems),
            path: path.map(|text| text.value),
        }
    }

    /// In words: ` GET /healthz`, or nothing.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for part in [self.operations.join("/")].iter().chain(&self.path) {
            if !part.is_empty() {
                text.push(' ');
                text.push_str(part);
            }
        }
        text
    }

    /// Whether a request is one of those meant.
    pub fn means(&self, attempt: &Attempt) -> bool {
        self.has(&attempt.operation, &attempt.key)
    }

    fn all(&self) -> bool {
        self.operations.is_empty() && self.path.is_none()
    }

    fn has(&self, operation: &str, key: &str) -> bool {
        (self.operations.is_empty() || self.operations.iter().any(|one| one == operation))
            && self.path.as_ref().is_none_or(|path| wildcard(path, key))
    }
}

/// What is said where a verdict would turn on a stall: see [`Stalls`](crate::history::Stalls).
pub const STALLED: &str = "it turns on moments in which Brownout itself stood still, so that nobody knows when within them something happened";

/// Whether so many moments, which are in order, came in one second as may not: `None` where it turns on
/// a stall of ours.
pub fn is_peak(view: &View<'_>, moments: &[Micros], over: Duration, rate: Rate) -> Option<bool> {
    let (fewest, most) = Stalls::of(view.history).peak(moments, over);
    let is_too_much = |count: usize| count as f64 > rate.as_per_second();
    (is_too_much(fewest) == is_too_much(most)).then(|| is_too_much(most))
}

/// When something meant arrived at a dependency or role in a window: requests, or connections
/// where the protocol shows no requests (and nothing narrower is asked for).
pub fn arrivals(view: &View<'_>, on: &str, meant: &Meant, window: Window) -> Vec<Micros> {
    let mut moments: Vec<Micros> = view
        .attempts_in(on, window)
        .into_iter()
        .filter(|one| meant.has(&one.operation, &one.key))
        .map(|one| one.began)
        .collect();
    if meant.all() {
        let blind: Vec<&str> = view
            .system
            .dependencies
            .iter()
            .filter(|one| *one.name == *on || one.role.as_deref() == Some(on))
            .filter(|one| !one.protocol.has_messages())
            .map(|one| &*one.name)
            .collect();
        let connections = window.of(&view.history.connections, |one| one.opened);
        moments.extend(
            connections
                .iter()
                .filter(|one| blind.contains(&&*one.dependency))
                .map(|one| one.opened),
        );
        moments.sort_unstable();
    }
    moments
}
