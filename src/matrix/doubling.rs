//! Whether anything was done twice because its answer was lost: what a trial that may lose answers
//! requires so that it can be seen, and what its verdicts say. Answers are lost where they never come,
//! and as well where they come too late, as an error or not whole because a connection broke.
//!
//! Two witnesses can tell. A ledger knows how often each id was delivered; it is asked where it looks
//! at deliveries that add, for what replaces (a `PUT` of the same object) may come twice. On the wire
//! the writes of a dependency are told apart by what is captured of them, where each value named but
//! one write that adds while nothing was wrong. Such a value may be new for each attempt all the same,
//! as a time or the id of a trace is: nothing is said to be done once by it unless a second attempt bore
//! it again, or no more writes bear it than there were operations. Where no witness is there, it was not
//! looked at, and that is said; so it is where less than [`SETTLE`] was watched for what is tried again
//! late. What no witness looks at, as an `UPDATE` beside the `INSERT`s that are captured, or a second
//! table, is not vouched for by what was seen of the others. A key by which the server may know a repetition again makes it unknowable on the wire,
//! unless the file captures it: then it is taken for what it promises.

use super::{Aim, Kind, Patience, Reference, text::quoted};
use crate::{
    expectation::{Status, Verdict, judge},
    history::{Attempt, View, Window},
    policy::samples::SAMPLES_MIN,
    protocol::{Applied, Protocol},
    scenario::{Capture, Delivered, Dependency, Ledger, Load, System},
    units::{Micros, format_duration},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How the ids of these expectations begin.
const ONCE: &str = "ONCE-";

/// How long after the last write that lost its answer what is tried again is waited for, at least.
const SETTLE: Duration = Duration::from_secs(5);

/// The writes for each operation from which on each operation is taken to make one: at the edges of a
/// phase some are made in the next.
const ONE_EACH: f64 = 0.95;

/// The phase of a trial in which answers are lost.
const TROUBLE: usize = 1;

/// The header by which servers know a repetition again.
const KEY_HEADER: &str = "idempotency-key";

/// What is known of work that was done twice because an answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Doubling {
    /// It was.
    Doubled {
        /// What was measured.
        what: String,
        /// The expectations that failed.
        by: Vec<String>,
    },
    /// Nothing was, as far as all that can tell looked.
    Once {
        /// What was measured.
        what: String,
    },
    /// There was nothing that could be: nothing is asked that adds.
    Nothing {
        /// Why.
        why: String,
    },
    /// It cannot be told, or was not looked at.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What names the writes of a dependency that add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamedBy {
    /// The dependency.
    pub dependency: Arc<str>,
    /// The capture whose every value named but one of them.
    pub capture: String,
    /// The capture by which the dependency itself knows a repetition again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_again_by: Option<String>,
}

/// What names the writes of every dependency, as far as a run without faults shows it.
pub(super) fn named(view: &View<'_>) -> Vec<NamedBy> {
    let dependencies = view.system.dependencies.iter();
    dependencies.flat_map(|one| named_of(view, one)).collect()
}

fn named_of(view: &View<'_>, dependency: &Dependency) -> Vec<NamedBy> {
    let attempts = view.history.attempts_of(&dependency.name).iter();
    let adds = |one: &&Attempt| {
        dependency.protocol.adds(&one.operation)
            && one.applied == Applied::Yes
            && one.acknowledged()
    };
    let attempts: Vec<&Attempt> = attempts.filter(adds).collect();
    let key = dependency.capture.iter().find(|(_, from)| is_key(from));
    let key = key.map(|(name, _)| name);
    if key.is_none()
        && attempts
            .iter()
            .any(|one| may_be_known_again(dependency, one))
    {
        return Vec::new();
    }
    let names = dependency.capture.keys().filter(|name| Some(*name) != key);
    let is_name = |name: &&String| {
        let mut values = BTreeSet::new();
        let own = attempts.iter().filter_map(|one| one.captured.get(*name));
        let (mut count, mut distinct) = (0, 0);
        for value in own {
            count += 1;
            distinct += u64::from(values.insert(value));
        }
        count >= SAMPLES_MIN && count == distinct
    };
    names
        .filter(is_name)
        .map(|name| NamedBy {
            dependency: Arc::clone(&dependency.name),
            capture: name.clone(),
            known_again_by: key.cloned(),
        })
        .collect()
}

fn is_key(from: &Capture) -> bool {
    matches!(from, Capture::Header(name) if name == KEY_HEADER)
}

/// Whether the server may know the request again by a key of the client's.
fn may_be_known_again(dependency: &Dependency, attempt: &Attempt) -> bool {
    dependency.protocol == Protocol::Http && attempt.by_sdk_id
}

/// One expectation that looks for what was done twice.
pub(super) struct Look {
    /// Its id.
    pub(super) id: String,
    /// Its table.
    pub(super) text: String,
    /// The dependency that it looks at; `None`: all.
    at: Option<Arc<str>>,
    /// The capture by which it knows a write again, where it is no ledger's.
    by: Option<String>,
}

/// Everything that looks for what was done twice while answers of `dependency` are lost.
pub(super) fn looks(system: &System, reference: &Reference, aim: &Aim) -> Vec<Look> {
    let Some((dependency, _)) = losing(aim, system) else {
        return Vec::new();
    };
    let ledgers = system.ledgers.iter();
    let ledgers = ledgers.filter(|ledger| looks_at_what_adds(ledger, system, reference));
    let mut looks: Vec<Look> = ledgers
        .map(|ledger| of_ledger(ledger, reference, dependency))
        .collect();
    let own = reference.named_by.iter();
    let own = own.filter(|one| one.dependency == *dependency);
    looks.extend(own.map(of_writes));
    looks
}

