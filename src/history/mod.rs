//! What happened: observations, written to a file as they happen, and read back to be judged.
//!
//! The file is JSON Lines, one [`Observation`] a line, the first a [`Observation::Run`] with the
//! texts of scenario and system, so that a history can be judged on another machine and after
//! `kill -9`. Times are microseconds since the run began ([`Micros`]).

mod observation;
mod recorder;
mod view;

pub use recorder::Recorder;
pub use view::View;

pub use observation::{
    Attempt, AttemptEnd, Connection, HISTORY_VERSION, Intervention, Message, Moment, Observation,
    Operation, Outcome, ProbeSample, ProcessEvent, Run, Source,
};
