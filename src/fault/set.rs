//! The faults in force for one dependency at one time.

use super::{
    Acts, Behaviour, By, ConnectionEvent, Context, Decision, Gate, Hit, Lane, ListenerState,
    StreamEffect, StreamPlan, Turn, overload::Capacity,
};
use crate::{
    protocol::Call,
    seed::{Seed, mixed, name_hash},
    units::Micros,
};
use serde::{Deserialize, Serialize};
use std::{
    cell::OnceCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// A fault's number within its scenario: the order of `[[phase.fault]]` tables in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct FaultId(pub u16);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault {}", self.0 + 1)
    }
}

/// A fault in force: its behaviour behind its gate, with its counts.
#[derive(Debug)]
pub struct Active {
    /// Its number in the scenario.
    pub id: FaultId,
    /// The gate.
    pub gate: Gate,
    /// The kind with its parameters.
    pub behaviour: Arc<dyn Behaviour>,
    /// The run's seed.
    pub seed: Seed,
    /// The name its random numbers are derived from: its phase and place there, or, where its
    /// share is by key or header, the fault itself whatever its phase; never its id.
    pub stream: u64,
    /// When it came into force.
    pub armed: Micros,
    /// How long its phase lasts; what a ramp is stretched over.
    pub lasts: Duration,
    /// What the draw belongs to, resolved for the protocol.
    pub by: By,
    /// Its part of the draw that it shares with others, where it does.
    lane: Option<Lane>,
    /// What its behaviour acts on, asked once.
    acts: Acts,
    matched: AtomicU64,
    hits: Arc<AtomicU64>,
}