/// How long all must hold after a trial in which something is looked for, so that what is tried again
/// late is seen: some time after the longest `patience` known of those who wait for a lost answer.
/// `None`: nothing is looked for.
pub(super) fn watched_for(
    system: &System,
    reference: &Reference,
    aim: &Aim,
    patience: Patience,
) -> Option<Duration> {
    let waits = patience.longest().unwrap_or_default();
    let own = looks(system, reference, aim);
    let mut own = own.iter().filter(|look| look.at.is_some());
    own.next().map(|_| SETTLE + waits)
}

/// Whether what is asked in a trial may be carried out while its client is told nothing of it: only then
/// can anything be done twice for that.
pub fn may_lose_answers(aim: &Aim, system: &System) -> bool {
    losing(aim, system).is_some()
}

/// The dependency whose answers may be lost, and by what: of two the one that loses nothing else.
fn losing<'a>(aim: &'a Aim, system: &System) -> Option<(&'a Arc<str>, Kind)> {
    let may_lose = |(name, kind): &(&Arc<str>, Kind)| {
        let mut all = system.dependencies.iter();
        let own = all.find(|one| one.name == **name);
        own.is_some_and(|own| kind.may_lose_answers(own.protocol))
    };
    let losing = aim.troubles().filter(may_lose);
    losing.min_by_key(|(_, kind)| *kind != Kind::LostReply)
}

/// Whether each delivery that a ledger sees is one more, and not the same once again.
fn looks_at_what_adds(ledger: &Ledger, system: &System, reference: &Reference) -> bool {
    ledger.delivered.iter().all(|place| match place {
        Delivered::Read(_) | Delivered::Messages { .. } => true,
        Delivered::Attempts {
            dependency,
            operations,
            ..
        } => {
            let mut all = system.dependencies.iter();
            let protocol = all.find(|one| one.name == *dependency);
            let protocol = protocol.map_or(Protocol::Tcp, |one| one.protocol);
            let asked = reference.asked(dependency);
            let asked = asked.iter().filter(|name| protocol.writes(name));
            let asked: Vec<&str> = asked.map(|name| &***name).collect();
            let named: Vec<&str> = operations.iter().map(String::as_str).collect();
            let meant = if named.is_empty() { asked } else { named };
            !meant.is_empty() && meant.iter().all(|name| protocol.adds(name))
        }
    })
}

fn of_ledger(ledger: &Ledger, reference: &Reference, dependency: &Arc<str>) -> Look {
    let name = &ledger.name;
    let is_at = |place: &Delivered| match place {
        Delivered::Attempts { dependency: at, .. } | Delivered::Messages { dependency: at, .. } => {
            at == dependency
        }
        Delivered::Read(_) => {
            let own = reference.use_of(&ledger.load, dependency);
            own.is_some_and(super::Use::is_use)
        }
    };
    let id = format!("{ONCE}{name}");
    Look {
        text: format!(
            "\n[[expect]]\nid     = {}\nthat   = {}\nkind   = \"no-duplicates\"\nledger = {}\n",
            quoted(&id),
            quoted(&format!(
                "nothing of {name} is delivered more often than it was asked for"
            )),
            quoted(name)
        ),
        at: ledger
            .delivered
            .iter()
            .any(is_at)
            .then(|| Arc::clone(dependency)),
        by: None,
        id,
    }
}

fn of_writes(named: &NamedBy) -> Look {
    let NamedBy {
        dependency,
        capture,
        known_again_by,
    } = named;
    let id = format!("{ONCE}{dependency}-{capture}");
    let mut text = format!(
        "\n[[expect]]\nid     = {}\nthat   = {}\nkind   = \"no-double-effect\"\non     = {}\nid_of  = {}\nsettle = \"{}\"\n",
        quoted(&id),
        quoted(&format!(
            "what {dependency} is asked for once has its effect once"
        )),
        quoted(dependency),
        quoted(capture),
        format_duration(SETTLE)
    );
    if let Some(key) = known_again_by {
        text.push_str(&format!("deduplicated_by = {}\n", quoted(key)));
    }
    Look {
        id,
        text,
        at: Some(Arc::clone(dependency)),
        by: Some(capture.clone()),
    }
}

