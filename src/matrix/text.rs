//! Trials written as scenarios: what is run is a scenario file like any other, and what is found is
//! left as one that can be run again.

use super::{
    Aftermath, Aim, Cell, Counts, Delay, Doubling, Found, Met, Patience, Reference, Trial,
    doubling::{looks, watched_for},
};
use crate::{
    policy::samples::{percent, samples_needed},
    scenario::{Load, System},
    units::format_duration,
};
use std::{sync::Arc, time::Duration};

/// The phases of a trial.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// How long the system is watched before.
    pub steady: Duration,
    /// How long the faults last.
    pub trouble: Duration,
    /// How long it has to be as before.
    pub recovery: Duration,
    /// How long everything must then hold.
    pub hold: Duration,
}

impl Lengths {
    /// What of the recovery is left for a requirement that can be judged: `hold` must be seen
    /// besides, and seconds are counted whole.
    fn within(&self) -> Duration {
        let seen = self.hold + Duration::from_secs(1);
        self.recovery
            .saturating_sub(seen)
            .max(Duration::from_secs(1))
    }

    /// These, where something is looked for that may be done twice long enough for what is tried
    /// again late to be seen. What is left to be as before is what it was.
    #[must_use]
    pub fn awaiting(
        self,
        aim: &Aim,
        system: &System,
        reference: &Reference,
        patience: Patience,
    ) -> Self {
        let needed = watched_for(system, reference, aim, patience).unwrap_or_default();
        let hold = self.hold.max(needed);
        Self {
            hold,
            recovery: self.recovery + (hold - self.hold),
            ..self
        }
    }
}

/// Shares that a load can be required to be answered, the strictest first.
const SHARES: &[f64] = &[0.99, 0.95, 0.9, 0.8, 0.5];

/// The longest that a fault is made to last so that a thin load can show a share.
const TROUBLE_MAX: Duration = Duration::from_secs(120);

/// The scenario of a trial: a steady phase, the trouble, and the time to be as before. It requires
/// of every load that it is answered, and that all is as before.
///
/// # Errors
/// Why a protocol cannot carry the trouble.
pub fn trial_text(
    aim: &Aim,
    system: &System,
    lengths: &Lengths,
    delay: Option<&Delay>,
) -> Result<String, String> {
    let mut text = head(&format!("{aim}: what the system does"), None);
    text.push_str(&phases(aim, system, lengths, delay)?);
    for load in &system.loads {
        text.push_str(&answered(&load.name, SHARES[0]));
    }
    text.push_str(&recovers(lengths));
    Ok(text)
}

/// The tables that look for what was done twice in a trial that may lose answers; nothing in any other.
pub fn once_text(aim: &Aim, system: &System, reference: &Reference) -> String {
    let looks = looks(system, reference, aim);
    looks.into_iter().map(|one| one.text).collect()
}

/// What a scenario that is written for a finding rests on.
#[derive(Debug, Clone, Copy)]
pub struct Relied<'a> {
    /// The system's file, as seen from the scenario's folder.
    pub system_file: &'a str,
    /// The system.
    pub system: &'a System,
    /// What the run without faults showed.
    pub reference: &'a Reference,
    /// The phases of the trial.
    pub lengths: Lengths,
}

