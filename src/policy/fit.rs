//! Fits the laws of pauses to pauses: which law, which jitter, which base.
//!
//! Every combination of law, factor, jitter and cap is tried at its most likely base (maximum
//! likelihood): factors, increments and parts that are in use, those that the medians and ranges
//! suggest, and from the best of these on by ever smaller steps, so that no other number is taken
//! for one in use. A pause is drawn from the jitter's range (uniform), plus what the client and the
//! network take, plus a little noise (logistic, three scales); one in fifty may be anything, so
//! that a stalled machine does not decide. Combinations are compared by Schwarz's criterion (G.
//! Schwarz, "Estimating the Dimension of a Model", 1978): −2·ln L + parameters·ln n, whose
//! differences weigh them as exp(−½Δ) (Kass and Raftery, "Bayes Factors", 1995). What has less
//! than a twentieth of the weight is ruled out; where more than one law or jitter is left, the
//! pauses do not tell. The base's interval holds all bases of what is left that are at most e³
//! times less likely than the best (for the end of a uniform range that is 95 % exactly, elsewhere
//! more).
//!
//! Even the most likely law may be far from the truth: it is named only if it predicts how the pauses
//! of each number, and all together, are spread. And two descriptions of the same pauses cannot be
//! told apart: from half the pause to the whole ("equal") is a third either way of a base that is a
//! quarter lower, so that neither this base nor that is claimed.

use super::{
    claim::BackOff,
    law::{Jitter, Law},
};
use std::{cell::RefCell, collections::BTreeMap};

/// A pause before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pause {
    /// Which of its call, from 1.
    pub nth: usize,
    /// How long, in seconds.
    pub seconds: f64,
    /// The pause before it, in seconds.
    pub before: Option<f64>,
}

/// The fewest pauses of one number that anything is made of.
const EACH_MIN: usize = 3;

/// The most pauses that are looked at: evenly chosen, if there are more.
const PAUSES_MAX: usize = 240;

/// The most pauses of which it is told what is looked at closely.
const COARSE_MAX: usize = 80;

/// The most pauses of one call that are looked at: by then a law has shown, and a client that tries
/// for ever does not make every number a place for a cap.
const NUMBERS_MAX: usize = 12;

/// Pauses of at most this, in seconds, are none: the client takes as long to make a request.
pub(super) const AT_ONCE: f64 = 0.015;

/// The factors of exponential laws that are in use, 1.6 being gRPC's.
const FACTORS: &[f64] = &[
    1.1, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0,
];

/// The increments of linear laws that are in use, as parts of the base.
const INCREMENTS: &[f64] = &[0.1, 0.2, 0.3, 0.5, 1.0, 2.0];

/// The parts of the pause that proportional jitter adds and takes away, those in use: 1/7 is a quarter
/// taken from the whole.
const PARTS: &[f64] = &[
    0.05,
    0.1,
    1.0 / 7.0,
    0.2,
    0.25,
    0.3,
    1.0 / 3.0,
    0.35,
    0.4,
    0.5,
];

/// The greatest part of the pause either way: where nearly nothing may be left it is full jitter.
const PART_MAX: f64 = 0.6;

/// The steps by which factors, increments and parts are moved to where they are most likely, as parts
/// of them (of the logarithm of a factor).
const STEPS: &[f64] = &[0.2, 0.1, 0.05, 0.02, 0.01, 0.005];

/// How much more likely, in terms of the criterion, a number must be than one in use.
const UNUSUAL: f64 = 2.0;

/// How far another factor must be, as a part of it, to be ruled out before one is named.
const FACTOR_OFF: f64 = 0.1;

/// And an increment, which is a part of the base.
const INCREMENT_OFF: f64 = 0.25;

/// What clients and networks take besides, in seconds.
const OVERHEADS: &[f64] = &[0.0, 0.002, 0.005, 0.01, 0.02, 0.05];

/// The steps by which the overhead is moved to where it is most likely, in seconds.
const OVERHEAD_STEPS: &[f64] = &[0.004, 0.002, 0.001, 0.0005, 0.0002];

/// What they take on the average, as is believed before anything is seen (exponential): of a pause
/// that is always the same nothing tells how much of it is overhead.
const OVERHEAD_MEAN: f64 = 0.005;

/// How much that varies, in seconds.
const NOISES: &[f64] = &[0.0005, 0.002, 0.008];

/// How much a timer varies, as a part of its time.
const TIMER_PART: f64 = 0.003;

/// How many pauses may be anything.
const STRAY: f64 = 0.02;

/// The most strays that a law that fits may leave.
const STRAYS_MAX: f64 = 0.2;

/// The most pauses of one number that may be longer than none, where there is said to be none.
const LONGER_MAX: f64 = 0.1;

/// The fewest pauses of one number of which it is said that they are short, whatever their law.
const SHORT_MIN: usize = 20;

/// The factors at which a base's interval may end.
const BASE_STEPS: &[f64] = &[
    1.001, 1.002, 1.004, 1.006, 1.01, 1.015, 1.02, 1.03, 1.04, 1.05, 1.065, 1.08, 1.1, 1.125, 1.15,
    1.175, 1.2, 1.225, 1.25, 1.3,
];

/// The steps by which a base is moved to where it is most likely, as parts of it.
const BASE_MOVES: [f64; 5] = [0.02, 0.01, 0.005, 0.002, 0.001];

/// As far as all of these lead, at the most, as a factor.
const REACH: f64 = 1.05;

/// Beyond this the logistic function is 1, and less than the last digit of 1 on the other side.
const DEEP: f64 = 40.0;

/// A law with less weight is ruled out.
const WEIGHT_MIN: f64 = 0.05;

/// What is less likely than the best by more than this, in natural logarithms, is ruled out.
const LIKELY: f64 = 3.0;

/// How many combinations are looked at closely.
const FINALISTS_MAX: usize = 60;

/// The first pause that may be at a cap.
const CAP_FROM: usize = 2;

/// A cap of fewer bases is none: pauses that hardly grow.
const CAP_MIN: f64 = 1.5;

/// How much less than the pause before it a cap may be, and how much more than the first one at it would
/// be without.
const CAP_LESS: f64 = 0.99;
const CAP_MORE: f64 = 1.05;

/// How much longer than what draws are cut at the longest must be.
const CUT_MORE: f64 = 1.2;

/// How far, at the most, the share of the pauses that are no longer than a time may be from the one
/// that a law predicts: so many times one over the root of their number (A. Kolmogorov, 1933; one
/// in a thousand samples of the true law is farther).
const PREDICTED: f64 = 1.95;

/// What a pause may be off besides, as a part of it.
const OFF_PART: f64 = 0.02;

/// And in seconds: what clients, timers and a busy machine add.
const OFF_SLACK: f64 = 0.008;

/// The least base that is claimed, in seconds: what a busy machine adds to every pause is as long as a
/// shorter one.
const BASE_MIN: f64 = 0.04;

/// How far a base may be off, as a factor, before none is claimed.
const BASE_FACTOR_MAX: f64 = 1.25;

/// One combination.
#[derive(Debug, Clone)]
struct Model {
    law: Law,
    /// The factor of an exponential law, the increment of a linear one.
    factor: f64,
    jitter: Spread,
    cap: Cap,
    /// Whether its factor or its jitter's part is none of those in use.
    is_unusual: bool,
}

