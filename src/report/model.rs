//! What every report renders, and what `report.json` holds.
//!
//! These types are a promise to those who read the file: fields are added, never renamed or given
//! another meaning, without a new [`REPORT_VERSION`]. Moments and the fields that end in `_us` are
//! microseconds; moments count from the beginning of their scenario.

use super::{Repetition, SeriesReport, Timeline, Trace, WritesReport};
use crate::{
    expectation::{Status, Verdict},
    history::Machine,
    policy::{Claim, Standing},
    units::Micros,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of `report.json`.
pub const REPORT_VERSION: u32 = 1;

/// Everything that one command ran or judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SuiteReport {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Brownout's own version.
    pub brownout: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// The seed that was given or drawn; every scenario's own is derived from nothing else.
    pub seed: u64,
    /// The worst of all scenarios.
    pub status: Status,
    /// The scenarios, in the order of the command line; where runs were repeated, every repeat of
    /// each.
    pub scenarios: Vec<ScenarioReport>,
    /// What became of repeated runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesReport>,
    /// The files that were written beside this one, as paths from where the command was typed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// One scenario against one system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScenarioReport {
    /// The scenario's title.
    pub title: String,
    /// The scenario's file, as typed.
    pub file: String,
    /// The system's file.
    pub system: String,
    /// The seed to repeat it with.
    pub seed: u64,
    /// `--speed`.
    pub speed: f64,
    /// The worst of its verdicts; never a pass where there is [`Trouble`] or a doubt.
    pub status: Status,
    /// What kept it from running to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Why the run as a whole shows less than it seems to: faults that did not act as often as
    /// they had to, and instances that were started and did not come up. With one there is no
    /// pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// One for each expectation, in file order; none where the system never ran.
    pub verdicts: Vec<Verdict>,
    /// Hosts that the system asked the forward proxy for though no dependency lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlisted_hosts: Vec<UnlistedHostReport>,
    /// The phases, in order.
    pub phases: Vec<PhaseReport>,
    /// The faults, in file order.
    pub faults: Vec<FaultReport>,
    /// The loads, and the ingress where there is one.
    pub loads: Vec<LoadReport>,
    /// The dependencies, as the proxies saw them.
    pub dependencies: Vec<DependencyReport>,
    /// The ledgers: what became of accepted work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledgers: Vec<LedgerReport>,
    /// What became of the writes that were in flight in fault windows, by each who knows of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<WritesReport>,
    /// What the system's clients did, as inferred from the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PoliciesReport>,
    /// What became of the system after the last fault was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryReport>,
    /// The incident that it replays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentReport>,
    /// The incident's story.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
    /// The scenario's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The command that runs it again with the same decisions.
    pub repeat: String,
    /// The history's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// How long it took.
    pub duration_us: u64,
    /// The machine it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// How the outage showed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<DetectedReport>,
    /// Which repeat it is, where runs were repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition: Option<Repetition>,
    /// What its files said, so that two runs can be seen to have been asked for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digests: Option<Digests>,
    /// The run over time, for charts; not part of `report.json`.
    #[serde(skip)]
    pub timeline: Timeline,
    /// What the history has behind the evidence; not part of `report.json`.
    #[serde(skip)]
    pub traces: Vec<Trace>,
}

/// How the outage showed first, counted from when the first fault came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DetectedReport {
    /// How long until a fallback answered an operation of a load that had none in the steady
    /// phases; `None` if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_us: Option<u64>,
    /// How long until a dependency of the role `alerts` was told; `None` if none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_us: Option<u64>,
}

/// Digests (the first 16 hexadecimal digits of a SHA-256) of what the files said. Those of phases
/// and loads are of their tables alone, in whichever order and layout their keys were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Digests {
    /// The scenario's whole text.
    pub scenario: String,
    /// The system's whole text.
    pub system: String,
    /// The scenario's phases with their faults, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phases: BTreeMap<String, String>,
    /// The system's loads, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loads: BTreeMap<String, String>,
    /// The system's ledgers, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ledgers: BTreeMap<String, String>,
    /// How long everything must hold before recovery counts, no digest but the time itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_us: Option<u64>,
}

/// A host that the system asked the forward proxy for though no dependency lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnlistedHostReport {
    /// The host and its port.
    pub host: String,
    /// How often.
    pub count: u64,
    /// Whether it was passed on; otherwise it was refused.
    pub passed: bool,
}

/// What kept a scenario from running to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// What happened, in one sentence.
    pub message: String,
    /// The last output of the instance concerned, or what else helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The kinds of trouble, each with an exit status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// The system or a dependency could not be started or reached.
    NotStarted,
    /// Somebody interrupted it.
    Interrupted,
    /// It broke off: the disk was full, or the runner was killed.
    BrokeOff,
    /// A bug of ours.
    Bug,
}

impl TroubleKind {
    /// A heading for people.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::NotStarted => "could not start",
            Self::Interrupted => "interrupted",
            Self::BrokeOff => "broke off",
            Self::Bug => "a bug in Brownout",
        }
    }
}

