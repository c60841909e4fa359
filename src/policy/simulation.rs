//! What would prove that inferred policies are the true ones: clients of known laws are simulated,
//! with what networks and busy machines add, and must be recognised. A law that is named must be
//! the true one; not to name one is allowed only where the test says so.

use super::{Aspect, BackOff, Cause, Claim, Finding, Jitter, Law, infer};
use crate::{
    history::{
        Attempt, Observation, Outcome, View,
        sample::{self, RECOVERY, Story, attempt},
    },
    units::Micros,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A client of a known policy.
#[derive(Debug, Clone, Copy)]
struct Client {
    law: Law,
    /// Seconds.
    base: f64,
    /// The factor, or the increment as a part of the base.
    factor: f64,
    /// Seconds.
    cap: f64,
    jitter: Jitter,
    attempts: u32,
    /// Whether it names its calls.
    headers: bool,
    /// The time-out of an attempt, in seconds, where it meets silence; else it meets errors.
    timeout: Option<f64>,
}

const CLIENT: Client = Client {
    law: Law::Exponential,
    base: 0.1,
    factor: 2.0,
    cap: f64::INFINITY,
    jitter: Jitter::None,
    attempts: 4,
    headers: true,
    timeout: None,
};

struct World {
    random: ChaCha8Rng,
    story: Story,
    calls: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            story: Story::new().healthy(0..1),
            calls: 0,
        }
    }

    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// What a client and its network take: a millisecond and more, seldom much more.
    fn overhead(&mut self) -> f64 {
        0.001 - 0.002 * (1.0 - self.uniform()).ln()
    }

    fn pause(&mut self, client: &Client, nth: i32, before: f64) -> f64 {
        let growth = match client.law {
            Law::None => return 0.0,
            Law::Fixed => 1.0,
            Law::Linear => 1.0 + client.factor * f64::from(nth - 1),
            Law::Exponential => client.factor.powi(nth - 1),
        };
        let whole = (client.base * growth).min(client.cap);
        let random = self.uniform();
        match client.jitter {
            Jitter::None => whole,
            Jitter::Full => whole * random,
            Jitter::Equal => whole * (1.0 + random) / 2.0,
            // As OpenAI's client: down to three quarters.
            Jitter::Proportional => whole * (1.0 - random / 4.0),
            Jitter::Additive => whole + random,
            Jitter::Decorrelated => {
                let most = 3.0 * before.max(client.base);
                (client.base + random * (most - client.base)).min(client.cap)
            }
        }
    }

    /// So many calls of a client from this second on, every `spread` seconds.
    fn calls(&mut self, client: &Client, from: f64, spread: f64, calls: u32) {
        for call in 0..calls {
            self.calls += 1;
            let id = format!("call-{}", self.calls);
            let mut at = from + f64::from(call) * spread + self.overhead();
            let mut before = client.base;
            for number in 1..=client.attempts {
                let took = client.timeout.unwrap_or(0.002) + self.overhead();
                let one = attempt("s3", 0, 0).hit();
                let one = match client.timeout {
                    Some(_) => one.gave_up(),
                    None => one.status(500).code("InternalError"),
                };
                let one = if client.headers {
                    one.sdk(&id, number)
                } else {
                    one.key(&id)
                };
                let began = moment(at);
                let ended = moment(at + took);
                let mut one: Attempt = one.done();
                (one.began, one.ended) = (began, ended);
                self.story.observations.push(Observation::Attempt(one));
                let pause = self.pause(client, number as i32, before);
                before = pause;
                at += took + pause + self.overhead();
            }
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let history = self.story.history();
        let (scenario, system) = (sample::scenario(), sample::system());
        infer(&View::new(&history, &scenario, &system))
    }
}

fn moment(seconds: f64) -> Micros {
    Micros::from(Duration::from_secs_f64(seconds))
}

fn found(claims: &[Claim], aspect: Aspect) -> &Finding {
    let mut own = claims.iter().filter(|claim| claim.aspect == aspect);
    let claim = own.next().expect("a claim");
    assert!(own.next().is_none(), "several: {claims:#?}");
    &claim.finding
}

fn back_off(claims: &[Claim]) -> &BackOff {
    match found(claims, Aspect::BackOff) {
        Finding::BackOff(law) => law,
        other => panic!("{other:?}"),
    }
}

