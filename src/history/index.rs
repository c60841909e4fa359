//! A whole history in memory, indexed for those who judge and report.

use super::{
    Attempt, COMPLETED, Connection, Gauge, HeldUp, Intervention, LogicalCall, Message, Moment,
    Observation, Operation, ProbeSample, ProcessEvent, QueueSample, Reading, Run, Stalled, Waited,
    Window, call, held_up, shared::Shared,
};
use crate::{fault::FaultId, units::Micros};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Everything that was observed in one run.
#[derive(Debug)]
pub struct History {
    /// What the run was.
    pub run: Run,
    /// The phases that began, in order.
    pub phases: Vec<PhaseSpan>,
    /// When which fault was in force, by arming.
    pub faults: Vec<FaultSpan>,
    /// What the faults did outside any attempt or connection.
    pub interventions: Vec<Intervention>,
    /// How long the queues of overloaded dependencies were, in the order noted.
    pub queues: Vec<QueueSample>,
    /// Operations by load, each list sorted by intended start.
    pub operations: BTreeMap<Arc<str>, Vec<Operation>>,
    /// Attempts by dependency, each list sorted by when they began.
    pub attempts: BTreeMap<Arc<str>, Vec<Attempt>>,
    /// Calls by dependency, each list sorted by when they began.
    pub calls: BTreeMap<Arc<str>, Vec<LogicalCall>>,
    /// Connections, by when they were opened.
    pub connections: Vec<Connection>,
    /// What happened to instances, by time.
    pub processes: Vec<ProcessEvent>,
    /// Probes, by when they began.
    pub probes: Vec<ProbeSample>,
    /// What reached the sinks, by time.
    pub messages: Vec<Message>,
    /// What gauges showed, by time.
    pub gauges: Vec<Gauge>,
    /// What was new in listings, by when they were whole.
    pub readings: Vec<Reading>,
    /// Until when ledgers were watched; `None` if the run did not get there.
    pub watched: Option<Micros>,
    /// The hosts that the system asked the forward proxy for though no dependency lists them, the
    /// first [`UNLISTED_MAX`] of them.
    pub unlisted: BTreeMap<String, UnlistedHost>,
    /// Where the load generator missed its schedule.
    pub missed: Vec<Missed>,
    /// Observations that the recorder or the writer had to drop.
    pub dropped: u64,
    /// When the proxies held requests up for want of room in the recorder's queue, by time.
    pub waited: Vec<Waited>,
    /// When Brownout itself stood still, by time.
    pub stalled: Vec<Stalled>,
    /// When the system or Brownout waited for a processor, by time.
    pub held_up: Vec<HeldUp>,
    /// The entry that ended the run; `None` if the runner was killed.
    pub ended: Option<Moment>,
    /// The last moment of which anything is known.
    pub end: Micros,
}

/// How many hosts that nobody lists are told apart.
pub const UNLISTED_MAX: usize = 100;

/// A host that the system asked for though no dependency lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnlistedHost {
    /// How often.
    pub count: u64,
    /// Whether it was passed on; otherwise it was refused.
    pub passed: bool,
}

/// A phase as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseSpan {
    /// Its place in the scenario.
    pub index: usize,
    /// When it began.
    pub began: Micros,
    /// When the next one began, or the run ended.
    pub ended: Micros,
    /// Whether it lasted as long as it should have.
    pub complete: bool,
}

/// A fault as it was in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultSpan {
    /// Which.
    pub fault: FaultId,
    /// When it came into force.
    pub armed: Micros,
    /// When it was lifted, or the run ended.
    pub lifted: Micros,
    /// How many events it acted on.
    pub hits: u64,
}

/// A moment in which the load generator missed its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// When it was noticed.
    pub at: Micros,
    /// The load.
    pub load: Arc<str>,
    /// Operations concerned.
    pub count: u64,
    /// How many of these were not sent at all.
    pub unsent: u64,
    /// The greatest delay, in microseconds.
    pub late: u64,
    /// When the first of them should have begun.
    pub first: Micros,
    /// When the last of them should have begun.
    pub last: Micros,
}

impl History {
    /// Indexes observations in the order in which they were recorded; `None` if the first is not
    /// [`Observation::Run`].
    pub fn from_observations(observations: Vec<Observation>) -> Option<Self> {
        let mut observations = observations.into_iter();
        let Some(Observation::Run(run)) = observations.next() else {
            return None;
        };
        let mut building = Building::new(run);
        for observation in observations {
            building.add(observation);
        }
        Some(building.finish())
    }

    /// Whether the run went through all its phases.
    pub fn completed(&self) -> bool {
        self.ended
            .as_ref()
            .is_some_and(|moment| moment.how == COMPLETED)
    }

