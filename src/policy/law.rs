//! The laws of pauses between attempts, and how pauses are spread at random.
//!
//! The k-th pause before jitter is d(k): the same each time (fixed), base + increment·(k − 1)
//! (linear), or base·factor^(k − 1) (exponential), at most the cap. Jitter draws the pause from
//! d(k): the names and the shapes "full", "equal" and "decorrelated" are those of M. Brooker,
//! "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); a part of the pause either way
//! is what OpenAI's and PostgreSQL's clients do, a fixed amount on top what tenacity's
//! `wait_exponential_jitter` and stamina do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// There are none: the next attempt follows at once.
    None,
    /// Not at all.
    Fixed,
    /// By the same amount each time.
    Linear,
    /// By the same factor each time.
    Exponential,
}

/// How pauses are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    /// Not at all.
    None,
    /// Anywhere from nothing to the whole pause.
    Full,
    /// From half the pause to the whole.
    Equal,
    /// Within a part of the pause either way.
    Proportional,
    /// Up to the same amount on top of every pause.
    Additive,
    /// Between the base and three times the pause before.
    Decorrelated,
}

impl Law {
    /// Every law.
    pub const ALL: [Self; 4] = [Self::None, Self::Fixed, Self::Linear, Self::Exponential];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fixed => "fixed",
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        }
    }
}

impl Jitter {
    /// Every jitter.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Full,
        Self::Equal,
        Self::Proportional,
        Self::Additive,
        Self::Decorrelated,
    ];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Equal => "equal",
            Self::Proportional => "proportional",
            Self::Additive => "additive",
            Self::Decorrelated => "decorrelated",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
