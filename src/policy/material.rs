//! What claims are made from: the calls of one dependency, told apart by what is asked and by what
//! went wrong, and cut where the behaviour changed.
//!
//! Clients treat one trouble other than another: a time-out is no refusal, and an AWS client waits
//! twenty times longer before it repeats what was throttled. So calls whose attempts met with
//! different troubles are left out rather than mixed.

use super::{
    apart::apart,
    budget,
    calls::Hit,
    change,
    claim::{Aspect, Basis, Cause, Claim, Finding, time},
    fit::AT_ONCE,
    give_up::{SPREAD_MAX, TOGETHER, was_held},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, AttemptEnd, View, Window},
    scenario::{Dependency, FaultSpec, Target},
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A client that closes so soon after an instance ended did not give up: it ended.
const DEATH: Duration = Duration::from_secs(1);

/// One call of so many may outlast those that were given up before these do not stand for all.
const OUTLASTED: usize = 10;

/// How often the calls of one operation and cause are cut at most.
const CUTS_MAX: usize = 3;

/// The error codes that say "too much" with another status than 429, as botocore's standard mode
/// lists them (`retries/standard.py`), and those of databases for the same.
const THROTTLING_CODES: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "53300",
    "1040",
    "1203",
];

/// What the clients of one dependency did.
pub struct Material<'a> {
    /// The history.
    pub view: &'a View<'a>,
    /// The dependency.
    pub dependency: &'a Dependency,
    /// Its failing calls, told apart; within each group by when they began.
    pub groups: Vec<Group<'a>>,
    /// Its other failing calls: those that waited until their fault was lifted, and those that met
    /// with several troubles, which have no cause.
    pub others: Vec<(Option<Cause>, Failing<'a>)>,
    /// Where behaviour changed.
    pub shifts: Vec<Shift>,
    /// When instances ended.
    pub deaths: Vec<Micros>,
}

/// Calls for one operation that met with one trouble, in a stretch without a change.
#[derive(Clone)]
pub struct Group<'a> {
    /// What they have in common.
    pub name: GroupName,
    /// The calls.
    pub calls: Vec<Failing<'a>>,
    /// Where the client stopped trying again, as with a retry budget that is spent.
    pub spent: Option<budget::Spent>,
    /// Why nothing can be said of how they were tried again, if so: see [`apart`].
    pub doubt: Option<Arc<str>>,
}

/// What the calls of a group have in common.
#[derive(Debug, Clone)]
pub struct GroupName {
    /// The dependency.
    pub dependency: Arc<str>,
    /// The operation.
    pub operation: Arc<str>,
    /// The trouble.
    pub cause: Cause,
    /// From the beginning of the first to the end of the last.
    pub window: (Micros, Micros),
    /// How their attempts are known.
    pub basis: Basis,
}

/// A change of behaviour.
pub struct Shift {
    /// Of which calls.
    pub group: GroupName,
    /// When.
    pub at: Micros,
    /// What changed, in words.
    pub what: String,
    /// How probable that is where nothing changed.
    pub chance: f64,
    /// How many samples say so.
    pub samples: u64,
}

/// A number that some calls of a group have, in the order they began.
pub struct Series {
    /// What it is, in words.
    pub what: &'static str,
    /// A step must be greater than this.
    least: f64,
    /// Which calls of the group have it.
    places: Vec<usize>,
    /// What it is of each of these.
    pub values: Vec<f64>,
    /// One of them in words.
    words: fn(f64) -> String,
}

/// A call that failed at least once.
#[derive(Clone)]
pub struct Failing<'a> {
    /// The call with its attempts.
    pub hit: Hit<'a>,
    /// Whether the client was done with it while it failed: it gave up.
    pub gave_up: bool,
}

impl GroupName {
    /// A claim about its calls.
    pub fn claim(&self, aspect: Aspect, finding: Finding, samples: u64) -> Claim {
        Claim {
            dependency: Arc::clone(&self.dependency),
            operation: Some(Arc::clone(&self.operation)),
            cause: Some(self.cause),
            window: self.window,
            aspect,
            detail: None,
            finding,
            samples,
            basis: self.basis,
        }
    }
}

