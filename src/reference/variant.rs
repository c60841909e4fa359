//! Which of the two systems a program belongs to.

use super::Refusal;
use std::str::FromStr;

/// Which system it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As it was on the day.
    AsItWas,
    /// With what the post-mortem says was changed.
    Remedied,
}

impl FromStr for Variant {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        match text {
            "as-it-was" => Ok(Self::AsItWas),
            "remedied" => Ok(Self::Remedied),
            other => Err(Refusal::Usage(format!(
                "unknown variant `{other}`; there are `as-it-was` and `remedied`"
            ))),
        }
    }
}
