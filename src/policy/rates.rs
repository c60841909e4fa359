//! What trouble at a dependency does to the requests: more to itself (amplification), and to others in
//! its stead (fallback).
//!
//! Trouble is when a fault on the dependency was in force: a window that the calls themselves chose,
//! as from the first that failed to the last, would be full of calls whatever they do. Nothing is
//! said where fewer than three calls failed in it.
//!
//! Rates are compared as of calls that come at random, each with so many attempts (a compound Poisson
//! process): the logarithm of a count of attempts has a standard error of √(Σx²)/Σx, where x are the
//! attempts of each call, and the interval of 95 % of a ratio follows from both (K. Rothman,
//! Epidemiology, 14). A count of nothing is taken for a half.
//!
//! Who is asked more asks more. Where more or fewer operations of a load came in than in the steady
//! phases, by more than chance, the factor is that of what each operation asks; and as nobody says what
//! comes of which load, and what of none, its interval holds all that the loads may have brought about.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding},
    material::{Material, cause},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, Operation, View, Window},
    units::Micros,
};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "rates",
    summary: "how much more often a failing dependency is called, and who is called instead",
    infer,
};

/// The fewest requests in the steady phases that a rate is made of.
const BASELINE_MIN: u64 = 10;

/// The fewest calls to another dependency that show a fallback.
const CALLS_MIN: u64 = 3;

/// The greatest part of the failed calls that may have gone elsewhere, where none is said to have.
const ELSEWHERE_MAX: f64 = 0.1;

/// How much more often a fallback is called than in steady state, at the least and for certain.
const FALLBACK_MIN: f64 = 2.0;

/// The requests of some windows.
#[derive(Debug, Clone, Copy)]
struct Tally {
    attempts: u64,
    /// Of each call its attempts squared, together.
    squares: u64,
    seconds: f64,
}

/// When the dependency was in trouble, and how many calls failed then.
struct Trouble {
    windows: Vec<Window>,
    failed: u64,
}

impl Trouble {
    fn of(material: &Material<'_>) -> Option<Self> {
        let windows = material.under_fault();
        let history = material.view.history;
        let attempts = history.attempts_of(&material.dependency.name);
        let has_failed = |index: &u32| {
            let one = &attempts[*index as usize];
            is_in(&windows, one.began) && cause(one, &material.deaths).is_some()
        };
        let calls = history.calls_of(&material.dependency.name).iter();
        let failed = calls.filter(|call| call.attempts.iter().any(has_failed));
        let failed = failed.count() as u64;
        (failed > 0).then_some(Self { windows, failed })
    }

    fn window(&self) -> (Micros, Micros) {
        let first = self.windows.first().copied().unwrap_or_default();
        let last = self.windows.last().copied().unwrap_or_default();
        (first.from, last.to)
    }
}

fn is_in(windows: &[Window], at: Micros) -> bool {
    windows.iter().any(|window| window.contains(at))
}

/// How much more often the system was asked while there was trouble than in the steady phases.
#[derive(Debug, Clone, Copy)]
struct Demand {
    /// Of the load that grew least, or of what comes of no load: 1.
    least: f64,
    /// Of the load that grew most, or of what comes of no load: 1.
    most: f64,
    /// Of all loads together.
    all: f64,
}

impl Demand {
    fn of(view: &View<'_>, windows: &[Window]) -> Self {
        let steady = view.steady();
        let count = |own: &[Operation], windows: &[Window]| {
            let within = windows.iter().map(|one| one.of(own, |one| one.intended));
            within.map(<[Operation]>::len).sum::<usize>() as f64
        };
        let counts: Vec<(f64, f64)> = view
            .history
            .operations
            .values()
            .map(|own| (count(own, &steady), count(own, windows)))
            .collect();
        let all = counts.iter();
        let all = all.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let of = |counts: (f64, f64)| growth(counts, seconds(&steady), seconds(windows));
        let all = of(all);
        let each = || counts.iter().map(|counts| of(*counts)).chain([all]);
        Self {
            least: each().fold(1.0, f64::min),
            most: each().fold(1.0, f64::max),
            all,
        }
    }

    /// A factor of rates as one of what each operation asks.
    fn of_each(self, factor: Finding) -> Finding {
        match factor {
            Finding::Factor { value, low, high } => Finding::Factor {
                value: value / self.all,
                low: low / self.most,
                high: high / self.least,
            },
            other => other,
        }
    }

    /// That it was asked more, or less, in words.
    fn in_words(self) -> String {
        if self.least == 1.0 && self.most == 1.0 {
            return String::new();
        }
        format!(", while the system was asked {:.1}x as often", self.all)
    }
}

/// By what factor the rate of the second of two counts is greater than that of the first, these being
/// the seconds in which they were counted; 1 where that may be chance (95 %).
fn growth((before, after): (f64, f64), usual: f64, meanwhile: f64) -> f64 {
    if usual <= 0.0 || meanwhile <= 0.0 {
        return 1.0;
    }
    let (before, after) = (before.max(0.5), after.max(0.5));
    let factor = (after / meanwhile) / (before / usual);
    let error = 1.96 * (1.0 / before + 1.0 / after).sqrt();
    if factor.ln().abs() > error {
        factor
    } else {
        1.0
    }
}