impl Failing<'_> {
    /// How often it was tried.
    pub fn count(&self) -> usize {
        self.hit.attempts.len()
    }

    /// Of a call without one cause: that it had no answer until its fault was lifted, that it met with
    /// several troubles (no cause), or `None` where nothing went wrong with it.
    fn other_trouble(&self, deaths: &[Micros]) -> Option<Option<Cause>> {
        let attempts = || self.hit.attempts.iter();
        let is_held = attempts().any(|one| was_held(one));
        let other =
            attempts().find_map(|one| cause(one, deaths).filter(|one| *one != Cause::NoAnswer));
        let has_failed = attempts().any(|one| cause(one, deaths).is_some());
        match (is_held, other) {
            (true, None) => Some(Some(Cause::NoAnswer)),
            _ => (is_held || has_failed).then_some(None),
        }
    }

    /// The pauses between its attempts, in seconds; `None` of one of which nobody knows when it began.
    pub fn pauses(&self) -> impl Iterator<Item = Option<f64>> {
        let pairs = self.hit.attempts.windows(2);
        pairs.map(|pair| {
            let known = pair[0].known_pause_before(pair[1]);
            known.map(|pause| pause.as_secs_f64())
        })
    }
}

/// Whether an instance ended so near to this moment that what ended then may have ended with it.
pub fn has_died(deaths: &[Micros], at: Micros) -> bool {
    let mut deaths = deaths.iter();
    deaths.any(|death| *death <= at + DEATH && at <= *death + DEATH)
}

/// What went wrong with an attempt; `None` where nothing did, or where it cannot be told.
pub fn cause(attempt: &Attempt, deaths: &[Micros]) -> Option<Cause> {
    match attempt.end {
        AttemptEnd::Unfinished => None,
        AttemptEnd::GaveUp if attempt.released.is_some() || has_died(deaths, attempt.ended) => None,
        AttemptEnd::GaveUp => Some(Cause::NoAnswer),
        AttemptEnd::Cut | AttemptEnd::UpstreamFailed => Some(Cause::Cut),
        AttemptEnd::Answered if attempt.settled() => None,
        AttemptEnd::Answered => {
            let code = attempt.code.as_deref();
            let throttled = attempt.status == Some(429)
                || code.is_some_and(|code| THROTTLING_CODES.contains(&code));
            Some(if throttled {
                Cause::Throttled
            } else {
                Cause::Error
            })
        }
    }
}

impl<'a> Material<'a> {
    /// What is known of a dependency, by its name.
    pub fn of(view: &'a View<'a>, dependency: &str) -> Option<Self> {
        let mut dependencies = view.system.dependencies.iter();
        let dependency = dependencies.find(|one| *one.name == *dependency)?;
        let deaths = deaths(view);
        let mut troubled: BTreeMap<(Arc<str>, Cause), Vec<Failing<'a>>> = BTreeMap::new();
        let mut others = Vec::new();
        let end = view.history.over();
        let attempts = view.history.attempts_of(&dependency.name);
        let calls = view.history.calls_of(&dependency.name);
        let meant = |began: Micros| began <= end && view.contains(began);
        for call in calls.iter().filter(|call| meant(call.began)) {
            let own: Vec<&Attempt> = call
                .attempts
                .iter()
                .map(|index| &attempts[*index as usize])
                .collect();
            let found = only_cause(&own, &deaths);
            let operation = Arc::clone(&own[0].operation);
            let hit = Hit::of(view.history, call, own);
            let gave_up = !call.settled && !hit.cut_short();
            let failing = Failing { hit, gave_up };
            let Some(cause) = found else {
                let other = failing.other_trouble(&deaths);
                others.extend(other.map(|cause| (cause, failing)));
                continue;
            };
            troubled
                .entry((operation, cause))
                .or_default()
                .push(failing);
        }
        let mut material = Self {
            view,
            dependency,
            groups: Vec::new(),
            others,
            shifts: Vec::new(),
            deaths,
        };
        for ((operation, cause), mut calls) in troubled {
            leave_open(&mut calls, end);
            let doubt = apart(view, calls.iter().map(|call| &call.hit));
            let spent = match doubt {
                None => budget::spent(&calls),
                Some(_) => None,
            };
            let name = name(&dependency.name, operation, cause, &calls);
            let group = Group {
                name,
                calls,
                spent,
                doubt: doubt.map(Into::into),
            };
            material.add(group, 0);
        }
        Some(material)
    }

