//! A circuit breaker: whoever keeps failing is left alone for a while.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Opens after so many failures in a row, and then lets one attempt through every now and then to
/// see whether it may close again.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    rest: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the next attempt may go through, while it is open.
    opens_at: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, rest: Duration) -> Self {
        Self {
            failures_max,
            rest,
            state: Mutex::default(),
        }
    }

    /// Whether an attempt may be made now. While it is open, the first to ask after a rest may.
    pub(super) fn lets_through(&self) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        match state.opens_at {
            Some(at) if now < at => false,
            Some(_) => {
                state.opens_at = Some(now + self.rest);
                true
            }
            None => true,
        }
    }

    /// An attempt came to its end.
    pub(super) fn ended(&self, well: bool) {
        let mut state = self.state.lock();
        if well {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.failures_max {
            state.opens_at = Some(Instant::now() + self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_its_failures_and_tries_once_a_rest() {
        let breaker = Breaker::new(3, Duration::from_secs(2));
        for _ in 0..3 {
            assert!(breaker.lets_through());
            breaker.ended(false);
        }
        assert!(!breaker.lets_through());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(breaker.lets_through());
        assert!(!breaker.lets_through(), "one attempt a rest");
        breaker.ended(true);
        assert!(breaker.lets_through() && breaker.lets_through());
    }
}
