//! Keys of expectations about operations: whose of them are meant, by what their load captures.
//!
//! `hit` and `spared` tell apart whom a fault with a share by key happened to hit. Nothing on the
//! wire says which operation a request to a dependency belongs to; but such a fault hits all
//! requests for a key or none, so that whoever is about a key that it hit was hit. The load and the
//! dependency capture that key under one name. A share of requests or connections hits one request for
//! a thing and not the next, and whose that was nobody knows: of it these keys say nothing.

use super::{Judgement, Names, Status, names};
use crate::{
    fault::{By, FaultId},
    history::{Attempt, Selection, View},
    input::{Fields, Item, Key, Problems, Shape},
    scenario::FaultSpec,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Key of expectations about operations.
pub const WHERE: Key = Key::optional(
    "where",
    Shape::TextMap,
    "only operations whose captured values are these, with `*`: { tenant = \"bank\" }",
);

/// Key of expectations about operations.
pub const EXCEPT: Key = Key::optional(
    "except",
    Shape::TextMap,
    "all operations but those whose captured values are these, with `*`: { tenant = \"retailer\" }",
);

/// Key of expectations about operations.
pub const HIT: Key = Key::optional(
    "hit",
    Shape::Text,
    "only operations that a fault with a share by key hit: the capture, of the load and of the dependency, that is the key",
);

/// Key of expectations about operations.
pub const SPARED: Key = Key::optional(
    "spared",
    Shape::Text,
    "all operations but those that a fault with a share by key hit: the capture, of the load and of the dependency, that is the key",
);

/// Whose operations are meant.
#[derive(Debug, Clone, Default)]
pub struct Whose {
    selection: Arc<Selection>,
    /// The capture by which it is known who was hit, and whether these are meant, or the others.
    hit: Option<(String, bool)>,
}

/// The values that were hit, by what a share by key acted on.
#[derive(Debug, Default)]
struct Hit {
    /// Of a capture.
    values: BTreeSet<String>,
    /// Why it is not certain who was hit.
    doubt: Option<String>,
}

impl Whose {
    /// Reads [`WHERE`] and [`EXCEPT`]; every load must capture what they name.
    pub fn read(
        fields: &Fields<'_>,
        loads: &[&str],
        names: &Names<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut read = |key| pairs(fields, key, loads, names, problems);
        let (only, except) = (read("where"), read("except"));
        let hit = hit(fields, loads, names, problems);
        Some(Self {
            selection: Arc::new(Selection {
                only: only?,
                except: except?,
                ..Selection::default()
            }),
            hit: hit?,
        })
    }

    /// The history with nobody else's operations.
    pub fn of<'a>(&self, view: &View<'a>) -> View<'a> {
        view.only(&self.selection_of(view))
    }

    fn selection_of(&self, view: &View<'_>) -> Arc<Selection> {
        let Some((capture, is_hit)) = &self.hit else {
            return Arc::clone(&self.selection);
        };
        let set = Some((capture.clone(), who_was_hit(view, capture).values));
        let mut selection = Selection::clone(&self.selection);
        match is_hit {
            true => selection.among = set,
            false => selection.apart = set,
        }
        Arc::new(selection)
    }

    /// In words: ` where tenant is bank`, or nothing.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (word, pairs) in [
            (" where", &self.selection.only),
            (" except where", &self.selection.except),
        ] {
            let parts: Vec<String> = pairs
                .iter()
                .map(|(name, pattern)| format!("{name} is {pattern}"))
                .collect();
            if !parts.is_empty() {
                text.push_str(&format!("{word} {}", parts.join(" and ")));
            }
        }
        match &self.hit {
            Some((capture, true)) => text.push_str(&format!(" whose {capture} was hit")),
            Some((capture, false)) => text.push_str(&format!(" whose {capture} was not hit")),
            None => {}
        }
        text
    }

    /// A pass is none while there are operations of which nobody knows whose they are. `view` is
    /// that of everybody.
    pub fn weigh(&self, view: &View<'_>, load: &str, judgement: Judgement) -> Judgement {
        let selection = self.selection_of(view);
        if selection.is_all() {
            return judgement;
        }
        let judgement = match &self.hit {
            Some((capture, _)) => match doubt(view, capture, load) {
                // Not even a failure stands: those who failed may be the others.
                Some(doubt) => Judgement {
                    status: Status::Pass,
                    reason: None,
                    ..judgement
                }
                .inconclusive(doubt),
                None => judgement,
            },
            None => judgement,
        };
        let operations = view.operations(load);
        let nobodys = |one: &&&_| !selection.knows(one);
        match operations.iter().filter(nobodys).count() {
            0 => judgement,
            count => judgement.inconclusive(format!(
                "of {count} operations of load `{load}` nobody knows whose they were: capture what `where`, `except`, `hit` and `spared` name from the request, by `var:` or `header:`"
            )),
        }
    }
}

