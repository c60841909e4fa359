//! History to verdicts. Pure: sees nothing but the history and the names in the files.
//!
//! A new expectation is one file and two adjacent lines here: its `mod` and its entry in
//! [`EXPECTATIONS`].

mod alert;
mod alive;
mod amplification;
mod attempts;
mod back_off;
mod cadence;
mod calls;
mod comeback;
mod converged;
mod drain;
mod failover;
mod fallback;
mod fresh_first;
mod gives_up;
mod in_flight;
mod isolation;
mod judge;
mod judgement;
mod latency;
mod ledgers;
mod memory;
mod names;
mod no_double_effect;
mod no_duplicates;
mod nothing_lost;
mod obeys_codes;
mod policy;
mod probe;
mod ramp;
mod reconnect;
mod recovery;
mod success_rate;
mod verdict;
mod whose;
mod wire;

#[cfg(test)]
mod testing;

pub use judge::{
    DoubtAbout, can_be_judged, judge, judge_so_far, judged_phases, run_doubts, unsteady,
};
pub use judgement::{EVIDENCE_MAX, Judgement};
pub use probe::PROBES_UNDER_WAY_MAX;
pub use verdict::{Evidence, Place, Status, Subject, Verdict};

use crate::{
    input::{About, Fields, Key, Problems},
    policy::{beat, samples},
    protocol::Protocol,
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

    /// The phases it is judged over where its table says no `during`.
    fn scope(&self) -> Scope {
        Scope::Faulted
    }

    /// The loads whose schedule it relies on; empty: all of them.
    fn loads(&self) -> Vec<Name> {
        Vec::new()
    }

    /// Whether it can only be judged over faults that acted: then a fault with too few hits in
    /// its phases makes it inconclusive. True for all but a few (`alive`, probes before).
    fn needs_faults(&self) -> bool {
        true
    }

    /// Whether nothing can be said before the run is over, whichever phases are judged: ledgers are
    /// watched to its end.
    fn needs_the_end(&self) -> bool {
        false
    }

    /// Whether it could come out otherwise for a tenth of a second more or less: true of whatever looks
    /// at when something happens, or at what a client does that waits.
    fn hangs_on_time(&self) -> bool {
        true
    }

    /// Whether it looks itself, at each operation, at how long other programs kept the system from
    /// running.
    fn weighs_held_up(&self) -> bool {
        false
    }

    /// Whether a pass says something only while this instance runs: who is dead sends no storm and
    /// takes no memory. True where it is what the system does *not* do that passes; false where
    /// what it did do is seen from outside, and instances that are not meant.
    fn needs_running(&self, _instance: &str) -> bool {
        true
    }
}

/// The phases an expectation is judged over where its table says no `during`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every phase with a fault.
    Faulted,
    /// The last phase.
    Recovery,
    /// What came after the outage: the phases of its aftermath and the last one.
    Aftermath,
    /// Every phase without exception.
    WholeRun,
    /// The phases before the first fault.
    Before,
}

/// The history as expectations see it: `history` knows how to build it.
pub use crate::history::View;

/// What a threshold asks of a run before it can be judged.
pub use samples::samples_needed;

/// What `check` knows of a run that has not happened.
#[derive(Debug)]
pub struct Foresight<'a> {
    /// The phases judged: name and length.
    pub phases: Vec<(&'a str, Duration)>,
    /// The loads: name and operations a second.
    pub loads: Vec<(&'a str, f64)>,
    /// How long everything must hold before recovery counts.
    pub hold: Duration,
    /// Where a fault keeps connects out at a listener in the judged phases.
    pub shut: Vec<Shut<'a>>,
}

/// A phase in which a fault keeps connects out at a listener.
#[derive(Debug)]
pub struct Shut<'a> {
    /// The phase's name.
    pub phase: &'a str,
    /// Whose listener.
    pub dependency: &'a str,
    /// The dependency's role.
    pub role: Option<&'a str>,
    /// Whether all of them are refused, so that the kernel counts how many they are at most.
    pub is_counted: bool,
}

