//! Small histories that read as a sentence, for tests, benchmarks and golden reports.
//!
//! The story is always the same: a bot platform with an object store `s3` (and `backup`) and a
//! pager; `steady` from 0 to 10 s, `outage` from 10 to 30 s with one fault (a hang) on `s3`,
//! `recovery` from 30 to 60 s. A test says what the system did in it.

use super::{
    Attempt, AttemptEnd, COMPLETED, Connection, Gauge, HISTORY_VERSION, HeldUp, History,
    Intervention, Listing, Machine, Measure, Message, Moment, Observation, Operation, Outcome,
    ProbeSample, ProcessEvent, Reading, Run, Source, Stalled, Waited,
};
use crate::{
    fault::{FaultId, Gate},
    input,
    protocol::{Applied, Protocol},
    scenario::{
        Again, Arrivals, Delivered, Dependency, Dropped, FaultSpec, GaugeSpec, IdPath, Instance,
        Lasts, Ledger, Load, Outcomes, Phase, ReadSpec, Ready, RequestTemplate, Scenario, Start,
        StatusSet, Stop, System, Target, Template, UnlistedHosts, Upstream,
    },
    units::{Micros, Rate},
};
use std::{collections::BTreeMap, ops::Range, path::PathBuf, sync::Arc, time::Duration};

/// When the outage begins, in seconds.
pub const OUTAGE: u64 = 10;
/// When it ends and recovery begins, in seconds.
pub const RECOVERY: u64 = 30;
/// When the run ends, in seconds.
pub const END: u64 = 60;

