//! What byte-stream faults do to one direction of a connection: a queue from which bytes leave
//! later, slower, in other pieces, damaged, or not at all.
//!
//! Pure: it owns no socket and never waits; every method takes the time. Bytes keep their order,
//! and unless an effect cuts the connection every byte that was taken in comes out. What was taken
//! in under an effect is let go as soon as the effect is lifted.

use crate::{
    fault::{Closing, Direction, FaultId, Latency, StreamEffect, StreamShape},
    units::{Bandwidth, Share},
};
use bytes::{Bytes, BytesMut};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// What a queue entry costs beside its bytes, so that a limit bounds memory for single bytes too.
const ENTRY_BYTES: usize = 64;

/// How much a bandwidth's bucket holds, as time.
const BUCKET: Duration = Duration::from_millis(50);

/// The least that a bandwidth lets go at once, as time: fewer and larger pieces cost less.
const QUANTUM: Duration = Duration::from_millis(2);

const NANOS: u128 = 1_000_000_000;

/// How many stretches of bytes are remembered on which faults acted; of more the oldest are
/// forgotten. Whoever asks for them asks for bytes that were pushed a moment ago.
const ACTS_MAX: usize = 256;

/// What comes next out of a shaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// These bytes, now.
    Pass(Bytes),
    /// The end of the stream, in order behind its bytes.
    End,
    /// Nothing until this moment, or (`None`) until more is pushed or the effects change.
    Wait(Option<Instant>),
    /// The connection is to be closed.
    Close(Closing),
}

/// One direction's queue and the effects on it.
#[derive(Debug)]
pub(super) struct Shaper {
    direction: Direction,
    effects: Vec<Effect>,
    queue: VecDeque<Held>,
    cost: usize,
    released_last: Option<Instant>,
    acted: Vec<FaultId>,
    /// How many bytes were pushed so far and not thrown away, and how many of them have passed.
    pushed: u64,
    passed: u64,
    /// When those arrived that passed last.
    arrived_last: Option<Instant>,
    acts: Acts,
    /// Who closed the connection.
    cut_by: Option<FaultId>,
}

/// On which bytes faults acted: held them back, cut them in pieces or damaged them. Bytes are
/// counted as they were pushed.
#[derive(Debug, Default)]
struct Acts(VecDeque<Act>);

#[derive(Debug)]
struct Act {
    fault: FaultId,
    from: u64,
    to: u64,
}

impl Acts {
    fn note(&mut self, fault: FaultId, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let last = self.0.iter_mut().rev().find(|act| act.fault == fault);
        if let Some(last) = last.filter(|last| from <= last.to) {
            last.from = last.from.min(from);
            last.to = last.to.max(to);
            return;
        }
        if self.0.len() == ACTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Act { fault, from, to });
    }
}

#[derive(Debug)]
struct Held {
    /// `None` is the end of the stream.
    bytes: Option<Bytes>,
    arrived: Instant,
    release: Instant,
}

/// An effect with its state.
#[derive(Debug)]
struct Effect {
    spec: StreamEffect,
    began: Instant,
    passed: u64,
    acted: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Plain,
    Draws(ChaCha8Rng),
    /// Credit in bytes × 10⁹, and when it was last counted.
    Bucket(u128, Instant),
    /// No slice before this.
    Gap(Option<Instant>),
    Corruption(Corruption),
    Stall(Stall),
}

#[derive(Debug, Clone, Copy)]
enum Stall {
    Ahead,
    Since(Instant),
    Over,
}

