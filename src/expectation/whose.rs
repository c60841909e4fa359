//! Keys of expectations about operations: whose of them are meant, by what their load captures.

use super::{Judgement, Names, names};
use crate::{
    history::{Selection, View},
    input::{Fields, Item, Key, Problems, Shape},
};
use std::sync::Arc;

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

/// Whose operations are meant.
#[derive(Debug, Clone, Default)]
pub struct Whose {
    selection: Arc<Selection>,
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
        Some(Self {
            selection: Arc::new(Selection {
                only: only?,
                except: except?,
            }),
        })
    }

    /// The history with nobody else's operations.
    pub fn of<'a>(&self, view: &View<'a>) -> View<'a> {
        view.only(&self.selection)
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
        text
    }

    /// A pass is none while there are operations of which nobody knows whose they are. `view` is
    /// that of everybody.
    pub fn weigh(&self, view: &View<'_>, load: &str, judgement: Judgement) -> Judgement {
        if self.selection.is_all() {
            return judgement;
        }
        let operations = view.operations(load);
        let nobodys = |one: &&&_| !self.selection.knows(one);
        match operations.iter().filter(nobodys).count() {
            0 => judgement,
            count => judgement.inconclusive(format!(
                "of {count} operations of load `{load}` nobody knows whose they were: capture what `where` and `except` name from the request, by `var:` or `header:`"
            )),
        }
    }
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
    use super::super::testing::{check, problems};
    use crate::{
        expectation::Status,
        history::{Outcome, sample::Story},
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
        let several = "kind = \"isolation\"\nload = [\"train\", \"ask\"]\nwhere = { bot = \"1\" }";
        assert_eq!(problems(several), ["`ask` captures no `bot`"]);
        let no_load = "kind = \"fallback\"\non = \"s3\"\ninstead = \"backup\"\nat_least = \"90%\"\nwhere = { bot = \"1\" }";
        assert_eq!(
            problems(no_load),
            ["`where` and `except` pick operations of a load, and there is no `load`"]
        );
    }
}