/// The claims about so many calls of a client that end before the fault is lifted.
fn observe(client: &Client, calls: u32, seed: u64) -> Vec<Claim> {
    let mut world = World::new(seed);
    let spread = 6.0 / f64::from(calls);
    world.calls(client, 10.5, spread, calls);
    let last = world.story.observations.iter().map(Observation::at).max();
    assert!(last < Some(Micros::from_secs(RECOVERY)), "it must end");
    world.claims()
}

/// Whether the base is what it is, to a fifth; or not claimed.
fn base_is(law: &BackOff, base: f64) -> Option<bool> {
    let (value, ..) = law.base_us?;
    let off = value as f64 / 1e6 / base;
    Some((1.0 / 1.2..=1.2).contains(&off))
}

#[test]
fn every_law_with_every_jitter_is_named_and_measured() {
    let laws = [
        (Law::Fixed, 1.0),
        (Law::Linear, 1.0),
        (Law::Exponential, 2.0),
        (Law::Exponential, 1.5),
    ];
    let jitters = [
        Jitter::None,
        Jitter::Full,
        Jitter::Equal,
        Jitter::Proportional,
    ];
    let (mut tried, mut open) = (0, Vec::new());
    for (law, factor) in laws {
        for jitter in jitters {
            for (headers, seed) in [(true, 1), (false, 2)] {
                let client = Client {
                    law,
                    factor,
                    jitter,
                    headers,
                    base: 0.2,
                    attempts: 5,
                    ..CLIENT
                };
                let claims = observe(&client, 30, seed);
                let &Finding::Count { value, low, high } = found(&claims, Aspect::Attempts) else {
                    panic!("{client:?}: {claims:#?}");
                };
                assert_eq!((value, low, high), (5, 5, 5), "{client:?}");
                let seen = back_off(&claims);
                // What is ruled out must not be the truth.
                assert!(seen.laws.contains(&law), "{client:?}: {seen}");
                assert!(seen.jitters.contains(&jitter), "{client:?}: {seen}");
                assert_ne!(base_is(seen, 0.2), Some(false), "{client:?}: {seen}");
                tried += 1;
                // From half to whole is a third either way of another base.
                let (jitters, base): (&[Jitter], _) = match jitter {
                    Jitter::Equal => (&[Jitter::Equal, Jitter::Proportional], None),
                    _ => (&[jitter], Some(true)),
                };
                let told = (seen.law(), &*seen.jitters, base_is(seen, 0.2));
                if told != (Some(law), jitters, base) {
                    open.push(format!("{client:?}: {seen}"));
                }
            }
        }
    }
    // Of 30 calls with four pauses each, at most one of eight combinations is left open.
    assert!(
        open.len() * 8 <= tried,
        "{} of {tried}: {open:#?}",
        open.len()
    );
}

#[test]
fn laws_are_named_wrongly_in_fewer_than_one_of_twenty() {
    // An AWS client since 2026: the hardest one of those in use, 50 ms with full jitter.
    let client = Client {
        base: 0.05,
        jitter: Jitter::Full,
        attempts: 3,
        ..CLIENT
    };
    let (mut wrong, mut based) = (Vec::new(), 0);
    for seed in 0..20 {
        let claims = observe(&client, 25, seed);
        let seen = back_off(&claims);
        let is_true = seen.laws.contains(&Law::Exponential)
            && seen.jitters.contains(&Jitter::Full)
            && base_is(seen, 0.05) != Some(false);
        if !is_true {
            wrong.push(format!("{seed}: {seen}"));
        }
        based += usize::from(seen.base_us.is_some());
        // With two pauses a doubling can be either.
        assert_ne!(seen.law(), Some(Law::Exponential), "{seen}");
    }
    assert!(wrong.len() <= 1, "{wrong:#?}");
    assert!(based >= 10, "{based} of 20 have a base");
}

