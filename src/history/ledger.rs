//! What became of accepted work: every id of a ledger with its fate.
//!
//! The accounts are those of Jepsen's set and total-queue checkers. Ids are counted as often as they
//! come: work that was accepted twice must be delivered twice. Several places of delivery are
//! ways to see the same thing, so that the one which shows most counts; requests and messages are
//! events and add up.
//!
//! A statement that changed no row delivers nothing. One that finds delivered work there already, an
//! `INSERT`, or an `UPDATE` that leaves its row as it is, makes good for a copy of it that was accepted.
//! Where nobody saw it delivered, or MySQL does not say whether its `UPDATE` found a row, the row may be as
//! it was to be all the same: such work is not lost, and not delivered. A request that a fault had carried out
//! several times delivers as often, and one that it sent several times, of which no answer tells,
//! may have.
//!
//! Missing is not yet *lost*. It is lost if the run watched the ledger to its end, the load had ended
//! and every fault was gone, every listing could be read at the end, the system itself reports
//! nothing as waiting, and for the ledger's `settle` nothing had been accepted or delivered any
//! more. Until then it is *undelivered*, of which nobody knows what becomes.

use super::{
    Attempt, Listing, Measure, Message, Observation, Operation, Outcome, Reading, View, Window,
};
use crate::{
    protocol::Applied,
    scenario::{Delivered, Dropped, Ledger, Load, System},
    units::{Micros, format_duration},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// The most ids that one message may bring.
const IDS_PER_MESSAGE_MAX: usize = 10_000;

/// How much longer than `settle` a run waits.
const MARGIN: Duration = Duration::from_millis(100);

/// How old the last look at a gauge or a listing may be when the watching ends.
const STALE: Duration = Duration::from_secs(3);

/// What became of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Accepted and delivered.
    Delivered,
    /// Accepted and never seen, or seen and no longer there.
    Lost,
    /// Accepted and not seen, but perhaps still on its way.
    Undelivered,
    /// Accepted, not delivered, and reported as dropped by the system itself.
    Dropped,
    /// Delivered though nobody was told whether it was accepted.
    Recovered,
    /// Not delivered, and nobody was told whether it was accepted.
    Indeterminate,
    /// Refused and not delivered.
    Refused,
    /// Refused, and delivered all the same.
    Contradicted,
    /// Delivered though nobody ever asked for it.
    Unexpected,
}

/// One id.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The id.
    pub id: String,
    /// What became of it.
    pub fate: Fate,
    /// The operations that asked for it: first those that were acknowledged, each sort by when
    /// they should have begun.
    pub asked: Vec<&'a Operation>,
    /// How many of these were acknowledged.
    pub accepted: usize,
    /// How many of these were not refused: so often it may be delivered.
    pub unrefused: usize,
    /// When it was delivered, as often as it was.
    pub delivered: Vec<Micros>,
    /// Requests of which nobody knows whether the dependency carried them out.
    pub maybe: usize,
    /// Statements that the dependency carried out and that changed no row: no deliveries.
    pub unchanged: usize,
    /// Copies of delivered work that a database found there already: `INSERT`s among the
    /// unchanged, and those that found their row as it was to be.
    pub repeated: usize,
    /// Those of the unchanged that found their row as it was to be.
    pub held: usize,
    /// Those of the unchanged that may have, of which nobody knows.
    pub perhaps_held: usize,
    /// Deliveries beyond those asked for.
    pub extra: usize,
    /// Whether the system reports it as dropped.
    pub dropped: bool,
    /// When a listing that had shown it showed it no more.
    pub vanished: Option<Micros>,
    /// Its class of work.
    pub class: Option<&'a str>,
}

