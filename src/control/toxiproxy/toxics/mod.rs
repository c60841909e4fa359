//! The toxics that Toxiproxy's users know, one a file, and what they have in common.
//!
//! A toxic here is what stands in one direction of one connection: it looks at what is at the front
//! of its queue and says what becomes of it. It owns no socket and never waits; whoever asks it
//! brings the time.

mod bandwidth;
mod latency;
mod limit_data;
mod noop;
mod packet_loss;
mod reset_peer;
mod slicer;
mod slow_close;
mod timeout;

use super::attributes::{Attributes, Field};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tokio::time::Instant;

/// Every toxic, in the order of their names.
pub(crate) const KINDS: &[&Kind] = &[
    &bandwidth::KIND,
    &latency::KIND,
    &limit_data::KIND,
    &noop::KIND,
    &packet_loss::KIND,
    &reset_peer::KIND,
    &slicer::KIND,
    &slow_close::KIND,
    &timeout::KIND,
];

/// What a toxic without a reason to hold more holds, in bytes of one direction of a connection.
/// Then it takes no more, and its sender feels it.
pub(crate) const HOLD_BYTES: usize = 64 * 1024;

/// The longest time that an attribute can ask for: a year. What asks for more gets this.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A kind of toxic.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its `type`.
    pub(crate) name: &'static str,
    /// Its attributes, in the order in which they are answered.
    pub(crate) fields: &'static [Field],
    /// How many bytes it may hold in one direction of a connection.
    pub(crate) holds: usize,
    /// Begins to act on one direction of a connection.
    pub(crate) begin: fn(Beginning<'_>) -> Box<dyn Toxic>,
}

impl Kind {
    /// The kind of this `type`.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().copied().find(|kind| kind.name == name)
    }
}

/// What a toxic begins with.
pub(crate) struct Beginning<'a> {
    /// Its attributes.
    pub(crate) attributes: &'a Attributes,
    /// The moment.
    pub(crate) now: Instant,
    /// Its own random numbers.
    pub(crate) random: ChaCha8Rng,
}

/// How one direction of a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The sender has sent all. The other direction goes on.
    Half,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
}

/// What is at the front of a toxic's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// So many bytes that arrived together, at least one.
    Bytes(usize),
    /// Nothing follows.
    End,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All of it goes on, as of this moment.
    Pass(Instant),
    /// Its first bytes go on, as of this moment; at least one, and fewer than there are.
    Piece(usize, Instant),
    /// It is thrown away.
    Drop,
    /// It stays until this moment, or until the toxic is changed or removed.
    Stay(Option<Instant>),
    /// It is thrown away with all that follows, and the connection ends.
    End(Ending),
}

/// One direction of one connection, as one toxic treats it.
pub(crate) trait Toxic: Send {
    /// Its attributes are others now.
    fn change(&mut self, attributes: &Attributes, now: Instant);

    /// What becomes of the front of its queue, which came at `arrived`. It is asked again for the
    /// same front until that leaves; where room is short, it is not asked.
    fn step(&mut self, front: Front, arrived: Instant, now: Instant) -> Step;

    /// When it ends the connection though nothing arrives.
    fn ends_at(&self) -> Option<(Instant, Ending)> {
        None
    }

    /// What its removal does to the connection.
    fn removed(&self) -> Option<Ending> {
        None
    }
}

/// This many milliseconds; nothing below zero.
fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0)).min(TIME_MAX)
}

/// This many microseconds; nothing below zero.
fn microseconds(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0)).min(TIME_MAX)
}