impl Shaper {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            effects: Vec::new(),
            queue: VecDeque::new(),
            cost: 0,
            released_last: None,
            acted: Vec::new(),
            pushed: 0,
            passed: 0,
            arrived_last: None,
            acts: Acts::default(),
            cut_by: None,
        }
    }

    /// How many bytes were pushed so far and not thrown away.
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of the bytes that were pushed have passed so far.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Counts bytes that went by it, while it held nothing.
    pub(super) fn went_by(&mut self, count: usize) {
        self.pushed += count as u64;
        self.passed += count as u64;
    }

    /// When the bytes arrived that passed last.
    pub(super) fn arrived_last(&self) -> Option<Instant> {
        self.arrived_last
    }

    /// Adds who acted on any of these bytes, counted as they were pushed.
    pub(super) fn acted_on(&self, from: u64, to: u64, acted: &mut Vec<FaultId>) {
        for act in &self.acts.0 {
            if act.from < to && from < act.to && !acted.contains(&act.fault) {
                acted.push(act.fault);
            }
        }
    }

    /// Who closed the connection, if a fault did.
    pub(super) fn cut_by(&self) -> Option<FaultId> {
        self.cut_by
    }

    /// Whether it would pass everything through untouched and holds nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.effects.is_empty() && self.queue.is_empty()
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many more bytes it takes before it costs more than `limit` bytes of memory.
    pub(super) fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.cost + ENTRY_BYTES)
    }

    /// What it costs in bytes of memory.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Whether a latency alone holds back all that it holds.
    pub(super) fn is_delayed(&self, now: Instant) -> bool {
        self.queue.front().is_some_and(|front| front.release > now)
    }

    /// Puts these effects in force, those of the other direction left out. An effect that was in
    /// force before (the same fault, the same shape) goes on where it was, with its new values.
    pub(super) fn set(&mut self, effects: &[StreamEffect], now: Instant) {
        let latencies_before = self.latencies();
        let mut old = std::mem::take(&mut self.effects);
        for spec in effects {
            if spec.direction != self.direction {
                continue;
            }
            let same = old
                .iter()
                .position(|effect| effect.spec.fault == spec.fault && effect.is_like(&spec.shape));
            self.effects.push(match same {
                Some(at) => Effect {
                    spec: spec.clone(),
                    ..old.remove(at)
                },
                None => Effect::new(spec.clone(), now),
            });
        }
        if self.latencies() != latencies_before {
            self.reschedule(now);
        }
    }

    /// Whether it holds something back until the effects change.
    pub(super) fn is_stalled_for_good(&self) -> bool {
        self.stalled_by().is_some()
    }

    /// Who holds something back until the effects change.
    pub(super) fn stalled_by(&self) -> Option<FaultId> {
        let stalls = |effect: &&Effect| {
            matches!(effect.state, State::Stall(Stall::Since(_)))
                && matches!(effect.spec.shape, StreamShape::Stall { pause: None, .. })
        };
        let effect = self.effects.iter().find(stalls)?;
        (!self.queue.is_empty()).then_some(effect.spec.fault)
    }

    /// Which faults acted since this was last asked.
    pub(super) fn take_acted(&mut self) -> Vec<FaultId> {
        std::mem::take(&mut self.acted)
    }

    /// Takes in bytes that arrived now.
    pub(super) fn push(&mut self, bytes: Bytes, now: Instant) {
        if !bytes.is_empty() {
            self.hold(Some(bytes), now);
        }
    }

    /// Takes in the end of the stream.
    pub(super) fn push_end(&mut self, now: Instant) {
        self.hold(None, now);
    }

    /// Throws away what it holds.
    pub(super) fn discard(&mut self) {
        self.pushed -= self.held();
        self.queue.clear();
        self.cost = 0;
    }

    fn hold(&mut self, bytes: Option<Bytes>, now: Instant) {
        let (from, count) = (self.pushed, bytes.as_ref().map_or(0, Bytes::len));
        self.cost += ENTRY_BYTES + count;
        self.pushed += count as u64;
        let release = self.release(now, from, self.pushed);
        self.queue.push_back(Held {
            bytes,
            arrived: now,
            release,
        });
    }

    /// When these bytes, which arrived at `arrived`, may leave: never before what came before
    /// them.
    fn release(&mut self, arrived: Instant, from: u64, to: u64) -> Instant {
        let mut release = arrived;
        for effect in &mut self.effects {
            if let (StreamShape::Latency(latency), State::Draws(random)) =
                (&effect.spec.shape, &mut effect.state)
            {
                let delay = latency.law.draw(random);
                release += delay;
                if !delay.is_zero() {
                    effect.act(&mut self.acted);
                }
            }
        }
        let release = self.released_last.map_or(release, |last| last.max(release));
        self.released_last = Some(release);
        if release > arrived {
            let latencies = self.effects.iter().filter(|effect| effect.is_latency());
            for effect in latencies.filter(|effect| effect.acted) {
                self.acts.note(effect.spec.fault, from, to);
            }
        }
        release
    }

    fn latencies(&self) -> Vec<FaultId> {
        self.effects
            .iter()
            .filter(|effect| effect.is_latency())
            .map(|effect| effect.spec.fault)
            .collect()
    }

    /// Other latencies are in force: what is held gets its delay from them.
    fn reschedule(&mut self, now: Instant) {
        self.released_last = None;
        let mut from = self.passed;
        for at in 0..self.queue.len() {
            let to = from + self.queue[at].len();
            let release = self.release(self.queue[at].arrived, from, to);
            self.queue[at].release = release;
            from = to;
        }
        if self.queue.is_empty() {
            self.released_last = Some(now);
        }
    }

    /// How many bytes it holds.
    fn held(&self) -> u64 {
        self.queue.iter().map(Held::len).sum()
    }

    /// What comes next at `now`; what is passed is out of the queue.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(closing) = self.closes(now) {
            return Next::Close(closing);
        }
        let closes_at = self.closes_at();
        let wait = |at: Option<Instant>| {
            Next::Wait(match (at, closes_at) {
                (Some(at), Some(closes)) => Some(at.min(closes)),
                (at, closes) => at.or(closes),
            })
        };
        let Some(front) = self.queue.front() else {
            return wait(None);
        };
        if front.release > now {
            return wait(Some(front.release));
        }
        let mut allowed = front.len();
        for effect in &mut self.effects {
            match effect.allows(allowed, now) {
                Allowed::Bytes(most) => {
                    if most < allowed && effect.cuts_in_pieces() {
                        effect.act(&mut self.acted);
                        let to = self.passed + allowed;
                        self.acts.note(effect.spec.fault, self.passed, to);
                    }
                    allowed = allowed.min(most);
                }
                Allowed::NotBefore(at) => {
                    effect.act(&mut self.acted);
                    // What stands behind it waits too.
                    self.acts.note(effect.spec.fault, self.passed, self.pushed);
                    return wait(at);
                }
            }
        }
        self.pass(allowed, now)
    }

    /// When it has something to do without a push, at `now`: [`Next::Wait`]'s moment, or `now`
    /// itself if [`Shaper::next`] would not wait. Passes nothing.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.closes(now).is_some() {
            return Some(now);
        }
        let closes_at = self.closes_at();
        let at = self.due_to_pass(now);
        match (at, closes_at) {
            (Some(at), Some(closes)) => Some(at.min(closes)),
            (at, closes) => at.or(closes),
        }
    }

    fn due_to_pass(&mut self, now: Instant) -> Option<Instant> {
        let front = self.queue.front()?;
        if front.release > now {
            return Some(front.release);
        }
        let mut allowed = front.len();
        for effect in &mut self.effects {
            match effect.allows(allowed, now) {
                Allowed::Bytes(most) => allowed = allowed.min(most),
                Allowed::NotBefore(at) => {
                    effect.act(&mut self.acted);
                    self.acts.note(effect.spec.fault, self.passed, self.pushed);
                    return at;
                }
            }
        }
        Some(now)
    }

    fn pass(&mut self, allowed: u64, now: Instant) -> Next {
        let Some(front) = self.queue.front_mut() else {
            return Next::Wait(None);
        };
        let Some(bytes) = &mut front.bytes else {
            self.cost -= ENTRY_BYTES;
            self.queue.pop_front();
            return Next::End;
        };
        let count = usize::try_from(allowed).unwrap_or(usize::MAX);
        let mut passed = bytes.split_to(count.min(bytes.len()));
        let is_spent = bytes.is_empty();
        self.arrived_last = Some(front.arrived);
        self.cost -= passed.len();
        if is_spent {
            self.cost -= ENTRY_BYTES;
            self.queue.pop_front();
        }
        let count = passed.len() as u64;
        for effect in &mut self.effects {
            let damaged;
            (passed, damaged) = effect.account(passed, now, &mut self.acted);
            if let Some((first, last)) = damaged {
                let from = self.passed + first;
                self.acts
                    .note(effect.spec.fault, from, self.passed + last + 1);
            }
        }
        self.passed += count;
        Next::Pass(passed)
    }

    /// The closing that an effect wants by now, the first in file order.
    pub(super) fn closes(&mut self, now: Instant) -> Option<Closing> {
        for effect in &mut self.effects {
            let closing = match effect.spec.shape {
                StreamShape::Truncate { after, closing } if effect.passed >= after => closing,
                StreamShape::CloseAfter { after, closing } if now >= effect.began + after => {
                    closing
                }
                _ => continue,
            };
            effect.act(&mut self.acted);
            self.cut_by = Some(effect.spec.fault);
            return Some(closing);
        }
        None
    }

    fn closes_at(&self) -> Option<Instant> {
        self.effects
            .iter()
            .filter_map(|effect| match effect.spec.shape {
                StreamShape::CloseAfter { after, .. } => Some(effect.began + after),
                _ => None,
            })
            .min()
    }
}

