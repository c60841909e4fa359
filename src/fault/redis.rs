//! Redis's errors as files name them.

use super::{Gate, Reply, error::Only};
use crate::{
    input::{Fields, Problems, did_you_mean},
    protocol::{
        CONNECT,
        redis::{ERRORS, ErrorDef, Meets, find_error},
    },
};

/// Keys of the kind `error` that other protocols carry.
const OTHERS_KEYS: &[&str] = &[
    "status",
    "body",
    "headers",
    "reason",
    "retry_after",
    "detail",
    "hint",
];

/// Reads one of Redis's errors, and which commands it meets: those that a server in this state
/// answers so, or those that the file's `when` names.
pub(super) fn parse(
    fields: &Fields<'_>,
    gate: &Gate,
    problems: &mut Problems,
) -> Option<(Reply, Only)> {
    let before = problems.as_slice().len();
    let (reply, def) = reply(fields, problems)?;
    acceptance(fields, gate, def, problems);
    let only = if gate.when.operation.is_empty() {
        Only::Redis(def.meets)
    } else {
        Only::Everything
    };
    (problems.as_slice().len() == before).then_some((reply, only))
}

/// Reads one of Redis's errors.
pub(super) fn reply(
    fields: &Fields<'_>,
    problems: &mut Problems,
) -> Option<(Reply, &'static ErrorDef)> {
    let before = problems.as_slice().len();
    for key in OTHERS_KEYS.iter().filter(|key| fields.has(key)) {
        let said = format!("an error of Redis has no `{key}`");
        let hint = match *key {
            "body" => "did you mean `message`? It is what follows the error's first word",
            _ => "`error` names it, `message` is what follows its first word",
        };
        fields.problem(problems, key, said, hint.to_owned());
    }
    if !fields.has("error") {
        let message = format!("{} does not say which error", fields.name());
        let hint = "write its first word: error = \"LOADING\"".to_owned();
        problems.error(fields.source, fields.span.clone(), message, hint);
    }
    let def = def(fields, problems);
    let rest = rest(fields, def, problems);
    let close = fields.bool("close", problems);
    let def = def?;
    let reply = Reply::Redis {
        name: def.name.to_owned(),
        rest,
        close: close.unwrap_or(false) || def.meets == Meets::Connections,
    };
    (problems.as_slice().len() == before).then_some((reply, def))
}

