//! Faults: events in, decisions out. Nothing here waits, writes or knows a socket.
//!
//! A [`Behaviour`] is one kind of fault with its parameters; the gate in front of it (`when`,
//! `share`, `first`, `every`, `after`) is the same for all kinds and lives in [`gate`]. A
//! [`FaultSet`] is what is in force for one dependency at one time; a [`Switch`] hands the
//! current set to the proxies, which carry decisions out.
//!
//! A new fault is one file and two adjacent lines here: its `mod` and its entry in [`FAULTS`].

mod decision;
pub mod gate;
mod law;
mod set;
mod switch;

pub use decision::{
    Closing, ConnectionEvent, Decision, Direction, End, Latency, ListenerState, Reply,
    StreamEffect, StreamPlan, StreamShape, Then,
};
pub use gate::{By, Gate, Matcher, wildcard};
pub use law::Law;
pub use set::{Active, FaultId, FaultSet};
pub use switch::Switch;

use crate::{
    input::{Fields, Key, Problems},
    protocol::{Call, Protocol},
    units::Micros,
};
use std::fmt;

/// What a behaviour may draw upon when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Now.
    pub now: Micros,
    /// How much of the phase is over, 0 to 1: what a ramp follows.
    pub progress: f64,
    /// Two random numbers in [0, 1) that belong to (seed, fault, logical event) alone.
    pub dice: [f64; 2],
    /// The seed material for further numbers: see `seed::Seed::generator`.
    pub stream: (crate::seed::Seed, u64, u64),
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

    /// What happens to the bytes of a connection, asked when it is accepted and again when the
    /// set changes. A ramp is asked again as it moves.
    fn stream(&self, _event: &ConnectionEvent, _context: &Context) -> Vec<StreamEffect> {
        Vec::new()
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
    Pause,
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
    /// Instances.
    Process,
}

/// A kind of fault: what files may name, what `list faults` prints, and how it is read.
pub struct FaultDef {
    /// The kind's name.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// One line.
    pub summary: &'static str,
    /// A `[[phase.fault]]` table that parses on `example_protocol`.
    pub example: &'static str,
    /// A protocol that carries the example.
    pub example_protocol: Protocol,
    /// The kind's own keys, beside those of [`gate::KEYS`].
    pub keys: &'static [Key],
    /// Whether the protocol can carry it; else the hint that says what would work.
    pub carried_by: fn(Protocol) -> Result<(), &'static str>,
    /// Reads the kind's own keys. `None` if any was wrong; the problems say what.
    pub parse: fn(&Fields<'_>, Protocol, &Gate, &mut Problems) -> Option<Box<dyn Behaviour>>,
}

/// Every kind of fault, in the order listed.
pub const FAULTS: &[FaultDef] = &[];

/// The entry of this name.
pub fn find(name: &str) -> Option<&'static FaultDef> {
    FAULTS.iter().find(|def| def.name == name)
}