    /// The calls like those of a group that waited until their fault was lifted.
    pub fn held<'b>(&'b self, group: &'b Group<'_>) -> impl Iterator<Item = &'b Failing<'a>> {
        let same = self.others.iter().filter(|(cause, call)| {
            *cause == Some(group.name.cause)
                && call.hit.attempts[0].operation == group.name.operation
        });
        same.map(|(_, call)| call)
    }

    /// Why the calls of a group that were given up do not stand for all of them: more than a few
    /// others lasted longer than any of these, until their fault was lifted.
    pub fn outlasted(&self, group: &Group<'_>) -> Option<String> {
        let seconds = |call: &Failing<'_>| call.hit.spell().time.as_secs_f64();
        let count = group.given_up().count();
        let longest = group.given_up().map(seconds).fold(0.0, f64::max);
        let bound = longest * (1.0 + SPREAD_MAX) + TOGETHER;
        let own = group.calls.iter().chain(self.held(group));
        let longer = own.filter(|call| call.hit.cut_short()).map(seconds);
        let longer: Vec<f64> = longer.filter(|time| *time > bound).collect();
        (longer.len() * OUTLASTED > count).then(|| {
            let most = longer.iter().copied().fold(0.0, f64::max);
            let words = |seconds: f64| time((seconds * 1e6) as u64);
            format!(
                "{count} calls were given up within {}, and {} others were still open when their fault was lifted, after up to {}",
                words(longest),
                longer.len(),
                words(most)
            )
        })
    }

    /// A claim about the dependency as a whole.
    pub fn claim(
        &self,
        aspect: Aspect,
        window: (Micros, Micros),
        finding: Finding,
        samples: u64,
    ) -> Claim {
        Claim {
            dependency: Arc::clone(&self.dependency.name),
            operation: None,
            cause: None,
            window,
            aspect,
            detail: None,
            finding,
            samples,
            basis: Basis::Seen,
        }
    }

    /// The faults on the dependency that were in force in the judged phases.
    pub fn faults(&self) -> Vec<(Window, &'static str)> {
        let own = self.view.faults().into_iter();
        own.filter(|(_, fault)| self.is_on(fault))
            .map(|(span, fault)| (Window::new(span.armed, span.lifted), fault.kind))
            .collect()
    }

    /// Whether a fault is on the dependency.
    pub fn is_on(&self, fault: &FaultSpec) -> bool {
        let dependencies = &self.view.system.dependencies;
        match &fault.target {
            Target::Dependencies(places) => places.iter().any(|place| {
                let own = dependencies.get(*place);
                own.is_some_and(|own| own.name == self.dependency.name)
            }),
            Target::Instance(_) => false,
        }
    }

    /// When any of these was in force, as windows that do not overlap, in order.
    pub fn under_fault(&self) -> Vec<Window> {
        let mut spans: Vec<Window> = self.faults().into_iter().map(|(span, _)| span).collect();
        spans.sort_by_key(|span| span.from);
        let mut joined: Vec<Window> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => joined.push(span),
            }
        }
        joined
    }

    /// From the first attempt of the judged phases that failed to the end of the last one, by itself
    /// or by a fault.
    pub fn trouble(&self) -> Option<Window> {
        let attempts = self.view.history.attempts_of(&self.dependency.name);
        let over = self.view.history.over();
        let meant = |one: &Attempt| one.began < over && self.view.contains(one.began);
        let mut failed = attempts
            .iter()
            .filter(|one| meant(one) && cause(one, &self.deaths).is_some());
        let first = failed.next()?;
        let last = failed.map(|one| one.ended).max().unwrap_or(first.ended);
        Some(Window::new(first.began, last.max(first.ended)))
    }

    /// Adds a group, cut where its behaviour changed.
    fn add(&mut self, group: Group<'a>, cuts: usize) {
        let found = (cuts < CUTS_MAX).then(|| group.shift()).flatten();
        let Some((index, shift)) = found else {
            self.groups.push(group);
            return;
        };
        self.shifts.push(shift);
        let Group {
            name,
            calls,
            spent,
            doubt,
        } = group;
        let (before, after) = calls.split_at(index);
        for part in [before, after] {
            let name = self::name(
                &name.dependency,
                Arc::clone(&name.operation),
                name.cause,
                part,
            );
            let group = Group {
                name,
                calls: part.to_vec(),
                spent,
                doubt: doubt.clone(),
            };
            self.add(group, cuts + 1);
        }
    }
}

