//! Whether what was measured of a requirement differs by no more than two runs of the same system do.
//!
//! A report says what was measured in words, so words are what is compared: `98.9% (356 of 360)`,
//! `p95 1.2s of 400, bound 1.5s`. Whatever cannot be read so differs.

use super::{
    finding::{ONCE_LEAST_US, TIME_LEAST_US},
    statistics::{Part, fisher},
};
use crate::{
    expectation::Verdict,
    units::{Bytes, parse_duration},
};

/// Kinds that measure one moment of a run, which a single bad second puts off.
const ONCE: [&str; 1] = ["recovery"];

/// A quantity that varies from run to run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Quantity {
    /// Microseconds.
    Time(f64),
    /// A share that counts its samples, `95% (380 of 400)`.
    Share(Part),
    /// Bytes, any other share, a rate, a factor.
    Other(f64),
}

/// A share that is less likely by chance differs.
const SHARE_CHANCE_MIN: f64 = 0.01;

/// Whether two runs of the same system may well differ so much. Shares that count their samples are
/// tested (Fisher's exact test), as if nothing clumped, so that they are called near more rarely than
/// they might be; of all that stands beside them, too, each quantity may differ by `noise`, a time by 50 ms
/// besides if that does not more than double it, and one that a run has once by five seconds. Numbers
/// without a unit are counts, and must be the same. Where the words are the same, it was something
/// else that made the verdict another.
pub fn is_within_noise(old: &Verdict, new: &Verdict, noise: f64) -> bool {
    if old.measured == new.measured {
        return false;
    }
    let is_once = ONCE.contains(&new.kind.as_str());
    let least_us = |greater: f64| {
        if is_once {
            ONCE_LEAST_US as f64
        } else {
            (TIME_LEAST_US as f64).min(greater / 2.0)
        }
    };
    let (old, new) = (without_aside(&old.measured), without_aside(&new.measured));
    let (before, after) = (read(&old), read(&new));
    let near = |(one, other): (&Quantity, &Quantity)| match (one, other) {
        (Quantity::Share(one), Quantity::Share(other)) => fisher(*one, *other) > SHARE_CHANCE_MIN,
        (Quantity::Time(one), Quantity::Time(other)) => {
            (one - other).abs() <= (noise * one).max(least_us(one.max(*other)))
        }
        (Quantity::Other(one), Quantity::Other(other)) => (one - other).abs() <= noise * one,
        _ => false,
    };
    before.0 == after.0
        && !before.1.is_empty()
        && before.1.len() == after.1.len()
        && before.1.iter().zip(&after.1).all(near)
}

/// The share that four words are, `95% (380 of 400)`.
fn part(words: &[&str]) -> Option<Part> {
    let [share, hits, "of", all, ..] = words else {
        return None;
    };
    share.strip_suffix('%')?.parse::<f64>().ok()?;
    let (all, _) = all.split_once(')')?;
    let part = Part {
        hits: hits.strip_prefix('(')?.parse().ok()?,
        all: all.parse().ok()?,
    };
    (part.hits <= part.all && part.all > 0).then_some(part)
}

/// What is said of some of the samples and is no measure of its own.
const ASIDE: (&str, &str) = (", of these ", " after a refusal");

/// A text without what is said aside: `, of these 3 after a refusal`.
fn without_aside(measured: &str) -> String {
    let aside = measured.split_once(ASIDE.0).and_then(|(before, rest)| {
        let (count, after) = rest.split_once(ASIDE.1)?;
        let is_count = count.bytes().all(|byte| byte.is_ascii_digit());
        is_count.then(|| format!("{before}{after}"))
    });
    aside.unwrap_or_else(|| measured.to_owned())
}

/// The words of a text without its quantities and without the number of its samples (`of 400`), and
/// the quantities.
fn read(measured: &str) -> (Vec<&str>, Vec<Quantity>) {
    let (mut words, mut quantities) = (Vec::new(), Vec::new());
    let all: Vec<&str> = measured.split_whitespace().collect();
    let mut rest = &all[..];
    while let Some((word, behind)) = rest.split_first() {
        if let Some(part) = part(rest) {
            quantities.push(Quantity::Share(part));
            rest = &rest[4..];
            continue;
        }
        rest = behind;
        let bare = word.trim_matches(|c: char| ",;:()".contains(c));
        let counts = words.last() == Some(&"of") && bare.bytes().all(|byte| byte.is_ascii_digit());
        match quantity(bare) {
            Some(quantity) => quantities.push(quantity),
            None if counts => {}
            None => words.push(*word),
        }
    }
    (words, quantities)
}

