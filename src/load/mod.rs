//! Open-loop load: a pure schedule, and a driver that keeps it.
//!
//! A [`Schedule`] says when each operation of a load should begin and with which values; it never
//! waits and is a function of load, seed and start alone. [`drive`] begins every operation at its
//! time whatever the answers do, and counts latency from the intended start, so that a system
//! that stalls cannot hide its stall by slowing its clients down.
//!
//! It does not judge beyond a load's own outcome rules, follows no redirects, keeps no cookies,
//! and speaks HTTP/1.1 without TLS.

mod base;
mod driver;
mod exchange;
mod operation;
mod pool;
mod request;
mod schedule;
#[cfg(test)]
mod tests;

pub use base::Base;
pub use driver::{Driver, GRACE, drive, late_max};
pub use exchange::{DRAIN_BYTES_MAX, ran_out};
pub use schedule::{Planned, Schedule};
