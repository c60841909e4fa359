//! Which of a load's operations are meant: those of one tenant, or of all but one.
//!
//! Operations are told apart by the values that their load captures. One that has no such value
//! (its answer should have brought it and never came) is nobody's: it is not among those meant,
//! and whoever judges by them has to ask how many there are.

use super::Operation;
use crate::fault::wildcard;

/// Operations by their captured values. Patterns are texts with `*` for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Captures and patterns that must all fit.
    pub only: Vec<(String, String)>,
    /// Captures and patterns that must not all fit.
    pub except: Vec<(String, String)>,
}

impl Selection {
    /// Whether it leaves nothing out.
    pub fn is_all(&self) -> bool {
        self.only.is_empty() && self.except.is_empty()
    }

    /// Whether an operation is one of those meant.
    pub fn has(&self, operation: &Operation) -> bool {
        self.knows(operation)
            && fits(&self.only, operation)
            && (self.except.is_empty() || !fits(&self.except, operation))
    }

    /// Whether an operation has every value that it is told by.
    pub fn knows(&self, operation: &Operation) -> bool {
        let mut pairs = self.only.iter().chain(&self.except);
        pairs.all(|(name, _)| operation.captured.contains_key(name))
    }
}

fn fits(pairs: &[(String, String)], operation: &Operation) -> bool {
    pairs.iter().all(|(name, pattern)| {
        let value = operation.captured.get(name);
        value.is_some_and(|value| wildcard(pattern, value))
    })
}
