//! What the gate of a fault may not say, given its kind and protocol. Only reports; decides nothing.

use super::{
    By, FaultDef, Gate, Group,
    gate::{WHEN, wildcard},
};
use crate::{
    input::{Fields, Problems, Span, did_you_mean},
    protocol::Protocol,
};
use toml::de::DeValue;

/// Reports every part of the gate that this kind cannot take on this protocol.
pub(super) fn gate(
    def: &FaultDef,
    fields: &Fields<'_>,
    protocol: Protocol,
    gate: &Gate,
    problems: &mut Problems,
) {
    for (key, hint) in def.refuses {
        if fields.has(key) {
            let message = format!("`{}` takes no `{key}`", def.name);
            fields.problem(problems, key, message, (*hint).to_owned());
        }
    }
    ramp(def, fields, gate, problems);
    if def.group == Group::Process {
        return;
    }
    if let Some(by @ By::Header(_)) = &gate.by
        && !protocol.is_http()
        && protocol.has_messages()
    {
        let message =
            format!("requests of the protocol {protocol} have no headers for `by = \"{by}\"`");
        let hint = format!("one of: {}", By::NAMES.join(", "));
        fields.problem(problems, "by", message, hint);
    }
    if protocol.has_messages() {
        matchers(fields, protocol, problems);
        tables(fields, protocol, gate, problems);
        operations(fields, protocol, gate, problems);
    } else {
        messages_only(fields, protocol, gate, problems);
    }
}

fn ramp(def: &FaultDef, fields: &Fields<'_>, gate: &Gate, problems: &mut Problems) {
    let refuses_share = def.refuses.iter().any(|(key, _)| *key == "share");
    let wanted = [
        ("share", gate.ramp.share.is_some(), !refuses_share),
        (
            "delay",
            gate.ramp.delay.is_some(),
            def.ramps.contains(&"delay"),
        ),
        (
            "rate",
            gate.ramp.rate.is_some(),
            def.ramps.contains(&"rate"),
        ),
    ];
    for (key, given, _) in wanted.iter().filter(|(_, given, can)| *given && !*can) {
        debug_assert!(given);
        let able: Vec<&str> = wanted
            .iter()
            .filter_map(|(key, _, can)| can.then_some(*key))
            .collect();
        let hint = if able.is_empty() {
            "nothing of it can be ramped".to_owned()
        } else {
            format!("it can ramp: {}", able.join(", "))
        };
        let message = format!("`{}` cannot ramp its `{key}`", def.name);
        fields.problem(problems, "ramp", message, hint);
    }
}

/// Where no single request is seen, nothing may pick among requests.
fn messages_only(fields: &Fields<'_>, protocol: Protocol, gate: &Gate, problems: &mut Problems) {
    let hint = || "give the dependency the protocol \"http\" or \"s3\"".to_owned();
    if !gate.when.is_empty() {
        let message = format!("the protocol {protocol} shows no single requests for `when`");
        fields.problem(problems, "when", message, hint());
    }
    if let Some(by) = &gate.by
        && *by != By::Connection
    {
        let message =
            format!("the protocol {protocol} shows no single requests for `by = \"{by}\"`");
        fields.problem(problems, "by", message, hint());
    }
}

/// A key of `when` that tells nothing apart on this protocol would match nothing.
fn matchers(fields: &Fields<'_>, protocol: Protocol, problems: &mut Problems) {
    let Some(DeValue::Table(when)) = fields.raw("when").map(toml::Spanned::get_ref) else {
        return;
    };
    let known = protocol.def().when;
    for name in when.keys() {
        let is_key = WHEN.iter().any(|key| key.name == name.get_ref());
        if is_key && !known.contains(&name.get_ref().as_ref()) {
            let message = format!(
                "requests of the protocol {protocol} have no `{}`",
                name.get_ref()
            );
            let hint = format!("they are told apart by: {}", known.join(", "));
            problems.error(fields.source, name.span(), message, hint);
        }
    }
}

/// Of a statement its table is known and no schema, so that a pattern which names one would match
/// nothing.
fn tables(fields: &Fields<'_>, protocol: Protocol, gate: &Gate, problems: &mut Problems) {
    let named = gate.when.table.iter().filter(|_| protocol.is_sql());
    for (pattern, (schema, table)) in named.filter_map(|one| Some((one, one.rsplit_once('.')?))) {
        let hint = match table {
            "" | "*" => format!("name the tables of `{schema}`"),
            table => format!("write \"{table}\", which means it in every schema"),
        };
        let place = place_of(fields, "table", pattern).unwrap_or_else(|| fields.place("when"));
        let message =
            format!("`{pattern}` matches no table: of a statement its table is known, no schema");
        problems.error(fields.source, place, message, hint);
    }
}

/// An operation that the protocol does not have would match nothing.
fn operations(fields: &Fields<'_>, protocol: Protocol, gate: &Gate, problems: &mut Problems) {
    let known: Vec<&str> = protocol.operations().collect();
    for pattern in &gate.when.operation {
        // Commands of Redis's modules have names of their own: JSON.GET.
        let is_module = protocol == Protocol::Redis && pattern.contains('.');
        if is_module || known.iter().any(|name| wildcard(pattern, name)) {
            continue;
        }
        let hint = match did_you_mean(pattern, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are: {}", known.join(", ")),
        };
        let place = place_of(fields, "operation", pattern).unwrap_or_else(|| fields.place("when"));
        let message = format!("the protocol {protocol} has no operation `{pattern}`");
        problems.error(fields.source, place, message, hint);
    }
}

/// Where this pattern stands inside a key of `when`; upper and lower case are one.
fn place_of(fields: &Fields<'_>, key: &str, pattern: &str) -> Option<Span> {
    let DeValue::Table(when) = fields.raw("when")?.get_ref() else {
        return None;
    };
    let value = when.get(key)?;
    let DeValue::Array(items) = value.get_ref() else {
        return Some(value.span());
    };
    items
        .iter()
        .find(|item| matches!(item.get_ref(), DeValue::String(text) if text.to_lowercase() == pattern.to_lowercase()))
        .map(toml::Spanned::span)
}