impl Held {
    /// How many bytes it has; none is the end of the stream.
    fn len(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }
}

enum Allowed {
    /// At most so many bytes now; a stream's end passes with 0.
    Bytes(u64),
    /// Nothing before this moment, or before the effects change.
    NotBefore(Option<Instant>),
}

impl Effect {
    fn new(spec: StreamEffect, now: Instant) -> Self {
        let draws = |(seed, name, key): (crate::seed::Seed, u64, u64)| {
            let way = match spec.direction {
                Direction::Up => 0x5570,
                Direction::Down => 0x446f_776e,
            };
            seed.generator(name ^ way, key)
        };
        let state = match &spec.shape {
            StreamShape::Latency(Latency { stream, .. }) => State::Draws(draws(*stream)),
            StreamShape::Bandwidth(_) => State::Bucket(0, now),
            StreamShape::Slice { .. } => State::Gap(None),
            StreamShape::Corrupt { share, stream } => {
                State::Corruption(Corruption::new(draws(*stream), *share))
            }
            StreamShape::Stall { after: 0, .. } => State::Stall(Stall::Since(now)),
            StreamShape::Stall { .. } => State::Stall(Stall::Ahead),
            StreamShape::Truncate { .. } | StreamShape::CloseAfter { .. } => State::Plain,
        };
        Self {
            spec,
            began: now,
            passed: 0,
            acted: false,
            state,
        }
    }

    fn is_like(&self, shape: &StreamShape) -> bool {
        std::mem::discriminant(&self.spec.shape) == std::mem::discriminant(shape)
    }

    fn is_latency(&self) -> bool {
        matches!(self.spec.shape, StreamShape::Latency(_))
    }

    fn cuts_in_pieces(&self) -> bool {
        matches!(self.spec.shape, StreamShape::Slice { .. })
    }

    /// Notes that it acted, once.
    fn act(&mut self, acted: &mut Vec<FaultId>) {
        if !self.acted {
            self.acted = true;
            self.spec.hit.count();
            acted.push(self.spec.fault);
        }
    }