#[test]
fn pauses_in_use_are_recognised() {
    for (client, calls, law, jitter) in [
        // tenacity's wait_incrementing(start=0.1, increment=0.1).
        (
            Client {
                law: Law::Linear,
                factor: 1.0,
                ..CLIENT
            },
            12,
            Law::Linear,
            Jitter::None,
        ),
        // Decorrelated jitter of the AWS blog.
        (
            Client {
                jitter: Jitter::Decorrelated,
                attempts: 5,
                ..CLIENT
            },
            60,
            Law::Exponential,
            Jitter::Decorrelated,
        ),
        // stamina: 0.1 s doubling, up to a second on top.
        (
            Client {
                jitter: Jitter::Additive,
                attempts: 4,
                ..CLIENT
            },
            60,
            Law::Exponential,
            Jitter::Additive,
        ),
        // A cap that is reached.
        (
            Client {
                cap: 0.4,
                attempts: 6,
                ..CLIENT
            },
            12,
            Law::Exponential,
            Jitter::None,
        ),
    ] {
        let claims = observe(&client, calls, 5);
        let seen = back_off(&claims);
        assert_eq!(seen.jitter(), Some(jitter), "{client:?}: {seen}");
        // An amount on top that is ten times the base hides how that grows.
        let is_hidden = jitter == Jitter::Additive && seen.laws.contains(&law);
        assert!(seen.law() == Some(law) || is_hidden, "{client:?}: {seen}");
        assert_ne!(base_is(seen, 0.1), Some(false), "{client:?}: {seen}");
        assert_eq!(
            seen.cap_us.map(|cap| cap / 20_000),
            client.cap.is_finite().then_some(20),
            "{client:?}: {seen}"
        );
    }
}

#[test]
fn a_client_that_comes_back_at_once_has_no_back_off() {
    let client = Client {
        law: Law::None,
        ..CLIENT
    };
    let claims = observe(&client, 10, 1);
    assert_eq!(back_off(&claims).laws, [Law::None]);
}

#[test]
fn time_outs_are_measured_to_a_twentieth() {
    for (timeout, seed) in [(0.25, 1), (1.0, 2), (2.0, 3)] {
        let client = Client {
            timeout: Some(timeout),
            attempts: 2,
            ..CLIENT
        };
        let claims = observe(&client, 12, seed);
        let &Finding::Time { value_us, .. } = found(&claims, Aspect::FirstByteTimeout) else {
            panic!("{claims:#?}");
        };
        let off = value_us as f64 / 1e6 / timeout;
        assert!((0.95..1.05).contains(&off), "{timeout}: {value_us}");
        let &Finding::Time { value_us, .. } = found(&claims, Aspect::WholeCall) else {
            panic!("{claims:#?}");
        };
        let off = value_us as f64 / 1e6 / (2.0 * timeout + 0.1);
        assert!((0.95..1.05).contains(&off), "{timeout}: {value_us}");
    }
}

/// A client that asks for one thing ten times a second, each a call of its own that it tries but once.
fn asks_once(at_random: bool, timeout: Option<f64>, usually: bool) -> Vec<Claim> {
    let mut world = World::new(6);
    let mut at = 0.013;
    while at < 29.0 {
        let fails = at >= 10.0;
        let took = match timeout {
            Some(timeout) if fails => timeout,
            _ => 0.002,
        };
        let one = attempt("s3", 0, 0).operation("GET").key("/prices");
        let one = match timeout {
            _ if !fails => one,
            Some(_) => one.hit().gave_up(),
            None => one.hit().status(500),
        };
        let mut one = one.done();
        one.began = moment(at + world.overhead() / 4.0);
        one.ended = moment(at + took + world.overhead());
        if fails || usually {
            world.story.observations.push(Observation::Attempt(one));
        }
        at += if at_random {
            -0.1 * (1.0 - world.uniform()).ln()
        } else {
            0.1
        };
    }
    if !usually {
        // Its calls come with a load's operations, and that is all that is known of them.
        world.story = world.story.clone().load("ask", 0..60, 10, Outcome::Ok, 20);
    }
    world.claims()
}

#[test]
fn nothing_is_invented_of_a_client_that_never_tries_again() {
    let told = [
        Aspect::Attempts,
        Aspect::BackOff,
        Aspect::WholeCall,
        Aspect::RetryBudget,
        Aspect::Change,
    ];
    for timeout in [Some(1.0), Some(0.04), None] {
        for (at_random, usually) in [(false, true), (true, true), (false, false)] {
            let claims = asks_once(at_random, timeout, usually);
            let known = claims.iter().filter(|claim| {
                let is_change = matches!(claim.finding, Finding::Does { does: false, .. });
                told.contains(&claim.aspect) && claim.is_known() && !is_change
            });
            let known: Vec<&Claim> = known.collect();
            let case = (timeout, at_random, usually);
            assert_eq!(known, Vec::<&Claim>::new(), "{case:?}");
            let law = found(&claims, Aspect::BackOff);
            assert!(matches!(law, Finding::Unknown { .. }), "{case:?}: {law:?}");
            if timeout == Some(1.0) {
                let waits = found(&claims, Aspect::FirstByteTimeout);
                assert!(matches!(waits, Finding::Time { .. }), "{case:?}: {waits:?}");
            }
        }
    }
}

