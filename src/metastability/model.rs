//! What a search found: what `metastability.json` holds.

use super::{Boundary, Side, Tally};
use serde::{Deserialize, Serialize};

/// The version of `metastability.json`.
pub const METASTABILITY_VERSION: u32 = 1;

/// How the system was, in one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProbeEnd {
    /// It came back.
    Recovered,
    /// It stayed broken while no fault was in force, and asked its dependency more than it had to:
    /// its own work keeps it there.
    Metastable,
    /// It stayed broken, without that being seen.
    Wedged,
    /// Nothing can be said.
    Unmeasured,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Probe {
    /// The folder of its history, as path from the folder of the report.
    pub folder: String,
    /// Its seed.
    pub seed: u64,
    /// How the system was.
    pub end: ProbeEnd,
    /// The share of the operations before the trigger that was answered, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// How long after the trigger's end it was back, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_us: Option<u64>,
    /// The share answered in the whole watch, as a part of the baseline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<f64>,
    /// Requests to the dependency for each operation in the watch, as a multiple of the baseline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amplification: Option<f64>,
    /// Why nothing can be said, or what else is to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One size of the trigger, or of the load, and its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Point {
    /// The size: seconds, a share from 0 to 1, a factor, or operations a second.
    pub size: f64,
    /// The size in words.
    pub shown: String,
    /// On which side of the boundary it lies.
    pub side: Side,
    /// How its runs ended.
    pub tally: Tally,
    /// The least and the greatest share of such runs that comes back, at 95 %.
    pub recovering: (f64, f64),
    /// The least, the median and the greatest time until it was back, of the runs that came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_us: Option<(u64, u64, u64)>,
    /// The runs.
    pub probes: Vec<Probe>,
}

impl Point {
    /// What so many runs of one size come to.
    pub fn of(size: f64, shown: String, probes: Vec<Probe>) -> Self {
        let ended = |ends: &[ProbeEnd]| {
            let own = probes.iter().filter(|probe| ends.contains(&probe.end));
            own.count() as u64
        };
        let tally = Tally {
            recovered: ended(&[ProbeEnd::Recovered]),
            wedged: ended(&[ProbeEnd::Metastable, ProbeEnd::Wedged]),
            unmeasured: ended(&[ProbeEnd::Unmeasured]),
        };
        let mut times: Vec<u64> = probes
            .iter()
            .filter_map(|probe| probe.recovery_us)
            .collect();
        times.sort_unstable();
        let times = times
            .first()
            .zip(times.last())
            .map(|(first, last)| (*first, times[(times.len() - 1) / 2], *last));
        Self {
            size,
            shown,
            side: tally.side(),
            tally,
            recovering: tally.recovering(),
            recovery_us: times,
            probes,
        }
    }
}

/// Why a search tried no more sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The boundary is known as closely as asked, or cannot be bracketed.
    Complete,
    /// The time that was given was over.
    Budget,
    /// Somebody interrupted it.
    Interrupted,
}

/// What the sizes of a search are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Varied {
    /// How long the trigger lasts, in seconds.
    Duration,
    /// How deep it is, as a share from 0 to 1.
    Share,
    /// How deep it is, as a multiple of the load's rate.
    Factor,
    /// The load's rate, in operations a second.
    Rate,
}

/// A search over sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchReport {
    /// What the sizes are.
    pub varied: Varied,
    /// Every size that was tried, the smallest first.
    pub points: Vec<Point>,
    /// Where the boundary lies.
    pub boundary: Boundary,
    /// The boundary in words.
    pub shown: String,
    /// Why no more sizes were tried.
    pub ended: Ended,
    /// Whether no larger size came back than one that did not.
    pub monotone: bool,
    /// Where the time to come back grows much faster than the trigger, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steep: Option<String>,
}

/// How much faster than the trigger the time to come back must grow to be called steep.
const STEEP: f64 = 2.0;

/// How finely a time to come back is known, in microseconds.
const TIME_LEAST_US: u64 = 250_000;

/// And by how much at least, in microseconds: less is noise.
const STEEP_LEAST_US: u64 = 1_000_000;

