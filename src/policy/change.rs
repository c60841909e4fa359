//! Whether a client changed its behaviour half-way: a configuration reloaded, another version rolled
//! out, a second kind of client. What was before and what came after must not be averaged.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding},
    material::{Group, Material},
};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "change",
    summary: "that the behaviour changed half-way, and when; the other claims are then made of each part by itself",
    infer,
};

/// How probable a difference may be, at the most, where nothing changed: a run asks this of some
/// dozens of series.
const CHANCE_MAX: f64 = 0.005;

/// The fewest samples before and after a change.
const SIDE_MIN: usize = 5;

/// The fewest samples among which a change would be found: with so many, and other from the first or the
/// last quarter on, it is by chance in 0.3 % (see [`find`]). Half-way eighteen would be enough.
const TELLING_MIN: usize = 32;

/// The least factor between the medians of both sides: less is of no consequence to anybody.
const FACTOR_MIN: f64 = 1.25;

/// A change in a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The first sample that is other than those before.
    pub index: usize,
    /// The median before.
    pub before: f64,
    /// The median after.
    pub after: f64,
    /// How probable so great a difference is where nothing changed, at the most.
    pub chance: f64,
}

/// Where a series changed its level, by Pettitt's test (A. N. Pettitt, "A non-parametric approach to
/// the change-point problem", Applied Statistics 28, 1979): the place where the ranks before and
/// after differ most, U(t) = 2·Σ rank − t·(n + 1), with K = max |U(t)| so great by chance with
/// probability 2·exp(−6K² / (n³ + n²)) at the most. It asks nothing of the distribution but that
/// samples are independent.
pub fn find(series: &[f64]) -> Option<Change> {
    let count = series.len() as f64;
    let ranks = ranks(series);
    let mut sum = 0.0;
    let mut most = (0, 0.0f64);
    for (index, rank) in ranks
        .iter()
        .enumerate()
        .take(series.len().saturating_sub(1))
    {
        sum += rank;
        let distance = (2.0 * sum - (index as f64 + 1.0) * (count + 1.0)).abs();
        if distance > most.1 {
            most = (index + 1, distance);
        }
    }
    let (index, distance) = most;
    let chance = 2.0 * (-6.0 * distance * distance / (count.powi(3) + count.powi(2))).exp();
    let (before, after) = (middle(&series[..index])?, middle(&series[index..])?);
    let factor = before.max(after) / before.min(after).max(f64::MIN_POSITIVE);
    let is_told = chance <= CHANCE_MAX
        && index >= SIDE_MIN
        && series.len() - index >= SIDE_MIN
        && factor >= FACTOR_MIN;
    is_told.then_some(Change {
        index,
        before,
        after,
        chance,
    })
}

/// The rank of each sample, from 1; equal ones share the mean of theirs.
fn ranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|one, other| series[*one].total_cmp(&series[*other]));
    let mut ranks = vec![0.0; series.len()];
    let mut from = 0;
    while from < order.len() {
        let same = |index: &&usize| series[**index] == series[order[from]];
        let count = order[from..].iter().take_while(same).count();
        for index in &order[from..from + count] {
            ranks[*index] = from as f64 + (count as f64 + 1.0) / 2.0;
        }
        from += count;
    }
    ranks
}

fn middle(series: &[f64]) -> Option<f64> {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let claim = |shift: &super::material::Shift| {
        let finding = Finding::Changed {
            at: shift.at,
            what: shift.what.clone(),
            chance: shift.chance,
        };
        shift.group.claim(Aspect::Change, finding, shift.samples)
    };
    let changed = material.shifts.iter().map(claim);
    let alike = material.groups.iter().filter_map(|group| {
        let mut shifts = material.shifts.iter().map(|shift| &shift.group);
        let is_cut = shifts.any(|other| {
            other.operation == group.name.operation && other.cause == group.name.cause
        });
        let is_alike = !is_cut && group.given_up().next().is_some();
        is_alike.then(|| alike(group))
    });
    changed.chain(alike).collect()
}

/// That the calls of a group, in which no change was found, do not show any: nothing that they show has
/// too few samples for that.
fn alike(group: &Group<'_>) -> Claim {
    let count = group.given_up().count();
    if let Some(claim) = group.doubtful(Aspect::Change, count) {
        return claim;
    }
    let series = group.series().into_iter();
    let shown = series.filter(|one| !one.values.is_empty());
    let finding = match shown.min_by_key(|one| one.values.len()) {
        Some(fewest) if fewest.values.len() >= TELLING_MIN => Finding::Does {
            does: false,
            part: 0,
            whole: count as u64,
        },
        fewest => {
            let of = fewest.map_or((0, "attempts a call"), |one| (one.values.len(), one.what));
            let (few, what) = of;
            Finding::Unknown {
                why: format!(
                    "of {count} calls {few} show it ({what}), and of fewer than {TELLING_MIN} a change would not show"
                ),
            }
        }
    };
    group.claim(Aspect::Change, finding, count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_step_is_found_where_it_is() {
        let mut series = vec![5.0; 12];
        series.extend([3.0; 14]);
        let found = find(&series).expect("a change");
        assert_eq!((found.index, found.before, found.after), (12, 5.0, 3.0));
        assert_eq!(find(&[5.0; 40]), None);
        assert_eq!(find(&[]), None);
        // Too few to say so.
        assert_eq!(find(&[5.0, 5.0, 5.0, 3.0, 3.0, 3.0]), None);
    }

    #[test]
    fn random_series_are_called_changed_in_fewer_than_one_of_a_hundred() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        for count in [10, 30, 200] {
            let found = (0..1_000).filter(|_| {
                let series: Vec<f64> = (0..count).map(|_| uniform()).collect();
                find(&series).is_some()
            });
            let found = found.count();
            assert!(found < 10, "{found} of 1000 with {count}");
        }
    }
}