/// How pauses are kept short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cap {
    /// Not at all.
    None,
    /// Before jitter, from this pause on.
    From(usize),
    /// What was drawn is cut, as redis-py does: the longer draws are all the cap.
    Drawn,
}

/// A jitter with its parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    None,
    Full,
    Equal,
    Part(f64),
    Added(f64),
    Decorrelated,
}

/// A combination at its most likely base.
#[derive(Debug, Clone)]
struct Fit {
    model: Model,
    base: f64,
    cap: Option<f64>,
    overhead: f64,
    noise: f64,
    score: f64,
}

/// What pauses say.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitted {
    /// A law, or several that fit.
    Law(BackOff),
    /// Nothing, for this reason.
    Unknown(String),
}

/// The law of pauses.
pub fn fit(pauses: &[Pause]) -> Fitted {
    let count = pauses.len();
    let Some(last) = last_number(pauses) else {
        return Fitted::Unknown(format!(
            "{count} pauses, fewer than {EACH_MIN} of them first ones"
        ));
    };
    let pauses: Vec<Pause> = pauses
        .iter()
        .copied()
        .filter(|one| one.nth <= last)
        .collect();
    if (1..=last).all(|nth| are_none(&pauses, nth)) {
        return Fitted::Law(none());
    }
    let is_short = (1..=last).all(|nth| may_be_none(&pauses, nth));
    let fitted = fit_law(pauses.clone(), last, count);
    let laws = match &fitted {
        Fitted::Law(found) => found.laws.as_slice(),
        Fitted::Unknown(_) => &[],
    };
    let is_named = laws.len() == 1;
    // What nearly none of them shows is not claimed against a client that pauses not at all.
    let are_short = (1..=last).all(|nth| are_short(&pauses, nth)) && !laws.contains(&Law::None);
    if !is_named && (is_short || are_short) {
        let why = format!("{count} pauses, nearly none of them long enough to tell");
        return Fitted::Unknown(why);
    }
    fitted
}

/// The law of pauses that are not all none: of each number up to the last there are enough.
fn fit_law(mut pauses: Vec<Pause>, last: usize, count: usize) -> Fitted {
    thin(&mut pauses, PAUSES_MAX);
    let sample = Sample::new(pauses, last);
    let finalists = sample.finalists();
    let Some(best) = finalists.first() else {
        return Fitted::Unknown(format!("{count} pauses fit none of the known laws"));
    };
    if sample.strays(best) > STRAYS_MAX || !sample.is_predicted(best) {
        return Fitted::Unknown(format!("{count} pauses fit none of the known laws"));
    }
    Fitted::Law(sample.conclude(&finalists))
}

/// Whether the pauses of a number are none, but for a few of many.
fn are_none(pauses: &[Pause], nth: usize) -> bool {
    let count = of(pauses, nth).count();
    let longer = of(pauses, nth).filter(|seconds| *seconds > AT_ONCE).count();
    longer <= (count as f64 * LONGER_MAX) as usize
}

/// Whether the pauses of a number may be none, or drawn from so little that some look so: some of a
/// few are, or half of many.
fn may_be_none(pauses: &[Pause], nth: usize) -> bool {
    let count = of(pauses, nth).count();
    let at_once = of(pauses, nth)
        .filter(|seconds| *seconds <= AT_ONCE)
        .count();
    let is_few = (count as f64) * LONGER_MAX < 1.0;
    at_once * 2 >= count || (is_few && at_once > 0)
}

/// Whether the pauses of a number are many, and nearly none is longer than what a busy machine makes
/// of none: no law shows in these, whichever they fit.
fn are_short(pauses: &[Pause], nth: usize) -> bool {
    let count = of(pauses, nth).count();
    let longer = of(pauses, nth)
        .filter(|seconds| *seconds > BASE_MIN)
        .count();
    count >= SHORT_MIN && longer as f64 <= count as f64 * STRAYS_MAX
}

/// Leaves every n-th pause of each number where there are more than `most`.
fn thin(pauses: &mut Vec<Pause>, most: usize) {
    let step = pauses.len().div_ceil(most);
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    pauses.retain(|pause| {
        let count = seen.entry(pause.nth).or_default();
        *count += 1;
        (*count - 1).is_multiple_of(step)
    });
}

fn none() -> BackOff {
    BackOff {
        laws: vec![Law::None],
        jitters: vec![Jitter::None],
        factor: None,
        base_us: None,
        cap_us: None,
    }
}

/// The greatest number of a pause up to which there are enough of each, at most [`NUMBERS_MAX`].
fn last_number(pauses: &[Pause]) -> Option<usize> {
    let enough = |nth: &usize| of(pauses, *nth).count() >= EACH_MIN;
    (1..=NUMBERS_MAX).take_while(enough).last()
}

