//! Brownout rehearses outages: it makes a system's dependencies fail the way real ones have
//! failed, drives load at the system meanwhile, and says with evidence whether its time-outs,
//! fallbacks and recovery behaved as required.
//!
//! The line, left to right, with no way back:
//!
//! ```text
//! TOML -parse-> Draft -validate-> Scenario -plan-> Timeline -run-> History -judge-> Verdicts -> Report
//! ```
//!
//! In reading order:
//!
//! - [`units`], [`seed`], [`input`]: values with units, named random streams, reading TOML with all
//!   its problems in one go. They know nothing of the rest.
//! - [`statistics`]: what few repeats can show; pure numbers.
//! - `dial`: connects of our own, and how many of them failed.
//! - `timer`: waits that end within a tenth of a millisecond of their moment.
//! - [`protocol`]: bytes to messages and error replies; no sockets.
//! - [`fault`]: events to decisions; never waits.
//! - [`policy`]: history to what clients did: time-outs, attempts, back-off; pure.
//! - [`expectation`]: history to verdicts; pure.
//! - [`metastability`]: histories to the boundary beyond which a system does not come back; pure.
//! - [`selftest`]: verdicts on systems that are known, held against what is known; pure.
//! - [`scenario`]: files to a valid scenario and its timeline.
//! - [`history`]: what happened, written as it happens.
//! - [`proxy`], [`load`], [`process`], `embedded`: what touches the world.
//! - `otel`: what the system asked, as spans in the team's own traces.
//! - [`run`]: joins them; heals on every way out.
//! - [`rehearsal`]: for others' tests: proxies, faults and scenarios as a library.
//! - [`report`]: history and verdicts to bytes.
//! - [`control`]: proxies without a scenario, switched by hand or by somebody's tests.
//! - [`cli`]: the command line, the only part that prints or exits.
//! - `reference`: small honest systems that the shipped scenarios are run against.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod control;
mod dial;
#[cfg(feature = "demo")]
pub mod embedded;
pub mod expectation;
pub mod fault;
#[cfg(all(feature = "cli", any(test, fuzzing)))]
pub mod fuzzing;
pub mod history;
pub mod input;
pub mod load;
pub mod matrix;
pub mod metastability;
#[cfg(feature = "otel")]
pub mod otel;
pub mod policy;
pub mod process;
pub mod protocol;
pub mod proxy;
#[cfg(feature = "demo")]
pub mod reference;
pub mod rehearsal;
#[cfg(feature = "cli")]
pub mod report;
pub mod run;
pub mod scenario;
pub mod seed;
pub mod selftest;
pub mod statistics;
mod timer;
pub mod units;

/// The examples of the documentation, carried out as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/how-to/rust.md")]
struct HowToRust;