    /// When the last phase was over: what follows is the answers still due, and the taking down.
    pub fn over(&self) -> Micros {
        self.phases.last().map_or(self.end, |last| last.ended)
    }

    /// How the run ended, in words.
    pub fn how_it_ended(&self) -> &str {
        self.ended
            .as_ref()
            .map_or("the runner was killed", |moment| &moment.how)
    }

    /// The most that something can have been held up between two moments by other programs of the
    /// machine, which had the processors; zero where that is not known.
    pub fn held_up(&self, from: Micros, to: Micros) -> Duration {
        held_up::at_most(&self.held_up, Window::new(from, to))
    }

    /// When a fault was last lifted.
    pub fn lifted(&self, fault: FaultId) -> Option<Micros> {
        self.faults
            .iter()
            .filter(|span| span.fault == fault)
            .map(|span| span.lifted)
            .max()
    }

    /// The operations of a load, by intended start.
    pub fn operations_of(&self, load: &str) -> &[Operation] {
        self.operations.get(load).map_or(&[], Vec::as_slice)
    }

    /// The attempts at a dependency, by when they began.
    pub fn attempts_of(&self, dependency: &str) -> &[Attempt] {
        self.attempts.get(dependency).map_or(&[], Vec::as_slice)
    }

    /// The calls of a dependency, by when they began.
    pub fn calls_of(&self, dependency: &str) -> &[LogicalCall] {
        self.calls.get(dependency).map_or(&[], Vec::as_slice)
    }
}

/// A history that is being put together.
pub(super) struct Building {
    history: History,
    names: Shared,
    lifted: Vec<(Micros, FaultId, u64)>,
    over: Option<Micros>,
}

impl Building {
    pub(super) fn new(run: Run) -> Self {
        let history = History {
            run,
            phases: Vec::new(),
            faults: Vec::new(),
            interventions: Vec::new(),
            queues: Vec::new(),
            operations: BTreeMap::new(),
            attempts: BTreeMap::new(),
            calls: BTreeMap::new(),
            connections: Vec::new(),
            processes: Vec::new(),
            probes: Vec::new(),
            messages: Vec::new(),
            gauges: Vec::new(),
            readings: Vec::new(),
            watched: None,
            unlisted: BTreeMap::new(),
            missed: Vec::new(),
            dropped: 0,
            waited: Vec::new(),
            stalled: Vec::new(),
            held_up: Vec::new(),
            ended: None,
            end: Micros::default(),
        };
        Self {
            history,
            names: Shared::new(),
            lifted: Vec::new(),
            over: None,
        }
    }

    pub(super) fn add(&mut self, observation: Observation) {
        let history = &mut self.history;
        history.end = history.end.max(observation.at());
        match observation {
            Observation::Operation(mut operation) => {
                self.names.replace(&mut operation.load);
                push(&mut history.operations, operation.load.clone(), operation);
            }
            Observation::Attempt(mut attempt) => {
                self.names.replace(&mut attempt.dependency);
                self.names.replace(&mut attempt.operation);
                push(&mut history.attempts, attempt.dependency.clone(), attempt);
            }
            Observation::Phase { at, index } => history.phases.push(PhaseSpan {
                index: index.into(),
                began: at,
                ended: at,
                complete: false,
            }),
            Observation::Armed { at, fault } => history.faults.push(FaultSpan {
                fault,
                armed: at,
                lifted: Micros(u64::MAX),
                hits: 0,
            }),
            Observation::Lifted { at, fault, hits } => self.lifted.push((at, fault, hits)),
            Observation::Missed {
                at,
                load,
                count,
                unsent,
                late,
                first,
                last,
            } => history.missed.push(Missed {
                at,
                load,
                count,
                unsent,
                late,
                first,
                last,
            }),
            Observation::Unlisted(one) => {
                let known = history.unlisted.contains_key(&one.host);
                if known || history.unlisted.len() < UNLISTED_MAX {
                    let host = history.unlisted.entry(one.host).or_default();
                    host.count += 1;
                    host.passed |= one.passed;
                }
            }
            Observation::PhasesOver { at } => self.over = Some(at),
            Observation::Dropped { count, .. } => history.dropped += count,
            Observation::Waited(waited) => history.waited.push(waited),
            Observation::Stalled(stalled) => history.stalled.push(stalled),
            Observation::HeldUp(held_up) => history.held_up.push(held_up),
            Observation::Acted(intervention) => history.interventions.push(intervention),
            Observation::Connection(connection) => history.connections.push(connection),
            Observation::Queue(sample) => history.queues.push(sample),
            Observation::Process(event) => history.processes.push(event),
            Observation::Probe(sample) => history.probes.push(sample),
            Observation::Message(message) => history.messages.push(message),
            Observation::Gauge(gauge) => history.gauges.push(gauge),
            Observation::Reading(reading) => history.readings.push(reading),
            Observation::Watched { at } => history.watched = Some(at),
            Observation::Ended(moment) => history.ended = Some(moment),
            // A second header has no meaning; the first one holds.
            Observation::Run(_) => {}
        }
    }

