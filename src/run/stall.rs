//! Notices that Brownout itself stands still, or the whole machine with it: stopped, starved, swapped
//! out, or its virtual machine moved.
//!
//! A task of the same runtime that carries the proxies sleeps for a few milliseconds again and again.
//! Where it is woken much too late, so were they, and what came in meanwhile was noted too late. That a
//! single thread was held up while others went on need not show here.

use crate::{
    history::{Observation, Recorder, Stalled},
    units::Micros,
};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often it is seen that all goes on.
const EVERY: Duration = Duration::from_millis(20);

/// Whoever is woken later than this stood still: well above what a timer and a busy machine cost.
const STALL_MIN: Duration = Duration::from_millis(50);

/// Looks for stalls. Dropping it ends that.
pub struct Pulse(JoinHandle<()>);

impl Pulse {
    /// Starts looking. Must be called within a runtime.
    pub fn start(recorder: Recorder) -> Self {
        Self(tokio::spawn(beat(recorder)))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn beat(recorder: Recorder) {
    let mut last = recorder.now();
    loop {
        tokio::time::sleep_until(recorder.instant(last + EVERY)).await;
        let now = recorder.now();
        if let Some(stalled) = stalled(last, now) {
            recorder.record(Observation::Stalled(stalled));
        }
        last = now;
    }
}

/// Whether it took too long from one look to the next.
fn stalled(last: Micros, now: Micros) -> Option<Stalled> {
    let is_late = now.since(last) >= EVERY + STALL_MIN;
    is_late.then_some(Stalled {
        from: last,
        to: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn who_is_woken_on_time_did_not_stand_still() {
        let at = Micros::from_millis;
        assert_eq!(stalled(at(100), at(169)), None);
        let (from, to) = (at(100), at(170));
        assert_eq!(stalled(from, to), Some(Stalled { from, to }));
    }

    #[tokio::test]
    async fn a_runtime_that_is_held_up_is_noticed() {
        let (recorder, mut observations) = Recorder::channel(100);
        let _pulse = Pulse::start(recorder.clone());
        // It has begun to look.
        tokio::time::sleep(EVERY * 2).await;
        let before = recorder.now();
        let held_up = Duration::from_millis(300);
        thread::sleep(held_up);
        loop {
            let Some(Observation::Stalled(stalled)) = observations.recv().await else {
                panic!("no stall was noticed");
            };
            // On a busy machine there may be others.
            if stalled.from <= before && before + held_up <= stalled.to {
                break;
            }
        }
    }
}
