//! The faults in force for one dependency at one time.

use super::{Behaviour, By, ConnectionEvent, Context, Decision, Gate, ListenerState, StreamPlan};
use crate::{
    protocol::Call,
    seed::{Seed, name_hash},
    units::Micros,
};
use serde::{Deserialize, Serialize};
use std::{
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

    fn context(&self, now: Micros, key: u64) -> Context {
        let lasts = self.lasts.as_secs_f64();
        let progress = if lasts > 0.0 {
            (now.since(self.armed).as_secs_f64() / lasts).clamp(0.0, 1.0)
        } else {
            1.0
        };
        Context {
            now,
            progress,
            dice: [
                self.seed.coin(self.stream ^ 1, key),
                self.seed.coin(self.stream ^ 2, key),
            ],
            stream: (self.seed, self.stream, key),
        }
    }

    /// Whether the gate lets the event through: share first, then the counts over what is left.
    fn lets_through(&self, share_key: u64) -> bool {
        if let Some(share) = self.gate.share
            && self.seed.coin(self.stream, share_key) >= share.fraction()
        {
            return false;
        }
        let nth = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        self.gate.after.is_none_or(|spared| nth > spared)
            && self
                .gate
                .first
                .is_none_or(|first| nth <= first + self.gate.after.unwrap_or(0))
            && self
                .gate
                .every
                .is_none_or(|every| (nth - self.gate.after.unwrap_or(0)).is_multiple_of(every))
    }
}

/// Everything in force for one dependency, in file order.
#[derive(Debug, Default)]
pub struct FaultSet {
    /// The faults.
    pub faults: Vec<Arc<Active>>,
}

impl FaultSet {
    /// Whether nothing is in force: the proxy takes its fast path.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The strongest listener state that a fault asks for, and whose it is.
    pub fn listener(&self, now: Micros) -> (ListenerState, Option<super::FaultId>) {
        let mut strongest = (ListenerState::Open, None);
        for fault in &self.faults {
            let asked = fault.behaviour.listener(&fault.context(now, 0));
            match (asked, strongest.0) {
                (Some(ListenerState::Refuse), _) => {
                    return (ListenerState::Refuse, Some(fault.id));
                }
                (Some(state @ ListenerState::NoAccept(share)), ListenerState::Open) => {
                    let _ = share;
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

    /// What shall happen to a connection that was just accepted or is asked about again.
    pub fn connection(&self, event: &ConnectionEvent, now: Micros) -> Decision {
        self.round(
            now,
            |fault| fault.gate.when.is_empty().then_some(event.connection),
            |fault, context| fault.behaviour.connection(event, context),
        )
    }

    /// What shall happen to a request whose head was just read, or that was held and is asked
    /// about again.
    pub fn request(&self, call: &Call, now: Micros) -> Decision {
        self.round(
            now,
            |fault| {
                fault
                    .gate
                    .when
                    .matches(call)
                    .then(|| share_key(fault.by, call))
            },
            |fault, context| fault.behaviour.request(call, context),
        )
    }

    /// The effects on a connection's bytes.
    pub fn streams(&self, event: &ConnectionEvent, now: Micros) -> StreamPlan {
        let mut plan = StreamPlan::default();
        for fault in &self.faults {
            if !fault.gate.when.is_empty() {
                continue;
            }
            let context = fault.context(now, event.connection);
            let effects = fault.behaviour.stream(event, &context);
            if !effects.is_empty() && fault.lets_through(event.connection) {
                fault.hits.fetch_add(1, Ordering::Relaxed);
                plan.effects.extend(effects);
            }
        }
        plan
    }

    fn round(
        &self,
        now: Micros,
        key: impl Fn(&Active) -> Option<u64>,
        ask: impl Fn(&Active, &Context) -> Option<Decision>,
    ) -> Decision {
        let mut whole = Decision::default();
        for fault in &self.faults {
            let Some(key) = key(fault) else { continue };
            let context = fault.context(now, key);
            let Some(decision) = ask(fault, &context) else {
                continue;
            };
            if !fault.lets_through(key) {
                continue;
            }
            fault.hits.fetch_add(1, Ordering::Relaxed);
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

/// What the share is drawn for, as a number that is the same in every run.
fn share_key(by: By, call: &Call) -> u64 {
    let hash = |parts: &[&str]| name_hash(parts);
    match by {
        By::Connection => call.connection,
        By::Key => hash(&[&call.key]),
        By::Call => {
            hash(&[&call.operation, &call.key])
                ^ call.occurrence.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        }
        By::Request => {
            hash(&[&call.operation, &call.key])
                ^ call.occurrence.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ u64::from(call.attempt).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        }
    }
}