/// What the faults of the judged phases that have a share by key hit, by a capture of the requests.
fn who_was_hit(view: &View<'_>, capture: &str) -> Hit {
    let by_key = |fault: &FaultSpec| fault.gate.share.is_some() && fault.gate.by == Some(By::Key);
    let faults = view.faults();
    let faults: Vec<FaultId> = faults
        .iter()
        .filter(|(_, fault)| by_key(fault))
        .map(|(_, fault)| fault.id)
        .collect();
    let mut hit = Hit::default();
    if faults.is_empty() {
        hit.doubt = Some("no fault of these phases has a share by key".to_owned());
        return hit;
    }
    let attempts = || {
        let names = view.system.dependencies.iter();
        names.flat_map(|one| view.history.attempts_of(&one.name))
    };
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for attempt in attempts().filter(|one| one.faults.iter().any(|id| faults.contains(id))) {
        match attempt.captured.get(capture) {
            Some(value) => {
                keys.entry(value).or_default().insert(&attempt.key);
            }
            None => {
                hit.doubt = Some(format!(
                    "a request that was hit has no `{capture}`, and nobody knows whom it concerned"
                ));
            }
        }
    }
    let is_other = |one: &&Attempt| {
        let value = one.captured.get(capture);
        let known = value.and_then(|value| keys.get(&**value));
        known.is_some_and(|keys| !keys.contains(&*one.key))
    };
    if let Some(other) = attempts().find(is_other) {
        hit.doubt = Some(format!(
            "`{capture}` is not the key that was hit: {} stands for several",
            other.captured.get(capture).map_or("one", String::as_str)
        ));
    }
    hit.values = keys.into_keys().map(str::to_owned).collect();
    hit
}

/// Why it is not certain whom of a load the faults with a share by key hit.
fn doubt(view: &View<'_>, capture: &str, load: &str) -> Option<String> {
    let hit = who_was_hit(view, capture);
    if hit.doubt.is_some() {
        return hit.doubt;
    }
    let captured = |load: &str| -> BTreeSet<&str> {
        let operations = view.history.operations_of(load).iter();
        let values = operations.filter_map(|one| one.captured.get(capture));
        values.map(String::as_str).collect()
    };
    let loads = view.system.loads.iter();
    let known: BTreeSet<&str> = loads.flat_map(|load| captured(&load.name)).collect();
    if let Some(unknown) = hit
        .values
        .iter()
        .find(|value| !known.contains(value.as_str()))
    {
        return Some(format!(
            "`{capture}` {unknown} was hit, and no operation of any load has it: capture it everywhere, and written as the dependency captures it"
        ));
    }
    let own = captured(load);
    let is_own = |one: &Attempt| {
        let value = one.captured.get(capture);
        value.is_some_and(|value| own.contains(value.as_str()))
    };
    let mut dependencies = view.system.dependencies.iter();
    let is_seen = dependencies.any(|one| view.history.attempts_of(&one.name).iter().any(is_own));
    (!hit.values.is_empty() && !own.is_empty() && !is_seen).then(|| {
        format!(
            "no `{capture}` of load `{load}` was ever seen at a dependency: the two may write it differently"
        )
    })
}

