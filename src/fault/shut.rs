//! When a fault keeps a dependency's listener shut, told from what it is alone: so that it can be said
//! of a history that is over, and of a run that has not begun.

use super::{Behaviour, Context, ListenerState};
use crate::{seed::Seed, units::Micros};
use std::time::Duration;

/// How often it is looked. A listener itself looks no more often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often it is looked at the most: at a longer phase more seldom.
const LOOKS_MAX: u32 = 100_000;

/// The stretches, each from its first moment up to but without its last, in which a fault that was in
/// force from `armed` to `lifted` lets in not everybody who connects: whom it keeps out no history
/// knows. As exact as it is looked, to 100 ms, or to
/// a hundred thousandth of a phase that is so long.
pub fn shut(behaviour: &dyn Behaviour, armed: Micros, lifted: Micros) -> Vec<(Micros, Micros)> {
    stretches(behaviour, armed, lifted, |state| match state {
        ListenerState::Refuse => true,
        ListenerState::NoAccept(share) => share.fraction() > 0.0,
        ListenerState::Open => false,
    })
}

/// Whether a fault that is in force from `armed` to `lifted` refuses whomever it keeps out: of these it is
/// counted how many they are at most.
pub fn refuses(behaviour: &dyn Behaviour, armed: Micros, lifted: Micros) -> bool {
    let silent = |state| matches!(state, ListenerState::NoAccept(share) if share.fraction() > 0.0);
    stretches(behaviour, armed, lifted, silent).is_empty()
}

/// The stretches in which a fault keeps a listener so.
fn stretches(
    behaviour: &dyn Behaviour,
    armed: Micros,
    lifted: Micros,
    is_so: impl Fn(ListenerState) -> bool,
) -> Vec<(Micros, Micros)> {
    if !behaviour.acts().listener {
        return Vec::new();
    }
    let length = lifted.since(armed).as_secs_f64().max(f64::MIN_POSITIVE);
    let every = LOOK_EVERY.max(lifted.since(armed) / LOOKS_MAX);
    let mut stretches: Vec<(Micros, Micros)> = Vec::new();
    let mut now = armed;
    while now < lifted {
        let next = (now + every).min(lifted);
        let context = Context {
            now,
            armed,
            progress: now.since(armed).as_secs_f64() / length,
            stream: (Seed(0), 0, 0),
        };
        let is_shut = behaviour.listener(&context).is_some_and(&is_so);
        match stretches.last_mut() {
            Some(last) if is_shut && last.1 == now => last.1 = next,
            _ if is_shut => stretches.push((now, next)),
            _ => {}
        }
        now = next;
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, protocol::Protocol};

    fn of(text: &str, protocol: Protocol) -> Vec<(u64, u64)> {
        let (_, behaviour) = sample::read(text, protocol).expect("a fault");
        let millis = |at: Micros| at.0 / 1_000;
        let stretches = shut(&*behaviour, Micros::from_secs(10), Micros::from_secs(30));
        let stretches = stretches.into_iter();
        stretches
            .map(|(from, to)| (millis(from), millis(to)))
            .collect()
    }

    #[test]
    fn who_keeps_anybody_out_is_shut_for_as_long_as_it_does() {
        let whole = [(10_000, 30_000)];
        assert_eq!(of("kind = 'refuse'\non = 'x'", Protocol::Tcp), whole);
        let share = "kind = 'no-accept'\non = 'x'\nshare = '30%'";
        assert_eq!(of(share, Protocol::Tcp), whole);
        let falling = "kind = 'no-accept'\non = 'x'\nramp = { share = ['0%', '100%'] }";
        assert_eq!(of(falling, Protocol::Tcp), [(10_100, 30_000)]);
        // Nobody listens in the middle of it alone, and in a crash somebody always does.
        let restart = "kind = 'restart'\non = 'x'\nstopping = '1s'\ndown = '4s'";
        assert_eq!(of(restart, Protocol::Postgres), [(11_000, 15_000)]);
        let crash = "kind = 'restart'\non = 'x'\nmode = 'crash'";
        assert_eq!(of(crash, Protocol::Postgres), []);
        assert_eq!(of("kind = 'hang'\non = 'x'", Protocol::Tcp), []);
    }
}
