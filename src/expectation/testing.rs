//! Judges a sample story by an `[[expect]]` table.

use super::{Expectation, Names, Verdict, judge};
use crate::{
    history::sample::{self, Story},
    input::{Fields, Problems, Source},
    protocol::Protocol,
    scenario::{Expect, Scenario, System},
};
use toml::de::{DeTable, DeValue};

/// The names of the sample's system.
pub fn names() -> Names<'static> {
    Names {
        loads: vec!["ask", "train"],
        phases: vec!["steady", "outage", "recovery"],
        dependencies: vec![
            ("s3", Some("object-store"), Protocol::S3),
            ("backup", None, Protocol::S3),
            ("pager", Some("alerts"), Protocol::Http),
            ("queue", None, Protocol::Tcp),
            ("realtime", None, Protocol::Pusher),
        ],
        instances: vec!["primary", "standby"],
        captures: vec![
            ("ask", vec![]),
            ("train", vec!["bot", "version"]),
            ("s3", vec!["bot", "version"]),
        ],
        ledgers: vec!["work", "listed"],
    }
}

/// Reads the keys of an expectation; `text` may have the common ones too.
pub fn parse(text: &str, problems: &mut Problems) -> Option<(&'static str, Box<dyn Expectation>)> {
    parse_with(text, &names(), problems)
}

/// The same where a system has these names.
pub fn parse_with(
    text: &str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<(&'static str, Box<dyn Expectation>)> {
    const COMMON: &[crate::input::Key] = &[
        crate::input::Key::optional("id", crate::input::Shape::Text, ""),
        crate::input::Key::optional("that", crate::input::Shape::Text, ""),
        crate::input::Key::optional("kind", crate::input::Shape::Text, ""),
        crate::input::Key::optional("during", crate::input::Shape::TextOrTexts, ""),
    ];
    let source = Source::new("sample.toml", text);
    let table = DeTable::parse(text).expect("TOML").into_inner();
    let table = match table.get("expect").map(|value| value.get_ref()) {
        Some(DeValue::Array(list)) => match list[0].get_ref() {
            DeValue::Table(table) => table,
            _ => panic!("`expect` is no table"),
        },
        _ => &table,
    };
    let common = Fields::new(
        table,
        0..0,
        &source,
        "expectation",
        COMMON,
        &[],
        &mut Problems::default(),
    );
    let kind = common.text("kind", problems).expect("a kind").value;
    let def = super::find(&kind).expect("a known kind");
    let fields = Fields::new(
        table,
        0..0,
        &source,
        "expectation",
        COMMON,
        &[def.keys],
        problems,
    );
    let expectation = (def.parse)(&fields.also(def.keys), names, problems)?;
    Some((def.name, expectation))
}

/// The problems of a table, as messages.
pub fn problems(text: &str) -> Vec<String> {
    let mut problems = Problems::default();
    let parsed = parse(text, &mut problems);
    assert_eq!(parsed.is_none(), problems.any_error(), "{problems:?}");
    let list = problems.as_slice().iter();
    list.map(|problem| problem.message.clone()).collect()
}

/// The verdict of a table on a story, over its default phases.
pub fn check(text: &str, story: &Story) -> Verdict {
    check_during(text, story, Vec::new())
}

/// The verdict of a table on a story, over these phases.
pub fn check_during(text: &str, story: &Story, during: Vec<usize>) -> Verdict {
    let mut problems = Problems::default();
    let parsed = parse(text, &mut problems);
    assert!(!problems.any_error(), "{problems:?}");
    let (kind, expectation) = parsed.expect("it parses");
    judge_by(kind, expectation, story, during)
}

/// The verdict of a table on a story of this system.
pub fn check_of(text: &str, story: &Story, system: &System) -> Verdict {
    let mut problems = Problems::default();
    let mut names = names();
    for (name, _, protocol) in &mut names.dependencies {
        let mut own = system.dependencies.iter();
        if let Some(own) = own.find(|one| *one.name == **name) {
            *protocol = own.protocol;
        }
    }
    let (kind, expectation) = parse_with(text, &names, &mut problems).expect("it parses");
    judge_of(kind, expectation, story, Vec::new(), system)
}

/// The verdict of a table on a story whose fault is this one, put on `s3`, over these phases.
pub fn check_under(fault: &str, text: &str, story: &Story, during: Vec<usize>) -> Verdict {
    let (_, behaviour) = crate::fault::sample::read(fault, Protocol::S3).expect("a fault");
    let mut scenario = sample::scenario();
    scenario.phases[1].faults[0].behaviours = vec![behaviour];
    let (kind, expectation) = parse(text, &mut Problems::default()).expect("it parses");
    judge_in(
        scenario,
        kind,
        expectation,
        story,
        during,
        &sample::system(),
    )
}

/// The verdict of an expectation made elsewhere.
pub fn judge_by(
    kind: &'static str,
    expectation: Box<dyn Expectation>,
    story: &Story,
    during: Vec<usize>,
) -> Verdict {
    judge_of(kind, expectation, story, during, &sample::system())
}

fn judge_of(
    kind: &'static str,
    expectation: Box<dyn Expectation>,
    story: &Story,
    during: Vec<usize>,
    system: &System,
) -> Verdict {
    judge_in(sample::scenario(), kind, expectation, story, during, system)
}

fn judge_in(
    mut scenario: Scenario,
    kind: &'static str,
    expectation: Box<dyn Expectation>,
    story: &Story,
    during: Vec<usize>,
    system: &System,
) -> Verdict {
    scenario.expects.push(Expect {
        id: "X".into(),
        that: "it holds".to_owned(),
        kind,
        expectation,
        during,
        span: 0..0,
        extent: 0..0,
    });
    judge(&story.history(), &scenario, system).remove(0)
}
