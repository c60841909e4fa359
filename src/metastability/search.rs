//! Where a boundary lies that can be tried at one place at a time, and that chance moves: at every
//! place so many repeats, first both ends, then between the place at which a system still comes back
//! and the one at which it does not.
//!
//! At the boundary half of all runs come back. That it lies above a size of which all five runs came
//! back is sure at 97 %: below the boundary's half that many would be as rare as five heads in a row.

use crate::statistics::clopper_pearson;
use serde::{Deserialize, Serialize};

/// How sure a side must be, where so many repeats can be.
const LEVEL: f64 = 0.05;

/// The fewest runs that speak for a side at all.
pub const TOLD_MIN: u64 = 3;

/// How a range is halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// By ratio: times and factors.
    Geometric,
    /// By difference: shares.
    Even,
}

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The smallest size, above zero.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// How the range is halved.
    pub spacing: Spacing,
    /// The search ends where the boundary is known within this part of its lower end.
    pub precision: f64,
    /// The most sizes that are tried.
    pub sizes_max: usize,
}

/// How the runs of one size ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tally {
    /// The system came back.
    pub recovered: u64,
    /// It did not.
    pub wedged: u64,
    /// Nothing can be said.
    pub unmeasured: u64,
}

/// On which side of the boundary a size lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The system comes back.
    Recovers,
    /// It does not.
    Wedges,
    /// Sometimes it does: too close to the boundary to be told by so many runs.
    Mixed,
    /// Fewer than [`TOLD_MIN`] runs could be measured.
    TooFew,
    /// No run could be measured.
    Unmeasured,
}

impl Tally {
    /// Runs that were measured.
    pub const fn told(self) -> u64 {
        self.recovered + self.wedged
    }

    /// On which side it lies: the runs speak for one side if so many of them would be rarer than one
    /// in twenty at the boundary itself, or all of them do where they are too few for that, but are
    /// [`TOLD_MIN`] at least.
    pub fn side(self) -> Side {
        let all = self.told();
        if all == 0 {
            return Side::Unmeasured;
        }
        if all < TOLD_MIN {
            return Side::TooFew;
        }
        let bound = LEVEL.max(chance_of_all(all));
        if at_least(self.recovered, all) <= bound {
            Side::Recovers
        } else if at_least(self.wedged, all) <= bound {
            Side::Wedges
        } else {
            Side::Mixed
        }
    }

    /// How sure its side is: the chance that runs at the boundary would not have spoken so clearly.
    pub fn confidence(self) -> f64 {
        1.0 - at_least(self.recovered.max(self.wedged), self.told())
    }

    /// How large a share of such runs comes back, two-sided at 95 %; everything is possible where none
    /// was measured.
    pub fn recovering(self) -> (f64, f64) {
        clopper_pearson(self.recovered, self.told(), LEVEL / 2.0)
    }
}

fn chance_of_all(all: u64) -> f64 {
    0.5f64.powi(i32::try_from(all).unwrap_or(i32::MAX))
}

/// How likely so many heads or more are, of so many coins.
fn at_least(heads: u64, coins: u64) -> f64 {
    let (mut ways, mut sum) = (1.0, 0.0);
    for number in 0..=coins {
        if number > 0 {
            ways *= (coins - number + 1) as f64 / number as f64;
        }
        if number >= heads {
            sum += ways;
        }
    }
    sum * chance_of_all(coins)
}

/// What is known of the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Boundary {
    /// It lies between two sizes.
    Between {
        /// The largest at which the system comes back, all smaller ones alike.
        low: f64,
        /// The smallest at which it does not.
        high: f64,
        /// How sure either end is.
        confidence: f64,
    },
    /// Not bracketed: the system comes back from the largest size that was tried.
    Above {
        /// That size.
        size: f64,
        /// How sure that is.
        confidence: f64,
    },
    /// Not bracketed: it does not come back even from the smallest.
    Below {
        /// That size.
        size: f64,
        /// How sure that is.
        confidence: f64,
    },
    /// Not bracketed: of an end it cannot be told.
    Unknown,
}

impl Boundary {
    /// In one sentence; `shown` puts a size into words.
    pub fn in_words(self, shown: impl Fn(f64) -> String) -> String {
        let sure = |confidence: f64| format!("{:.0}% sure", confidence * 100.0);
        match self {
            Self::Between {
                low,
                high,
                confidence,
            } => format!(
                "between {} and {}, {} of either end",
                shown(low),
                shown(high),
                sure(confidence)
            ),
            Self::Above { size, confidence } => format!(
                "not bracketed: above {}, the largest that was tried ({})",
                shown(size),
                sure(confidence)
            ),
            Self::Below { size, confidence } => format!(
                "not bracketed: below {}, the smallest that was tried ({})",
                shown(size),
                sure(confidence)
            ),
            Self::Unknown => "not bracketed: of an end of the range it cannot be told".to_owned(),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Try this size.
    Try(f64),
    /// It is found, or cannot be.
    Done,
}

/// A search that goes on.
#[derive(Debug, Clone)]
pub struct Search {
    settings: Settings,
    /// By size.
    tried: Vec<(f64, Tally)>,
}

impl Search {
    /// Nothing was tried yet.
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            tried: Vec::new(),
        }
    }

