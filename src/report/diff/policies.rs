//! Policies: what the system's clients did, as inferred from the wire.
//!
//! How often a client tries and when it gives up are neither good nor bad in themselves; but a
//! program that nobody changed and that does it otherwise than before is what its users find out in
//! the next outage. Where that is certain it is called [`Change::Changed`], of which the comparison
//! as a whole takes notice unless it was wanted. Everything else about a client is told and no more.

use super::{
    Change, SectionDef,
    finding::{Found, TIME_LEAST_US, Verdict},
    pairs::{Pair, unless},
    statistics::{Part, fisher},
};
use crate::{
    policy::{Aspect, BackOff, Basis, Claim, Finding},
    report::ScenarioReport,
};

/// The registry's entry.
pub const POLICIES: SectionDef = SectionDef {
    name: "policies",
    compare,
};

/// What a client must not do otherwise unnoticed: how often it tries, and when it gives up.
const NOTICED: [Aspect; 5] = [
    Aspect::Attempts,
    Aspect::WholeCall,
    Aspect::ConnectTimeout,
    Aspect::FirstByteTimeout,
    Aspect::BetweenBytesTimeout,
];

/// How much wider than theirs intervals are taken to be. Two of 95 % that are disjoint when so
/// stretched are nearly four standard errors apart or more: certain among hundreds of claims.
const STRETCHED: f64 = 2.0;

/// The least share of calls that a claimed number of attempts rests on, as it is inferred.
const ALIKE: f64 = 0.9;

/// The most that it may be chance that other numbers of attempts stand out.
const CHANCE_MAX: f64 = 1e-4;

fn claims(one: &ScenarioReport) -> &[Claim] {
    one.policies.as_ref().map_or(&[], |all| &all.claims)
}

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let version = |one: &ScenarioReport| one.policies.as_ref().map(|all| all.version);
    let inferred_otherwise = (version(pair.old) != version(pair.new))
        .then(|| "the runs' policies were inferred in different ways".to_owned());
    let why = pair.incomparable().or(inferred_otherwise);
    of_claims(
        (claims(pair.old), claims(pair.new)),
        pair.noise,
        why.as_ref(),
    )
}

/// The claims of two runs, old and new. `why`: why nothing can be told of the two, if so.
pub(super) fn of_claims(
    (old, new): (&[Claim], &[Claim]),
    noise: f64,
    why: Option<&String>,
) -> Vec<Found> {
    let find = |all: &'static str, list: &[Claim], one: &Claim| {
        let mut list = list.iter();
        (all, list.find(|other| is_same(other, one)).cloned())
    };
    let mut found = Vec::new();
    for after in new {
        match find("old", old, after) {
            (_, Some(before)) => found.push(both(&before, after, noise, why)),
            (lacking, None) => found.extend(alone(after, lacking)),
        }
    }
    for before in old {
        if let (lacking, None) = find("new", new, before) {
            found.extend(alone(before, lacking));
        }
    }
    found
}

/// Whether both are about the same.
fn is_same(one: &Claim, other: &Claim) -> bool {
    let key = |claim: &Claim| {
        (
            claim.dependency.clone(),
            claim.operation.clone(),
            claim.cause,
            claim.aspect,
            claim.detail.clone(),
        )
    };
    key(one) == key(other)
}

fn row(claim: &Claim, old: String, new: String, verdict: Verdict) -> Found {
    Found {
        of: claim.subject(),
        what: claim.heading(),
        old,
        new,
        verdict,
    }
}

/// What one run only shows: the other may have had no occasion for it. Of what is not known, or
/// that a client does not do what few clients do, nothing is lost by its absence.
fn alone(claim: &Claim, lacking: &str) -> Option<Found> {
    let shown = claim.shown();
    let (old, new) = match lacking {
        "old" => ("–".to_owned(), shown),
        _ => (shown, "–".to_owned()),
    };
    let why = Verdict::unknown(format!("the {lacking} run does not show it"));
    claim.is_remarkable().then(|| row(claim, old, new, why))
}

fn both(old: &Claim, new: &Claim, noise: f64, why: Option<&String>) -> Found {
    let verdict = match standing(old, new, noise) {
        Standing::Same => Verdict::Fact(Change::NoChange, None),
        Standing::Unknown(why) => Verdict::unknown(why),
        Standing::Other if [old, new].iter().any(|one| one.basis == Basis::Grouped) => {
            let why = "attempts were grouped by time, which is a guess";
            Verdict::Fact(Change::Different, Some(why.to_owned()))
        }
        Standing::Other if NOTICED.contains(&new.aspect) => Verdict::Fact(Change::Changed, None),
        Standing::Other => Verdict::Fact(Change::Different, None),
    };
    row(new, old.shown(), new.shown(), unless(why.cloned(), verdict))
}

