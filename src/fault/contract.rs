//! What every entry of the registry promises, whatever its kind.

use super::{Acts, Decision, FAULTS, FaultDef, FaultSet, Group, gate, sample};
use crate::{
    protocol::{Call, PROTOCOLS, Protocol},
    units::Micros,
};

fn said_to_act(def: &FaultDef, protocol: Protocol) -> Option<(FaultSet, Acts)> {
    let (_, behaviour) = sample::read(def.example, protocol).ok()?;
    Some((sample::set(def.example, protocol), behaviour.acts()))
}

#[test]
fn every_kind_says_what_it_is() {
    let mut names: Vec<&str> = FAULTS.iter().map(|def| def.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FAULTS.len(), "names are unique");
    for def in FAULTS {
        let plain = |letter: char| letter.is_ascii_lowercase() || "-200".contains(letter);
        assert!(def.name.chars().all(plain), "{}", def.name);
        assert!((10..80).contains(&def.summary.len()), "{}", def.name);
        assert!(!def.summary.ends_with('.'), "{}", def.name);
        assert!(
            def.example.starts_with("[[phase.fault]]\nkind"),
            "{}",
            def.name
        );
        assert!(
            def.example.contains(&format!("\"{}\"", def.name)),
            "{}",
            def.name
        );
    }
}

#[test]
fn every_example_reads_on_its_protocol() {
    for def in FAULTS {
        let read = sample::read(def.example, def.example_protocol);
        assert!(read.is_ok(), "{}: {:?}", def.name, read.unwrap_err());
    }
}

#[test]
fn every_key_is_documented_and_none_is_one_of_the_gates() {
    for def in FAULTS {
        let mut names: Vec<&str> = gate::KEYS.iter().map(|key| key.name).collect();
        for key in def.keys {
            assert!(key.doc.len() > 5, "{}.{}", def.name, key.name);
            assert!(!names.contains(&key.name), "{}.{}", def.name, key.name);
            names.push(key.name);
        }
        for (key, hint) in def.refuses {
            assert!(gate::KEYS.iter().any(|known| known.name == *key), "{key}");
            assert!(hint.len() > 10, "{}.{key}", def.name);
        }
        let ramps = gate::RAMP.iter().map(|key| key.name);
        let known: Vec<&str> = ramps.collect();
        assert!(def.ramps.iter().all(|ramp| known.contains(ramp)));
    }
}

#[test]
fn a_kind_that_a_protocol_cannot_carry_says_what_would_work() {
    for def in FAULTS.iter().filter(|def| def.group != Group::Process) {
        for protocol in PROTOCOLS.iter().map(|entry| entry.protocol) {
            if let Err(hint) = (def.carried_by)(protocol) {
                assert!(hint.len() > 10, "{}", def.name);
                let problems = sample::read(def.example, protocol).unwrap_err();
                let said = format!("`{}` cannot act on the protocol {protocol}", def.name);
                assert!(problems[0].starts_with(&said), "{problems:?}");
            }
        }
        assert!((def.carried_by)(def.example_protocol).is_ok());
    }
}

#[test]
fn message_faults_need_messages_and_all_others_act_on_any_stream() {
    for def in FAULTS.iter().filter(|def| def.group != Group::Capacity) {
        let on_tcp = (def.carried_by)(Protocol::Tcp).is_ok();
        assert_eq!(on_tcp, def.group != Group::Message, "{}", def.name);
    }
}

/// A kind that acts where it says it does not would be left out by the proxies' fast path.
#[test]
fn no_kind_acts_where_it_says_that_it_does_not() {
    let now = Micros::from_secs(1);
    for def in FAULTS {
        for protocol in PROTOCOLS.iter().map(|entry| entry.protocol) {
            let Some((set, acts)) = said_to_act(def, protocol) else {
                continue;
            };
            let fault = &set.faults()[0].behaviour;
            let context = sample::context(now);
            let event = sample::open(11);
            let name = def.name;
            let listener = fault.listener(&context).is_some();
            assert!(acts.listener || !listener, "{name}");
            let connection = fault.connection(&event, &context).is_some();
            assert!(acts.connections || !connection, "{name}");
            let streams = !fault.stream(&event, &context).is_empty();
            assert!(acts.streams || !streams, "{name}");
            for method in ["GET", "PUT", "POST"] {
                let call = sample::call(protocol, method, "/b/k?uploadId=1");
                let request = fault.request(&call, &context).is_some();
                assert!(acts.requests || !request, "{name}");
            }
            assert_eq!(acts == Acts::NOTHING, def.group == Group::Process, "{name}");
            assert_eq!(fault.process().is_some(), def.group == Group::Process);
        }
    }
}

/// The request as a message of a WebSocket.
fn deliver(call: Call) -> Call {
    Call {
        operation: "Deliver".into(),
        method: "".into(),
        ..call
    }
}

/// Whatever a share of nothing gates never acts; of everything, always where it is concerned.
#[test]
fn every_kind_on_requests_heeds_its_gate() {
    let kinds = FAULTS.iter().filter(|def| def.group == Group::Message);
    for def in kinds {
        for (share, acts) in [("0%", false), ("100%", true)] {
            let own: Vec<&str> = def
                .example
                .lines()
                .filter(|line| !line.starts_with("share") && !line.starts_with("when"))
                .collect();
            let text = format!("{}\nshare = \"{share}\"\n", own.join("\n"));
            let set = sample::set(&text, def.example_protocol);
            let writes = def.name == "ambiguous-write";
            let method = if writes { "PUT" } else { "GET" };
            for call in sample::calls(def.example_protocol, method, "/b/k", 20) {
                let call = if def.name == "drop" {
                    deliver(call)
                } else {
                    call
                };
                let decision: Decision = set.request(&call, Micros(0));
                assert_eq!(!decision.is_pass(), acts, "{} {share}", def.name);
            }
            assert_eq!(set.faults()[0].hits(), if acts { 20 } else { 0 });
        }
    }
}