/// The capture of `hit` or `spared`, and which of the two it was; `None` where something is wrong.
fn hit(
    fields: &Fields<'_>,
    loads: &[&str],
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Option<(String, bool)>> {
    let key = match (fields.has("hit"), fields.has("spared")) {
        (false, false) => return Some(None),
        (true, true) => {
            let message = "whoever was hit was not spared: nobody would be meant";
            fields.problem(
                problems,
                "spared",
                message,
                "keep one of the two".to_owned(),
            );
            return None;
        }
        (is_hit, _) => {
            if is_hit {
                "hit"
            } else {
                "spared"
            }
        }
    };
    let before = problems.as_slice().len();
    let named = fields.text(key, problems)?;
    for load in loads {
        names::is_captured(fields, &named, load, names, problems);
    }
    let is_dependency = |owner: &str| names.dependencies.iter().any(|(name, ..)| *name == owner);
    let mut owners = names.captures.iter();
    if !owners.any(|(owner, all)| is_dependency(owner) && all.contains(&&*named.value)) {
        let message = format!("no dependency captures `{}`", named.value);
        let hint = "capture the key under the same name at the dependency that is hit".to_owned();
        fields.problem(problems, key, message, hint);
    }
    (problems.as_slice().len() == before).then_some(Some((named.value, key == "hit")))
}

/// The captures and patterns of a key; `None` where something is wrong with them.
fn pairs(
    fields: &Fields<'_>,
    key: &'static str,
    loads: &[&str],
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Vec<(String, String)>> {
    if !fields.has(key) {
        return Some(Vec::new());
    }
    let before = problems.as_slice().len();
    let texts = fields.text_map(key, problems)?;
    if texts.is_empty() && problems.as_slice().len() == before {
        let hint = format!("name a capture of the load: `{key} = {{ tenant = \"bank\" }}`");
        fields.problem(problems, key, format!("`{key}` names nothing"), hint);
    }
    for (name, pattern) in &texts {
        let named = Item {
            value: name.clone(),
            span: pattern.span.clone(),
        };
        for load in loads {
            names::is_captured(fields, &named, load, names, problems);
        }
    }
    let pairs = texts
        .into_iter()
        .map(|(name, pattern)| (name, pattern.value));
    (problems.as_slice().len() == before).then(|| pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::super::{
        judge,
        testing::{self, check, problems},
    };
    use crate::{
        expectation::{Status, Verdict},
        fault::By,
        history::{
            Observation, Outcome,
            sample::{self, Story, attempt},
        },
        input::Problems,
        scenario::Expect,
    };

    /// `train` by three bots, of which only `1` meets the outage: 20 a second each.
    fn story(others: Outcome, millis: u64) -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        let story = story
            .load("train", 0..10, 20, Outcome::Ok, 20)
            .by("bot", "1")
            .load("train", 10..30, 20, Outcome::Failed, 20)
            .by("bot", "1");
        let story = story
            .load("train", 0..20, 20, Outcome::Ok, 20)
            .by("bot", "2")
            .load("train", 20..30, 20, others, millis)
            .by("bot", "2");
        story
            .load("train", 0..30, 20, Outcome::Ok, 20)
            .by("bot", "31")
    }

    const KINDS: [&str; 3] = [
        "kind = \"success-rate\"\nload = \"train\"\nat_least = \"99%\"",
        "kind = \"latency\"\nload = \"train\"\nbelow = \"100ms\"",
        "kind = \"isolation\"\nload = \"train\"",
    ];

    #[track_caller]
    fn is(text: &str, story: &Story, status: Status) {
        let verdict = check(text, story);
        assert_eq!(verdict.status, status, "{text}: {verdict:?}");
    }

    #[test]
    fn who_is_left_out_may_fail_and_all_others_may_not() {
        let (unharmed, failing) = (story(Outcome::Ok, 20), story(Outcome::Failed, 20));
        let slow = story(Outcome::Ok, 200);
        for kind in KINDS {
            let others = format!("{kind}\nexcept = {{ bot = \"1\" }}");
            is(&others, &unharmed, Status::Pass);
            is(
                &others,
                &slow,
                if kind == KINDS[0] {
                    Status::Pass
                } else {
                    Status::Fail
                },
            );
            let theirs = format!("{kind}\nwhere = {{ bot = \"2\" }}");
            is(&theirs, &unharmed, Status::Pass);
            is(
                &theirs,
                &slow,
                if kind == KINDS[0] {
                    Status::Pass
                } else {
                    Status::Fail
                },
            );
            is(
                &format!("{kind}\nwhere = {{ bot = \"3*\" }}"),
                &failing,
                Status::Pass,
            );
        }
        for kind in [KINDS[0], KINDS[2]] {
            is(kind, &unharmed, Status::Fail);
            is(
                &format!("{kind}\nexcept = {{ bot = \"1\" }}"),
                &failing,
                Status::Fail,
            );
            is(
                &format!("{kind}\nwhere = {{ bot = \"1\" }}"),
                &unharmed,
                Status::Fail,
            );
        }
        let both = format!(
            "{}\nwhere = {{ bot = \"*\" }}\nexcept = {{ bot = \"*1\" }}",
            KINDS[0]
        );
        let verdict = check(&both, &unharmed);
        assert_eq!((verdict.status, verdict.count), (Status::Pass, 400));
        assert_eq!(
            verdict.required,
            "at least 99% of `train` where bot is * except where bot is *1 answered"
        );
    }

    #[test]
    fn where_nobody_is_meant_nothing_is_shown() {
        for kind in KINDS {
            let nobody = format!("{kind}\nwhere = {{ bot = \"7\" }}");
            is(&nobody, &story(Outcome::Ok, 20), Status::Inconclusive);
        }
    }

    #[test]
    fn operations_of_which_nobody_knows_whose_they_are_take_a_pass_and_leave_a_failure() {
        let unknown = |story: Story| story.load("train", 25..26, 2, Outcome::Indeterminate, 5_000);
        for kind in KINDS {
            let others = format!("{kind}\nexcept = {{ bot = \"1\" }}");
            let verdict = check(&others, &unknown(story(Outcome::Ok, 20)));
            assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
            let reason = verdict.reason.expect("there is one");
            assert!(reason.contains("of 2 operations"), "{reason}");
        }
        let others = format!("{}\nexcept = {{ bot = \"1\" }}", KINDS[0]);
        is(&others, &unknown(story(Outcome::Failed, 20)), Status::Fail);
    }

    #[test]
    fn a_fallback_of_one_tenant_can_be_asked_for() {
        let story = Story::new()
            .load("ask", 0..60, 20, Outcome::Ok, 20)
            .load("train", 0..10, 20, Outcome::Ok, 20)
            .by("bot", "1")
            .load("train", 10..30, 20, Outcome::Degraded, 20)
            .by("bot", "1")
            .load("train", 10..30, 20, Outcome::Ok, 20)
            .by("bot", "2");
        let kind = "kind = \"fallback\"\nload = \"train\"\nat_least = \"90%\"";
        is(
            &format!("{kind}\nwhere = {{ bot = \"1\" }}"),
            &story,
            Status::Pass,
        );
        is(
            &format!("{kind}\nwhere = {{ bot = \"2\" }}"),
            &story,
            Status::Fail,
        );
        is(kind, &story, Status::Fail);
    }

    /// Bots 1 and 2 of twenty a second each; in the outage the fault hits requests for the key of
    /// bot 1, and whoever is named fails.
    fn partial(failing: &[&str]) -> Story {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        ["1", "2"].into_iter().fold(story, |story, bot| {
            let fails = failing.contains(&bot);
            let outcome = if fails { Outcome::Failed } else { Outcome::Ok };
            let story = story
                .load("train", 0..10, 20, Outcome::Ok, 20)
                .by("bot", bot)
                .load("train", 10..30, 20, outcome, 20)
                .by("bot", bot);
            (0..60).fold(story, |story, nth| {
                let began = nth * 500;
                let request = attempt("s3", began, began + 10)
                    .key(bot)
                    .captured("bot", bot);
                let is_hit = bot == "1" && (10_000..30_000).contains(&began);
                story.attempt(if is_hit { request.hit() } else { request })
            })
        })
    }

    /// Judged where the outage's fault is a share of these.
    fn judged(text: &str, story: &Story, by: Option<By>) -> Verdict {
        let mut scenario = sample::scenario();
        let gate = &mut scenario.phases[1].faults[0].gate;
        gate.share = Some("50%".parse().expect("a share"));
        gate.by = by;
        let mut found = Problems::default();
        let (kind, expectation) = testing::parse(text, &mut found).expect("it parses");
        scenario.expects.push(Expect {
            id: "X".into(),
            that: String::new(),
            kind,
            expectation,
            during: vec![1],
            span: 0..0,
            extent: 0..0,
        });
        judge(&story.history(), &scenario, &sample::system()).remove(0)
    }

    #[test]
    fn whom_a_share_by_key_hit_may_fail_and_all_others_may_not() {
        for (failing, hit, spared) in [
            (&[][..], Status::Pass, Status::Pass),
            (&["1"], Status::Fail, Status::Pass),
            (&["2"], Status::Pass, Status::Fail),
            (&["1", "2"], Status::Fail, Status::Fail),
        ] {
            for (key, status) in [("hit", hit), ("spared", spared)] {
                let text = format!("{}\n{key} = \"bot\"", KINDS[0]);
                let verdict = judged(&text, &partial(failing), Some(By::Key));
                assert_eq!(verdict.status, status, "{key}, {failing:?}: {verdict:?}");
                assert_eq!(verdict.count, 400);
            }
        }
    }

    #[test]
    fn where_it_is_not_certain_who_was_hit_nothing_is_said_of_them() {
        let text = |key| format!("{}\n{key} = \"bot\"", KINDS[0]);
        let inconclusive = |story: &Story, by: Option<By>, why: &str| {
            for key in ["hit", "spared"] {
                let verdict = judged(&text(key), story, by.clone());
                assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
                let reason = verdict.reason.expect("there is one");
                assert!(reason.contains(why), "{reason}");
            }
        };
        for failing in [&[][..], &["1", "2"]] {
            let story = partial(failing);
            inconclusive(&story, Some(By::Request), "no fault of these phases");
            inconclusive(&story, None, "no fault of these phases");
            let nobodys = attempt("s3", 15_000, 15_010).key("3").hit();
            let story = story.attempt(nobodys);
            inconclusive(&story, Some(By::Key), "nobody knows whom it concerned");
            let other = attempt("s3", 16_000, 16_010).key("4").captured("bot", "1");
            let story = partial(failing).attempt(other);
            inconclusive(&story, Some(By::Key), "1 stands for several");
        }
    }

    #[test]
    fn where_load_and_dependency_write_the_key_differently_nothing_is_said() {
        let text = |key| format!("{}\n{key} = \"bot\"", KINDS[0]);
        let as_the_load_writes = |write: fn(&str) -> String, failing| {
            let mut story = partial(failing);
            for observation in &mut story.observations {
                if let Observation::Operation(one) = observation {
                    one.captured.values_mut().for_each(|id| *id = write(id));
                }
            }
            story
        };
        for failing in [&[][..], &["1"], &["2"]] {
            for key in ["hit", "spared"] {
                let other = as_the_load_writes(|id| format!("bot-{id}"), failing);
                let verdict = judged(&text(key), &other, Some(By::Key));
                assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
                let reason = verdict.reason.expect("there is one");
                let why = "`bot` 1 was hit, and no operation of any load";
                assert!(reason.contains(why), "{key}: {reason}");
            }
        }
        // Another load writes it as the dependency does, and this one does not.
        let mixed = as_the_load_writes(|id| format!("bot-{id}"), &["1"])
            .load("ask", 0..5, 1, Outcome::Ok, 20)
            .by("bot", "1");
        let verdict = judged(&text("spared"), &mixed, Some(By::Key));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.expect("there is one");
        let why = "no `bot` of load `train` was ever seen at a dependency";
        assert!(reason.contains(why), "{reason}");
        // One of the others, whom only another load knows, leaves it certain.
        let story = partial(&["1"])
            .load("ask", 0..5, 1, Outcome::Ok, 20)
            .by("bot", "3")
            .attempt(
                attempt("s3", 15_000, 15_010)
                    .key("3")
                    .captured("bot", "3")
                    .hit(),
            );
        let verdict = judged(&text("spared"), &story, Some(By::Key));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    }

    #[test]
    fn who_does_nothing_has_nobody_hit() {
        let story = Story::new()
            .load("ask", 0..60, 20, Outcome::Ok, 20)
            .load("train", 0..5, 20, Outcome::Ok, 20)
            .by("bot", "2")
            .load("train", 0..10, 20, Outcome::Ok, 20)
            .by("bot", "1")
            .load("train", 10..30, 20, Outcome::Failed, 20)
            .by("bot", "1")
            .attempt(
                attempt("s3", 15_000, 15_010)
                    .key("2")
                    .captured("bot", "2")
                    .hit(),
            );
        let text = |key| format!("{}\n{key} = \"bot\"", KINDS[0]);
        let verdict = judged(&text("spared"), &story, Some(By::Key));
        assert_eq!(verdict.status, Status::Fail);
        let verdict = judged(&text("hit"), &story, Some(By::Key));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn what_no_load_captures_is_a_problem() {
        for kind in KINDS {
            let misspelt = format!("{kind}\nwhere = {{ bott = \"1\" }}");
            assert_eq!(problems(&misspelt), ["`train` captures no `bott`"]);
            let empty = format!("{kind}\nexcept = {{ }}");
            assert_eq!(problems(&empty), ["`except` names nothing"]);
            let number = format!("{kind}\nexcept = {{ bot = 1 }}");
            assert_eq!(problems(&number), ["`except.bot` must be a text in quotes"]);
        }
        let unknown = format!("{}\nhit = \"version\"", KINDS[0]);
        assert_eq!(problems(&unknown), [] as [&str; 0]);
        let nowhere = format!("{}\nspared = \"id\"", KINDS[0]);
        let said = problems(&nowhere);
        assert_eq!(
            said,
            ["`train` captures no `id`", "no dependency captures `id`"]
        );
        let both = format!("{}\nhit = \"bot\"\nspared = \"bot\"", KINDS[0]);
        let said = problems(&both);
        assert_eq!(
            said,
            ["whoever was hit was not spared: nobody would be meant"]
        );
        let several = "kind = \"isolation\"\nload = [\"train\", \"ask\"]\nwhere = { bot = \"1\" }";
        assert_eq!(problems(several), ["`ask` captures no `bot`"]);
        let no_load = "kind = \"fallback\"\non = \"s3\"\ninstead = \"backup\"\nat_least = \"90%\"\nwhere = { bot = \"1\" }";
        assert_eq!(
            problems(no_load),
            [
                "`where`, `except`, `hit` and `spared` pick operations of a load, and there is no `load`"
            ]
        );
    }
}