/// The scenario that requires what the trial showed not to hold: that these loads are answered, and
/// in time, and as before where they have nothing to do with it; that the system recovers, stays
/// alive, and does nothing twice. `None` where the trial found nothing. A fault lasts longer than in
/// the trial where the load is too thin to show what is required.
///
/// # Errors
/// Why a protocol cannot carry the trouble.
pub fn finding_text(trial: &Trial, relied: &Relied<'_>) -> Result<Option<String>, String> {
    let Some(tried) = trial.tried() else {
        return Ok(None);
    };
    let mut lengths = relied.lengths;
    let mut expects = String::new();
    for cell in &tried.cells {
        let loads = &relied.system.loads;
        let load = loads.iter().find(|load| load.name == cell.load);
        let Some((text, trouble)) = load.and_then(|load| of_cell(cell, load, lengths.trouble))
        else {
            continue;
        };
        lengths.trouble = lengths.trouble.max(trouble);
        expects.push_str(&text);
    }
    if matches!(tried.aftermath, Aftermath::Wedged { .. }) {
        expects.push_str(&recovers(&lengths));
    }
    if !tried.exits.is_empty() {
        expects.push_str(ALIVE);
    }
    if let Some(Doubling::Doubled { by, .. }) = &tried.doubling {
        let looks = looks(relied.system, relied.reference, &trial.aim);
        let failed = looks.into_iter().filter(|look| by.contains(&look.id));
        expects.extend(failed.map(|look| look.text));
    }
    if expects.is_empty() {
        return Ok(None);
    }
    let title = format!("{}: found by brownout matrix", trial.aim);
    let mut text = head(&title, Some(relied.system_file));
    let delay = trial.delay.as_ref();
    if let Some(delay) = delay {
        text.push_str(&format!("\n# The delay is {}.\n", delay.chosen));
    }
    text.push_str(&phases(&trial.aim, relied.system, &lengths, delay)?);
    Ok(Some(text + &expects))
}

/// Crashing over a dependency's trouble is no answer to it.
const ALIVE: &str =
    "\n[[expect]]\nid   = \"ALIVE\"\nthat = \"no instance ends over it\"\nkind = \"alive\"\n";

/// What a load is required that it did not reach, and how long the fault lasts for it.
fn of_cell(cell: &Cell, load: &Load, trouble: Duration) -> Option<(String, Duration)> {
    let Counts {
        ok, released, held, ..
    } = cell.counts;
    let all = cell.counts.all() + released;
    let answered_well = |count: u64| count as f64 / all.max(1) as f64;
    match (cell.met, Found::of(cell)?) {
        (Met::Held, _) => {
            let (share, trouble) = required(answered_well(all - held.min(all)), load, trouble);
            Some((in_time(cell, share), trouble))
        }
        (Met::Degraded, _) => {
            let (share, trouble) = required(answered_well(ok + released), load, trouble);
            Some((
                answered(&cell.load, share) + "count_degraded = false\n",
                trouble,
            ))
        }
        _ => {
            let answers = ok + cell.counts.degraded + released;
            let (share, trouble) = required(answered_well(answers), load, trouble);
            Some((answered(&cell.load, share), trouble))
        }
    }
}

/// How much longer than in its steady phase a load may take that must not be held.
const HELD_BEYOND_US: u64 = 1_000_000;

/// That so many of a load do not wait for the fault to be lifted.
fn in_time(cell: &Cell, share: f64) -> String {
    let load = &cell.load;
    let below = Duration::from_micros(cell.steady_p99_us + HELD_BEYOND_US);
    // A file is easier to read without microseconds.
    let below = Duration::from_millis(u64::try_from(below.as_millis()).unwrap_or(u64::MAX));
    format!(
        "\n[[expect]]\nid       = {}\nthat     = {}\nkind     = \"latency\"\nload     = {}\nduring   = \"trouble\"\nquantile = \"p{}\"\nbelow    = \"{}\"\n",
        quoted(&format!("IN-TIME-{load}")),
        quoted(&format!("{load} does not wait until it is over")),
        quoted(load),
        percent(share).trim_end_matches('%'),
        format_duration(below)
    )
}

/// The strictest share that the load can show in the time and of which it `measured` less, and how
/// long the fault lasts for it.
fn required(measured: f64, load: &Load, trouble: Duration) -> (f64, Duration) {
    let rate = load.rate.as_per_second();
    let operations = rate * trouble.as_secs_f64();
    let can_be_shown = |share: &&f64| samples_needed(**share) as f64 <= operations;
    let mut shares = SHARES.iter().filter(can_be_shown);
    if let Some(share) = shares.find(|share| measured < **share) {
        return (*share, trouble);
    }
    let needed = samples_needed(SHARES[0]) as f64 / rate.max(1e-3);
    let needed = Duration::from_secs_f64(needed.ceil() + 1.0);
    (SHARES[0], needed.min(TROUBLE_MAX))
}

