//! What samples can show: quantiles, how many are needed, and times that were cut short.

use crate::units::UnitError;
use std::{fmt, str::FromStr, time::Duration};

/// The fewest samples that anything is claimed from.
pub const SAMPLES_MIN: u64 = 3;

/// How many samples a share needs before it can be shown: with fewer than 1 / (1 − share) not even
/// one failure could be told from none too many. 50 requests cannot show 99.9 %. Where every
/// single one must hold, three.
pub fn samples_needed(share: f64) -> u64 {
    if share >= 1.0 {
        return SAMPLES_MIN;
    }
    // The margin keeps 1 / (1 − 0.999) from becoming 1001.
    let needed = (1.0 / (1.0 - share) - 1e-6).ceil();
    (needed as u64).max(SAMPLES_MIN)
}

/// A share in per cent, rounded down so that it never looks better than it is.
pub fn percent(share: f64) -> String {
    let text = format!("{:.3}", (share * 1e5 + 1e-6).floor() / 1e3);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A part of a whole in words: `99.2% (2480 of 2500)`.
pub fn part_of(part: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    };
    format!("{} ({part} of {whole})", percent(share))
}

/// A quantile: `"p50"`, `"p99.9"`, `"median"`, `"max"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile(f64);

impl Quantile {
    /// 99 of 100.
    pub const P99: Self = Self(0.99);
    /// The greatest.
    pub const MAX: Self = Self(1.0);

    /// As a share.
    pub const fn share(self) -> f64 {
        self.0
    }

    /// The smallest of the values that at least this share of them does not exceed (nearest
    /// rank); `None` of nothing. Exact: a verdict must not hang on a histogram's bucket.
    pub fn of(self, values: &mut [u64]) -> Option<u64> {
        let last = values.len().checked_sub(1)?;
        let rank = (self.0 * values.len() as f64 - 1e-9).ceil() as usize;
        let index = rank.saturating_sub(1).min(last);
        Some(*values.select_nth_unstable(index).1)
    }
}

impl FromStr for Quantile {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "max" => return Ok(Self::MAX),
            "median" => return Ok(Self(0.5)),
            _ => {}
        }
        text.strip_prefix('p')
            .and_then(|number| number.parse::<f64>().ok())
            .filter(|percent| *percent > 0.0 && *percent < 100.0)
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| {
                UnitError(format!(
                    "expected a quantile, like \"p99\", \"p99.9\", \"median\" or \"max\", not {text:?}"
                ))
            })
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1.0 {
            return f.write_str("max");
        }
        let text = format!("{:.4}", self.0 * 100.0);
        write!(f, "p{}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// How long something took, or how long it was seen when it was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// The time.
    pub time: Duration,
    /// Whether it was still going on then (*censored*): it took at least that long, which is
    /// enough to fail a bound and never enough to pass one.
    pub censored: bool,
    /// How long it could have been seen: from its beginning to when its fault was lifted.
    pub room: Duration,
}

impl Spell {
    /// Whether it certainly took longer than `bound`.
    pub fn exceeds(self, bound: Duration) -> bool {
        self.time > bound
    }

    /// Whether it certainly ended within `bound`.
    pub fn within(self, bound: Duration) -> bool {
        self.time <= bound && !self.censored
    }
}

/// What spells say about a bound.
///
/// Two readings, both of which leave out a spell that was cut short before the bound without
/// counting it as kept. The *roomy* one looks only at spells that began so early that they could
/// have exceeded the bound: a choice by their beginning alone, which favours neither side. Where
/// too few had that room, the product-limit estimate (Kaplan and Meier) uses the others as far
/// as they were seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Survival {
    /// The least share that takes longer than the bound.
    pub least: f64,
    /// The greatest share that takes longer than the bound.
    pub most: f64,
    /// How many spells said something: they ended within the bound or exceeded it.
    pub telling: u64,
}

impl Survival {
    /// Reads spells against a bound; `enough` is how many with room make the roomy reading.
    pub fn beyond(spells: &[Spell], bound: Duration, enough: u64) -> Self {
        let roomy: Vec<Spell> = spells
            .iter()
            .filter(|spell| spell.room >= bound)
            .copied()
            .collect();
        let telling = |spells: &[Spell]| {
            let told = spells
                .iter()
                .filter(|spell| spell.within(bound) || spell.exceeds(bound));
            told.count() as u64
        };
        let chosen = if telling(&roomy) >= enough {
            &roomy
        } else {
            spells
        };
        let (least, most) = product_limit(chosen, bound);
        Self {
            least,
            most,
            telling: telling(chosen),
        }
    }
}