/// How two findings stand to each other.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Alike, or too little apart to matter.
    Same,
    /// Certainly not alike.
    Other,
    /// Not known, and why.
    Unknown(String),
}

impl Standing {
    fn of(is_same: bool) -> Self {
        if is_same { Self::Same } else { Self::Other }
    }
}

/// A number with an interval around it.
#[derive(Debug, Clone, Copy)]
struct Around {
    value: f64,
    low: f64,
    high: f64,
}

impl Around {
    fn stretched(value: f64, low: f64, high: f64) -> Self {
        Self {
            value,
            low: value - (value - low) * STRETCHED,
            high: value + (high - value) * STRETCHED,
        }
    }

    /// How it stands to another; a difference below `least` does not matter.
    fn beside(self, other: Self, least: f64) -> Standing {
        let apart = (self.value - other.value).abs();
        if apart == 0.0 || apart < least {
            Standing::Same
        } else if self.high < other.low || other.high < self.low {
            Standing::Other
        } else {
            Standing::Unknown("it differs, but it may be chance".to_owned())
        }
    }
}

fn standing(old: &Claim, new: &Claim, noise: f64) -> Standing {
    match (&old.finding, &new.finding) {
        (Finding::Unknown { .. }, _) | (_, Finding::Unknown { .. }) => {
            Standing::Unknown("not identifiable in one of the runs".to_owned())
        }
        (Finding::Count { value: before, .. }, Finding::Count { value: after, .. })
            if before != after && other_attempts(old, new) =>
        {
            Standing::Other
        }
        (Finding::Time { value_us, .. }, Finding::AtLeast { value_us: seen })
        | (Finding::AtLeast { value_us: seen }, Finding::Time { value_us, .. }) => {
            // A time-out that is longer than what was seen of the other may be the same.
            let least = (*value_us as f64 * (1.0 + noise)) as u64 + TIME_LEAST_US;
            if *seen > least {
                Standing::Other
            } else {
                Standing::Unknown("one of the runs did not show it long enough".to_owned())
            }
        }
        (Finding::AtLeast { .. }, Finding::AtLeast { .. })
        | (Finding::Changed { .. }, Finding::Changed { .. }) => Standing::Same,
        (Finding::BackOff(before), Finding::BackOff(after)) => pauses(before, after, noise),
        (Finding::Does { does: before, .. }, Finding::Does { does: after, .. }) => {
            Standing::of(before == after)
        }
        (before, after) => match (number(before), number(after)) {
            (Some(before), Some(after)) => before.beside(after, least(&old.finding, noise)),
            _ => Standing::Unknown("the runs show it in different ways".to_owned()),
        },
    }
}

/// Whether so many calls that were tried equally often are not those of one client that tries
/// sometimes this and sometimes that often, though a few calls of either run were others.
fn other_attempts(old: &Claim, new: &Claim) -> bool {
    let part = |claim: &Claim, share: f64| Part {
        hits: (claim.samples as f64 * share).round() as u64,
        all: claim.samples,
    };
    let is_attempts = new.aspect == Aspect::Attempts;
    is_attempts && fisher(part(old, ALIKE), part(new, 1.0 - ALIKE)) <= CHANCE_MAX
}

fn number(finding: &Finding) -> Option<Around> {
    Some(match finding {
        Finding::Count { value, low, high } => Around {
            value: *value as f64,
            low: *low as f64,
            high: *high as f64,
        },
        Finding::Time {
            value_us,
            low_us,
            high_us,
            ..
        } => Around::stretched(*value_us as f64, *low_us as f64, *high_us as f64),
        Finding::Budget { retries, slack, .. } => Around {
            value: *retries as f64,
            low: retries.saturating_sub(*slack) as f64,
            high: (retries + slack) as f64,
        },
        Finding::Factor { value, low, high } => Around::stretched(*value, *low, *high),
        _ => return None,
    })
}

