//! The system's instances: start, ready, signal, stop, and nothing left behind.
//!
//! A [`Keeper`] starts instances in process groups of their own, never through a shell, captures
//! their output, notices their exits at once, and takes everything down on every way out. Where
//! the harness itself is killed with `kill -9`, the [`guard`] does it: a small process in its own
//! session that waits for the end of a pipe.
//!
//! It knows nothing of scenarios or verdicts; what happens is recorded as
//! [`ProcessEvent`](crate::history::ProcessEvent)s. It does not isolate: an instance runs with our
//! rights, in our file system and network.

mod delay;
pub mod guard;
mod keeper;
mod output;
pub mod program;
mod readiness;
mod spec;
mod table;

pub use delay::{Delay, DelayMeter};
pub use keeper::{Keeper, Meter};
pub(crate) use readiness::accepts;
pub use spec::{InstanceSpec, Readiness, SignalError, StartError};

/// The variable that holds what clients of `brownout serve` must know. No program that is started is
/// handed it with our environment: whoever has it can drive the server.
pub const TOKEN: &str = "BROWNOUT_TOKEN";