impl Active {
    /// A fault that comes into force at `armed` for `lasts`. `stream` names its random numbers.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        id: FaultId,
        gate: Gate,
        behaviour: Arc<dyn Behaviour>,
        seed: Seed,
        stream: &[&str],
        armed: Micros,
        lasts: Duration,
        by: By,
    ) -> Self {
        Self {
            acts: behaviour.acts(),
            id,
            gate,
            behaviour,
            seed,
            stream: name_hash(stream),
            armed,
            lasts,
            by,
            lane: None,
            matched: AtomicU64::new(0),
            hits: Arc::default(),
        }
    }

    /// The same fault with a part of a draw that it shares with others.
    #[must_use]
    pub fn in_lane(mut self, lane: Option<Lane>) -> Self {
        self.lane = lane;
        self
    }

    /// How many events it acted on.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Counts events that it acted on where no decision was asked for: connects that found the
    /// listener shut, a process that was killed.
    pub fn count(&self, events: u64) {
        self.hits.fetch_add(events, Ordering::Relaxed);
    }

    /// How much of its phase is over, 0 to 1.
    fn progress(&self, now: Micros) -> f64 {
        let elapsed = now.0.saturating_sub(self.armed.0);
        let lasts = Micros::from(self.lasts).0;
        if elapsed < lasts {
            elapsed as f64 / lasts as f64
        } else {
            1.0
        }
    }

    fn context(&self, now: Micros, key: u64) -> Context {
        Context {
            now,
            armed: self.armed,
            progress: self.progress(now),
            stream: (self.seed, self.stream, key),
        }
    }

    /// Whether the share in force now holds what this key names. `is_open`: it is a connection
    /// that was open before.
    fn is_drawn(&self, share_key: u64, progress: f64, is_open: bool) -> bool {
        let Some(share) = self.gate.share_at(progress) else {
            return true;
        };
        match &self.lane {
            Some(lane) => {
                let coin = self.seed.coin(lane.stream, share_key);
                lane.holds(coin, share.fraction(), is_open)
            }
            None => self.seed.coin(self.stream, share_key) < share.fraction(),
        }
    }

    /// Whether its share moves, and it may decide about connections.
    fn redraws(&self) -> bool {
        self.acts.connections && self.gate.when.is_empty() && self.gate.ramp.share.is_some()
    }

    /// What its share is drawn for on a connection, and what its random numbers belong to; `None`
    /// where it does not concern connections.
    fn concerns_connections(&self, event: &ConnectionEvent) -> Option<(u64, u64)> {
        let concerned = self.acts.connections && self.gate.when.is_empty();
        concerned.then_some((event.connection, event.connection))
    }

    /// Whether the counts let through what was drawn. Counts it.
    fn counts_in(&self) -> bool {
        self.gate
            .counts_in(self.matched.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Everything in force for one dependency, in file order.
#[derive(Debug, Default)]
pub struct FaultSet {
    faults: Vec<Arc<Active>>,
    acts: Option<Acts>,
    moves: bool,
    counts: bool,
    notes: bool,
    /// When it came into force, once it has.
    in_force_since: Option<Instant>,
}

impl FaultSet {
    /// A set of these faults, in file order.
    pub fn new(faults: Vec<Arc<Active>>) -> Self {
        let acts = faults.iter().map(|fault| fault.acts);
        Self {
            acts: acts.reduce(Acts::or),
            counts: faults.iter().any(|fault| fault.behaviour.counts()),
            notes: faults.iter().any(|fault| fault.behaviour.notes_requests()),
            moves: faults
                .iter()
                .any(|fault| !fault.gate.ramp.is_empty() || fault.behaviour.moves()),
            faults,
            in_force_since: None,
        }
    }

    /// It comes into force now.
    pub(super) fn comes_into_force(&mut self) {
        self.in_force_since = Some(Instant::now());
    }

    /// How long it has been in force; without an end where nobody put it in force.
    pub fn in_force_for(&self) -> Duration {
        self.in_force_since
            .map_or(Duration::MAX, |since| since.elapsed())
    }

    /// The faults, in file order.
    pub fn faults(&self) -> &[Arc<Active>] {
        &self.faults
    }

    /// Whether nothing is in force: the proxy takes its fast path.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether any fault may ask for a listener state.
    pub fn acts_on_listener(&self) -> bool {
        self.acts.is_some_and(|acts| acts.listener)
    }

    /// Whether any fault may decide about connections; if not, [`FaultSet::connection`] passes.
    pub fn acts_on_connections(&self) -> bool {
        self.acts.is_some_and(|acts| acts.connections)
    }

    /// Whether any fault may decide about requests; if not, [`FaultSet::request`] passes.
    pub fn acts_on_requests(&self) -> bool {
        self.acts.is_some_and(|acts| acts.requests)
    }

    /// Whether any fault may shape bytes; if not, [`FaultSet::streams`] is empty.
    pub fn acts_on_streams(&self) -> bool {
        self.acts.is_some_and(|acts| acts.streams)
    }

    /// Whether any fault wants to be told what is over.
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// A request is over on which these acted, with so many bytes of its bodies.
    pub fn ended(&self, call: &Call, acted: &[FaultId], bytes: u64, now: Micros) {
        let keys = Keys::new(call);
        let counting = self.faults.iter().filter(|fault| fault.behaviour.counts());
        for fault in counting.filter(|fault| !acted.contains(&fault.id)) {
            let progress = fault.progress(now);
            if fault.gate.when.matches(call) && fault.is_drawn(keys.of(&fault.by), progress, false)
            {
                fault.behaviour.ended(call, bytes, now);
            }
        }
    }

    /// A connection is over.
    pub fn closed(&self, connection: u64) {
        for fault in self.faults.iter().filter(|fault| fault.behaviour.counts()) {
            fault.behaviour.closed(connection);
        }
    }

    /// What the dependency can carry, and which fault says so; `None` where it carries whatever
    /// comes. Of several, which the reading of a file refuses, the first counts.
    pub fn capacity(&self) -> Option<(&Active, &Arc<Capacity>)> {
        self.faults
            .iter()
            .find_map(|fault| Some((&**fault, fault.behaviour.capacity()?)))
    }

    /// Whether any fault may decide about WebSockets that are open already: they are asked about
    /// by their `Connect`, with [`crate::protocol::Place::already_open`].
    pub fn acts_on_sockets(&self) -> bool {
        self.acts.is_some_and(|acts| acts.sockets)
    }

    /// Whether a parameter moves over the phase, so that what was decided for a connection
    /// (listener state and byte effects) must be asked for again as time goes on.
    pub fn moves(&self) -> bool {
        self.moves
    }

    /// Counts events on which this fault acted outside any decision; see [`Active::count`].
    pub fn count(&self, id: FaultId, events: u64) {
        for fault in self.faults.iter().filter(|fault| fault.id == id) {
            fault.count(events);
        }
    }

    /// Takes back one hit of a decision that could not be carried out, as where
    /// [`super::Then::Stale`] finds no earlier answer.
    pub fn did_not_act(&self, id: FaultId) {
        for fault in self.faults.iter().filter(|fault| fault.id == id) {
            let less = |hits: u64| Some(hits.saturating_sub(1));
            // It cannot fail: the closure never refuses.
            let _ = fault
                .hits
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// The strongest listener state that a fault asks for, and whose it is.
    pub fn listener(&self, now: Micros) -> (ListenerState, Option<FaultId>) {
        let mut strongest = (ListenerState::Open, None);
        if !self.acts_on_listener() {
            return strongest;
        }
        for fault in &self.faults {
            match (
                fault.behaviour.listener(&fault.context(now, 0)),
                strongest.0,
            ) {
                (Some(ListenerState::Refuse), _) => {
                    return (ListenerState::Refuse, Some(fault.id));
                }
                (Some(state @ ListenerState::NoAccept(_)), ListenerState::Open) => {
                    strongest = (state, Some(fault.id));
                }
                (Some(ListenerState::NoAccept(share)), ListenerState::NoAccept(before))
                    if share > before =>
                {
                    strongest = (ListenerState::NoAccept(share), Some(fault.id));
                }
                _ => {}
            }
        }
        strongest
    }

    /// What shall happen to a connection that was just accepted or is asked about again. A fault
    /// with a `when` concerns requests only.
    pub fn connection(&self, event: &ConnectionEvent, now: Micros) -> Decision {
        if !self.acts_on_connections() {
            return Decision::default();
        }
        self.round(
            now,
            event.already_open,
            &[],
            |fault| fault.concerns_connections(event),
            |fault, context| fault.behaviour.connection(event, context),
        )
    }

    /// Whether the share of a fault that may decide about connections moves, so that it reaches
    /// connections that are open, or leaves them, as time goes on.
    pub fn redraws_connections(&self) -> bool {
        self.faults.iter().any(|fault| fault.redraws())
    }

    /// Whose moving share holds the connection now, of the faults that were asked in this decision
    /// about it.
    pub fn drawn(&self, event: &ConnectionEvent, decided: &Decision, now: Micros) -> Vec<FaultId> {
        let ended_by = decided.acted.last().filter(|_| decided.end.is_some());
        let last = ended_by.and_then(|last| self.faults.iter().position(|one| one.id == *last));
        let asked = last.map_or(&self.faults[..], |last| &self.faults[..=last]);
        let drawn = asked.iter().filter(|fault| {
            let progress = fault.progress(now);
            fault.redraws() && fault.is_drawn(event.connection, progress, event.already_open)
        });
        drawn.map(|fault| fault.id).collect()
    }

    /// As [`FaultSet::connection`], for a connection that was decided about before under this set, as
    /// a share has moved. Those who `acted` then do not count it again, nor delay it.
    pub fn connection_again(
        &self,
        first: &ConnectionEvent,
        acted: &[FaultId],
        now: Micros,
    ) -> Decision {
        let open = ConnectionEvent {
            already_open: true,
            ..*first
        };
        self.round(
            now,
            first.already_open,
            acted,
            |fault| fault.concerns_connections(first),
            |fault, context| {
                let event = if acted.contains(&fault.id) {
                    first
                } else {
                    &open
                };
                fault.behaviour.connection(event, context)
            },
        )
    }

    /// Tells the faults that keep account of requests of one that they are not asked about, as its
    /// connection is refused as a whole. [`FaultSet::request`] does so by itself.
    pub fn note(&self, call: &Call) {
        if !self.notes {
            return;
        }
        let noting = self.faults.iter();
        for fault in noting.filter(|fault| fault.behaviour.notes_requests()) {
            if fault.gate.when.matches(call) {
                fault.behaviour.note(call);
            }
        }
    }

    /// What shall happen to a request whose head was just read, or that was held and is asked
    /// about again.
    pub fn request(&self, call: &Call, now: Micros) -> Decision {
        if !self.acts_on_requests() {
            return Decision::default();
        }
        self.note(call);
        let keys = Keys::new(call);
        let already_open = call.place.is_some_and(|place| place.already_open);
        self.round(
            now,
            false,
            &[],
            |fault| {
                let concerned = fault.acts.requests
                    && (!already_open || fault.acts.sockets)
                    && fault.gate.when.matches(call);
                concerned.then(|| (keys.of(&fault.by), keys.of(&By::Request)))
            },
            |fault, context| fault.behaviour.request(call, context),
        )
    }

    /// The effects on a connection's bytes. They are counted as hits once they touch a byte.
    pub fn streams(&self, event: &ConnectionEvent, now: Micros) -> StreamPlan {
        self.renew_streams(&StreamPlan::default(), event, now)
    }

    /// The effects on a connection's bytes as they are by now, given those planned before: what
    /// ramps has moved, and a ramped share may have reached the connection or left it. Nothing
    /// is counted twice.
    pub fn renew_streams(
        &self,
        before: &StreamPlan,
        event: &ConnectionEvent,
        now: Micros,
    ) -> StreamPlan {
        let mut plan = StreamPlan::default();
        if !self.acts_on_streams() {
            return plan;
        }
        for fault in self
            .faults
            .iter()
            .filter(|fault| fault.acts.streams && fault.gate.when.is_empty())
        {
            let context = fault.context(now, event.connection);
            let effects = fault.behaviour.stream(event, &context);
            let known = before
                .effects
                .iter()
                .find(|effect| effect.fault == fault.id);
            let drawn = !effects.is_empty()
                && fault.is_drawn(event.connection, context.progress, event.already_open);
            if drawn && (known.is_some() || fault.counts_in()) {
                let hit = known.map_or_else(|| Hit::on(&fault.hits), |effect| effect.hit.clone());
                let named = effects.into_iter().map(|(direction, shape)| StreamEffect {
                    fault: fault.id,
                    direction,
                    shape,
                    hit: hit.clone(),
                });
                plan.effects.extend(named);
            }
        }
        plan
    }

    /// Asks the faults in file order. `key` gives what the share is drawn for and what the random
    /// numbers belong to, or `None` where the fault is not concerned. The share costs least and is
    /// drawn first; a fault that then has nothing to say is not counted, by its gate neither. Those
    /// `known` have acted on the same event before.
    fn round(
        &self,
        now: Micros,
        is_open: bool,
        known: &[FaultId],
        key: impl Fn(&Active) -> Option<(u64, u64)>,
        ask: impl Fn(&Active, &Context) -> Option<Decision>,
    ) -> Decision {
        let mut whole = Decision::default();
        for fault in &self.faults {
            let Some((share_key, key)) = key(fault) else {
                continue;
            };
            let context = fault.context(now, key);
            if !fault.is_drawn(share_key, context.progress, is_open) {
                continue;
            }
            let is_known = known.contains(&fault.id);
            let decision = ask(fault, &context);
            let Some(decision) = decision.filter(|_| is_known || fault.counts_in()) else {
                continue;
            };
            if let Some(turn) = decision.turn {
                // It has not acted yet: it counts itself once anybody waits.
                whole.turn = Some(Turn {
                    fault: fault.id,
                    after: whole.acted.len(),
                    hit: Hit::on(&fault.hits),
                    ..turn
                });
                continue;
            }
            if whole.acted.is_empty() {
                whole.acted.reserve_exact(self.faults.len());
            }
            whole.acted.push(fault.id);
            if !is_known {
                fault.count(1);
                whole.delay += decision.delay;
            }
            if decision.end.is_some() {
                whole.end = decision.end;
                break;
            }
        }
        whole
    }
}

/// What shares are drawn for, as numbers that are the same in every run. The names are hashed at
/// most once, however many faults ask.
struct Keys<'a> {
    call: &'a Call,
    key: OnceCell<u64>,
    logical: OnceCell<u64>,
}

impl<'a> Keys<'a> {
    fn new(call: &'a Call) -> Self {
        Self {
            call,
            key: OnceCell::new(),
            logical: OnceCell::new(),
        }
    }

    fn of(&self, by: &By) -> u64 {
        match by {
            By::Key => *self.key.get_or_init(|| by.of(self.call)),
            By::Call => *self.logical.get_or_init(|| by.of(self.call)),
            By::Request => mixed(self.of(&By::Call) ^ u64::from(self.call.attempt)),
            By::Connection | By::Header(_) => by.of(self.call),
        }
    }
}

impl By {
    /// What a request's draw belongs to, as a number that is the same in every run.
    pub(super) fn of(&self, call: &Call) -> u64 {
        match self {
            Self::Connection => call.connection,
            Self::Key => name_hash(&[&call.key]),
            Self::Call => mixed(name_hash(&[&call.operation, &call.key]) ^ call.occurrence),
            Self::Request => mixed(Self::Call.of(call) ^ u64::from(call.attempt)),
            Self::Header(name) => name_hash(&[name, call.headers.get(name).unwrap_or_default()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{Direction, End, Member, StreamShape, Then, sample},
        protocol::{
            CallTracker,
            Protocol::{Http, S3, Tcp},
            http,
        },
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const NOW: Micros = Micros(0);

    fn together(texts: &[&str]) -> FaultSet {
        sample::together(texts, Http)
    }

    #[test]
    fn delays_add_and_the_first_end_ends_the_round() {
        let latency = "kind = 'latency'\non = 'x'\ndelay = '1s'\nby = 'request'";
        let hang = "kind = 'hang'\non = 'x'\nwhen = { method = 'PUT' }";
        let reset = "kind = 'reset'\non = 'x'";
        let set = together(&[latency, latency, hang, reset]);
        let put = set.request(&sample::call(Http, "PUT", "/"), NOW);
        assert_eq!(put.delay, Duration::from_secs(2));
        assert_eq!(put.end, Some(End::Hang));
        assert_eq!(put.acted, [FaultId(0), FaultId(1), FaultId(2)]);
        let get = set.request(&sample::call(Http, "GET", "/"), NOW);
        assert_eq!(get.acted, [FaultId(0), FaultId(1), FaultId(3)]);
        let hits: Vec<u64> = set.faults().iter().map(|fault| fault.hits()).collect();
        assert_eq!(hits, [2, 2, 1, 1]);
    }

    #[test]
    fn an_empty_set_decides_nothing() {
        let set = FaultSet::default();
        assert!(set.is_empty() && !set.moves());
        assert!(!set.acts_on_listener() && !set.acts_on_streams());
        assert!(set.request(&sample::call(Http, "GET", "/"), NOW).is_pass());
        assert!(set.connection(&sample::accepted(1), NOW).is_pass());
        assert!(set.streams(&sample::accepted(1), NOW).effects.is_empty());
        assert_eq!(set.listener(NOW), (ListenerState::Open, None));
    }

    #[test]
    fn the_strongest_listener_state_wins() {
        let some = |share| format!("kind = 'no-accept'\non = 'x'\nshare = '{share}'");
        let (ten, fifty) = (some("10%"), some("50%"));
        let set = together(&[&ten, &fifty, &ten]);
        assert_eq!(set.listener(NOW).1, Some(FaultId(1)));
        let set = together(&[&fifty, "kind = 'refuse'\non = 'x'", &ten]);
        assert_eq!(set.listener(NOW), (ListenerState::Refuse, Some(FaultId(1))));
    }

    #[test]
    fn counts_are_taken_over_what_the_share_left() {
        let set = sample::set("kind = 'hang'\non = 'x'\nshare = '50%'\nfirst = 3", S3);
        let calls = sample::calls(S3, "GET", "/b/k", 100);
        let hit = calls
            .iter()
            .filter(|call| !set.request(call, NOW).is_pass());
        assert_eq!(hit.count(), 3);
        assert_eq!(set.faults()[0].hits(), 3);
    }

    #[test]
    fn a_fault_with_a_when_leaves_connections_and_bytes_alone() {
        let set =
            together(&["kind = 'hang'\non = 'x'\nby = 'connection'\nwhen = { method = 'PUT' }"]);
        assert!(set.connection(&sample::accepted(1), NOW).is_pass());
        assert!(set.streams(&sample::accepted(1), NOW).effects.is_empty());
    }

    #[test]
    fn attempts_of_a_call_share_the_draw_by_call_and_not_by_request() {
        let fates = |by: &str| -> Vec<Vec<bool>> {
            let text = format!("kind = 'hang'\non = 'x'\nshare = '50%'\nby = '{by}'");
            let set = sample::set(&text, S3);
            let mut tracker = CallTracker::default();
            let mut fate = |id: &str, attempt: u32| {
                let sdk = format!("attempt={attempt}; max=3");
                let headers = [("amz-sdk-invocation-id", id), ("amz-sdk-request", &*sdk)];
                let call = http::identify(S3, None, "GET", "/b/k", headers, 1, &mut tracker);
                !set.request(&call, NOW).is_pass()
            };
            (0..50)
                .map(|id| (1..=3).map(|n| fate(&id.to_string(), n)).collect())
                .collect()
        };
        let same = |seen: &Vec<bool>| seen.iter().all(|one| *one == seen[0]);
        assert!(fates("call").iter().all(same));
        assert!(!fates("request").iter().all(same));
        assert_eq!(fates("request"), fates("request"));
    }

    #[test]
    fn another_seed_or_another_fault_draws_otherwise() {
        let text = "kind = 'hang'\non = 'x'\nshare = '50%'";
        let calls = sample::calls(S3, "GET", "/b/k", 64);
        let fates = |set: &FaultSet| -> Vec<bool> {
            let decisions = calls.iter().map(|call| set.request(call, NOW));
            decisions.map(|decision| decision.is_pass()).collect()
        };
        let seeded = |seed| FaultSet::new(vec![sample::active(text, S3, seed)]);
        assert_eq!(fates(&seeded(7)), fates(&seeded(7)));
        assert_ne!(fates(&seeded(7)), fates(&seeded(8)));
        let mut other = Arc::into_inner(sample::active(text, S3, 7)).unwrap();
        other.stream = name_hash(&["sample", "phase", "1"]);
        let other = FaultSet::new(vec![Arc::new(other)]);
        assert_ne!(fates(&seeded(7)), fates(&other));
    }

    #[test]
    fn a_ramped_share_reaches_more_and_more_requests_and_keeps_those_it_had() {
        let text = "kind = 'hang'\non = 'x'\nramp = { share = ['0%', '100%'] }";
        let set = sample::set(text, S3);
        let calls = sample::calls(S3, "GET", "/b/k", 400);
        let mut before: Vec<bool> = vec![false; calls.len()];
        for (second, low, high) in [(0, 0, 0), (5, 160, 240), (10, 400, 400)] {
            let at = Micros::from_secs(second);
            let hit: Vec<bool> = calls
                .iter()
                .map(|call| !set.request(call, at).is_pass())
                .collect();
            let count = hit.iter().filter(|one| **one).count();
            assert!((low..=high).contains(&count), "{second}: {count}");
            assert!(before.iter().zip(&hit).all(|(was, is)| *is || !*was));
            before = hit;
        }
    }

    #[test]
    fn a_renewed_plan_follows_the_ramp_and_counts_once() {
        let text = "kind = 'latency'\non = 'x'\nramp = { delay = ['0s', '2s'] }";
        let set = sample::set(text, Tcp);
        let event = sample::accepted(1);
        let plan = set.streams(&event, NOW);
        let later = set.renew_streams(&plan, &event, Micros::from_secs(5));
        let StreamShape::Latency(latency) = &later.effects[0].shape else {
            panic!()
        };
        assert_eq!(
            latency.law,
            crate::fault::Law::Constant(Duration::from_secs(1))
        );
        assert_eq!(later.effects[0].direction, Direction::Down);
        assert_eq!(set.faults()[0].hits(), 0, "a plan touches no byte");
        plan.effects[0].hit.count();
        later.effects[0].hit.count();
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn a_ramped_share_reaches_connections_that_are_open_and_leaves_them_again() {
        let reached = |from: &str, to: &str| -> [bool; 2] {
            let ramp = format!("ramp = {{ share = ['{from}', '{to}'] }}");
            let text = format!("kind = 'stall'\non = 'x'\n{ramp}");
            let set = sample::set(&text, Tcp);
            let event = sample::accepted(1);
            let early = set.streams(&event, NOW);
            let late = set.renew_streams(&early, &event, Micros::from_secs(10));
            for effect in early.effects.iter().chain(&late.effects) {
                effect.hit.count();
            }
            assert_eq!(set.faults()[0].hits(), 1);
            [early, late].map(|plan| !plan.effects.is_empty())
        };
        assert_eq!(reached("0%", "100%"), [false, true]);
        assert_eq!(reached("100%", "0%"), [true, false]);
    }

    #[test]
    fn what_a_proxy_counts_itself_is_a_hit_too() {
        let set = together(&["kind = 'refuse'\non = 'x'", "kind = 'hang'\non = 'x'"]);
        set.count(FaultId(0), 3);
        assert_eq!(set.faults()[0].hits(), 3);
        assert_eq!(set.faults()[1].hits(), 0);
        set.did_not_act(FaultId(0));
        set.did_not_act(FaultId(1));
        assert_eq!(set.faults()[0].hits(), 2);
        assert_eq!(set.faults()[1].hits(), 0);
    }

    #[test]
    fn tenants_fail_or_not_as_a_whole() {
        let text = "kind = 'hang'\non = 'x'\nshare = '30%'\nby = 'header:X-Tenant'";
        let set = sample::set(text, Http);
        let mut tracker = CallTracker::default();
        let mut failing = 0;
        for tenant in 0..500 {
            let name = tenant.to_string();
            let mut hit = |path: &str| {
                let headers = [("x-tenant", &*name)];
                let call = http::identify(Http, None, "GET", path, headers, 1, &mut tracker);
                !set.request(&call, NOW).is_pass()
            };
            let first = hit("/a");
            assert!((0..5).all(|n| hit(&format!("/{n}")) == first), "{tenant}");
            failing += u32::from(first);
        }
        assert!((110..190).contains(&failing), "{failing}");
        let bare = sample::calls(Http, "GET", "/", 20);
        let hits = bare.iter().filter(|call| !set.request(call, NOW).is_pass());
        assert!(
            [0, 20].contains(&hits.count()),
            "without the header they are one"
        );
    }

    #[test]
    fn the_same_0_028_percent_of_the_keys_fails_every_time() {
        let text = "kind = 'error'\non = 'x'\nstatus = 500\nshare = '0.028%'\nby = 'key'";
        let set = sample::set(text, Http);
        let mut failing = Vec::new();
        for round in 0..2 {
            let calls = (0..50_000).map(|key| sample::call(Http, "GET", &format!("/{key}")));
            let hit: Vec<_> = calls
                .filter(|call| !set.request(call, NOW).is_pass())
                .map(|call| call.key)
                .collect();
            // 14 are meant; fewer than 4 or more than 30 are one in a thousand.
            assert!((4..=30).contains(&hit.len()), "{}", hit.len());
            if round == 1 {
                assert_eq!(failing, hit);
            }
            failing = hit;
        }
        assert_eq!(set.faults()[0].gate.to_string(), "0.028% by key");
    }

    #[test]
    fn faults_of_one_group_never_meet_and_each_has_its_share() {
        let lanes = Lane::of_group(
            99,
            &[0.2, 0.5, 0.1].map(|share| Member {
                share,
                is_unseen: false,
            }),
        );
        let faults = ["20%", "50%", "10%"].iter().zip(lanes).zip(0..);
        let faults = faults.map(|((share, lane), id)| {
            let delay = id + 1;
            let text = format!(
                "kind = 'latency'\non = 'x'\ndelay = '{delay}s'\nby = 'request'\nshare = '{share}'\none_of = 'mix'"
            );
            let mut fault = Arc::into_inner(sample::active(&text, Http, 7)).unwrap();
            fault.id = FaultId(id);
            Arc::new(fault.in_lane(Some(lane)))
        });
        let set = FaultSet::new(faults.collect());
        for call in sample::calls(Http, "GET", "/", 4000) {
            assert!(set.request(&call, NOW).acted.len() <= 1);
        }
        let hits: Vec<u64> = set.faults().iter().map(|fault| fault.hits()).collect();
        for (hits, expected) in hits.iter().zip([800, 2000, 400]) {
            assert!(hits.abs_diff(expected) < 120, "{hits} of {expected}");
        }
    }

    proptest! {
        /// What the share of a fault decides about a request, and what the dice of its kind say,
        /// does not depend on what was asked before it, by which connection it came or when.
        #[test]
        fn any_order_of_the_same_requests_gives_the_same_decisions(
            order in Just((0..60_usize).collect::<Vec<_>>()).prop_shuffle(),
            at in 0_u64..10_000_000,
            seed in any::<u64>(),
        ) {
            let text = "kind = 'error'\non = 'x'\nerror = 'SlowDown'\napplied = 'maybe'\nshare = '60%'";
            let calls = sample::calls(S3, "PUT", "/b/k", 60);
            let set = || FaultSet::new(vec![sample::active(text, S3, seed)]);
            let (straight, shuffled) = (set(), set());
            let mut expected: Vec<Decision> =
                calls.iter().map(|call| straight.request(call, NOW)).collect();
            let mut seen: Vec<(usize, Decision)> = order
                .iter()
                .map(|nth| {
                    let mut call = calls[*nth].clone();
                    call.connection = at % 7;
                    (*nth, shuffled.request(&call, Micros(at)))
                })
                .collect();
            seen.sort_by_key(|(nth, _)| *nth);
            let seen: Vec<Decision> = seen.into_iter().map(|(_, decision)| decision).collect();
            prop_assert_eq!(&seen, &expected);
            expected.dedup();
            prop_assert!(expected.len() > 1, "all requests fared alike");
            let applied = |end: &Option<End>| matches!(end, Some(End::Forward(Then::Reply(_))));
            prop_assert!(expected.iter().any(|decision| applied(&decision.end)));
        }

        /// Callers with retries share connections and a proxy as chance has it. What becomes of an
        /// attempt depends on the seed, on its call and on which attempt it is, and on nothing else:
        /// not on the SDK's random ids either.
        #[test]
        fn however_callers_interleave_each_attempt_gets_the_same_decision(
            mut turns in Just((0..5_usize).flat_map(|caller| [caller; 12]).collect::<Vec<_>>()).prop_shuffle(),
            ids in any::<u32>(),
            seed in any::<u64>(),
        ) {
            const TEXTS: [&str; 4] = [
                "kind = 'error'\non = 'x'\nerror = 'SlowDown'\nby = 'call'\nshare = '30%'",
                "kind = 'latency'\non = 'x'\nby = 'request'\nlog_normal = { median = '80ms', sigma = 0.6 }\nshare = '70%'",
                "kind = 'error'\non = 'x'\nerror = 'InternalError'\napplied = 'maybe'\nby = 'request'\nshare = '40%'",
                "kind = 'hang'\non = 'x'\nby = 'key'\nshare = '20%'",
            ];
            let decide = |turns: &[usize], ids: u32| -> BTreeMap<(usize, usize), Decision> {
                let faults = (0..).zip(TEXTS).map(|(id, text)| {
                    let mut fault = Arc::into_inner(sample::active(text, S3, seed)).unwrap();
                    fault.id = FaultId(id);
                    Arc::new(fault)
                });
                let set = FaultSet::new(faults.collect());
                let (mut tracker, mut count) = (CallTracker::default(), [0; 5]);
                let decisions = turns.iter().enumerate().map(|(turn, caller)| {
                    let nth = count[*caller];
                    count[*caller] += 1;
                    // Three attempts a call.
                    let (id, attempt) = (format!("{ids}-{caller}-{}", nth / 3), nth % 3 + 1);
                    let call = http::identify(
                        S3,
                        None,
                        "PUT",
                        &format!("/b/k{caller}"),
                        [
                            ("amz-sdk-invocation-id", &*id),
                            ("amz-sdk-request", &*format!("attempt={attempt}; max=3")),
                        ],
                        turn as u64 % 3,
                        &mut tracker,
                    );
                    ((*caller, nth), set.request(&call, Micros(turn as u64)))
                });
                decisions.collect()
            };
            let mixed = decide(&turns, ids);
            turns.sort_unstable();
            let straight = decide(&turns, ids.wrapping_add(1));
            prop_assert_eq!(&mixed, &straight);
            let first = &straight[&(0, 0)];
            prop_assert!(straight.values().any(|one| one != first), "all fared alike");
        }
    }
}