/// A history in the making. Times are in seconds or milliseconds, as the names say.
#[derive(Debug, Clone)]
pub struct Story {
    /// What was observed so far, in any order.
    pub observations: Vec<Observation>,
    /// How often the fault acted, as its lifting says.
    pub hits: u64,
    /// When the fault came into force.
    pub armed: Micros,
    /// When the run ended, in seconds, and how; `None`: killed.
    pub ended: Option<(u64, &'static str)>,
    /// The machine that it took place on.
    pub machine: Option<Machine>,
    numbers: BTreeMap<String, u64>,
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

impl Story {
    /// The outage with a fault that acted ten times, and nothing else yet.
    pub fn new() -> Self {
        Self {
            observations: Vec::new(),
            hits: 10,
            armed: Micros::from_secs(OUTAGE),
            ended: Some((END, COMPLETED)),
            machine: None,
            numbers: BTreeMap::new(),
        }
    }

    /// Operations of a load, evenly spaced over these seconds, each ending so after `millis`.
    #[must_use]
    pub fn load(
        mut self,
        load: &str,
        seconds: Range<u64>,
        per_second: u64,
        outcome: Outcome,
        millis: u64,
    ) -> Self {
        let name: Arc<str> = load.into();
        for index in 0..(seconds.end - seconds.start) * per_second {
            let number = self.numbers.entry(load.to_owned()).or_default();
            *number += 1;
            let intended =
                Micros(Micros::from_secs(seconds.start).0 + index * 1_000_000 / per_second);
            let operation = Operation {
                load: Arc::clone(&name),
                nth: *number,
                source: Source::Load,
                intended,
                began: intended,
                ended: intended + Duration::from_millis(millis),
                accepted: None,
                outcome,
                status: (outcome != Outcome::Indeterminate)
                    .then_some(if outcome == Outcome::Failed { 503 } else { 200 }),
                why: match outcome {
                    Outcome::Failed => Some("status 503".to_owned()),
                    Outcome::Indeterminate => Some("no answer within 5s".to_owned()),
                    Outcome::Ok | Outcome::Degraded => None,
                },
                cut: false,
                refused: 0,
                request: format!("POST /bots/7/{load}").into(),
                captured: BTreeMap::new(),
            };
            self.observations.push(Observation::Operation(operation));
        }
        self
    }

    /// Operations of a load from this millisecond on, one after so many, ending so after 20 ms.
    #[must_use]
    pub fn seldom(mut self, load: &str, first: u64, each: u64, outcomes: &[Outcome]) -> Self {
        for (nth, outcome) in (0u64..).zip(outcomes) {
            self = self.load(load, 0..1, 1, *outcome, 20);
            if let Some(Observation::Operation(one)) = self.observations.last_mut() {
                one.intended = Micros::from_millis(first + nth * each);
                one.began = one.intended;
                one.ended = one.intended + Duration::from_millis(20);
            }
        }
        self
    }

    /// Both loads healthy over these seconds: 20 a second, answered after 20 ms.
    #[must_use]
    pub fn healthy(self, seconds: Range<u64>) -> Self {
        self.load("ask", seconds.clone(), 20, Outcome::Ok, 20).load(
            "train",
            seconds,
            20,
            Outcome::Ok,
            20,
        )
    }

    /// An operation that a key's new version was accepted with.
    #[must_use]
    pub fn accepted(mut self, millis: u64, key: &str, version: &str) -> Self {
        self = self.load("train", 0..1, 1, Outcome::Ok, 20);
        if let Some(Observation::Operation(operation)) = self.observations.last_mut() {
            operation.intended = Micros::from_millis(millis);
            operation.began = operation.intended;
            operation.ended = operation.intended + Duration::from_millis(20);
            operation.captured = BTreeMap::from([
                ("bot".to_owned(), key.to_owned()),
                ("version".to_owned(), version.to_owned()),
            ]);
        }
        self
    }

    /// Makes the last operation one that was taken in when it ended, and then read back for so
    /// long.
    #[must_use]
    pub fn read_back(mut self, millis: u64, outcome: Outcome) -> Self {
        if let Some(Observation::Operation(operation)) = self.observations.last_mut() {
            operation.accepted = Some(operation.ended);
            operation.ended = operation.ended + Duration::from_millis(millis);
            operation.outcome = outcome;
        }
        self
    }

    /// Makes the last operation one that was taken in and then not read back in time.
    #[must_use]
    pub fn never_read_back(mut self) -> Self {
        if let Some(Observation::Operation(operation)) = self.observations.last_mut() {
            operation.outcome = Outcome::Failed;
            operation.status = Some(202);
        }
        self
    }

    /// One attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: AttemptBuilder) -> Self {
        self.observations.push(Observation::Attempt(attempt.done()));
        self
    }

    /// Several attempts.
    #[must_use]
    pub fn attempts(mut self, attempts: impl IntoIterator<Item = AttemptBuilder>) -> Self {
        for attempt in attempts {
            self = self.attempt(attempt);
        }
        self
    }

    /// A connection to a dependency, open between these milliseconds.
    #[must_use]
    pub fn connection(mut self, dependency: &str, opened: u64, closed: u64) -> Self {
        self.observations.push(Observation::Connection(Connection {
            dependency: dependency.into(),
            connection: opened,
            opened: Micros::from_millis(opened),
            closed: Micros::from_millis(closed),
            how: "client closed".to_owned(),
            faults: Vec::new(),
            bytes_up: 0,
            bytes_down: 0,
        }));
        self
    }

    /// Something that happened to an instance.
    #[must_use]
    pub fn process(mut self, millis: u64, instance: &str, event: &str, ours: bool) -> Self {
        self.observations.push(Observation::Process(ProcessEvent {
            at: Micros::from_millis(millis),
            instance: instance.into(),
            event: event.to_owned(),
            ours,
            detail: None,
        }));
        self
    }

    /// A message at the pager.
    #[must_use]
    pub fn message(mut self, millis: u64, body: &str) -> Self {
        self.observations.push(Observation::Message(Message {
            at: Micros::from_millis(millis),
            dependency: "pager".into(),
            request: "POST /alerts".to_owned(),
            body: body.to_owned(),
            cut: false,
            taken: true,
        }));
        self
    }

    /// Makes the last message one of which not all is kept.
    #[must_use]
    pub fn in_part(mut self) -> Self {
        if let Some(Observation::Message(message)) = self.observations.last_mut() {
            message.cut = true;
        }
        self
    }

    /// Makes the last message one that the pager refused.
    #[must_use]
    pub fn refused(mut self) -> Self {
        if let Some(Observation::Message(message)) = self.observations.last_mut() {
            message.taken = false;
        }
        self
    }

    /// Probes of the expectation `X`, one a second over these seconds.
    #[must_use]
    pub fn probes(mut self, seconds: Range<u64>, held: Option<bool>) -> Self {
        for second in seconds {
            self.observations.push(Observation::Probe(ProbeSample {
                at: Micros::from_secs(second),
                ended: Micros::from_secs(second) + Duration::from_millis(5),
                probe: "X".into(),
                held,
                answered: held.is_some(),
                seen: (held != Some(true)).then(|| "status 500".to_owned()),
            }));
        }
        self
    }

    /// Work of `train` with this id that was asked for and so answered after 20 ms.
    #[must_use]
    pub fn work(mut self, millis: u64, id: &str, outcome: Outcome) -> Self {
        self = self.load("train", 0..1, 1, outcome, 20);
        if let Some(Observation::Operation(operation)) = self.observations.last_mut() {
            operation.intended = Micros::from_millis(millis);
            operation.began = operation.intended;
            operation.ended = operation.intended + Duration::from_millis(20);
            operation.captured = BTreeMap::from([("id".to_owned(), id.to_owned())]);
        }
        self
    }

    /// Gives all operations that have no captured values yet, and are of the load of the last one,
    /// this one.
    #[must_use]
    pub fn by(mut self, name: &str, value: &str) -> Self {
        let operation = |one: &Observation| match one {
            Observation::Operation(operation) => Some(Arc::clone(&operation.load)),
            _ => None,
        };
        let last = self.observations.last().and_then(operation);
        for observation in &mut self.observations {
            if let Observation::Operation(operation) = observation
                && Some(&operation.load) == last.as_ref()
                && operation.captured.is_empty()
            {
                let captured = &mut operation.captured;
                captured.insert(name.to_owned(), value.to_owned());
            }
        }
        self
    }

    /// Makes the last operation one of this class of work.
    #[must_use]
    pub fn class(mut self, class: &str) -> Self {
        if let Some(Observation::Operation(operation)) = self.observations.last_mut() {
            let name = "class".to_owned();
            operation.captured.insert(name, class.to_owned());
        }
        self
    }

    /// Makes the last operation one that was refused so often before, and asked again.
    #[must_use]
    pub fn asked_again(mut self, times: u32) -> Self {
        if let Some(Observation::Operation(operation)) = self.observations.last_mut() {
            operation.refused = times;
        }
        self
    }

    /// The delivery of an id to `s3`, carried out at this millisecond.
    #[must_use]
    pub fn delivery(self, millis: u64, id: &str) -> Self {
        let began = millis.saturating_sub(10);
        self.attempt(attempt("s3", began, millis).captured("id", id))
    }

    /// What was new in the listing of the ledger `listed`.
    #[must_use]
    pub fn listing(mut self, millis: u64, added: &[&str], gone: &[&str]) -> Self {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let reading = reading(millis, Listing::Delivered(0), texts(added), texts(gone));
        self.observations.push(Observation::Reading(reading));
        self
    }

    /// What the system reported as dropped to the ledger `listed`.
    #[must_use]
    pub fn reported_dropped(mut self, millis: u64, ids: &[&str]) -> Self {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let reading = reading(millis, Listing::Dropped, ids, Vec::new());
        self.observations.push(Observation::Reading(reading));
        self
    }

    /// The listing of the ledger `listed` could not be read.
    #[must_use]
    pub fn unreadable(mut self, millis: u64, why: &str) -> Self {
        let mut reading = reading(millis, Listing::Delivered(0), Vec::new(), Vec::new());
        reading.why = Some(why.to_owned());
        self.observations.push(Observation::Reading(reading));
        self
    }

    /// A gauge showed this number; `None`: it could not be read.
    #[must_use]
    pub fn gauge(mut self, millis: u64, measure: Measure, of: &str, value: Option<f64>) -> Self {
        self.observations.push(Observation::Gauge(Gauge {
            at: Micros::from_millis(millis),
            measure,
            of: of.into(),
            value,
            why: value.is_none().then(|| "status 503".to_owned()),
        }));
        self
    }

    /// Ledgers were watched until this millisecond.
    #[must_use]
    pub fn watched(mut self, millis: u64) -> Self {
        let at = Micros::from_millis(millis);
        self.observations.push(Observation::Watched { at });
        self
    }

    /// The load generator missed its schedule for so many operations.
    #[must_use]
    pub fn missed(mut self, second: u64, load: &str, count: u64) -> Self {
        self.observations.push(Observation::Missed {
            at: Micros::from_secs(second),
            load: load.into(),
            count,
            unsent: 0,
            late: 200_000,
            first: Micros::from_secs(second),
            last: Micros::from_secs(second),
        });
        self
    }

    /// The load generator missed its schedule for so many operations between these milliseconds.
    #[must_use]
    pub fn missed_between(mut self, millis: Range<u64>, load: &str, count: u64) -> Self {
        self = self.missed(0, load, count);
        if let Some(Observation::Missed {
            at, first, last, ..
        }) = self.observations.last_mut()
        {
            *first = Micros::from_millis(millis.start);
            *last = Micros::from_millis(millis.end);
            *at = *last;
        }
        self
    }

    /// The load generator did not send so many operations at all.
    #[must_use]
    pub fn unsent(mut self, second: u64, load: &str, count: u64) -> Self {
        self = self.missed(second, load, count);
        if let Some(Observation::Missed { unsent, .. }) = self.observations.last_mut() {
            *unsent = count;
        }
        self
    }

    /// The recorder dropped so many observations.
    #[must_use]
    pub fn dropped(mut self, count: u64) -> Self {
        let at = Micros::from_secs(OUTAGE);
        self.observations.push(Observation::Dropped { at, count });
        self
    }

    /// The proxies held ten requests up in the second from here, none of them longer than this.
    #[must_use]
    pub fn waited(mut self, second: u64, longest_ms: u64) -> Self {
        let from = Micros::from_secs(second);
        self.observations.push(Observation::Waited(Waited {
            from,
            to: from + std::time::Duration::from_secs(1),
            count: 10,
            longest: Micros::from_millis(longest_ms),
        }));
        self
    }

    /// Brownout stood still between these milliseconds.
    #[must_use]
    pub fn stalled(mut self, from: u64, to: u64) -> Self {
        let (from, to) = (Micros::from_millis(from), Micros::from_millis(to));
        let stalled = Stalled { from, to };
        self.observations.push(Observation::Stalled(stalled));
        self
    }

    /// Between these milliseconds other programs kept the system from running for so long.
    #[must_use]
    pub fn held_up(mut self, from: u64, to: u64, millis: u64) -> Self {
        let behind_others = Micros::from_millis(millis);
        self.observations.push(Observation::HeldUp(HeldUp {
            from: Micros::from_millis(from),
            to: Micros::from_millis(to),
            waited: behind_others,
            behind_others,
        }));
        self
    }

    /// The fault acted outside any attempt.
    #[must_use]
    pub fn acted(mut self, second: u64, what: &str) -> Self {
        self.observations.push(Observation::Acted(Intervention {
            at: Micros::from_secs(second),
            fault: FaultId(0),
            count: 1,
            what: what.to_owned(),
        }));
        self
    }

    /// The fault acted outside any attempt on so many events.
    #[must_use]
    pub fn acted_on(mut self, second: u64, count: u64, what: &str) -> Self {
        self = self.acted(second, what);
        if let Some(Observation::Acted(intervention)) = self.observations.last_mut() {
            intervention.count = count;
        }
        self
    }

    /// It took place on Linux, where refused connects are counted.
    #[must_use]
    pub fn on_linux(mut self) -> Self {
        self.machine = Some(Machine {
            os: "linux".to_owned(),
            kernel: None,
            architecture: "x86_64".to_owned(),
            processors: 2,
        });
        self
    }

    /// The fault acted this often.
    #[must_use]
    pub fn hits(mut self, hits: u64) -> Self {
        self.hits = hits;
        self
    }

    /// The fault came into force only then, in milliseconds.
    #[must_use]
    pub fn armed(mut self, millis: u64) -> Self {
        self.armed = Micros::from_millis(millis);
        self
    }

    /// The run ended at this second, in this way; `None`: the runner was killed.
    #[must_use]
    pub fn ends(mut self, second: u64, how: Option<&'static str>) -> Self {
        self.ended = Some((second, how.unwrap_or_default()));
        self
    }

    /// The observations as a recorder would have them: with header and frame, in order.
    pub fn observations(&self) -> Vec<Observation> {
        let (end, how) = self.ended.unwrap_or((END, COMPLETED));
        let at = Micros::from_secs;
        let fault = FaultId(0);
        let mut all = vec![
            Observation::Phase {
                at: at(0),
                index: 0,
            },
            Observation::Phase {
                at: at(OUTAGE),
                index: 1,
            },
            Observation::Armed {
                at: self.armed,
                fault,
            },
            Observation::Phase {
                at: at(RECOVERY),
                index: 2,
            },
            Observation::Lifted {
                at: at(RECOVERY),
                fault,
                hits: self.hits,
            },
        ];
        all.extend(self.observations.iter().cloned());
        all.retain(|observation| observation.at() <= at(end));
        all.sort_by_key(Observation::at);
        if !how.is_empty() {
            all.push(Observation::Ended(Moment {
                at: at(end),
                how: how.to_owned(),
            }));
        }
        let machine = self.machine.clone();
        all.insert(0, Observation::Run(Run { machine, ..run() }));
        all
    }

    /// The history.
    pub fn history(&self) -> History {
        History::from_observations(self.observations()).expect("the first entry is the header")
    }
}

fn reading(millis: u64, listing: Listing, added: Vec<String>, gone: Vec<String>) -> Reading {
    Reading {
        at: Micros::from_millis(millis),
        ended: Micros::from_millis(millis),
        ledger: "listed".into(),
        listing,
        added,
        gone,
        why: None,
    }
}

/// The header of every sample.
pub fn run() -> Run {
    Run {
        version: HISTORY_VERSION,
        brownout: env!("CARGO_PKG_VERSION").to_owned(),
        began: "2017-02-28T17:42:00Z".to_owned(),
        seed: 7,
        speed: 1.0,
        scenario: ("sample.toml".to_owned(), String::new()),
        system: ("system.toml".to_owned(), String::new()),
        machine: None,
    }
}

/// An attempt in the making.
#[derive(Debug, Clone)]
pub struct AttemptBuilder(Attempt);

/// A PutObject of `bucket/model` at a dependency, open between these milliseconds and answered
/// with 200, by a client that sends no id of its own.
pub fn attempt(dependency: &str, began: u64, ended: u64) -> AttemptBuilder {
    AttemptBuilder(Attempt {
        dependency: dependency.into(),
        connection: 1,
        call: format!("{began}").into(),
        by_sdk_id: false,
        attempt: 1,
        declared_max: None,
        operation: "PutObject".into(),
        key: "bucket/model".into(),
        table: None,
        began: Micros::from_millis(began),
        first_byte: Some(Micros::from_millis(ended)),
        ended: Micros::from_millis(ended),
        end: AttemptEnd::Answered,
        status: Some(200),
        code: None,
        applied: Applied::Yes,
        repeated: 0,
        repeated_unknown: 0,
        rows: None,
        held: false,
        perhaps_held: false,
        untold: None,
        faults: Vec::new(),
        retry_after: Vec::new(),
        released: None,
        bytes_up: 0,
        bytes_down: 0,
        captured: BTreeMap::new(),
        trace: None,
    })
}

impl AttemptBuilder {
    /// The client's own id, and which attempt of the call it is.
    #[must_use]
    pub fn sdk(mut self, id: &str, attempt: u32) -> Self {
        self.0.call = id.into();
        self.0.by_sdk_id = true;
        self.0.attempt = attempt;
        self
    }

