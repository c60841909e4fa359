//! Reads names of loads, dependencies and instances, held against what the files declare.

use super::{Name, Names};
use crate::input::{Fields, Item, Problems, did_you_mean, hint_among};

/// The load (or ingress) that `key` names.
pub fn load(
    fields: &Fields<'_>,
    key: &'static str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Name> {
    let text = fields.text(key, problems)?;
    known(fields, &text, "load", &names.loads, problems)
}

/// The loads that `key` names, at least one.
pub fn loads(
    fields: &Fields<'_>,
    key: &'static str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Vec<Name>> {
    let texts = fields.texts(key, problems)?;
    if texts.is_empty() {
        fields.problem(problems, key, format!("`{key}` names no load"), None);
        return None;
    }
    let found: Vec<Option<Name>> = texts
        .iter()
        .map(|text| known(fields, text, "load", &names.loads, problems))
        .collect();
    found.into_iter().collect()
}

/// The instance that `key` names.
pub fn instance(
    fields: &Fields<'_>,
    key: &'static str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Name> {
    let text = fields.text(key, problems)?;
    known(fields, &text, "instance", &names.instances, problems)
}

/// The role or dependency that `key` names.
pub fn dependency(
    fields: &Fields<'_>,
    key: &'static str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Name> {
    let text = fields.text(key, problems)?;
    let mut all: Vec<&str> = Vec::new();
    for (name, role, _) in &names.dependencies {
        all.push(name);
        all.extend(role);
    }
    all.dedup();
    known(fields, &text, "dependency or role", &all, problems)
}

/// The same, of which the proxy must see single requests.
pub fn dependency_with_requests(
    fields: &Fields<'_>,
    key: &'static str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Name> {
    let name = dependency(fields, key, names, problems)?;
    let blind = names
        .dependencies
        .iter()
        .filter(|(own, role, _)| **own == *name || *role == Some(&*name))
        .find(|(.., protocol)| !protocol.has_messages());
    let Some((own, _, protocol)) = blind else {
        return Some(name);
    };
    fields.problem(
        problems,
        key,
        format!("`{own}` speaks {protocol}, of which single requests are not seen"),
        Some("give it a protocol with requests, `http` or `s3`".to_owned()),
    );
    None
}

/// The capture that `key` names, of a load, of a dependency, or of some dependency of a role.
pub fn capture(
    fields: &Fields<'_>,
    key: &'static str,
    of: &str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<String> {
    let text = fields.text(key, problems)?;
    is_captured(fields, &text, of, names, problems).then_some(text.value)
}

/// Whether a load, a dependency, or some dependency of a role captures something of this name;
/// a problem if not.
pub fn is_captured(
    fields: &Fields<'_>,
    text: &Item<String>,
    of: &str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> bool {
    let owners = names
        .dependencies
        .iter()
        .filter(|(name, role, _)| *name == of || *role == Some(of))
        .map(|(name, ..)| *name);
    let owners: Vec<&str> = owners
        .chain(names.loads.iter().copied().filter(|name| *name == of))
        .collect();
    // An owner without an entry is itself wrong, which was reported.
    let known: Vec<&(&str, Vec<&str>)> = names
        .captures
        .iter()
        .filter(|(name, _)| owners.contains(name))
        .collect();
    let all: Vec<&str> = known
        .iter()
        .flat_map(|(_, captures)| captures.iter().copied())
        .collect();
    if !known.is_empty() && !all.contains(&&*text.value) {
        let hint = if all.is_empty() {
            "give it a `capture`".to_owned()
        } else {
            hint_among(&text.value, all.iter().copied())
        };
        let message = format!("`{of}` captures no `{}`", text.value);
        problems.error(fields.source, text.span.clone(), message, hint);
        return false;
    }
    true
}

/// The ledger that `key` names.
pub fn ledger(
    fields: &Fields<'_>,
    key: &'static str,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Name> {
    let text = fields.text(key, problems)?;
    known(fields, &text, "ledger", &names.ledgers, problems)
}

/// The operations that `key` names: empty means every operation.
pub fn operations(fields: &Fields<'_>, key: &'static str, problems: &mut Problems) -> Vec<String> {
    let texts = fields.texts(key, problems).unwrap_or_default();
    texts.into_iter().map(|text| text.value).collect()
}

/// How the operations are called in a sentence: `PutObject of `, or nothing.
pub fn of_operations(operations: &[String]) -> String {
    if operations.is_empty() {
        String::new()
    } else {
        format!("{} ", operations.join("/"))
    }
}

fn known(
    fields: &Fields<'_>,
    text: &Item<String>,
    what: &str,
    all: &[&str],
    problems: &mut Problems,
) -> Option<Name> {
    if all.contains(&&*text.value) {
        return Some(text.value.as_str().into());
    }
    let hint = match did_you_mean(&text.value, all.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if all.is_empty() => format!("the system declares no {what}"),
        None => format!("the system has: {}", all.join(", ")),
    };
    problems.error(
        fields.source,
        text.span.clone(),
        format!("unknown {what} `{}`", text.value),
        hint,
    );
    None
}