/// How many ids, or copies of them, met which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged operations, those without an id included.
    pub accepted: u64,
    /// Of these, delivered.
    pub delivered: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, not seen, but perhaps on their way.
    pub undelivered: u64,
    /// Of these, reported as dropped by the system itself.
    pub dropped: u64,
    /// Operations of which nobody was told whether they were accepted, those without an id
    /// included.
    pub indeterminate: u64,
    /// Ids of these that were delivered.
    pub recovered: u64,
    /// Refused operations, those without an id included.
    pub refused: u64,
    /// Ids that were refused and delivered all the same.
    pub contradicted: u64,
    /// Deliveries beyond those asked for.
    pub duplicated: u64,
    /// Ids that were delivered though nobody asked for them.
    pub unexpected: u64,
    /// Acknowledged operations whose id is not known.
    pub accepted_nameless: u64,
    /// Other operations whose id is not known: they may explain what seems unexpected.
    pub other_nameless: u64,
}

/// One ledger at the end of a run.
#[derive(Debug, Clone)]
pub struct Account<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// Its ids, by when they were asked for; those never asked for last.
    pub entries: Vec<Entry<'a>>,
    /// The sums.
    pub counts: Counts,
    /// Why missing ids cannot be called lost, in spite of what the system says is waiting; none if
    /// they can.
    pub unsettled: Vec<String>,
    /// Why deliveries may have gone unseen; none if none can have.
    pub blind: Vec<String>,
    /// How much work the system itself says is waiting at the end; so many of the missing are not
    /// lost.
    pub waiting: Option<u64>,
    /// How much work the system itself says it has dropped, where it shows a number.
    pub reported: Option<u64>,
    /// Requests and messages at the places of delivery, with an id or without.
    pub looked_at: u64,
    /// The last moment of which anything is known.
    pub end: Micros,
}

/// What an operation says of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Accepted,
    Indeterminate,
    Refused,
}

/// An answer that acknowledges makes the work accepted, whatever a read-back then shows. One that
/// came to nothing for want of a connection or with another status refuses it. Whatever else
/// happened says nothing.
fn standing(load: Option<&Load>, operation: &Operation) -> Standing {
    let acknowledges =
        |status: &u16| load.is_some_and(|load| load.outcomes.ok.status.contains(*status));
    let acknowledged = operation.status.as_ref().is_some_and(acknowledges);
    match operation.outcome {
        _ if operation.accepted.is_some() => Standing::Accepted,
        Outcome::Ok | Outcome::Degraded => Standing::Accepted,
        Outcome::Indeterminate => Standing::Indeterminate,
        Outcome::Failed if acknowledged => Standing::Indeterminate,
        Outcome::Failed if operation.status.is_some() => Standing::Refused,
        Outcome::Failed if operation.why.as_deref() == Some("connection refused") => {
            Standing::Refused
        }
        Outcome::Failed => Standing::Indeterminate,
    }
}

/// The id that a request speaks of, and what it says of it. A statement that changed no row
/// delivered nothing.
fn of_attempt<'a>(place: &Delivered, attempt: &'a Attempt) -> Option<(&'a str, Trace)> {
    let Delivered::Attempts {
        dependency,
        operations,
        id,
        around: (before, after),
        applied,
    } = place
    else {
        return None;
    };
    let meant = *attempt.dependency == **dependency
        && (operations.is_empty() || operations.iter().any(|one| **one == *attempt.operation));
    let value = attempt.captured.get(id).filter(|_| meant)?;
    let id = value.strip_prefix(&**before)?.strip_suffix(&**after)?;
    match attempt.applied {
        _ if !applied => Some((id, Trace::Delivered)),
        Applied::No => None,
        // It met no row, or one that was there already.
        _ if attempt.rows == Some(0) => Some((id, Trace::Unchanged)),
        Applied::Yes => Some((id, Trace::Delivered)),
        Applied::Unknown => Some((id, Trace::Maybe)),
    }
}

/// What a request to a place of delivery says of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// It was delivered.
    Delivered,
    /// It may have been delivered.
    Maybe,
    /// The dependency was asked, and nothing was changed by that.
    Unchanged,
}

