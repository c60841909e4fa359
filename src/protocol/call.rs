//! One request on the wire, and the logical call it is an attempt of.

use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Write},
    sync::Arc,
};

/// Whether the dependency carried a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Applied {
    /// It never saw the whole request.
    No,
    /// It answered that it had (2xx or 3xx), whatever the client was told.
    Yes,
    /// It saw the request, and no answer says what became of it.
    Unknown,
}

impl Applied {
    /// What became of a request together with copies of it that were sent besides, of which so many
    /// were `done` and of so many `unknown` no answer says whether they were: whether it was
    /// carried out at all, how often beyond once, and how often more it may have been.
    pub fn with_copies(self, done: u32, unknown: u32) -> (Self, u32, u32) {
        let done = done + u32::from(self == Self::Yes);
        let unknown = unknown + u32::from(self == Self::Unknown);
        match (done, unknown) {
            (0, 0) => (Self::No, 0, 0),
            (0, unknown) => (Self::Unknown, 0, unknown - 1),
            (done, unknown) => (Self::Yes, done - 1, unknown),
        }
    }
}

/// One request on the wire as faults see it: an attempt of a logical call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is asked: `PutObject`, the method for plain HTTP, the kind of a statement.
    pub operation: Arc<str>,
    /// What it is asked of: `bucket/key` for S3, the path without its query for plain HTTP; for
    /// statements their table, unless the dependency's file says what else.
    pub key: Arc<str>,
    /// The HTTP method; empty for statements.
    pub method: Text,
    /// The path and query exactly as on the wire, or the statement's text, cut off at
    /// [`TEXT_BYTES_MAX`].
    pub target: Text,
    /// The first table that a statement names; empty where there is none.
    pub table: Text,
    /// The `Host` (or `:authority`); empty for statements.
    pub host: Text,
    /// Header names (lower case) and values, at most as many as the proxy's head limit allows.
    pub headers: Headers,
    /// The logical call's name: unique within the run and dependency, the same for its attempts.
    pub id: Arc<str>,
    /// The client's own id (`amz-sdk-invocation-id`) where it sent one: attempts are then grouped
    /// by fact, elsewhere every request is its own call.
    pub sdk_id: Option<Arc<str>>,
    /// Which call with this operation and key it is, from 1, counting calls and not attempts.
    pub occurrence: u64,
    /// Which attempt of its call, from 1.
    pub attempt: u32,
    /// The most attempts the client says it will make (`amz-sdk-request: max=…`).
    pub declared_max: Option<u32>,
    /// The proxy's number of the connection that carries it.
    pub connection: u64,
    /// The place of a WebSocket among those open, for its `Connect`.
    pub place: Option<Place>,
}

/// The place of a WebSocket among those of its dependency that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of them it is by age, from 1 for the oldest.
    pub rank: u64,
    /// Whether it was open before the faults in force came into force, and is asked about again.
    pub already_open: bool,
}

/// How much of a statement's text is kept for matching, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A statement as a protocol recognised it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recognised {
    /// The kind of statement, or the command: `SELECT`, `GET`.
    pub operation: Arc<str>,
    /// What it is asked of.
    pub key: Arc<str>,
    /// The first table that it names.
    pub table: Text,
    /// Its text.
    pub text: Text,
}

/// The operation under which the acceptance of a connection is decided about and observed, where
/// statements are seen.
pub const CONNECT: &str = "CONNECT";

/// The text of a connection's acceptance that a server says nothing to.
pub const SILENT: &str = "accepted without a word";

impl Call {
    /// Whether it concerns only those who name its operation: a connection to Redis, which the
    /// server accepts without a word.
    pub fn must_be_named(&self) -> bool {
        *self.operation == *CONNECT && *self.target == *SILENT
    }

