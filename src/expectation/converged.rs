//! `converged`: after the outage the store holds the newest version of everything.
//!
//! For every key of which the load had a version accepted before the last fault was lifted, the store
//! must come to hold that version or a newer one, and an older version must never be written over a
//! newer one. Versions are compared as numbers where both are numbers, else as text.
//!
//! What the store holds is told from the writes that it carried out. A write of which nobody knows
//! whether it was carried out proves nothing; two writes at the same time prove no order; and a
//! statement that changed no row wrote nothing, as one that is guarded against older versions. Where it
//! found what it was to write there already, as MySQL says of an `UPDATE`, the version is there; where it may
//! have, it wrote nothing, but nobody can say either that the version is not there.
//!
//! Versions that were accepted and stored before the first fault show nothing of the outage.

use super::{
    Expectation, ExpectationDef, Judgement, Name, Names, Scope, names, samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, Operation, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    protocol::Applied,
    scenario::Load,
    units::{Micros, format_duration},
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "converged",
    summary: "after the outage the store holds the newest accepted version of every key",
    about: About {
        text: "\
            After the outage the store holds the newest accepted version of every key, and no \
            older version was written over a newer one. It is what lost writes, late writes and \
            retries in the wrong order break.",
        evidence: "\
            The versions that the load had accepted, against the writes that the store carried \
            out, both by captures.",
        doubt: "\
            A write of which nobody knows whether it was carried out decides; or fewer than three \
            versions were accepted or stored after the first fault came into force.",
        mistakes: &["\
                Versions are compared as numbers only where both are numbers; as text 10 comes \
                before 9."],
        related: &["nothing-lost", "stale-reply", "truncated-body"],
    },
    example: "[[expect]]\nid             = \"ADA-8\"\nthat           = \"stale models are repaired\"\nkind           = \"converged\"\nload           = \"train\"\non             = \"object-store\"\nkey            = \"bot\"\nversion        = \"version\"\nobject         = \"bots/{key}.json\"\nstored_version = \"version\"\nwithin         = \"30s\"\n",
    keys: &[
        Key::required("load", Shape::Text, "the load that has versions accepted"),
        Key::required("on", Shape::Text, "the role or dependency that stores them"),
        Key::optional(
            "operation",
            Shape::TextOrTexts,
            "the operations that store (PutObject)",
        ),
        Key::required("key", Shape::Text, "the load's capture that holds the key"),
        Key::required(
            "version",
            Shape::Text,
            "the load's capture that holds the version",
        ),
        Key::optional(
            "object",
            Shape::Text,
            "what the key is called in the store, with `{key}` for it (`{key}`); a bucket or path before it does not matter",
        ),
        Key::optional(
            "stored_key",
            Shape::Text,
            "the dependency's capture that holds the key (the object's own key)",
        ),
        Key::required(
            "stored_version",
            Shape::Text,
            "the dependency's capture that holds the version",
        ),
        Key::optional(
            "within",
            Shape::Duration,
            "the time from the last fault's lifting (the rest of the run)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct Converged {
    load: Name,
    on: Name,
    operations: Vec<String>,
    key: String,
    version: String,
    object: String,
    stored_key: Option<String>,
    stored_version: String,
    within: Option<Duration>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let load = names::load(fields, "load", names, problems);
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let mut operations = names::operations(fields, "operation", problems);
    if operations.is_empty() {
        operations.push("PutObject".to_owned());
    }
    // A load or store that is not known was reported; what it captures is then no question.
    let mut capture = |key, of: &Option<Name>| {
        let of = of.as_deref().unwrap_or_default();
        names::capture(fields, key, of, names, problems)
    };
    let (key, version) = (capture("key", &load), capture("version", &load));
    let stored_key = capture("stored_key", &on);
    let stored_version = capture("stored_version", &on);
    let object = fields.text("object", problems);
    let object = object.map_or_else(|| "{key}".to_owned(), |text| text.value);
    let within = fields.duration("within", problems);
    if !object.contains("{key}") {
        fields.problem(
            problems,
            "object",
            "`object` has no `{key}`, so every key would be the same object",
            Some("say `object = \"bots/{key}.json\"`".to_owned()),
        );
        return None;
    }
    Some(Box::new(Converged {
        load: load?,
        on: on?,
        operations,
        key: key?,
        version: version?,
        object,
        stored_key,
        stored_version: stored_version?,
        within,
    }))
}

/// One version of a key as it was written.
#[derive(Debug, Clone, Copy)]
struct Write<'a> {
    version: &'a str,
    began: Micros,
    ended: Micros,
    certain: bool,
    /// It changed nothing, but what it was to write may have been there already.
    is_held: bool,
}

/// The writes of each object, by its name and store, each list by when they began.
type Writes<'a> = BTreeMap<(&'a str, &'a str), Vec<Write<'a>>>;

/// What became of one key.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It holds the newest version since then.
    Converged(Micros),
    /// An older version was written over a newer one, then.
    Regressed(Micros, String),
    /// It never got the newest version.
    Stale(String),
    /// Nobody knows whether it has it.
    Unknown(String),
}