/// Whether a request is one of those that a place of delivery counts, with an id or without.
fn is_meant(place: &Delivered, attempt: &Attempt) -> bool {
    matches!(place, Delivered::Attempts { dependency, operations, .. }
        if *attempt.dependency == **dependency
            && (operations.is_empty() || operations.iter().any(|one| **one == *attempt.operation)))
}

/// The ids in a message; `None` where it is none of the ledger's, or was refused.
fn of_message(place: &Delivered, message: &Message) -> Option<Vec<String>> {
    let Delivered::Messages { dependency, id } = place else {
        return None;
    };
    if *message.dependency != **dependency || !message.taken {
        return None;
    }
    let document: Value = serde_json::from_str(&message.body).ok()?;
    id.texts(&document, IDS_PER_MESSAGE_MAX)
}

/// What is known of an id while the account is being drawn up.
#[derive(Default)]
struct Known<'a> {
    asked: Vec<(&'a Operation, Standing)>,
    events: Vec<Micros>,
    /// One for each listing of deliveries.
    listed: BTreeMap<u16, Vec<Micros>>,
    maybe: usize,
    unchanged: usize,
    repeated: usize,
    held: usize,
    perhaps_held: usize,
    dropped: bool,
    vanished: Option<Micros>,
}

impl<'a> Known<'a> {
    fn count(&self, standing: Standing) -> usize {
        self.asked
            .iter()
            .filter(|(_, one)| *one == standing)
            .count()
    }

    /// When it was delivered, at the place that shows most; first seen at any of them.
    fn delivered(&self) -> Vec<Micros> {
        let places = || self.listed.values().chain([&self.events]);
        let mut longest = places()
            .max_by_key(|list| list.len())
            .cloned()
            .unwrap_or_default();
        longest.sort_unstable();
        let earliest = places().flatten().min().copied();
        if let (Some(first), Some(earliest)) = (longest.first_mut(), earliest) {
            *first = earliest;
        }
        longest
    }

    fn entry(mut self, id: String, settled: bool, priority: Option<&str>) -> Entry<'a> {
        let (accepted, unclear) = (
            self.count(Standing::Accepted),
            self.count(Standing::Indeterminate),
        );
        let delivered = self.delivered();
        let count = delivered.len();
        let repeated = if count > 0 { self.repeated } else { 0 };
        let open = open(count, self.maybe, self.held, self.perhaps_held);
        let fate = if accepted > 0 {
            if count + repeated >= accepted {
                Fate::Delivered
            } else if self.dropped {
                Fate::Dropped
            } else if settled && count + repeated + open < accepted {
                Fate::Lost
            } else {
                Fate::Undelivered
            }
        } else {
            match (unclear > 0, self.asked.is_empty(), count > 0) {
                (true, _, true) => Fate::Recovered,
                (true, _, false) => Fate::Indeterminate,
                (false, false, true) => Fate::Contradicted,
                (false, false, false) => Fate::Refused,
                (false, true, _) => Fate::Unexpected,
            }
        };
        self.asked
            .sort_by_key(|(_, standing)| *standing != Standing::Accepted);
        let first = self.asked.first().map(|(operation, _)| *operation);
        Entry {
            id,
            fate,
            accepted,
            extra: count.saturating_sub((accepted + unclear).max(1)),
            unrefused: accepted + unclear,
            asked: self
                .asked
                .into_iter()
                .map(|(operation, _)| operation)
                .collect(),
            delivered,
            maybe: self.maybe,
            unchanged: self.unchanged,
            repeated,
            held: self.held,
            perhaps_held: self.perhaps_held,
            dropped: self.dropped,
            vanished: self.vanished,
            class: first
                .zip(priority)
                .and_then(|(operation, name)| operation.captured.get(name))
                .map(String::as_str),
        }
    }
}

/// How many deliveries there may be beside so many: requests whose end nobody knows, rows that may have
/// been found as they were to be, and such of which nobody saw how they came to be so.
fn open(delivered: usize, maybe: usize, held: usize, perhaps_held: usize) -> usize {
    let found = if delivered == 0 { held } else { 0 };
    maybe + perhaps_held + found
}

