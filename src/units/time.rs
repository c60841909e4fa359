//! Durations as people write them.

use super::UnitError;
use std::time::Duration;

const UNITS: &[(&str, f64)] = &[
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// The longest duration a file may name, in seconds: 30 days.
const SECONDS_MAX: f64 = 30.0 * 86_400.0;

/// Reads `"250ms"`, `"1.5s"`, `"1m30s"`, `"2h"`. A unit is required; the value may be zero.
///
/// # Errors
/// A text without a unit, with an unknown unit, with a sign, or of more than 30 days.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || {
        UnitError(format!(
            "expected a duration with its unit, like \"250ms\", \"20s\" or \"1m30s\", not {text:?}"
        ))
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(wrong)?;
        let value: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        let unit = &rest[..letters];
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        seconds += value * scale;
        rest = rest[letters..].trim_start();
    }
    if seconds > SECONDS_MAX {
        return Err(UnitError(format!("{text:?} is longer than 30 days")));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Prints a duration with at most three significant decimals: `250ms`, `1.5s`, `1m30s`.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let trimmed = |value: f64, unit: &str| {
        let text = format!("{value:.3}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        format!("{text}{unit}")
    };
    match micros {
        0 => "0s".to_owned(),
        1..1_000 => format!("{micros}us"),
        1_000..1_000_000 => trimmed(micros as f64 / 1e3, "ms"),
        1_000_000..60_000_000 => trimmed(micros as f64 / 1e6, "s"),
        _ => {
            let minutes = micros / 60_000_000;
            let rest = micros % 60_000_000;
            if rest == 0 {
                format!("{minutes}m")
            } else {
                format!("{minutes}m{}", trimmed(rest as f64 / 1e6, "s"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in [
            ("250ms", 250),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("0s", 0),
            ("10min", 600_000),
        ] {
            assert_eq!(
                parse_duration(text).unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        for text in ["5", "", "s", "5x", "-5s", "5s6", "1e3s", "1..5s", "3000h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printing_a_duration_gives_a_text_that_reads_back() {
        for micros in [0, 7, 999, 1_000, 250_000, 1_500_000, 60_000_000, 90_250_000] {
            let duration = Duration::from_micros(micros);
            let text = format_duration(duration);
            assert_eq!(parse_duration(&text).unwrap(), duration, "{text}");
        }
    }
}
