//! What is wrong with a file, and where.

use super::without_secrets;
use std::{ops::Range, sync::Arc};

/// A byte range of a source's text.
pub type Span = Range<usize>;

/// A file as it was read, or a text that stands for one.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name shown to people, as they typed it.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    /// Whether it was read from a file just now: what it names on this machine must be there.
    pub is_file: bool,
}

impl Source {
    /// A source of this name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            is_file: false,
        }
    }

    /// A file, with the name that was typed, and what it holds.
    pub fn file(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            is_file: true,
            ..Self::new(name, text)
        }
    }

    /// Line and column, both from 1, of a byte offset; the column counts characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..offset.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

/// Whether a run may start in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// The run may start; its verdict may be weaker than the author thinks.
    Warning,
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// A lower-case fragment: "unknown fault kind `latancy`".
    pub message: String,
    /// The file it is in; `None` for problems of the command line.
    pub source: Option<Source>,
    /// The offending text; `None` where something is missing altogether.
    pub span: Option<Span>,
    /// What to do, a fragment: "did you mean `latency`?".
    pub hint: Option<String>,
}

impl Problem {
    /// Whether another problem is this one over again.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let name = |problem: &Self| {
            problem
                .source
                .as_ref()
                .map(|source| Arc::clone(&source.name))
        };
        self.severity == other.severity
            && self.span == other.span
            && self.message == other.message
            && name(self) == name(other)
    }
}

/// Every problem found so far, in the order found.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Appends an error at a place.
    pub fn error(
        &mut self,
        source: &Source,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.push(
            Severity::Error,
            source,
            span.into(),
            message.into(),
            hint.into(),
        );
    }

    /// Appends a warning at a place.
    pub fn warning(
        &mut self,
        source: &Source,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.push(
            Severity::Warning,
            source,
            span.into(),
            message.into(),
            hint.into(),
        );
    }

    fn push(
        &mut self,
        severity: Severity,
        source: &Source,
        span: Option<Span>,
        message: String,
        hint: Option<String>,
    ) {
        self.add(Problem {
            severity,
            message,
            source: Some(source.clone()),
            span,
            hint,
        });
    }

    /// Appends a problem made elsewhere. What it quotes of a URL has no password.
    pub fn add(&mut self, mut problem: Problem) {
        problem.message = without_secrets(&problem.message);
        problem.hint = problem.hint.map(|hint| without_secrets(&hint));
        self.list.push(problem);
    }

    /// Whether nothing may start.
    pub fn any_error(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// How many errors were found.
    pub fn error_count(&self) -> usize {
        self.list
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count()
    }

    /// The problems, by file and place, each once: two scenarios may share a broken system file.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| {
            (
                problem
                    .source
                    .as_ref()
                    .map(|source| Arc::clone(&source.name)),
                problem.span.as_ref().map(|span| span.start),
                problem.severity,
            )
        });
        self.list.dedup_by(|one, other| one.says_the_same(other));
        self.list
    }

    /// The problems in the order found.
    pub fn as_slice(&self) -> &[Problem] {
        &self.list
    }
}