    /// Notes how the runs of a size ended.
    pub fn note(&mut self, size: f64, tally: Tally) {
        let place = self.tried.partition_point(|(known, _)| *known < size);
        match self
            .tried
            .get_mut(place)
            .filter(|(known, _)| *known == size)
        {
            Some((_, known)) => *known = tally,
            None => self.tried.insert(place, (size, tally)),
        }
    }

    /// Every size that was tried, the smallest first.
    pub fn tried(&self) -> &[(f64, Tally)] {
        &self.tried
    }

    fn of(&self, size: f64) -> Option<Side> {
        let found = self.tried.iter().find(|(known, _)| *known == size);
        found.map(|(_, tally)| tally.side())
    }

    /// What to try next: both ends, then the middle of what is still open.
    pub fn next(&self) -> Next {
        let Settings { low, high, .. } = self.settings;
        match self.of(low) {
            None => return Next::Try(low),
            Some(Side::Recovers) => {}
            Some(_) => return Next::Done,
        }
        match self.of(high) {
            None => return Next::Try(high),
            Some(Side::Wedges) => {}
            Some(_) => return Next::Done,
        }
        let open = self.widest_gap();
        match open {
            Some((from, to)) if self.tried.len() < self.settings.sizes_max => {
                Next::Try(self.middle(from, to))
            }
            _ => Next::Done,
        }
    }

    /// What is known by now.
    pub fn boundary(&self) -> Boundary {
        let Some((low, high)) = self.ends() else {
            return self.one_sided();
        };
        Boundary::Between {
            low: low.0,
            high: high.0,
            confidence: low.1.confidence().min(high.1.confidence()),
        }
    }

    /// The sizes that disagree with the order of things: the system comes back from a larger trigger
    /// than one from which it does not.
    pub fn is_monotone(&self) -> bool {
        let sides = || self.tried.iter().map(|(_, tally)| tally.side());
        let first = sides().position(|side| side == Side::Wedges);
        let last = sides().rposition(|side| side == Side::Recovers);
        !matches!((first, last), (Some(first), Some(last)) if first < last)
    }

    /// The largest size below which all recover, and the smallest above it that wedges.
    fn ends(&self) -> Option<((f64, Tally), (f64, Tally))> {
        let is = |side: Side| move |(_, tally): &&(f64, Tally)| tally.side() == side;
        let high = self.tried.iter().find(is(Side::Wedges))?;
        let below = self.tried.iter().take_while(|(size, _)| *size < high.0);
        let low = below.filter(is(Side::Recovers)).last()?;
        Some((*low, *high))
    }

    fn one_sided(&self) -> Boundary {
        let with = |side: Side| {
            let own = self
                .tried
                .iter()
                .filter(move |(_, tally)| tally.side() == side);
            own.copied().collect::<Vec<_>>()
        };
        let (recovers, wedges) = (with(Side::Recovers), with(Side::Wedges));
        // What could not be told of an end of what was tried may be that it is on the other side.
        let is_telling = |end: Option<&(f64, Tally)>| {
            let side = end.map(|(_, tally)| tally.side());
            matches!(side, Some(Side::Recovers | Side::Wedges))
        };
        match (recovers.last(), wedges.first()) {
            (Some((size, tally)), None) if is_telling(self.tried.last()) => Boundary::Above {
                size: *size,
                confidence: tally.confidence(),
            },
            (None, Some((size, tally))) if is_telling(self.tried.first()) => Boundary::Below {
                size: *size,
                confidence: tally.confidence(),
            },
            _ => Boundary::Unknown,
        }
    }

    /// The widest stretch between two neighbours, from the lower end of the boundary to the upper, of
    /// those that are wider than asked; nothing is to be found between two sizes at which it is mixed.
    fn widest_gap(&self) -> Option<(f64, f64)> {
        let (low, high) = self.ends()?;
        let within: Vec<&(f64, Tally)> = self
            .tried
            .iter()
            .filter(|(size, _)| (low.0..=high.0).contains(size))
            .collect();
        within
            .windows(2)
            .filter_map(|pair| match pair {
                [one, other] => Some((*one, *other)),
                _ => None,
            })
            .filter(|(one, other)| {
                let inner = |tally: &Tally| !matches!(tally.side(), Side::Recovers | Side::Wedges);
                !(inner(&one.1) && inner(&other.1))
            })
            .map(|(one, other)| (one.0, other.0))
            .filter(|(from, to)| self.width(*from, *to) > self.settings.precision)
            .max_by(|one, other| {
                let width = |(from, to): &(f64, f64)| self.width(*from, *to);
                width(one).total_cmp(&width(other))
            })
    }

