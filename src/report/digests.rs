//! Digests of what the files of a run said, so that two runs can be seen to have been asked for
//! the same without keeping the files.

use super::Digests;
use crate::{history::Run, units::Micros};
use ring::digest::{SHA256, digest};
use std::{collections::BTreeMap, time::Duration};

/// How many bytes of a digest are kept: enough to tell files apart that nobody made alike on
/// purpose.
const BYTES: usize = 8;

/// The digests of a run's files; `None` where it does not hold their texts.
pub fn digests(run: &Run, hold: Duration) -> Option<Digests> {
    let ((_, scenario), (_, system)) = (&run.scenario, &run.system);
    if scenario.is_empty() || system.is_empty() {
        return None;
    }
    Some(Digests {
        scenario: short(scenario),
        system: short(system),
        phases: phases(scenario),
        loads: tables(system, "load"),
        ledgers: tables(system, "ledger"),
        hold_us: Some(Micros::from(hold).0),
    })
}

/// Each phase's table with those of its faults. Phases that share a name are told apart by no
/// report either; the last one counts.
fn phases(scenario: &str) -> BTreeMap<String, String> {
    let table: toml::Table = scenario.parse().unwrap_or_default();
    let phases = table.get("phase").and_then(toml::Value::as_array);
    let named = phases.into_iter().flatten().filter_map(|phase| {
        let name = phase.get("name")?.as_str()?;
        Some((name.to_owned(), of_value(phase)))
    });
    named.collect()
}

/// Each named table of this kind.
fn tables(system: &str, kind: &str) -> BTreeMap<String, String> {
    let table: toml::Table = system.parse().unwrap_or_default();
    let tables = table.get(kind).and_then(toml::Value::as_table);
    let named = tables.into_iter().flatten();
    named
        .map(|(name, table)| (name.clone(), of_value(table)))
        .collect()
}

/// The digest of a value with its keys in order, so that layout and comments do not matter.
fn of_value(value: &toml::Value) -> String {
    short(&serde_json::json!(value).to_string())
}

fn short(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let bytes = digest.as_ref().iter().take(BYTES);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(3);

    fn run(scenario: &str, system: &str) -> Run {
        let story = crate::history::sample::Story::new().history();
        Run {
            scenario: ("s.toml".to_owned(), scenario.to_owned()),
            system: ("y.toml".to_owned(), system.to_owned()),
            ..story.run
        }
    }

    #[test]
    fn layout_and_comments_change_the_file_and_not_its_phases_and_loads() {
        let one = run(
            "[[phase]]\nname = \"a\"\nlasts = \"3s\"",
            "[load.x]\nrate = \"2/s\"\ntimeout = \"1s\"",
        );
        let same = run(
            "# why\n[[phase]]\nlasts  = \"3s\"\nname = \"a\"",
            "[load]\nx = { timeout = \"1s\", rate = \"2/s\" }",
        );
        let other = run(
            "[[phase]]\nname = \"a\"\nlasts = \"4s\"",
            "[load.x]\nrate = \"3/s\"\ntimeout = \"1s\"",
        );
        let [one, same, other] = [one, same, other].map(|run| digests(&run, HOLD).unwrap());
        assert_ne!(one.scenario, same.scenario);
        assert_eq!((&one.phases, &one.loads), (&same.phases, &same.loads));
        assert_ne!(one.phases["a"], other.phases["a"]);
        assert_ne!(one.loads["x"], other.loads["x"]);
        assert_eq!(one.scenario.len(), 2 * BYTES);
        assert_eq!(one.hold_us, Some(3_000_000));
    }

    #[test]
    fn a_ledger_that_settles_later_is_another() {
        let with = |settle: &str| {
            let system = format!("[ledger.work]\nsettle = \"{settle}\"");
            digests(&run("[[phase]]", &system), HOLD).unwrap().ledgers
        };
        assert_ne!(with("5s")["work"], with("9s")["work"]);
    }

    #[test]
    fn a_run_without_its_files_has_no_digests() {
        assert_eq!(digests(&run("", "[system]"), HOLD), None);
    }
}
