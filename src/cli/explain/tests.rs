//! What would prove that explanations can be relied on: every name has one, it fits a terminal,
//! says all keys, and its examples check.

use super::{topics::Example, *};
use crate::{
    input::{Problems, Source, render},
    protocol::Protocol,
    scenario::{from_texts, system_from_text},
};
use std::path::PathBuf;

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn every_name_is_explained_within_eighty_columns() {
    for name in names() {
        let page = plain(&page(&name).expect("a page"));
        assert!(page.starts_with(&format!("{name} (")), "{page}");
        for line in page.lines() {
            // Examples stand as they are written.
            let is_example = line.starts_with("    ") && line.contains('=');
            assert!(
                is_example || line.chars().count() <= WIDTH,
                "{name}: {line}"
            );
            assert_eq!(line, line.trim_end(), "{name}");
        }
    }
}

#[test]
fn every_key_is_explained_with_its_shape() {
    let check = |name: &str, keys: &[Key]| {
        let page = plain(&page(name).expect("a page"));
        let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for key in keys
            .iter()
            .filter(|key| !matches!(key.shape, Shape::Later(_)))
        {
            assert!(
                page.contains(&format!("\n  {}", key.name)),
                "{name}: {}",
                key.name
            );
            let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains(&doc), "{name}: {doc}\n{page}");
        }
    };
    FAULTS.iter().for_each(|def| check(def.name, def.keys));
    EXPECTATIONS
        .iter()
        .for_each(|def| check(def.name, def.keys));
    TOPICS
        .iter()
        .for_each(|topic| check(topic.name, (topic.keys)()));
}

#[test]
fn every_text_says_something_and_leads_to_what_there_is() {
    let names = names();
    let known = |related: &[&str], of: &str| {
        assert!(!related.is_empty(), "{of}");
        for name in related {
            assert!(names.iter().any(|known| known == name), "{of}: {name}");
            assert_ne!(*name, of);
        }
    };
    let abouts = FAULTS.iter().map(|def| (def.name, &def.about));
    let abouts = abouts.chain(EXPECTATIONS.iter().map(|def| (def.name, &def.about)));
    for (name, about) in abouts.chain(PROTOCOLS.iter().map(|def| (def.name, &def.about))) {
        assert!(about.text.len() > 80, "{name}");
        assert!(
            about.evidence.ends_with('.') && about.text.ends_with('.'),
            "{name}"
        );
        assert!(!about.mistakes.is_empty(), "{name}");
        known(about.related, name);
    }
    for def in EXPECTATIONS {
        assert!(def.about.doubt.len() > 30, "{}", def.name);
    }
    for topic in TOPICS {
        assert!(topic.text.ends_with('.'), "{}", topic.name);
        known(topic.related, topic.name);
    }
}

/// A system in which everything is there that examples name.
fn system(protocol: Protocol) -> String {
    format!(
        r#"[system]
url = "http://127.0.0.1:{{port.api}}"

[[system.instance]]
name    = "primary"
command = ["./api"]

[dependency.store]
protocol = "{protocol}"
role     = "ROLE"
upstream = "127.0.0.1:9000"
CAPTURE

[dependency.pager]
protocol = "http"
role     = "alerts"
upstream = "embedded:sink"

[load.ask]
rate    = "40/s"
request = {{ path = "/" }}
timeout = "5s"

[load.train]
rate    = "10/s"
request = {{ method = "POST", path = "/train" }}
timeout = "5s"
capture = {{ id = "json:/id", bot = "json:/bot", version = "json:/version", class = "json:/class" }}

[ledger.work]
accepted  = {{ load = "train", id = "id" }}
delivered = {{ dependency = "pager", id = "json:/id" }}
priority  = "class"
"#
    )
}

/// The problems of a scenario with these tables within its outage and behind it.
fn problems(system: &str, scenario: &str) -> String {
    let mut problems = Problems::default();
    from_texts(
        Source::new("example.toml", scenario),
        Source::new("brownout.toml", system),
        PathBuf::from("."),
        &mut problems,
    );
    // A warning (a probe too thin for a percentage) is no mistake of an example.
    let errors = problems.any_error();
    if errors {
        render(&problems.into_sorted(), false)
    } else {
        String::new()
    }
}

