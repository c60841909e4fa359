//! Which of a load's operations are meant: those of one tenant, or of all but one.
//!
//! Operations are told apart by the values that their load captures, or by whether such a value is one
//! that a fault hit. One that has no such value
//! (its answer should have brought it and never came) is nobody's: it is not among those meant,
//! and whoever judges by them has to ask how many there are.

use super::Operation;
use crate::fault::wildcard;
use std::collections::BTreeSet;

/// Operations by their captured values. Patterns are texts with `*` for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Captures and patterns that must all fit.
    pub only: Vec<(String, String)>,
    /// Captures and patterns that must not all fit.
    pub except: Vec<(String, String)>,
    /// A capture whose value must be one of these.
    pub among: Option<(String, BTreeSet<String>)>,
    /// A capture whose value must be none of these.
    pub apart: Option<(String, BTreeSet<String>)>,
}

impl Selection {
    /// Whether it leaves nothing out.
    pub fn is_all(&self) -> bool {
        let has_sets = self.among.is_some() || self.apart.is_some();
        self.only.is_empty() && self.except.is_empty() && !has_sets
    }

    /// Whether an operation is one of those meant.
    pub fn has(&self, operation: &Operation) -> bool {
        self.knows(operation)
            && fits(&self.only, operation)
            && (self.except.is_empty() || !fits(&self.except, operation))
            && is_in(self.among.as_ref(), operation) != Some(false)
            && is_in(self.apart.as_ref(), operation) != Some(true)
    }

    /// Whether an operation has every value that it is told by.
    pub fn knows(&self, operation: &Operation) -> bool {
        let pairs = self.only.iter().chain(&self.except);
        let sets = self.among.iter().chain(&self.apart);
        let mut names = pairs
            .map(|(name, _)| name)
            .chain(sets.map(|(name, _)| name));
        names.all(|name| operation.captured.contains_key(name))
    }
}

fn is_in(set: Option<&(String, BTreeSet<String>)>, operation: &Operation) -> Option<bool> {
    let (name, values) = set?;
    let value = operation.captured.get(name)?;
    Some(values.contains(value))
}

fn fits(pairs: &[(String, String)], operation: &Operation) -> bool {
    pairs.iter().all(|(name, pattern)| {
        let value = operation.captured.get(name);
        value.is_some_and(|value| wildcard(pattern, value))
    })
}
