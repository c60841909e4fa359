//! The gate in front of every fault: which events it concerns, and how many of those it hits.
//!
//! The share is drawn first, and it is a function of (seed, fault, logical request) alone. A fault
//! by request, call or connection is another one in each phase. By key or header it is the same one
//! in all phases whose tables say the same but for `share`, `one_of`, `first`, `every`, `after`,
//! `ramp` and `min_hits`: the rows that cannot be read at noon cannot be read in the evening, and
//! a greater share adds others to them. Equal ones of one phase are told apart by their order. The
//! counts (`after`, `first`, `every`) then number what matched and was drawn, in the order in
//! which it arrived; a decision that rests on a count therefore depends on that order, and two
//! concurrent requests may change places between runs.

use crate::{
    input::{Fields, HIDDEN, Key, Problems, Shape, did_you_mean, without_secrets},
    protocol::Call,
    units::{Bandwidth, Share, UnitError, parse_duration},
};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

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
    Key::optional(
        "by",
        Shape::OneOfOr(By::NAMES, "header:"),
        "what the share is drawn for; \"header:x-tenant\": all requests with the same value of this header share one draw; by key or header the same fault in another phase, with whatever share, draws the same",
    ),
    Key::optional(
        "one_of",
        Shape::Text,
        "a name: of the faults of a phase with this name each event gets one at most; they share one draw, and their shares add up to at most 100%",
    ),
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
        "ramp",
        Shape::Table(RAMP),
        "a parameter that moves evenly from the first value to the second over the phase",
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
        "S3's operation, the HTTP method, or the kind of a statement",
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
        "the object's `bucket/key`, with `*`; a statement's key; a message's channel",
    ),
    Key::optional(
        "table",
        Shape::TextOrTexts,
        "the first table that a statement names, in whatever schema, with `*`; upper and lower case are one",
    ),
    Key::optional(
        "text",
        Shape::TextOrTexts,
        "a statement's text, or the event of a WebSocket's message, with `*`; upper and lower case are one",
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

/// Keys of `ramp`: pairs of texts, `[from, to]`.
pub const RAMP: &[Key] = &[
    Key::optional(
        "share",
        Shape::Texts,
        "the share, from and to: [\"0%\", \"100%\"]",
    ),
    Key::optional(
        "delay",
        Shape::Texts,
        "the delay, from and to: [\"0s\", \"2s\"]",
    ),
    Key::optional(
        "rate",
        Shape::Texts,
        "the bandwidth, from and to: [\"1MiB/s\", \"8KiB/s\"]",
    ),
];

/// What the draw of a `share` belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum By {
    /// Each request on the wire has its own draw, a retry too.
    #[default]
    Request,
    /// All attempts of a logical call share one draw.
    Call,
    /// All requests of a connection share one draw.
    Connection,
    /// All requests for a key share one draw: the real partial outage, in which the same third of
    /// the keys fails every time, in all phases.
    Key,
    /// All requests with the same value of this header (its name in lower case) share one draw, as
    /// all those without it do: the outage of a tenant, a region.
    Header(Arc<str>),
}