    /// Answered with this status; an error means that nothing was applied.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        if status >= 400 {
            self.0.applied = Applied::No;
        }
        self
    }

    /// The client closed the connection without an answer.
    #[must_use]
    pub fn gave_up(self) -> Self {
        self.without_answer(AttemptEnd::GaveUp)
    }

    /// Open when the run ended.
    #[must_use]
    pub fn unfinished(self) -> Self {
        self.without_answer(AttemptEnd::Unfinished)
    }

    fn without_answer(mut self, end: AttemptEnd) -> Self {
        self.0.end = end;
        self.0.status = None;
        self.0.first_byte = None;
        self.0.applied = Applied::No;
        self
    }

    /// The outage's fault acted on it.
    #[must_use]
    pub fn hit(mut self) -> Self {
        self.0.faults.push(FaultId(0));
        self
    }

    /// It was held until this millisecond.
    #[must_use]
    pub fn released(mut self, millis: u64) -> Self {
        self.0.released = Some(Micros::from_millis(millis));
        self
    }

    /// The first byte of its answer was seen at this millisecond.
    #[must_use]
    pub fn first_byte(mut self, millis: u64) -> Self {
        self.0.first_byte = Some(Micros::from_millis(millis));
        self
    }

    /// What it is asked of.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.key = key.into();
        self
    }

    /// The table, where the key is something else.
    #[must_use]
    pub fn table(mut self, table: &str) -> Self {
        self.0.table = Some(table.into());
        self
    }

    /// What is asked.
    #[must_use]
    pub fn operation(mut self, operation: &str) -> Self {
        self.0.operation = operation.into();
        self
    }

    /// The proxy's number of its connection.
    #[must_use]
    pub fn on_connection(mut self, connection: u64) -> Self {
        self.0.connection = connection;
        self
    }

    /// The protocol's own code in the answer.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        self.0.code = Some(code.into());
        self.0.applied = Applied::No;
        self
    }

    /// A statement that was answered with this code, not with a status.
    #[must_use]
    pub fn statement(mut self, code: &str) -> Self {
        self.0.status = None;
        self.code(code)
    }

    /// How often the dependency carried it out beyond once.
    #[must_use]
    pub fn repeated(mut self, repeated: u32) -> Self {
        self.0.repeated = repeated;
        self
    }

    /// How often more the dependency may have carried it out.
    #[must_use]
    pub fn repeated_unknown(mut self, unknown: u32) -> Self {
        self.0.repeated_unknown = unknown;
        self
    }

    /// Whether the dependency carried it out.
    #[must_use]
    pub fn applied(mut self, applied: Applied) -> Self {
        self.0.applied = applied;
        self
    }

    /// The transaction that it is part of was over at this millisecond without an answer.
    #[must_use]
    pub fn untold(mut self, millis: u64) -> Self {
        self.0.untold = Some(Micros::from_millis(millis));
        self
    }

    /// How many rows it changed.
    #[must_use]
    pub fn rows(mut self, rows: u64) -> Self {
        self.0.rows = Some(rows);
        self
    }

    /// It changed no row, and found one that was so already.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.0.rows = Some(0);
        self.0.held = true;
        self
    }

    /// It changed no row, and may have found one that was so already.
    #[must_use]
    pub fn perhaps_held(mut self) -> Self {
        self.0.rows = Some(0);
        self.0.perhaps_held = true;
        self
    }

    /// A captured value.
    #[must_use]
    pub fn captured(mut self, name: &str, value: &str) -> Self {
        self.0.captured.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The attempt.
    pub fn done(self) -> Attempt {
        self.0
    }
}