/// A number with its unit.
fn quantity(word: &str) -> Option<Quantity> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) || word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Ok(time) = parse_duration(word) {
        return Some(Quantity::Time(time.as_secs_f64() * 1e6));
    }
    let number = |unit: &str| word.strip_suffix(unit)?.parse::<f64>().ok();
    let other = ["%", "x", "/s"].into_iter().find_map(number);
    let size = || word.parse::<Bytes>().ok().map(|size| size.0 as f64);
    other.or_else(size).map(Quantity::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expectation::Status, report::diff::NOISE};

    fn near(kind: &str, old: &str, new: &str) -> bool {
        let measured = |measured: &str| Verdict {
            id: "A".to_owned(),
            that: String::new(),
            kind: kind.to_owned(),
            status: Status::Pass,
            required: String::new(),
            measured: measured.to_owned(),
            count: 1,
            window: Default::default(),
            phases: Vec::new(),
            place: None,
            reason: None,
            evidence: Vec::new(),
        };
        is_within_noise(&measured(old), &measured(new), NOISE)
    }

    #[test]
    fn shares_are_near_where_each_may_be_the_other() {
        let shares = |old: &str, new: &str| near("success-rate", old, new);
        assert!(shares("99.94% (1799 of 1800)", "99.89% (1798 of 1800)"));
        assert!(!shares("99.94% (1799 of 1800)", "80% (1440 of 1800)"));
        assert!(!shares("100% (400 of 400)", "98% (392 of 400)"));
        assert!(!shares("100% (12 of 12)", "33.3% (4 of 12)"));
        assert!(shares("100% (40 of 40)", "97.5% (39 of 40)"));
        // However much stands behind them.
        let by = |part: &str| format!("{part} by a fallback");
        let near_by = |old: &str, new: &str| near("fallback", &by(old), &by(new));
        assert!(near_by("90.25% (361 of 400)", "89.75% (359 of 400)"));
        assert!(!near_by("90.25% (361 of 400)", "60% (240 of 400)"));
        let held = |part: &str| format!("{part} held");
        assert!(near(
            "probe",
            &held("98% (98 of 100)"),
            &held("96% (96 of 100)")
        ));
        assert!(!near(
            "probe",
            &held("98% (98 of 100)"),
            &held("50% (50 of 100)")
        ));
        let again = |of: u64, refused: u64| {
            format!(
                "{}% ({of} of 400), of these {refused} after a refusal",
                of / 4
            )
        };
        assert!(shares(&again(398, 3), &again(396, 9)));
        assert!(shares("99.5% (398 of 400)", &again(396, 9)));
        assert!(!shares(&again(398, 3), &again(300, 3)));
    }

    #[test]
    fn a_share_says_nothing_of_what_stands_beside_it() {
        let ramp = |step: &str, errors: &str| {
            format!("steps of at most {step} in 12 windows, errors {errors}")
        };
        let none = "0% (0 of 900)";
        for (step, errors, is_near) in [
            ("9.00x", none, false),
            ("1.60x", none, true),
            ("1.50x", "0.333% (3 of 900)", true),
            ("1.60x", "50% (450 of 900)", false),
        ] {
            let found = near("ramp", &ramp("1.50x", none), &ramp(step, errors));
            assert_eq!(found, is_near, "{step} {errors}");
        }
        let beat = |longest: &str, kept: &str| format!("8s to {longest} apart, {kept} in bounds");
        let old = beat("12s", "95% (19 of 20)");
        assert!(near("cadence", &old, &beat("13s", "90% (18 of 20)")));
        assert!(!near("cadence", &old, &beat("60s", "90% (18 of 20)")));
        assert!(!near("cadence", &old, &beat("13s", "25% (5 of 20)")));
    }

    #[test]
    fn quantities_are_near_where_they_differ_by_less_than_matters() {
        for (kind, old, new, is_near) in [
            ("latency", "p95 480ms of 400", "p95 520ms of 399", true),
            ("latency", "p95 480ms of 400", "p95 1.2s of 400", false),
            ("latency", "p95 6ms of 600", "p95 52ms of 600", false),
            ("latency", "p95 6ms of 600", "p95 11ms of 600", true),
            ("alert", "told after 12s", "told after 12s", false),
            (
                "latency",
                "p95 14ms of 400, bound 118ms",
                "p95 60ms of 400, bound 59ms",
                false,
            ),
            (
                "latency",
                "p95 90ms of 400, bound 118ms",
                "p95 125ms of 400, bound 119ms",
                true,
            ),
            (
                "gives-up",
                "the longest took 9.8s",
                "the longest took 10.3s",
                true,
            ),
            ("recovery", "4s", "7s", true),
            ("recovery", "4s", "12s", false),
            ("recovery", "4s", "not recovered", false),
            ("amplification", "1.28x", "1.33x", true),
            ("amplification", "1.28x", "3.1x", false),
            ("memory", "5.9MiB", "6.1MiB", true),
            // Counts are as they are.
            (
                "attempts",
                "3 attempts in 400ms",
                "4 attempts in 410ms",
                false,
            ),
            ("in-flight", "10 at one time", "11 at one time", false),
            ("alert", "", "", false),
        ] {
            assert_eq!(near(kind, old, new), is_near, "{old}, {new}");
        }
    }
}