impl By {
    /// The names in files; `header:NAME` beside them.
    pub const NAMES: &'static [&'static str] = &["request", "call", "connection", "key"];

    /// The variant of this name.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "request" => Self::Request,
            "call" => Self::Call,
            "connection" => Self::Connection,
            "key" => Self::Key,
            _ => {
                let header = name.strip_prefix("header:")?;
                http::HeaderName::from_bytes(header.as_bytes()).ok()?;
                Self::Header(header.to_lowercase().into())
            }
        })
    }

    fn parse(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let name = fields.text("by", problems)?.value;
        let by = Self::named(&name);
        if by.is_none() {
            let hint = match did_you_mean(&name, Self::NAMES.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of: {}, header:NAME", Self::NAMES.join(", ")),
            };
            fields.problem(problems, "by", format!("unknown by `{name}`"), hint);
        }
        by
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Call => f.write_str("call"),
            Self::Connection => f.write_str("connection"),
            Self::Key => f.write_str("key"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
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
    /// Patterns of the first table that a statement names, in lower case.
    pub table: Vec<String>,
    /// Patterns of a statement's text, in lower case.
    pub text: Vec<String>,
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
        self.operation.is_empty()
            && self.method.is_empty()
            && self.path.is_empty()
            && self.key.is_empty()
            && self.table.is_empty()
            && self.text.is_empty()
            && self.host.is_empty()
            && self.header.is_empty()
            && self.attempt.is_none()
    }

    fn parse(fields: &Fields<'_>, problems: &mut Problems) -> Self {
        let mut texts = |key| -> Vec<String> {
            let items = fields.texts(key, problems).unwrap_or_default();
            items.into_iter().map(|item| item.value).collect()
        };
        let mut matcher = Self {
            operation: texts("operation"),
            method: texts("method"),
            path: texts("path"),
            key: texts("key"),
            table: texts("table"),
            text: texts("text"),
            host: texts("host"),
            header: Vec::new(),
            attempt: None,
        };
        for text in matcher.text.iter_mut().chain(&mut matcher.table) {
            *text = text.to_lowercase();
        }
        let headers = fields.text_map("header", problems).unwrap_or_default();
        matcher.header = headers
            .into_iter()
            .map(|(name, pattern)| (name.to_lowercase(), pattern.value))
            .collect();
        matcher.attempt = fields
            .integer("attempt", problems)
            .and_then(|attempt| u32::try_from(attempt).ok());
        matcher
    }

    /// Whether a request is one of those meant.
    pub fn matches(&self, call: &Call) -> bool {
        let any = |patterns: &[String], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| wildcard(pattern, text))
        };
        let path = call.target.split('?').next().unwrap_or_default();
        if call.must_be_named() && self.operation.is_empty() {
            return false;
        }
        any(&self.operation, &call.operation)
            && any(&self.method, &call.method)
            && any(&self.path, path)
            && any(&self.key, &call.key)
            && any(&self.table, &call.table)
            && (self.text.is_empty() || any(&self.text, &call.target.to_lowercase()))
            && any(&self.host, &call.host)
            && self.attempt.is_none_or(|attempt| attempt == call.attempt)
            && self.header.iter().all(|(name, pattern)| {
                call.headers
                    .iter()
                    .any(|(known, value)| known == name && wildcard(pattern, value))
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

/// Parameters that move over the phase, each from its first value to its second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ramp {
    /// The share of the gate.
    pub share: Option<(Share, Share)>,
    /// The delay of a kind that delays.
    pub delay: Option<(Duration, Duration)>,
    /// The rate of a kind that limits it.
    pub rate: Option<(Bandwidth, Bandwidth)>,
}

impl Ramp {
    /// Whether nothing moves.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn parse(fields: &Fields<'_>, problems: &mut Problems) -> Self {
        Self {
            share: pair(fields, "share", problems, Share::from_str),
            delay: pair(fields, "delay", problems, parse_duration),
            rate: pair(fields, "rate", problems, Bandwidth::from_str),
        }
    }
}

/// The two values of a ramp.
fn pair<T>(
    fields: &Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, UnitError>,
) -> Option<(T, T)> {
    let items = fields.texts(key, problems)?;
    let [from, to] = items.as_slice() else {
        let message = format!("`ramp.{key}` needs two values");
        let hint = "write where it starts and where it ends: [from, to]".to_owned();
        fields.problem(problems, key, message, hint);
        return None;
    };
    let mut value = |item: &crate::input::Item<String>| {
        parse(&item.value)
            .map_err(|error| {
                let message = format!("`ramp.{key}`: {error}");
                problems.error(fields.source, item.span.clone(), message, None);
            })
            .ok()
    };
    let (from, to) = (value(from), value(to));
    from.zip(to)
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
    /// The group of faults with which it shares its draw.
    pub one_of: Option<String>,
    /// Only the first n matching.
    pub first: Option<u64>,
    /// Every n-th matching.
    pub every: Option<u64>,
    /// Not the first n matching.
    pub after: Option<u64>,
    /// What moves over the phase.
    pub ramp: Ramp,
    /// Fewer hits than this leave the phase's verdicts inconclusive.
    pub min_hits: u64,
}