impl<'a> Entry<'a> {
    /// How many deliveries there may be beside those seen.
    pub fn open(&self) -> usize {
        open(
            self.delivered.len(),
            self.maybe,
            self.held,
            self.perhaps_held,
        )
    }

    /// The operation that stands for it: the first one that asked for it.
    pub fn operation(&self) -> Option<&'a Operation> {
        self.asked.first().copied()
    }

    /// Copies of it that were accepted and not delivered.
    pub fn missing(&self) -> usize {
        self.accepted - self.fulfilled()
    }

    /// Copies of it that were accepted and are where they belong.
    pub fn fulfilled(&self) -> usize {
        self.accepted.min(self.delivered.len() + self.repeated)
    }
}

impl<'a> Account<'a> {
    /// Draws up the account of one ledger over the whole run.
    pub fn of(view: &View<'a>, ledger: &'a Ledger) -> Self {
        let mut drawing = Drawing {
            view,
            ledger,
            known: HashMap::new(),
            counts: Counts::default(),
            looked_at: 0,
            last: Micros::default(),
            blind: Vec::new(),
            uncounted: Vec::new(),
        };
        drawing.ask();
        drawing.deliver();
        drawing.read();
        drawing.finish()
    }

    /// How much accepted work of the entries meant was waiting over time.
    pub fn curve(&self, meant: impl Fn(&Entry<'_>) -> bool) -> Curve {
        let mut curve = Curve::default();
        for entry in self.entries.iter().filter(|entry| meant(entry)) {
            let accepted = entry.accepted_at();
            for (index, at) in accepted.iter().enumerate() {
                match entry.delivered.get(index) {
                    Some(delivered) if delivered <= at => {}
                    Some(delivered) => curve.add(*at, Some(*delivered)),
                    None if entry.fate == Fate::Dropped || index < entry.fulfilled() => {}
                    None => curve.add(*at, None),
                }
            }
        }
        curve.from.sort_unstable();
        curve.to.sort_unstable();
        curve
    }
}

impl Entry<'_> {
    /// When it was acknowledged, as often as it was, in order: when the first answer was whole. A
    /// read-back that follows is no part of it.
    pub fn accepted_at(&self) -> Vec<Micros> {
        let accepted = self.asked.iter().take(self.accepted);
        let mut moments: Vec<Micros> = accepted.map(|one| one.first_answer()).collect();
        moments.sort_unstable();
        moments
    }
}

/// How much accepted work was waiting over time: accepted and not yet delivered.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    from: Vec<Micros>,
    to: Vec<Micros>,
}

impl Curve {
    fn add(&mut self, from: Micros, to: Option<Micros>) {
        self.from.push(from);
        self.to.extend(to);
    }

    /// How much was waiting at a moment.
    pub fn at(&self, at: Micros) -> u64 {
        let began = self.from.partition_point(|one| *one <= at);
        let ended = self.to.partition_point(|one| *one <= at);
        (began - ended) as u64
    }

    /// The most that was waiting at any moment of a window.
    pub fn deepest(&self, window: Window) -> u64 {
        let began = window.of(&self.from, |at| *at);
        let rises = began.iter().map(|at| self.at(*at));
        rises.fold(self.at(window.from), u64::max)
    }

    /// The last moment by which something that had waited was delivered.
    pub fn last_delivery(&self) -> Option<Micros> {
        self.to.last().copied()
    }
}

struct Drawing<'v, 'a> {
    view: &'v View<'a>,
    ledger: &'a Ledger,
    known: HashMap<String, Known<'a>>,
    counts: Counts,
    looked_at: u64,
    /// When something was last accepted or delivered.
    last: Micros,
    /// Why deliveries may have gone unseen.
    blind: Vec<String>,
    /// Why the system's own counts are not known.
    uncounted: Vec<String>,
}