/// The system of every sample: loads `ask` and `train` at 20 a second with a time-out of 5 s,
/// dependencies `s3`, `backup`, `pager` and `realtime`, instances `primary` and `standby`.
pub fn system() -> System {
    System {
        source: input::Source::new("system.toml", ""),
        folder: PathBuf::new(),
        name: "sample".to_owned(),
        start: Start::Instances(vec![instance("primary"), instance("standby")]),
        url: Template("http://127.0.0.1:1".to_owned()),
        env: BTreeMap::new(),
        ports: Vec::new(),
        dependencies: vec![
            dependency("s3", Protocol::S3, Some("object-store")),
            dependency("backup", Protocol::S3, None),
            dependency("pager", Protocol::Http, Some("alerts")),
            dependency("realtime", Protocol::Pusher, None),
            dependency("queue", Protocol::Tcp, None),
        ],
        loads: vec![load("ask"), load("train")],
        ingress: None,
        ledgers: vec![work(), listed()],
        unlisted: UnlistedHosts::default(),
    }
}

fn instance(name: &str) -> Instance {
    Instance {
        name: name.into(),
        command: vec![Template("./bot".to_owned())],
        env: BTreeMap::new(),
        folder: None,
        url: None,
        ready: Ready {
            path: None,
            within: Duration::from_secs(20),
        },
        stop: Stop {
            signal: "TERM",
            within: Duration::from_secs(10),
        },
        autostart: true,
    }
}