impl Gate {
    /// Reads the keys of [`KEYS`] out of a `[[phase.fault]]` table that was opened with them.
    /// `None` if any of them was wrong; the problems say what. Whether the fault's kind can be
    /// gated so is [`super::FaultDef::read`]'s question.
    pub fn parse(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let before = problems.as_slice().len();
        let count = |key, problems: &mut Problems| {
            fields
                .integer(key, problems)
                .and_then(|count| u64::try_from(count).ok())
        };
        let when = fields.table("when", problems);
        let ramp = fields.table("ramp", problems);
        let gate = Self {
            when: when.map_or_else(Matcher::default, |when| Matcher::parse(&when, problems)),
            share: fields.share("share", problems),
            by: By::parse(fields, problems),
            one_of: fields.text("one_of", problems).map(|group| group.value),
            first: count("first", problems),
            every: count("every", problems),
            after: count("after", problems),
            ramp: ramp.map_or_else(Ramp::default, |ramp| Ramp::parse(&ramp, problems)),
            min_hits: count("min_hits", problems).unwrap_or(1),
        };
        if gate.share.is_some() && gate.ramp.share.is_some() {
            let hint = "keep one of the two".to_owned();
            let message = "`share` is given twice: as a value and as a ramp";
            fields.problem(problems, "share", message, hint);
        }
        if gate.one_of.is_some() && gate.share.is_none() {
            let message =
                "`one_of` without a `share`: nobody knows how much of the draw is its own";
            let hint = "write its part: share = \"30%\"".to_owned();
            fields.problem(problems, "one_of", message, hint);
        }
        (problems.as_slice().len() == before).then_some(gate)
    }

    /// The share in force when this much of the phase is over (0 to 1); `None` means always.
    pub fn share_at(&self, progress: f64) -> Option<Share> {
        let Some((from, to)) = self.ramp.share else {
            return self.share;
        };
        let (from, to) = (from.fraction(), to.fraction());
        Share::new((from + (to - from) * progress).clamp(0.0, 1.0))
    }

    /// Whether it picks among the events by anything at all.
    pub fn picks(&self) -> bool {
        !self.when.is_empty()
            || self.share.is_some()
            || self.ramp.share.is_some()
            || self.first.is_some()
            || self.every.is_some()
            || self.after.is_some()
    }

    /// Whether the n-th event that matched and was drawn, from 1, is one that is hit.
    pub(super) fn counts_in(&self, nth: u64) -> bool {
        let Some(nth) = nth.checked_sub(self.after.unwrap_or(0)).filter(|n| *n > 0) else {
            return false;
        };
        self.first.is_none_or(|first| nth <= first)
            && self.every.is_none_or(|every| nth.is_multiple_of(every))
    }
}

impl fmt::Display for Gate {
    /// What it picks, in words: `PutObject, 30% by key, first 5`; nothing where it picks all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let when = &self.when;
        for values in [
            &when.operation,
            &when.method,
            &when.path,
            &when.key,
            &when.table,
            &when.text,
        ] {
            if !values.is_empty() {
                parts.push(without_secrets(&values.join("|")));
            }
        }
        if !when.host.is_empty() {
            parts.push(format!("host {}", when.host.join("|")));
        }
        // What a header says may be a secret under any name.
        for (name, _) in &when.header {
            parts.push(format!("{name}: {HIDDEN}"));
        }
        if let Some(attempt) = when.attempt {
            parts.push(format!("attempt {attempt}"));
        }
        let by = self.by.as_ref();
        let by = by.map_or_else(String::new, |by| format!(" by {by}"));
        if let Some((from, to)) = self.ramp.share {
            parts.push(format!("{from} to {to}{by}"));
        } else if let Some(share) = self.share {
            parts.push(format!("{share}{by}"));
        } else if !by.is_empty() {
            parts.push(by.trim_start().to_owned());
        }
        if let Some(group) = &self.one_of {
            parts.push(format!("one of {group}"));
        }
        for (name, count) in [("after", self.after), ("first", self.first)] {
            if let Some(count) = count {
                parts.push(format!("{name} {count}"));
            }
        }
        if let Some(every) = self.every {
            parts.push(format!("one in {every}"));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::sample,
        protocol::Protocol::{Http, S3, Tcp},
    };

