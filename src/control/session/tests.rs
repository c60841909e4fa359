//! What would prove that a session becomes a scenario: whatever was done by hand, the reader of
//! scenarios accepts what is written, and finds in it the faults, in the order and for the time.

use super::*;
use crate::{
    fault::{FAULTS, FaultDef, Group},
    protocol::PROTOCOLS,
    scenario::{Lasts, Scenario, system_from_text},
};
use proptest::prelude::*;
use std::time::Duration;

const SYSTEM: &str = r#"
[system]
command = ["./api", "{port.api}"]
url     = "http://127.0.0.1:{port.api}"

[dependency.s3]
protocol = "s3"
role     = "object-store"
upstream = "127.0.0.1:9000"

[dependency.db]
protocol = "postgres"
upstream = "127.0.0.1:5432"

[load.ask]
rate    = "40/s"
request = { method = "GET", path = "/" }
timeout = "2s"
"#;

fn system(text: &str) -> System {
    let mut problems = Problems::default();
    let source = Source::new("rehearsals/brownout.toml", text);
    let read = system_from_text(source, PathBuf::from("."), &mut problems);
    let said = crate::input::render(&problems.into_sorted(), false);
    read.unwrap_or_else(|| panic!("{said}"))
}

fn at(seconds: f64, what: What) -> Action {
    Action {
        at: Micros((seconds * 1e6) as u64),
        what,
    }
}

fn placed(id: u64, on: &str, keys: &str) -> What {
    What::Placed {
        id,
        label: format!("{keys} on {on}"),
        on: vec![on.to_owned()],
        toml: format!("[[phase.fault]]\non = {on:?}\n{keys}\n").into(),
    }
}

fn seconds(seconds: f64) -> Micros {
    Micros((seconds * 1e6) as u64)
}

/// The scenario as the reader of scenarios has it.
fn read(saved: &Saved, system: Option<&System>) -> Scenario {
    let text = match (system, &saved.system) {
        (Some(system), _) => system.source.clone(),
        (None, Some(made)) => Source::new("brownout.toml", made.as_str()),
        (None, None) => panic!("there is no system to read it with"),
    };
    let mut problems = Problems::default();
    let source = Source::new("by-hand.toml", saved.toml.as_str());
    let read = from_texts(source, text, PathBuf::from("."), &mut problems);
    let said = crate::input::render(&problems.into_sorted(), false);
    let Some((scenario, _)) = read else {
        panic!("{said}\n{}", saved.toml);
    };
    scenario
}

/// Its phases: name, seconds, faults.
fn phases(scenario: &Scenario) -> Vec<(String, u64, Vec<String>)> {
    let each = scenario.phases.iter().map(|phase| {
        let lasts = match phase.lasts {
            Lasts::For(length) => length.as_secs(),
            Lasts::UntilSteady { .. } => 0,
        };
        let faults = phase.faults.iter().map(|fault| fault.label.clone());
        (phase.name.to_string(), lasts, faults.collect())
    });
    each.collect()
}

