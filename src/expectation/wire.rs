//! What arrived at a dependency, for expectations that count and time it.

use super::names;
use crate::{
    fault::wildcard,
    history::{Attempt, View, Window},
    input::{Fields, Key, Problems, Shape},
    units::Micros,
};

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