    fn gate(keys: &str) -> Gate {
        let text = format!("kind = 'hang'\non = 'x'\n{keys}");
        sample::read(&text, S3).expect("a valid gate").0
    }

    fn problems(keys: &str, protocol: crate::protocol::Protocol) -> Vec<String> {
        let text = format!("kind = 'hang'\non = 'x'\n{keys}");
        sample::read(&text, protocol).unwrap_err()
    }

    #[test]
    fn stars_stand_for_any_characters_none_included() {
        for (pattern, text, fits) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("*c", "abcd", false),
            ("a*c", "ac", true),
            ("a*c", "abbc", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("*ab*ab*", "ab", false),
            ("**", "x", true),
            ("ä*", "ä/ü", true),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }

    /// Of a statement no schema is known, and its table in lower case.
    #[test]
    fn a_table_is_meant_in_every_schema_and_a_schema_is_a_problem() {
        use crate::protocol::Protocol::{Mysql, Postgres};
        for (named, hint) in [
            (
                "'public.Orders'",
                "write \"orders\", which means it in every schema",
            ),
            ("['orders', 'audit.*']", "name the tables of `audit`"),
        ] {
            for protocol in [Mysql, Postgres] {
                let found = problems(&format!("when = {{ table = {named} }}"), protocol);
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].contains("matches no table"), "{found:?}");
                assert!(found[0].contains(hint), "{found:?}");
            }
        }
        for (named, fits) in [("'Orders'", true), ("'ord*'", true), ("'order'", false)] {
            let text = format!("kind = 'hang'\non = 'x'\nwhen = {{ table = {named} }}");
            let (gate, _) = sample::read(&text, Postgres).expect("a valid gate");
            let insert =
                crate::protocol::postgres::statement(b"INSERT INTO public.Orders VALUES (1)");
            let mut tracker = crate::protocol::CallTracker::default();
            let call = Call::statement(insert, 1, &mut tracker);
            assert_eq!(gate.when.matches(&call), fits, "{named}");
        }
    }

    #[test]
    fn every_part_of_a_matcher_lets_through_and_holds_back() {
        let headers = [("Host", "a.example.com"), ("X-Tenant", "7-b")];
        let mut tracker = crate::protocol::CallTracker::default();
        let call = crate::protocol::http::identify(
            S3,
            None,
            "PUT",
            "/models/dir/k%201?partNumber=1&uploadId=2",
            headers,
            1,
            &mut tracker,
        );
        for (when, fits) in [
            ("", true),
            ("operation = 'UploadPart'", true),
            ("operation = ['GetObject', 'Upload*']", true),
            ("operation = 'PutObject'", false),
            ("method = 'PUT'", true),
            ("method = 'GET'", false),
            ("path = '/models/*'", true),
            ("path = '/models/dir/k%201'", true),
            ("path = '*uploadId*'", false),
            ("key = 'models/dir/k 1'", true),
            ("key = 'logs/*'", false),
            ("host = '*.example.com'", true),
            ("host = 'example.com'", false),
            ("header = { X-Tenant = '7-*' }", true),
            ("header = { x-tenant = '8' }", false),
            ("header = { x-other = '*' }", false),
            ("attempt = 1", true),
            ("attempt = 2", false),
            ("method = 'PUT', key = 'logs/*'", false),
        ] {
            let when = gate(&format!("when = {{ {when} }}")).when;
            assert_eq!(when.matches(&call), fits, "{when:?}");
        }
    }

    #[test]
    fn counts_number_what_was_let_through() {
        let hit = |keys: &str| -> Vec<u64> {
            let gate = gate(keys);
            (1..=12).filter(|nth| gate.counts_in(*nth)).collect()
        };
        assert_eq!(hit("first = 2"), [1, 2]);
        assert_eq!(hit("after = 10"), [11, 12]);
        assert_eq!(hit("every = 5"), [5, 10]);
        assert_eq!(hit("after = 3\nfirst = 2"), [4, 5]);
        assert_eq!(hit("after = 3\nevery = 4"), [7, 11]);
        assert_eq!(hit("first = 9\nevery = 4"), [4, 8]);
    }

    #[test]
    fn a_gate_prints_what_it_picks() {
        for (keys, text) in [
            ("", ""),
            (
                "when = { operation = 'PutObject' }\nshare = '30%'",
                "PutObject, 30%",
            ),
            ("share = '33%'\nby = 'key'", "33% by key"),
            ("by = 'connection'", "by connection"),
            ("ramp = { share = ['100%', '0%'] }", "100% to 0%"),
            (
                "first = 5\nafter = 2\nevery = 3",
                "after 2, first 5, one in 3",
            ),
            (
                "when = { host = 'a', attempt = 2, header = { b = 'c' } }",
                "host a, b: ***, attempt 2",
            ),
        ] {
            assert_eq!(gate(keys).to_string(), text);
        }
    }

    #[test]
    fn one_hit_is_wanted_unless_the_file_says_otherwise() {
        assert_eq!(gate("").min_hits, 1);
        assert_eq!(gate("min_hits = 0").min_hits, 0);
    }

    #[test]
    fn a_share_ramp_moves_evenly() {
        let gate = gate("ramp = { share = ['100%', '20%'] }");
        for (progress, share) in [(0.0, 1.0), (0.5, 0.6), (1.0, 0.2)] {
            let seen = gate.share_at(progress).unwrap().fraction();
            assert!((seen - share).abs() < 1e-9, "{seen}");
        }
    }

    #[test]
    fn what_a_gate_cannot_say_is_a_problem() {
        for (keys, said) in [
            ("share = '30'", "expected a share"),
            (
                "share = '30%'\nramp = { share = ['0%', '1%'] }",
                "given twice",
            ),
            (
                "ramp = { share = ['0%', '101%'] }",
                "`ramp.share`: expected",
            ),
            ("ramp = { share = ['0%'] }", "two values"),
            ("ramp = { shares = ['0%', '1%'] }", "unknown key `shares`"),
            (
                "ramp = { delay = ['0s', '1s'] }",
                "`hang` cannot ramp its `delay` (it can ramp: share)",
            ),
            ("by = 'keys'", "unknown by `keys` (did you mean `key`?)"),
            ("by = 'header:'", "unknown by `header:` (one of"),
            ("one_of = 'mix'", "`one_of` without a `share`"),
            ("first = 0", "from 1"),
            (
                "when = { operation = 'PutObjct' }",
                "no operation `PutObjct` (did you mean `PutObject`?)",
            ),
            (
                "when = { operation = ['GetObject', 'Putt*'] }",
                "no operation `Putt*`",
            ),
            (
                "when = { operations = 'GetObject' }",
                "unknown key `operations`",
            ),
        ] {
            let seen = problems(keys, S3);
            assert!(seen[0].contains(said), "{keys}: {seen:?}");
            assert_eq!(seen.len(), 1, "{seen:?}");
        }
        for keys in ["by = 'key'", "when = { method = 'GET' }"] {
            assert!(problems(keys, Tcp)[0].contains("no single requests"));
        }
        assert!(problems("when = { operation = 'PutObject' }", Http)[0].contains("no operation"));
    }
}
