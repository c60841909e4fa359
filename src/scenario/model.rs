//! The valid system and scenario: what the rest of Brownout works with.

use super::{HostPattern, Ledger, Template};
use crate::{
    expectation::Expectation,
    fault::{Behaviour, FaultId, Gate},
    input::{Source, Span},
    policy::Declared,
    protocol::Protocol,
    units::{Rate, Share},
};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// The system under test.
#[derive(Debug)]
pub struct System {
    /// Where it came from.
    pub source: Source,
    /// The folder that relative programs and working directories start from: the file's own.
    pub folder: PathBuf,
    /// How it is called in reports.
    pub name: String,
    /// How it comes to run.
    pub start: Start,
    /// Where load and probes go; empty for a system without URL, which has no load and no
    /// ingress.
    pub url: Template,
    /// Environment for every instance.
    pub env: BTreeMap<String, Template>,
    /// The names used in `{port.NAME}`.
    pub ports: Vec<String>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// The load driven at it.
    pub loads: Vec<Load>,
    /// The door for other people's load.
    pub ingress: Option<Ingress>,
    /// Which work was accepted and which was delivered.
    pub ledgers: Vec<Ledger>,
    /// What becomes of hosts that the system asks the forward proxy for and nobody lists.
    pub unlisted: UnlistedHosts,
}

/// What becomes of hosts that no dependency lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnlistedHosts {
    /// They are refused.
    #[default]
    Refuse,
    /// Loopback addresses are passed on, all others refused: nothing leaves the machine.
    Pass,
    /// All are passed on.
    PassAnywhere,
}

/// How the system comes to run.
#[derive(Debug)]
pub enum Start {
    /// We start these. `[system] command` alone makes one instance named `main`.
    Instances(Vec<Instance>),
    /// Somebody else has started it.
    External,
}

/// One process of the system.
#[derive(Debug)]
pub struct Instance {
    /// Its name, for `instance:NAME` and `{instance.NAME.url}`.
    pub name: Arc<str>,
    /// Program and arguments; never a shell.
    pub command: Vec<Template>,
    /// Environment beside the system's.
    pub env: BTreeMap<String, Template>,
    /// Working directory, joined to the system file's folder already; that folder by default.
    pub folder: Option<PathBuf>,
    /// Its own base URL.
    pub url: Option<Template>,
    /// When it counts as ready.
    pub ready: Ready,
    /// How it is stopped.
    pub stop: Stop,
    /// Whether it is started with the run; otherwise a `start` fault starts it.
    pub autostart: bool,
}

/// When an instance counts as ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The path to GET until it answers 2xx; `None`: ready when its port accepts (or at once
    /// where it has no URL).
    pub path: Option<String>,
    /// The time it has.
    pub within: Duration,
}

/// How an instance is stopped.
#[derive(Debug, Clone)]
pub struct Stop {
    /// The signal's name without `SIG`: `TERM`, `INT`, `QUIT`, `HUP`, `KILL`.
    pub signal: &'static str,
    /// Then KILL after this time.
    pub within: Duration,
}

/// Something the system calls, through us.
#[derive(Debug)]
pub struct Dependency {
    /// Its name in `{dependency.NAME.url}`.
    pub name: Arc<str>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its role, by which scenarios name it.
    pub role: Option<Arc<str>>,
    /// What stands behind the proxy.
    pub upstream: Upstream,
    /// TLS towards the system.
    pub tls: Option<TlsFront>,
    /// A fixed address to listen on; an ephemeral loopback port otherwise.
    pub listen: Option<SocketAddr>,
    /// Virtual-host style: the host name suffix whose first label is the bucket (S3 only).
    pub virtual_host: Option<String>,
    /// Buckets that the embedded S3 server has from the start.
    pub buckets: Vec<String>,
    /// What the embedded PostgreSQL server runs before the system starts.
    pub schema: Option<String>,
    /// What the embedded sink answers: status and body.
    pub answer: Option<(u16, String)>,
    /// The app that the system speaks for (Pusher only).
    pub app: Option<PusherApp>,
    /// What is the key of a statement or command, where the protocol's own is not wanted.
    pub key: Option<KeyFrom>,
    /// What is kept of each request, by name.
    pub capture: BTreeMap<String, Capture>,
    /// What its owner says its clients do.
    pub policy: Option<Declared>,
    /// Hosts that are wired into libraries: the forward proxy leads them here.
    pub hosts: Vec<HostPattern>,
    /// Where it is declared.
    pub span: Span,
}

/// An app of Pusher Channels: its names, and how the embedded server serves it.
#[derive(Debug, Clone)]
pub struct PusherApp {
    /// Its id, in the paths of the HTTP API.
    pub id: String,
    /// Its key, by which clients name it.
    pub key: String,
    /// Its secret, with which servers sign.
    pub secret: String,
    /// How long a connection may be silent before it is pinged.
    pub activity_timeout: Duration,
    /// Where webhooks are sent.
    pub webhook: Option<Template>,
}