/// How much the old finding must differ to matter.
fn least(old: &Finding, noise: f64) -> f64 {
    match old {
        Finding::Time { value_us, .. } => (*value_us as f64 * noise).max(TIME_LEAST_US as f64),
        Finding::Factor { value, .. } => value * noise,
        _ => 0.0,
    }
}

/// Laws and jitters that have one in common may be the same.
fn pauses(old: &BackOff, new: &BackOff, noise: f64) -> Standing {
    let law = old.laws.iter().any(|law| new.laws.contains(law));
    let jitter = old.jitters.iter().any(|one| new.jitters.contains(one));
    if !(law && jitter) {
        return Standing::Other;
    }
    let base = |one: &BackOff| {
        let (value, low, high) = one.base_us?;
        Some(Around::stretched(value as f64, low as f64, high as f64))
    };
    match (base(old), base(new)) {
        (Some(before), Some(after)) => before.beside(after, before.value * noise),
        _ => Standing::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::{Cause, Jitter, Law},
        units::Micros,
    };

    fn claim(aspect: Aspect, finding: Finding) -> Claim {
        Claim {
            dependency: "s3".into(),
            operation: Some("PutObject".into()),
            cause: Some(Cause::NoAnswer),
            window: (Micros(0), Micros(1)),
            aspect,
            detail: None,
            finding,
            samples: 20,
            basis: Basis::Headers,
        }
    }

    fn count(value: u64, low: u64, high: u64) -> Finding {
        Finding::Count { value, low, high }
    }

    fn time(value_us: u64, low_us: u64, high_us: u64) -> Finding {
        Finding::Time {
            value_us,
            low_us,
            high_us,
            confidence: 0.95,
        }
    }

    #[track_caller]
    fn check(aspect: Aspect, old: Finding, new: Finding, is: &str) {
        for (one, other) in [(&old, &new), (&new, &old)] {
            let standing = standing(
                &claim(aspect, one.clone()),
                &claim(aspect, other.clone()),
                0.2,
            );
            let word = match standing {
                Standing::Same => "same",
                Standing::Other => "other",
                Standing::Unknown(_) => "unknown",
            };
            assert_eq!(word, is, "{one:?} {other:?}");
        }
    }

    #[test]
    fn findings_are_other_only_where_that_is_certain() {
        let (attempts, whole) = (Aspect::Attempts, Aspect::WholeCall);
        check(attempts, count(5, 5, 5), count(3, 3, 3), "other");
        check(attempts, count(5, 5, 5), count(5, 1, 5), "same");
        // A call or two were cut short in either run.
        check(attempts, count(5, 1, 5), count(3, 1, 3), "other");
        check(Aspect::Hedges, count(5, 1, 5), count(3, 1, 3), "unknown");
        let long = || time(6_100_000, 5_900_000, 6_300_000);
        check(whole, long(), time(170_000, 160_000, 180_000), "other");
        check(whole, long(), time(6_700_000, 6_650_000, 6_800_000), "same");
        check(
            whole,
            long(),
            time(8_000_000, 6_400_000, 9_000_000),
            "unknown",
        );
        let never = |value_us| Finding::AtLeast { value_us };
        check(whole, never(20_000_000), long(), "other");
        check(whole, never(3_000_000), long(), "unknown");
        check(whole, never(3_000_000), never(9_000_000), "same");
        let why = "too few".to_owned();
        check(whole, Finding::Unknown { why }, long(), "unknown");
        let does = |does| Finding::Does {
            does,
            part: 3,
            whole: 9,
        };
        check(Aspect::RetryAfter, does(true), does(false), "other");
        check(Aspect::RetryAfter, does(true), does(true), "same");
    }

    #[test]
    fn a_law_is_other_if_none_fits_both() {
        let law = |laws: &[Law], base: u64| {
            Finding::BackOff(BackOff {
                laws: laws.to_vec(),
                jitters: vec![Jitter::Full],
                factor: None,
                base_us: Some((base, base * 9 / 10, base * 11 / 10)),
                cap_us: None,
            })
        };
        let both = [Law::Linear, Law::Exponential];
        let aspect = Aspect::BackOff;
        check(
            aspect,
            law(&both, 50_000),
            law(&[Law::Linear], 50_000),
            "same",
        );
        check(
            aspect,
            law(&both, 50_000),
            law(&[Law::Fixed], 50_000),
            "other",
        );
        check(aspect, law(&both, 50_000), law(&both, 1_000_000), "other");
        check(aspect, law(&both, 50_000), law(&both, 65_000), "unknown");
    }
}
