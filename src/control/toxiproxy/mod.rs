//! Toxiproxy's HTTP API, answered as its clients depend on it, and the proxies and toxics behind it.
//!
//! What the server that the clients know does wrong is not kept: here a removal never waits for a
//! connection, odd attributes break nothing, what connections hold is bounded, a reset comes only
//! from a toxic that fires, the seed decides, bytes are counted as they go, one slow server keeps
//! nobody else waiting, and a half-close stays one.

mod address;
mod api;
mod attributes;
mod counters;
mod engine;
mod failure;
mod faults;
pub(crate) mod json;
mod metrics;
mod placed;
mod proxies;
pub(crate) mod toxics;

pub use api::Metrics;
pub(crate) use api::{Api, Asked, Reply};
pub(crate) use counters::{Counter, Counters};
pub(crate) use faults::OF_TOXICS;
pub(crate) use placed::{Line, Placed};
pub(crate) use proxies::{Common, Proxies, Seen};
pub(crate) use toxics::Ending;

/// Reads a body that asks for a toxic, and says whether there is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_toxic(body: &[u8]) -> bool {
    Placed::read(body, ("proxy", 1, crate::seed::Seed(1))).is_ok()
}

/// The version of Toxiproxy whose API this is. Clients choose by it what they may ask for.
pub const VERSION: &str = "2.12.0";

/// The port that its clients expect.
pub const PORT: u16 = 8474;