/// What the verdicts on [`looks`] say; `None` where no answers could be lost, or, in a trial that may
/// have done without, too few were.
pub(super) fn read(view: &View<'_>, reference: &Reference, aim: &Aim) -> Option<Doubling> {
    let (dependency, kind) = losing(aim, view.system)?;
    let looks = looks(view.system, reference, aim);
    let verdicts = judge(view.history, view.scenario, view.system);
    let of: BTreeMap<&str, &Verdict> = verdicts.iter().map(|one| (&*one.id, one)).collect();
    let found = |look: &Look| of.get(&*look.id).copied();
    let such = |status| {
        let all = looks.iter().filter_map(found);
        all.filter(move |one| one.status == status)
    };
    let failed: Vec<&Verdict> = such(Status::Fail).collect();
    if !failed.is_empty() {
        return Some(Doubling::Doubled {
            what: joined(failed.iter().map(|one| measured(one))),
            by: failed.iter().map(|one| one.id.clone()).collect(),
        });
    }
    let lost = lost(view, dependency);
    if kind != Kind::LostReply && (lost.len() as u64) < SAMPLES_MIN {
        return None;
    }
    if let Some(why) = nothing_adds(view, dependency) {
        return Some(Doubling::Nothing { why });
    }
    let is_own = |look: &&Look| look.at.is_some();
    let own: Vec<&Verdict> = looks.iter().filter(is_own).filter_map(found).collect();
    let open: Vec<&&Verdict> = own
        .iter()
        .filter(|one| one.status != Status::Pass)
        .collect();
    let unknown = |why: String| Some(Doubling::Unknown { why });
    let is_proven = |look: &&Look| match &look.by {
        Some(capture) => is_borne_again(view, reference, dependency, capture),
        None => true,
    };
    let proven: Vec<&Look> = looks.iter().filter(is_own).filter(is_proven).collect();
    if own.is_empty() {
        unknown(format!(
            "no ledger sees what is added at {dependency}, and nothing that is captured there names it"
        ))
    } else if (lost.len() as u64) < SAMPLES_MIN {
        unknown(format!(
            "{} writes that may add lost their answers, at least {SAMPLES_MIN} are needed",
            lost.len()
        ))
    } else if !open.is_empty() {
        let reason = |one: &&&Verdict| one.reason.clone().unwrap_or_default();
        unknown(joined(
            open.iter()
                .map(|one| format!("{}: {}", one.id, reason(one))),
        ))
    } else if proven.is_empty() {
        unknown(format!(
            "what is captured at {dependency} may be new for each attempt: no second one bore it again, and there were more writes than operations that make one"
        ))
    } else if let Some(why) = unseen(view, dependency, &lost, &proven) {
        unknown(why)
    } else if let Some(why) = unwatched(view, dependency, &lost) {
        unknown(why)
    } else {
        let proven = proven.into_iter().filter_map(found);
        Some(Doubling::Once {
            what: joined(proven.map(measured)),
        })
    }
}

/// What sort of write one is: its operation, and where it is a statement its table.
type Sort<'a> = (&'a str, &'a str);

fn sort<'a>(dependency: &Dependency, attempt: &'a Attempt) -> Sort<'a> {
    let table = match &attempt.table {
        Some(table) => table,
        None if dependency.protocol.is_sql() && dependency.key.is_none() => &*attempt.key,
        None => "",
    };
    (&attempt.operation, table)
}

/// Why some of the writes that lost their answers may have been done twice though all that looks found
/// nothing: nobody looks at writes of their sort, and more of these came after the first that lost its
/// answer.
fn unseen(
    view: &View<'_>,
    dependency: &str,
    lost: &[&Attempt],
    proven: &[&Look],
) -> Option<String> {
    let mut all = view.system.dependencies.iter();
    let own = all.find(|one| *one.name == *dependency)?;
    let sorts: BTreeSet<Sort<'_>> = lost.iter().map(|one| sort(own, one)).collect();
    let is_only = sorts.len() == 1;
    let is_seen = |one: &Attempt| {
        let mut looks = proven.iter();
        looks.any(|look| match &look.by {
            Some(capture) => {
                own.protocol.adds(&one.operation) && one.captured.contains_key(capture)
            }
            None => ledger_sees(view.system, &look.id, one, is_only),
        })
    };
    let mut unseen: BTreeMap<Sort<'_>, (u64, Micros)> = BTreeMap::new();
    for one in lost.iter().filter(|one| !is_seen(one)) {
        let (count, first) = unseen.entry(sort(own, one)).or_insert((0, one.began));
        *count += 1;
        *first = (*first).min(one.began);
    }
    let attempts = view.history.attempts_of(dependency);
    unseen.retain(|kept, (_, first)| {
        let mut later = attempts.iter().filter(|one| one.began > *first);
        later.any(|one| sort(own, one) == *kept && may_have_added(one))
    });
    let named = unseen.iter().map(|((operation, table), (count, _))| {
        let of = match *table {
            "" => String::new(),
            table => format!(" of {table}"),
        };
        format!("{count} {operation}{of}")
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| {
        format!(
            "{} lost their answers, and nothing that looks tells how often that was done",
            named.join(", ")
        )
    })
}

/// Whether a ledger looks at a write: at its attempts, or, by what is read at the end, at the only sort
/// of writes that there is.
fn ledger_sees(system: &System, id: &str, attempt: &Attempt, is_only: bool) -> bool {
    let mut ledgers = system.ledgers.iter();
    let Some(ledger) = ledgers.find(|one| id.strip_prefix(ONCE) == Some(&*one.name)) else {
        return false;
    };
    ledger.delivered.iter().any(|place| match place {
        Delivered::Attempts {
            dependency,
            operations,
            id,
            around: (before, after),
            ..
        } => {
            let mut named = operations.iter();
            let value = attempt.captured.get(id);
            let rest = value.and_then(|value| value.strip_prefix(&**before));
            *dependency == attempt.dependency
                && (operations.is_empty() || named.any(|name| **name == *attempt.operation))
                && rest.is_some_and(|rest| rest.ends_with(&**after))
        }
        Delivered::Messages { dependency, .. } => *dependency == attempt.dependency,
        Delivered::Read(_) => is_only,
    })
}

/// The writes that may add and whose callers were not told that they were carried out.
fn lost<'a>(view: &View<'a>, dependency: &str) -> Vec<&'a Attempt> {
    let mut all = view.system.dependencies.iter();
    let protocol = all.find(|one| *one.name == *dependency);
    let protocol = protocol.map_or(Protocol::Tcp, |one| one.protocol);
    let is_lost = |one: &&Attempt| {
        let is_hit = !one.faults.is_empty() || one.untold.is_some();
        let may_add = !protocol.leaves_the_same(&one.operation) && may_have_added(one);
        is_hit && may_add && !one.acknowledged()
    };
    let attempts = view.history.attempts_of(dependency).iter();
    attempts.filter(is_lost).collect()
}