fn newer(one: &str, other: &str) -> Ordering {
    let whole = |text: &str| text.parse::<u128>().ok();
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => match (number(one), number(other)) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => one.cmp(other),
        },
    }
}

/// An older version written, beyond doubt, after a newer one was. `writes` by when they began.
fn regression(writes: &[Write<'_>]) -> Option<(Micros, String)> {
    let mut done: Vec<&Write<'_>> = writes.iter().filter(|write| write.certain).collect();
    done.sort_by_key(|write| write.ended);
    let mut done = done.into_iter().peekable();
    let mut newest: Option<&str> = None;
    for write in writes.iter().filter(|write| write.certain) {
        while let Some(before) = done.next_if(|before| before.ended < write.began) {
            if newest.is_none_or(|newest| newer(before.version, newest).is_gt()) {
                newest = Some(before.version);
            }
        }
        if let Some(newest) = newest
            && newer(write.version, newest).is_lt()
        {
            let what = format!("version {} was written over {newest}", write.version);
            return Some((write.began, what));
        }
    }
    None
}

fn fate(accepted: &str, writes: &[Write<'_>]) -> Fate {
    if let Some((at, what)) = regression(writes) {
        return Fate::Regressed(at, what);
    }
    let enough = |write: &&Write<'_>| newer(write.version, accepted).is_ge();
    let Some(first) = writes
        .iter()
        .filter(|write| write.certain)
        .filter(enough)
        .min_by_key(|write| write.ended)
    else {
        if writes.iter().any(|write| enough(&write)) {
            return Fate::Unknown(format!(
                "the write of version {accepted} may or may not have been carried out, or found it there"
            ));
        }
        let last = writes.iter().rfind(|write| write.certain);
        let holds = last.map_or("none", |write| write.version);
        return Fate::Stale(format!(
            "version {accepted} was accepted, {holds} is stored"
        ));
    };
    let last_good = writes
        .iter()
        .filter(|write| write.certain)
        .filter(enough)
        .map(|write| write.began)
        .max();
    // An older write that was open at the same time as, or after, the last good one, may have won.
    let rival = writes
        .iter()
        .filter(|write| !enough(write) && !write.is_held)
        .find(|write| last_good.is_none_or(|good| write.ended >= good));
    match rival {
        Some(write) => Fate::Unknown(format!(
            "an older write, of version {}, was open at the same time as the newest",
            write.version
        )),
        None => Fate::Converged(first.ended),
    }
}

/// Whether the system said that it had taken the version in: the operation was answered, or its
/// first request was and only the reading back never came true. Where an answer's status alone
/// does not make it ok, the latter cannot be told and does not count.
fn taken_in(view: &View<'_>, operation: &Operation) -> bool {
    let by_status = |load: &Load| {
        let ok = &load.outcomes.ok;
        let status = operation.status;
        ok.header.is_empty()
            && ok.json.is_empty()
            && status.is_some_and(|status| ok.status.contains(status))
    };
    let load = view.system.loads.iter();
    operation.answered()
        || load
            .filter(|load| load.name == operation.load)
            .any(by_status)
}

impl Converged {
    /// The newest version of every key that was accepted before `until`.
    fn accepted<'a>(&self, view: &View<'a>, until: Micros) -> BTreeMap<&'a str, (&'a str, Micros)> {
        let mut newest: BTreeMap<&str, (&str, Micros)> = BTreeMap::new();
        let window = Window::new(Micros::default(), until);
        for operation in view.operations_in(&self.load, window) {
            let key = operation.captured.get(&self.key);
            let version = operation.captured.get(&self.version);
            let (Some(key), Some(version), true) = (key, version, taken_in(view, operation)) else {
                continue;
            };
            if operation.ended > until {
                continue;
            }
            let known = newest
                .entry(key)
                .or_insert((version.as_str(), operation.ended));
            if newer(version, known.0).is_gt() {
                *known = (version, operation.ended);
            }
        }
        newest
    }

    fn writes<'a>(&self, view: &View<'a>) -> Writes<'a> {
        let whole = Window::new(Micros::default(), Micros(u64::MAX));
        let mut writes = Writes::new();
        for attempt in view.attempts_in(&self.on, whole) {
            if !self
                .operations
                .iter()
                .any(|one| **one == *attempt.operation)
                || attempt.applied == Applied::No
                || attempt.rows == Some(0) && !(attempt.held || attempt.perhaps_held)
            {
                continue;
            }
            let version = attempt.captured.get(&self.stored_version);
            let (Some(key), Some(version)) = (self.key_of(attempt), version) else {
                continue;
            };
            let place = (key, &*attempt.dependency);
            writes.entry(place).or_default().push(Write {
                version,
                began: attempt.began,
                ended: attempt.ended,
                certain: attempt.applied == Applied::Yes && !attempt.perhaps_held,
                is_held: attempt.perhaps_held,
            });
        }
        writes
    }

    /// How many versions an outage can have kept from the store: those that were accepted or stored
    /// after it began.
    fn exposed(&self, view: &View<'_>, until: Micros, writes: &Writes<'_>) -> u64 {
        let armed = view.history.faults.iter().map(|span| span.armed).min();
        let since = armed.unwrap_or_default();
        let versions = |window: Window| {
            let own = view.operations_in(&self.load, window).iter();
            let captured = move |one: &Operation| {
                let key = one.captured.get(&self.key)?.clone();
                Some((key, one.captured.get(&self.version)?.clone()))
            };
            own.filter(|one| one.ended <= until && taken_in(view, one))
                .filter_map(captured)
                .collect::<BTreeSet<_>>()
        };
        let before = versions(Window::new(Micros::default(), since));
        let met = versions(Window::new(since, until)).len();
        let stored_late = before.iter().filter(|(key, version)| {
            let fits = |write: &&Write<'_>| write.certain && write.version == version.as_str();
            let own = self.places_of(key, writes);
            let first = own.into_iter().flatten().filter(fits);
            let first = first.map(|write| write.ended).min();
            first.is_some_and(|at| at >= since)
        });
        (met + stored_late.count()) as u64
    }

    fn key_of<'a>(&self, attempt: &'a Attempt) -> Option<&'a str> {
        match &self.stored_key {
            Some(name) => attempt.captured.get(name).map(String::as_str),
            None => Some(&attempt.key),
        }
    }

    /// The writes of a key, place by place: under its name in the store, whatever bucket or path is
    /// before it.
    fn places_of<'b, 'a>(&self, key: &str, writes: &'b Writes<'a>) -> Vec<&'b Vec<Write<'a>>> {
        let name = self.object.replace("{key}", key);
        let behind = format!("/{name}");
        let own = |exact: bool| {
            let fits = |stored: &str| match exact {
                true => stored == name,
                false => stored.ends_with(&behind),
            };
            let all = writes.iter();
            all.filter(|((stored, _), _)| fits(stored))
                .map(|(_, list)| list)
                .collect::<Vec<_>>()
        };
        let places = own(true);
        match places.is_empty() {
            true => own(false),
            false => places,
        }
    }

    /// What became of a key. Several objects of its name, or the same one in several stores, must
    /// agree.
    fn fate_of(&self, key: &str, accepted: &str, writes: &Writes<'_>) -> Fate {
        let places = self.places_of(key, writes).into_iter();
        let mut fates: Vec<Fate> = places.map(|list| fate(accepted, list)).collect();
        // What is certain of one is so whatever another holds.
        let regressed = |one: &Fate| matches!(one, Fate::Regressed(..));
        if let Some(first) = fates.iter().position(regressed) {
            return fates.swap_remove(first);
        }
        let places = fates.len();
        let good = |fate: &Fate| matches!(fate, Fate::Converged(_));
        let converged = fates.iter().filter(|fate| good(fate)).count();
        if converged > 0 && converged < places {
            return Fate::Unknown(format!(
                "{places} objects are called so, of which {converged} hold version {accepted}"
            ));
        }
        let latest = |fate: &Fate| match fate {
            Fate::Converged(at) => *at,
            Fate::Unknown(_) => Micros(1),
            Fate::Regressed(..) | Fate::Stale(_) => Micros::default(),
        };
        let fates = fates.into_iter();
        let worst = fates.max_by_key(latest);
        worst.unwrap_or_else(|| fate(accepted, &[]))
    }
}