fn plain(phases: &[(String, u64, Vec<String>)]) -> String {
    let lines = phases
        .iter()
        .map(|(name, lasts, faults)| format!("{name} {lasts}s [{}]", faults.join("; ")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_session_is_a_phase_for_each_stretch() {
    let system = system(SYSTEM);
    let actions = [
        at(0.0, What::Made { name: "s3".into() }),
        at(
            14.2,
            placed(1, "s3", "kind = \"error\"\nstatus = 503\nshare = \"30%\""),
        ),
        at(
            20.4,
            placed(
                2,
                "db",
                "kind = \"hang\"\nwhen = { operation = \"INSERT\" }",
            ),
        ),
        at(31.0, What::Renewed { id: 1 }),
        at(33.9, What::Lifted { id: 2 }),
        at(40.0, What::Expired { id: 1 }),
        at(
            48.0,
            placed(3, "s3", "kind = \"error\"\nstatus = 503\nshare = \"30%\""),
        ),
    ];
    let saved = scenario(&actions, seconds(53.0), Some(&system), &[], " ").expect("a scenario");
    let read = read(&saved, Some(&system));
    assert_eq!(
        plain(&phases(&read)),
        "\
steady 14s []
error on s3 6s [error on s3, status 503, 30%]
error on s3 and hang on db 14s [error on s3, status 503, 30%; hang on db, INSERT]
error on s3 (2) 6s [error on s3, status 503, 30%]
quiet 8s []
error on s3 (3) 5s [error on s3, status 503, 30%]
recovery 0s []"
    );
    assert_eq!(
        read.title,
        "By hand: error on s3, then error on s3 and hang on db"
    );
    let required: Vec<&str> = read.expects.iter().map(|one| one.kind).collect();
    assert_eq!(
        required,
        [
            "success-rate",
            "gives-up",
            "amplification",
            "gives-up",
            "amplification",
            "recovery",
            "alive"
        ]
    );
    assert!(
        saved.toml.contains("attempt_within = \"1.6s\""),
        "{}",
        saved.toml
    );
    assert!(
        saved.toml.contains("system = \"brownout.toml\""),
        "{}",
        saved.toml
    );
    assert_eq!(saved.system, None);
    let again = scenario(&actions, seconds(53.0), Some(&system), &[], "").expect("a scenario");
    assert_eq!(again, saved);
}

#[test]
fn what_is_written_keeps_its_shape() {
    let system = system(SYSTEM);
    let actions = [
        at(
            5.0,
            placed(
                1,
                "db",
                "kind = \"latency\"\nlog_normal = { median = \"80ms\", sigma = 0.6 }",
            ),
        ),
        at(35.0, What::Expired { id: 1 }),
    ];
    let saved = scenario(
        &actions,
        seconds(50.0),
        Some(&system),
        &[],
        "The database is slow",
    );
    insta::assert_snapshot!(saved.expect("a scenario").toml);
}

#[test]
fn without_a_system_one_is_written_that_goes_with_it() {
    let stood = |name: &str, protocol, listen: &str, upstream: &str| Stood {
        name: name.to_owned(),
        protocol,
        listen: listen.to_owned(),
        upstream: upstream.to_owned(),
    };
    let stood = [
        stood("cache", Protocol::Redis, "127.0.0.1:7000", "127.0.0.1:6379"),
        stood("queue", Protocol::Tcp, "127.0.0.1:7001", "127.0.0.1:5672"),
        stood(
            "<img src=x>",
            Protocol::Tcp,
            "127.0.0.1:7002",
            "127.0.0.1:1",
        ),
    ];
    let actions = [
        at(1.0, placed(1, "queue", "kind = \"refuse\"")),
        at(
            3.0,
            placed(2, "cache", "kind = \"error\"\nerror = \"LOADING\""),
        ),
        at(4.0, placed(3, "<img src=x>", "kind = \"hang\"")),
        at(6.0, What::Lifted { id: 1 }),
    ];
    let saved = scenario(&actions, seconds(9.0), None, &stood, "x").expect("a scenario");
    assert_eq!(
        plain(&phases(&read(&saved, None))),
        "\
steady 10s []
refuse on queue 2s [refuse on queue]
refuse on queue and error on cache 3s [refuse on queue; error on cache, LOADING]
error on cache 3s [error on cache, LOADING]
recovery 0s []"
    );
    let left_out = saved.notes.iter().filter(|note| note.contains("left out"));
    assert_eq!(left_out.count(), 1, "{:?}", saved.notes);
    assert!(
        saved.notes.iter().any(|note| note.contains("ports")),
        "{:?}",
        saved.notes
    );
    let made = saved.system.expect("a system");
    assert!(
        made.contains("# `brownout serve` holds these ports"),
        "{made}"
    );
    assert!(made.contains("listen   = \"127.0.0.1:7001\""), "{made}");
    assert!(!made.contains("<img"), "{made}");
}

#[test]
fn a_fault_on_a_role_stays_on_the_role() {
    let system = system(SYSTEM);
    let actions = [
        at(
            0.0,
            placed(
                1,
                "object-store",
                "kind = \"overload\"\nservers = 1\nservice = \"1s\"",
            ),
        ),
        at(
            5.0,
            placed(
                2,
                "s3",
                "kind = \"overload\"\nservers = 2\nservice = \"1s\"",
            ),
        ),
    ];
    let saved = scenario(&actions, seconds(9.0), Some(&system), &[], "x").expect("a scenario");
    let read = read(&saved, Some(&system));
    let on: Vec<Vec<&str>> = read
        .phases
        .iter()
        .map(|phase| phase.faults.iter().map(|fault| &*fault.on).collect())
        .collect();
    assert_eq!(on, [vec![], vec!["object-store"], vec!["s3"], vec![]]);
    assert!(
        saved.notes.iter().any(|note| note.contains("overload")),
        "{:?}",
        saved.notes
    );
}

#[test]
fn what_changes_at_once_is_one_change_and_nothing_is_lost_by_it() {
    let system = system(SYSTEM);
    let actions = [
        at(1.0, placed(1, "s3", "kind = \"hang\"")),
        at(1.2, placed(2, "db", "kind = \"hang\"")),
        at(11.0, What::Lifted { id: 1 }),
        at(11.1, What::Lifted { id: 2 }),
        // In force for no time, but it was placed.
        at(20.0, placed(3, "db", "kind = \"reset\"")),
        at(20.0, What::Lifted { id: 3 }),
    ];
    let saved = scenario(&actions, seconds(30.0), Some(&system), &[], "x").expect("a scenario");
    assert_eq!(
        plain(&phases(&read(&saved, Some(&system)))),
        "\
steady 10s []
hang on s3 and hang on db 10s [hang on s3; hang on db]
quiet 9s []
reset on db 1s [reset on db]
recovery 0s []"
    );
    assert!(
        saved.notes.iter().any(|note| note.contains("are one")),
        "{:?}",
        saved.notes
    );
}

#[test]
fn a_long_session_keeps_what_came_last() {
    let system = system(SYSTEM);
    let mut actions = Vec::new();
    for nth in 0..200u64 {
        let on = if nth < 199 { "s3" } else { "db" };
        actions.push(at(nth as f64 * 10.0, placed(nth, on, "kind = \"hang\"")));
        actions.push(at(nth as f64 * 10.0 + 5.0, What::Lifted { id: nth }));
    }
    let saved = scenario(&actions, seconds(3_000.0), Some(&system), &[], "x").expect("a scenario");
    let phases = phases(&read(&saved, Some(&system)));
    assert!(phases.len() > 90, "{}", phases.len());
    assert_eq!(phases[phases.len() - 2].2, ["hang on db"]);
    assert!(
        saved.notes.iter().any(|note| note.contains("the last ")),
        "{:?}",
        saved.notes
    );
}

#[test]
fn of_nothing_nothing_is_made() {
    let system = system(SYSTEM);
    let nothing = |actions: &[Action]| {
        scenario(actions, seconds(9.0), Some(&system), &[], "x").expect_err("nothing to tell")
    };
    assert_eq!(nothing(&[]), Nothing::NoFault);
    assert_eq!(
        nothing(&[at(1.0, What::Lifted { id: 3 })]),
        Nothing::NoFault
    );
    let elsewhere = nothing(&[at(1.0, placed(1, "cache", "kind = \"hang\""))]);
    assert_eq!(
        elsewhere.to_string(),
        "this dependency cache no scenario can name: the system file has none of that name"
    );
}

/// A fault with these keys, and another one that comes and goes while it is in force.
fn interrupted(on: &str, keys: &str, rest: &str) -> Saved {
    let system = system(SYSTEM);
    let actions = [
        at(0.0, placed(1, on, keys)),
        at(5.0, placed(2, "db", "kind = \"hang\"")),
        at(10.0, What::Lifted { id: 2 }),
        at(15.0, What::Lifted { id: 1 }),
        at(20.0, placed(3, on, rest)),
    ];
    scenario(&actions, seconds(25.0), Some(&system), &[], "x").expect("a scenario")
}

#[test]
fn what_counts_anew_in_each_phase_is_said() {
    let error = "kind = \"error\"\nstatus = 503";
    for key in ["first = 2", "after = 2", "every = 2"] {
        let saved = interrupted("s3", &format!("{error}\n{key}"), error);
        let name = key.split(' ').next().unwrap_or_default();
        let said = format!("`{name}` of error on s3");
        let notes = saved.notes.iter().filter(|note| note.contains(&said));
        assert_eq!(notes.count(), 1, "{:?}", saved.notes);
        let said =
            format!("# By hand `{name}` counted on from the phase before; here it begins anew.");
        assert_eq!(saved.toml.matches(&said).count(), 2, "{}", saved.toml);
    }
    // What lasts for one phase counts as it did, and what counts nothing has nothing to say.
    for (keys, rest) in [
        (error.to_owned(), format!("{error}\nfirst = 2")),
        (format!("{error}\nshare = \"5%\""), error.to_owned()),
    ] {
        let saved = interrupted("s3", &keys, &rest);
        assert!(
            !saved.notes.iter().any(|note| note.contains("anew")),
            "{:?}",
            saved.notes
        );
        assert!(!saved.toml.contains("anew"), "{}", saved.toml);
    }
}

#[test]
fn a_share_of_the_connections_is_said_to_be_drawn_anew_and_one_of_keys_or_requests_is_not() {
    let error = "kind = \"error\"\nstatus = 503\nshare = \"30%\"";
    for (keys, expected) in [
        (format!("{error}\nby = \"connection\""), 1),
        (format!("{error}\nby = \"key\""), 0),
        (error.to_owned(), 0),
    ] {
        let saved = interrupted("s3", &keys, error);
        let said = "share of error on s3 falls on other connections in each phase";
        let notes = saved.notes.iter().filter(|note| note.contains(said));
        assert_eq!(notes.count(), expected, "{keys}: {:?}", saved.notes);
        let said = "# By hand its share fell on the same connections as in the phase before";
        assert_eq!(
            saved.toml.matches(said).count(),
            2 * expected,
            "{}",
            saved.toml
        );
    }
}

#[test]
fn a_quota_keeps_its_use_while_something_else_changes() {
    let quota =
        "kind = \"quota\"\ncounts = \"requests\"\nlimit = 5\nwindow = \"1m\"\nrefusal = \"close\"";
    let saved = interrupted("s3", quota, quota);
    let read = read(&saved, Some(&system(SYSTEM)));
    assert_eq!(read.phases.len(), 7, "{}", saved.toml);
    // The three phases of the first share one account; the second, which begins anew, has none of it.
    assert_eq!(
        saved.toml.matches("\"by hand 1\"").count(),
        3,
        "{}",
        saved.toml
    );
    assert_eq!(saved.toml.matches("\"by hand").count(), 3, "{}", saved.toml);
    assert!(
        !saved.notes.iter().any(|note| note.contains("anew")),
        "{:?}",
        saved.notes
    );
    // One that has a name says itself what it shares its use with.
    let named = format!("{quota}\nname = \"tenant\"");
    let saved = interrupted("s3", &named, "kind = \"hang\"");
    assert_eq!(
        saved.toml.matches("\"tenant\"").count(),
        3,
        "{}",
        saved.toml
    );
    assert!(!saved.toml.contains("by hand 1"), "{}", saved.toml);
}

#[test]
fn connections_that_are_open_are_counted_on_and_nothing_is_said_of_it() {
    let quota = "kind = \"quota\"\ncounts = \"connections\"\nlimit = 5\nrefusal = \"close\"";
    let saved = interrupted("s3", quota, "kind = \"hang\"");
    assert_eq!(
        saved.toml.matches("\"connections\"").count(),
        3,
        "{}",
        saved.toml
    );
    for said in ["anew", "by hand 1"] {
        assert!(!saved.toml.contains(said), "{said}: {}", saved.toml);
        let notes = saved.notes.iter().filter(|note| note.contains(said));
        assert_eq!(notes.count(), 0, "{:?}", saved.notes);
    }
}

#[test]
fn a_restart_by_hand_is_one_restart() {
    let system = system(SYSTEM);
    let restart = "kind = \"restart\"\ndown = \"9s\"\nstarting = \"4s\"\ncold = \"30s\"";
    // It stops for 0.1 s, is down until 9.1 s, starts until 13.1 s and is ready then.
    let actions = [
        at(0.0, placed(1, "db", restart)),
        at(5.0, placed(2, "s3", "kind = \"hang\"")),
        at(10.0, What::Lifted { id: 2 }),
        at(20.0, placed(3, "s3", "kind = \"hang\"")),
        at(25.0, What::Lifted { id: 3 }),
        at(30.0, What::Lifted { id: 1 }),
    ];
    let saved = scenario(&actions, seconds(40.0), Some(&system), &[], "x").expect("a scenario");
    assert_eq!(
        phases(&read(&saved, Some(&system)))
            .iter()
            .map(|(name, lasts, _)| format!("{name} {lasts}s"))
            .collect::<Vec<_>>(),
        [
            "steady 10s",
            "restart on db 5s",
            "restart on db and hang on s3 5s",
            "restart on db (2) 10s",
            "hang on s3 5s",
            "recovery 0s",
        ]
    );
    let all: toml::Table = saved.toml.parse().expect("it is TOML");
    let phases = all["phase"].as_array().expect("phases");
    let faults = phases.iter().filter_map(|phase| phase.get("fault"));
    let faults = faults.flat_map(|faults| faults.as_array().expect("faults"));
    let stages: Vec<Vec<&str>> = faults
        .filter(|fault| fault["kind"].as_str() == Some("restart"))
        .map(|fault| {
            let of = |key: &str| fault.get(key).and_then(toml::Value::as_str);
            ["stopping", "down", "starting"]
                .map(|key| of(key).unwrap_or("-"))
                .to_vec()
        })
        .collect();
    assert_eq!(
        stages,
        [
            ["-", "9s", "4s"],
            ["0s", "4.1s", "4s"],
            ["0s", "0s", "3.1s"]
        ]
    );
    let said = saved
        .notes
        .iter()
        .filter(|note| note.contains("what was left of it"));
    assert_eq!(said.count(), 1, "{:?}", saved.notes);
    assert_eq!(
        saved.toml.matches("# By hand it was one restart").count(),
        2
    );
    // Alone it is what it was.
    let alone = [
        at(0.0, placed(1, "db", restart)),
        at(30.0, What::Lifted { id: 1 }),
    ];
    let saved = scenario(&alone, seconds(40.0), Some(&system), &[], "x").expect("a scenario");
    assert_eq!(
        saved.toml.matches("\"restart\"").count(),
        1,
        "{}",
        saved.toml
    );
    assert!(!saved.toml.contains("stopping"), "{}", saved.toml);
}

#[test]
fn doubts_are_passed_on() {
    let system = system(&SYSTEM.replace("40/s", "1/s"));
    let actions = [
        at(0.0, placed(1, "s3", "kind = \"hang\"")),
        at(2.0, What::Lifted { id: 1 }),
    ];
    let saved = scenario(&actions, seconds(9.0), Some(&system), &[], "x").expect("a scenario");
    assert!(!saved.notes.is_empty(), "2 s at 1/s show no percentage");
    assert!(
        !saved.notes.iter().any(|note| note.contains("refused")),
        "{:?}",
        saved.notes
    );
}

/// Every kind that a hand can switch, as its own example says it, on a dependency that carries it.
fn kinds() -> Vec<&'static FaultDef> {
    let by_hand = FAULTS.iter().filter(|def| def.group != Group::Process);
    by_hand.collect()
}

/// A dependency of each protocol, named after it.
fn everything() -> String {
    let mut text = SYSTEM[..SYSTEM.find("[dependency.s3]").expect("it stands there")].to_owned();
    for def in PROTOCOLS {
        let name = def.name;
        text.push_str(&format!(
            "[dependency.{name}]\nprotocol = {name:?}\nupstream = \"127.0.0.1:9000\"\n"
        ));
    }
    text
}

fn by_hand(def: &FaultDef, id: u64) -> What {
    let mut table: toml::Table = def.example.parse().expect("an example");
    let phase = table
        .get_mut("phase")
        .and_then(|phase| phase.as_table_mut());
    let faults = phase.and_then(|phase| phase.get_mut("fault"));
    let fault = faults.and_then(|faults| faults[0].as_table_mut());
    let on = def.example_protocol.def().name;
    fault.expect("a fault").insert("on".into(), on.into());
    What::Placed {
        id,
        label: def.name.to_owned(),
        on: vec![on.to_owned()],
        toml: toml::to_string(&table).expect("it is written").into(),
    }
}

#[test]
fn every_kind_comes_back_as_it_was_placed() {
    let system = system(&everything());
    for def in kinds() {
        let actions = [at(0.0, by_hand(def, 1))];
        let saved = scenario(&actions, seconds(8.0), Some(&system), &[], "").expect("a scenario");
        let read = read(&saved, Some(&system));
        assert_eq!(read.phases[1].faults[0].kind, def.name, "{}", saved.toml);
    }
}

/// Something done at random: when, to which fault, and what.
fn action() -> impl Strategy<Value = (u64, u64, usize, u8)> {
    (0..4_000u64, 0..12u64, 0..64usize, 0..6u8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_was_done_is_accepted(
        done in prop::collection::vec(action(), 0..60),
        // In the order of time, as a session has them, or not.
        sorted in any::<bool>(),
        name in any::<String>(),
        with_system in any::<bool>(),
    ) {
        let kinds = kinds();
        let mut actions: Vec<Action> = done
            .iter()
            .map(|(tenths, id, kind, what)| Action {
                at: Micros(tenths * 100_000),
                what: match what {
                    0..=2 => by_hand(kinds[kind % kinds.len()], *id),
                    3 => What::Lifted { id: *id },
                    4 => What::Expired { id: *id },
                    _ => What::Renewed { id: *id },
                },
            })
            .collect();
        if sorted {
            actions.sort_by_key(|action| action.at);
        }
        let any_placed = actions.iter().any(|one| matches!(one.what, What::Placed { .. }));
        let system = with_system.then(|| system(&everything()));
        let stood: Vec<Stood> = PROTOCOLS
            .iter()
            .map(|def| Stood {
                name: def.name.to_owned(),
                protocol: def.protocol,
                listen: "127.0.0.1:0".to_owned(),
                upstream: "127.0.0.1:9000".to_owned(),
            })
            .collect();
        let now = Micros(400_000_000);
        match scenario(&actions, now, system.as_ref(), &stood, &name) {
            Err(nothing) => {
                prop_assert_eq!(nothing, Nothing::NoFault);
                prop_assert!(!any_placed);
            }
            Ok(saved) => {
                let read = read(&saved, system.as_ref());
                prop_assert!(any_placed);
                for phase in &read.phases {
                    if let Lasts::For(length) = phase.lasts {
                        prop_assert!(length >= Duration::from_secs(1));
                        prop_assert_eq!(length.subsec_nanos(), 0);
                    }
                }
                let doubts = saved.notes.iter().filter(|note| note.starts_with("it will be refused"));
                prop_assert_eq!(doubts.count(), 0);
            }
        }
    }
}
