//! `brownout check`: all mistakes in the files, without starting anything.

use super::{Exit, Failure, args::Check, files, paths, say};
use crate::{
    input::Problems,
    scenario::{FILE_BYTES_MAX, Scenario, System, load_scenario, load_system, plan},
    units::format_duration,
};
use std::{fs::File, io::Read, path::Path};

/// Carries it out.
pub fn check(args: &Check) -> Result<Exit, Failure> {
    let mut problems = Problems::default();
    let mut good = String::new();
    for file in paths::scenarios(&args.paths)? {
        let shown = file.display();
        if is_system(&file) {
            if let Some(system) = load_system(&file, &mut problems) {
                good.push_str(&format!("{shown}: ok: {}\n", about_system(&system)));
            }
        } else if let Some((scenario, system)) =
            load_scenario(&file, args.system.as_deref(), &mut problems)
        {
            good.push_str(&format!("{shown}: ok: {}\n", about(&scenario, &system)));
        }
    }
    let result = files::show(problems);
    say::data(good.as_bytes())?;
    result.map(|()| Exit::Pass)
}

/// A system file has a `[system]` table; in a scenario `system` is a path. A file that cannot be
/// read as TOML is taken for a scenario, whose reader says what is wrong with it.
fn is_system(file: &Path) -> bool {
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .ok()
        .and_then(|_| text.parse::<toml::Table>().ok())
        .is_some_and(|table| table.get("system").is_some_and(toml::Value::is_table))
}

fn about(scenario: &Scenario, system: &System) -> String {
    let timeline = plan(scenario, system, 1.0);
    let faults: usize = timeline.phases.iter().map(|phase| phase.faults.len()).sum();
    let longest = timeline.phases.last().map_or_else(String::new, |phase| {
        let most = if phase.at_most { "at most " } else { "" };
        format!(
            ", {most}{}",
            format_duration(phase.ends.since(crate::units::Micros(0)))
        )
    });
    format!(
        "{}, {}, {}{longest}, against {}",
        counted(timeline.phases.len(), "phase"),
        counted(faults, "fault"),
        counted(timeline.expects.len(), "expectation"),
        system.source.name,
    )
}

fn about_system(system: &System) -> String {
    format!(
        "{}, {}",
        match system.dependencies.len() {
            1 => "1 dependency".to_owned(),
            count => format!("{count} dependencies"),
        },
        counted(system.loads.len(), "load"),
    )
}

fn counted(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}
