//! What is said of a client, with how much it rests on.

use super::law::{Jitter, Law};
use crate::units::{Micros, format_duration};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc, time::Duration};

/// One thing that is said of the clients of a dependency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Claim {
    /// The dependency.
    pub dependency: Arc<str>,
    /// The operation; `None` for the dependency as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Arc<str>>,
    /// What their attempts met with, where clients may treat one trouble other than another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// From the first to the last call that it rests on.
    pub window: (Micros, Micros),
    /// What it is about.
    pub aspect: Aspect,
    /// Of which header, or of which other dependency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What is said.
    pub finding: Finding,
    /// How many samples it rests on.
    pub samples: u64,
    /// How the attempts of a call are known to be so.
    pub basis: Basis,
}

/// What marks a guess wherever there is no column for it.
pub(super) const GUESS: &str = " (grouped by time)";

/// What a claim is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// How often a call is tried.
    Attempts,
    /// How often a call is tried at the most, as the client itself says on the wire.
    DeclaredAttempts,
    /// That it is tried as often as the client says.
    AsDeclared,
    /// How long a client waits for a connection to be ready for its first request.
    ConnectTimeout,
    /// How long it waits for the first byte of an answer.
    FirstByteTimeout,
    /// How long it waits for the rest, counted from the first byte.
    BetweenBytesTimeout,
    /// How long a failing call takes, all attempts and pauses together.
    WholeCall,
    /// How long it pauses between attempts.
    BackOff,
    /// That it waits as long as an answer asks.
    RetryAfter,
    /// How many retries it makes before it makes none until calls succeed.
    RetryBudget,
    /// That it tries again what may have been carried out, and would be carried out twice.
    RetriesNonIdempotent,
    /// That it tries again what was refused for good.
    RetriesRefused,
    /// After how many failures a breaker opens.
    BreakerOpens,
    /// How long an open breaker lets nothing through.
    BreakerProbes,
    /// After how many probes in a row that did not fail a breaker closes.
    BreakerCloses,
    /// After what time it sends a second attempt beside the first.
    Hedges,
    /// How long connections take to come back after the dependency does.
    Reconnects,
    /// How long after the dependency as many connections are open as before.
    Restored,
    /// How many connections come in the fullest second then.
    ReconnectPeak,
    /// That connections come back in waves.
    LockStep,
    /// That connections from before an outage are used again after it, and fail.
    StaleConnections,
    /// That another dependency is called instead.
    Fallback,
    /// How much more often a failing dependency is called than before.
    Amplification,
    /// That its behaviour changed half-way.
    Change,
}

impl Aspect {
    /// A heading for people.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Attempts => "attempts a call",
            Self::DeclaredAttempts => "attempts declared",
            Self::AsDeclared => "tries as often as it declares",
            Self::ConnectTimeout => "connect time-out",
            Self::FirstByteTimeout => "first-byte time-out",
            Self::BetweenBytesTimeout => "between-bytes time-out",
            Self::WholeCall => "gives a call up after",
            Self::BackOff => "back-off",
            Self::RetryAfter => "waits as asked",
            Self::RetryBudget => "retry budget",
            Self::RetriesNonIdempotent => "repeats what may have been done",
            Self::RetriesRefused => "repeats what was refused for good",
            Self::BreakerOpens => "breaker opens after",
            Self::BreakerProbes => "breaker stays open for",
            Self::BreakerCloses => "breaker closes after",
            Self::Hedges => "hedging",
            Self::Reconnects => "connections back after",
            Self::Restored => "as many connections as before after",
            Self::ReconnectPeak => "most new connections a second",
            Self::LockStep => "reconnects in lock-step",
            Self::StaleConnections => "uses dead connections",
            Self::Fallback => "falls back on",
            Self::Amplification => "amplification",
            Self::Change => "changed its behaviour",
        }
    }
}

/// What an attempt met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No answer, until the client closed the connection.
    NoAnswer,
    /// An answer that says "too much": 429, a throttling code.
    Throttled,
    /// Another answer that asks to be retried.
    Error,
    /// A connection that broke before the answer was whole.
    Cut,
}