/// A probe that is made while the run goes on.
#[derive(Debug, Clone)]
pub struct ProbeSpec {
    /// What is asked.
    pub ask: ProbeAsk,
    /// How often, whether or not the one before has ended.
    pub every: Duration,
    /// How long one may take: at most [`PROBES_UNDER_WAY_MAX`] times `every`.
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
    /// What a load or dependency of this name captures.
    pub captures: Vec<(&'a str, Vec<&'a str>)>,
    /// Ledgers.
    pub ledgers: Vec<&'a str>,
}

/// A kind of expectation: what files may name, what `list expectations` prints, how it is read.
pub struct ExpectationDef {
    /// The kind's name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The long text of `explain`.
    pub about: About,
    /// An `[[expect]]` table that parses against the example system.
    pub example: &'static str,
    /// The kind's own keys, beside `id`, `that`, `kind`, `during`.
    pub keys: &'static [Key],
    /// Reads the kind's own keys.
    pub parse: fn(&Fields<'_>, &Names<'_>, &mut Problems) -> Option<Box<dyn Expectation>>,
}

/// Every kind of expectation, in the order listed.
pub const EXPECTATIONS: &[ExpectationDef] = &[
    success_rate::DEF,
    latency::DEF,
    fallback::DEF,
    isolation::DEF,
    gives_up::DEF,
    attempts::DEF,
    amplification::DEF,
    obeys_codes::DEF,
    failover::DEF,
    recovery::DEF,
    converged::DEF,
    nothing_lost::DEF,
    no_duplicates::DEF,
    no_double_effect::DEF,
    drain::DEF,
    fresh_first::DEF,
    ramp::DEF,
    in_flight::DEF,
    reconnect::DEF,
    back_off::DEF,
    policy::DEF,
    memory::DEF,
    alert::DEF,
    cadence::DEF,
    alive::DEF,
    probe::DEF,
];

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static ExpectationDef> {
    EXPECTATIONS.iter().find(|def| def.name == name)
}

/// How expectations and evidence name a thing.
pub type Name = Arc<str>;

/// The warning that a load makes too few operations in the judged phases for a threshold.
fn too_thin(plan: &Foresight<'_>, load: &str, needed: u64, threshold: &str) -> Vec<String> {
    let Some((_, rate)) = plan.loads.iter().find(|(name, _)| *name == load) else {
        return Vec::new();
    };
    let seconds: f64 = plan
        .phases
        .iter()
        .map(|(_, length)| length.as_secs_f64())
        .sum();
    let expected = rate * seconds;
    if expected >= needed as f64 {
        return Vec::new();
    }
    vec![format!(
        "load `{load}` makes about {expected:.0} operations in the judged phases; {threshold} needs at least {needed}"
    )]
}

#[cfg(test)]
mod contract {
    use super::{EXPECTATIONS, testing};
    use crate::input::Problems;
    use std::{collections::BTreeSet, time::Duration};

    #[test]
    fn every_example_parses_and_says_what_it_requires() {
        for def in EXPECTATIONS {
            let mut problems = Problems::default();
            let parsed = testing::parse(def.example, &mut problems);
            assert!(problems.as_slice().is_empty(), "{}: {problems:?}", def.name);
            let (name, expectation) = parsed.expect("an expectation");
            assert_eq!(name, def.name);
            assert!(!expectation.required().is_empty(), "{}", def.name);
        }
    }

    #[test]
    fn names_are_unique_and_everything_is_documented() {
        let names: BTreeSet<&str> = EXPECTATIONS.iter().map(|def| def.name).collect();
        assert_eq!(names.len(), EXPECTATIONS.len());
        for def in EXPECTATIONS {
            assert!(!def.summary.is_empty(), "{}", def.name);
            assert!(
                def.keys.iter().all(|key| !key.doc.is_empty()),
                "{}",
                def.name
            );
        }
    }

