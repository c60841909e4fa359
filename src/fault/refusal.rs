//! What a dependency that has no room says: an error of its protocol, or how it closes the
//! connection. Shared by the kinds that count what a dependency carries.

use super::{Closing, End, Reply, error, reply};
use crate::{
    input::{Fields, Key, Problems, Shape, Source},
    protocol::Protocol,
};
use toml::de::{DeTable, DeValue};

/// The key that says how it refuses.
pub(super) const REFUSAL: Key = Key::optional(
    "refusal",
    Shape::AnyOf(&[Shape::Text, Shape::Table(error::DEF.keys)]),
    "how it refuses: an error of the protocol as the kind `error` names it, a table with that kind's keys, or \"close\" or \"reset\"",
);

const WANTED: &str =
    "an error of the protocol, a table with the keys of `error`, \"close\" or \"reset\"";

/// The words that close a connection, whatever its protocol.
fn closing(word: &str) -> Option<End> {
    match word {
        "close" => Some(End::Close(Closing::Fin)),
        "reset" => Some(End::Close(Closing::Reset)),
        _ => None,
    }
}

/// Reads [`REFUSAL`]; `None` where it is missing or wrong.
pub(super) fn parse(
    fields: &Fields<'_>,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<End> {
    if let DeValue::String(name) = fields.raw("refusal")?.get_ref() {
        return named(name, protocol)
            .map_err(|found| {
                for problem in found.as_slice() {
                    let (message, hint) = (problem.message.clone(), problem.hint.clone());
                    fields.problem(problems, "refusal", message, hint);
                }
            })
            .ok();
    }
    if !protocol.has_messages() {
        let message = format!("the protocol {protocol} has no errors of its own");
        let hint = "write \"close\" or \"reset\"".to_owned();
        fields.problem(problems, "refusal", message, hint);
        return None;
    }
    let table = fields.alternative("refusal", error::DEF.keys, WANTED, problems)?;
    if table.has("applied") {
        let hint = "leave `applied` out".to_owned();
        table.problem(
            problems,
            "applied",
            "what is refused is never applied",
            hint,
        );
    }
    reply::parse(&table, protocol, problems).map(End::Reply)
}

/// The refusal of this name: an error as the kind `error` takes it, the status of an HTTP answer,
/// or a word that closes the connection. Else what is wrong.
pub(super) fn named(name: &str, protocol: Protocol) -> Result<End, Problems> {
    if let Some(end) = closing(name) {
        return Ok(end);
    }
    let mut problems = Problems::default();
    // Channels' codes have a digit more than HTTP's statuses.
    let is_status = protocol.is_http()
        && name.bytes().all(|byte| byte.is_ascii_digit())
        && !(protocol == Protocol::Pusher && name.len() == 4);
    let text = if is_status {
        format!("status = {}", name.trim_start_matches('0'))
    } else {
        let plain: String = name
            .chars()
            .filter(|c| !c.is_control() && !"\"\\".contains(*c))
            .collect();
        format!("error = \"{plain}\"")
    };
    // Read as the kind `error` reads its own keys, so that every protocol's names are known here.
    let source = Source::new("refusal", text.as_str());
    let reply = match DeTable::parse(&text) {
        Ok(_) if !protocol.has_messages() => None,
        Ok(table) => {
            let place = table.span();
            let keys = error::DEF.keys;
            let fields = Fields::unchecked(table.get_ref(), place, &source, "`refusal`", keys);
            reply::parse(&fields, protocol, &mut problems)
        }
        Err(_) => None,
    };
    if reply.is_none() && problems.as_slice().is_empty() {
        let message = format!("the protocol {protocol} has no error `{name}`");
        let hint = "\"close\" and \"reset\" act on any protocol".to_owned();
        problems.error(&source, None, message, hint);
    }
    reply.map(End::Reply).ok_or(problems)
}

/// The same refusal for a whole connection: it is closed after the answer.
pub(super) fn closes(end: End) -> End {
    match end {
        End::Reply(Reply::Http {
            status,
            reason,
            headers,
            body,
            chunked,
            ..
        }) => End::Reply(Reply::Http {
            status,
            reason,
            headers,
            body,
            close: true,
            chunked,
        }),
        End::Reply(Reply::Redis { name, rest, .. }) => End::Reply(Reply::Redis {
            name,
            rest,
            close: true,
        }),
        End::Reply(Reply::S3 {
            code,
            status,
            headers,
            in_200,
            ..
        }) => End::Reply(Reply::S3 {
            code,
            status,
            headers,
            in_200,
            close: Some(true),
        }),
        other => other,
    }
}