fn of(pauses: &[Pause], nth: usize) -> impl Iterator<Item = f64> {
    let own = pauses.iter().filter(move |one| one.nth == nth);
    own.map(|one| one.seconds)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The pauses that laws are tried on.
struct Sample {
    pauses: Vec<Pause>,
    /// The greatest number of a pause.
    last: usize,
    /// The shortest.
    least: f64,
    /// The longest, which strays are not expected to exceed.
    span: f64,
    /// For each number from which there may be a cap, in order: the pauses before it, and the others.
    parts: Vec<(Vec<Pause>, Vec<Pause>)>,
    /// The caps that were found: they are the same for every law.
    caps: RefCell<BTreeMap<CapOf, Option<(f64, f64)>>>,
}

/// What a cap depends on: the first number, the jitter with its parameter, overhead, noise, and how
/// finely it was looked for; all fractions by their bits.
type CapOf = (usize, (Jitter, u64), u64, u64, bool);

/// The bases that count, the least and the greatest.
type Within = (f64, f64);

/// All of them.
const ANY: Within = (0.0, f64::INFINITY);

/// How far sums of rounded numbers may be off, and more: nothing is passed over for less.
const ROUNDING: f64 = 1e-6;

impl Sample {
    fn new(pauses: Vec<Pause>, last: usize) -> Self {
        let times = || pauses.iter().map(|one| one.seconds);
        let part = |from| pauses.iter().partition(|one| one.nth < from);
        Self {
            least: times().fold(f64::INFINITY, f64::min),
            span: times().fold(0.0, f64::max).max(0.001) * 1.5,
            last,
            parts: (CAP_FROM..last).map(part).collect(),
            caps: RefCell::default(),
            pauses,
        }
    }

    /// The pauses before a cap, and those at it.
    fn parts(&self, cap: Cap) -> (&[Pause], &[Pause]) {
        match cap {
            Cap::None | Cap::Drawn => (&self.pauses, &[]),
            Cap::From(from) => {
                let (below, at_cap) = &self.parts[from - CAP_FROM];
                (below, at_cap)
            }
        }
    }

    /// Every combination.
    fn models(&self) -> Vec<Model> {
        let shapes = self.shapes();
        let spreads = self.spreads();
        let mut models = Vec::new();
        for (law, factor, is_guess) in shapes {
            let mut caps = vec![Cap::None];
            if law != Law::Fixed {
                // At least two pauses at the cap show it.
                caps.extend((CAP_FROM..self.last).map(Cap::From));
            }
            if law != Law::Fixed && self.last > 2 {
                caps.push(Cap::Drawn);
            }
            for cap in caps {
                // A fixed pause with an amount on top is a proportional one, and without jitter it
                // is the same when it is cut.
                let meant = spreads.iter().filter(|(jitter, _)| match jitter {
                    Spread::Added(_) => law != Law::Fixed && cap != Cap::Drawn,
                    Spread::None => cap != Cap::Drawn,
                    _ => true,
                });
                models.extend(meant.map(|(jitter, is_unusual)| Model {
                    law,
                    factor,
                    jitter: *jitter,
                    cap,
                    is_unusual: is_guess || *is_unusual,
                }));
            }
        }
        if self.last > 1 {
            models.push(Model {
                law: Law::Exponential,
                factor: 3.0,
                jitter: Spread::Decorrelated,
                cap: Cap::None,
                is_unusual: false,
            });
        }
        models
    }

    /// Laws with their factors, and whether these are none of those in use. With one pause a call they
    /// are all alike.
    fn shapes(&self) -> Vec<(Law, f64, bool)> {
        let mut shapes = vec![(Law::Fixed, 1.0, false)];
        if self.last > 1 {
            let linear = INCREMENTS.iter();
            shapes.extend(linear.map(|part| (Law::Linear, *part, false)));
            let exponential = FACTORS.iter();
            shapes.extend(exponential.map(|factor| (Law::Exponential, *factor, false)));
            shapes.extend(self.suggested());
        }
        shapes
    }

    /// Factors and increments by the medians of the first pauses.
    fn suggested(&self) -> Vec<(Law, f64, bool)> {
        let middles = (1..=self.last).map(|nth| median(of(&self.pauses, nth)));
        let middles: Vec<f64> = middles.collect();
        let (first, second) = (middles[0].max(1e-5), middles[1]);
        let mut suggested = vec![
            (Law::Exponential, second / first, true),
            (Law::Linear, second / first - 1.0, true),
        ];
        if let Some(third) = middles.get(2) {
            // What is added to every pause is in no difference.
            let growth = (third - second) / (second - first);
            suggested.push((Law::Exponential, growth, true));
            suggested.push((Law::Exponential, third / second, true));
        }
        suggested.retain(|(law, factor, _)| match law {
            Law::Linear => (0.05..=10.0).contains(factor),
            _ => (1.05..=20.0).contains(factor),
        });
        suggested
    }

    /// Jitters, and whether their parts are none of those in use.
    fn spreads(&self) -> Vec<(Spread, bool)> {
        let plain = [Spread::None, Spread::Full, Spread::Equal];
        let parts = PARTS.iter().map(|part| Spread::Part(*part));
        let mut spreads: Vec<(Spread, bool)> = plain
            .into_iter()
            .chain(parts)
            .map(|one| (one, false))
            .collect();
        let range = self.range();
        let middle = median(of(&self.pauses, 1));
        let part = self.range_of(1) / 2.0 / middle.max(1e-5);
        if (0.03..=PART_MAX).contains(&part) {
            spreads.push((Spread::Part(part), true));
        }
        if self.last > 1 && range > AT_ONCE {
            let parts = [0.9, 0.96, 1.0, 1.05, 1.12];
            spreads.extend(
                parts
                    .iter()
                    .map(|part| (Spread::Added(range * part), false)),
            );
        }
        spreads
    }

    /// How far pauses of one number lie apart, on the average of the numbers: the range that a
    /// uniform distribution must have for that, (n + 1)/(n − 1) times what is seen.
    fn range(&self) -> f64 {
        let ranges = (1..=self.last).map(|nth| self.range_of(nth));
        ranges.sum::<f64>() / self.last as f64
    }

    /// The same of one number.
    fn range_of(&self, nth: usize) -> f64 {
        let (mut low, mut high, mut count) = (f64::INFINITY, 0.0f64, 0.0);
        for seconds in of(&self.pauses, nth) {
            (low, high, count) = (low.min(seconds), high.max(seconds), count + 1.0);
        }
        (high - low) * (count + 1.0) / (count - 1.0f64).max(1.0)
    }

    /// The combinations that fit best, the best first, each with what it can be.
    fn finalists(&self) -> Vec<Fit> {
        let overheads = [0.0, self.least.min(0.01)];
        let mut some = self.pauses.clone();
        thin(&mut some, COARSE_MAX);
        let some = Self::new(some, self.last);
        let mut fits: Vec<Fit> = Vec::new();
        for model in self.models() {
            // What is worse than all that may be looked at closely need not be known.
            let last = fits.get(FINALISTS_MAX - 1);
            let most = last.map_or(f64::INFINITY, |fit| fit.score);
            let Some(fit) = some.best_below(&model, &overheads, most) else {
                continue;
            };
            // Behind those that are as good, as they came.
            let place = fits.partition_point(|one| one.score.total_cmp(&fit.score).is_le());
            fits.insert(place, fit);
            fits.truncate(FINALISTS_MAX);
        }
        let overheads: Vec<f64> = OVERHEADS
            .iter()
            .copied()
            .filter(|overhead| *overhead <= self.least)
            .collect();
        let mut fits: Vec<Fit> = fits
            .into_iter()
            .filter_map(|fit| self.best(&fit.model, &overheads, NOISES, true))
            .collect();
        fits.sort_by(|one, other| one.score.total_cmp(&other.score));
        // The best of each kind is moved to where it is most likely.
        let kind = |fit: &Fit| (fit.model.law, fit.model.jitter.name(), fit.model.cap);
        let mut kinds = Vec::new();
        let mut moved = Vec::new();
        for fit in &fits {
            if !kinds.contains(&kind(fit)) {
                kinds.push(kind(fit));
                let settled = self.settled(fit);
                moved.extend(self.moved(&settled));
                moved.push(settled);
            }
        }
        fits.extend(moved);
        fits.sort_by(|one, other| one.score.total_cmp(&other.score));
        fits
    }

    /// A fit with the overhead at which it is most likely.
    fn settled(&self, fit: &Fit) -> Fit {
        let mut best = fit.clone();
        for step in OVERHEAD_STEPS {
            for overhead in [best.overhead - step, best.overhead + step] {
                let is_possible = (0.0..=self.least).contains(&overhead);
                let found = is_possible
                    .then(|| self.at(&fit.model, overhead, fit.noise, true))
                    .flatten();
                best = found
                    .filter(|found| found.score < best.score)
                    .unwrap_or(best);
            }
        }
        best
    }

    /// A fit with its factor and its jitter's part where they are most likely; `None` where they are
    /// already.
    fn moved(&self, fit: &Fit) -> Option<Fit> {
        let mut best: Option<Fit> = None;
        for step in STEPS {
            for step in [1.0 - step, 1.0 + step] {
                for way in [Model::with_factor, Model::with_part] {
                    let from = best.as_ref().unwrap_or(fit);
                    let model = way(&from.model, step);
                    let found = model
                        .and_then(|model| self.at(&model, from.overhead, from.noise, true))
                        .filter(|found| found.score < from.score);
                    best = found.or(best);
                }
            }
        }
        best
    }

    /// A combination at about its best, over overheads and all noises but the least; `None` also where that
    /// is worse than this score.
    fn best_below(&self, model: &Model, overheads: &[f64], most: f64) -> Option<Fit> {
        let mut best: Option<Fit> = None;
        for overhead in overheads {
            for noise in &NOISES[1..] {
                let most = best.as_ref().map_or(most, |known| known.score);
                let found = self.at_below(model, (*overhead, *noise), false, most);
                best = match (best, found) {
                    (Some(known), Some(found)) if found.score < known.score => Some(found),
                    (known, found) => known.or(found),
                };
            }
        }
        best
    }

    /// A combination at its best, over overheads and noises.
    fn best(&self, model: &Model, overheads: &[f64], noises: &[f64], fine: bool) -> Option<Fit> {
        let mut best: Option<Fit> = None;
        for overhead in overheads {
            for noise in noises {
                let Some(found) = self.at(model, *overhead, *noise, fine) else {
                    continue;
                };
                if best.as_ref().is_none_or(|known| found.score < known.score) {
                    best = Some(found);
                }
            }
        }
        best
    }

    /// A combination at its most likely base.
    fn at(&self, model: &Model, overhead: f64, noise: f64, fine: bool) -> Option<Fit> {
        self.at_below(model, (overhead, noise), fine, f64::INFINITY)
    }

    /// The same; `None` also where it is worse than this score, but for what is looked for finely.
    fn at_below(
        &self,
        model: &Model,
        (overhead, noise): (f64, f64),
        fine: bool,
        most: f64,
    ) -> Option<Fit> {
        let place = Place {
            overhead,
            noise,
            cut: (model.cap == Cap::Drawn).then(|| self.longest() - overhead),
            ..Place::new(model, self.span)
        };
        let (below, at_cap) = self.parts(model.cap);
        let at_cap = match model.cap {
            Cap::From(_) => Some(self.cap_of(&place, at_cap, fine)?),
            Cap::None | Cap::Drawn => None,
        };
        let fixed = model.parameters() * (self.pauses.len() as f64).ln()
            + if model.is_unusual { UNUSUAL } else { 0.0 };
        let others = at_cap.map_or(0.0, |found| found.1) - overhead / OVERHEAD_MEAN;
        let enough = (fixed - most) / 2.0 - others - ROUNDING;
        let cap = at_cap.map(|found| found.0);
        let (base, mut likelihood) =
            place.most_likely(below, fine, self.possible(&place, cap), enough)?;
        let cap = match model.cap {
            Cap::None => None,
            Cap::Drawn => {
                let cut = place.cut?;
                // Cut it is only where draws would be longer, and not all of them.
                let most = base * model.growth(self.last);
                if most < cut * CUT_MORE || cut < base * CAP_MIN {
                    return None;
                }
                Some(cut)
            }
            Cap::From(from) => {
                let (cap, more) = at_cap?;
                likelihood += more;
                let (before, after) = (model.growth(from - 1), model.growth(from));
                if cap < base * CAP_MIN {
                    return None;
                }
                if cap < base * before * CAP_LESS || cap > base * after * CAP_MORE {
                    return None;
                }
                Some(cap)
            }
        };
        let weight = (self.pauses.len() as f64).ln();
        likelihood -= overhead / OVERHEAD_MEAN;
        let unusual = if model.is_unusual { UNUSUAL } else { 0.0 };
        Some(Fit {
            score: model.parameters() * weight + unusual - 2.0 * likelihood,
            model: model.clone(),
            base,
            cap,
            overhead,
            noise,
        })
    }

    /// The most likely cap of these pauses, and how likely it is.
    fn cap_of(&self, place: &Place<'_>, at_cap: &[Pause], fine: bool) -> Option<(f64, f64)> {
        let model = place.model;
        let bits = (place.overhead.to_bits(), place.noise.to_bits());
        let of = (model.cap.from(), model.jitter.bits(), bits.0, bits.1, fine);
        if let Some(known) = self.caps.borrow().get(&of) {
            return *known;
        }
        let flat = Model {
            law: Law::Fixed,
            ..model.clone()
        };
        let place = Place::new(&flat, self.span).with(place.overhead, place.noise);
        let found = place.most_likely(at_cap, fine, ANY, f64::NEG_INFINITY);
        self.caps.borrow_mut().insert(of, found);
        found
    }

    /// The bases with which a combination may have its cap.
    fn possible(&self, place: &Place<'_>, cap: Option<f64>) -> Within {
        let growth = |nth| place.growth(nth);
        match (place.model.cap, cap, place.cut) {
            (Cap::From(from), Some(cap), _) => {
                let most = cap / CAP_MIN.max(growth(from - 1) * CAP_LESS);
                (cap / (growth(from) * CAP_MORE), most)
            }
            (Cap::Drawn, _, Some(cut)) => (cut * CUT_MORE / growth(self.last), cut / CAP_MIN),
            _ => ANY,
        }
    }

    /// The pause that most of the last ones are, if they are cut.
    fn longest(&self) -> f64 {
        median(of(&self.pauses, self.last))
    }

    /// The share of the pauses that a fit takes for strays.
    fn strays(&self, fit: &Fit) -> f64 {
        let place = Place::of(fit, self.span);
        let floor = STRAY / (1.0 - STRAY) / self.span;
        let strays = self.pauses.iter().filter(|pause| {
            let scale = fit.scale(pause.nth);
            place.density(pause, scale) < floor
        });
        strays.count() as f64 / self.pauses.len() as f64
    }

    /// Whether a fit predicts how the pauses are spread, those of each number and all together: of
    /// the known laws even the most likely may be far from the truth.
    fn is_predicted(&self, fit: &Fit) -> bool {
        let place = Place::of(fit, self.span);
        let ranks = |nth: Option<usize>| {
            let own = self.pauses.iter();
            let own = own.filter(|pause| nth.is_none_or(|nth| pause.nth == nth));
            own.map(|pause| place.ranks(pause, fit.scale(pause.nth)))
                .collect::<Vec<(f64, f64)>>()
        };
        (1..=self.last).all(|nth| are_even(&ranks(Some(nth)))) && are_even(&ranks(None))
    }

    /// What is left when what does not fit is ruled out.
    fn conclude(&self, fits: &[Fit]) -> BackOff {
        let least = fits[0].score;
        let weight = |fit: &Fit| (-(fit.score - least) / 2.0).exp();
        // The best of each law with each jitter stands for all of them.
        let mut pairs: Vec<(Law, Jitter, f64)> = Vec::new();
        for fit in fits {
            let (law, jitter) = (fit.model.law, fit.model.jitter.name());
            if !pairs.iter().any(|pair| (pair.0, pair.1) == (law, jitter)) {
                pairs.push((law, jitter, weight(fit)));
            }
        }
        let whole: f64 = pairs.iter().map(|pair| pair.2).sum();
        let share = |chosen: &dyn Fn(&(Law, Jitter, f64)) -> bool| {
            let own = pairs.iter().filter(|pair| chosen(pair));
            own.map(|pair| pair.2).sum::<f64>() / whole
        };
        let mut laws = Law::ALL.to_vec();
        if self.last > 1 {
            laws.retain(|law| share(&|pair| pair.0 == *law) >= WEIGHT_MIN);
        } else {
            laws.retain(|law| *law != Law::None);
        }
        let has = |law| laws.contains(&law);
        if has(Law::Fixed) && !has(Law::None) && fits[0].base < BASE_MIN {
            // So little is what a busy machine takes for an attempt that comes at once.
            laws.insert(0, Law::None);
        }
        let mut jitters = Jitter::ALL.to_vec();
        let is_equal = share(&|pair| pair.1 == Jitter::Equal) >= WEIGHT_MIN;
        jitters.retain(|jitter| {
            share(&|pair| pair.1 == *jitter) >= WEIGHT_MIN
                || (is_equal && *jitter == Jitter::Proportional)
        });
        let left: Vec<&Fit> = fits
            .iter()
            .filter(|fit| weight(fit) / whole >= WEIGHT_MIN)
            .collect();
        BackOff {
            factor: self.factor(&laws, fits),
            base_us: self.base(&left, &fits[0]).filter(|_| !is_equal),
            cap_us: cap(&left),
            laws,
            jitters,
        }
    }

    /// The factor, where the law is known and another factor is out of the question.
    fn factor(&self, laws: &[Law], fits: &[Fit]) -> Option<f64> {
        let [law @ (Law::Exponential | Law::Linear)] = laws else {
            return None;
        };
        let best = fits.iter().find(|fit| fit.model.law == *law)?;
        let off = if *law == Law::Linear {
            INCREMENT_OFF
        } else {
            FACTOR_OFF
        };
        let is_ruled_out = |factor: f64| {
            let model = Model {
                factor,
                ..best.model.clone()
            };
            let other = self.best(&model, &[best.overhead], NOISES, true);
            other.is_none_or(|other| other.score > best.score + 2.0 * LIKELY)
        };
        let known = best.model.factor;
        let is_known = is_ruled_out(known * (1.0 + off)) && is_ruled_out(known / (1.0 + off));
        is_known.then(|| (known * 100.0).round() / 100.0)
    }

    /// The base with its interval, where it is known to a fifth.
    fn base(&self, left: &[&Fit], best: &Fit) -> Option<(u64, u64, u64)> {
        let (mut low, mut high) = (best.base, best.base);
        for fit in left {
            let (least, most) = self.bases(fit);
            (low, high) = (low.min(least), high.max(most));
        }
        let micros = |seconds: f64| (seconds * 1e6).round() as u64;
        let is_known = best.base >= BASE_MIN
            && best.base <= low * BASE_FACTOR_MAX
            && high <= best.base * BASE_FACTOR_MAX;
        is_known.then(|| (micros(best.base), micros(low), micros(high)))
    }

    /// The least and the greatest base that are about as likely as the best of a fit, whatever the
    /// overhead and the noise.
    fn bases(&self, fit: &Fit) -> (f64, f64) {
        let place = Place::of(fit, self.span);
        let (below, _) = self.parts(fit.model.cap);
        let believed = |place: &Place<'_>, base: f64| {
            place.likelihood(below, base) - place.overhead / OVERHEAD_MEAN
        };
        let enough = believed(&place, fit.base) - LIKELY;
        let overheads = OVERHEADS.iter().filter(|own| **own <= self.least);
        let overheads: Vec<f64> = overheads.copied().chain([fit.overhead]).collect();
        let is_likely = |base: f64| {
            overheads.iter().any(|overhead| {
                let likely = |noise: &f64| believed(&place.with(*overhead, *noise), base) >= enough;
                NOISES.iter().any(likely)
            })
        };
        let reach = |up: bool| {
            // Overheads lie apart, and so may the bases that go with them.
            let steps = BASE_STEPS.iter().rev();
            let bases = steps.map(|step| if up { fit.base * step } else { fit.base / step });
            bases.into_iter().find(|base| is_likely(*base))
        };
        (
            reach(false).unwrap_or(fit.base),
            reach(true).unwrap_or(fit.base),
        )
    }
}