impl Cause {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::Throttled => "throttled",
            Self::Error => "error",
            Self::Cut => "cut",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the attempts of a call are known to be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// By what was seen as such: single attempts, connections.
    Seen,
    /// By the client's own headers.
    Headers,
    /// By their operation, key and time, which is a guess: requests of their own may look like
    /// attempts of one call.
    Grouped,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Finding {
    /// A number of things.
    Count {
        /// The number.
        value: u64,
        /// The least seen.
        low: u64,
        /// The most seen.
        high: u64,
    },
    /// Numbers that differ too much for one of them to be named.
    Range {
        /// The least seen.
        low: u64,
        /// The most seen.
        high: u64,
    },
    /// A time.
    Time {
        /// The median.
        value_us: u64,
        /// The lower end of its interval.
        low_us: u64,
        /// The upper end of its interval.
        high_us: u64,
        /// How sure it is that the true median lies in the interval, 0 to 1.
        confidence: f64,
    },
    /// A time that did not end while it could be seen: at least this.
    AtLeast {
        /// The longest that was seen.
        value_us: u64,
    },
    /// A law of pauses.
    BackOff(BackOff),
    /// Whether it does so.
    Does {
        /// Whether it does.
        does: bool,
        /// How often it did.
        part: u64,
        /// How often it could have.
        whole: u64,
    },
    /// Retries that were made before there were none.
    Budget {
        /// How many.
        retries: u64,
        /// How many more or fewer it may be, where calls went on side by side.
        slack: u64,
        /// How many calls were then tried but once.
        bare: u64,
        /// How many of an AWS SDK's 500 tokens one takes, where the client is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens_each: Option<u64>,
        /// Whether a client that was told half-way not to retry would look the same.
        or_changed: bool,
    },
    /// A rate, as a factor of that of the steady phases.
    Factor {
        /// The factor.
        value: f64,
        /// The lower end of its interval of 95 %.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Something is not as it was from this moment on.
    Changed {
        /// When.
        at: Micros,
        /// What changed, from what to what.
        what: String,
        /// How probable so great a difference is where nothing changed, at the most.
        chance: f64,
    },
    /// The samples do not tell.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// A law of pauses, as far as the pauses tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct BackOff {
    /// The law; several where the pauses fit more than one.
    pub laws: Vec<Law>,
    /// How they are spread at random; several where the pauses fit more than one.
    pub jitters: Vec<Jitter>,
    /// By how much the pause grows from one to the next, where the law is known and it does: the factor of
    /// an exponential one, the increment of a linear one as a part of its base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The first pause before jitter, in microseconds: value, low, high; `None` where it cannot be
    /// told to a fifth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_us: Option<(u64, u64, u64)>,
    /// The longest pause before jitter, in microseconds, where one was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_us: Option<u64>,
}

impl BackOff {
    /// The law, if there is only one that fits.
    pub fn law(&self) -> Option<Law> {
        only(&self.laws)
    }

    /// The jitter, if there is only one that fits.
    pub fn jitter(&self) -> Option<Jitter> {
        only(&self.jitters)
    }
}

fn only<T: Copy>(list: &[T]) -> Option<T> {
    match list {
        [one] => Some(*one),
        _ => None,
    }
}

/// Words with "or" between them.
fn either<T: fmt::Display>(list: &[T]) -> String {
    let words: Vec<String> = list.iter().map(ToString::to_string).collect();
    words.join(" or ")
}

/// A time in words, to three digits.
pub fn time(micros: u64) -> String {
    let digits = micros.checked_ilog10().unwrap_or(0);
    let step = 10u64.pow(digits.saturating_sub(2));
    format_duration(Duration::from_micros((micros + step / 2) / step * step))
}

impl fmt::Display for BackOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.laws == [Law::None] {
            return f.write_str("none: tried again at once");
        }
        f.write_str(&either(&self.laws))?;
        match (self.law(), self.factor) {
            (Some(Law::Linear), Some(1.0)) => f.write_str(" (+1 base each)")?,
            (Some(Law::Linear), Some(increment)) => write!(f, " (+{increment} bases each)")?,
            (_, Some(factor)) => write!(f, " ({factor}x)")?,
            (_, None) => {}
        }
        match self.base_us {
            Some((value, low, high)) => write!(
                f,
                ", base {} ({} to {})",
                time(value),
                time(low),
                time(high)
            )?,
            None => f.write_str(", base not identifiable")?,
        }
        if let Some(cap) = self.cap_us {
            write!(f, ", cap {}", time(cap))?;
        }
        write!(f, ", jitter {}", either(&self.jitters))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { value, low, high } if low == high => write!(f, "{value}"),
            Self::Count { value, low, high } => write!(f, "{value} ({low} to {high})"),
            Self::Range { low, high } => write!(f, "{low} to {high}, no number stands out"),
            Self::Time {
                value_us,
                low_us,
                high_us,
                ..
            } => {
                let (value, low, high) = (time(*value_us), time(*low_us), time(*high_us));
                f.write_str(&value)?;
                if low != value || high != value {
                    write!(f, " ({low} to {high})")?;
                }
                Ok(())
            }
            Self::AtLeast { value_us } => {
                write!(f, "never within the {} seen", time(*value_us))
            }
            Self::BackOff(back_off) => write!(f, "{back_off}"),
            Self::Does { does, part, whole } => {
                let word = if *does { "yes" } else { "no" };
                write!(f, "{word} ({part} of {whole})")
            }
            Self::Budget {
                retries,
                slack,
                bare,
                tokens_each,
                or_changed,
            } => {
                write!(f, "{retries} retries")?;
                if *slack > 0 {
                    write!(f, " ± {slack}")?;
                }
                write!(f, ", then none in {bare} calls")?;
                if let Some(tokens) = tokens_each {
                    write!(f, " ({tokens} tokens each of an AWS client's 500)")?;
                }
                if *or_changed {
                    f.write_str(", unless it was told not to retry")?;
                }
                Ok(())
            }
            Self::Factor { value, low, high } => {
                write!(f, "{value:.1}x ({low:.1}x to {high:.1}x)")
            }
            Self::Changed { at, what, .. } => write!(f, "at {:.1}s: {what}", at.as_secs_f64()),
            Self::Unknown { why } => write!(f, "not identifiable: {why}"),
        }
    }
}