fn may_have_added(attempt: &Attempt) -> bool {
    attempt.applied != Applied::No && attempt.rows != Some(0)
}

/// Whether a capture is shown to be borne by a second attempt at the same thing: one bore it again
/// whose first was not told, or, while answers were lost, the writes that bear it are as many as the
/// operations that make one, and no more than these in the whole run: others come later.
fn is_borne_again(
    view: &View<'_>,
    reference: &Reference,
    dependency: &Arc<str>,
    capture: &str,
) -> bool {
    let mut all = view.system.dependencies.iter();
    let Some(own) = all.find(|one| one.name == *dependency) else {
        return false;
    };
    let adds = |name: &str| own.protocol.adds(name);
    let attempts = view.history.attempts_of(dependency).iter();
    let attempts = attempts.filter(|one| adds(&one.operation));
    let bearing = attempts.filter_map(|one| Some((one.captured.get(capture)?, one)));
    let mut bearing: Vec<(&String, &Attempt)> = bearing.collect();
    bearing.sort_by_key(|(_, one)| one.began);
    let mut untold = BTreeSet::new();
    for (value, attempt) in &bearing {
        let named = (sort(own, attempt), *value);
        if untold.contains(&named) {
            return true;
        }
        if may_have_added(attempt) && !attempt.acknowledged() {
            untold.insert(named);
        }
    }
    bearing.retain(|(_, one)| may_have_added(one));
    let makes_one = |load: &&Load| {
        let used = reference.use_of(&load.name, dependency);
        used.is_some_and(|used| used.asked.iter().any(|name| adds(name)))
    };
    let loads: Vec<&Load> = view.system.loads.iter().filter(makes_one).collect();
    let count = |window: Option<Window>| {
        let is_in = |at| window.is_none_or(|window| window.contains(at));
        let own = loads.iter().map(|load| {
            let operations = view.history.operations_of(&load.name).iter();
            operations.filter(|one| is_in(one.intended)).count()
        });
        let writes = bearing.iter().filter(|(_, one)| is_in(one.began));
        (writes.count() as f64, own.sum::<usize>() as f64)
    };
    let usual = view.steady().into_iter().map(|one| count(Some(one)));
    let usual = usual.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let each = usual.0 / f64::max(usual.1, 1.0);
    let each = if each >= ONE_EACH { 1.0 } else { each };
    // Of the time in which answers were lost alone: where few operations reach the dependency, writes
    // that were made twice are still fewer than these.
    let lost = view
        .history
        .phases
        .iter()
        .filter(|span| span.index == TROUBLE);
    let mut lost = lost.map(|span| count(Some(Window::new(span.began, span.ended))));
    let as_many = lost.next().is_some_and(|(writes, operations)| {
        let due = operations * each;
        writes > 0.0 && due * ONE_EACH <= writes && writes <= due
    });
    let (writes, operations) = count(None);
    as_many && writes <= operations * each
}