/// The cap, where all that is left has one, of the best.
fn cap(left: &[&Fit]) -> Option<u64> {
    let caps: Option<Vec<f64>> = left.iter().map(|fit| fit.cap).collect();
    caps?.first().map(|cap| (cap * 1e6).round() as u64)
}

impl Model {
    /// The n-th pause before jitter, as a multiple of the base.
    fn growth(&self, nth: usize) -> f64 {
        let before = nth as f64 - 1.0;
        match self.law {
            Law::None | Law::Fixed => 1.0,
            Law::Linear => 1.0 + self.factor * before,
            Law::Exponential => self.factor.powf(before),
        }
    }

    /// How many numbers it was free to choose.
    fn parameters(&self) -> f64 {
        let law = if self.law == Law::Fixed { 0.0 } else { 1.0 };
        let jitter = match self.jitter {
            Spread::None | Spread::Full | Spread::Equal => 0.0,
            // It has no factor to choose.
            Spread::Decorrelated => -1.0,
            Spread::Part(_) | Spread::Added(_) => 1.0,
        };
        let cap = if self.cap == Cap::None { 0.0 } else { 1.0 };
        1.0 + law + jitter + cap
    }

    /// The same with a factor that is so much greater or less, where it has one.
    fn with_factor(&self, step: f64) -> Option<Self> {
        let factor = match self.law {
            _ if self.jitter == Spread::Decorrelated => return None,
            Law::Linear => self.factor * step,
            Law::Exponential => self.factor.powf(step),
            Law::None | Law::Fixed => return None,
        };
        Some(Self {
            factor,
            is_unusual: true,
            ..self.clone()
        })
    }

