//! What was done by hand, in the order in which it was done: the session that a scenario can be made
//! of.

use crate::{
    control::session::{Action, What},
    units::Micros,
};
use std::collections::VecDeque;

/// The most actions that are kept; beyond them the oldest is forgotten.
pub(crate) const ACTIONS_MAX: usize = 1_000;

/// A session.
#[derive(Debug, Default)]
pub(crate) struct Log {
    since: Micros,
    actions: VecDeque<Action>,
}

impl Log {
    /// Begins a new one, with what is in force already.
    pub(crate) fn restart(&mut self, at: Micros, in_force: impl Iterator<Item = What>) {
        self.since = at;
        self.actions = in_force.map(|what| Action { at, what }).collect();
    }

    /// Notes what was done.
    pub(crate) fn note(&mut self, at: Micros, what: What) {
        if self.actions.len() >= ACTIONS_MAX {
            self.actions.pop_front();
        }
        self.actions.push_back(Action { at, what });
    }

    /// When it began.
    pub(crate) fn since(&self) -> Micros {
        self.since
    }

    /// What was done.
    pub(crate) fn actions(&self) -> Vec<Action> {
        self.actions.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut log = Log::default();
        for id in 0..ACTIONS_MAX as u64 + 5 {
            log.note(Micros(id), What::Lifted { id });
        }
        let actions = log.actions();
        assert_eq!(actions.len(), ACTIONS_MAX);
        assert_eq!(actions[0].what, What::Lifted { id: 5 });
        log.restart(Micros(7), std::iter::once(What::Lifted { id: 1 }));
        assert_eq!((log.since(), log.actions().len()), (Micros(7), 1));
    }
}