fn head(title: &str, system: Option<&str>) -> String {
    let mut text = format!("title  = {}\n", quoted(title));
    if let Some(system) = system {
        text.push_str(&format!("system = {}\n", quoted(system)));
    }
    text + "tags   = [\"matrix\"]\n"
}

fn phases(
    aim: &Aim,
    system: &System,
    lengths: &Lengths,
    delay: Option<&Delay>,
) -> Result<String, String> {
    let mut text = format!(
        "hold   = \"{}\"\n\n[[phase]]\nname   = \"steady\"\nlasts  = \"{}\"\nsteady = true\n",
        format_duration(lengths.hold),
        format_duration(lengths.steady)
    );
    text.push_str(&format!(
        "\n[[phase]]\nname  = \"trouble\"\nlasts = \"{}\"\n",
        format_duration(lengths.trouble)
    ));
    for (name, kind) in aim.troubles() {
        let mut dependencies = system.dependencies.iter();
        let Some(dependency) = dependencies.find(|one| one.name == *name) else {
            return Err(format!("there is no dependency {name}"));
        };
        let delay = delay.map(Delay::time).unwrap_or_default();
        for keys in kind.faults(dependency.protocol, delay, lengths.trouble)? {
            text.push_str("\n  [[phase.fault]]\n");
            for key in keys.lines() {
                text.push_str(&format!("  {key}\n"));
            }
            text.push_str(&format!("  on = {}\n", quoted(name)));
        }
    }
    text.push_str(&format!(
        "\n[[phase]]\nname  = \"recovery\"\nlasts = \"until steady, at most {}\"\n",
        format_duration(lengths.recovery)
    ));
    Ok(text)
}

fn answered(load: &Arc<str>, share: f64) -> String {
    format!(
        "\n[[expect]]\nid       = {}\nthat     = {}\nkind     = \"success-rate\"\nload     = {}\nduring   = \"trouble\"\nat_least = \"{}\"\n",
        quoted(&format!("ANSWERED-{load}")),
        quoted(&format!("{load} is answered all the same")),
        quoted(load),
        percent(share)
    )
}

fn recovers(lengths: &Lengths) -> String {
    format!(
        "\n[[expect]]\nid     = \"RECOVERS\"\nthat   = \"when the trouble is over all is as before, by itself\"\nkind   = \"recovery\"\nwithin = \"{}\"\n",
        format_duration(lengths.within())
    )
}