impl SearchReport {
    /// The steepest growth of the median time to come back, from one size to the next, where it is an
    /// early warning: it grows at least twice as fast as the trigger, and by a second.
    pub fn steepest(points: &[Point]) -> Option<String> {
        let known: Vec<(&Point, u64)> = points
            .iter()
            .filter_map(|point| point.recovery_us.map(|(_, median, _)| (point, median)))
            .collect();
        let pairs = known.iter().zip(known.iter().skip(1));
        let (factor, (one, before), (other, after)) = pairs
            .filter(|((_, before), (_, after))| after.saturating_sub(*before) >= STEEP_LEAST_US)
            .map(|((one, before), (other, after))| {
                // A time of less than a window is as good as a window.
                let time = *after as f64 / (*before).max(TIME_LEAST_US) as f64;
                let factor = time.ln() / (other.size / one.size).ln();
                (factor, (*one, *before), (*other, *after))
            })
            .filter(|(factor, _, _)| *factor >= STEEP)
            .max_by(|one, other| one.0.total_cmp(&other.0))?;
        let time = |micros: u64| format!("{:.1}s", micros as f64 / 1e6);
        Some(format!(
            "it takes {} to come back from {} and {} from {}: {factor:.1} times as steep as the \
             trigger, which is the warning that comes before the boundary",
            time(before),
            one.shown,
            time(after),
            other.shown,
        ))
    }
}

/// The trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TriggerReport {
    /// Its kind.
    pub kind: String,
    /// What is done, in words.
    pub what: String,
}

/// The largest load from which the system still comes back after the reference trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HiddenCapacity {
    /// The reference trigger, in words.
    pub trigger: String,
    /// The search over the load's rate.
    pub search: SearchReport,
}

/// What was asked for with `--require`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Requirement {
    /// The size from which, and from all smaller ones, the system must come back.
    pub size: f64,
    /// It in words.
    pub shown: String,
    /// Whether it does: `None` where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// Why, in one sentence.
    pub why: String,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MetastabilityReport {
    /// [`METASTABILITY_VERSION`].
    pub version: u32,
    /// Brownout's own version.
    pub brownout: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// The seed; every run's own follows from it.
    pub seed: u64,
    /// The system's file.
    pub system: String,
    /// The dependency.
    pub dependency: String,
    /// The load.
    pub load: String,
    /// The load's rate, in operations a second.
    pub rate: f64,
    /// The trigger.
    pub trigger: TriggerReport,
    /// The dependency's own capacity, as `overload` writes it, where it was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// How long the system was watched after the trigger, in microseconds.
    pub watch_us: u64,
    /// Why so long.
    pub watch_because: String,
    /// How many runs each size had.
    pub repeats: u32,
    /// The search over the trigger's size.
    pub search: SearchReport,
    /// The largest load that comes back, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_capacity: Option<HiddenCapacity>,
    /// What was required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Requirement>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size with runs that took so many seconds to come back, or did not.
    fn point(size: f64, times: &[Option<f64>]) -> Point {
        let probe = |time: &Option<f64>| Probe {
            folder: String::new(),
            seed: 1,
            end: match time {
                Some(_) => ProbeEnd::Recovered,
                None => ProbeEnd::Metastable,
            },
            baseline: Some(1.0),
            recovery_us: time.map(|seconds| (seconds * 1e6) as u64),
            goodput: None,
            amplification: None,
            note: None,
        };
        Point::of(size, format!("{size}s"), times.iter().map(probe).collect())
    }

    #[test]
    fn a_point_has_the_share_that_comes_back_and_how_long_that_takes() {
        let times = [Some(3.0), Some(1.0), None, Some(2.0), Some(9.0)];
        let found = point(2.0, &times);
        assert_eq!(found.side, Side::Mixed);
        assert_eq!(found.recovery_us, Some((1_000_000, 2_000_000, 9_000_000)));
        let (low, high) = found.recovering;
        // Clopper and Pearson of 4 in 5.
        assert!((low - 0.2836).abs() < 1e-4 && (high - 0.9949).abs() < 1e-4);
    }

    #[test]
    fn steep_growth_is_named_and_a_draining_queue_is_none() {
        let linear = [1.0, 2.0, 4.0].map(|size| point(size, &[Some(1.5 * size); 3]));
        assert_eq!(SearchReport::steepest(&linear), None);
        let steep = [
            point(1.0, &[Some(1.0); 3]),
            point(2.0, &[Some(2.0); 3]),
            point(2.5, &[Some(9.0); 3]),
            point(3.0, &[None; 3]),
        ];
        let said = SearchReport::steepest(&steep).unwrap();
        assert!(
            said.starts_with("it takes 2.0s to come back from 2s and 9.0s from 2.5s: 6.7 times"),
            "{said}"
        );
        // Twice nothing is nothing.
        let tiny = [point(1.0, &[Some(0.01); 3]), point(1.2, &[Some(0.3); 3])];
        assert_eq!(SearchReport::steepest(&tiny), None);
    }
}
