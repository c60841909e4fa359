//! What a matrix is made of. It is also what `matrix.json` holds, so a field that is renamed or taken
//! away is another [`MATRIX_VERSION`].

use super::{Delay, Doubling, Found, Kind, Patience, Reference, Use, findings};
use crate::{
    expectation::Status,
    policy::{self, Aspect, Claim, Declared},
    scenario::System,
    units::Micros,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc, time::Duration};

/// The version of `matrix.json`.
pub const MATRIX_VERSION: u32 = 1;

/// Everything that was tried on a system, and what was not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Matrix {
    /// [`MATRIX_VERSION`].
    pub version: u32,
    /// Brownout's own version.
    pub brownout: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The seed.
    pub seed: u64,
    /// The system's name.
    pub system: String,
    /// Its file.
    pub file: String,
    /// Whether somebody else started it, so that nobody watches its instances.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// What the run without faults showed; `None` where it did not come to its end.
    pub reference: Option<Reference>,
    /// The trials, in the order of how much they tell.
    pub trials: Vec<Trial>,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
    /// What must not be found.
    pub fail_on: Vec<Found>,
}

impl Matrix {
    /// What it comes to. It fails where something was found that must not be. Else nothing is said of
    /// a system that was sick without faults, where a trial was made and shows nothing, or where none
    /// shows anything; nor where something must not be found and was not looked for everywhere.
    pub fn status(&self) -> Status {
        let found = findings(self);
        if found.iter().any(|one| self.fail_on.contains(&one.found)) {
            return Status::Fail;
        }
        let is_healthy = self
            .reference
            .as_ref()
            .is_some_and(|one| one.sick.is_none());
        let unmeasured = |trial: &Trial| matches!(trial.state, State::Unmeasured { .. });
        let cells = self.trials.iter().filter_map(Trial::tried);
        let mut cells = cells.flat_map(|tried| &tried.cells);
        let is_telling = |cell: &Cell| cell.met.is_telling();
        if self.is_left_open() {
            return Status::Inconclusive;
        }
        if is_healthy && !self.trials.iter().any(unmeasured) && cells.any(is_telling) {
            Status::Pass
        } else {
            Status::Inconclusive
        }
    }

    /// What is known of how long the clients of a dependency wait: what is declared, and what its
    /// trial of a hang showed.
    pub fn patience(&self, system: &System, dependency: &str) -> Patience {
        let is_hang = |one: &&Trial| {
            let aim = &one.aim;
            *aim.dependency == *dependency && aim.kind == Kind::Hang && aim.beside.is_none()
        };
        let hung = self.trials.iter().find(is_hang).and_then(Trial::tried);
        let mut all = system.dependencies.iter();
        let own = all.find(|one| *one.name == *dependency);
        let declared = own.and_then(|one| one.policy.as_ref());
        let time = Duration::from_micros;
        let is_unending = |claim: &Claim| {
            let is_wait = claim.aspect == Aspect::FirstByteTimeout;
            is_wait && matches!(claim.finding, policy::Finding::AtLeast { .. })
        };
        Patience {
            declared: declared.and_then(Declared::timeout),
            seen: hung
                .and_then(|tried| tried.waited_us)
                .map(|(low, high)| (time(low), time(high))),
            unending: hung.is_some_and(|tried| tried.claims.iter().any(is_unending)),
        }
    }

    /// Whether what must not be found may be where nobody saw: in a trial that could have been made,
    /// after one that was not watched to its end, behind lost answers that nobody could count, in what
    /// a load uses and no trial showed, or, of what fails, in any trial that did not show it.
    fn is_left_open(&self) -> bool {
        if self.fail_on.is_empty() {
            return false;
        }
        let is_due = |trial: &Trial| matches!(trial.state, State::NotTried { due: true, .. });
        let mut tried = self.trials.iter().filter_map(Trial::tried);
        let was_not_watched = self.fail_on.contains(&Found::Wedged)
            && tried.any(|one| one.aftermath == Aftermath::Unknown);
        let tried = self.trials.iter().filter_map(Trial::tried);
        let is_seen = |one: &Tried| !matches!(one.doubling, None | Some(Doubling::Unknown { .. }));
        let mut losing = tried.filter(|one| one.doubling.is_some()).peekable();
        let was_not_counted = self.fail_on.contains(&Found::Doubled)
            && (losing.peek().is_none() || !losing.all(is_seen));
        let is_silent = |one: &Use| {
            let of_it = |trial: &&Trial| trial.aim.dependency == one.dependency;
            let mut trials = self.trials.iter().filter(of_it).peekable();
            let is_meant = trials.peek().is_some();
            let mut cells = trials.filter_map(Trial::tried).flat_map(|one| &one.cells);
            is_meant && !cells.any(|cell| cell.load == one.load && cell.met.is_telling())
        };
        let uses = self.reference.iter().flat_map(|one| &one.uses);
        let mut uses = uses.filter(|one| one.is_use());
        self.trials.iter().any(is_due)
            || was_not_watched
            || was_not_counted
            || uses.any(is_silent)
            || (self.fail_on.contains(&Found::Failed) && self.trials.iter().any(is_missed))
    }
}