impl<'a> Drawing<'_, 'a> {
    fn known(&mut self, id: &str) -> &mut Known<'a> {
        if !self.known.contains_key(id) {
            self.known.insert(id.to_owned(), Known::default());
        }
        self.known.get_mut(id).expect("it was put there")
    }

    fn ask(&mut self) {
        let (system, history) = (self.view.system, self.view.history);
        let load = system
            .loads
            .iter()
            .find(|load| load.name == self.ledger.load);
        for operation in history.operations_of(&self.ledger.load) {
            let standing = standing(load, operation);
            let named = operation.captured.get(&self.ledger.id);
            match standing {
                Standing::Accepted => {
                    self.counts.accepted += 1;
                    self.counts.accepted_nameless += u64::from(named.is_none());
                    self.last = self.last.max(operation.first_answer());
                }
                Standing::Indeterminate => self.counts.indeterminate += 1,
                Standing::Refused => self.counts.refused += 1,
            }
            match named {
                Some(id) => self.known(id).asked.push((operation, standing)),
                None if standing != Standing::Accepted => self.counts.other_nameless += 1,
                None => {}
            }
        }
    }

    fn deliver(&mut self) {
        let (ledger, history) = (self.ledger, self.view.history);
        for place in &ledger.delivered {
            if let Delivered::Attempts { dependency, .. } = place {
                for attempt in history.attempts_of(dependency) {
                    self.looked_at += u64::from(is_meant(place, attempt));
                    match of_attempt(place, attempt) {
                        Some((id, Trace::Delivered)) => {
                            for _ in 0..=attempt.repeated {
                                self.event(id, attempt.ended);
                            }
                            self.known(id).maybe += attempt.repeated_unknown as usize;
                        }
                        Some((id, Trace::Maybe)) => {
                            self.known(id).maybe += 1 + attempt.repeated_unknown as usize;
                        }
                        Some((id, Trace::Unchanged)) => {
                            let known = self.known(id);
                            let is_insert = *attempt.operation == *"INSERT";
                            known.unchanged += 1;
                            known.held += usize::from(attempt.held);
                            known.repeated += usize::from(is_insert || attempt.held);
                            let is_open = attempt.perhaps_held && !is_insert;
                            known.perhaps_held += usize::from(is_open);
                        }
                        None => {}
                    }
                }
            }
            if let Delivered::Messages { dependency, .. } = place {
                let cut = |one: &&Message| one.cut && one.taken && *one.dependency == **dependency;
                let cut = history.messages.iter().filter(cut).count();
                if cut > 0 {
                    self.blind.push(format!(
                        "{cut} messages to `{dependency}` are not kept as a whole"
                    ));
                }
                for message in &history.messages {
                    for id in of_message(place, message).unwrap_or_default() {
                        self.looked_at += 1;
                        self.event(&id, message.at);
                    }
                }
            }
        }
    }

    fn event(&mut self, id: &str, at: Micros) {
        self.last = self.last.max(at);
        self.known(id).events.push(at);
    }

    fn read(&mut self) {
        let (ledger, history) = (self.ledger, self.view.history);
        let own = history
            .readings
            .iter()
            .filter(|one| one.ledger == ledger.name);
        for reading in own.clone() {
            self.take(reading);
        }
        for listing in listings(ledger) {
            let last = own.clone().rfind(|one| one.listing == listing);
            let what = path_of(ledger, listing);
            match last.map(|one| (one.why.as_deref(), one.at)) {
                Some((None, at)) if self.is_fresh(at) => {}
                Some((Some(why), _)) => self.blind.push(format!("{what} could not be read: {why}")),
                Some((None, _)) => self.blind.push(format!("{what} was not read at the end")),
                None => self.blind.push(format!("{what} was never read")),
            }
        }
    }

    /// Whether a look that began then says how things stood when the watching ended.
    fn is_fresh(&self, at: Micros) -> bool {
        self.view
            .history
            .watched
            .is_none_or(|watched| watched.since(at) <= STALE)
    }

    fn take(&mut self, reading: &Reading) {
        let at = reading.ended;
        for id in &reading.added {
            match reading.listing {
                Listing::Dropped => self.known(id).dropped = true,
                Listing::Delivered(place) => {
                    self.looked_at += 1;
                    self.last = self.last.max(at);
                    self.known(id).listed.entry(place).or_default().push(at);
                }
            }
        }
        for id in &reading.gone {
            let known = self.known(id);
            match reading.listing {
                Listing::Dropped => known.dropped = false,
                Listing::Delivered(place) => {
                    known.listed.entry(place).or_default().pop();
                    known.vanished = Some(at);
                }
            }
        }
    }

    fn gauge(&mut self, measure: Measure, asked: bool) -> Option<u64> {
        let name = &self.ledger.name;
        let mut gauges = self.view.history.gauges.iter();
        let last = gauges.rfind(|one| one.measure == measure && one.of == *name);
        match last {
            Some(gauge) if self.is_fresh(gauge.at) => {
                if let Some(value) = gauge.value {
                    return Some(value.max(0.0) as u64);
                }
                let why = gauge.why.as_deref().unwrap_or("no reason is known");
                self.uncounted
                    .push(format!("its own count could not be read: {why}"));
            }
            _ if asked => self
                .uncounted
                .push("its own count was not read at the end".to_owned()),
            _ => {}
        }
        None
    }

    fn unsettled(&self) -> Vec<String> {
        let history = self.view.history;
        let mut why = [self.blind.clone(), self.uncounted.clone()].concat();
        let Some(watched) = history.watched else {
            why.push(format!(
                "the run was not watched to its end ({})",
                history.how_it_ended()
            ));
            return why;
        };
        let settle = self.ledger.settle;
        let lifted = history.faults.iter().map(|span| span.lifted).max();
        let stirred = self.last.max(lifted.unwrap_or_default());
        if stirred + settle > watched {
            why.push(format!(
                "work was still accepted or delivered, or a fault in force, {} before the end; `settle` is {}",
                format_duration(watched.since(stirred)),
                format_duration(settle)
            ));
        }
        why
    }

    fn finish(mut self) -> Account<'a> {
        let ledger = self.ledger;
        let waiting = self.gauge(Measure::Backlog, ledger.backlog.is_some());
        let counted = matches!(ledger.dropped, Some(Dropped::Count(_)));
        let reported = self.gauge(Measure::Dropped, counted);
        let unsettled = self.unsettled();
        let settled = unsettled.is_empty() && waiting.unwrap_or(0) == 0;
        let priority = ledger.priority.as_deref();
        let mut entries: Vec<Entry<'a>> = self
            .known
            .into_iter()
            .map(|(id, known)| known.entry(id, settled, priority))
            // Reported as dropped, and otherwise unheard of.
            .filter(|entry| !entry.asked.is_empty() || !entry.delivered.is_empty())
            .collect();
        let order = |entry: &Entry<'_>| {
            let asked = entry
                .operation()
                .map_or(Micros(u64::MAX), |one| one.intended);
            (asked, entry.delivered.first().copied())
        };
        entries.sort_by(|one, other| {
            order(one)
                .cmp(&order(other))
                .then_with(|| one.id.cmp(&other.id))
        });
        let mut counts = self.counts;
        for entry in &entries {
            counts.add(entry);
        }
        Account {
            ledger,
            entries,
            counts,
            unsettled,
            blind: self.blind,
            waiting,
            reported,
            looked_at: self.looked_at,
            end: self.view.history.watched.unwrap_or(self.view.history.end),
        }
    }
}

