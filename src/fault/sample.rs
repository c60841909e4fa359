//! Faults from a text, and events for them: what the tests of all kinds share.

use super::{
    Active, Behaviour, ConnectionEvent, FaultId, FaultSet, Gate, Memory, default_by, find, gate,
};
use crate::{
    input::{Fields, Problems, Source},
    protocol::{Call, CallTracker, Protocol, http},
    seed::Seed,
    units::Micros,
};
use std::{sync::Arc, time::Duration};
use toml::de::{DeTable, DeValue};

/// How long the phase of a sample fault lasts.
pub(crate) const LASTS: Duration = Duration::from_secs(10);

/// Reads a `[[phase.fault]]` table, its header left out or not. Else the problems, each with its
/// hint.
pub(crate) fn read(
    text: &str,
    protocol: Protocol,
) -> Result<(Gate, Arc<dyn Behaviour>), Vec<String>> {
    let text = text.replace("[[phase.fault]]", "");
    let source = Source::new("sample.toml", text.as_str());
    let root = DeTable::parse(&text).expect("the sample is TOML");
    let kind = match root.get_ref().get("kind").expect("a kind").get_ref() {
        DeValue::String(kind) => kind.to_string(),
        _ => panic!("the kind is a text"),
    };
    let def = find(&kind).expect("a kind that is registered");
    let mut problems = Problems::default();
    let fields = Fields::new(
        root.get_ref(),
        root.span(),
        &source,
        format!("fault `{kind}`"),
        gate::KEYS,
        &[def.keys],
        &mut problems,
    );
    let read = Gate::parse(&fields, &mut problems).and_then(|gate| {
        let behaviour = def.read(&fields, protocol, &gate, &mut problems)?;
        Some((gate, behaviour))
    });
    let texts: Vec<String> = problems
        .as_slice()
        .iter()
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{} ({hint})", problem.message),
            None => problem.message.clone(),
        })
        .collect();
    read.filter(|_| texts.is_empty()).ok_or(texts)
}

/// The fault in force from moment 0, with this seed.
pub(crate) fn active(text: &str, protocol: Protocol, seed: u64) -> Arc<Active> {
    let (gate, behaviour) = read(text, protocol).expect("the sample fault is valid");
    let armed = behaviour.armed(&mut Memory::default(), "x", Micros(0));
    let behaviour = armed.unwrap_or(behaviour);
    let by = gate.by.clone().unwrap_or(default_by(protocol));
    Arc::new(Active::new(
        FaultId(0),
        gate,
        behaviour,
        Seed(seed),
        &["sample", "phase", "0"],
        Micros(0),
        LASTS,
        by,
    ))
}

/// A set of this one fault.
pub(crate) fn set(text: &str, protocol: Protocol) -> FaultSet {
    FaultSet::new(vec![active(text, protocol, 7)])
}

/// A set of these faults, in this order.
pub(crate) fn together(texts: &[&str], protocol: Protocol) -> FaultSet {
    let faults = texts.iter().enumerate().map(|(at, text)| {
        let mut fault = Arc::into_inner(active(text, protocol, 7)).expect("it is nobody else's");
        fault.id = FaultId(at as u16);
        Arc::new(fault)
    });
    FaultSet::new(faults.collect())
}

/// The n-th request of this kind: a call to S3 or plain HTTP, without an SDK's id.
pub(crate) fn calls(protocol: Protocol, method: &str, target: &str, count: usize) -> Vec<Call> {
    let mut tracker = CallTracker::default();
    (1..=count)
        .map(|n| {
            let headers = [("Host", "127.0.0.1:9000")];
            http::identify(
                protocol,
                None,
                method,
                target,
                headers,
                n as u64,
                &mut tracker,
            )
        })
        .collect()
}

/// One request.
pub(crate) fn call(protocol: Protocol, method: &str, target: &str) -> Call {
    calls(protocol, method, target, 1).remove(0)
}

/// A connection that was just accepted.
pub(crate) fn accepted(connection: u64) -> ConnectionEvent {
    ConnectionEvent {
        connection,
        open: 1,
        already_open: false,
    }
}

/// A connection that was open before.
pub(crate) fn open(connection: u64) -> ConnectionEvent {
    ConnectionEvent {
        already_open: true,
        ..accepted(connection)
    }
}

/// What a behaviour may draw upon at this moment.
pub(crate) fn context(now: Micros) -> super::Context {
    super::Context {
        now,
        armed: Micros(0),
        progress: 0.5,
        stream: (Seed(7), 1, 2),
    }
}