#[test]
fn a_client_that_waits_for_ever_is_not_said_to_give_up() {
    let held = |call: u64| {
        let began = 11_000 + call * 1_000;
        attempt("s3", began, 30_050)
            .sdk(&call.to_string(), 1)
            .hit()
            .unfinished()
            .released(30_000)
    };
    let mut world = World::new(1);
    world.story = world.story.attempts((0..5).map(held));
    let claims = world.claims();
    let &Finding::AtLeast { value_us } = found(&claims, Aspect::FirstByteTimeout) else {
        panic!("{claims:#?}");
    };
    assert_eq!(value_us, 19_000_000);
    assert!(!claims.iter().any(|claim| claim.aspect == Aspect::WholeCall));
}

#[test]
fn of_two_calls_nothing_is_claimed() {
    let claims = observe(&CLIENT, 2, 1);
    assert!(!claims.is_empty());
    let known: Vec<_> = claims
        .iter()
        // Six pauses are enough for their law, six attempts for none.
        .filter(|claim| claim.is_known() && claim.samples < 3)
        .collect();
    assert_eq!(known, Vec::<&Claim>::new());
    assert!(matches!(
        found(&claims, Aspect::Attempts),
        Finding::Unknown { .. }
    ));
}

#[test]
fn a_change_half_way_is_said_and_not_averaged() {
    let mut world = World::new(9);
    let before = Client {
        attempts: 5,
        ..CLIENT
    };
    let after = Client {
        attempts: 3,
        base: 0.4,
        law: Law::Fixed,
        ..CLIENT
    };
    world.calls(&before, 10.5, 0.3, 15);
    world.calls(&after, 18.0, 0.3, 15);
    let claims = world.claims();
    let Finding::Changed { at, what, .. } = found(&claims, Aspect::Change) else {
        panic!("{claims:#?}");
    };
    assert!((17.9..18.4).contains(&at.as_secs_f64()), "{what} at {at:?}");
    let counts: Vec<u64> = claims
        .iter()
        .filter_map(|claim| match claim.finding {
            Finding::Count { value, .. } if claim.aspect == Aspect::Attempts => Some(value),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [5, 3]);
    let laws: Vec<Option<Law>> = claims
        .iter()
        .filter_map(|claim| match &claim.finding {
            Finding::BackOff(law) => Some(law.law()),
            _ => None,
        })
        .collect();
    assert_eq!(laws, [Some(Law::Exponential), Some(Law::Fixed)]);
}

#[test]
fn a_change_of_law_is_seen_though_both_begin_alike() {
    let mut world = World::new(12);
    let after = Client {
        law: Law::Fixed,
        ..CLIENT
    };
    world.calls(&CLIENT, 10.5, 0.4, 18);
    world.calls(&after, 19.0, 0.4, 18);
    let claims = world.claims();
    assert!(matches!(
        found(&claims, Aspect::Change),
        Finding::Changed { .. }
    ));
    let laws: Vec<Option<Law>> = claims
        .iter()
        .filter_map(|claim| match &claim.finding {
            Finding::BackOff(law) => Some(law.law()),
            _ => None,
        })
        .collect();
    assert_eq!(laws, [Some(Law::Exponential), Some(Law::Fixed)]);
}

#[test]
fn two_kinds_of_trouble_are_told_apart() {
    let mut world = World::new(4);
    let slow = Client {
        timeout: Some(0.5),
        attempts: 2,
        ..CLIENT
    };
    world.calls(&CLIENT, 10.5, 0.5, 8);
    world.calls(&slow, 16.0, 0.5, 8);
    let claims = world.claims();
    let counts: Vec<(Option<Cause>, &Finding)> = claims
        .iter()
        .filter(|claim| claim.aspect == Aspect::Attempts)
        .map(|claim| (claim.cause, &claim.finding))
        .collect();
    let count = |value| Finding::Count {
        value,
        low: value,
        high: value,
    };
    assert_eq!(
        counts,
        [
            (Some(Cause::NoAnswer), &count(2)),
            (Some(Cause::Error), &count(4))
        ]
    );
}