fn dependency(name: &str, protocol: Protocol, role: Option<&str>) -> Dependency {
    Dependency {
        name: name.into(),
        protocol,
        role: role.map(Into::into),
        upstream: Upstream::Embedded(if name == "pager" { "sink" } else { "s3" }),
        tls: None,
        listen: None,
        virtual_host: None,
        buckets: Vec::new(),
        schema: None,
        answer: None,
        app: None,
        key: None,
        hosts: Vec::new(),
        policy: None,
        capture: BTreeMap::new(),
        span: 0..0,
    }
}

/// The system of every sample, with a `train` whose client asks again when it is refused.
pub fn system_that_is_asked_again() -> System {
    let mut system = system();
    for load in system.loads.iter_mut().filter(|one| &*one.name == "train") {
        load.again = Some(Again {
            status: StatusSet(vec![500..=599]),
            every: Duration::from_secs(2),
            within: Duration::from_secs(20),
        });
    }
    system
}

/// The ledger `work`: what `train` had accepted is delivered by a PutObject of `s3`.
fn work() -> Ledger {
    Ledger {
        name: "work".into(),
        load: "train".into(),
        id: "id".to_owned(),
        delivered: vec![Delivered::Attempts {
            dependency: "s3".into(),
            operations: vec!["PutObject".to_owned()],
            id: "id".to_owned(),
            around: Default::default(),
            applied: true,
        }],
        priority: Some("class".to_owned()),
        dropped: None,
        backlog: None,
        settle: Duration::from_secs(5),
        span: 0..0,
    }
}

