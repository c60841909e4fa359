//! The entries of a history.

use super::{call::NOTED_LATE, held_up::HeldUp, stall::Stalled};
use crate::{
    fault::FaultId,
    protocol::{Applied, RetryAfter, TraceParent, asks_for_retry, speaks_of_data},
    units::{Micros, format_duration},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The version of the file format; a reader refuses a later one.
pub const HISTORY_VERSION: u32 = 1;

/// An answer whose end comes so soon after its first byte was over at once.
const OVER_AT_ONCE: Duration = Duration::from_millis(15);

/// How a run ended that went through all its phases.
pub const COMPLETED: &str = "completed";

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Observation {
    /// The first entry.
    Run(Run),
    /// A phase began. The last phase ends with the run.
    Phase {
        /// When.
        at: Micros,
        /// Its place in the scenario, from 0.
        index: u16,
    },
    /// A fault came into force.
    Armed {
        /// When.
        at: Micros,
        /// Which.
        fault: FaultId,
    },
    /// A fault was lifted.
    Lifted {
        /// When.
        at: Micros,
        /// Which.
        fault: FaultId,
        /// How many events it acted on, as the proxies and the process keeper counted.
        hits: u64,
    },
    /// A fault acted where no attempt or connection can carry its name: a listener that did not
    /// accept, a process that was killed.
    Acted(Intervention),
    /// One request of a load or through the ingress.
    Operation(Operation),
    /// One request of the system to a dependency.
    Attempt(Attempt),
    /// One connection of the system to a dependency, when it closed.
    Connection(Connection),
    /// How long the queue of an overloaded dependency is.
    Queue(QueueSample),
    /// Something happened to an instance.
    Process(ProcessEvent),
    /// One probe.
    Probe(ProbeSample),
    /// Something the system sent to a sink: an alert, a webhook.
    Message(Message),
    /// A number that was looked up while the run went on.
    Gauge(Gauge),
    /// What was new in a listing of ids that the system shows.
    Reading(Reading),
    /// Ledgers were watched up to here, with the load ended and every fault lifted: next the
    /// system is taken down.
    Watched {
        /// When.
        at: Micros,
    },
    /// The system asked the forward proxy for a host that no dependency lists.
    Unlisted(Unlisted),
    /// The load generator could not keep its schedule: this many operations began more than
    /// `late` after their intended start, or were not sent at all.
    Missed {
        /// When it was noticed.
        at: Micros,
        /// The load.
        load: Arc<str>,
        /// Operations concerned.
        count: u64,
        /// How many of these were not sent at all; the others are operations of their own.
        #[serde(default)]
        unsent: u64,
        /// The greatest delay, in microseconds.
        late: u64,
        /// When the first of them should have begun.
        #[serde(default)]
        first: Micros,
        /// When the last of them should have begun.
        #[serde(default)]
        last: Micros,
    },
    /// The recorder had to drop this many observations up to here.
    Dropped {
        /// When.
        at: Micros,
        /// How many since the last such entry.
        count: u64,
    },
    /// Requests that the proxies held up, because there was little room left for observations.
    Waited(Waited),
    /// Brownout itself stood still: what came in meanwhile was noted at its end.
    Stalled(Stalled),
    /// The system, or Brownout, was ready to run and had no processor.
    HeldUp(HeldUp),
    /// The last phase is over: what follows is the answers still due, and the taking down.
    PhasesOver {
        /// When.
        at: Micros,
    },
    /// The last entry of a run that was not killed.
    Ended(Moment),
}

impl Observation {
    /// When it was known: the end of whatever takes time.
    pub fn at(&self) -> Micros {
        match self {
            Self::Run(_) => Micros::default(),
            Self::Phase { at, .. }
            | Self::Armed { at, .. }
            | Self::Lifted { at, .. }
            | Self::Missed { at, .. }
            | Self::PhasesOver { at }
            | Self::Watched { at }
            | Self::Dropped { at, .. } => *at,
            Self::Acted(intervention) => intervention.at,
            Self::Operation(operation) => operation.ended,
            Self::Attempt(attempt) => attempt.ended,
            Self::Connection(connection) => connection.closed,
            Self::Queue(sample) => sample.at,
            Self::Process(event) => event.at,
            Self::Probe(sample) => sample.ended,
            Self::Message(message) => message.at,
            Self::Gauge(gauge) => gauge.at,
            Self::Reading(reading) => reading.ended,
            Self::Unlisted(unlisted) => unlisted.at,
            Self::Waited(waited) => waited.to,
            Self::Stalled(stalled) => stalled.to,
            Self::HeldUp(held_up) => held_up.to,
            Self::Ended(moment) => moment.at,
        }
    }
}

/// Requests that waited, for want of room in the recorder's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Waited {
    /// When the first of them began to wait.
    pub from: Micros,
    /// When the last of them had waited.
    pub to: Micros,
    /// How many.
    pub count: u64,
    /// The longest wait, in microseconds.
    pub longest: Micros,
}

