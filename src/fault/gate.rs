//! The gate in front of every fault: which events it concerns, and how many of those it hits.

use crate::{
    input::{Key, Shape},
    protocol::Call,
    units::Share,
};

/// Keys that every `[[phase.fault]]` may have, beside its kind's own.
pub const KEYS: &[Key] = &[
    Key::required(
        "kind",
        Shape::Text,
        "what goes wrong; `brownout list faults` shows all kinds",
    ),
    Key::required(
        "on",
        Shape::Text,
        "a role, a dependency's name, or `instance:NAME`",
    ),
    Key::optional("when", Shape::Table(WHEN), "which requests it concerns"),
    Key::optional(
        "share",
        Shape::Share,
        "the probability with which it hits one of them",
    ),
    Key::optional("by", Shape::OneOf(By::NAMES), "what the share is drawn for"),
    Key::optional(
        "first",
        Shape::Integer(1, 1_000_000_000),
        "hits only the first n matching",
    ),
    Key::optional(
        "every",
        Shape::Integer(1, 1_000_000_000),
        "hits every n-th matching",
    ),
    Key::optional(
        "after",
        Shape::Integer(1, 1_000_000_000),
        "spares the first n matching",
    ),
    Key::optional(
        "min_hits",
        Shape::Integer(0, 1_000_000_000),
        "fewer hits make the verdicts of its phase inconclusive (1)",
    ),
];

/// Keys of `when`.
pub const WHEN: &[Key] = &[
    Key::optional(
        "operation",
        Shape::TextOrTexts,
        "S3's operation, or the HTTP method",
    ),
    Key::optional("method", Shape::TextOrTexts, "the HTTP method"),
    Key::optional(
        "path",
        Shape::TextOrTexts,
        "the path, with `*` for any characters",
    ),
    Key::optional(
        "key",
        Shape::TextOrTexts,
        "the object's `bucket/key`, with `*`",
    ),
    Key::optional("host", Shape::TextOrTexts, "the host asked for, with `*`"),
    Key::optional(
        "header",
        Shape::TextMap,
        "headers and their values, with `*`",
    ),
    Key::optional(
        "attempt",
        Shape::Integer(1, 1_000),
        "only this attempt of each call",
    ),
];

/// What the draw of a `share` belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Each request on the wire has its own draw, a retry too.
    #[default]
    Request,
    /// All attempts of a logical call share one draw.
    Call,
    /// All requests of a connection share one draw.
    Connection,
    /// All requests for a key share one draw: the real partial outage, in which the same third of
    /// the keys fails every time.
    Key,
}

impl By {
    /// The names in files, in the order of the variants.
    pub const NAMES: &'static [&'static str] = &["request", "call", "connection", "key"];
}

/// Which requests a fault concerns. Empty lists match everything; the parts are joined by "and",
/// the values within a part by "or".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matcher {
    /// Operations.
    pub operation: Vec<String>,
    /// HTTP methods.
    pub method: Vec<String>,
    /// Path patterns.
    pub path: Vec<String>,
    /// Key patterns.
    pub key: Vec<String>,
    /// Host patterns.
    pub host: Vec<String>,
    /// Header names (lower case) and value patterns.
    pub header: Vec<(String, String)>,
    /// The attempt number.
    pub attempt: Option<u32>,
}

impl Matcher {
    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a request is one of those meant.
    pub fn matches(&self, call: &Call) -> bool {
        let any = |patterns: &[String], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| wildcard(pattern, text))
        };
        let path = call.target.split('?').next().unwrap_or_default();
        any(&self.operation, &call.operation)
            && any(&self.method, &call.method)
            && any(&self.path, path)
            && any(&self.key, &call.key)
            && any(&self.host, &call.host)
            && self.attempt.is_none_or(|attempt| attempt == call.attempt)
            && self.header.iter().all(|(name, pattern)| {
                call.headers
                    .iter()
                    .any(|(known, value)| **known == **name && wildcard(pattern, value))
            })
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters, none included.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut rest = rest;
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The gate of one fault.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gate {
    /// Which requests.
    pub when: Matcher,
    /// How likely each is hit; `None` means always.
    pub share: Option<Share>,
    /// What the draw belongs to. `None`: the protocol's default (request where messages are seen,
    /// else connection).
    pub by: Option<By>,
    /// Only the first n matching.
    pub first: Option<u64>,
    /// Every n-th matching.
    pub every: Option<u64>,
    /// Not the first n matching.
    pub after: Option<u64>,
    /// Fewer hits than this leave the phase's verdicts inconclusive.
    pub min_hits: u64,
}