impl Counts {
    fn add(&mut self, entry: &Entry<'_>) {
        let missing = entry.missing() as u64;
        self.delivered += entry.fulfilled() as u64;
        self.duplicated += entry.extra as u64;
        match entry.fate {
            Fate::Lost => self.lost += missing,
            Fate::Undelivered => self.undelivered += missing,
            Fate::Dropped => self.dropped += missing,
            Fate::Recovered => self.recovered += 1,
            Fate::Contradicted => self.contradicted += 1,
            Fate::Unexpected => self.unexpected += 1,
            Fate::Delivered | Fate::Indeterminate | Fate::Refused => {}
        }
    }
}

/// The listings that a ledger is read from.
fn listings(ledger: &Ledger) -> Vec<Listing> {
    let places = (0..).zip(&ledger.delivered);
    let delivered = places
        .filter(|(_, place)| matches!(place, Delivered::Read(_)))
        .map(|(index, _)| Listing::Delivered(index));
    let dropped = matches!(ledger.dropped, Some(Dropped::Read(_))).then_some(Listing::Dropped);
    delivered.chain(dropped).collect()
}

fn path_of(ledger: &Ledger, listing: Listing) -> String {
    let path = match listing {
        Listing::Dropped => match &ledger.dropped {
            Some(Dropped::Read(read)) => &*read.path,
            _ => "",
        },
        Listing::Delivered(index) => match ledger.delivered.get(usize::from(index)) {
            Some(Delivered::Read(read)) => &*read.path,
            _ => "",
        },
    };
    format!("the listing {path}")
}

