//! What happened: observations, written to a file as they happen, and read back to be judged.
//!
//! The file is JSON Lines, one [`Observation`] a line, the first a [`Observation::Run`] with the
//! texts of scenario and system, so that a history can be judged on another machine and after
//! `kill -9`. Times are microseconds since the run began ([`Micros`](crate::units::Micros)).

mod backlog;
mod call;
mod error;
mod held_up;
mod index;
mod ledger;
mod line;
mod observation;
mod packed;
mod quick;
mod read;
mod recorder;
mod schema;
mod selection;
mod shared;
mod stall;
mod steady;
mod view;
mod writer;
mod writes;

pub mod sample;

pub use backlog::{BACKLOG_STEP, Drained};
pub use call::{GAP_MAX, LogicalCall, NOTED_LATE, calls};
pub use error::HistoryError;
pub use held_up::HeldUp;
pub use index::{FaultSpan, History, Missed, PhaseSpan, UNLISTED_MAX, UnlistedHost};
pub use ledger::{Account, Counts, Curve, Entry, Fate, Progress};
pub use packed::{PACK_BEYOND, open, pack, packed, place_of};
pub use recorder::{Recorder, listen};
pub use schema::HISTORY_SCHEMA;
pub use selection::Selection;
pub use stall::{Stalled, Stalls};
pub use steady::{Criteria, SHOWN_BY, Steady};
pub use view::{View, Window};
pub use writer::{Writer, Written};
pub use writes::{EXAMPLES_MAX, Witness, WriteAccount, WriteExample, WriteFate, WriteWindow};

pub use observation::{
    Attempt, AttemptEnd, COMPLETED, Connection, Gauge, HISTORY_VERSION, Intervention, Listing,
    Machine, Measure, Message, Moment, Observation, Operation, Outcome, ProbeSample, ProcessEvent,
    QueueSample, Reading, Run, Source, Unlisted, Waited,
};