    pub(super) fn finish(mut self) -> History {
        self.sort();
        self.close_phases();
        self.close_faults();
        self.count_hits();
        let mut history = self.history;
        for (dependency, attempts) in &history.attempts {
            history
                .calls
                .insert(dependency.clone(), call::calls(attempts));
        }
        history
    }

    fn sort(&mut self) {
        let history = &mut self.history;
        // Entries are large, and come nearly in order: each is moved once at most.
        for list in history.operations.values_mut() {
            list.sort_by_cached_key(|operation| (operation.intended, operation.nth));
        }
        for list in history.attempts.values_mut() {
            list.sort_by_cached_key(|attempt| attempt.began);
        }
        history.connections.sort_by_key(|one| one.opened);
        history.processes.sort_by_key(|event| event.at);
        history.probes.sort_by_key(|sample| sample.at);
        history.messages.sort_by_key(|message| message.at);
        history.gauges.sort_by_key(|gauge| gauge.at);
        history.readings.sort_by_key(|reading| reading.ended);
        history.stalled.sort_by_key(|stalled| stalled.from);
        history.held_up.sort_by_key(|one| one.from);
    }

    fn close_phases(&mut self) {
        let history = &mut self.history;
        let mut next = self.over;
        for phase in history.phases.iter_mut().rev() {
            phase.ended = next.unwrap_or(history.end);
            phase.complete = next.is_some();
            next = Some(phase.began);
        }
        let completed = history.completed();
        if let Some(last) = history.phases.last_mut() {
            last.complete = completed;
        }
    }

    fn close_faults(&mut self) {
        for (at, fault, hits) in &self.lifted {
            let open = self
                .history
                .faults
                .iter_mut()
                .find(|span| span.fault == *fault && span.lifted == Micros(u64::MAX));
            if let Some(span) = open {
                span.lifted = *at;
                span.hits = *hits;
            }
        }
        for span in &mut self.history.faults {
            span.lifted = span.lifted.min(self.history.end);
        }
    }

    /// Where the run was killed no `Lifted` says how often a fault acted; what it left in the
    /// record does, which is counted once: a fault on a connection may be noted at the connection
    /// and at the attempts on it.
    fn count_hits(&mut self) {
        let history = &mut self.history;
        let mut seen: BTreeMap<FaultId, u64> = BTreeMap::new();
        let mut noted: HashSet<(&str, u64, FaultId)> = HashSet::new();
        for attempt in history.attempts.values().flatten() {
            for fault in &attempt.faults {
                *seen.entry(*fault).or_default() += 1;
                noted.insert((&attempt.dependency, attempt.connection, *fault));
            }
        }
        for connection in &history.connections {
            for fault in &connection.faults {
                if !noted.contains(&(&*connection.dependency, connection.connection, *fault)) {
                    *seen.entry(*fault).or_default() += 1;
                }
            }
        }
        for intervention in &history.interventions {
            *seen.entry(intervention.fault).or_default() += intervention.count;
        }
        drop(noted);
        let known: HashSet<FaultId> = self.lifted.iter().map(|(_, fault, _)| *fault).collect();
        for span in &mut history.faults {
            if !known.contains(&span.fault) {
                span.hits = seen.get(&span.fault).copied().unwrap_or(0);
            }
        }
    }
}

fn push<T>(lists: &mut BTreeMap<Arc<str>, Vec<T>>, name: Arc<str>, item: T) {
    lists.entry(name).or_default().push(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::{Story, attempt};

    fn connection(number: u64) -> Observation {
        Observation::Connection(Connection {
            dependency: "s3".into(),
            connection: number,
            opened: Micros::from_secs(12),
            closed: Micros::from_secs(13),
            how: "reset by fault".to_owned(),
            faults: vec![FaultId(0)],
            bytes_up: 0,
            bytes_down: 0,
        })
    }

    #[test]
    fn what_the_lifting_says_of_a_fault_holds() {
        let story = Story::new().hits(2).acted(12, "a connect unanswered");
        let story = story.attempt(attempt("s3", 12_000, 12_500).hit());
        assert_eq!(story.history().faults[0].hits, 2);
    }

    #[test]
    fn without_a_lifting_a_fault_noted_twice_on_a_connection_counts_once() {
        let mut story = Story::new()
            .attempt(attempt("s3", 12_000, 12_500).hit())
            .acted(14, "a connect unanswered");
        story.observations.push(connection(1));
        story.observations.push(connection(2));
        let killed = story.ends(20, None).history();
        assert_eq!(
            killed.faults[0].hits, 3,
            "an attempt, a connection without one, an intervention"
        );
    }
}
