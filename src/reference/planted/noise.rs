//! A process that keeps one core busy, as a build server's other jobs do: until its standard input
//! ends, which it does when whoever started it is gone, however that ended. It is there only while it
//! burns: whoever finds it there at the end has had its noise until then.

use std::{
    hint::black_box,
    io::{Read, stdin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The name of the program.
pub const PROGRAM: &str = "noise";

/// It never goes on for longer.
const MOST: Duration = Duration::from_secs(4 * 3600);

/// So many steps are made between two looks at the clock.
const STEPS: u64 = 1 << 20;

/// Burns until standard input ends; the process ends with it.
pub(in crate::reference) fn burn() {
    let over = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&over);
    thread::spawn(move || watch(stdin().lock(), &watched));
    burn_until(&over, MOST);
}

/// Whatever is written is of no interest, and an error ends it as well.
fn watch(mut input: impl Read, over: &AtomicBool) {
    let mut bytes = [0; 64];
    while input.read(&mut bytes).is_ok_and(|count| count > 0) {}
    over.store(true, Ordering::Relaxed);
}

fn burn_until(over: &AtomicBool, most: Duration) {
    let began = Instant::now();
    let mut number = 1_u64;
    while !over.load(Ordering::Relaxed) && began.elapsed() < most {
        for step in 0..STEPS {
            number = black_box(
                number
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(step),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_burns_until_its_input_ends_and_no_longer_than_it_may() {
        let over = AtomicBool::new(false);
        let began = Instant::now();
        burn_until(&over, Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50));
        watch(&b"whatever"[..], &over);
        assert!(over.load(Ordering::Relaxed));
        // It would not return before the hours are over.
        burn_until(&over, MOST);
    }
}