impl<'a> Group<'a> {
    /// The calls that the client gave up while it still tried as often as it does.
    pub fn given_up(&self) -> impl Iterator<Item = &Failing<'a>> {
        let spent = self.spent.map_or(Micros(u64::MAX), |spent| spent.at);
        let calls = self.calls.iter();
        calls.filter(move |call| call.gave_up && call.hit.call.began < spent)
    }

    /// A claim about its calls.
    pub fn claim(&self, aspect: Aspect, finding: Finding, samples: u64) -> Claim {
        self.name.claim(aspect, finding, samples)
    }

    /// That `samples` of something do not tell.
    pub fn unknown(&self, aspect: Aspect, why: impl Into<String>, samples: u64) -> Claim {
        self.claim(aspect, Finding::Unknown { why: why.into() }, samples)
    }

    /// That nothing can be said of how often its calls are tried and after what pauses, where that is
    /// so.
    pub fn doubtful(&self, aspect: Aspect, samples: usize) -> Option<Claim> {
        let why = self.doubt.as_deref()?;
        Some(self.unknown(aspect, why, samples as u64))
    }

    /// That these are too few, if they are.
    pub fn too_few(&self, aspect: Aspect, samples: usize, what: &str) -> Option<Claim> {
        let samples = samples as u64;
        (samples < SAMPLES_MIN).then(|| {
            let why = format!("{samples} {what} of at least {SAMPLES_MIN}");
            self.unknown(aspect, why, samples)
        })
    }

    /// The clearest change within its calls: the first call after it, and what changed.
    fn shift(&self) -> Option<(usize, Shift)> {
        let found = self.series().into_iter().filter_map(|series| {
            let (place, shift, apart) = self.step(&series)?;
            (apart > series.least).then_some((place, shift))
        });
        found.min_by(|one, other| one.1.chance.total_cmp(&other.1.chance))
    }

    /// The numbers of its calls in which a change would show.
    pub fn series(&self) -> [Series; 4] {
        let spent = self.spent.map_or(Micros(u64::MAX), |spent| spent.at);
        let is_told = self.doubt.is_none();
        let count = |call: &Failing<'_>| {
            let counts = is_told && call.gave_up && call.hit.call.began < spent;
            counts.then(|| call.count() as f64)
        };
        let pause = |call: &Failing<'_>| call.pauses().next().flatten().filter(|_| is_told);
        // Laws may differ that begin alike. Of the calls that came late only those with short pauses had
        // given up when the trouble was over: they are no other clients.
        let given_up = || self.calls.iter().filter(|call| call.gave_up);
        let longest = given_up().map(|call| call.hit.spell().time).max();
        let over = given_up().map(|call| call.hit.call.began).max();
        let whole = |began: Micros| {
            let left = over.map(|over| over.since(began));
            left >= longest
        };
        let all_pauses = |call: &Failing<'_>| {
            let began = call.hit.call.began;
            let counts =
                is_told && call.count() > 2 && call.gave_up && began < spent && whole(began);
            counts.then(|| call.pauses().sum::<Option<f64>>()).flatten()
        };
        let patience = |call: &Failing<'_>| {
            let first = call.hit.attempts[0];
            let waited = self.name.cause == Cause::NoAnswer && first.first_byte.is_none();
            waited.then(|| first.duration().as_secs_f64())
        };
        let plain = |value: f64| format!("{value}");
        let as_time = |value: f64| time((value * 1e6) as u64);
        // Smaller steps of pauses are what a machine that becomes busy adds.
        [
            self.of_calls("attempts a call", 0.0, &count, plain),
            self.of_calls("first pause", AT_ONCE, &pause, as_time),
            self.of_calls("pauses of a call together", TOGETHER, &all_pauses, as_time),
            self.of_calls("first-byte time-out", 0.0, &patience, as_time),
        ]
    }

    /// One number that some of its calls have.
    fn of_calls(
        &self,
        what: &'static str,
        least: f64,
        value: &dyn Fn(&Failing<'_>) -> Option<f64>,
        words: fn(f64) -> String,
    ) -> Series {
        let with = self.calls.iter().enumerate();
        let (places, values) = with
            .filter_map(|(place, call)| Some((place, value(call)?)))
            .unzip();
        Series {
            what,
            least,
            places,
            values,
            words,
        }
    }

    /// A change in one number, and how far the number is from what it was.
    fn step(&self, series: &Series) -> Option<(usize, Shift, f64)> {
        let change = change::find(&series.values)?;
        let place = series.places[change.index];
        let words = series.words;
        let shift = Shift {
            group: self.name.clone(),
            at: self.calls[place].hit.call.began,
            what: format!(
                "{} {} before, {} after",
                series.what,
                words(change.before),
                words(change.after)
            ),
            chance: change.chance,
            samples: series.values.len() as u64,
        };
        Some((place, shift, (change.after - change.before).abs()))
    }
}