    /// How much of `wanted` bytes (0 for the stream's end) may pass now.
    fn allows(&mut self, wanted: u64, now: Instant) -> Allowed {
        match (&self.spec.shape, &mut self.state) {
            (StreamShape::Bandwidth(bandwidth), State::Bucket(credit, counted)) => {
                bucket(*bandwidth, credit, counted, wanted, now)
            }
            (StreamShape::Slice { size, .. }, State::Gap(not_before)) => match *not_before {
                Some(at) if at > now && wanted > 0 => Allowed::NotBefore(Some(at)),
                _ => Allowed::Bytes((*size).max(1)),
            },
            (StreamShape::Truncate { after, .. }, _) => {
                Allowed::Bytes(after.saturating_sub(self.passed))
            }
            (StreamShape::Stall { after, pause }, State::Stall(stall)) => match *stall {
                // A ramp has lowered the limit below what has passed.
                Stall::Ahead if self.passed >= *after => {
                    *stall = Stall::Since(now);
                    Allowed::NotBefore(pause.map(|pause| now + pause))
                }
                Stall::Ahead => Allowed::Bytes(*after - self.passed),
                Stall::Over => Allowed::Bytes(wanted),
                Stall::Since(since) => match pause.map(|pause| since + pause) {
                    Some(end) if end <= now => {
                        *stall = Stall::Over;
                        Allowed::Bytes(wanted)
                    }
                    end => Allowed::NotBefore(end),
                },
            },
            _ => Allowed::Bytes(wanted),
        }
    }

    /// Counts bytes that pass, and damages them where that is the effect: which of them is the
    /// first so damaged, and which the last.
    fn account(
        &mut self,
        bytes: Bytes,
        now: Instant,
        acted: &mut Vec<FaultId>,
    ) -> (Bytes, Option<(u64, u64)>) {
        let count = bytes.len() as u64;
        self.passed += count;
        match (&self.spec.shape, &mut self.state) {
            (StreamShape::Bandwidth(_), State::Bucket(credit, _)) => {
                *credit = credit.saturating_sub(u128::from(count) * NANOS);
            }
            (StreamShape::Slice { gap, .. }, State::Gap(not_before)) => {
                *not_before = Some(now + *gap);
            }
            (StreamShape::Stall { after, .. }, State::Stall(stall @ Stall::Ahead))
                if self.passed >= *after =>
            {
                *stall = Stall::Since(now);
            }
            (StreamShape::Corrupt { share, .. }, State::Corruption(corruption)) => {
                let (bytes, damaged) = corruption.damage(bytes, *share);
                if damaged.is_some() {
                    self.act(acted);
                }
                return (bytes, damaged);
            }
            _ => {}
        }
        (bytes, None)
    }
}

/// Refills a bucket and says how much of `wanted` it lets go. It begins empty, so that no stretch
/// of time gets more than its bandwidth from the first byte on.
fn bucket(
    bandwidth: Bandwidth,
    credit: &mut u128,
    counted: &mut Instant,
    wanted: u64,
    now: Instant,
) -> Allowed {
    let rate = u128::from(bandwidth.bytes_per_second());
    let depth = (rate * BUCKET.as_nanos()).max(NANOS);
    let elapsed = now.saturating_duration_since(*counted).as_nanos();
    *credit = (*credit + elapsed * rate).min(depth);
    *counted = now;
    let quantum = (rate * QUANTUM.as_nanos()).max(NANOS);
    let needed = (u128::from(wanted) * NANOS).min(quantum);
    if *credit < needed {
        let nanos = (needed - *credit).div_ceil(rate);
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        return Allowed::NotBefore(Some(now + wait));
    }
    Allowed::Bytes(u64::try_from(*credit / NANOS).unwrap_or(u64::MAX))
}

/// Flips one bit in about a share of the bytes. Draws the distance to the next damaged byte, so
/// that the cost goes with the damage and not with the traffic, and the positions do not depend
/// on how the stream is cut into pieces.
#[derive(Debug)]
struct Corruption {
    random: ChaCha8Rng,
    /// Bytes that pass unharmed before the next damaged one.
    spared: u64,
}

impl Corruption {
    fn new(random: ChaCha8Rng, share: Share) -> Self {
        let mut corruption = Self { random, spared: 0 };
        corruption.spared = corruption.distance(share);
        corruption
    }