fn scenario(fault: &str, expect: &str) -> String {
    format!(
        "title = \"x\"\nhold = \"5s\"\n\n[[phase]]\nname = \"steady\"\nlasts = \"60s\"\nsteady = true\n\n\
         [[phase]]\nname = \"outage\"\nlasts = \"120s\"\n{fault}\n\
         [[phase]]\nname = \"recovery\"\nlasts = \"until steady, at most 600s\"\n\n{expect}\n"
    )
}

const HANG: &str = "[[phase.fault]]\nkind = \"hang\"\non = \"store\"\n";
const ALIVE: &str = "[[expect]]\nid = \"A\"\nthat = \"it lives\"\nkind = \"alive\"\n";

/// The role that an example names for the store.
fn role(example: &str) -> &'static str {
    let roles = ["realtime", "database"];
    let named = roles
        .into_iter()
        .find(|role| example.contains(&format!("\"{role}\"")));
    named.unwrap_or("object-store")
}

#[test]
fn every_example_of_a_fault_or_an_expectation_checks() {
    for def in FAULTS {
        let system = system(def.example_protocol).replace("ROLE", role(def.example));
        let system = system.replace("CAPTURE", "");
        assert_eq!(
            problems(&system, &scenario(def.example, ALIVE)),
            "",
            "{}",
            def.name
        );
    }
    for def in EXPECTATIONS {
        let role = role(def.example);
        let protocol = if role == "realtime" {
            Protocol::Pusher
        } else {
            Protocol::S3
        };
        let capture = "capture = { version = \"header:x-amz-meta-version\" }";
        let system = system(protocol)
            .replace("ROLE", role)
            .replace("CAPTURE", capture);
        assert_eq!(
            problems(&system, &scenario(HANG, def.example)),
            "",
            "{}",
            def.name
        );
    }
}

#[test]
fn every_example_of_a_protocol_or_a_part_of_a_file_checks() {
    let check = |name: &str, part: &str| {
        let mut text = String::new();
        if !part.contains("[system]") {
            text.push_str("[system]\nexternal = \"http://127.0.0.1:8080\"\n\n");
        }
        text.push_str(part);
        if part.contains("dependency.store") {
            text.push_str("\n[dependency.store]\nprotocol = \"s3\"\nupstream = \"embedded\"\n");
        }
        let mut problems = Problems::default();
        let source = Source::new("brownout.toml", text);
        system_from_text(source, PathBuf::from("."), &mut problems);
        assert_eq!(render(&problems.into_sorted(), false), "", "{name}");
    };
    PROTOCOLS
        .iter()
        .for_each(|def| check(def.name, def.example));
    for topic in TOPICS {
        match topic.example {
            Example::None => {}
            Example::System(part) => check(topic.name, part),
            Example::Scenario(whole) => {
                let system = system(Protocol::S3)
                    .replace("ROLE", "object-store")
                    .replace("CAPTURE", "");
                assert_eq!(problems(&system, whole), "", "{}", topic.name);
            }
        }
    }
}

#[test]
fn a_word_with_two_meanings_is_explained_twice() {
    let page = plain(&page("latency").expect("a page"));
    assert!(page.contains("latency (fault)") && page.contains("latency (expectation)"));
}

#[test]
fn an_unknown_word_is_answered_with_the_nearest() {
    let failure = unknown("latancy");
    let hint = failure.hint.unwrap();
    assert!(hint.starts_with("did you mean `latency`?"), "{hint}");
    let all = plain(&overview());
    for name in names() {
        assert!(all.contains(&name), "{name}");
    }
}

#[test]
fn explanations_read_well() {
    insta::assert_snapshot!("gives_up", plain(&page("gives-up").expect("a page")));
    insta::assert_snapshot!("hang", plain(&page("hang").expect("a page")));
    insta::assert_snapshot!(
        "inconclusive",
        plain(&page("inconclusive").expect("a page"))
    );
    insta::assert_snapshot!("exit_status", plain(&page("exit-status").expect("a page")));
}