    /// The same with a part or an amount of jitter that is so much greater or less, where it has one.
    fn with_part(&self, step: f64) -> Option<Self> {
        let jitter = match self.jitter {
            Spread::Part(part) => Spread::Part((part * step).min(PART_MAX)),
            Spread::Added(most) => Spread::Added(most * step),
            _ => return None,
        };
        Some(Self {
            jitter,
            is_unusual: self.is_unusual || matches!(jitter, Spread::Part(_)),
            ..self.clone()
        })
    }
}

impl Cap {
    /// The first pause that is the cap itself, before jitter.
    const fn from(self) -> usize {
        match self {
            Self::From(nth) => nth,
            Self::None | Self::Drawn => usize::MAX,
        }
    }
}

impl Fit {
    /// What the n-th pause is a multiple of.
    fn scale(&self, nth: usize) -> f64 {
        match self.cap {
            Some(cap) if nth >= self.model.cap.from() => cap / self.model.growth(nth),
            _ => self.base,
        }
    }
}

impl Spread {
    const fn name(self) -> Jitter {
        match self {
            Self::None => Jitter::None,
            Self::Full => Jitter::Full,
            Self::Equal => Jitter::Equal,
            Self::Part(_) => Jitter::Proportional,
            Self::Added(_) => Jitter::Additive,
            Self::Decorrelated => Jitter::Decorrelated,
        }
    }

    /// What tells it from every other.
    const fn bits(self) -> (Jitter, u64) {
        let parameter = match self {
            Self::Part(part) => part.to_bits(),
            Self::Added(most) => most.to_bits(),
            _ => 0,
        };
        (self.name(), parameter)
    }

    /// The mean of what is drawn: a part of the pause, and what is added to it.
    const fn mean(self) -> (f64, f64) {
        match self {
            Self::None | Self::Part(_) => (1.0, 0.0),
            Self::Full => (0.5, 0.0),
            Self::Equal => (0.75, 0.0),
            Self::Added(most) => (1.0, most / 2.0),
            Self::Decorrelated => (1.0, 0.0),
        }
    }
}