/// TLS towards the system, with a certificate of the run's throw-away CA.
#[derive(Debug, Clone, Default)]
pub struct TlsFront {
    /// Names on the certificate beside `localhost` and the loopback addresses.
    pub names: Vec<String>,
}

/// What stands behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// A built-in server, by name: `"s3"` for `embedded` on S3, `"sink"` for `embedded:sink`,
    /// which records messages.
    Embedded(&'static str),
    /// `127.0.0.1:5432`, or a URL, with TLS for `https`.
    Address {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Whether we speak TLS to it.
        tls: bool,
    },
    /// One of the system's own instances: `instance:primary`.
    Instance(Arc<str>),
}

/// What is the key of a statement or command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrom {
    /// The n-th argument of a Redis command, its name being none: `argument:1`.
    Argument(usize),
    /// The n-th bound parameter of a statement: `parameter:1`.
    Parameter(usize),
}

/// What is kept of a request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// A request header, by lower-case name: `header:x-amz-meta-version`.
    Header(String),
    /// A response header: `response-header:etag`.
    ResponseHeader(String),
    /// A JSON pointer into the response body (loads), or into a message or the body that publishes
    /// one (Channels): `json:/id`.
    Json(String),
    /// A template variable of the request (loads only): `var:bot`.
    Var(String),
    /// The object's key (dependencies only): `key`.
    Key,
    /// The n-th bound parameter of a statement, from 1, as text (SQL dependencies only):
    /// `parameter:1`.
    Parameter(usize),
}

/// A load driven at the system.
#[derive(Debug, Clone)]
pub struct Load {
    /// Its name.
    pub name: Arc<str>,
    /// Operations a second, open loop.
    pub rate: Rate,
    /// When they begin.
    pub arrivals: Arrivals,
    /// What is asked.
    pub request: RequestTemplate,
    /// Variables of the template.
    pub vars: BTreeMap<String, Var>,
    /// No answer within this time is indeterminate.
    pub timeout: Duration,
    /// What counts as which outcome.
    pub outcomes: Outcomes,
    /// When a refused request is asked again.
    pub again: Option<Again>,
    /// A second request that must come true after the first: reading back what was written.
    pub follow: Option<Follow>,
    /// What is kept of each operation, by name.
    pub capture: BTreeMap<String, Capture>,
    /// The most operations in flight; beyond it operations are missed, and counted as such.
    pub in_flight_max: usize,
    /// Where it is declared.
    pub span: Span,
}

impl Load {
    /// How long an operation may take until its outcome is known.
    pub fn patience(&self) -> Duration {
        let again = self.again.as_ref();
        let asked = again.map_or(self.timeout, |again| again.within + self.timeout);
        let follow = self.follow.as_ref();
        follow.map_or(asked, |follow| asked.max(follow.within))
    }
}

/// When operations begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// A Poisson process.
    Poisson,
}

/// A request with placeholders: `{name}` of `vars`, `{uuid}`, `{nth}`.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: Template,
    /// Headers. A `json` body brings its `content-type` where the file names none.
    pub headers: Vec<(String, Template)>,
    /// The body: JSON already rendered as text with values escaped as they are filled in, or text
    /// as written.
    pub body: Option<Template>,
}

/// A variable of a request template.
#[derive(Debug, Clone, PartialEq)]
pub enum Var {
    /// A number from 1 to `of`, Zipf-distributed with this exponent (0: uniform).
    Zipf {
        /// The exponent.
        exponent: f64,
        /// The greatest number.
        of: u64,
    },
    /// One of these texts, evenly.
    OneOf(Vec<String>),
    /// 1, 2, 3 … up to `of`, then again.
    Sequence {
        /// The greatest number.
        of: u64,
    },
}

/// What counts as which outcome. An answer that is neither `degraded` (asked first) nor `ok` is
/// failed; no answer in time is indeterminate.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// What is ok; by default any 2xx.
    pub ok: Rule,
    /// What is a fallback's answer.
    pub degraded: Option<Rule>,
    /// The greatest share that fallbacks may answer while all is well; `None`: as many as are few (see
    /// `expectation::judge`).
    pub usually_degraded: Option<Share>,
}

/// A rule over an answer; all parts must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// The status.
    pub status: StatusSet,
    /// Headers (lower case) and their values, with `*`.
    pub header: Vec<(String, String)>,
    /// JSON pointers into the body, and what must stand there.
    pub json: Vec<(String, ValueMatch)>,
}

/// Statuses: `"200"`, `"2xx"`, `"200,202"`, `"200-299"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(pub Vec<std::ops::RangeInclusive<u16>>);

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