    /// A statement on a connection. Nothing on the wire says which statements are attempts of one
    /// call, so each is a call of its own, named by operation, key and its number.
    pub fn statement(recognised: Recognised, connection: u64, tracker: &mut CallTracker) -> Self {
        let Recognised {
            operation,
            key,
            table,
            text,
        } = recognised;
        let (occurrence, attempt) = tracker.number(&operation, &key, None, None);
        Self {
            id: tracker.name(&operation, &key, occurrence),
            operation,
            key,
            table,
            method: Text::default(),
            target: text,
            host: Text::default(),
            headers: Headers::default(),
            sdk_id: None,
            occurrence,
            attempt,
            declared_max: None,
            connection,
            place: None,
        }
    }
}

/// A text that is shared, and costs nothing while it is empty: most requests have few of those that
/// a request may have.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Option<Arc<str>>);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<T: Into<Arc<str>> + AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        Self((!text.as_ref().is_empty()).then(|| text.into()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// The headers of a request: names in lower case, values as on the wire, in the order sent and
/// with repeats. All of them share one text, because a request has twenty and there are many
/// requests.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    text: Text,
    /// Where each name and each value ends, one after the other.
    ends: Option<Arc<[u32]>>,
}

impl Headers {
    /// The headers, in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        let ends = self.ends.as_deref().unwrap_or_default();
        ends.chunks_exact(2).map(move |ends| {
            let (name, value) = (ends[0] as usize, ends[1] as usize);
            let header = (&self.text[start..name], &self.text[name..value]);
            start = value;
            header
        })
    }

    /// The first value of this name, which must be in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    /// Headers whose text would pass 4 GiB are cut off there; a proxy's head limit lies far below.
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(headers: T) -> Self {
        let mut text = String::with_capacity(1024);
        let mut ends = Vec::with_capacity(48);
        for (name, value) in headers {
            let start = text.len();
            text.push_str(name);
            text[start..].make_ascii_lowercase();
            let name_end = text.len();
            text.push_str(value);
            let (Ok(name_end), Ok(end)) = (u32::try_from(name_end), u32::try_from(text.len()))
            else {
                text.truncate(start);
                break;
            };
            ends.extend([name_end, end]);
        }
        Self {
            text: text.into(),
            ends: Some(ends.into()),
        }
    }
}

/// Numbers the calls of one dependency: which occurrence of (operation, key) a request is, and
/// which attempt of it.
///
/// An SDK's id is random, so it cannot take part in decisions that the same seed must repeat; it
/// only says which requests are attempts of one call. The call's portable name is
/// `operation key #n`.
///
/// Bounded: beyond [`CallTracker::LIMIT`] ids the oldest is forgotten, and its next attempt counts
/// as a new call; beyond as many names all are forgotten, and every name goes on above the highest
/// number any name had, so that no call's name is ever used twice.
#[derive(Debug, Default)]
pub struct CallTracker {
    /// How many requests were numbered.
    requests: u64,
    /// Where names that are not remembered start counting.
    floor: u64,
    /// The highest number given.
    highest: u64,
    /// By operation and key.
    occurrences: HashMap<Arc<str>, HashMap<Arc<str>, u64>>,
    /// How many these are.
    names: usize,
    /// Where a call's name is put together.
    scratch: String,
    by_sdk_id: HashMap<Arc<str>, (u64, u32)>,
    order: VecDeque<Arc<str>>,
}

impl CallTracker {
    /// The most names and ids remembered.
    pub const LIMIT: usize = 200_000;