impl Claim {
    /// Whether something is said.
    pub const fn is_known(&self) -> bool {
        !matches!(self.finding, Finding::Unknown { .. })
    }

    /// Whether it is worth a line where lines are few: that a client does not do what few clients do
    /// is not.
    pub const fn is_remarkable(&self) -> bool {
        let is_denied = matches!(self.finding, Finding::Does { does: false, .. });
        let is_telling =
            !is_denied || matches!(self.aspect, Aspect::RetryAfter | Aspect::AsDeclared);
        self.is_known() && is_telling
    }

    /// What it is about, in words: `attempts a call`, `waits as asked (retry-after)`.
    pub fn heading(&self) -> String {
        match &self.detail {
            Some(detail) if self.aspect == Aspect::Fallback => {
                format!("{} {detail}", self.aspect.heading())
            }
            Some(detail) => format!("{} ({detail})", self.aspect.heading()),
            None => self.aspect.heading().to_owned(),
        }
    }

    /// What is said, in words, and that it is a guess where attempts were put together by time:
    /// `4 (grouped by time)`.
    pub fn shown(&self) -> String {
        let is_guess = self.basis == Basis::Grouped && self.is_known();
        let note = if is_guess { GUESS } else { "" };
        format!("{}{note}", self.finding)
    }

    /// What it is about and what is said: `attempts a call 3`.
    pub fn said(&self) -> String {
        format!("{} {}", self.heading(), self.shown())
    }

    /// What it is of, in words: `PutObject of s3 (no answer)`.
    pub fn subject(&self) -> String {
        let operation = self.operation.as_ref();
        let mut text = operation.map_or_else(String::new, |name| format!("{name} of "));
        text.push_str(&self.dependency);
        if let Some(cause) = self.cause {
            text.push_str(&format!(" ({cause})"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_as_words() {
        let law = BackOff {
            laws: vec![Law::Linear, Law::Exponential],
            jitters: vec![Jitter::Full],
            factor: None,
            base_us: Some((50_123, 47_000, 55_000)),
            cap_us: None,
        };
        assert_eq!(
            Finding::BackOff(law).to_string(),
            "linear or exponential, base 50.1ms (47ms to 55ms), jitter full"
        );
        let rising = |laws: &[Law], factor| {
            let law = BackOff {
                laws: laws.to_vec(),
                jitters: vec![Jitter::None],
                factor: Some(factor),
                base_us: None,
                cap_us: None,
            };
            law.to_string()
        };
        let rest = ", base not identifiable, jitter none";
        assert_eq!(
            rising(&[Law::Linear], 2.0),
            format!("linear (+2 bases each){rest}")
        );
        assert_eq!(
            rising(&[Law::Linear], 1.0),
            format!("linear (+1 base each){rest}")
        );
        assert_eq!(
            rising(&[Law::Exponential], 2.0),
            format!("exponential (2x){rest}")
        );
        let time = Finding::Time {
            value_us: 2_003_412,
            low_us: 2_001_000,
            high_us: 2_010_000,
            confidence: 0.95,
        };
        assert_eq!(time.to_string(), "2s (2s to 2.01s)");
        let never = Finding::AtLeast {
            value_us: 12_345_678,
        };
        assert_eq!(never.to_string(), "never within the 12.3s seen");
    }
}