fn seconds(windows: &[Window]) -> f64 {
    let seconds = windows.iter().map(|window| window.length().as_secs_f64());
    seconds.sum()
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let Some(trouble) = Trouble::of(material) else {
        return Vec::new();
    };
    let demand = Demand::of(material.view, &trouble.windows);
    let others = material.view.system.dependencies.iter();
    let others = others.filter(|other| other.name != material.dependency.name);
    [amplification(material, &trouble, demand)]
        .into_iter()
        .chain(others.filter_map(|other| fallback(material, &other.name, &trouble, demand)))
        .collect()
}

fn amplification(material: &Material<'_>, trouble: &Trouble, demand: Demand) -> Claim {
    let name = &material.dependency.name;
    let all = |_: &Attempt| true;
    let steady = tally(material.view, name, &material.view.steady(), &all);
    let during = tally(material.view, name, &trouble.windows, &all);
    let finding = if steady.attempts < BASELINE_MIN || trouble.failed < SAMPLES_MIN {
        Finding::Unknown {
            why: format!(
                "{} requests in the steady phases and {} calls that failed under a fault make no rates",
                steady.attempts, trouble.failed
            ),
        }
    } else {
        demand.of_each(factor(steady, during))
    };
    let samples = during.attempts;
    material.claim(Aspect::Amplification, trouble.window(), finding, samples)
}

/// Whether another dependency is called instead.
fn fallback(
    material: &Material<'_>,
    other: &str,
    trouble: &Trouble,
    demand: Demand,
) -> Option<Claim> {
    let view = material.view;
    // Who fails as well is called more often for that.
    let answered = |one: &Attempt| one.settled() && one.faults.is_empty();
    let steady = tally(view, other, &view.steady(), &answered);
    let during = tally(view, other, &trouble.windows, &answered);
    // And yet it may be called instead.
    let usual = tally(view, other, &view.steady(), &|_| true);
    let meanwhile = tally(view, other, &trouble.windows, &|_| true);
    if steady.seconds <= 0.0 || trouble.failed < SAMPLES_MIN {
        return None;
    }
    let more = demand.of_each(factor(steady, during));
    let Finding::Factor { low, high, .. } = more else {
        return None;
    };
    let finding = if during.attempts >= CALLS_MIN && low >= FALLBACK_MIN {
        more
    } else if meanwhile.attempts == 0
        || (high < FALLBACK_MIN
            && excess(usual, meanwhile, demand.least) < ELSEWHERE_MAX * trouble.failed as f64)
    {
        Finding::Does {
            does: false,
            part: during.attempts,
            whole: trouble.failed,
        }
    } else {
        Finding::Unknown {
            why: format!(
                "{other} was called {} times meanwhile, {:.0} at its usual rate, and {} calls failed{}",
                meanwhile.attempts,
                expected(usual, meanwhile),
                trouble.failed,
                demand.in_words()
            ),
        }
    };
    let samples = match finding {
        Finding::Factor { .. } => during.attempts,
        _ => trouble.failed,
    };
    Some(Claim {
        detail: Some(other.to_owned()),
        ..material.claim(Aspect::Fallback, trouble.window(), finding, samples)
    })
}

/// The attempts that began in windows.
fn tally(
    view: &View<'_>,
    name: &str,
    windows: &[Window],
    meant: &dyn Fn(&Attempt) -> bool,
) -> Tally {
    let attempts = view.history.attempts_of(name);
    let mut tally = Tally {
        attempts: 0,
        squares: 0,
        seconds: seconds(windows),
    };
    for call in view.history.calls_of(name) {
        let own = call.attempts.iter().map(|index| &attempts[*index as usize]);
        let own = own.filter(|one| is_in(windows, one.began) && meant(one));
        let own = own.count() as u64;
        tally.attempts += own;
        tally.squares += own * own;
    }
    tally
}

impl Tally {
    /// How many a second, and the square of that number's standard error as a part of it.
    fn rate(self) -> (f64, f64) {
        let count = (self.attempts as f64).max(0.5);
        let squares = (self.squares as f64).max(0.5);
        (count / self.seconds.max(1e-6), squares / (count * count))
    }
}

/// How many attempts there would have been at the first rate in the time of the second.
fn expected(usual: Tally, meanwhile: Tally) -> f64 {
    usual.attempts as f64 * meanwhile.seconds / usual.seconds.max(1e-6)
}

/// How many more there were, at the most (95 %), where no more than so many times as much was due.
fn excess(usual: Tally, meanwhile: Tally, due: f64) -> f64 {
    let times = due * meanwhile.seconds / usual.seconds.max(1e-6);
    let squares = meanwhile.squares as f64 + usual.squares as f64 * times * times;
    meanwhile.attempts as f64 - due * expected(usual, meanwhile) + 1.96 * squares.sqrt()
}

/// The second rate as a factor of the first.
fn factor(steady: Tally, during: Tally) -> Finding {
    let ((before, less), (after, more)) = (steady.rate(), during.rate());
    let value = after / before;
    let error = (1.96 * (less + more).sqrt()).exp();
    Finding::Factor {
        value,
        low: value / error,
        high: value * error,
    }
}
