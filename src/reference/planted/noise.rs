//! A process that keeps one core busy, as a build server's other jobs do: until its standard input
//! ends, which it does when whoever started it is gone, however that ended.

use std::{
    hint::black_box,
    io::{Read, stdin},
    thread,
    time::{Duration, Instant},
};

/// The name of the program.
pub const PROGRAM: &str = "noise";

/// It never goes on for longer.
const MOST: Duration = Duration::from_secs(4 * 3600);

/// So many steps are made between two looks at the clock.
const STEPS: u64 = 1 << 20;

/// Burns until standard input ends.
pub(in crate::reference) fn burn() {
    thread::spawn(watched);
    // Whatever is written is of no interest, and an error ends it as well.
    let mut bytes = [0; 64];
    while stdin().read(&mut bytes).is_ok_and(|count| count > 0) {}
}

fn watched() {
    let began = Instant::now();
    let mut number = 1_u64;
    while began.elapsed() < MOST {
        for step in 0..STEPS {
            number = black_box(
                number
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(step),
            );
        }
    }
}