impl Waited {
    /// Both at once.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            count: self.count + other.count,
            longest: self.longest.max(other.longest),
        }
    }
}

/// What the run was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// [`HISTORY_VERSION`].
    pub version: u32,
    /// Brownout's own version.
    pub brownout: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// The seed.
    pub seed: u64,
    /// `--speed`.
    pub speed: f64,
    /// The scenario file's name and text.
    pub scenario: (String, String),
    /// The system file's name and text.
    pub system: (String, String),
    /// The machine; unknown of histories written before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

/// The machine that a run took place on, as far as it bears on what was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Machine {
    /// The operating system: `linux`, `macos`.
    pub os: String,
    /// The kernel's release, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The processor's architecture: `x86_64`, `aarch64`.
    pub architecture: String,
    /// How many processors a program may use at a time.
    pub processors: usize,
}

/// Where an operation came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Our load generator.
    Load,
    /// Somebody else's request through the ingress.
    Ingress,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered as required.
    Ok,
    /// A fallback answered.
    Degraded,
    /// Refused, or answered with something else.
    Failed,
    /// No answer within the time-out: it may have been done or not.
    Indeterminate,
}

/// One request of a load or through the ingress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Operation {
    /// The load's name; the ingress's rule for others' requests.
    pub load: Arc<str>,
    /// Its number within the load, from 1.
    pub nth: u64,
    /// Where it came from.
    pub source: Source,
    /// When it should have begun: latency counts from here.
    pub intended: Micros,
    /// When it was sent.
    pub began: Micros,
    /// When its outcome was known.
    pub ended: Micros,
    /// When its first answer, which was as required, was whole, where what it did was then read
    /// back: whatever came of that, the work was accepted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Micros>,
    /// The outcome.
    pub outcome: Outcome,
    /// The HTTP status, where there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it is not ok: "connection refused", "no answer within 5s", "status 503".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the run ended before its answer was due, or we could not ask for it: it took at least
    /// that long, and nothing else can be said of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// How often it was refused before and asked again, the same in every byte.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u32,
    /// What it asked, for evidence: `POST /bots/7/train`.
    pub request: Arc<str>,
    /// Values captured from request and response as the file asks (`capture`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captured: BTreeMap<String, String>,
}

/// How an attempt ended, as seen at the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// The client got a whole answer, the dependency's or a fault's.
    Answered,
    /// The client closed the connection before the answer was whole: it gave up.
    GaveUp,
    /// We cut it: reset, close, truncation, garbage.
    Cut,
    /// The dependency itself failed: refused, reset or broke off.
    UpstreamFailed,
    /// Still open when the run ended, or when the fault that held it was lifted and the
    /// connection had to be closed.
    Unfinished,
}

