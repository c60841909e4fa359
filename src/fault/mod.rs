//! Faults: events in, decisions out. Nothing here waits, writes or knows a socket.
//!
//! A [`Behaviour`] is one kind of fault with its parameters; the gate in front of it (`when`,
//! `share`, `first`, `every`, `after`) is the same for all kinds and lives in [`gate`]. A
//! [`FaultSet`] is what is in force for one dependency at one time; a [`Switch`] hands the
//! current set to the proxies, which carry decisions out.
//!
//! A new fault is one file and two adjacent lines here: its `mod` and its entry in [`FAULTS`].

mod ambiguous_write;
mod bandwidth;
mod check;
mod close;
mod corrupt;
mod decision;
mod drop;
mod empty_reply;
mod error;
mod error_in_200;
mod garbage;
pub mod gate;
mod hang;
mod keys;
mod kill;
mod lane;
mod late_reply;
mod latency;
mod law;
mod lost_reply;
mod max_connections;
mod mysql;
mod no_accept;
pub mod overload;
mod pause;
mod quota;
mod redis;
mod refusal;
mod refuse;
mod reply;
mod reset;
pub mod restart;
mod resume;
mod set;
mod shut;
mod slice;
mod sqlstate;
mod stale_reply;
mod stall;
mod stalled_body;
mod start;
mod switch;
mod truncate;
mod truncated_body;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod sample;

pub use decision::{
    Acts, Closing, ConnectionEvent, Decision, Direction, End, Hit, Latency, ListenerState, Reply,
    StreamEffect, StreamPlan, StreamShape, Then, Turn,
};
pub use gate::{By, Gate, Matcher, Ramp, wildcard};
pub use lane::{Lane, Member};
pub use law::Law;
pub use quota::Memory;
pub use set::{Active, FaultId, FaultSet};
pub use shut::{refuses, shut};
pub use switch::Switch;

use crate::{
    input::{About, Fields, Key, Problems},
    protocol::{Call, Protocol},
    units::Micros,
};
use std::{fmt, sync::Arc, time::Duration};

/// What a behaviour may draw upon when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Now.
    pub now: Micros,
    /// When the fault came into force.
    pub armed: Micros,
    /// How much of the phase is over, 0 to 1: what a ramp follows.
    pub progress: f64,
    /// What belongs to (seed, fault, logical event) alone, for those who need many numbers: see
    /// `seed::Seed::generator`.
    pub stream: (crate::seed::Seed, u64, u64),
}

impl Context {
    /// For how long the fault has been in force.
    pub fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_micros(self.now.0.saturating_sub(self.armed.0))
    }

    /// A number in [0, 1) that belongs to (seed, fault, logical event) alone. Drawn only when it is
    /// asked for, because most kinds need none and every event passes here.
    pub fn coin(&self) -> f64 {
        let (seed, name, key) = self.stream;
        seed.coin(name ^ 1, key)
    }
}

/// One kind of fault with its parameters. A behaviour is asked only for events that its gate let
/// through. Each method's default is "this kind has nothing to say there".
pub trait Behaviour: Send + Sync + fmt::Debug {
    /// The state in which the listener must be while this fault is in force.
    fn listener(&self, _context: &Context) -> Option<ListenerState> {
        None
    }

    /// Asked when a connection is accepted, and again about every open connection when the fault
    /// comes into force.
    fn connection(&self, _event: &ConnectionEvent, _context: &Context) -> Option<Decision> {
        None
    }

    /// Asked when a request's head was read, before anything is forwarded.
    fn request(&self, _call: &Call, _context: &Context) -> Option<Decision> {
        None
    }

    /// Told of every request that its `when` matches, before anybody is asked about it: also of
    /// those that another fault or a refusal takes, or that a share leaves out. Told again where a
    /// request is asked about again. Only where it [`Behaviour::notes_requests`].
    fn note(&self, _call: &Call) {}

    /// Whether it wants to be told of requests that it is not asked about.
    fn notes_requests(&self) -> bool {
        false
    }

    /// What happens to the bytes of a connection, asked when it is accepted and again when the
    /// set changes. A ramp is asked again as it moves.
    fn stream(
        &self,
        _event: &ConnectionEvent,
        _context: &Context,
    ) -> Vec<(Direction, StreamShape)> {
        Vec::new()
    }

    /// The behaviour that is asked while this is in force on a dependency, where it remembers
    /// anything: what a file says remembers nothing, as it may be read once for several runs.
    /// `None`: it is asked itself.
    fn armed(
        &self,
        _memory: &mut Memory,
        _dependency: &str,
        _at: Micros,
    ) -> Option<Arc<dyn Behaviour>> {
        None
    }

    /// Told that a request on which it did not act is over, with so many bytes of its bodies; only
    /// where it [`Behaviour::counts`].
    fn ended(&self, _call: &Call, _bytes: u64, _now: Micros) {}

    /// Told that a connection is over; only where it [`Behaviour::counts`].
    fn closed(&self, _connection: u64) {}

    /// Whether it wants to be told of what is over.
    fn counts(&self) -> bool {
        false
    }

    /// What is worth noting in the history since this was last asked, each with its moment, beside
    /// the events it acted on.
    fn notes(&self) -> Vec<(Micros, String)> {
        Vec::new()
    }

