//! Reading a person's TOML so that every problem is found in one go.
//!
//! serde stops at the first error and loses the place inside tagged tables; this reader does
//! neither. A [`Source`] is a file with its text; [`Fields`] hands out the values of one table by
//! declared [`Key`]s and appends whatever is wrong to [`Problems`]: unknown keys (with a "did you
//! mean"), missing ones, wrong types, bad units. The same `Key`s make the JSON Schema and the text
//! of `brownout list`, so that the three cannot drift apart.
//!
//! Nothing here touches a file or prints.

mod about;
mod fields;
mod key;
mod problem;
mod redacted;
mod render;
mod secret;
mod suggest;

pub use about::About;
pub use fields::{Fields, Item, parse_factor};
pub use key::{Key, Shape};
pub use problem::{Problem, Problems, Severity, Source, Span};
pub use redacted::redacted;
pub use render::render;
pub(crate) use secret::{HIDDEN, is_named_after_a_secret, line_without_secrets, without_secrets};
pub use suggest::{did_you_mean, hint_among};
