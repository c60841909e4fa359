//! When a lost database is asked for a connection again.
//!
//! While it is gone one writer tries at a time, after pauses that double up to [`PAUSE_MAX`] and of
//! which half is drawn by lot. Once it is back the others follow, each after a pause drawn
//! from [`SPREAD`]: no two programs that lost it in the same moment come back in the same moment.

use crate::seed::Seed;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tokio::{sync::Notify, time};

/// The longest first pause; each failure doubles it.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The time over which everybody else comes back.
const SPREAD: Duration = Duration::from_secs(1);

/// Open while the database is there.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    opened: Notify,
}

#[derive(Debug)]
struct State {
    /// Tries that failed since the database was there last; zero while it is.
    failed: u32,
    /// Whether somebody is trying.
    trying: bool,
    random: ChaCha8Rng,
}

/// Leave to ask the database for something. Whoever has it says what came of it.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    /// Whether nobody else asks meanwhile.
    is_trial: bool,
}

impl Gate {
    pub(super) fn new() -> Self {
        let random = Seed::fresh().stream(&["reference", "gate"]);
        Self {
            state: Mutex::new(State {
                failed: 0,
                trying: false,
                random,
            }),
            opened: Notify::new(),
        }
    }

    /// Whether the database was there when it was last asked.
    pub(super) fn is_open(&self) -> bool {
        self.state.lock().failed == 0
    }

    /// Waits until the gate is open, or until it is the caller's turn to try.
    pub(super) async fn pass(&self) -> Pass<'_> {
        loop {
            // Registered before looking, so that an opening in between is not missed.
            let opened = self.opened.notified();
            if let Some((pass, pause)) = self.leave() {
                time::sleep(pause).await;
                return pass;
            }
            opened.await;
            let spread = SPREAD.mul_f64(self.state.lock().dice());
            time::sleep(spread).await;
        }
    }

    /// Leave, and how long to wait before it is used; none while somebody tries.
    fn leave(&self) -> Option<(Pass<'_>, Duration)> {
        let mut state = self.state.lock();
        let is_trial = state.failed > 0;
        if is_trial && state.trying {
            return None;
        }
        state.trying = is_trial;
        let pass = Pass {
            gate: self,
            is_trial,
        };
        let pause = if is_trial {
            state.pause()
        } else {
            Duration::ZERO
        };
        Some((pass, pause))
    }
}

impl Pass<'_> {
    /// Whether it is still good: the gate has not closed since it was given.
    pub(super) fn holds(&self) -> bool {
        self.is_trial || self.gate.is_open()
    }

    /// The database did what it was asked to do, or said why not.
    pub(super) fn found(self) {
        self.gate.state.lock().failed = 0;
        self.gate.opened.notify_waiters();
    }

    /// There was no connection to be had, or no answer.
    pub(super) fn lost(self) {
        let mut state = self.gate.state.lock();
        // Those who all lose it in the same moment lose it once.
        if self.is_trial || state.failed == 0 {
            state.failed += 1;
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.gate.state.lock().trying = false;
        }
    }
}

impl State {
    /// Between half of the pause that is due and all of it.
    fn pause(&mut self) -> Duration {
        let due = PAUSE * 2_u32.saturating_pow((self.failed - 1).min(16));
        due.min(PAUSE_MAX).mul_f64(0.5 + self.dice() / 2.0)
    }

    /// A number in [0, 1).
    fn dice(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::Instant;

    /// How long the way through the gate took.
    async fn passes(gate: &Gate) -> (Pass<'_>, Duration) {
        let start = Instant::now();
        let pass = gate.pass().await;
        (pass, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_gate_holds_nobody_up() {
        let gate = Gate::new();
        assert!(gate.is_open());
        let (one, other) = (passes(&gate).await, passes(&gate).await);
        assert_eq!((one.1, other.1), (Duration::ZERO, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_half_of_them_is_drawn() {
        let gate = Gate::new();
        gate.pass().await.lost();
        for due in [200, 400, 800, 1_000, 1_000] {
            let (pass, took) = passes(&gate).await;
            let due = Duration::from_millis(due);
            let slack = Duration::from_millis(2);
            assert!(
                took >= due / 2 && took <= due + slack,
                "{took:?} of {due:?}"
            );
            pass.lost();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_and_the_others_follow_once_it_is_back() {
        let gate = Gate::new();
        let (one, other) = (gate.pass().await, gate.pass().await);
        one.lost();
        other.lost();
        assert_eq!(gate.state.lock().failed, 1, "lost in the same moment");
        let trial = gate.pass().await;
        let waiting = gate.pass();
        tokio::pin!(waiting);
        let hour = time::timeout(Duration::from_secs(3_600), &mut waiting);
        assert!(hour.await.is_err(), "somebody tries already");
        trial.found();
        assert!((&mut waiting).now_or_never().is_none(), "it spreads out");
        time::timeout(SPREAD * 2, waiting)
            .await
            .expect("it follows");
        assert!(gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_given_up_leaves_room_for_another() {
        let gate = Gate::new();
        gate.pass().await.lost();
        drop(gate.pass().await);
        time::timeout(PAUSE_MAX, gate.pass())
            .await
            .expect("a trial");
    }
}