/// A phase as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// Whether it is the baseline.
    pub steady: bool,
    /// When it began; `None` if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Micros>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Micros>,
    /// What it stands for on the real clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub happened: Option<String>,
}

/// A fault as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultReport {
    /// Its number in the file, from 0: how a history names it.
    pub id: u16,
    /// One line for people.
    pub label: String,
    /// Its kind.
    pub kind: String,
    /// What it was put on.
    pub on: String,
    /// The phase it belongs to.
    pub phase: String,
    /// How many events it acted on.
    pub hits: u64,
    /// When it came into force; `None` if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed: Option<Micros>,
    /// When it was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Micros>,
}

/// How many operations ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outcomes {
    /// Answered as required.
    pub ok: u64,
    /// Answered by a fallback.
    pub degraded: u64,
    /// Failed.
    pub failed: u64,
    /// Without an answer in time.
    pub indeterminate: u64,
}

impl Outcomes {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.ok + self.degraded + self.failed + self.indeterminate
    }
}

/// A load as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoadReport {
    /// Its name.
    pub name: String,
    /// All its operations.
    pub outcomes: Outcomes,
    /// Operations that the generator began too late or not at all.
    pub missed: u64,
    /// The median latency, from the intended start; `None` without operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// The latency that 99 of 100 stayed within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// The same for each phase, by the operation's intended start.
    pub phases: Vec<LoadPhase>,
}

/// A load in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoadPhase {
    /// The phase.
    pub phase: String,
    /// The operations that were to begin in it.
    pub outcomes: Outcomes,
    /// Their median latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// The latency that 99 of 100 of them stayed within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// How they spread, for comparing two runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// How the operations of a load spread in one phase: what intervals and tests need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// How many operations were answered (ok or degraded) by their latency, from the intended
    /// start. A key is the longest latency, in microseconds, that its count has; the step below
    /// it is a sixteenth of it at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answered_us: BTreeMap<u64, u64>,
    /// How much shares and times clump: their variance from second to second over that of
    /// operations that have nothing to do with each other, at least 1. Keys are `answered`,
    /// `degraded`, `failed`, `p50`, `p95` and `p99`; those that are 1 are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clumping: BTreeMap<String, f64>,
}

/// A dependency as its proxy saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DependencyReport {
    /// Its name.
    pub name: String,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its protocol.
    pub protocol: String,
    /// Requests on the wire.
    pub attempts: Attempts,
    /// Connections that were closed.
    pub connections: u64,
    /// The requests for each phase, by when they began.
    pub phases: Vec<DependencyPhase>,
}

/// A dependency in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DependencyPhase {
    /// The phase.
    pub phase: String,
    /// The requests that began in it.
    pub attempts: Attempts,
    /// The calls that began in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
}

/// The calls of the system to a dependency in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Calls {
    /// Calls, by the beginning of their first attempt.
    pub total: u64,
    /// The attempts of these beyond the first of each, whenever they began.
    pub retries: u64,
    /// Attempts that began in the phase.
    pub attempts: u64,
    /// Of these, not answered, or with an error that asks for a retry.
    pub errors: u64,
    /// How long the phase was.
    pub during_us: u64,
    /// How much they clump, as in [`Spread`]. Keys are `calls`, `attempts`, `errors` and
    /// `retries`; those that are 1 are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clumping: BTreeMap<String, f64>,
}

/// How many requests on the wire ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attempts {
    /// All of them.
    pub total: u64,
    /// A fault acted on these.
    pub faulty: u64,
    /// The client got a whole answer, the dependency's or a fault's.
    pub answered: u64,
    /// The client closed first.
    pub gave_up: u64,
    /// A fault cut them.
    pub cut: u64,
    /// The dependency itself failed.
    pub upstream_failed: u64,
    /// Open when the run ended or the fault was lifted.
    pub unfinished: u64,
}

/// What became of the work of a ledger over the whole run. `accepted` is the sum of `delivered`,
/// `lost`, `waiting`, `dropped` and `without_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LedgerReport {
    /// Its name.
    pub name: String,
    /// The load that asks for the work.
    pub load: String,
    /// Operations whose answer acknowledged the work.
    pub accepted: u64,
    /// Of these, delivered.
    pub delivered: u64,
    /// Of these, never seen though the ledger had settled, or seen and no longer there.
    pub lost: u64,
    /// Of these, not seen so far: they may still be on their way.
    pub waiting: u64,
    /// Of these, dropped as the system itself reports.
    pub dropped: u64,
    /// Of these, without an id by which they could be found again.
    pub without_id: u64,
    /// Deliveries beyond those asked for.
    pub duplicated: u64,
    /// Operations of which nobody was told whether they were accepted.
    pub indeterminate: u64,
    /// Ids of these that were delivered.
    pub recovered: u64,
    /// Operations that were refused.
    pub refused: u64,
    /// Ids that were refused and delivered all the same.
    pub contradicted: u64,
    /// Ids that were delivered though nobody asked for them.
    pub unexpected: u64,
    /// How much work the system itself said was waiting at the end, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_waiting: Option<u64>,
    /// Why what is missing cannot be called lost; none if the ledger had settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<String>,
    /// How long after the outage's end no more was waiting than the steady phases had at their
    /// worst; `None` if the outage never ended or the backlog never drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_us: Option<u64>,
    /// How much what was lost clumps among what was accepted, as in [`Spread`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clumping: Option<f64>,
    /// How much was waiting over time.
    pub backlog: BacklogReport,
}