/// Follows the ledgers while a run goes on: when something last happened in each. It decides
/// nothing but how long the run waits for its end.
#[derive(Debug)]
pub struct Progress {
    ledgers: Vec<Followed>,
}

#[derive(Debug)]
struct Followed {
    ledger: Ledger,
    load: Option<Load>,
    last: Micros,
}

impl Progress {
    /// Follows the ledgers of a system.
    pub fn new(system: &System) -> Self {
        let followed = |ledger: &Ledger| Followed {
            ledger: ledger.clone(),
            load: system
                .loads
                .iter()
                .find(|load| load.name == ledger.load)
                .cloned(),
            last: Micros::default(),
        };
        Self {
            ledgers: system.ledgers.iter().map(followed).collect(),
        }
    }

    /// Takes notice of what was observed.
    pub fn observe(&mut self, observation: &Observation) {
        for followed in &mut self.ledgers {
            if followed.is_stirred_by(observation) {
                let at = match observation {
                    Observation::Operation(operation) => operation.first_answer(),
                    other => other.at(),
                };
                followed.last = followed.last.max(at);
            }
        }
    }

    /// Whether nothing was accepted or delivered for the `settle` of every ledger, where the last
    /// fault was lifted at `lifted`. What is delivered twice is so given the time to show.
    pub fn is_settled(&self, lifted: Micros, now: Micros) -> bool {
        self.ledgers.iter().all(|followed| {
            // A little more than `settle`, so that the judge sees it kept.
            let quiet = followed.ledger.settle + MARGIN;
            followed.last.max(lifted) + quiet <= now
        })
    }
}

impl Followed {
    fn is_stirred_by(&self, observation: &Observation) -> bool {
        let mut places = self.ledger.delivered.iter();
        match observation {
            Observation::Operation(operation) => {
                operation.load == self.ledger.load
                    && standing(self.load.as_ref(), operation) == Standing::Accepted
            }
            Observation::Attempt(attempt) => places
                .any(|place| matches!(of_attempt(place, attempt), Some((_, Trace::Delivered)))),
            Observation::Message(message) => {
                places.any(|place| of_message(place, message).is_some_and(|ids| !ids.is_empty()))
            }
            Observation::Reading(reading) => {
                reading.ledger == self.ledger.name && !reading.added.is_empty()
            }
            _ => false,
        }
    }
}

impl<'a> View<'a> {
    /// The account of a ledger, by its name.
    pub fn account(&self, ledger: &str) -> Option<Account<'a>> {
        let mut ledgers = self.system.ledgers.iter();
        let ledger = ledgers.find(|one| *one.name == *ledger)?;
        Some(Account::of(self, ledger))
    }
}