    /// The occurrence and attempt number of a request. `declared` is the attempt number that the
    /// client itself sent, which wins over our count.
    pub fn number(
        &mut self,
        operation: &Arc<str>,
        key: &Arc<str>,
        sdk_id: Option<&Arc<str>>,
        declared: Option<u32>,
    ) -> (u64, u32) {
        self.requests += 1;
        if let Some(id) = sdk_id
            && let Some((occurrence, attempts)) = self.by_sdk_id.get_mut(id)
        {
            *attempts = declared.unwrap_or(*attempts + 1);
            return (*occurrence, *attempts);
        }
        let (occurrence, attempt) = (self.count(operation, key), declared.unwrap_or(1));
        if let Some(id) = sdk_id {
            if self.order.len() >= Self::LIMIT
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_sdk_id.remove(&oldest);
            }
            self.order.push_back(Arc::clone(id));
            self.by_sdk_id.insert(Arc::clone(id), (occurrence, attempt));
        }
        (occurrence, attempt)
    }

    /// How many requests were numbered so far, each attempt for itself.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The portable name of a call.
    pub fn name(&mut self, operation: &str, key: &str, occurrence: u64) -> Arc<str> {
        self.scratch.clear();
        // A string takes everything.
        let _ = write!(self.scratch, "{operation} {key} #{occurrence}");
        Arc::from(&*self.scratch)
    }

    fn count(&mut self, operation: &Arc<str>, key: &Arc<str>) -> u64 {
        let known = self.occurrences.get_mut(&**operation);
        let count = match known.and_then(|keys| keys.get_mut(&**key)) {
            Some(count) => count,
            None => {
                if self.names >= Self::LIMIT {
                    self.occurrences.clear();
                    self.names = 0;
                    self.floor = self.highest;
                }
                self.names += 1;
                let keys = self.occurrences.entry(Arc::clone(operation)).or_default();
                keys.entry(Arc::clone(key)).or_insert(self.floor)
            }
        };
        *count += 1;
        self.highest = self.highest.max(*count);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(tracker: &mut CallTracker, key: &str, id: Option<&str>) -> (u64, u32) {
        tracker.number(&"GET".into(), &key.into(), id.map(Arc::from).as_ref(), None)
    }

    #[test]
    fn what_became_of_copies_adds_up_and_what_nobody_knows_stays_unknown() {
        use Applied::{No, Unknown, Yes};
        for (itself, done, unknown, together) in [
            (No, 0, 0, (No, 0, 0)),
            (Yes, 0, 0, (Yes, 0, 0)),
            (Unknown, 0, 0, (Unknown, 0, 0)),
            (Yes, 2, 0, (Yes, 2, 0)),
            (No, 2, 0, (Yes, 1, 0)),
            (Unknown, 2, 0, (Yes, 1, 1)),
            (Yes, 1, 1, (Yes, 1, 1)),
            (No, 0, 2, (Unknown, 0, 1)),
            (Unknown, 0, 2, (Unknown, 0, 2)),
            (No, 1, 1, (Yes, 0, 1)),
        ] {
            let shown = format!("{itself:?} {done} {unknown}");
            assert_eq!(itself.with_copies(done, unknown), together, "{shown}");
        }
    }

    #[test]
    fn attempts_with_the_same_id_are_one_call_and_others_are_new_calls() {
        let mut tracker = CallTracker::default();
        assert_eq!(number(&mut tracker, "/a", Some("x")), (1, 1));
        assert_eq!(number(&mut tracker, "/a", Some("y")), (2, 1));
        assert_eq!(number(&mut tracker, "/a", Some("x")), (1, 2));
        assert_eq!(number(&mut tracker, "/a", None), (3, 1));
        assert_eq!(number(&mut tracker, "/b", None), (1, 1));
    }

    #[test]
    fn no_name_is_used_twice_though_the_tracker_is_bounded() {
        let mut tracker = CallTracker::default();
        assert_eq!(number(&mut tracker, "/first", None), (1, 1));
        assert_eq!(number(&mut tracker, "/first", None), (2, 1));
        for n in 0..CallTracker::LIMIT {
            number(&mut tracker, &format!("/{n}"), None);
        }
        assert!(tracker.names <= CallTracker::LIMIT);
        let remembered: usize = tracker.occurrences.values().map(HashMap::len).sum();
        assert_eq!(tracker.names, remembered);
        assert_eq!(number(&mut tracker, "/first", None), (3, 1));
    }

    #[test]
    fn headers_keep_their_order_repeats_and_values() {
        let headers = Headers::from_iter([("Host", "A"), ("x-é", ""), ("HOST", "B")]);
        let seen: Vec<_> = headers.iter().collect();
        assert_eq!(seen, [("host", "A"), ("x-é", ""), ("host", "B")]);
        assert_eq!(headers.get("host"), Some("A"));
        assert_eq!(headers.get("Host"), None);
    }
}