fn def(fields: &Fields<'_>, problems: &mut Problems) -> Option<&'static ErrorDef> {
    let name = fields.text("error", problems)?.value;
    if let Some(def) = find_error(&name) {
        return Some(def);
    }
    let known = || ERRORS.iter().map(|def| def.name);
    let hint = match did_you_mean(&name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are: {}", known().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("Redis has no error `{name}`");
    fields.problem(problems, "error", message, hint);
    None
}

fn rest(fields: &Fields<'_>, def: Option<&ErrorDef>, problems: &mut Problems) -> Option<String> {
    let Some(text) = fields.text("message", problems) else {
        if let Some(def) = def.filter(|def| def.text.is_none()) {
            let hint = match def.name {
                "MOVED" | "ASK" => "write the other node: message = \"127.0.0.1:6381\"",
                _ => "write what follows its first word: message = \"unknown command\"",
            };
            let message = format!("`{}` has no text of its own", def.name);
            fields.problem(problems, "error", message, hint.to_owned());
        }
        return None;
    };
    if text.value.chars().any(char::is_control) {
        let said = "an error of Redis is one line without control characters";
        fields.problem(problems, "message", said, None);
    }
    Some(text.value)
}

/// A connection can be refused, and nothing else of it can be.
fn acceptance(fields: &Fields<'_>, gate: &Gate, def: &ErrorDef, problems: &mut Problems) {
    let operations = &gate.when.operation;
    let names_it = operations.iter().any(|name| name == CONNECT);
    let names_another = operations.iter().any(|name| name != CONNECT);
    match def.meets {
        Meets::Connections if !names_it || names_another => {
            let message = format!("`{}` meets connections and no commands", def.name);
            let hint = format!("write when = {{ operation = \"{CONNECT}\" }}");
            fields.problem(problems, "error", message, hint);
        }
        Meets::Connections => {}
        _ if names_it => {
            let message = format!("a connection is not refused by `{}`", def.name);
            let hint = "it is by `max-clients`; leave CONNECT out, or write that".to_owned();
            fields.problem(problems, "error", message, hint);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        fault::{End, sample},
        protocol::{CONNECT, Call, CallTracker, Protocol, Recognised, SILENT},
        units::Micros,
    };

    fn text(keys: &str) -> String {
        format!("kind = 'error'\non = 'x'\n{keys}")
    }

    fn call(operation: &str) -> Call {
        let recognised = Recognised {
            operation: operation.into(),
            key: "k".into(),
            text: if operation == CONNECT { SILENT } else { "" }.into(),
            ..Recognised::default()
        };
        Call::statement(recognised, 1, &mut CallTracker::default())
    }

    fn hits(keys: &str, operation: &str) -> bool {
        let set = sample::set(&text(keys), Protocol::Redis);
        let decision = set.request(&call(operation), Micros(0));
        assert_eq!(decision.is_pass(), decision.end.is_none());
        !decision.is_pass()
    }

    #[test]
    fn an_error_meets_the_commands_that_a_server_answers_so() {
        for (keys, hit, spared) in [
            ("error = 'READONLY'", "SET", "GET"),
            ("error = 'OOM'", "SET", "DEL"),
            ("error = 'LOADING'", "PING", "AUTH"),
            ("error = 'MOVED'\nmessage = '127.0.0.1:1'", "GET", "PING"),
            (
                "error = 'READONLY'\nwhen = { operation = 'GET' }",
                "GET",
                "SET",
            ),
            (
                "error = 'max-clients'\nwhen = { operation = 'CONNECT' }",
                "CONNECT",
                "GET",
            ),
            ("error = 'ERR'\nmessage = 'no'", "GET", "CONNECT"),
        ] {
            assert!(hits(keys, hit), "{keys}");
            assert!(!hits(keys, spared), "{keys}");
        }
    }

    #[test]
    fn an_acceptance_concerns_only_those_who_name_it() {
        for (keys, concerned) in [("", false), ("when = { operation = 'CONNECT' }", true)] {
            let text = format!("kind = 'hang'\non = 'x'\n{keys}");
            let set = sample::set(&text, Protocol::Redis);
            let decision = set.request(&call("CONNECT"), Micros(0));
            assert_eq!(decision.end == Some(End::Hang), concerned, "{keys}");
        }
    }

    #[test]
    fn what_redis_would_not_say_is_a_problem() {
        for (keys, said) in [
            ("", "does not say which error"),
            (
                "error = 'LOADNG'",
                "Redis has no error `LOADNG` (did you mean `LOADING`?)",
            ),
            ("error = 'SlowDown'", "known are: LOADING"),
            (
                "error = 'MOVED'",
                "has no text of its own (write the other node",
            ),
            ("error = 'ERR'\nmessage = \"a\\r\\nb\"", "one line"),
            ("error = 'OOM'\nstatus = 503", "has no `status`"),
            (
                "error = 'OOM'\nbody = 'full'",
                "has no `body` (did you mean `message`?",
            ),
            ("error = 'OOM'\ndetail = 'x'", "has no `detail`"),
            (
                "error = 'max-clients'",
                "when = { operation = \"CONNECT\" }",
            ),
            (
                "error = 'OOM'\nwhen = { operation = 'CONNECT' }",
                "not refused by `OOM`",
            ),
            (
                "error = 'OOM'\nwhen = { operation = 'SETT' }",
                "did you mean `SET`?",
            ),
            ("error = 'OOM'\nwhen = { table = 't' }", "have no `table`"),
        ] {
            let seen = sample::read(&text(keys), Protocol::Redis).unwrap_err();
            assert!(seen[0].contains(said), "{keys}: {seen:?}");
        }
    }
}