/// The ledger `listed`: the same work, shown by the system itself, which also says how much waits
/// and what it has dropped.
fn listed() -> Ledger {
    let path = |text: &str| IdPath::parse(text).expect("a path");
    let read = |at: &str| ReadSpec {
        path: at.to_owned(),
        id: path("/ids/*"),
    };
    Ledger {
        name: "listed".into(),
        delivered: vec![Delivered::Read(read("/ledger"))],
        dropped: Some(Dropped::Read(read("/dropped"))),
        backlog: Some(GaugeSpec {
            path: "/queue".to_owned(),
            value: path("/depth"),
        }),
        ..work()
    }
}

fn load(name: &str) -> Load {
    Load {
        name: name.into(),
        rate: Rate::per_second(20.0).expect("a rate within the limits"),
        arrivals: Arrivals::Constant,
        request: RequestTemplate {
            method: "POST".to_owned(),
            path: Template("/".to_owned()),
            headers: Vec::new(),
            body: None,
        },
        vars: BTreeMap::new(),
        timeout: Duration::from_secs(5),
        outcomes: Outcomes::default(),
        again: None,
        follow: None,
        capture: BTreeMap::new(),
        in_flight_max: 1_000,
        span: 0..0,
    }
}

/// The scenario of every sample, without expectations; recovery counts after a hold of 5 s.
pub fn scenario() -> Scenario {
    let seconds = |count| Lasts::For(Duration::from_secs(count));
    let phase = |name: &str, lasts, steady, faults| Phase {
        name: name.into(),
        lasts,
        steady,
        aftermath: false,
        happened: None,
        loads: Vec::new(),
        faults,
        span: 0..0,
    };
    Scenario {
        source: input::Source::new("sample.toml", ""),
        title: "Sample".to_owned(),
        incident: None,
        story: None,
        tags: Vec::new(),
        phases: vec![
            phase("steady", seconds(OUTAGE), true, Vec::new()),
            phase(
                "outage",
                seconds(RECOVERY - OUTAGE),
                false,
                vec![FaultSpec {
                    id: FaultId(0),
                    kind: "hang",
                    label: "hang on object-store".to_owned(),
                    likeness: "hang{}".to_owned(),
                    on: "object-store".to_owned(),
                    target: Target::Dependencies(vec![0]),
                    gate: Gate {
                        min_hits: 1,
                        ..Gate::default()
                    },
                    behaviours: Vec::new(),
                    span: 0..0,
                }],
            ),
            phase("recovery", seconds(END - RECOVERY), false, Vec::new()),
        ],
        expects: Vec::new(),
        hold: Duration::from_secs(5),
    }
}
