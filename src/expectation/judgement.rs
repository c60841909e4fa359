//! What an expectation found by its samples alone.

use super::{Evidence, Status};
use crate::{history::Window, units::Micros};

/// The most pieces of evidence with a verdict: the first few are what a reader looks at.
pub const EVIDENCE_MAX: usize = 5;

/// What an expectation found, before the common rules (steady state, missed schedule, drops,
/// faults that never acted) are applied to it.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Pass, fail or inconclusive by the samples alone.
    pub status: Status,
    /// What was measured, in words: "99.2% (2480 of 2500)".
    pub measured: String,
    /// How many samples.
    pub count: u64,
    /// From when to when.
    pub window: (Micros, Micros),
    /// Why it is not a pass.
    pub reason: Option<String>,
    /// The first few offending operations, calls or events.
    pub evidence: Vec<Evidence>,
    /// Whether it is a failure that no busy machine brings about: too much, too often or too early
    /// by more than slowness does.
    pub on_any_machine: bool,
}

impl Judgement {
    /// A pass on `count` samples of a window.
    pub fn new(window: Window, count: u64, measured: impl Into<String>) -> Self {
        Self {
            status: Status::Pass,
            measured: measured.into(),
            count,
            window: (window.from, window.to),
            reason: None,
            evidence: Vec::new(),
            on_any_machine: false,
        }
    }

    /// The same as a failure, for this reason. A failure for an earlier reason keeps that.
    #[must_use]
    pub fn fail(self, reason: impl Into<String>) -> Self {
        self.worsen(Status::Fail, reason)
    }

    /// The same as a failure that no busy machine brings about if `on_any_machine`: that reason goes
    /// before one that a busy machine may bring about.
    #[must_use]
    pub fn fail_however_busy(mut self, on_any_machine: bool, reason: impl Into<String>) -> Self {
        if !on_any_machine || self.on_any_machine {
            return self.fail(reason);
        }
        self.status = Status::Fail;
        self.reason = Some(reason.into());
        self.on_any_machine = true;
        self
    }

    /// The same as inconclusive, for this reason, unless it is so or worse already.
    #[must_use]
    pub fn inconclusive(self, reason: impl Into<String>) -> Self {
        self.worsen(Status::Inconclusive, reason)
    }

    /// Both at once: the worse status with its reason, and what each measured.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.measured = format!(
            "{}{}{}",
            self.measured,
            separator(&self, &other),
            other.measured
        );
        self.count = self.count.max(other.count);
        self.window.0 = self.window.0.min(other.window.0);
        self.window.1 = self.window.1.max(other.window.1);
        let is_surer = other.on_any_machine && !self.on_any_machine;
        if other.status > self.status || is_surer {
            self.status = other.status;
            self.reason = other.reason;
            self.on_any_machine = other.on_any_machine;
            self.evidence.splice(0..0, other.evidence);
        } else {
            self.evidence.extend(other.evidence);
        }
        self.evidence.truncate(EVIDENCE_MAX);
        self
    }

    fn worsen(mut self, status: Status, reason: impl Into<String>) -> Self {
        if status > self.status {
            self.status = status;
            self.reason = Some(reason.into());
        }
        self
    }

    /// The same with evidence; what is beyond [`EVIDENCE_MAX`] is left out.
    #[must_use]
    pub fn with(mut self, evidence: impl IntoIterator<Item = impl Into<Evidence>>) -> Self {
        let room = EVIDENCE_MAX - self.evidence.len().min(EVIDENCE_MAX);
        let more = evidence.into_iter().take(room);
        self.evidence.extend(more.map(Into::into));
        self
    }
}

/// What is measured of one thing is parted by commas, of several things by semicolons.
fn separator(one: &Judgement, other: &Judgement) -> &'static str {
    let names = |judgement: &Judgement| judgement.measured.starts_with('`');
    if names(one) && names(other) {
        "; "
    } else {
        ", "
    }
}