/// One request of the system to a dependency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attempt {
    /// The dependency's name.
    pub dependency: Arc<str>,
    /// The proxy's number of its connection.
    pub connection: u64,
    /// The logical call it belongs to: equal for all attempts of a call.
    pub call: Arc<str>,
    /// Whether `call` comes from the client's own id; otherwise grouping is by the n-th request
    /// for this operation and key, and a retry counts as a call of its own until `policy` or an
    /// expectation groups it by time.
    pub by_sdk_id: bool,
    /// Which attempt of its call, from 1.
    pub attempt: u32,
    /// The most attempts the client says it will make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_max: Option<u32>,
    /// `PutObject`, or the HTTP method.
    pub operation: Arc<str>,
    /// `bucket/key`, or the path.
    pub key: Arc<str>,
    /// The first table that a statement names, where the file says that its key is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Arc<str>>,
    /// When its first byte reached us.
    pub began: Micros,
    /// When we sent the first byte of an answer to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Micros>,
    /// When it was over.
    pub ended: Micros,
    /// How it ended.
    pub end: AttemptEnd,
    /// The status the client was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The protocol's own error code in what the client was sent: `SlowDown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Arc<str>>,
    /// Whether the dependency carried it out.
    pub applied: Applied,
    /// How often the dependency carried it out beyond once, where a fault sent it several times.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u32,
    /// How often more the dependency may have carried it out, where a fault sent it several times:
    /// sendings of which no answer says what became, beside the one that [`Attempt::applied`]
    /// speaks of where that is unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated_unknown: u32,
    /// How many rows it changed, where the dependency's answer says so: that of a database to an
    /// `INSERT`, `UPDATE`, `DELETE`, `MERGE` or `REPLACE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Whether it found its row where it changed none, which was as it was to be already: so MySQL says
    /// of an `UPDATE`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Whether it may have found its row all the same where it changed none: that of MySQL which was as it
    /// was to be, where the answer does not say it and the client did not ask for the rows found
    /// (`CLIENT_FOUND_ROWS`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub perhaps_held: bool,
    /// When it was over with the transaction that it is part of, where the client had its answer
    /// and not the one that says what became of the transaction, as that of a `COMMIT` which never
    /// came: until then the client waited, and from then on it could not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Micros>,
    /// Which faults acted on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultId>,
    /// The times that its answer asked the client to wait before it comes again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_after: Vec<RetryAfter>,
    /// When the fault that held it was lifted, if one was: beyond this moment it says nothing
    /// about the client's patience (the attempt is censored here).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Micros>,
    /// Body bytes from the client.
    pub bytes_up: u64,
    /// Body bytes to the client.
    pub bytes_down: u64,
    /// Values captured from the request as the dependency's `capture` asks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captured: BTreeMap<String, String>,
    /// The trace that the request said it belongs to, so that it can be found in the team's own. Calls
    /// are not put together by it: who traces nothing else begins a trace for each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub trace: Option<TraceParent>,
}

/// One connection of the system to a dependency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Connection {
    /// The dependency's name.
    pub dependency: Arc<str>,
    /// The proxy's number of it.
    pub connection: u64,
    /// When it was accepted.
    pub opened: Micros,
    /// When it was over.
    pub closed: Micros,
    /// Who ended it, in words: "client closed", "reset by fault", "upstream refused".
    pub how: String,
    /// Which faults acted on the connection as a whole or on its bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultId>,
    /// Bytes from the system.
    pub bytes_up: u64,
    /// Bytes to the system.
    pub bytes_down: u64,
}

/// A fault acted outside any attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Intervention {
    /// When.
    pub at: Micros,
    /// Which fault.
    pub fault: FaultId,
    /// On how many events since the last such entry.
    pub count: u64,
    /// What was seen: "3 connects unanswered", "instance primary killed".
    pub what: String,
}

/// The queue of an overloaded dependency: how long it is, and what happened in it since the sample
/// before. Noted every 100 ms while it changes, and when its fault is lifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QueueSample {
    /// When.
    pub at: Micros,
    /// Since when the counts run.
    pub since: Micros,
    /// The dependency's name.
    pub dependency: Arc<str>,
    /// The fault that says what the dependency can carry.
    pub fault: FaultId,
    /// How many wait: the system's requests, those whose clients have gone, and other tenants'.
    pub waiting: u64,
    /// The most that waited at any moment since.
    pub waiting_max: u64,
    /// How many are in service.
    pub serving: u64,
    /// How much of the servers' time was taken since, 0 to 1.
    pub utilisation: f64,
    /// How many arrived since, those of other tenants included.
    pub arrived: u64,
    /// How many were served since.
    pub served: u64,
    /// How many were refused since, for want of room or behind the deadline.
    pub refused: u64,
}