/// The most steps that a backlog is shown in.
pub const BACKLOG_STEPS_MAX: usize = 240;

/// How much accepted work was waiting to be delivered over time: the drain curve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BacklogReport {
    /// The length of a step, a multiple of 100 ms. The first begins with the run.
    pub every_us: u64,
    /// The most work that waited at any moment of each step, at most [`BACKLOG_STEPS_MAX`] of
    /// them; the last step may reach beyond the end of the run.
    pub deepest: Vec<u64>,
    /// How much was waiting at the end.
    pub left: u64,
}

impl LedgerReport {
    /// The counts in one line: those that are not zero, and always what was accepted, delivered
    /// and lost.
    pub fn summary(&self) -> String {
        let mut parts = vec![
            format!("{} accepted", self.accepted),
            format!("{} delivered", self.delivered),
            format!("{} lost", self.lost),
        ];
        for (count, what) in [
            (self.waiting, "still waiting"),
            (self.dropped, "dropped"),
            (self.without_id, "without an id"),
            (self.duplicated, "duplicated"),
            (self.indeterminate, "indeterminate"),
            (self.recovered, "of these recovered"),
            (self.refused, "refused"),
            (self.contradicted, "refused and delivered"),
            (self.unexpected, "never asked for"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let deepest = self.backlog.deepest.iter().max().unwrap_or(&0);
        format!("{}; at most {deepest} waited at a time", parts.join(", "))
    }
}

/// The version of [`PoliciesReport`]: its findings may come to be told apart in other ways while the
/// rest of the report stays as it is. Policies of two versions are not compared: a difference may be
/// how they were inferred.
///
/// - 2: bounds, breakers, hedges, fallbacks and late calls are told more carefully than in 1, and a
///   retry that came before the end of the first attempt was noted belongs to its call.
/// - 3: of calls that may be several requests of their own no attempts, pauses and repetitions are
///   claimed.
pub const POLICIES_VERSION: u32 = 3;

/// What the system's clients did, as inferred from the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PoliciesReport {
    /// [`POLICIES_VERSION`].
    pub version: u32,
    /// What is claimed, by dependency in the order of the system's file.
    pub claims: Vec<Claim>,
    /// What the system's file declares of its clients, held against the claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<DeclaredReport>,
}

/// One line of a declared policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeclaredReport {
    /// The dependency.
    pub dependency: String,
    /// The key.
    pub key: String,
    /// What is written, in words.
    pub declared: String,
    /// Whether it is so.
    pub standing: Standing,
    /// What was seen, in one sentence.
    pub seen: String,
}

/// What became of the system after the last fault was lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecoveryReport {
    /// When the last fault was lifted.
    pub lifted: Micros,
    /// When the system was steady again, if it was before the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady: Option<Micros>,
    /// How long that took, or at least took.
    pub took_us: u64,
    /// Why it cannot be told whether the system was steady again, where it cannot: a load was asked or
    /// answered too seldom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
}

/// The incident that a scenario replays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IncidentReport {
    /// Whose.
    pub who: String,
    /// When, as ISO date.
    pub on: String,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl SuiteReport {
    /// A report of these scenarios by this version of Brownout.
    pub fn new(began: String, seed: u64, scenarios: Vec<ScenarioReport>) -> Self {
        let status = scenarios
            .iter()
            .map(|scenario| scenario.status)
            // Without a scenario nothing was measured.
            .reduce(Status::worst)
            .unwrap_or(Status::Inconclusive);
        Self {
            version: REPORT_VERSION,
            brownout: env!("CARGO_PKG_VERSION").to_owned(),
            began,
            seed,
            status,
            scenarios,
            series: None,
            files: Vec::new(),
        }
    }
}

impl SuiteReport {
    /// The same as the report of repeated runs, of which so many were asked for.
    #[must_use]
    pub fn repeated(mut self, asked: Option<u32>, all: bool) -> Self {
        self.series = Some(SeriesReport::of(asked, all, &self.scenarios));
        self
    }
}

impl ScenarioReport {
    /// How many of its verdicts have this status.
    pub fn count(&self, status: Status) -> usize {
        self.verdicts
            .iter()
            .filter(|verdict| verdict.status == status)
            .count()
    }

    /// The worst of its verdicts and its trouble: without a verdict, cut short or in doubt, it is
    /// inconclusive at best.
    pub fn merged(verdicts: &[Verdict], trouble: Option<&Trouble>, doubts: &[String]) -> Status {
        let floor = if verdicts.is_empty() || trouble.is_some() || !doubts.is_empty() {
            Status::Inconclusive
        } else {
            Status::Pass
        };
        verdicts
            .iter()
            .fold(floor, |worst, verdict| worst.worst(verdict.status))
    }
}