/// A combination with all but its base.
#[derive(Clone, Copy)]
struct Place<'a> {
    model: &'a Model,
    overhead: f64,
    noise: f64,
    span: f64,
    /// At what time a longer draw is cut.
    cut: Option<f64>,
    /// The model's growth by the pause's number.
    growths: [f64; NUMBERS_MAX + 1],
}

impl<'a> Place<'a> {
    /// Without overhead, noise and cut.
    fn new(model: &'a Model, span: f64) -> Self {
        Self {
            model,
            overhead: 0.0,
            noise: 0.0,
            span,
            cut: None,
            growths: std::array::from_fn(|nth| model.growth(nth)),
        }
    }

    fn of(fit: &'a Fit, span: f64) -> Self {
        Self {
            cut: fit.cap.filter(|_| fit.model.cap == Cap::Drawn),
            ..Self::new(&fit.model, span).with(fit.overhead, fit.noise)
        }
    }

    /// The n-th pause before jitter, as a multiple of the base.
    fn growth(&self, nth: usize) -> f64 {
        self.growths[nth]
    }

    /// The same with another overhead and another noise.
    fn with(self, overhead: f64, noise: f64) -> Self {
        Self {
            overhead,
            noise,
            ..self
        }
    }

    /// The most likely base and how likely it is; `None` also where that cannot be one of those within,
    /// or, of what is not looked for finely, is not more likely than `enough`.
    fn most_likely(
        &self,
        pauses: &[Pause],
        fine: bool,
        within: Within,
        enough: f64,
    ) -> Option<(f64, f64)> {
        let whole: Vec<Pause>;
        let telling = match self.cut {
            None => pauses,
            Some(cut) => {
                whole = uncut(pauses, cut);
                &whole
            }
        };
        if telling.is_empty() {
            return None;
        }
        let (middle, highest) = self.guesses(telling);
        let around: &[f64] = if fine {
            &[0.8, 0.86, 0.92, 0.96, 1.0, 1.04, 1.08, 1.15, 1.25]
        } else {
            &[0.93, 1.0, 1.07]
        };
        let near = around.iter().map(|factor| middle * factor);
        let above = [0.98, 1.0, 1.03].iter().map(|factor| highest * factor);
        let reach = if fine { REACH } else { 1.0 } + ROUNDING;
        let is_within = |base: f64| base * reach >= within.0 && base <= within.1 * reach;
        if !near.clone().chain(above.clone()).any(is_within) {
            return None;
        }
        let bounds = self.bounds(pauses);
        // From a base that is less likely than this the steps may lead to one that is more.
        let enough = if fine { f64::NEG_INFINITY } else { enough };
        let mut best = (0.0, enough);
        let look = |best: &mut (f64, f64), base: f64| {
            if let Some(likelihood) = self.likelihood_above(pauses, base, &bounds, best.1) {
                *best = (base, likelihood);
            }
        };
        for base in near.chain(above) {
            look(&mut best, base);
        }
        if fine {
            for step in BASE_MOVES {
                for base in [best.0 * (1.0 - step), best.0 * (1.0 + step)] {
                    look(&mut best, base);
                }
            }
        }
        (best.0 > 0.0 && best.1.is_finite()).then_some(best)
    }

    /// For each pause how likely it and all after it can be at the most, whatever the base: nowhere lie
    /// pauses denser than the noise does at its middle.
    fn bounds(&self, pauses: &[Pause]) -> Vec<f64> {
        let stray = STRAY / self.span;
        let mut bounds = vec![ROUNDING; pauses.len() + 1];
        for (index, pause) in pauses.iter().enumerate().rev() {
            let peak = 1.0 / (4.0 * self.noise_of(pause));
            let most = ((1.0 - STRAY) * peak + stray).ln() + ROUNDING;
            bounds[index] = bounds[index + 1] + most;
        }
        bounds
    }

    /// The logarithm of the likelihood of pauses with a base, where it is greater than `least`; what is
    /// not is given up where that is certain.
    fn likelihood_above(
        &self,
        pauses: &[Pause],
        base: f64,
        bounds: &[f64],
        least: f64,
    ) -> Option<f64> {
        let stray = STRAY / self.span;
        let nothing = stray.ln();
        // Of each number the last one and its logarithm: deep within a range they are all alike.
        let mut last = [(f64::NAN, 0.0); NUMBERS_MAX + 1];
        let mut sum = 0.0;
        for (pause, after) in pauses.iter().zip(&bounds[1..]) {
            let whole = (1.0 - STRAY) * self.density(pause, base) + stray;
            let known = &mut last[pause.nth];
            if whole == stray {
                sum += nothing;
            } else {
                if whole != known.0 {
                    *known = (whole, whole.ln());
                }
                sum += known.1;
            }
            if sum + after < least {
                return None;
            }
        }
        (sum > least).then_some(sum)
    }

    /// Two bases to begin with: by the median of the pauses, and by the longest.
    fn guesses(&self, pauses: &[Pause]) -> (f64, f64) {
        let net = pauses.iter().map(|pause| pause.seconds - self.overhead);
        if self.model.jitter == Spread::Decorrelated {
            // The shortest of many pauses is the base itself.
            let least = net.fold(f64::INFINITY, f64::min).max(1e-5);
            return (least / 1.07, least);
        }
        let (part, added) = self.model.jitter.mean();
        let growth = |pause: &Pause| self.growth(pause.nth);
        let scaled = net.zip(pauses).map(|(own, pause)| (own, growth(pause)));
        let scaled: Vec<(f64, f64)> = scaled.collect();
        let own = scaled.iter();
        let middle = median(own.map(|(own, growth)| (own - added) / part / growth));
        let tops = scaled.iter();
        let tops = tops.map(|(own, growth)| (own - 2.0 * added) / growth);
        (middle.max(1e-5), tops.fold(1e-5, f64::max))
    }

    /// The logarithm of the likelihood of pauses with a base.
    fn likelihood(&self, pauses: &[Pause], base: f64) -> f64 {
        let stray = STRAY / self.span;
        let each = pauses.iter().map(|pause| {
            let own = (1.0 - STRAY) * self.density(pause, base);
            (own + stray).ln()
        });
        each.sum()
    }

    /// The range that a pause is drawn from.
    fn range(&self, pause: &Pause, base: f64) -> (f64, f64) {
        let whole = base * self.growth(pause.nth);
        match self.model.jitter {
            Spread::None => (whole, whole),
            Spread::Full => (0.0, whole),
            Spread::Equal => (whole / 2.0, whole),
            Spread::Part(part) => (whole * (1.0 - part), whole * (1.0 + part)),
            Spread::Added(most) => (whole, whole + most),
            Spread::Decorrelated => {
                let before = pause.before.map_or(base, |before| before - self.overhead);
                (base, (before * 3.0).max(base * 1.001))
            }
        }
    }

