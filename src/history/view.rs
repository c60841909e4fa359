//! The history as expectations and reports see it.

/// A whole history, indexed, seen through its scenario.
#[derive(Debug)]
pub struct View<'a> {
    /// The scenario's source, until the rest is built.
    pub scenario: &'a crate::scenario::Scenario,
}
