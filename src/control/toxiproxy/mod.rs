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

/// Reads a body that asks for a toxic, and says whether there is one of those that know no protocol.
///
/// # Panics
/// What is listed of it is not what it is.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_toxic(body: &[u8]) -> bool {
    let Ok(node) = json::Node::read(body) else {
        return false;
    };
    faults::feed(&node);
    let place = ("proxy", 1, crate::seed::Seed(1));
    let Ok(toxic) = Placed::asked(&node, place, |_| false) else {
        return false;
    };
    let listed = json::written(&toxic);
    let again = json::Node::read(listed.as_bytes()).expect("what is listed is JSON");
    let again = Placed::asked(&again, place, |_| false).expect("what is listed can be asked for");
    assert_eq!(json::written(&again), listed, "asked for as it is listed");
    toxic.updated(&node).is_ok()
}

/// Reads a body that asks for a proxy, and one that asks for many, with their toxics; says how many
/// there are.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_proxies(body: &[u8]) -> usize {
    proxies::feed(body)
}

/// The version of Toxiproxy whose API this is. Clients choose by it what they may ask for.
pub const VERSION: &str = "2.12.0";

/// The port that its clients expect.
pub const PORT: u16 = 8474;
