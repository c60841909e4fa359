//! Shares, rates, sizes and bandwidths.

use super::UnitError;
use std::{fmt, str::FromStr, time::Duration};

/// A part of a whole, from 0 to 1. Written `"30%"` or `"99.9%"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// Everything.
    pub const ALL: Self = Self(1.0);

    /// A share from a fraction; `None` outside 0 to 1.
    pub fn new(fraction: f64) -> Option<Self> {
        (0.0..=1.0).contains(&fraction).then_some(Self(fraction))
    }

    /// The share as a fraction from 0 to 1.
    pub const fn fraction(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| number.trim_end().parse::<f64>().ok())
            .and_then(|percent| Self::new(percent / 100.0))
            .ok_or_else(|| {
                UnitError(format!(
                    "expected a share from \"0%\" to \"100%\", not {text:?}"
                ))
            })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.0 * 100.0);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Events per second, greater than zero. Written `"40/s"`, `"90/min"`, `"10/h"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// The highest rate a file may name, per second.
    pub const PER_SECOND_MAX: f64 = 1_000_000.0;

    /// A rate; `None` unless positive and at most [`Rate::PER_SECOND_MAX`].
    pub fn per_second(value: f64) -> Option<Self> {
        (value > 0.0 && value <= Self::PER_SECOND_MAX).then_some(Self(value))
    }

    /// Events per second.
    pub const fn as_per_second(self) -> f64 {
        self.0
    }

    /// The mean time between two events.
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text.trim()
            .split_once('/')
            .and_then(|(number, unit)| {
                let seconds = match unit.trim() {
                    "s" => 1.0,
                    "min" | "m" => 60.0,
                    "h" => 3600.0,
                    _ => return None,
                };
                number.trim().parse::<f64>().ok().map(|count| count / seconds)
            })
            .and_then(Self::per_second)
            .ok_or_else(|| {
                UnitError(format!(
                    "expected a rate above zero, like \"40/s\", \"90/min\" or \"10/h\", not {text:?}"
                ))
            })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0.05 {
            write!(f, "{}/h", self.0 * 3600.0)
        } else {
            write!(f, "{}/s", self.0)
        }
    }
}

/// A number of bytes. Written `"512B"`, `"64KiB"`, `"10MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || {
            UnitError(format!(
                "expected a size with its unit, like \"512B\", \"64KiB\" or \"10MB\", not {text:?}"
            ))
        };
        if !text.trim_end().ends_with('B') {
            return Err(wrong());
        }
        text.trim()
            .parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|_| wrong())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scale, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Bytes per second, at least one. Written `"64KiB/s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// A bandwidth; `None` for zero.
    pub fn per_second(bytes: u64) -> Option<Self> {
        (bytes > 0).then_some(Self(bytes))
    }

    /// Bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Bandwidth {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text.trim()
            .strip_suffix("/s")
            .and_then(|size| size.parse::<Bytes>().ok())
            .and_then(|bytes| Self::per_second(bytes.0))
            .ok_or_else(|| {
                UnitError(format!(
                    "expected a bandwidth above zero, like \"64KiB/s\", not {text:?}"
                ))
            })
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_as_they_read() {
        assert_eq!("99.9%".parse::<Share>().unwrap().to_string(), "99.9%");
        assert_eq!("40/s".parse::<Rate>().unwrap().to_string(), "40/s");
        assert_eq!("90/min".parse::<Rate>().unwrap().to_string(), "1.5/s");
        assert_eq!("64KiB".parse::<Bytes>().unwrap().to_string(), "64KiB");
        assert_eq!("10MB".parse::<Bytes>().unwrap(), Bytes(10_000_000));
        assert_eq!(
            "64KiB/s".parse::<Bandwidth>().unwrap().to_string(),
            "64KiB/s"
        );
    }

    #[test]
    fn amounts_without_unit_or_out_of_range_are_refused() {
        for text in ["30", "101%", "-1%", "NaN%", "%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        for text in ["40", "0/s", "-1/s", "40/d", "inf/s", "/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["64", "KiB", "64Kib", "-1B"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        for text in ["64KiB", "0B/s", "1/s"] {
            assert!(text.parse::<Bandwidth>().is_err(), "{text}");
        }
    }
}