/// When instances ended, on their own account or not.
fn deaths(view: &View<'_>) -> Vec<Micros> {
    let events = view.history.processes.iter();
    events
        .filter(|event| matches!(&*event.event, "exited" | "killed" | "stopped" | "stopping"))
        .map(|event| event.at)
        .collect()
}

/// The one trouble that all failing attempts of a call met with; an answer that settles it may come
/// last.
fn only_cause(attempts: &[&Attempt], deaths: &[Micros]) -> Option<Cause> {
    let last = attempts.len().checked_sub(1)?;
    let mut only = None;
    for (index, attempt) in attempts.iter().enumerate() {
        match cause(attempt, deaths) {
            Some(found) if only.is_none_or(|known| known == found) => only = Some(found),
            None if index == last => {}
            _ => return None,
        }
    }
    only
}

/// Takes back that calls were given up whose client may have been about to try again when the run
/// ended: those that failed less than the longest pause before it.
fn leave_open(calls: &mut [Failing<'_>], end: Micros) {
    let pairs = calls.iter().flat_map(|call| call.hit.attempts.windows(2));
    let pauses = pairs.map(|pair| pair[0].pause_before(pair[1]).1);
    let patience = pauses.max().unwrap_or_default();
    for call in calls {
        call.gave_up &= call.hit.call.ended + patience <= end;
    }
}

fn name(
    dependency: &Arc<str>,
    operation: Arc<str>,
    cause: Cause,
    calls: &[Failing<'_>],
) -> GroupName {
    let began = calls.iter().map(|call| call.hit.call.began).min();
    let ended = calls.iter().map(|call| call.hit.call.ended).max();
    let by_id = calls.iter().all(|call| call.hit.call.by_sdk_id);
    let mut repeated = calls.iter().filter(|call| call.count() > 1).peekable();
    // One client that numbers its attempts does not vouch for those of another.
    let numbered = repeated.peek().is_some()
        && repeated.all(|call| call.hit.attempts.iter().skip(1).all(|one| one.attempt > 1));
    GroupName {
        dependency: Arc::clone(dependency),
        operation,
        cause,
        window: (began.unwrap_or_default(), ended.unwrap_or_default()),
        basis: if by_id || numbered {
            Basis::Headers
        } else {
            Basis::Grouped
        },
    }
}