/// The least and the greatest share of the spells that takes longer than `bound`. A spell that was
/// cut short before the bound counts as long as it was seen, and then for neither side; where the
/// longest-seen spells were all cut short before the bound, only the upper end is known.
fn product_limit(spells: &[Spell], bound: Duration) -> (f64, f64) {
    let mut sorted = spells.to_vec();
    sorted.sort_by_key(|spell| (spell.time, spell.censored));
    let mut at_risk = sorted.len() as f64;
    let mut share = 1.0;
    for spell in sorted.iter().filter(|spell| spell.time <= bound) {
        if !spell.censored {
            share *= 1.0 - 1.0 / at_risk;
        }
        at_risk -= 1.0;
    }
    (if at_risk > 0.0 { share } else { 0.0 }, share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spells(times: &[(u64, bool)]) -> Vec<Spell> {
        let spell = |(seconds, censored): &(u64, bool)| Spell {
            time: Duration::from_secs(*seconds),
            censored: *censored,
            room: Duration::from_secs(if *censored { *seconds } else { 20 }),
        };
        times.iter().map(spell).collect()
    }

    #[test]
    fn fifty_requests_cannot_show_three_nines() {
        for (share, needed) in [(0.5, 3), (0.9, 10), (0.99, 100), (0.999, 1_000), (1.0, 3)] {
            assert_eq!(samples_needed(share), needed, "{share}");
        }
    }

    #[test]
    fn quantiles_print_as_they_read_and_others_are_refused() {
        for text in ["p50", "p99", "p99.9", "max"] {
            assert_eq!(text.parse::<Quantile>().unwrap().to_string(), text);
        }
        for text in ["99", "p0", "p100", "p", "maximum", "pNaN"] {
            assert!(text.parse::<Quantile>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all() {
        assert_eq!(percent(0.999_999), "99.999%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(part_of(2480, 2500), "99.2% (2480 of 2500)");
    }

    proptest! {
        #[test]
        fn a_quantile_agrees_with_a_sorted_list(
            mut values in prop::collection::vec(0u64..1_000, 1..200),
            percent in 1u32..=100,
        ) {
            let quantile = Quantile(f64::from(percent) / 100.0);
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let rank = (percent as usize * sorted.len()).div_ceil(100).max(1);
            prop_assert_eq!(quantile.of(&mut values), Some(sorted[rank - 1]));
        }

        #[test]
        fn without_cut_spells_survival_is_the_plain_share(
            times in prop::collection::vec(0u64..20, 1..50),
        ) {
            let all: Vec<_> = times.iter().map(|time| (*time, false)).collect();
            let beyond = times.iter().filter(|time| **time > 10).count() as f64;
            let survival = Survival::beyond(&spells(&all), Duration::from_secs(10), 1);
            prop_assert!((survival.most - beyond / times.len() as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn a_spell_cut_short_can_exceed_a_bound_but_never_keep_it() {
        let bound = Duration::from_secs(10);
        let cut_early = Survival::beyond(&spells(&[(4, true), (5, true)]), bound, 3);
        assert_eq!((cut_early.least, cut_early.most), (0.0, 1.0));
        let cut_late = Survival::beyond(&spells(&[(12, true)]), bound, 3);
        assert_eq!((cut_late.least, cut_late.most), (1.0, 1.0));
        let some_cut = Survival::beyond(&spells(&[(1, true), (4, false), (4, false)]), bound, 3);
        assert_eq!((some_cut.most, some_cut.telling), (0.0, 2));
    }

    #[test]
    fn a_spell_that_began_too_late_to_exceed_the_bound_does_not_leave_it_open() {
        let bound = Duration::from_secs(10);
        let early = [(4, false), (4, false), (4, false)];
        let late = (5, true);
        let all = spells(&[early[0], early[1], early[2], late]);
        assert_eq!(Survival::beyond(&all, bound, 3).most, 0.0);
        // With too few that had the room, the late one says that some take longer than 5 s.
        let few = spells(&[early[0], early[1], late]);
        let survival = Survival::beyond(&few, bound, 3);
        assert!(survival.least == 0.0 && survival.most > 0.3);
    }
}