/// Whether a trial of one trouble shows nothing of a load that uses the dependency.
fn is_missed(trial: &Trial) -> bool {
    let cells = trial.tried().filter(|_| trial.aim.beside.is_none());
    let mut cells = cells.into_iter().flat_map(|tried| &tried.cells);
    cells.any(|cell| cell.uses && matches!(cell.met, Met::TooFew | Met::NotReached))
}

/// What a trial is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Aim {
    /// The dependency in trouble.
    pub dependency: Arc<str>,
    /// The trouble.
    pub kind: Kind,
    /// The dependency that saved the system from it, in trouble as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

/// The second trouble of a pair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Beside {
    /// The dependency.
    pub dependency: Arc<str>,
    /// Its trouble.
    pub kind: Kind,
}

impl Aim {
    /// One kind of trouble on one dependency.
    pub fn single(dependency: &Arc<str>, kind: Kind) -> Self {
        Self {
            dependency: Arc::clone(dependency),
            kind,
            beside: None,
        }
    }

    /// Every dependency in trouble, and with what.
    pub fn troubles(&self) -> impl Iterator<Item = (&Arc<str>, Kind)> {
        let beside = self.beside.iter();
        std::iter::once((&self.dependency, self.kind))
            .chain(beside.map(|beside| (&beside.dependency, beside.kind)))
    }

    /// A name for files: `s3-hang`, `s3-hang-backup-error`.
    pub fn file_stem(&self) -> String {
        let parts = self
            .troubles()
            .map(|(dependency, kind)| format!("{dependency}-{kind}"));
        parts.collect::<Vec<_>>().join("-")
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dependency, self.kind)?;
        match &self.beside {
            Some(beside) => write!(f, " and {} {}", beside.dependency, beside.kind),
            None => Ok(()),
        }
    }
}

/// One trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trial {
    /// What it is of.
    #[serde(flatten)]
    pub aim: Aim,
    /// How late the slow kinds are, and why so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// The scenario that it was, as a file.
    #[serde(skip)]
    pub text: Option<Arc<str>>,
    /// Its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// What came of it.
    pub state: State,
}

impl Trial {
    /// A trial that has not been made.
    pub fn left_out(aim: Aim, why: impl Into<String>) -> Self {
        Self {
            aim,
            delay: None,
            text: None,
            history: None,
            state: State::NotTried {
                why: why.into(),
                due: false,
            },
        }
    }

    /// A trial that could have been made and was not.
    pub fn due(aim: Aim, why: impl Into<String>) -> Self {
        let why = why.into();
        let state = State::NotTried { why, due: true };
        Self {
            state,
            ..Self::left_out(aim, "")
        }
    }

    /// What was measured, where it was.
    pub const fn tried(&self) -> Option<&Tried> {
        match &self.state {
            State::Tried(tried) => Some(tried),
            State::NotTried { .. } | State::Unmeasured { .. } => None,
        }
    }
}

/// What came of a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are tried, and they are few"
)]
pub enum State {
    /// It was made and measured.
    Tried(Tried),
    /// It was made, and shows nothing: the system was not healthy before, the run broke off.
    Unmeasured {
        /// Why.
        why: String,
    },
    /// It was not made.
    NotTried {
        /// Why: no load calls it, the protocol cannot carry it, there was no time.
        why: String,
        /// Whether it could have been made: there was no time, or the system was stuck.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        due: bool,
    },
}

