//! History to verdicts. Pure: sees nothing but the history and the names in the files.
//!
//! A new expectation is one file and two adjacent lines here: its `mod` and its entry in
//! [`EXPECTATIONS`].

mod verdict;

pub use verdict::{Evidence, Status, Verdict};

use crate::{
    input::{Fields, Key, Problems},
    protocol::Protocol,
    units::Micros,
};
use std::{fmt, sync::Arc, time::Duration};

/// One kind of expectation with its parameters.
pub trait Expectation: Send + Sync + fmt::Debug {
    /// What holds. `view` is the history seen through the scenario.
    fn judge(&self, view: &View<'_>) -> Judgement;

    /// What is required, in words: "at least 99.9% of `ask` ok or degraded".
    fn required(&self) -> String;

    /// Weaknesses that `check` can see beforehand: a phase too short for the threshold, a load
    /// too thin for the percentage. One sentence each.
    fn forewarn(&self, _plan: &Foresight<'_>) -> Vec<String> {
        Vec::new()
    }

    /// A probe that must be made while the run goes on.
    fn probe(&self) -> Option<ProbeSpec> {
        None
    }

    /// Whether it can only be judged over faults that acted: then a fault with too few hits in
    /// its phases makes it inconclusive. True for all but a few (`alive`, probes before).
    fn needs_faults(&self) -> bool {
        true
    }
}

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
}

/// The history as expectations see it: `history` knows how to build it.
pub use crate::history::View;

/// What `check` knows of a run that has not happened.
#[derive(Debug)]
pub struct Foresight<'a> {
    /// The phases judged: name and length.
    pub phases: Vec<(&'a str, Duration)>,
    /// The loads: name and operations a second.
    pub loads: Vec<(&'a str, f64)>,
}

/// A probe that is made while the run goes on.
#[derive(Debug, Clone)]
pub struct ProbeSpec {
    /// What is asked.
    pub ask: ProbeAsk,
    /// How often.
    pub every: Duration,
    /// How long one may take.
    pub timeout: Duration,
}

/// What a probe asks.
#[derive(Debug, Clone)]
pub enum ProbeAsk {
    /// GET this URL (a template) and hold the answer against the rule.
    Http {
        /// The URL.
        url: crate::scenario::Template,
        /// What must hold.
        rule: crate::scenario::Rule,
    },
    /// Run this program (argv templates, never a shell); exit status 0 holds.
    Command(Vec<crate::scenario::Template>),
}

/// Names an expectation may refer to, for checking at parse time.
#[derive(Debug)]
pub struct Names<'a> {
    /// Loads (and the ingress's name).
    pub loads: Vec<&'a str>,
    /// Phases, in order.
    pub phases: Vec<&'a str>,
    /// Dependencies: name, role, protocol.
    pub dependencies: Vec<(&'a str, Option<&'a str>, Protocol)>,
    /// Instances.
    pub instances: Vec<&'a str>,
}

/// A kind of expectation: what files may name, what `list expectations` prints, how it is read.
pub struct ExpectationDef {
    /// The kind's name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// An `[[expect]]` table that parses against the example system.
    pub example: &'static str,
    /// The kind's own keys, beside `id`, `that`, `kind`, `during`.
    pub keys: &'static [Key],
    /// Reads the kind's own keys.
    pub parse: fn(&Fields<'_>, &Names<'_>, &mut Problems) -> Option<Box<dyn Expectation>>,
}

/// Every kind of expectation, in the order listed.
pub const EXPECTATIONS: &[ExpectationDef] = &[];

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static ExpectationDef> {
    EXPECTATIONS.iter().find(|def| def.name == name)
}

/// How expectations and evidence name a thing.
pub type Name = Arc<str>;
