//! The faults in force for one dependency at one time.

use super::{
    Acts, Behaviour, By, ConnectionEvent, Context, Decision, Gate, ListenerState, StreamEffect,
    StreamPlan,
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

/// A fault's number within its scenario: the order of `[[phase.fault]]` tables in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The name its random numbers are derived from: scenario, phase and place, not its id.
    pub stream: u64,
    /// When it came into force.
    pub armed: Micros,
    /// How long its phase lasts; what a ramp is stretched over.
    pub lasts: Duration,
    /// What the draw belongs to, resolved for the protocol.
    pub by: By,
    matched: AtomicU64,
    hits: AtomicU64,
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
            id,
            gate,
            behaviour,
            seed,
            stream: name_hash(stream),
            armed,
            lasts,
            by,
            matched: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
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
        let lasts = self.lasts.as_secs_f64();
        if lasts > 0.0 {
            (now.since(self.armed).as_secs_f64() / lasts).clamp(0.0, 1.0)
        } else {
            1.0
        }
    }

    fn context(&self, now: Micros, key: u64) -> Context {
        Context {
            now,
            progress: self.progress(now),
            dice: [
                self.seed.coin(self.stream ^ 1, key),
                self.seed.coin(self.stream ^ 2, key),
            ],
            stream: (self.seed, self.stream, key),
        }
    }

    /// Whether the share in force now holds what this key names.
    fn is_drawn(&self, share_key: u64, progress: f64) -> bool {
        self.gate
            .share_at(progress)
            .is_none_or(|share| self.seed.coin(self.stream, share_key) < share.fraction())
    }

    /// Whether the gate lets the event through: share first, then the counts over what is left.
    fn lets_through(&self, share_key: u64, progress: f64) -> bool {
        self.is_drawn(share_key, progress)
            && self
                .gate
                .counts_in(self.matched.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Everything in force for one dependency, in file order.
#[derive(Debug, Default)]
pub struct FaultSet {
    faults: Vec<Arc<Active>>,
    acts: Option<Acts>,
    moves: bool,
}

impl FaultSet {
    /// A set of these faults, in file order.
    pub fn new(faults: Vec<Arc<Active>>) -> Self {
        let acts = faults.iter().map(|fault| fault.behaviour.acts());
        Self {
            acts: acts.reduce(Acts::or),
            moves: faults.iter().any(|fault| !fault.gate.ramp.is_empty()),
            faults,
        }
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
            |fault| {
                let concerned = fault.gate.when.is_empty();
                concerned.then_some((event.connection, event.connection))
            },
            |fault, context| fault.behaviour.connection(event, context),
        )
    }

    /// What shall happen to a request whose head was just read, or that was held and is asked
    /// about again.
    pub fn request(&self, call: &Call, now: Micros) -> Decision {
        if !self.acts_on_requests() {
            return Decision::default();
        }
        let keys = Keys::new(call);
        self.round(
            now,
            |fault| {
                let concerned = fault.gate.when.matches(call);
                concerned.then(|| (keys.of(fault.by), keys.of(By::Request)))
            },
            |fault, context| fault.behaviour.request(call, context),
        )
    }

    /// The effects on a connection's bytes. Each fault that has one counts it as a hit now.
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
            .filter(|fault| fault.gate.when.is_empty())
        {
            let context = fault.context(now, event.connection);
            let effects = fault.behaviour.stream(event, &context);
            let known = before.effects.iter().any(|effect| effect.fault == fault.id);
            let lets_through = if known {
                fault.is_drawn(event.connection, context.progress)
            } else {
                !effects.is_empty() && fault.lets_through(event.connection, context.progress)
            };
            if lets_through {
                fault.count(u64::from(!known));
                let named = effects.into_iter().map(|(direction, shape)| StreamEffect {
                    fault: fault.id,
                    direction,
                    shape,
                });
                plan.effects.extend(named);
            }
        }
        plan
    }

    /// Asks the faults in file order. `key` gives what the share is drawn for and what the dice
    /// belong to, or `None` where the fault is not concerned. A fault that has nothing to say is
    /// not counted, by its gate neither.
    fn round(
        &self,
        now: Micros,
        key: impl Fn(&Active) -> Option<(u64, u64)>,
        ask: impl Fn(&Active, &Context) -> Option<Decision>,
    ) -> Decision {
        let mut whole = Decision::default();
        for fault in &self.faults {
            let Some((share_key, key)) = key(fault) else {
                continue;
            };
            let context = fault.context(now, key);
            let Some(decision) = ask(fault, &context) else {
                continue;
            };
            if !fault.lets_through(share_key, context.progress) {
                continue;
            }
            fault.count(1);
            whole.acted.push(fault.id);
            whole.delay += decision.delay;
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

    fn of(&self, by: By) -> u64 {
        match by {
            By::Connection => self.call.connection,
            By::Key => *self.key.get_or_init(|| name_hash(&[&self.call.key])),
            By::Call => *self.logical.get_or_init(|| {
                let names = name_hash(&[&self.call.operation, &self.call.key]);
                mixed(names ^ self.call.occurrence)
            }),
            By::Request => mixed(self.of(By::Call) ^ u64::from(self.call.attempt)),
        }
    }
}