    /// Geometric: the number of bytes spared before one is hit.
    fn distance(&mut self, share: Share) -> u64 {
        let share = share.fraction();
        if share <= 0.0 {
            return u64::MAX;
        }
        if share >= 1.0 {
            return 0;
        }
        let unit = ((self.random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (unit.ln() / (-share).ln_1p()) as u64
    }

    /// The damaged bytes, and which of them are the first and the last with damage.
    fn damage(&mut self, bytes: Bytes, share: Share) -> (Bytes, Option<(u64, u64)>) {
        let count = bytes.len() as u64;
        if self.spared >= count {
            self.spared -= count;
            return (bytes, None);
        }
        let mut bytes = BytesMut::from(bytes);
        let (mut at, first) = (0, self.spared);
        let mut last = first;
        while self.spared < count - at {
            at += self.spared;
            let bit = self.random.next_u32() % 8;
            bytes[at as usize] ^= 1 << bit;
            last = at;
            at += 1;
            self.spared = self.distance(share);
            if at == count {
                return (bytes.freeze(), Some((first, last)));
            }
        }
        self.spared -= count - at;
        (bytes.freeze(), Some((first, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Hit;
    use crate::{fault::Law, seed::Seed};
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn effect(fault: u16, shape: StreamShape) -> StreamEffect {
        StreamEffect {
            fault: FaultId(fault),
            direction: Direction::Down,
            shape,
            hit: Hit::default(),
        }
    }

    fn latency(fault: u16, delay: Duration) -> StreamEffect {
        let stream = (Seed(7), 1, 1);
        let law = Law::Constant(delay);
        effect(fault, StreamShape::Latency(Latency { law, stream }))
    }

    fn jitter(fault: u16, most: Duration) -> StreamEffect {
        let stream = (Seed(7), 1, 1);
        let law = Law::Uniform(Duration::ZERO, most);
        effect(fault, StreamShape::Latency(Latency { law, stream }))
    }

    fn bandwidth(fault: u16, rate: u64) -> StreamEffect {
        effect(
            fault,
            StreamShape::Bandwidth(Bandwidth::per_second(rate).expect("not zero")),
        )
    }

    fn slice(fault: u16, size: u64, gap: Duration) -> StreamEffect {
        effect(fault, StreamShape::Slice { size, gap })
    }

    fn stall(fault: u16, after: u64, pause: Option<Duration>) -> StreamEffect {
        effect(fault, StreamShape::Stall { after, pause })
    }

    fn truncate(fault: u16, after: u64) -> StreamEffect {
        let closing = Closing::Fin;
        effect(fault, StreamShape::Truncate { after, closing })
    }

    fn shaper(effects: &[StreamEffect], now: Instant) -> Shaper {
        let mut shaper = Shaper::new(Direction::Down);
        shaper.set(effects, now);
        shaper
    }

    /// Everything that comes out, with when, if nobody ever wakes the shaper late.
    fn run(shaper: &mut Shaper, mut now: Instant) -> (Vec<(Instant, Bytes)>, Next, Instant) {
        let mut out = Vec::new();
        loop {
            match shaper.next(now) {
                Next::Pass(bytes) => out.push((now, bytes)),
                Next::Wait(Some(at)) => {
                    assert!(at > now, "a wait is for later");
                    assert_eq!(shaper.due(now), Some(at), "both say the same");
                    now = at;
                }
                last => return (out, last, now),
            }
        }
    }

    fn joined(out: &[(Instant, Bytes)]) -> Vec<u8> {
        out.iter()
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect()
    }

    fn any_effect() -> impl Strategy<Value = StreamEffect> {
        prop_oneof![
            (0..500u64).prop_map(|ms| latency(1, MS * ms as u32)),
            (0..500u64).prop_map(|ms| jitter(2, MS * ms as u32)),
            (1..100_000u64).prop_map(|rate| bandwidth(3, rate)),
            (1..200u64, 0..20u32).prop_map(|(size, gap)| slice(4, size, MS * gap)),
            (0..500u64, 0..900u32).prop_map(|(after, pause)| stall(5, after, Some(MS * pause))),
        ]
    }

    proptest! {
        #[test]
        fn order_and_number_of_bytes_survive_any_effects_and_any_split(
            effects in prop::collection::vec(any_effect(), 0..4),
            changed in prop::collection::vec(any_effect(), 0..3),
            pieces in prop::collection::vec((0..300usize, 0..50u32), 1..12),
        ) {
            let mut now = Instant::now();
            let mut shaper = shaper(&effects, now);
            let (mut sent, mut out) = (Vec::new(), Vec::new());
            for (at, (length, pause)) in pieces.iter().enumerate() {
                let piece: Vec<u8> = (0..*length).map(|n| (n + sent.len()) as u8).collect();
                sent.extend_from_slice(&piece);
                shaper.push(Bytes::from(piece), now);
                if at == pieces.len() / 2 {
                    shaper.set(&changed, now);
                }
                now += MS * *pause;
                while let Next::Pass(bytes) = shaper.next(now) {
                    out.extend_from_slice(&bytes);
                }
            }
            shaper.push_end(now);
            let (rest, last, _) = run(&mut shaper, now);
            out.extend(joined(&rest));
            prop_assert_eq!(last, Next::End);
            prop_assert_eq!(out, sent);
            prop_assert!(shaper.is_empty());
            prop_assert_eq!(shaper.cost, 0);
        }

        #[test]
        fn no_byte_comes_before_its_delay_and_none_waits_longer_than_it(
            pieces in prop::collection::vec((1..2000usize, 0..30u32), 1..20),
            delay in 1..400u32,
        ) {
            let mut now = Instant::now();
            let delay = MS * delay;
            let mut shaper = shaper(&[latency(1, delay)], now);
            let mut arrivals = Vec::new();
            for (length, pause) in pieces {
                arrivals.push((now, length));
                shaper.push(Bytes::from(vec![0; length]), now);
                now += MS * pause;
            }
            let (out, _, _) = run(&mut shaper, arrivals[0].0);
            // The last piece arrived at most 600 ms after the first: no throttling.
            prop_assert_eq!(out.len(), arrivals.len());
            for ((left, bytes), (arrived, length)) in out.iter().zip(&arrivals) {
                prop_assert_eq!(*left, *arrived + delay);
                prop_assert_eq!(bytes.len(), *length);
            }
        }

        #[test]
        fn truncation_passes_exactly_its_bytes(
            pieces in prop::collection::vec(1..300usize, 0..12),
            after in 0..1500u64,
            with in prop::collection::vec(any_effect(), 0..3),
        ) {
            let now = Instant::now();
            let mut effects = with;
            effects.push(truncate(9, after));
            let mut shaper = shaper(&effects, now);
            let mut sent = Vec::new();
            for length in pieces {
                let piece: Vec<u8> = (0..length).map(|n| (n * 7 + sent.len()) as u8).collect();
                sent.extend_from_slice(&piece);
                shaper.push(Bytes::from(piece), now);
            }
            let (out, last, _) = run(&mut shaper, now);
            let passed = joined(&out);
            if (sent.len() as u64) < after {
                prop_assert_eq!(last, Next::Wait(None));
                prop_assert_eq!(passed, sent);
            } else {
                prop_assert_eq!(last, Next::Close(Closing::Fin));
                prop_assert_eq!(&passed[..], &sent[..after as usize]);
                prop_assert!(shaper.take_acted().contains(&FaultId(9)));
            }
        }

        #[test]
        fn slices_are_no_larger_and_no_closer_than_asked(
            length in 1..3000usize,
            size in 1..500u64,
            gap in 1..20u32,
        ) {
            let now = Instant::now();
            let mut shaper = shaper(&[slice(1, size, MS * gap)], now);
            shaper.push(Bytes::from(vec![1; length]), now);
            let (out, _, _) = run(&mut shaper, now);
            prop_assert_eq!(out.len() as u64, (length as u64).div_ceil(size));
            prop_assert!(out.iter().all(|(_, bytes)| bytes.len() as u64 <= size));
            prop_assert!(out.windows(2).all(|two| two[1].0 - two[0].0 >= MS * gap));
        }

        #[test]
        fn damage_does_not_depend_on_the_split(
            cuts in prop::collection::vec(1..400usize, 1..10),
            percent in 1..100u32,
        ) {
            let now = Instant::now();
            let share = Share::new(f64::from(percent) / 100.0).expect("a share");
            let stream = (Seed(3), 5, 8);
            let corrupt = [effect(1, StreamShape::Corrupt { share, stream })];
            let length = cuts.iter().sum();
            let mut whole = shaper(&corrupt, now);
            whole.push(Bytes::from(vec![0; length]), now);
            let mut pieces = shaper(&corrupt, now);
            for cut in cuts {
                pieces.push(Bytes::from(vec![0; cut]), now);
            }
            prop_assert_eq!(
                joined(&run(&mut whole, now).0),
                joined(&run(&mut pieces, now).0)
            );
        }
    }

    #[test]
    fn a_bandwidth_is_kept_within_one_percent() {
        for rate in [100, 65_536, 1_000_000, 100_000_000] {
            let began = Instant::now();
            let mut shaper = shaper(&[bandwidth(1, rate)], began);
            for _ in 0..100 {
                let piece = rate.min(500_000) as usize / 10;
                shaper.push(Bytes::from(vec![0; piece]), began);
            }
            let (out, _, ended) = run(&mut shaper, began);
            let bytes = joined(&out).len() as f64;
            let achieved = bytes / (ended - began).as_secs_f64();
            let part = achieved / rate as f64;
            assert!((0.99..=1.0).contains(&part), "{rate}: {part}");
        }
    }

    #[test]
    fn a_bandwidth_holds_although_it_is_woken_late() {
        let began = Instant::now();
        let mut shaper = shaper(&[bandwidth(1, 100_000)], began);
        shaper.push(Bytes::from(vec![0; 1_000_000]), began);
        let mut now = began;
        let mut passed = 0;
        while passed < 1_000_000 {
            match shaper.next(now) {
                Next::Pass(bytes) => passed += bytes.len(),
                Next::Wait(Some(at)) => now = at + MS * 3,
                other => panic!("{other:?}"),
            }
        }
        let part = 10.0 / (now - began).as_secs_f64();
        assert!((0.99..=1.0).contains(&part), "{part}");
    }

    #[test]
    fn an_idle_bandwidth_saves_no_more_than_its_bucket() {
        let began = Instant::now();
        let mut shaper = shaper(&[bandwidth(1, 1_000_000)], began);
        let later = began + Duration::from_secs(60);
        shaper.push(Bytes::from(vec![0; 1_000_000]), later);
        let Next::Pass(bytes) = shaper.next(later) else {
            panic!("the bucket is full");
        };
        assert_eq!(bytes.len(), 50_000);
    }

    #[test]
    fn latency_does_not_reduce_throughput() {
        let began = Instant::now();
        let mut shaper = shaper(&[latency(1, MS * 200)], began);
        for nth in 0..1000 {
            shaper.push(Bytes::from(vec![0; 1000]), began + MS * nth);
        }
        let (out, _, ended) = run(&mut shaper, began);
        assert_eq!(joined(&out).len(), 1_000_000);
        assert_eq!(ended, began + MS * 999 + MS * 200);
    }

    #[test]
    fn jitter_keeps_the_order_and_is_the_same_for_the_same_seed() {
        let began = Instant::now();
        let once = || {
            let mut shaper = shaper(&[jitter(1, MS * 100)], began);
            for nth in 0..50u8 {
                shaper.push(Bytes::from(vec![nth]), began + MS * u32::from(nth));
            }
            run(&mut shaper, began).0
        };
        let out = once();
        assert_eq!(joined(&out), (0..50).collect::<Vec<u8>>());
        assert_eq!(out, once());
        assert!(out.iter().any(|(left, _)| *left > began + MS * 50));
    }

    #[test]
    fn lifting_latency_lets_everything_go_at_once() {
        let began = Instant::now();
        let mut shaper = shaper(&[latency(1, Duration::from_secs(30))], began);
        shaper.push(Bytes::from_static(b"held"), began);
        assert!(matches!(shaper.next(began + MS), Next::Wait(Some(_))));
        shaper.set(&[], began + MS);
        assert_eq!(
            shaper.next(began + MS),
            Next::Pass(Bytes::from_static(b"held"))
        );
        assert!(shaper.is_idle());
    }

    #[test]
    fn another_latency_takes_hold_of_what_is_queued() {
        let began = Instant::now();
        let mut shaper = shaper(&[latency(1, Duration::from_secs(30))], began);
        shaper.push(Bytes::from_static(b"held"), began);
        shaper.set(&[latency(2, MS * 10)], began + MS);
        assert_eq!(shaper.due(began + MS), Some(began + MS * 10));
    }

    #[test]
    fn a_ramped_effect_goes_on_where_it_was() {
        let began = Instant::now();
        let mut shaper = shaper(&[truncate(1, 10)], began);
        shaper.push(Bytes::from_static(b"12345678"), began);
        assert!(matches!(shaper.next(began), Next::Pass(_)));
        shaper.set(&[truncate(1, 9)], began);
        shaper.push(Bytes::from_static(b"90"), began);
        assert_eq!(shaper.next(began), Next::Pass(Bytes::from_static(b"9")));
        assert_eq!(shaper.next(began), Next::Close(Closing::Fin));
    }

    #[test]
    fn a_stall_freezes_after_its_bytes_and_goes_on_after_its_pause() {
        let began = Instant::now();
        let mut shaper = shaper(&[stall(1, 3, Some(MS * 50))], began);
        shaper.push(Bytes::from_static(b"abcdef"), began + MS);
        let (out, _, _) = run(&mut shaper, began + MS);
        let expected = [
            (began + MS, Bytes::from_static(b"abc")),
            (began + MS * 51, Bytes::from_static(b"def")),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_stall_lowered_below_what_has_passed_freezes_and_passes_no_empty_bytes() {
        let began = Instant::now();
        let mut shaper = shaper(&[stall(1, 100, None)], began);
        shaper.push(Bytes::from_static(b"abc"), began);
        assert!(matches!(shaper.next(began), Next::Pass(_)));
        shaper.set(&[stall(1, 2, None)], began);
        shaper.push(Bytes::from_static(b"def"), began);
        assert_eq!(shaper.due(began), None);
        assert_eq!(shaper.next(began), Next::Wait(None));
    }

    #[test]
    fn a_stall_without_end_lasts_until_it_is_lifted() {
        let began = Instant::now();
        let mut shaper = shaper(&[stall(1, 0, None)], began);
        shaper.push(Bytes::from_static(b"abc"), began);
        shaper.push_end(began);
        let later = began + Duration::from_secs(3600);
        assert_eq!(shaper.next(later), Next::Wait(None));
        assert!(shaper.is_stalled_for_good());
        shaper.set(&[], later);
        assert_eq!(shaper.next(later), Next::Pass(Bytes::from_static(b"abc")));
        assert_eq!(shaper.next(later), Next::End);
    }

    fn acted_on(shaper: &Shaper, from: u64, to: u64) -> Vec<FaultId> {
        let mut acted = Vec::new();
        shaper.acted_on(from, to, &mut acted);
        acted
    }

    #[test]
    fn each_chunk_that_is_delayed_is_put_down_to_its_latency_also_when_that_is_lifted() {
        let began = Instant::now();
        let mut shaper = shaper(&[latency(1, MS * 10)], began);
        for nth in 0..3 {
            shaper.push(Bytes::from_static(b"four"), began + MS * 100 * nth);
            let (out, _, _) = run(&mut shaper, began + MS * 100 * nth);
            assert_eq!(out.len(), 1);
            let from = 4 * u64::from(nth);
            assert_eq!(acted_on(&shaper, from, from + 4), [FaultId(1)]);
            assert_eq!(acted_on(&shaper, from + 4, from + 8), []);
        }
        shaper.push(Bytes::from_static(b"held"), began + MS * 300);
        shaper.set(&[], began + MS * 301);
        assert!(matches!(shaper.next(began + MS * 301), Next::Pass(_)));
        assert_eq!(acted_on(&shaper, 12, 16), [FaultId(1)]);
        shaper.push(Bytes::from_static(b"free"), began + MS * 302);
        assert!(matches!(shaper.next(began + MS * 302), Next::Pass(_)));
        assert_eq!(acted_on(&shaper, 16, 20), []);
    }

    #[test]
    fn a_bandwidth_acts_on_what_waits_for_it_and_on_no_other_bytes() {
        let began = Instant::now();
        let mut shaper = shaper(&[bandwidth(3, 1000)], began);
        let later = began + Duration::from_secs(1);
        shaper.push(Bytes::from(vec![0; 50]), later);
        let (_, _, ended) = run(&mut shaper, later);
        assert_eq!(acted_on(&shaper, 0, 50), [], "it had saved as much");
        shaper.push(Bytes::from(vec![0; 5]), ended);
        shaper.push(Bytes::from(vec![0; 5]), ended);
        run(&mut shaper, ended);
        assert_eq!(acted_on(&shaper, 50, 55), [FaultId(3)]);
        assert_eq!(acted_on(&shaper, 55, 60), [FaultId(3)]);
    }

    #[test]
    fn a_stall_acts_on_what_stands_behind_it_and_slices_on_what_they_cut() {
        let began = Instant::now();
        let mut stalled = shaper(&[stall(5, 3, None)], began);
        stalled.push(Bytes::from_static(b"abcd"), began);
        let (_, _, _) = run(&mut stalled, began);
        stalled.push(Bytes::from_static(b"next"), began + MS);
        assert_eq!(stalled.due(began + MS), None);
        assert_eq!(stalled.stalled_by(), Some(FaultId(5)));
        assert_eq!(acted_on(&stalled, 0, 3), []);
        assert_eq!(acted_on(&stalled, 3, 4), [FaultId(5)]);
        assert_eq!(acted_on(&stalled, 4, 8), [FaultId(5)]);
        let mut sliced = shaper(&[slice(4, 3, Duration::ZERO)], began);
        sliced.push(Bytes::from_static(b"abc"), began);
        sliced.push(Bytes::from_static(b"abcd"), began);
        run(&mut sliced, began);
        assert_eq!(acted_on(&sliced, 0, 3), []);
        assert_eq!(acted_on(&sliced, 3, 7), [FaultId(4)]);
    }

    #[test]
    fn what_treats_no_byte_otherwise_has_not_acted() {
        let began = Instant::now();
        let much = 1 << 40;
        for (spec, size, acts) in [
            (slice(1, 64, Duration::ZERO), 64, false),
            (slice(1, 64, Duration::ZERO), 65, true),
            (bandwidth(1, much), 1000, false),
            (bandwidth(1, 1000), 1000, true),
            (latency(1, Duration::ZERO), 10, false),
            (latency(1, MS), 10, true),
        ] {
            let mut shaper = shaper(std::slice::from_ref(&spec), began);
            // A bandwidth has saved what its bucket holds.
            let later = began + Duration::from_secs(1);
            shaper.push(Bytes::from(vec![0; size]), later);
            let (out, _, _) = run(&mut shaper, later);
            assert_eq!(joined(&out).len(), size);
            assert_eq!(!shaper.take_acted().is_empty(), acts, "{spec:?} {size}");
            assert_eq!(!acted_on(&shaper, 0, size as u64).is_empty(), acts);
        }
    }

    #[test]
    fn damage_is_put_down_to_the_bytes_that_have_it_and_a_cut_to_whoever_made_it() {
        let began = Instant::now();
        let share = Share::new(0.001).expect("a share");
        let stream = (Seed(3), 5, 8);
        let mut shaper = shaper(&[effect(1, StreamShape::Corrupt { share, stream })], began);
        for _ in 0..100 {
            shaper.push(Bytes::from(vec![0; 100]), began);
        }
        let out = joined(&run(&mut shaper, began).0);
        let is_hit = |chunk: &[u8]| chunk.iter().any(|byte| *byte != 0);
        let hit = out.chunks(100).map(is_hit);
        let blamed = (0..100).map(|nth| !acted_on(&shaper, nth * 100, nth * 100 + 100).is_empty());
        assert!(hit.clone().any(|is| is) && hit.clone().any(|is| !is));
        assert!(hit.eq(blamed));
        shaper.set(&[truncate(9, 10)], began);
        shaper.push(Bytes::from(vec![0; 100]), began);
        assert_eq!(shaper.cut_by(), None);
        run(&mut shaper, began);
        assert_eq!(shaper.cut_by(), Some(FaultId(9)));
    }

    #[test]
    fn a_timed_close_comes_at_its_time_though_bytes_wait() {
        let began = Instant::now();
        let closing = Closing::Reset;
        let after = MS * 20;
        let close = effect(2, StreamShape::CloseAfter { after, closing });
        let mut shaper = shaper(&[latency(1, MS * 100), close], began);
        shaper.push(Bytes::from_static(b"late"), began);
        let (out, last, ended) = run(&mut shaper, began);
        assert!(out.is_empty());
        assert_eq!(last, Next::Close(Closing::Reset));
        assert_eq!(ended, began + after);
    }

    #[test]
    fn about_the_asked_share_of_bytes_is_damaged_in_one_bit_each() {
        let began = Instant::now();
        let share = Share::new(0.05).expect("a share");
        let stream = (Seed(1), 2, 3);
        let mut shaper = shaper(&[effect(1, StreamShape::Corrupt { share, stream })], began);
        shaper.push(Bytes::from(vec![0; 100_000]), began);
        let out = joined(&run(&mut shaper, began).0);
        let damaged: Vec<u8> = out.into_iter().filter(|byte| *byte != 0).collect();
        assert!((4_700..5_300).contains(&damaged.len()), "{}", damaged.len());
        assert!(damaged.iter().all(|byte| byte.count_ones() == 1));
    }

    #[test]
    fn effects_of_the_other_direction_are_left_alone() {
        let began = Instant::now();
        let mut shaper = Shaper::new(Direction::Up);
        shaper.set(&[stall(1, 0, None)], began);
        assert!(shaper.is_idle());
    }

    #[test]
    fn room_counts_entries_beside_their_bytes() {
        let began = Instant::now();
        let mut shaper = shaper(&[stall(1, 0, None)], began);
        let limit = 1000;
        let mut taken = 0;
        while shaper.room(limit) > 0 {
            shaper.push(Bytes::from_static(b"x"), began);
            taken += 1;
        }
        assert_eq!(taken, limit / (ENTRY_BYTES + 1));
    }
}