/// Something happened to an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessEvent {
    /// When.
    pub at: Micros,
    /// The instance.
    pub instance: Arc<str>,
    /// `started`, `ready`, `not-ready`, `not-started`, `killed`, `paused`, `resumed`, `stopping`,
    /// `stopped`, `exited`.
    pub event: String,
    /// Whether we did it (a fault or the end of the run); an exit that nobody asked for is false.
    pub ours: bool,
    /// Exit status or signal in words, last output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ProcessEvent {
    /// What the instance failed in, if it did by itself, in words: it exited though nobody asked it
    /// to, was not ready in time, or could not be started.
    pub fn failure(&self) -> Option<&'static str> {
        match &*self.event {
            _ if self.ours => None,
            "exited" => Some("exited on its own account"),
            "not-ready" => Some("was not ready in time"),
            "not-started" => Some("could not be started"),
            _ => None,
        }
    }
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeSample {
    /// When it began.
    pub at: Micros,
    /// When it ended.
    pub ended: Micros,
    /// The id of the expectation it belongs to.
    pub probe: Arc<str>,
    /// Whether what was required held; `None` if the probe itself could not be made.
    pub held: Option<bool>,
    /// Whether anything answered: the server, or a program that came to its end. Without an answer
    /// nobody said the contrary either.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub answered: bool,
    /// What was seen instead, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

const fn yes() -> bool {
    true
}

/// Something the system sent to a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Message {
    /// When it had arrived.
    pub at: Micros,
    /// The dependency whose sink it reached.
    pub dependency: Arc<str>,
    /// `POST /alerts`.
    pub request: String,
    /// The body as text, at most 4 KiB, or 64 KiB where a ledger looks into it.
    pub body: String,
    /// Whether not all of the body is kept: it was longer than that, was no UTF-8, or something in it that
    /// is called after a secret was left out. What it does not hold it may have held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Whether the sink said that it took it (2xx): what it refused was sent, and is no delivery.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub taken: bool,
}

/// What a gauge shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// How much work of a ledger the system says is waiting.
    Backlog,
    /// How much work of a ledger the system says it has dropped.
    Dropped,
    /// The resident memory of an instance's processes, in bytes.
    Memory,
}

/// A number that was looked up while the run went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Gauge {
    /// When it was known.
    pub at: Micros,
    /// What it shows.
    pub measure: Measure,
    /// Of which ledger or instance.
    pub of: Arc<str>,
    /// The number; `None` if it could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why not, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Which of a ledger's listings was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// This place of `delivered`, from 0.
    Delivered(u16),
    /// `dropped`.
    Dropped,
}

/// What was new in a listing of ids, compared with the last time it could be read. A look that
/// found much is several entries with the same `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reading {
    /// When it was asked.
    pub at: Micros,
    /// When the answer was whole.
    pub ended: Micros,
    /// The ledger.
    pub ledger: Arc<str>,
    /// Which listing.
    pub listing: Listing,
    /// Ids that were not there before, each as often as it has become more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Ids that were there before, each as often as it has become less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// Why the listing could not be read, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The system asked the forward proxy for a host that no dependency lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unlisted {
    /// When.
    pub at: Micros,
    /// The host and its port.
    pub host: String,
    /// Whether it was passed on; otherwise it was refused.
    pub passed: bool,
}

impl Operation {
    /// How long it took, counted from when it should have begun.
    pub fn latency(&self) -> Duration {
        self.ended.since(self.intended)
    }

    /// When its first answer was known: a read-back that follows is no part of it.
    pub fn first_answer(&self) -> Micros {
        self.accepted.unwrap_or(self.ended)
    }

    /// Whether it was answered, by the thing itself or by a fallback.
    pub fn answered(&self) -> bool {
        matches!(self.outcome, Outcome::Ok | Outcome::Degraded)
    }

