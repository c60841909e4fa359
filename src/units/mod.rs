//! Values that carry their unit in the text: `"250ms"`, `"64KiB/s"`, `"5%"`, `"40/s"`.
//!
//! A bare number is never a duration or a rate here: the reader of a scenario must not have to
//! guess. Every type prints back as a text that parses to the same value.

mod amount;
mod moment;
mod time;

pub use amount::{Bandwidth, Bytes, Rate, Share};
pub use moment::Micros;
pub use time::{format_duration, parse_duration};

/// Why a text is not a value of the wanted unit. The message is a lower-case fragment that says
/// what was expected, so that it can follow `key: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(pub String);