/// Why what is tried again may have come unseen.
fn unwatched(view: &View<'_>, dependency: &str, lost: &[&Attempt]) -> Option<String> {
    let last = lost.iter().map(|one| one.waited_for_until()).max()?;
    let watched = view.history.over().since(last);
    let pauses = view
        .calls(dependency)
        .into_iter()
        .flat_map(|(_, attempts)| {
            let pairs = attempts.windows(2).map(|pair| match pair {
                [first, second] => second.began.since(first.ended),
                _ => Duration::ZERO,
            });
            pairs.collect::<Vec<_>>()
        });
    let pause = pauses.max().unwrap_or_default();
    let needed = pause.max(SETTLE);
    (watched < needed).then(|| {
        format!(
            "what is tried again may have come unseen: the run ended {} after the last write that lost its answer, and {} are needed",
            format_duration(whole_millis(watched)),
            format_duration(whole_millis(needed))
        )
    })
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Why nothing can have been done twice, where all that is asked is known to leave the same.
fn nothing_adds(view: &View<'_>, dependency: &str) -> Option<String> {
    let mut all = view.system.dependencies.iter();
    let protocol = all.find(|one| *one.name == *dependency)?.protocol;
    let attempts = view.history.attempts_of(dependency);
    let mut attempts = attempts.iter().peekable();
    let is_any = attempts.peek().is_some();
    (is_any && attempts.all(|one| protocol.leaves_the_same(&one.operation))).then(|| {
        format!(
            "nothing that {dependency} is asked for adds: what it is asked twice reads or replaces"
        )
    })
}

/// What a verdict measured, with its first example.
fn measured(verdict: &Verdict) -> String {
    let name = verdict.id.strip_prefix(ONCE).unwrap_or(&verdict.id);
    let first = match verdict.status {
        Status::Fail => verdict.evidence.first(),
        _ => None,
    };
    let first = first.map_or_else(String::new, |one| format!(", first {}", one.what));
    format!("{name}: {}{first}", verdict.measured)
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{
            Outcome,
            sample::{self, AttemptBuilder, Story, attempt},
        },
        input::{Problems, Source},
        scenario::from_texts,
    };

    const SYSTEM: &str = r#"[system]
external = "http://127.0.0.1:9"

[dependency.payments]
protocol = "http"
upstream = "127.0.0.1:9"
capture = { order = "header:x-order", key = "header:idempotency-key", shop = "header:x-shop" }

[load.ask]
rate = "20/s"
request = { method = "POST", path = "/orders" }

[load.train]
rate = "20/s"
request = { method = "POST", path = "/orders" }
"#;

    /// A charge of an order at this millisecond.
    fn charge(began: u64, order: &str) -> AttemptBuilder {
        let post = attempt("payments", began, began + 20).operation("POST");
        let post = post.key("/charges").captured("shop", "one");
        post.captured("order", order).applied(Applied::Yes)
    }

    /// Ten orders before the outage, as the reference has them.
    fn usual() -> Vec<AttemptBuilder> {
        (0..10u64)
            .map(|nth| charge(1_000 + nth * 100, &format!("before-{nth}")))
            .collect()
    }

    /// Ten orders whose first answer is lost, each of them tried again with this change.
    fn again(change: impl Fn(AttemptBuilder, u64, u64) -> AttemptBuilder) -> Vec<AttemptBuilder> {
        let orders = (0..10u64).flat_map(|nth| {
            let order = format!("order-{nth}");
            let began = 11_000 + nth * 500;
            let lost = charge(began, &order).hit().gave_up().applied(Applied::Yes);
            [
                change(lost, nth, 0),
                change(charge(began + 200, &order), nth, 1),
            ]
        });
        orders.collect()
    }

    /// What is read of a trial with these attempts, beside [`usual`].
    fn of(attempts: Vec<AttemptBuilder>) -> Doubling {
        let story = Story::new()
            .healthy(0..60)
            .attempts(usual())
            .attempts(attempts);
        of_story(SYSTEM, &story)
    }

    /// What is read of a trial of this system in which answers are lost.
    fn of_story(system: &str, story: &Story) -> Doubling {
        of_trial(system, story, Kind::LostReply).expect("answers were lost")
    }

    /// What is read of a trial of this system, in which the fault is taken for one of this kind.
    fn of_trial(system: &str, story: &Story, kind: Kind) -> Option<Doubling> {
        let history = story.history();
        let mut problems = Problems::default();
        let aim = Aim::single(&"payments".into(), kind);
        let source = Source::new("system.toml", system);
        let system = crate::scenario::system_from_text(source.clone(), ".".into(), &mut problems);
        let system = system.unwrap_or_else(|| panic!("{problems:?}"));
        let sample = sample::scenario();
        let used = super::super::Use {
            load: "train".into(),
            dependency: "payments".into(),
            operations: 60,
            calls: 60,
            asked: std::iter::once("POST".into()).collect(),
        };
        let reference = Reference {
            named_by: named(&View::new(&history, &sample, &system)),
            uses: vec![used],
            ..Reference::unknown(String::new())
        };
        let looks = looks(&system, &reference, &aim);
        let mut text = "title = \"x\"\nhold = \"2s\"\n[[phase]]\nname = \"steady\"\nlasts = \"10s\"\nsteady = true\n\
            [[phase]]\nname = \"trouble\"\nlasts = \"20s\"\n[[phase.fault]]\nkind = \"lost-reply\"\non = \"payments\"\n\
            [[phase]]\nname = \"recovery\"\nlasts = \"30s\"\n[[expect]]\nid = \"A\"\nthat = \"a\"\nkind = \"recovery\"\nwithin = \"9s\"\n"
            .to_owned();
        for look in looks {
            text.push_str(&look.text);
        }
        let both = from_texts(
            Source::new("trial.toml", text),
            source,
            ".".into(),
            &mut problems,
        );
        let Some((scenario, system)) = both else {
            panic!("{problems:?}");
        };
        let view = View::new(&history, &scenario, &system);
        read(&view, &reference, &aim)
    }

    /// Why it is not known whether anything was done twice.
    fn unknown(found: Doubling) -> String {
        match found {
            Doubling::Unknown { why } => why,
            known => panic!("{known:?}"),
        }
    }

    #[test]
    fn nothing_can_be_done_twice_only_where_all_that_is_asked_is_known_to_leave_the_same() {
        let asked = |protocol: &str, operations: &[&str]| {
            let system = SYSTEM.replace("protocol = \"http\"", &format!("protocol = {protocol:?}"));
            let captured = system.lines().filter(|line| !line.starts_with("capture"));
            let system = captured.collect::<Vec<_>>().join("\n");
            let each = (0u64..).zip(operations.iter().cycle()).take(12);
            let attempts = each.map(|(nth, name)| {
                let one = attempt("payments", 11_000 + nth * 100, 11_050 + nth * 100);
                let one = one.operation(name).hit().gave_up();
                one.applied(Applied::Yes)
            });
            of_story(&system, &Story::new().healthy(0..60).attempts(attempts))
        };
        for (protocol, operations) in [
            ("postgres", &["SELECT", "COMMIT"][..]),
            ("mysql", &["SELECT"]),
            ("redis", &["GET", "SET", "DEL"]),
            ("http", &["GET", "PUT", "DELETE"]),
        ] {
            let found = asked(protocol, operations);
            assert!(matches!(found, Doubling::Nothing { .. }), "{found:?}");
        }
        for (protocol, operations) in [
            ("postgres", &["SELECT", "UPDATE", "COMMIT"][..]),
            ("postgres", &["CALL"]),
            ("postgres", &["COPY"]),
            ("postgres", &["MERGE"]),
            ("mysql", &["LOAD"]),
            ("redis", &["GET", "EVAL"]),
            ("redis", &["FCALL"]),
        ] {
            let why = unknown(asked(protocol, operations));
            assert!(why.starts_with("no ledger sees"), "{protocol} {why}");
        }
    }

    /// A charge a second, each for an operation of `train`, that names itself so; ten of them lose
    /// their answers, each of which is tried again as `again` says.
    fn each_second(
        name: &str,
        again: impl Fn(AttemptBuilder, u64) -> Option<AttemptBuilder>,
    ) -> Story {
        let post = |began: u64| attempt("payments", began, began + 20).operation("POST");
        let charges = (0..60u64).flat_map(|nth| {
            let began = nth * 1_000 + 100;
            let first = post(began).captured(name, &format!("n-{nth}"));
            if !(11..21).contains(&nth) {
                return vec![first];
            }
            let lost = first.hit().gave_up().applied(Applied::Yes);
            let mut both = vec![lost];
            both.extend(again(post(began + 200), nth));
            both
        });
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let story = story.load("train", 0..60, 1, Outcome::Ok, 20);
        story.attempts(charges.collect::<Vec<_>>())
    }

    #[test]
    fn a_name_that_may_be_new_for_each_attempt_says_nothing() {
        let system = SYSTEM.replace(
            "order = \"header:x-order\", ",
            "trace = \"header:x-trace\", ",
        );
        let read = |again: &dyn Fn(AttemptBuilder, u64) -> Option<AttemptBuilder>| {
            of_story(&system, &each_second("trace", again))
        };
        let why = unknown(read(&|one, nth| {
            Some(one.captured("trace", &format!("another-{nth}")))
        }));
        assert!(why.contains("may be new for each attempt"), "{why}");
        // Nobody tried again: a write for each operation.
        let untried = read(&|_, _| None);
        assert!(matches!(&untried, Doubling::Once { .. }), "{untried:?}");
        // The second bore it again, and changed nothing.
        let same = |one: AttemptBuilder, nth| Some(one.captured("trace", &format!("n-{nth}")));
        let known_again = read(&|one, nth| same(one, nth).map(|one| one.rows(0)));
        assert!(
            matches!(&known_again, Doubling::Once { .. }),
            "{known_again:?}"
        );
        let twice = read(&same);
        assert!(matches!(&twice, Doubling::Doubled { .. }), "{twice:?}");
    }

    /// While answers are lost only every other operation reaches the dependency, and each that does does
    /// so twice under a new name.
    #[test]
    fn a_name_is_not_proven_by_operations_that_never_came() {
        let system = SYSTEM.replace(
            "order = \"header:x-order\", ",
            "trace = \"header:x-trace\", ",
        );
        let post = |began: u64, name: String| {
            let one = attempt("payments", began, began + 20).operation("POST");
            one.captured("trace", &name)
        };
        let charges = (0..60u64).flat_map(|nth| {
            let began = nth * 1_000 + 100;
            let first = post(began, format!("n-{nth}"));
            if !(10..30).contains(&nth) {
                return vec![first];
            }
            if nth % 4 > 0 {
                return Vec::new();
            }
            let lost = first.hit().gave_up().applied(Applied::Yes);
            vec![lost, post(began + 200, format!("again-{nth}"))]
        });
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let story = story.load("train", 0..60, 1, Outcome::Ok, 20);
        let found = of_story(&system, &story.attempts(charges.collect::<Vec<_>>()));
        let why = unknown(found);
        assert!(why.contains("may be new for each attempt"), "{why}");
    }

    /// While answers are lost each operation makes one write, and another under a new name when that is
    /// over.
    #[test]
    fn a_name_is_not_proven_where_there_are_more_writes_later() {
        let system = SYSTEM.replace(
            "order = \"header:x-order\", ",
            "trace = \"header:x-trace\", ",
        );
        let read = |late: bool| {
            let post = |began: u64, name: String| {
                let one = attempt("payments", began, began + 20).operation("POST");
                one.captured("trace", &name)
            };
            let charges = (0..60u64).flat_map(|nth| {
                let began = nth * 1_000 + 100;
                let first = post(began, format!("n-{nth}"));
                if !(10..30).contains(&nth) {
                    return vec![first];
                }
                let lost = first.hit().gave_up().applied(Applied::Yes);
                let mut both = vec![lost];
                both.extend(late.then(|| post(began + 25_000, format!("again-{nth}"))));
                both
            });
            let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
            let story = story.load("train", 0..60, 1, Outcome::Ok, 20);
            of_story(&system, &story.attempts(charges.collect::<Vec<_>>()))
        };
        let once = read(false);
        assert!(matches!(&once, Doubling::Once { .. }), "{once:?}");
        let why = unknown(read(true));
        assert!(why.contains("may be new for each attempt"), "{why}");
    }

    #[test]
    fn a_ledger_says_nothing_where_only_reads_lost_their_answers() {
        let system = format!(
            "{}capture = {{ id = \"json:/id\" }}\n[ledger.charged]\naccepted = {{ load = \"train\", id = \"id\" }}\n\
             delivered = {{ dependency = \"payments\", operation = \"POST\", id = \"order\" }}\n",
            SYSTEM
        );
        let work = |is_lost: fn(u64) -> bool, again: fn(u64) -> Option<u64>| {
            let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
            let story = (0..40u64).fold(story, |story, nth| {
                let (began, id) = (nth * 1_000, format!("order-{nth}"));
                let one = charge(began + 100, &id);
                let one = match is_lost(nth) {
                    true => one.hit().gave_up().applied(Applied::Yes),
                    false => one,
                };
                let tried = again(nth).map(|after| charge(began + after, &id));
                story
                    .work(began, &id, Outcome::Ok)
                    .attempt(one)
                    .attempts(tried)
            });
            let reads = (0..5u64).map(|nth| {
                let one = attempt("payments", 12_000 + nth * 500, 12_200 + nth * 500);
                one.operation("GET").hit().gave_up().applied(Applied::Yes)
            });
            of_story(&system, &story.attempts(reads).watched(60_000))
        };
        let why = unknown(work(|_| false, |_| None));
        assert!(why.starts_with("0 writes that may add lost"), "{why}");
        let is_lost = |nth| (12..16).contains(&nth);
        let once = work(is_lost, |_| None);
        let Doubling::Once { what } = &once else {
            panic!("{once:?}");
        };
        assert!(what.contains("charged: 0 of 40"), "{what}");
        let twice = work(is_lost, |nth| (nth == 13).then_some(500));
        assert!(matches!(&twice, Doubling::Doubled { .. }), "{twice:?}");
    }

    /// What is read of a database where ten orders are inserted again that are known again, and where
    /// these statements were made besides.
    fn beside_orders(others: Vec<AttemptBuilder>) -> Doubling {
        let system = SYSTEM.replace("protocol = \"http\"", "protocol = \"postgres\"");
        let capture = system.lines().find(|line| line.starts_with("capture"));
        let capture = capture.expect("it captures something");
        let system = system.replace(capture, "capture = { order = \"parameter:1\" }");
        let insert = |one: AttemptBuilder| one.operation("INSERT").key("orders");
        let known_again = again(|one, _, again| match again {
            0 => insert(one),
            _ => insert(one).rows(0),
        });
        let story = Story::new().healthy(0..60).attempts(others);
        let usual = usual().into_iter().map(insert);
        of_story(&system, &story.attempts(usual).attempts(known_again))
    }

    #[test]
    fn what_nobody_looks_at_is_not_vouched_for_by_what_is_seen() {
        let one = |operation: &str, table: &str, began: u64| {
            let one = attempt("payments", began, began + 20).operation(operation);
            one.key(table).applied(Applied::Yes)
        };
        let lost = |operation: &str, table: &str, began| {
            let one = one(operation, table, began).hit();
            one.gave_up().applied(Applied::Yes)
        };
        for (operation, table) in [("UPDATE", "accounts"), ("INSERT", "journal")] {
            let untried = beside_orders(vec![
                one(operation, table, 1_000),
                lost(operation, table, 12_000),
            ]);
            assert!(matches!(&untried, Doubling::Once { .. }), "{untried:?}");
            let tried = beside_orders(vec![
                lost(operation, table, 12_000),
                one(operation, table, 12_500),
            ]);
            let why = unknown(tried);
            let said = format!("1 {operation} of {table} lost their answers");
            assert!(why.starts_with(&said), "{why}");
            // It was told, or it changed nothing.
            for certain in [
                one(operation, table, 12_000).hit(),
                lost(operation, table, 12_000).rows(0),
            ] {
                let seen = beside_orders(vec![certain, one(operation, table, 12_500)]);
                assert!(matches!(&seen, Doubling::Once { .. }), "{seen:?}");
            }
        }
    }

    #[test]
    fn a_value_that_another_sort_of_write_bears_is_not_borne_again() {
        // Neither is tried again, and there are more writes than operations.
        let system = SYSTEM.replace(
            "order = \"header:x-order\", ",
            "trace = \"header:x-trace\", ",
        );
        let story = each_second("trace", |one, nth| {
            Some(
                one.operation("PATCH")
                    .captured("trace", &format!("n-{nth}")),
            )
        });
        let why = unknown(of_story(&system, &story));
        assert!(why.contains("may be new for each attempt"), "{why}");
    }

    #[test]
    fn answers_are_lost_in_other_trials_too() {
        let read_in = |kind: Kind, attempts: Vec<AttemptBuilder>| {
            let story = Story::new().healthy(0..60).attempts(usual());
            of_trial(SYSTEM, &story.attempts(attempts), kind)
        };
        let blind = || again(|one, _, _| one);
        let keyed = |many: usize| {
            let keyed = again(|one, nth, _| {
                let key = format!("key-{nth}");
                one.captured("key", &key).sdk(&key, 1)
            });
            keyed.into_iter().take(many).collect::<Vec<_>>()
        };
        for kind in [Kind::TooSlow, Kind::Error, Kind::Reset, Kind::Restart] {
            let found = read_in(kind, blind());
            assert!(
                matches!(&found, Some(Doubling::Doubled { .. })),
                "{kind}: {found:?}"
            );
            let found = read_in(kind, keyed(20));
            assert!(
                matches!(&found, Some(Doubling::Once { .. })),
                "{kind}: {found:?}"
            );
            // Two of ten is not enough to say anything, and was not what was tried.
            assert_eq!(read_in(kind, keyed(4)), None, "{kind}");
        }
        let found = read_in(Kind::LostReply, keyed(4));
        assert!(
            matches!(&found, Some(Doubling::Unknown { .. })),
            "{found:?}"
        );
        for kind in [Kind::Hang, Kind::Slow, Kind::Quota] {
            assert_eq!(read_in(kind, blind()), None, "{kind}");
        }
    }

    #[test]
    fn what_is_tried_again_later_than_was_watched_is_not_known_to_be_done_once() {
        let keyed = |late: u64| {
            of(again(move |one, nth, again| {
                let key = format!("key-{nth}");
                let one = one.captured("key", &key).sdk(&key, again as u32 + 1);
                match (nth, again) {
                    (0, 1) => charge(11_020 + late, "order-0")
                        .captured("key", &key)
                        .sdk(&key, 2),
                    _ => one,
                }
            }))
        };
        let once = keyed(40_000);
        assert!(matches!(&once, Doubling::Once { .. }), "{once:?}");
        let why = unknown(keyed(46_000));
        assert!(why.contains("may have come unseen"), "{why}");
        assert!(why.contains("46s are needed"), "{why}");
    }

    #[test]
    fn who_asks_again_for_what_was_done_doubles_it_and_its_twin_with_a_key_does_not() {
        let blind = of(again(|one, _, _| one));
        let Doubling::Doubled { what, by } = blind else {
            panic!("{blind:?}");
        };
        assert_eq!(by, ["ONCE-payments-order"]);
        assert!(
            what.contains("10 effects too many of 10 operations"),
            "{what}"
        );
        let keyed = of(again(|one, nth, _| {
            let key = format!("key-{nth}");
            one.captured("key", &key).sdk(&key, 1)
        }));
        assert!(matches!(&keyed, Doubling::Once { .. }), "{keyed:?}");
        // A key of its own for each try is none.
        let new_key = of(again(|one, nth, again| {
            let key = format!("key-{nth}-{again}");
            one.captured("key", &key).sdk(&key, 1)
        }));
        assert!(matches!(&new_key, Doubling::Doubled { .. }), "{new_key:?}");
    }

    #[test]
    fn where_nothing_can_tell_it_was_not_looked_at_and_where_nothing_adds_there_is_nothing() {
        let few = of(Vec::new());
        assert!(matches!(&few, Doubling::Unknown { .. }), "{few:?}");
        let (history, sample) = (Story::new().healthy(0..60).history(), sample::scenario());
        let system = sample::system();
        let view = View::new(&history, &sample, &system);
        let aim = Aim::single(&"backup".into(), Kind::LostReply);
        let reference = Reference::unknown(String::new());
        let nothing = read(&view, &reference, &aim);
        let why = "no ledger sees what is added at backup";
        assert!(matches!(&nothing, Some(Doubling::Unknown { why: said }) if said.starts_with(why)));
        let puts = (0..5u64).map(|nth| attempt("backup", 11_000 + nth, 12_000).hit());
        let history = Story::new().healthy(0..60).attempts(puts).history();
        let view = View::new(&history, &sample, &system);
        let replaced = read(&view, &reference, &aim);
        assert!(
            matches!(&replaced, Some(Doubling::Nothing { .. })),
            "{replaced:?}"
        );
        let hang = Aim::single(&"backup".into(), Kind::Hang);
        assert_eq!(read(&view, &reference, &hang), None);
    }

    #[test]
    fn a_capture_that_several_writes_share_names_none_of_them_and_a_key_that_nobody_captures_hides_them()
     {
        let story = Story::new().healthy(0..60).attempts(usual());
        let (history, sample) = (story.history(), sample::scenario());
        let mut problems = Problems::default();
        let mut read = |text: &str| {
            let source = Source::new("system.toml", text);
            let system = crate::scenario::system_from_text(source, ".".into(), &mut problems);
            system.expect("a system")
        };
        let system = read(SYSTEM);
        let found = named(&View::new(&history, &sample, &system));
        let names: Vec<&str> = found.iter().map(|one| &*one.capture).collect();
        assert_eq!(names, ["order"], "all are of one shop");
        assert_eq!(found[0].known_again_by.as_deref(), Some("key"));
        let keyed = usual().into_iter().enumerate();
        let keyed = keyed.map(|(nth, one)| one.sdk(&format!("key-{nth}"), 1));
        let history = Story::new().healthy(0..60).attempts(keyed).history();
        let hidden = read(&SYSTEM.replace("key = \"header:idempotency-key\", ", ""));
        assert!(named(&View::new(&history, &sample, &hidden)).is_empty());
    }

    #[test]
    fn a_ledger_is_asked_where_what_it_sees_adds() {
        let system = sample::system();
        let reference = Reference::unknown(String::new());
        let aim = Aim::single(&"s3".into(), Kind::LostReply);
        let of = |operation: &str| {
            let mut system = sample::system();
            for ledger in &mut system.ledgers {
                for place in &mut ledger.delivered {
                    if let Delivered::Attempts { operations, .. } = place {
                        *operations = vec![operation.to_owned()];
                    }
                }
            }
            let looks = looks(&system, &reference, &aim);
            looks.into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        assert!(!system.ledgers.is_empty());
        assert!(of("CreateMultipartUpload").contains(&"ONCE-work".to_owned()));
        assert!(!of("PutObject").contains(&"ONCE-work".to_owned()));
    }
}
