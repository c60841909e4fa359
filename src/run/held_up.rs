//! Looks ten times a second at how long the system's processes, and our own, waited for a processor.

use crate::{
    history::{HeldUp, Observation, Recorder},
    process::{Delay, DelayMeter, Meter},
    scenario::{Start, System},
    units::Micros,
};
use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// How often.
const EVERY: Duration = Duration::from_millis(100);

/// After so many looks it is found out anew which processes there are.
const LOOKS: u32 = 10;

/// Less is not worth an entry: a timer's own error.
const NOTED_MIN: Duration = Duration::from_millis(1);

/// The looks of a run. Dropping it ends them.
pub struct HeldUps {
    _stop: mpsc::Sender<()>,
}

impl HeldUps {
    /// Starts looking, in a thread of its own: what is looked at must not wait for what may be held up.
    pub fn start(system: &System, meter: &Meter, recorder: &Recorder) -> Self {
        let (stop, stopped) = mpsc::channel();
        // What a system on another machine waits for is not seen.
        let Start::Instances(instances) = &system.start else {
            return Self { _stop: stop };
        };
        let instances = instances.iter().map(|one| Arc::clone(&one.name)).collect();
        let (meter, recorder) = (meter.clone(), recorder.clone());
        // Where no thread can be had nothing is known, as elsewhere than on Linux.
        let _ = thread::Builder::new()
            .name("held up".to_owned())
            .spawn(move || {
                if let Some(meter) = DelayMeter::new(meter, instances) {
                    look(meter, &recorder, &stopped);
                }
            });
        Self { _stop: stop }
    }
}

fn look(mut meter: DelayMeter, recorder: &Recorder, stopped: &mpsc::Receiver<()>) {
    let mut from = recorder.now();
    for nth in 1.. {
        if stopped.recv_timeout(EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
        if nth % LOOKS == 0 {
            meter.look_up();
        }
        let delay = meter.read();
        let to = recorder.now();
        if let Some(held_up) = noted(from, to, delay) {
            recorder.record(Observation::HeldUp(held_up));
        }
        from = to;
    }
}

fn noted(from: Micros, to: Micros, delay: Delay) -> Option<HeldUp> {
    let length = to.since(from);
    let behind_others = delay.waited.min(length).mul_f64(delay.others) + delay.stolen;
    (behind_others >= NOTED_MIN).then(|| HeldUp {
        from,
        to,
        waited: (delay.waited + delay.stolen).into(),
        behind_others: behind_others.min(length).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_held_up_for_longer_than_he_was_looked_at_nor_by_others_beyond_their_share() {
        let millis = Duration::from_millis;
        let behind = |waited, stolen, others| {
            let delay = Delay {
                waited: millis(waited),
                stolen: millis(stolen),
                others,
            };
            let (from, to) = (Micros::from_millis(500), Micros::from_millis(600));
            let held_up = noted(from, to, delay)?;
            assert_eq!((held_up.from, held_up.to), (from, to));
            assert_eq!(held_up.waited, Micros::from_millis(waited + stolen));
            Some(held_up.behind_others)
        };
        let told = |millis| Some(Micros::from_millis(millis));
        assert_eq!(behind(40, 0, 0.5), told(20));
        // Two hundred threads that wait for each other.
        assert_eq!(behind(19_600, 0, 0.03), told(3));
        assert_eq!(behind(19_600, 90, 0.5), told(100));
        assert_eq!(behind(0, 7, 0.0), told(7));
        assert_eq!(behind(50, 0, 0.01), None);
    }
}