    fn warnings(text: &str, seconds: u64, rate: f64) -> Vec<String> {
        let (_, expectation) = testing::parse(text, &mut Problems::default()).expect("it parses");
        expectation.forewarn(&super::Foresight {
            phases: vec![("outage", Duration::from_secs(seconds))],
            loads: vec![("ask", rate)],
            hold: Duration::from_secs(5),
            shut: Vec::new(),
        })
    }

    #[test]
    fn who_counts_what_a_shut_listener_keeps_out_is_told_beforehand() {
        let foreseen = |text: &str, on: &str, is_counted: bool| {
            let (_, expectation) =
                testing::parse(text, &mut Problems::default()).expect("it parses");
            expectation.forewarn(&super::Foresight {
                phases: vec![("gone", Duration::from_secs(60))],
                loads: vec![("ask", 100.0)],
                hold: Duration::from_secs(5),
                shut: vec![super::Shut {
                    phase: "gone",
                    dependency: on,
                    role: Some("object-store"),
                    is_counted,
                }],
            })
        };
        let warnings = |text: &str, on: &str| foreseen(text, on, false);
        // How many are refused is known, and when they came is not.
        let amplified = "kind = \"amplification\"\non = \"object-store\"\nat_most = \"3x\"";
        assert_eq!(foreseen(amplified, "s3", true), [""; 0]);
        let beat = "kind = \"cadence\"\non = \"s3\"\nevery = \"10s\"";
        assert_eq!(foreseen(beat, "s3", true).len(), 1);
        for text in [
            amplified,
            "kind = \"cadence\"\non = \"s3\"\nevery = \"10s\"",
            "kind = \"back-off\"\non = \"s3\"\nat_most_rate = \"5/s\"",
        ] {
            let said = warnings(text, "s3");
            assert!(said[0].contains("in `gone` leave no request"), "{said:?}");
            let other = text
                .replace("object-store", "backup")
                .replace("s3", "backup");
            assert_eq!(warnings(&other, "s3"), [""; 0], "{other}");
        }
        let pauses = "kind = \"back-off\"\non = \"s3\"\nat_least = \"100ms\"";
        assert_eq!(warnings(pauses, "s3"), [""; 0]);
    }

    #[test]
    fn a_load_too_thin_or_a_phase_too_short_is_foreseen() {
        for (text, needs) in [
            (
                "kind = \"success-rate\"\nload = \"ask\"\nat_least = \"99.9%\"",
                (25, 40.0),
            ),
            (
                "kind = \"latency\"\nload = \"ask\"\nbelow = \"1s\"",
                (25, 4.0),
            ),
            ("kind = \"isolation\"\nload = \"ask\"", (25, 4.0)),
            (
                "kind = \"fallback\"\nload = \"ask\"\nat_least = \"99%\"",
                (25, 4.0),
            ),
            (
                "kind = \"gives-up\"\non = \"s3\"\nwithin = \"24s\"",
                (25, 1.0),
            ),
            (
                "kind = \"failover\"\nload = \"ask\"\nwithin = \"25s\"",
                (25, 1.0),
            ),
            ("kind = \"recovery\"\nwithin = \"20s\"", (25, 1.0)),
            (
                "kind = \"alert\"\non = \"pager\"\nwithin = \"25s\"",
                (25, 1.0),
            ),
            (
                "kind = \"probe\"\ncommand = [\"x\"]\nmin_success = \"96%\"",
                (25, 1.0),
            ),
        ] {
            let (seconds, rate) = needs;
            assert_eq!(
                warnings(text, seconds, rate),
                Vec::<String>::new(),
                "{text}"
            );
            let thinner = warnings(text, seconds - 1, rate);
            assert!(!thinner.is_empty(), "{text}");
        }
    }
}