    /// Which share of the pauses that could be in the place of one are shorter, at the least and at
    /// the most, as far as a pause can be measured.
    fn ranks(&self, pause: &Pause, base: f64) -> (f64, f64) {
        let (low, high) = self.range(pause, base);
        let slack = OFF_PART * pause.seconds + OFF_SLACK;
        let share = |time: f64| {
            if self.cut.is_some_and(|cut| time >= cut) {
                return 1.0;
            }
            if high - low < 1e-6 {
                return if time < low { 0.0 } else { 1.0 };
            }
            ((time - low) / (high - low)).clamp(0.0, 1.0)
        };
        let time = pause.seconds - self.overhead;
        (share(time - slack), share(time + slack))
    }

    /// How much a pause varies: a timer's as its time.
    fn noise_of(&self, pause: &Pause) -> f64 {
        self.noise + TIMER_PART * pause.seconds
    }

    /// How dense pauses lie at this one.
    fn density(&self, pause: &Pause, base: f64) -> f64 {
        let time = pause.seconds - self.overhead;
        let (low, high) = self.range(pause, base);
        // Of the pause that was seen: a noise that grew with the base would favour small ones.
        let noise = self.noise_of(pause);
        let peak = |at: f64| {
            let tail = (-((time - at) / noise).abs()).exp();
            tail / (noise * (1.0 + tail) * (1.0 + tail))
        };
        if high - low < 1e-6 {
            return peak(low);
        }
        let between = |from: f64, to: f64| {
            let (since, until) = ((time - from) / noise, (time - to) / noise);
            if since >= DEEP && until <= -DEEP {
                return 1.0;
            }
            logistic(since) - logistic(until)
        };
        match self.cut {
            Some(cut) if cut <= low => peak(cut),
            Some(cut) if cut < high => {
                (between(low, cut) + (high - cut) * peak(cut)) / (high - low)
            }
            _ => between(low, high) / (high - low),
        }
    }
}

/// The pauses of those numbers none of which is as long as the cut.
fn uncut(pauses: &[Pause], cut: f64) -> Vec<Pause> {
    let mut longest: BTreeMap<usize, f64> = BTreeMap::new();
    for pause in pauses {
        let own = longest.entry(pause.nth).or_default();
        *own = own.max(pause.seconds);
    }
    let is_cut = |nth: usize| longest.get(&nth).is_some_and(|most| *most > cut * 0.95);
    let own = pauses.iter().copied();
    own.filter(|pause| !is_cut(pause.nth)).collect()
}

/// Whether ranks lie as evenly between 0 and 1 as those of a sample of the true law do, each
/// anywhere in its interval, but for a few strays.
fn are_even(ranks: &[(f64, f64)]) -> bool {
    let count = ranks.len() as f64;
    let most = PREDICTED / count.sqrt() + STRAY;
    let sorted = |ends: Vec<f64>| {
        let mut ends = ends;
        ends.sort_by(f64::total_cmp);
        ends
    };
    let lows = sorted(ranks.iter().map(|rank| rank.0).collect());
    let highs = sorted(ranks.iter().map(|rank| rank.1).collect());
    let too_many = |(index, high): (usize, &f64)| (index + 1) as f64 / count > high + most;
    let too_few = |(index, low): (usize, &f64)| (index as f64 / count) < low - most;
    !highs.iter().enumerate().any(too_many) && !lows.iter().enumerate().any(too_few)
}

