//! The calls that a fault acted on, and how long their clients kept at them.

use super::samples::Spell;
use crate::{
    history::{Attempt, AttemptEnd, History, LogicalCall, View},
    units::{Micros, format_duration},
};

/// A logical call with its attempts.
#[derive(Debug, Clone)]
pub struct Hit<'a> {
    /// The call.
    pub call: &'a LogicalCall,
    /// Its attempts in the order they began.
    pub attempts: Vec<&'a Attempt>,
    /// When the last fault that held or failed it was gone: beyond this moment the client's
    /// patience is not seen any more.
    horizon: Micros,
}

/// The calls of a dependency or role of which an attempt that began in the judged phases was
/// acted on by a fault; empty `operations` means every operation.
pub fn hit<'a>(view: &View<'a>, on: &str, operations: &[String]) -> Vec<Hit<'a>> {
    let meant = |attempt: &Attempt| {
        operations.is_empty() || operations.iter().any(|one| **one == *attempt.operation)
    };
    view.calls(on)
        .into_iter()
        .filter(|(_, attempts)| {
            attempts
                .iter()
                .any(|one| meant(one) && !one.faults.is_empty() && view.contains(one.began))
        })
        .map(|(call, attempts)| Hit::of(view.history, call, attempts))
        .collect()
}

fn horizon(history: &History, call: &LogicalCall, attempts: &[&Attempt]) -> Micros {
    let released = attempts.iter().filter_map(|attempt| attempt.released).max();
    let lifted = call
        .faults
        .iter()
        .filter_map(|fault| history.lifted(*fault));
    released
        .or_else(|| lifted.max())
        .unwrap_or(Micros(u64::MAX))
}

impl<'a> Hit<'a> {
    /// A call with its attempts.
    pub fn of(history: &History, call: &'a LogicalCall, attempts: Vec<&'a Attempt>) -> Self {
        Self {
            call,
            horizon: horizon(history, call, &attempts),
            attempts,
        }
    }

    /// From the first attempt's beginning until the client had its answer or gave up, cut short
    /// where the fault was lifted before.
    pub fn spell(&self) -> Spell {
        cut(
            self.call.began,
            self.call.ended,
            self.horizon,
            self.call.unfinished,
        )
    }

    /// The same, and when it began, where its attempts are one call beyond doubt; else the longest
    /// attempt alone.
    pub fn certain_spell(&self) -> (Micros, Spell) {
        let longest = self.attempts.iter().max_by_key(|one| one.duration());
        match longest {
            Some(one) if !self.call.by_sdk_id => {
                let unfinished = one.end == AttemptEnd::Unfinished;
                let spell = cut(one.began, one.ended, self.horizon, unfinished);
                (one.began, spell)
            }
            _ => (self.call.began, self.spell()),
        }
    }

    /// Whether the fault was lifted before the client was done with the call.
    pub fn cut_short(&self) -> bool {
        self.spell().censored
    }

    /// How long the client waited in each attempt that a fault acted on.
    pub fn attempt_spells(&self, history: &History) -> Vec<(Spell, &'a Attempt)> {
        let acted = self.attempts.iter().filter(|one| !one.faults.is_empty());
        acted
            .map(|one| {
                let lifted = one.faults.iter().filter_map(|fault| history.lifted(*fault));
                let horizon = one.released.or_else(|| lifted.max());
                let unfinished = one.end == AttemptEnd::Unfinished;
                let horizon = horizon.unwrap_or(Micros(u64::MAX));
                (cut(one.began, one.ended, horizon, unfinished), *one)
            })
            .collect()
    }

    /// One line of evidence: `PutObject bucket/model: 2 attempts in 4.02s, gave up`.
    pub fn describe(&self) -> String {
        let first = self.attempts[0];
        let spell = self.spell();
        let count = self.attempts.len();
        let attempts = if count == 1 { "attempt" } else { "attempts" };
        let time = format_duration(spell.time);
        let how = match (spell.censored, self.call.settled) {
            (true, _) => "still open when the fault was lifted",
            (false, true) => "answered",
            (false, false) => "gave up",
        };
        format!(
            "{} {}: {count} {attempts} in {time}, {how}",
            first.operation, first.key
        )
    }
}

fn cut(began: Micros, ended: Micros, horizon: Micros, unfinished: bool) -> Spell {
    let seen_until = if unfinished {
        ended.min(horizon)
    } else {
        horizon
    };
    Spell {
        time: ended.min(horizon).since(began),
        censored: ended >= horizon || unfinished,
        room: seen_until.since(began),
    }
}
