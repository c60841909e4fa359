//! How long failing calls took, call by call, for a bound that every one of them must keep.
//!
//! A median hides the calls that wait ten times longer; so a bound is held against the calls
//! themselves, those of each operation and trouble apart: that reads end in time says nothing of
//! writes that wait.

use super::{
    claim::Cause,
    declared::{Seen, Standing},
    material::{Failing, Material},
    samples::{SAMPLES_MIN, Spell, Survival},
};
use crate::{
    history::View,
    units::{Micros, format_duration},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long the failing calls for one operation that met with one trouble took.
#[derive(Debug, Clone)]
pub struct Calls {
    /// The dependency.
    pub dependency: Arc<str>,
    /// The operation.
    pub operation: Arc<str>,
    /// What they met with; `None`: with several troubles.
    pub cause: Option<Cause>,
    /// When the first began.
    pub began: Micros,
    /// From the first attempt to the last one's end.
    whole: Vec<Spell>,
    /// The same as far as the attempts are one call beyond doubt.
    certain: Vec<Spell>,
    /// The spells of those that were given up.
    given_up: Vec<Spell>,
}

/// The failing calls of a dependency in the judged phases, by operation and trouble.
pub fn calls_of(view: &View<'_>, dependency: &str) -> Vec<Calls> {
    let Some(material) = Material::of(view, dependency) else {
        return Vec::new();
    };
    let mut sorted: BTreeMap<(Arc<str>, Option<Cause>), Calls> = BTreeMap::new();
    let grouped = material.groups.iter();
    let grouped = grouped.flat_map(|group| {
        let calls = group.calls.iter();
        calls.map(|call| (Some(group.name.cause), call))
    });
    let others = material.others.iter().map(|(cause, call)| (*cause, call));
    for (cause, call) in grouped.chain(others) {
        let operation = Arc::clone(&call.hit.attempts[0].operation);
        let own = sorted.entry((Arc::clone(&operation), cause));
        let own = own.or_insert_with(|| Calls {
            dependency: Arc::clone(&material.dependency.name),
            operation,
            cause,
            began: call.hit.call.began,
            whole: Vec::new(),
            certain: Vec::new(),
            given_up: Vec::new(),
        });
        own.add(call);
    }
    sorted.into_values().collect()
}

impl Calls {
    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.whole.len() as u64
    }

    fn add(&mut self, call: &Failing<'_>) {
        self.began = self.began.min(call.hit.call.began);
        self.whole.push(call.hit.spell());
        self.certain.push(call.hit.certain_spell().1);
        if call.gave_up {
            self.given_up.push(call.hit.spell());
        }
    }

    /// Whether every one of them is given up within a bound.
    pub(super) fn within(&self, bound: Duration) -> Seen {
        let (standing, words) = self.held(bound);
        let cause = self.cause.map_or("several troubles", Cause::name);
        Seen {
            at: self.began,
            what: format!(
                "{} of {} ({cause}): {words}",
                self.operation, self.dependency
            ),
            standing,
            is_few: self.count() < SAMPLES_MIN,
            is_guess: false,
            on_any_machine: false,
        }
    }

    fn held(&self, bound: Duration) -> (Standing, String) {
        let survival = Survival::beyond(&self.whole, bound, SAMPLES_MIN);
        let exceeding = |spells: &[Spell]| spells.iter().filter(|one| one.exceeds(bound)).count();
        let count = self.whole.len();
        let text = format_duration(bound);
        let longest = self.whole.iter().map(|one| one.time).max();
        let longest = format_duration(longest.unwrap_or_default());
        let given_up = self.given_up.iter().filter(|one| one.within(bound)).count();
        let certain = exceeding(&self.certain);
        let longer = exceeding(&self.whole);
        if certain > 0 {
            let words =
                format!("{certain} of {count} calls took longer than {text}, up to {longest}");
            (Standing::Contradicts, words)
        } else if longer > 0 {
            let words = format!(
                "{longer} of {count} calls took longer than {text}, unless these are requests of their own: the client sends no id"
            );
            (Standing::Open, words)
        } else if (given_up as u64) < SAMPLES_MIN {
            let words =
                format!("{given_up} of {count} calls were given up of at least {SAMPLES_MIN}");
            (Standing::Open, words)
        } else if survival.most > 0.0 {
            let words = format!("too many of {count} calls were cut short before {text}");
            (Standing::Open, words)
        } else {
            let words = format!("{given_up} of {count} calls were given up within {text}");
            (Standing::Agrees, words)
        }
    }
}