impl Expectation for Converged {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let Some(since) = view.recovery_began() else {
            return Judgement::new(view.window(), 0, "nothing")
                .inconclusive("recovery never began");
        };
        let end = view.history.over();
        let until = self
            .within
            .map_or(view.history.end, |within| since + within);
        let over = match self.within {
            Some(_) => end >= until,
            None => view.history.completed(),
        };
        let accepted = self.accepted(view, since);
        let writes = self.writes(view);
        let mut converged = 0u64;
        let mut slowest = Micros::default();
        let mut judgement = Judgement::new(Window::new(since, end), accepted.len() as u64, "");
        for (key, (version, at)) in &accepted {
            let (what, moment, proven) = match self.fate_of(key, version, &writes) {
                Fate::Converged(when) if when <= until => {
                    converged += 1;
                    slowest = slowest.max(when);
                    continue;
                }
                Fate::Converged(when) => {
                    let late = format_duration(when.since(since));
                    (
                        format!("stored only {late} after the last fault"),
                        when,
                        true,
                    )
                }
                Fate::Regressed(when, what) => (what, when, true),
                // What is not stored yet may still come.
                Fate::Stale(what) => (what, *at, over),
                Fate::Unknown(what) => (what, *at, false),
            };
            let evidence = [(moment, format!("{key}: {what}"))];
            judgement = if proven {
                judgement.fail("not every key holds its newest version")
            } else {
                judgement.inconclusive("of some keys nobody knows which version they hold")
            }
            .with(evidence);
        }
        judgement.measured = format!(
            "{converged} of {} keys, the last {} after the last fault",
            accepted.len(),
            format_duration(slowest.since(since))
        );
        if accepted.is_empty() {
            judgement.measured = "no keys".to_owned();
            return judgement.inconclusive(format!(
                "load `{}` had no version accepted before the last fault was lifted",
                self.load
            ));
        }
        let exposed = self.exposed(view, since, &writes);
        if exposed < SAMPLES_MIN {
            return judgement.inconclusive(format!(
                "{exposed} versions were accepted or stored after the first fault came into force, at least {SAMPLES_MIN} are needed"
            ));
        }
        judgement
    }

    fn hangs_on_time(&self) -> bool {
        false
    }

    fn required(&self) -> String {
        let within = self.within.map_or(String::new(), |within| {
            format!(" within {} of the last fault", format_duration(within))
        });
        format!(
            "`{}` holds the newest version of every key that `{}` had accepted{within}",
            self.on, self.load
        )
    }

    fn scope(&self) -> Scope {
        Scope::Recovery
    }

    fn loads(&self) -> Vec<Name> {
        vec![self.load.clone()]
    }

    fn needs_running(&self, _instance: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use super::newer;
    use crate::{
        expectation::Status,
        history::sample::{AttemptBuilder, Story, attempt},
        protocol::Applied,
    };

    const EXPECT: &str = "kind = \"converged\"\nload = \"train\"\non = \"s3\"\nkey = \"bot\"\nversion = \"version\"\nobject = \"bots/{key}.json\"\nstored_version = \"version\"\nwithin = \"20s\"";

    fn put(began: u64, bot: &str, version: &str) -> AttemptBuilder {
        attempt("s3", began, began + 50)
            .sdk(&format!("{began}"), 1)
            .key(&format!("models/bots/{bot}.json"))
            .captured("version", version)
    }

    fn story(puts: impl IntoIterator<Item = AttemptBuilder>) -> Story {
        Story::new()
            .healthy(0..60)
            .accepted(5_000, "7", "9")
            .accepted(14_000, "7", "9.5")
            .accepted(15_000, "7", "10")
            .accepted(16_000, "8", "11")
            .attempts(puts)
    }

    #[test]
    fn it_passes_when_every_key_gets_its_newest_version_in_time() {
        let verdict = check(
            EXPECT,
            &story([
                put(5_100, "7", "9"),
                put(45_000, "7", "10"),
                put(31_000, "8", "12"),
            ]),
        );
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "2 of 2 keys, the last 15.05s after the last fault"
        );
    }

    #[test]
    fn what_was_accepted_and_stored_before_the_outage_shows_nothing_of_it() {
        let judged = |accepted: &[(u64, &str)], stored: u64| {
            let story = Story::new().healthy(0..60);
            let story = accepted.iter().fold(story, |story, (at, version)| {
                story.accepted(*at, "7", version)
            });
            let puts = (1u64..).zip(accepted);
            let puts = puts.map(|(nth, (_, version))| put(stored + nth * 100, "7", version));
            check(EXPECT, &story.attempts(puts))
        };
        let before = [(5_000, "1"), (5_100, "2"), (5_200, "3"), (5_300, "4")];
        let verdict = judged(&before, 5_400);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert_eq!(
            verdict.measured,
            "1 of 1 keys, the last 0s after the last fault"
        );
        assert!(verdict.reason.unwrap().starts_with("0 versions were"));
        // Accepted before it, and stored only while it lasted, or later.
        assert_eq!(judged(&before, 12_000).status, Status::Pass);
        assert_eq!(judged(&before, 55_000).status, Status::Fail);
        // Accepted while it lasted.
        let meanwhile = [(5_000, "1"), (15_000, "2"), (16_000, "3")];
        assert_eq!(judged(&meanwhile, 31_000).status, Status::Pass);
        assert_eq!(judged(&meanwhile[1..], 31_000).status, Status::Inconclusive);
    }

    #[test]
    fn a_statement_that_changed_no_row_wrote_nothing() {
        let stored = |rows: u64| {
            check(
                EXPECT,
                &story([put(31_000, "8", "11"), put(31_000, "7", "10").rows(rows)]),
            )
        };
        assert_eq!(stored(1).status, Status::Pass);
        assert_eq!(stored(0).status, Status::Fail);
        // A guard: an older version that comes late finds a newer one.
        let guarded = |rows: u64| {
            check(
                EXPECT,
                &story([
                    put(31_000, "8", "11"),
                    put(31_000, "7", "10").rows(1),
                    put(32_000, "7", "9").rows(rows),
                ]),
            )
        };
        assert_eq!(guarded(0).status, Status::Pass);
        assert_eq!(guarded(1).status, Status::Fail);
    }

    #[test]
    fn a_row_that_was_as_it_was_to_be_leaves_it_open_whether_the_version_is_there() {
        let judged = |puts: Vec<AttemptBuilder>| {
            let eight = put(31_000, "8", "11");
            check(EXPECT, &story([eight].into_iter().chain(puts))).status
        };
        let held = |at, version| put(at, "7", version).perhaps_held();
        assert_eq!(judged(vec![held(31_000, "10")]), Status::Inconclusive);
        assert_eq!(judged(vec![held(31_000, "9")]), Status::Fail);
        // That it is there is as good as that it was written.
        let there = |at, version| put(at, "7", version).held();
        assert_eq!(judged(vec![there(31_000, "10")]), Status::Pass);
        assert_eq!(judged(vec![there(31_000, "9")]), Status::Fail);
        // It writes over nothing.
        let first = put(31_000, "7", "10");
        assert_eq!(judged(vec![first, held(32_000, "9")]), Status::Pass);
    }

    #[test]
    fn objects_of_one_name_that_disagree_leave_it_open() {
        let one = |version| put(31_000, "7", version).key("models/bots/7.json");
        let other = |version| put(32_000, "7", version).key("drafts/bots/7.json");
        let both = |first, second| {
            let eight = put(31_000, "8", "12");
            check(EXPECT, &story([one(first), other(second), eight])).status
        };
        assert_eq!(both("10", "10"), Status::Pass);
        assert_eq!(both("10", "9"), Status::Inconclusive);
        assert_eq!(both("9", "9"), Status::Fail);
    }

    #[test]
    fn an_older_version_over_a_newer_one_fails_whatever_another_store_holds() {
        let judged = |second: &[AttemptBuilder]| {
            let put = |at, version| put(at, "7", version).key("models/bots/7.json");
            let first = [put(31_000, "10"), put(32_000, "9"), put(33_000, "10")];
            let eight = super::tests::put(31_000, "8", "11");
            let all = first.into_iter().chain(second.iter().cloned());
            check(EXPECT, &story(all.chain([eight])))
        };
        let other = |at, version| put(at, "7", version).key("drafts/bots/7.json");
        for second in [
            &[other(31_000, "10")][..],
            &[other(31_000, "10").applied(Applied::Unknown)],
            &[other(31_000, "9")],
            &[],
        ] {
            let verdict = judged(second);
            assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
            assert_eq!(verdict.evidence[0].what, "7: version 9 was written over 10");
        }
    }

    #[test]
    fn a_key_left_stale_or_repaired_too_late_fails() {
        let verdict = check(
            EXPECT,
            &story([put(5_100, "7", "9"), put(31_000, "8", "11")]),
        );
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "7: version 10 was accepted, 9 is stored"
        );
        let verdict = check(
            EXPECT,
            &story([put(51_000, "7", "10"), put(31_000, "8", "11")]),
        );
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "7: stored only 21.05s after the last fault"
        );
    }

    #[test]
    fn a_version_that_was_taken_in_counts_though_it_was_never_seen_again() {
        let story = story([put(5_100, "7", "10"), put(31_000, "8", "11")])
            .accepted(17_000, "7", "12")
            .never_read_back();
        let verdict = check(EXPECT, &story);
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(
            verdict.evidence[0].what,
            "7: version 12 was accepted, 10 is stored"
        );
    }

    #[test]
    fn an_older_version_over_a_newer_one_fails_even_when_it_is_mended() {
        let verdict = check(
            EXPECT,
            &story([
                put(31_000, "7", "10"),
                put(32_000, "7", "9"),
                put(33_000, "7", "10"),
                put(31_000, "8", "11"),
            ]),
        );
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence[0].what, "7: version 9 was written over 10");
    }

    #[test]
    fn a_write_that_may_have_been_carried_out_leaves_it_open() {
        let unknown = put(31_000, "7", "10").applied(Applied::Unknown);
        let verdict = check(EXPECT, &story([unknown, put(31_000, "8", "11")]));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let rival = [
            put(31_000, "7", "10"),
            put(31_010, "7", "9"),
            put(31_000, "8", "11"),
        ];
        assert_eq!(check(EXPECT, &story(rival)).status, Status::Inconclusive);
    }

    #[test]
    fn a_run_that_ends_before_the_time_is_over_cannot_tell() {
        let early = story([put(31_000, "8", "11")]).ends(40, Some("completed"));
        assert_eq!(check(EXPECT, &early).status, Status::Inconclusive);
    }

    #[test]
    fn without_a_time_of_its_own_it_has_the_rest_of_the_run() {
        let expect = EXPECT.replace("within = \"20s\"", "");
        let stale = || story([put(31_000, "8", "11")]);
        assert_eq!(check(&expect, &stale()).status, Status::Fail);
        let cut = stale().ends(50, Some("interrupted"));
        assert_eq!(check(&expect, &cut).status, Status::Inconclusive);
    }

    #[test]
    fn without_an_accepted_version_nothing_can_be_told() {
        let story = Story::new().healthy(0..60);
        assert_eq!(check(EXPECT, &story).status, Status::Inconclusive);
    }

    #[test]
    fn versions_are_compared_as_numbers_where_they_are_numbers() {
        for (older, later) in [
            ("9", "10"),
            ("1.5", "2"),
            ("1708961234567890123", "1708961234567890124"),
            ("2017-02-28", "2017-03-01"),
        ] {
            assert!(newer(later, older).is_gt(), "{older} {later}");
        }
    }

    #[test]
    fn an_object_without_the_key_is_a_problem() {
        let wrong = EXPECT.replace("bots/{key}.json", "bots.json");
        assert_eq!(
            problems(&wrong),
            ["`object` has no `{key}`, so every key would be the same object"]
        );
    }
}