    /// One line of evidence: `ask #412 POST /bots/7/ask: no answer within 5s`.
    pub fn describe(&self) -> String {
        let what = match (&self.why, self.outcome) {
            (Some(why), _) => why.clone(),
            (None, Outcome::Ok) => format!("ok after {}", format_duration(self.latency())),
            (None, Outcome::Degraded) => {
                format!("degraded after {}", format_duration(self.latency()))
            }
            (None, Outcome::Failed) => "failed".to_owned(),
            (None, Outcome::Indeterminate) => "no answer".to_owned(),
        };
        format!("{} #{} {}: {what}", self.load, self.nth, self.request)
    }
}

impl Attempt {
    /// How long it was open at the proxy.
    pub fn duration(&self) -> Duration {
        self.ended.since(self.began)
    }

    /// The earliest moment at which its client may have known how it ended: of an answer its first
    /// byte. That it was over we note only when all of it has left us, and on a busy machine the
    /// client's next attempt may be here before that.
    pub fn told(&self) -> Micros {
        match self.end {
            AttemptEnd::Answered => self.first_byte.unwrap_or(self.ended),
            _ => self.ended,
        }
    }

    /// The first and the last moment at which its client may have begun to wait with the next attempt.
    /// Of an answer they are its first byte and its end: that may be noted late, and the rest may as
    /// well have been so long in coming. Of one that took longer than we are ever late, and of what was
    /// no answer, both are the end.
    pub fn waited_from(&self) -> (Micros, Micros) {
        self.waited_from_noted(NOTED_LATE)
    }

    /// The same where we were late by this much at the most.
    pub fn waited_from_noted(&self, late: Duration) -> (Micros, Micros) {
        match self.ended.since(self.told()) <= late {
            true => (self.told(), self.ended),
            false => (self.ended, self.ended),
        }
    }

    /// How long its client waited with the next attempt, at least and at most.
    pub fn pause_before(&self, next: &Self) -> (Duration, Duration) {
        let (first, last) = self.waited_from();
        (next.began.since(last), next.began.since(first))
    }

    /// The same where both are as good as one: after an answer that was over at once.
    pub fn known_pause_before(&self, next: &Self) -> Option<Duration> {
        let (least, most) = self.pause_before(next);
        (most.saturating_sub(least) <= OVER_AT_ONCE).then_some(most)
    }

    /// Whether the client got an answer that settles its call: a whole one, and not one that
    /// asks to be retried (5xx, 408, 429, an error inside a 200, a database's "not now").
    pub fn settled(&self) -> bool {
        self.end == AttemptEnd::Answered
            && match self.status {
                Some(408 | 429 | 500..) => false,
                Some(status @ 200..300) => self.code.is_none() || status != 200,
                Some(_) => true,
                None => !self.code.as_deref().is_some_and(asks_for_retry),
            }
    }

    /// Whether its answer told the caller that what was asked for is done: whole, with 2xx, or
    /// without an error of the protocol's own; and, within a transaction, that of its end too.
    pub fn acknowledged(&self) -> bool {
        let is_well = match self.status {
            Some(status) => (200..300).contains(&status) && !self.failed(),
            None => self.code.is_none(),
        };
        self.end == AttemptEnd::Answered && is_well && self.untold.is_none()
    }

    /// When its caller had been told what became of it, or no longer could be: with its answer, or
    /// with the end of its transaction.
    pub fn waited_for_until(&self) -> Micros {
        self.untold.map_or(self.ended, |at| at.max(self.ended))
    }

    /// Whether the dependency failed it: no whole answer came, or one that says that it could not
    /// be served (5xx, 408, 429, an error inside a 200, a database's error that speaks of more than
    /// the data). Other than [`Attempt::settled`] this says nothing about another try.
    pub fn failed(&self) -> bool {
        self.end != AttemptEnd::Answered
            || match self.status {
                Some(408 | 429 | 500..) => true,
                Some(status) => self.code.is_some() && status == 200,
                None => {
                    let code = self.code.as_deref();
                    code.is_some_and(|code| !speaks_of_data(code))
                }
            }
    }
}

/// A moment with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Moment {
    /// When.
    pub at: Micros,
    /// [`COMPLETED`], `interrupted`, or what broke.
    pub how: String,
}