    /// What the dependency can carry while this is in force; a kind that says so gives each
    /// request a [`Turn`].
    fn capacity(&self) -> Option<&Arc<overload::Capacity>> {
        None
    }

    /// Whether what it decides changes with the time it has been in force, beside what its gate
    /// ramps.
    fn moves(&self) -> bool {
        false
    }

    /// How long it takes to play all that it is; of a phase that is over before, `check` warns.
    fn takes(&self) -> Duration {
        Duration::ZERO
    }

    /// Which of the methods above it answers. Kinds that say so narrowly keep the proxies fast.
    fn acts(&self) -> Acts {
        Acts::ANYTHING
    }

    /// What it does to a process; `None` for all faults on the wire.
    fn process(&self) -> Option<ProcessAction> {
        None
    }
}

/// What a process fault does to an instance when its phase begins. `pause` is undone when the
/// phase ends; `kill` is undone only where the fault says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessAction {
    /// SIGKILL to the whole group; started again when lifted if `restart`.
    Kill {
        /// Whether the instance is started again when the phase ends.
        restart: bool,
    },
    /// SIGSTOP to the whole group, SIGCONT when the phase ends.
    Pause {
        /// Whether it stays stopped until a later phase's [`ProcessAction::Resume`], or the end
        /// of the run.
        until_resume: bool,
    },
    /// Start an instance that is not running.
    Start,
    /// SIGCONT now, for an instance paused in an earlier phase with `until = "resume"`.
    Resume,
}

/// The groups of DESIGN 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// A connection's life.
    Connection,
    /// The bytes, whatever they mean.
    Stream,
    /// Single requests and answers.
    Message,
    /// What a dependency can carry.
    Capacity,
    /// Instances.
    Process,
}

/// Reads a kind's own keys.
pub type Parse = fn(&Fields<'_>, Protocol, &Gate, &mut Problems) -> Option<Box<dyn Behaviour>>;

/// A kind of fault: what files may name, what `list faults` prints, and how it is read.
pub struct FaultDef {
    /// The kind's name.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// One line.
    pub summary: &'static str,
    /// The long text of `explain`.
    pub about: About,
    /// A `[[phase.fault]]` table that parses on `example_protocol`.
    pub example: &'static str,
    /// A protocol that carries the example.
    pub example_protocol: Protocol,
    /// The kind's own keys, beside those of [`gate::KEYS`].
    pub keys: &'static [Key],
    /// The keys of the gate that it cannot take, each with the hint that says what would work.
    pub refuses: &'static [(&'static str, &'static str)],
    /// The parameters that it can ramp, beside `share`.
    pub ramps: &'static [&'static str],
    /// Whether the protocol can carry it; else the hint that says what would work.
    pub carried_by: fn(Protocol) -> Result<(), &'static str>,
    /// Reads the kind's own keys. `None` if any was wrong; the problems say what.
    pub parse: Parse,
}

impl FaultDef {
    /// Reads the fault as it acts on a dependency of this protocol: whether the protocol can carry
    /// it, whether it can be gated so, and the kind's own keys. `fields` is the whole table, opened
    /// with [`gate::KEYS`] and [`FaultDef::keys`]. `None` if anything was wrong.
    ///
    /// A fault on a role is read once for each protocol that plays it. For faults on instances the
    /// protocol does not matter.
    pub fn read(
        &self,
        fields: &Fields<'_>,
        protocol: Protocol,
        gate: &Gate,
        problems: &mut Problems,
    ) -> Option<Arc<dyn Behaviour>> {
        let before = problems.as_slice().len();
        if self.group != Group::Process
            && let Err(hint) = (self.carried_by)(protocol)
        {
            let message = format!("`{}` cannot act on the protocol {protocol}", self.name);
            fields.problem(problems, "kind", message, hint.to_owned());
        }
        check::gate(self, fields, protocol, gate, problems);
        let behaviour = (self.parse)(&fields.also(self.keys), protocol, gate, problems);
        let clean = problems.as_slice().len() == before;
        behaviour.filter(|_| clean).map(Arc::from)
    }
}

/// What a share is drawn for where the file does not say: single requests where the proxy sees
/// them, else connections.
pub fn default_by(protocol: Protocol) -> By {
    if protocol.has_messages() {
        By::Request
    } else {
        By::Connection
    }
}

/// Every kind of fault, in the order listed.
pub const FAULTS: &[FaultDef] = &[
    refuse::DEF,
    no_accept::DEF,
    hang::DEF,
    reset::DEF,
    close::DEF,
    max_connections::DEF,
    latency::DEF,
    bandwidth::DEF,
    slice::DEF,
    truncate::DEF,
    corrupt::DEF,
    stall::DEF,
    error::DEF,
    lost_reply::DEF,
    late_reply::DEF,
    ambiguous_write::DEF,
    stalled_body::DEF,
    truncated_body::DEF,
    empty_reply::DEF,
    error_in_200::DEF,
    stale_reply::DEF,
    garbage::DEF,
    drop::DEF,
    overload::DEF,
    restart::DEF,
    quota::DEF,
    kill::DEF,
    pause::DEF,
    resume::DEF,
    start::DEF,
];

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static FaultDef> {
    FAULTS.iter().find(|def| def.name == name)
}