fn logistic(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::f64::consts::TAU;

    fn first(seconds: &[f64]) -> Vec<Pause> {
        let pause = |seconds: &f64| Pause {
            nth: 1,
            seconds: *seconds,
            before: None,
        };
        seconds.iter().map(pause).collect()
    }

    /// Calls with these pauses each, all with a little more that varies a little.
    fn calls(pauses: &[f64], count: usize) -> Vec<Pause> {
        let mut all = Vec::new();
        for call in 0..count {
            for (index, seconds) in pauses.iter().enumerate() {
                let more = 0.0015 + 0.001 * ((call * 7 + index * 3) % 10) as f64 / 10.0;
                all.push(Pause {
                    nth: index + 1,
                    seconds: seconds + more,
                    before: None,
                });
            }
        }
        all
    }

    #[test]
    fn a_base_is_what_it_is_however_many_pauses_there_are() {
        for base in [0.05, 0.1, 0.2] {
            for count in [20, 40, 80] {
                let Fitted::Law(found) = fit(&calls(&[base; 3], count)) else {
                    panic!("{base} of {count}");
                };
                assert_eq!(found.law(), Some(Law::Fixed), "{base} of {count}: {found}");
                let (value, low, high) = found.base_us.expect("a base");
                let micros = base * 1e6;
                let off = value as f64 / micros;
                assert!((0.9..1.1).contains(&off), "{base} of {count}: {found}");
                // The overhead is in it: nothing tells how much that is.
                assert!(
                    (low as f64) <= micros && high > low,
                    "{base} of {count}: {found}"
                );
            }
        }
    }

    /// So many calls of three pauses each, evenly spread over a range in no order.
    fn spread(low: f64, high: f64, count: usize) -> Vec<Pause> {
        let own = (0..count * 3).map(|nth| {
            let place = (nth * 37 % (count * 3)) as f64 / (count * 3 - 1) as f64;
            Pause {
                nth: nth % 3 + 1,
                seconds: low + (high - low) * place + 0.002,
                before: None,
            }
        });
        own.collect()
    }

    #[track_caller]
    fn law(pauses: &[Pause]) -> BackOff {
        match fit(pauses) {
            Fitted::Law(found) => found,
            Fitted::Unknown(why) => panic!("{why}"),
        }
    }

    #[test]
    fn factors_that_nobody_uses_are_found_as_well() {
        for factor in [1.15f64, 1.7, 1.8, 2.2, 3.5, 7.0] {
            let pauses: Vec<f64> = (0..4).map(|nth| 0.5 * factor.powi(nth)).collect();
            let found = law(&calls(&pauses, 12));
            assert_eq!(found.law(), Some(Law::Exponential), "{factor}: {found}");
            assert_eq!(found.jitter(), Some(Jitter::None), "{factor}: {found}");
            let off = found.factor.expect("a factor") / factor;
            assert!((0.97..1.03).contains(&off), "{factor}: {found}");
        }
        for increment in [0.15, 0.3, 0.7, 3.0] {
            let pauses: Vec<f64> = (0..4)
                .map(|nth| 0.5 * (1.0 + increment * f64::from(nth)))
                .collect();
            let found = law(&calls(&pauses, 12));
            assert_eq!(found.law(), Some(Law::Linear), "{increment}: {found}");
            assert_eq!(found.jitter(), Some(Jitter::None), "{increment}: {found}");
        }
        // A number that is in use is not replaced by one next to it, however many pauses there are.
        for count in [12, 80] {
            let found = law(&calls(&[0.1, 0.2, 0.4], count));
            assert_eq!(found.factor, Some(2.0), "{found}");
            let (_, low, high) = found.base_us.expect("a base");
            assert!(low <= 100_100 && 100_000 <= high, "{found}");
        }
    }

    #[test]
    fn a_third_either_way_is_not_called_half_to_whole() {
        for (part, count) in [(0.35, 40), (1.0 / 3.0, 40), (1.0 / 3.0, 12)] {
            let found = law(&spread(1.0 - part, 1.0 + part, count));
            assert_eq!(found.law(), Some(Law::Fixed), "{part}: {found}");
            assert!(
                found.jitters.contains(&Jitter::Proportional),
                "{part}: {found}"
            );
            // One of the two bases would be wrong.
            let off = found.base_us.map_or(1.0, |base| base.0 as f64 / 1e6);
            assert!((0.9..1.1).contains(&off), "{part}: {found}");
        }
        let narrow = law(&spread(0.78, 1.22, 40));
        assert_eq!(narrow.jitter(), Some(Jitter::Proportional), "{narrow}");
        let base = narrow.base_us.expect("a base").0 as f64 / 1e6;
        assert!((0.95..1.05).contains(&base), "{narrow}");
    }

    #[test]
    fn draws_that_are_cut_are_told_from_pauses_that_are_capped() {
        // redis-py: at most 0.4 s of anything up to 20 ms, 40 ms, 80 ms ….
        let mut pauses = Vec::new();
        for call in 0..30usize {
            for nth in 1..=9usize {
                let place = ((call * 11 + nth * 7) % 30) as f64 / 29.0;
                let drawn = place * 0.02 * 2f64.powi(nth as i32 - 1);
                pauses.push(Pause {
                    nth,
                    seconds: drawn.min(0.4) + 0.002,
                    before: None,
                });
            }
        }
        let found = law(&pauses);
        assert_eq!(found.law(), Some(Law::Exponential), "{found}");
        assert_eq!(found.jitter(), Some(Jitter::Full), "{found}");
        let cap = found.cap_us.expect("a cap");
        assert!((390_000..=410_000).contains(&cap), "{found}");
        if let Some((base, ..)) = found.base_us {
            assert!((17_000..=24_000).contains(&base), "{found}");
        }
    }

    #[test]
    fn pauses_of_two_kinds_fit_no_law() {
        let mut two = calls(&[0.1; 3], 20);
        two.extend(calls(&[0.3; 3], 20));
        assert!(matches!(fit(&two), Fitted::Unknown(_)), "{:?}", fit(&two));
        // Mostly at once, and sometimes not.
        let mut seldom = calls(&[0.001; 2], 11);
        seldom.extend(calls(&[1.0; 2], 9));
        let found = fit(&seldom);
        assert!(matches!(found, Fitted::Unknown(_)), "{found:?}");
    }

    #[test]
    fn two_pauses_show_no_law() {
        assert!(matches!(fit(&first(&[0.1, 0.1])), Fitted::Unknown(_)));
        assert!(matches!(fit(&[]), Fitted::Unknown(_)));
    }

    #[test]
    fn pauses_of_a_few_milliseconds_are_none() {
        assert_eq!(
            fit(&first(&[0.002, 0.004, 0.003, 0.006])),
            Fitted::Law(none())
        );
        // One of ten may be anything.
        let mut ten = [0.003; 10];
        ten[4] = 0.04;
        assert_eq!(fit(&first(&ten)), Fitted::Law(none()));
    }

    #[test]
    fn pauses_as_short_as_a_busy_machine_makes_them_may_be_none() {
        let laws = |pause: f64| {
            let pauses: Vec<Pause> = (0..60)
                .map(|n| Pause {
                    nth: 1 + n % 3,
                    seconds: pause + 0.0002 * (n % 7) as f64,
                    before: None,
                })
                .collect();
            match fit(&pauses) {
                Fitted::Law(found) => found.laws,
                Fitted::Unknown(why) => panic!("{why}"),
            }
        };
        assert!(laws(0.022).contains(&Law::None), "{:?}", laws(0.022));
        assert_eq!(laws(0.2), [Law::Fixed]);
    }

    /// What a client that pauses for so many seconds, drawn from nothing on, does in a call of four
    /// attempts on a machine so busy that half of its steps take longer than `busy`.
    fn on_a_busy_machine(seed: u64, busy: f64, bases: [f64; 3]) -> Vec<Pause> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut pauses = Vec::new();
        for _ in 0..48 {
            for (before, base) in bases.iter().enumerate() {
                // Log-normal (Box and Muller, 1958): a tenth takes four times as long.
                let normal = (-2.0 * (1.0 - uniform()).ln()).sqrt() * (TAU * uniform()).cos();
                pauses.push(Pause {
                    nth: before + 1,
                    seconds: base * uniform() + busy * (1.1 * normal).exp(),
                    before: None,
                });
            }
        }
        pauses
    }

    #[test]
    fn none_is_never_ruled_out_by_a_busy_machine() {
        for seed in 0..12 {
            let busy = [0.003, 0.006, 0.009, 0.012][seed as usize % 4];
            match fit(&on_a_busy_machine(seed, busy, [0.0; 3])) {
                Fitted::Law(found) => assert!(found.laws.contains(&Law::None), "{busy}: {found}"),
                Fitted::Unknown(why) => assert!(why.ends_with("long enough to tell"), "{why}"),
            }
        }
    }

    #[test]
    fn a_short_law_is_not_ruled_out_by_its_shortness() {
        // Up to 4, 8 and 16 ms, and up to 30 ms in calls of two attempts.
        let short = on_a_busy_machine(1, 0.002, [0.004, 0.008, 0.016]);
        let mut single = on_a_busy_machine(2, 0.002, [0.03; 3]);
        single.iter_mut().for_each(|pause| pause.nth = 1);
        for pauses in [short, single] {
            match fit(&pauses) {
                Fitted::Law(found) => assert!(found.laws.contains(&Law::Exponential), "{found}"),
                Fitted::Unknown(why) => assert!(why.ends_with("long enough to tell"), "{why}"),
            }
        }
    }

    #[test]
    fn one_pause_a_call_of_some_milliseconds_may_be_none() {
        let Fitted::Law(found) = fit(&first(&[0.022, 0.0225, 0.021, 0.0231, 0.0222])) else {
            panic!("a law");
        };
        assert_eq!(found.laws, Law::ALL);
    }

    #[test]
    fn a_law_on_a_busy_machine_is_not_taken_for_none() {
        for seed in 0..4 {
            let Fitted::Law(found) = fit(&on_a_busy_machine(seed, 0.006, [0.2, 0.4, 0.8])) else {
                panic!("a law");
            };
            assert_eq!(found.laws, [Law::Exponential]);
        }
    }

    #[test]
    fn a_few_pauses_some_of_which_are_none_are_too_short_to_tell() {
        // Anything up to 50 ms, or none and a stalled machine.
        for pauses in [
            &[0.004, 0.009, 0.041][..],
            &[0.002, 0.004, 0.003, 0.04],
            &[0.004, 0.021, 0.041],
            &[
                0.002, 0.004, 0.003, 0.04, 0.05, 0.001, 0.002, 0.01, 0.012, 0.003, 0.04,
            ],
        ] {
            let Fitted::Unknown(why) = fit(&first(pauses)) else {
                panic!("{pauses:?}: {:?}", fit(&first(pauses)));
            };
            assert!(why.ends_with("long enough to tell"), "{why}");
        }
    }

    #[test]
    fn with_one_pause_a_call_all_laws_are_alike() {
        let Fitted::Law(found) = fit(&first(&[0.2, 0.2003, 0.2011, 0.2002, 0.2004])) else {
            panic!("a law");
        };
        assert_eq!(found.law(), None);
        assert_eq!(found.laws.len(), 3);
        let (base, ..) = found.base_us.expect("a base");
        assert!((190_000..210_000).contains(&base), "{base}");
    }
}