    /// How wide a stretch is, as a part of its lower end, or of the whole range.
    fn width(&self, from: f64, to: f64) -> f64 {
        match self.settings.spacing {
            Spacing::Geometric => to / from - 1.0,
            Spacing::Even => (to - from) / (self.settings.high - self.settings.low),
        }
    }

    fn middle(&self, from: f64, to: f64) -> f64 {
        match self.settings.spacing {
            Spacing::Geometric => (from * to).sqrt(),
            Spacing::Even => (from + to) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;
    use rand::{Rng, RngExt};

    const SETTINGS: Settings = Settings {
        low: 0.1,
        high: 20.0,
        spacing: Spacing::Geometric,
        precision: 0.25,
        sizes_max: 20,
    };

    /// Searches a system that comes back with this probability.
    fn search(settings: Settings, repeats: u64, mut recovers: impl FnMut(f64) -> bool) -> Search {
        let mut search = Search::new(settings);
        while let Next::Try(size) = search.next() {
            assert!((settings.low..=settings.high).contains(&size), "{size}");
            assert_eq!(search.of(size), None, "{size} is tried once");
            let recovered = (0..repeats).filter(|_| recovers(size)).count() as u64;
            let tally = Tally {
                recovered,
                wedged: repeats - recovered,
                unmeasured: 0,
            };
            search.note(size, tally);
        }
        search
    }

    #[test]
    fn so_many_runs_speak_for_a_side_and_fewer_do_not() {
        let side = |recovered, wedged| {
            let tally = Tally {
                recovered,
                wedged,
                unmeasured: 3,
            };
            (tally.side(), tally.confidence())
        };
        assert_eq!(side(0, 0).0, Side::Unmeasured);
        // Of few runs all must agree, and how sure that is is said.
        assert_eq!(side(3, 0), (Side::Recovers, 0.875));
        assert_eq!(side(0, 3), (Side::Wedges, 0.875));
        // One or two are a coin, whatever they say.
        for (recovered, wedged) in [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2)] {
            assert_eq!(side(recovered, wedged).0, Side::TooFew);
        }
        assert_eq!(side(2, 1).0, Side::Mixed);
        assert_eq!(side(5, 0), (Side::Recovers, 0.96875));
        assert_eq!(side(4, 1).0, Side::Mixed);
        // Of ten runs one may disagree: 11 of 1024.
        assert_eq!(side(1, 9).0, Side::Wedges);
        assert_eq!(side(2, 8).0, Side::Mixed);
    }

    #[test]
    fn a_sharp_boundary_is_bracketed_as_closely_as_asked() {
        let found = search(SETTINGS, 5, |size| size < 1.7).boundary();
        let Boundary::Between {
            low,
            high,
            confidence,
        } = found
        else {
            panic!("{found:?}");
        };
        assert!(low < 1.7 && 1.7 <= high && high / low <= 1.25, "{found:?}");
        assert_eq!(confidence, 0.96875);
    }

    proptest! {
        #[test]
        fn wherever_it_lies_it_is_bracketed(
            boundary in 0.11f64..19.9, precision in 0.05f64..1.0, even: bool,
        ) {
            let spacing = if even { Spacing::Even } else { Spacing::Geometric };
            let settings = Settings { spacing, precision, sizes_max: 40, ..SETTINGS };
            let search = search(settings, 5, |size| size < boundary);
            let found = search.boundary();
            let Boundary::Between { low, high, .. } = found else { panic!("{found:?}") };
            prop_assert!(low < boundary && boundary <= high, "{:?}", found);
            prop_assert!(search.width(low, high) <= precision);
            prop_assert!(search.is_monotone());
        }

        #[test]
        fn it_ends_whatever_it_is_told(answers in proptest::collection::vec(0u64..6, 1..60)) {
            let mut search = Search::new(Settings { precision: 0.0, ..SETTINGS });
            let mut answers = answers.into_iter().cycle();
            for _ in 0..=SETTINGS.sizes_max {
                let Next::Try(size) = search.next() else { break };
                let recovered = answers.next().unwrap();
                let tally = match recovered {
                    4 => Tally { unmeasured: 3, ..Tally::default() },
                    5 => Tally { recovered: 2, unmeasured: 1, ..Tally::default() },
                    recovered => Tally { recovered, wedged: 3 - recovered, unmeasured: 0 },
                };
                search.note(size, tally);
            }
            prop_assert_eq!(search.next(), Next::Done);
            if let Boundary::Between { low, high, .. } = search.boundary() {
                prop_assert!(low < high);
            }
        }
    }

    #[test]
    fn what_is_not_bracketed_is_said() {
        let always = search(SETTINGS, 5, |_| true);
        assert_eq!(always.tried().len(), 2);
        assert_eq!(
            always.boundary(),
            Boundary::Above {
                size: 20.0,
                confidence: 0.96875
            }
        );
        let never = search(SETTINGS, 5, |_| false);
        assert_eq!(never.tried().len(), 1, "one end is enough");
        assert!(matches!(never.boundary(), Boundary::Below { size, .. } if size == 0.1));
        // Sometimes it comes back from the largest: that is no bracket.
        let mut nth = 0;
        let coin = search(SETTINGS, 4, |size| {
            nth += 1;
            size < 1.0 || nth % 2 == 0
        });
        assert_eq!(coin.boundary(), Boundary::Unknown);
        let mut unmeasured = Search::new(SETTINGS);
        assert_eq!(unmeasured.boundary(), Boundary::Unknown);
        let nothing = Tally {
            unmeasured: 5,
            ..Tally::default()
        };
        unmeasured.note(0.1, nothing);
        assert_eq!(unmeasured.next(), Next::Done);
        assert_eq!(unmeasured.boundary(), Boundary::Unknown);
        // Two runs are no bracket, at either end.
        let few = search(SETTINGS, 2, |size| size < 1.7);
        assert_eq!(few.boundary(), Boundary::Unknown);
        let mut few = search(SETTINGS, 5, |_| true);
        few.note(
            20.0,
            Tally {
                wedged: 2,
                unmeasured: 3,
                recovered: 0,
            },
        );
        assert_eq!(few.next(), Next::Done);
        assert_eq!(few.boundary(), Boundary::Unknown);
        // A size that is required is tried first: where the lower end does not tell, it is no bound.
        for (recovered, wedged, unmeasured) in [(2, 3, 0), (0, 2, 3), (0, 0, 5)] {
            let mut required = search(SETTINGS, 5, |_| false);
            required.note(
                0.1,
                Tally {
                    recovered,
                    wedged,
                    unmeasured,
                },
            );
            let wedges = Tally {
                recovered: 0,
                wedged: 5,
                unmeasured: 0,
            };
            required.note(5.0, wedges);
            assert_eq!(required.next(), Next::Done);
            assert_eq!(required.boundary(), Boundary::Unknown);
            required.note(0.1, wedges);
            let below = required.boundary();
            assert!(matches!(below, Boundary::Below { size, .. } if size == 0.1));
        }
    }

    #[test]
    fn it_stops_after_so_many_sizes_with_what_it_knows() {
        let settings = Settings {
            sizes_max: 4,
            precision: 0.01,
            ..SETTINGS
        };
        let stopped = search(settings, 5, |size| size < 1.7);
        assert_eq!(stopped.tried().len(), 4);
        let found = stopped.boundary();
        assert!(
            matches!(found, Boundary::Between { low, high, .. } if low < 1.7 && 1.7 < high),
            "{found:?}"
        );
    }

    #[test]
    fn what_comes_back_from_more_than_it_wedges_at_is_no_order() {
        let mut search = Search::new(SETTINGS);
        let all = |recovered: u64| Tally {
            recovered,
            wedged: 5 - recovered,
            unmeasured: 0,
        };
        for (size, recovered) in [(0.1, 5), (1.0, 0), (2.0, 5), (20.0, 0)] {
            search.note(size, all(recovered));
        }
        assert!(!search.is_monotone());
        // What is sure is that it lies below the first size that wedges.
        let found = search.boundary();
        assert!(
            matches!(found, Boundary::Between { low, high, .. } if low == 0.1 && high == 1.0),
            "{found:?}"
        );
    }

    /// A system whose boundary chance moves: each run has its own, log-normal around two seconds, so
    /// that half the runs come back from exactly two.
    fn moved(random: &mut impl Rng, size: f64) -> bool {
        let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        size < 2.0 * (0.2 * normal).exp()
    }

    #[test]
    fn where_chance_moves_the_boundary_the_interval_holds_it_as_often_as_it_says() {
        let mut random = Seed(5).stream(&["metastability"]);
        const TIMES: usize = 400;
        let (mut held, mut bracketed) = (0, 0);
        for _ in 0..TIMES {
            let found = search(SETTINGS, 5, |size| moved(&mut random, size)).boundary();
            if let Boundary::Between { low, high, .. } = found {
                bracketed += 1;
                held += usize::from(low < 2.0 && 2.0 < high);
            }
        }
        assert!(bracketed > TIMES * 95 / 100, "{bracketed}");
        // Several sizes are tried near it, each of which may speak for the wrong side.
        assert!(held * 10 >= bracketed * 9, "{held} of {bracketed}");
    }
}