impl StatusSet {
    /// Whether it holds this status.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// What a JSON value must be. Written `"ok"`, `"> 3"`, `">= {version}"`, `"!= x"`.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueMatch {
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`. Order comparisons are of numbers.
    pub comparison: &'static str,
    /// The other side; may hold `{captured}` values.
    pub value: Template,
}

/// A refused request is asked again, the same in every byte, as a client does that has a key for
/// what it wants: the operation is what the last answer says, and its latency ends there.
#[derive(Debug, Clone)]
pub struct Again {
    /// Which statuses are refusals.
    pub status: StatusSet,
    /// The time from one asking to the next.
    pub every: Duration,
    /// Counted from the operation's intended start; a refusal later than that is the last.
    pub within: Duration,
}

/// A request repeated until it comes true: the operation is ok only then, and its latency ends
/// there.
#[derive(Debug, Clone)]
pub struct Follow {
    /// What is asked; captures of the first answer are placeholders.
    pub request: RequestTemplate,
    /// What must come true.
    pub until: Rule,
    /// How often it is asked.
    pub every: Duration,
    /// Counted from the operation's intended start; then the operation failed.
    pub within: Duration,
}

/// The door for other people's load.
#[derive(Debug)]
pub struct Ingress {
    /// A fixed address, else an ephemeral loopback port, printed at start.
    pub listen: Option<SocketAddr>,
    /// What counts as which outcome.
    pub outcomes: Outcomes,
    /// No answer within this time is indeterminate.
    pub timeout: Duration,
    /// The name under which its operations are judged, like a load's.
    pub name: Arc<str>,
}

/// An outage and what is required in it.
#[derive(Debug)]
pub struct Scenario {
    /// Where it came from.
    pub source: Source,
    /// Its title.
    pub title: String,
    /// The incident it replays.
    pub incident: Option<Incident>,
    /// Two or three sentences for a reviewer.
    pub story: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// What happens, in order; the first is steady, the last is the recovery.
    pub phases: Vec<Phase>,
    /// What is required.
    pub expects: Vec<Expect>,
    /// How long everything must hold before recovery counts.
    pub hold: Duration,
}

/// The incident a scenario replays.
#[derive(Debug, Clone)]
pub struct Incident {
    /// Whose.
    pub who: String,
    /// When, as ISO date.
    pub on: String,
    /// Where it is described.
    pub source: Option<String>,
}

/// A stretch of time with its faults.
#[derive(Debug)]
pub struct Phase {
    /// Its name.
    pub name: Arc<str>,
    /// How long.
    pub lasts: Lasts,
    /// Whether it is the baseline.
    pub steady: bool,
    /// Whether the outage is over and its faults are what the recovery meets.
    pub aftermath: bool,
    /// What it stands for on the real clock.
    pub happened: Option<String>,
    /// Loads whose rate it changes, and the factor.
    pub loads: Vec<(Arc<str>, f64)>,
    /// Its faults.
    pub faults: Vec<FaultSpec>,
    /// Where it is declared.
    pub span: Span,
}

/// How long a phase lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// This long, divided by `--speed`.
    For(Duration),
    /// Until every steady-state criterion held for `hold`, at most this long. Not sped up.
    UntilSteady {
        /// The limit.
        at_most: Duration,
    },
}

impl Lasts {
    /// The whole length, or its limit.
    pub const fn at_most(self) -> Duration {
        match self {
            Self::For(length) => length,
            Self::UntilSteady { at_most } => at_most,
        }
    }
}

/// What a fault is put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// These dependencies, by index into [`System::dependencies`]: all of a role, or one by name.
    Dependencies(Vec<usize>),
    /// An instance, by name.
    Instance(Arc<str>),
}

/// One `[[phase.fault]]`.
#[derive(Debug)]
pub struct FaultSpec {
    /// Its number within the scenario.
    pub id: FaultId,
    /// The kind's name.
    pub kind: &'static str,
    /// One line for people: `hang on object-store, PutObject, 30%`.
    pub label: String,
    /// What it has in common with the same fault in another phase: its kind and all parameters but
    /// those that say how many it hits.
    pub likeness: String,
    /// What `on` said.
    pub on: String,
    /// What it is put on.
    pub target: Target,
    /// The gate.
    pub gate: Gate,
    /// The kind with its parameters, one per dependency of the target (their protocols may
    /// differ), in the target's order; one for an instance.
    pub behaviours: Vec<Arc<dyn Behaviour>>,
    /// Where it is declared.
    pub span: Span,
}

/// One `[[expect]]`.
#[derive(Debug)]
pub struct Expect {
    /// Its id.
    pub id: Arc<str>,
    /// What it says, for people.
    pub that: String,
    /// The kind's name.
    pub kind: &'static str,
    /// The kind with its parameters.
    pub expectation: Box<dyn Expectation>,
    /// The phases it is judged over, by index; empty: the kind's default.
    pub during: Vec<usize>,
    /// Where it is declared.
    pub span: Span,
    /// From its header to the end of its last value.
    pub extent: Span,
}