/// What was measured in a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Tried {
    /// The faults, as reports name them.
    pub faults: Vec<String>,
    /// On how many events they acted.
    pub hits: u64,
    /// How long they were in force, in microseconds.
    pub lasted_us: u64,
    /// What became of the system when they were lifted.
    pub aftermath: Aftermath,
    /// The shortest and the longest time that clients waited for a first byte, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_us: Option<(u64, u64)>,
    /// What the dependency's clients did, a sentence each.
    pub policy: Vec<String>,
    /// The same as it was inferred, of the first dependency in trouble: what comparisons rest on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// Other dependencies that were called more than before: what the system leant on.
    pub leant_on: Vec<Arc<str>>,
    /// Instances that ended on their own account.
    pub exits: Vec<String>,
    /// Whether something was done twice, where answers were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubling: Option<Doubling>,
    /// Whether the system was wedged and started anew for what was tried after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarted: bool,
    /// What each load met with.
    pub cells: Vec<Cell>,
}

/// What became of the system when the faults were lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Aftermath {
    /// It was as before.
    Steady {
        /// After how long, in microseconds.
        after_us: u64,
    },
    /// It was not as before for as long as it was watched.
    Wedged {
        /// How long that was, in microseconds.
        watched_us: u64,
    },
    /// It was not watched to the end, or asked too seldom to tell.
    Unknown,
}

/// What one load met with in a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cell {
    /// The load.
    pub load: Arc<str>,
    /// Whether it called the dependency in the reference run.
    pub uses: bool,
    /// What it met with.
    pub met: Met,
    /// How its operations ended.
    pub counts: Counts,
    /// The median of how long they took, in microseconds; 0 of none.
    pub p50_us: u64,
    /// The same of the slowest hundredth.
    pub p99_us: u64,
    /// The p99 of the steady phase before.
    pub steady_p99_us: u64,
    /// How often each of its calls to the dependency was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<Tries>,
    /// What became of it when the faults were lifted.
    pub aftermath: Aftermath,
    /// What its first failure said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Cell {
    /// The part of the operations that were not answered, 0 to 1.
    pub fn failed_share(&self) -> f64 {
        let Counts {
            failed, unanswered, ..
        } = self.counts;
        match self.counts.all() {
            0 => 0.0,
            all => (failed + unanswered) as f64 / all as f64,
        }
    }

    /// Whether it never was as before.
    pub const fn is_wedged(&self) -> bool {
        matches!(self.aftermath, Aftermath::Wedged { .. })
    }
}

/// What a load met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Met {
    /// Its operations were not all answered.
    Failed,
    /// Operations hung until the faults were lifted, and were answered only then.
    Held,
    /// A fallback answered.
    Degraded,
    /// Too few operations say anything.
    TooFew,
    /// The fault acted on none of its calls; or it was to be too slow for them, and they were all waited
    /// for.
    NotReached,
    /// They were answered as before.
    Answered,
    /// It does not call the dependency, and was answered as before.
    DoesNotUseIt,
}

impl Met {
    /// Whether it says how the load bears the trouble.
    pub const fn is_telling(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Held | Self::Degraded | Self::Answered
        )
    }
}

/// How operations ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counts {
    /// As required.
    pub ok: u64,
    /// By a fallback.
    pub degraded: u64,
    /// Refused, or with something else.
    pub failed: u64,
    /// Not in time.
    pub unanswered: u64,
    /// Only when the faults were lifted: they say nothing but that they took as long, and do not
    /// count.
    pub released: u64,
    /// How many of those hung far longer than what was answered meanwhile took.
    pub held: u64,
}

impl Counts {
    /// How many count.
    pub const fn all(&self) -> u64 {
        self.ok + self.degraded + self.failed + self.unanswered
    }
}

/// How often calls were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tries {
    /// How many calls there were.
    pub calls: u64,
    /// The least.
    pub low: u64,
    /// The most.
    pub high: u64,
    /// Whether the client names its calls. Else requests of their own that failed one after another
    /// may look like one call, and it was tried so often at the most.
    pub named: bool,
}

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (_, 1) => f.write_str("1"),
            (_, high) if !self.named => write!(f, "≤{high}"),
            (low, high) if low == high => write!(f, "{low}"),
            (low, high) => write!(f, "{low}–{high}"),
        }
    }
}

impl Aftermath {
    /// From the moment of lifting to the beginning of the first good stretch.
    pub const fn steady(lifted: Micros, since: Micros) -> Self {
        Self::Steady {
            after_us: since.0.saturating_sub(lifted.0),
        }
    }
}
