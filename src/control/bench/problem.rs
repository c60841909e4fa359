//! What is wrong with a request: all of it at once, each with its place and what to do.

use crate::{
    control::{said::Table, toxiproxy::json::Node},
    input::{Problems, hint_among},
    units::{format_duration, parse_duration},
};
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};

/// The most unknown keys that are named.
const UNKNOWN_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// Where in the request: `when.key[1]`; empty for the request as a whole.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It cannot be read.
    Bad,
    /// There is no such thing.
    Unknown,
    /// It does not go with what there is.
    Taken,
    /// It can be read, and cannot be carried out.
    Impossible,
    /// There are too many.
    Limit,
}

/// Something that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) why: Why,
    /// What is wrong; at least one.
    pub(crate) problems: Vec<Problem>,
}

impl Failure {
    /// One problem.
    pub(crate) fn new(
        why: Why,
        place: &str,
        what: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self {
            why,
            problems: vec![Problem {
                place: place.to_owned(),
                what: what.into(),
                hint: hint.into(),
            }],
        }
    }

    /// There is nothing of this name.
    pub(crate) fn unknown(what: impl Into<String>) -> Self {
        Self::new(Why::Unknown, "", what, None)
    }

    /// There are as many as there may be.
    pub(crate) fn limit(what: &str, most: usize) -> Self {
        let words = format!("there are {most} {what}, which is the most there may be");
        Self::new(Why::Limit, "", words, "remove one first".to_owned())
    }
}

/// Reads an object, key by key, and gathers what is wrong with it.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    entries: &'a [(String, Node)],
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Body<'a> {
    /// Opens what must be an object.
    pub(crate) fn open(node: &'a Node) -> Result<Self, Failure> {
        let Node::Object(entries) = node else {
            return Err(Failure::new(
                Why::Bad,
                "",
                "the body is no JSON object",
                "send `{…}`".to_owned(),
            ));
        };
        let mut body = Self {
            entries,
            problems: Vec::new(),
        };
        let mut known = BTreeSet::new();
        if let Some((key, _)) = entries.iter().find(|(key, _)| !known.insert(key)) {
            body.problem(key, format!("`{key}` is said twice"), None);
        }
        Ok(body)
    }

    /// What is said, but for what is null.
    pub(crate) fn said(&self) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        let said = self.entries.iter().filter(|(_, value)| !value.is_null());
        said.map(|(key, value)| (&**key, value))
    }

    /// A value, unless it is null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.said()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// A text of at most so many characters.
    pub(crate) fn text(&mut self, key: &str, length_max: usize) -> Option<&'a str> {
        match self.get(key)? {
            Node::Text(text) if text.chars().count() <= length_max => Some(text),
            Node::Text(_) => {
                let what = format!("`{key}` is longer than {length_max} characters");
                self.problem(key, what, None);
                None
            }
            _ => {
                self.problem(key, format!("`{key}` is no text"), None);
                None
            }
        }
    }

    /// A text that must be there.
    pub(crate) fn required(&mut self, key: &str, length_max: usize, hint: &str) -> Option<&'a str> {
        let is_said = self.get(key).is_some();
        let text = self.text(key, length_max);
        if !is_said || text == Some("") {
            self.problem(key, format!("`{key}` is missing"), hint.to_owned());
        }
        text.filter(|text| !text.is_empty())
    }

    /// A length of time, with its unit in the text.
    pub(crate) fn duration(&mut self, key: &str, within: (Duration, Duration)) -> Option<Duration> {
        let text = self.text(key, 64)?;
        match parse_duration(text) {
            Ok(length) if (within.0..=within.1).contains(&length) => Some(length),
            Ok(_) => {
                let (least, most) = (format_duration(within.0), format_duration(within.1));
                self.problem(key, format!("`{key}` must be from {least} to {most}"), None);
                None
            }
            Err(error) => {
                self.problem(key, format!("`{key}`: {error}"), None);
                None
            }
        }
    }

    /// Reports keys that are none of these.
    pub(crate) fn only(&mut self, known: &[&str]) {
        let keys = self.entries.iter().map(|(key, _)| &**key);
        let unknown: Vec<&str> = keys.filter(|key| !known.contains(key)).collect();
        for key in unknown.into_iter().take(UNKNOWN_MAX) {
            let hint = hint_among(key, known.iter().copied());
            self.problem(key, format!("unknown key `{key}`"), hint);
        }
    }

    /// Reports a problem.
    pub(crate) fn problem(
        &mut self,
        place: &str,
        what: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.problems.push(Problem {
            place: place.to_owned(),
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// Takes over what was found in a table that was made of this; each once.
    pub(crate) fn found(&mut self, problems: Problems, table: &Table) {
        for problem in problems.into_sorted() {
            let problem = Problem {
                place: table
                    .place(problem.span.as_ref())
                    .unwrap_or_default()
                    .to_owned(),
                what: problem.message,
                hint: problem.hint,
            };
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    /// Fails if anything is wrong.
    pub(crate) fn finish(self, why: Why) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Failure {
            why,
            problems: self.problems,
        })
    }
}