/// A text as TOML reads it back.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => {
                out.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        input::{Problems, Source, render},
        matrix::{Beside, Kind, NamedBy, State, Tried},
        protocol::PROTOCOLS,
        scenario::{Scenario, from_texts, system_from_text},
    };
    use std::path::PathBuf;

    const LENGTHS: Lengths = Lengths {
        steady: Duration::from_secs(4),
        trouble: Duration::from_secs(7),
        recovery: Duration::from_secs(30),
        hold: Duration::from_secs(2),
    };

    /// A system with a dependency of every protocol, named like it.
    fn source() -> Source {
        let mut text = "[system]\nexternal = \"http://127.0.0.1:9\"\n[load.ask]\nrate = \"4/s\"\nrequest = { path = \"/\" }\n".to_owned();
        for def in PROTOCOLS {
            let name = def.name;
            text.push_str(&format!(
                "[dependency.{name}]\nprotocol = \"{name}\"\nupstream = \"127.0.0.1:9\"\n"
            ));
            if name == "http" {
                text.push_str("capture = { order = \"header:x-order\" }\n");
            }
            if name == "pusher" {
                text.push_str("app = { id = \"1\", key = \"k\", secret = \"s\" }\n");
            }
        }
        Source::new("system.toml", text)
    }

    fn system() -> System {
        let mut problems = Problems::default();
        let read = system_from_text(source(), PathBuf::from("."), &mut problems);
        read.unwrap_or_else(|| panic!("{}", render(&problems.into_sorted(), false)))
    }

    fn scenario(text: &str) -> Scenario {
        let mut problems = Problems::default();
        let read = from_texts(
            Source::new("trial.toml", text),
            source(),
            ".".into(),
            &mut problems,
        );
        let Some((scenario, _)) = read else {
            panic!("{}\n{text}", render(&problems.into_sorted(), false));
        };
        scenario
    }

    #[test]
    fn every_kind_is_a_valid_scenario_on_every_protocol_that_can_carry_it() {
        let system = system();
        let delay = Delay {
            us: 250_000,
            chosen: "x".to_owned(),
        };
        for dependency in &system.dependencies {
            for kind in Kind::ALL {
                let aim = Aim::single(&dependency.name, *kind);
                let delay = kind.takes_delay().then_some(&delay);
                match trial_text(&aim, &system, &LENGTHS, delay) {
                    Ok(text) => {
                        let read = scenario(&text);
                        assert_eq!(read.phases.len(), 3, "{aim}");
                        let breaks = *kind == Kind::Reset && dependency.protocol.has_messages();
                        let faults = read.phases[1].faults.len();
                        assert_eq!(faults, 1 + usize::from(breaks), "{aim}");
                        assert_eq!(read.expects.len(), 2, "{aim}");
                    }
                    Err(why) => {
                        assert!(!dependency.protocol.has_messages(), "{aim}: {why}");
                        assert!(matches!(kind, Kind::Error | Kind::LostReply), "{aim}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_pair_has_both_troubles() {
        let system = system();
        let name = |name: &str| -> Arc<str> { name.into() };
        let aim = Aim {
            beside: Some(Beside {
                dependency: name("http"),
                kind: Kind::Error,
            }),
            ..Aim::single(&name("s3"), Kind::Hang)
        };
        let read = scenario(&trial_text(&aim, &system, &LENGTHS, None).expect("it is carried"));
        let kinds: Vec<&str> = read.phases[1].faults.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, ["hang", "error"]);
        assert_eq!(aim.file_stem(), "s3-hang-http-error");
    }

    fn failed(ok: u64, failed: u64) -> Cell {
        Cell {
            load: "ask".into(),
            uses: true,
            met: Met::Failed,
            counts: Counts {
                ok,
                failed,
                ..Counts::default()
            },
            p50_us: 0,
            p99_us: 0,
            steady_p99_us: 0,
            tries: None,
            aftermath: Aftermath::Unknown,
            because: None,
        }
    }

    /// What a trial with this cell shows.
    fn tried(cell: &Cell) -> Tried {
        Tried {
            faults: Vec::new(),
            hits: 10,
            lasted_us: 7_000_000,
            aftermath: Aftermath::Steady { after_us: 0 },
            waited_us: None,
            policy: Vec::new(),
            claims: Vec::new(),
            leant_on: Vec::new(),
            exits: Vec::new(),
            doubling: None,
            restarted: false,
            cells: vec![cell.clone()],
        }
    }

    /// The scenario written for it, and how many expectations that has.
    fn written_for(tried: Tried, kind: Kind) -> (String, usize) {
        let system = system();
        let reference = Reference {
            named_by: vec![NamedBy {
                dependency: "http".into(),
                capture: "order".to_owned(),
                known_again_by: None,
            }],
            ..Reference::unknown(String::new())
        };
        let trial = Trial {
            aim: Aim::single(&"http".into(), kind),
            delay: None,
            text: None,
            history: None,
            state: State::Tried(tried),
        };
        let relied = Relied {
            system_file: "../my \"system\".toml",
            system: &system,
            reference: &reference,
            lengths: LENGTHS,
        };
        let text = finding_text(&trial, &relied).expect("it is carried");
        let text = text.expect("something was found");
        let expects = scenario(&text).expects.len();
        (text, expects)
    }

    /// The scenario written for a cell with so many answered and failed operations.
    fn written(cell: &Cell) -> String {
        let (text, expects) = written_for(tried(cell), Kind::Hang);
        assert_eq!(expects, 1);
        text
    }

    #[test]
    fn who_is_held_must_answer_in_time_and_who_has_nothing_to_do_with_it_as_before() {
        let held = Cell {
            met: Met::Held,
            counts: Counts {
                ok: 24,
                released: 4,
                held: 4,
                ..Counts::default()
            },
            steady_p99_us: 52_345,
            ..failed(0, 0)
        };
        let text = written(&held);
        // Four of 28 are more than a twentieth, and 28 operations can show that.
        for key in [
            "kind     = \"latency\"",
            "quantile = \"p95\"",
            "below    = \"1.052s\"",
        ] {
            assert!(text.contains(key), "{text}");
        }
        let degraded = Cell {
            met: Met::Degraded,
            uses: false,
            counts: Counts {
                degraded: 28,
                ..Counts::default()
            },
            ..failed(0, 0)
        };
        assert!(written(&degraded).contains("count_degraded = false"));
    }

    #[test]
    fn who_ends_over_it_must_live_and_who_did_it_twice_must_do_it_once() {
        let well = Cell {
            met: Met::Answered,
            ..failed(28, 0)
        };
        let mut ended = tried(&well);
        ended.exits.push("main exited at 7.1s".to_owned());
        let (text, expects) = written_for(ended, Kind::Hang);
        assert!(expects == 1 && text.contains("kind = \"alive\""), "{text}");
        let mut doubled = tried(&well);
        doubled.doubling = Some(Doubling::Doubled {
            what: String::new(),
            by: vec!["ONCE-http-order".to_owned()],
        });
        let (text, expects) = written_for(doubled, Kind::LostReply);
        assert!(
            expects == 1 && text.contains("kind   = \"no-double-effect\""),
            "{text}"
        );
    }

    #[test]
    fn what_is_tried_again_late_is_awaited_where_something_is_looked_for_alone() {
        let system = system();
        let lengths = |kind, named: bool, patience| {
            let named_by = NamedBy {
                dependency: "http".into(),
                capture: "order".to_owned(),
                known_again_by: None,
            };
            let reference = Reference {
                named_by: named.then_some(named_by).into_iter().collect(),
                ..Reference::unknown(String::new())
            };
            let aim = Aim::single(&"http".into(), kind);
            let own = LENGTHS.awaiting(&aim, &system, &reference, patience);
            (own.hold.as_secs(), own.recovery.as_secs(), own.within())
        };
        let (as_before, within) = ((2, 30), LENGTHS.within());
        let nobody = Patience::default();
        let seen = Patience {
            seen: Some((Duration::from_secs(1), Duration::from_secs(3))),
            ..nobody
        };
        for (found, expected) in [
            (lengths(Kind::Hang, true, seen), as_before),
            (lengths(Kind::LostReply, false, seen), as_before),
            (lengths(Kind::LostReply, true, nobody), (5, 33)),
            (lengths(Kind::LostReply, true, seen), (8, 36)),
            (lengths(Kind::TooSlow, true, seen), (8, 36)),
            (lengths(Kind::Quota, true, seen), as_before),
        ] {
            assert_eq!(found, (expected.0, expected.1, within));
        }
    }

    #[test]
    fn a_finding_requires_what_the_load_can_show_and_did_not_reach() {
        // 28 operations in 7 s can show 95 %, not 99 %.
        let most = written(&failed(10, 18));
        assert!(
            most.contains("at_least = \"95%\"") && most.contains("lasts = \"7s\""),
            "{most}"
        );
        // Where they reached what they can show, the fault lasts until they can show more.
        let few = written(&failed(27, 1));
        assert!(
            few.contains("at_least = \"99%\"") && few.contains("lasts = \"26s\""),
            "{few}"
        );
    }
}
