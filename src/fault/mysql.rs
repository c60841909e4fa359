//! MySQL's errors as files name them.

use super::{Gate, Reply, error::Only, wildcard};
use crate::{
    input::{Fields, Problems, did_you_mean},
    protocol::{
        CONNECT,
        mysql::{ERRORS, ErrorDef, Meets, find_error},
    },
};

/// Keys of the kind `error` that other protocols carry.
const OTHERS_KEYS: &[&str] = &[
    "status",
    "body",
    "headers",
    "reason",
    "retry_after",
    "close",
    "detail",
    "hint",
];

/// Reads one of MySQL's errors, and which requests it meets: those that a server in this state
/// answers so, or those that the file's `when` names.
pub(super) fn parse(
    fields: &Fields<'_>,
    gate: &Gate,
    problems: &mut Problems,
) -> Option<(Reply, Only)> {
    let before = problems.as_slice().len();
    let (reply, def) = reply(fields, problems)?;
    acceptance(fields, gate, def, problems);
    let only = match def.meets {
        Meets::Connect | Meets::Login => Only::Mysql(def.meets),
        _ if !gate.when.operation.is_empty() => Only::Everything,
        meets => Only::Mysql(meets),
    };
    (problems.as_slice().len() == before).then_some((reply, only))
}

/// Reads one of MySQL's errors.
pub(super) fn reply(
    fields: &Fields<'_>,
    problems: &mut Problems,
) -> Option<(Reply, &'static ErrorDef)> {
    let before = problems.as_slice().len();
    for key in OTHERS_KEYS.iter().filter(|key| fields.has(key)) {
        let said = format!("an error of MySQL has no `{key}`");
        let hint = match *key {
            "body" => "did you mean `message`?",
            _ => "`error` is its number, `message` its text",
        };
        fields.problem(problems, key, said, hint.to_owned());
    }
    if !fields.has("error") {
        let message = format!("{} does not say which error", fields.name());
        let hint = "write its number: error = \"1213\"".to_owned();
        problems.error(fields.source, fields.span.clone(), message, hint);
    }
    let def = def(fields, problems);
    let text = text(fields, def, problems);
    let def = def?;
    let reply = Reply::Mysql {
        errno: def.errno,
        text,
    };
    (problems.as_slice().len() == before).then_some((reply, def))
}

fn def(fields: &Fields<'_>, problems: &mut Problems) -> Option<&'static ErrorDef> {
    let name = fields.text("error", problems)?.value;
    if let Some(def) = find_error(&name) {
        return Some(def);
    }
    let numbers: Vec<String> = ERRORS.iter().map(|def| def.errno.to_string()).collect();
    let names = ERRORS.iter().map(|def| def.name);
    let known = numbers.iter().map(String::as_str).chain(names);
    let hint = match did_you_mean(&name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are: {}", numbers.join(", ")),
    };
    let message = format!("no error `{name}` of MySQL is known");
    fields.problem(problems, "error", message, hint);
    None
}

fn text(fields: &Fields<'_>, def: Option<&ErrorDef>, problems: &mut Problems) -> Option<String> {
    let text = fields.text("message", problems).map(|item| item.value);
    if let Some(def) = def.filter(|def| def.text.is_none() && text.is_none()) {
        let message = format!("{} names somebody in its message", def.errno);
        let hint = "write it: message = \"User app has exceeded …\"".to_owned();
        fields.problem(problems, "error", message, hint);
    }
    if text
        .as_ref()
        .is_some_and(|text| text.len() > TEXT_BYTES_MAX)
    {
        let message = format!("a message has at most {TEXT_BYTES_MAX} bytes");
        fields.problem(problems, "message", message, None);
    }
    text
}

/// `MYSQL_ERRMSG_SIZE`.
const TEXT_BYTES_MAX: usize = 512;

/// Some errors meet connections alone, all others statements alone.
fn acceptance(fields: &Fields<'_>, gate: &Gate, def: &ErrorDef, problems: &mut Problems) {
    let operations = &gate.when.operation;
    let reaches = |pattern: &String| wildcard(pattern, CONNECT);
    let is_refusal = matches!(def.meets, Meets::Connect | Meets::Login);
    if is_refusal && !operations.is_empty() && !operations.iter().any(reaches) {
        let message = format!("{} meets connections and no statements", def.errno);
        let hint = format!("when = {{ operation = \"{CONNECT}\" }}, or no `when` at all");
        fields.problem(problems, "error", message, hint);
    }
    if !is_refusal && operations.iter().any(|name| name == CONNECT) {
        let message = format!("a connection is not refused by {}", def.errno);
        let hint = "it is by 1040, 1045, 1129, 1203 and 1226".to_owned();
        fields.problem(problems, "error", message, hint);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        fault::sample,
        protocol::{CONNECT, Call, CallTracker, Protocol, Recognised},
        units::Micros,
    };

    fn text(keys: &str) -> String {
        format!("kind = 'error'\non = 'x'\n{keys}")
    }

    fn hits(keys: &str, operation: &str) -> bool {
        let recognised = Recognised {
            operation: operation.into(),
            ..Recognised::default()
        };
        let call = Call::statement(recognised, 1, &mut CallTracker::default());
        let set = sample::set(&text(keys), Protocol::Mysql);
        !set.request(&call, Micros(0)).is_pass()
    }

    #[test]
    fn an_error_meets_the_requests_that_a_server_answers_so() {
        for (keys, hit, spared) in [
            ("error = '1040'", CONNECT, "SELECT"),
            ("error = '1213'", "UPDATE", "SELECT"),
            ("error = 'lock_deadlock'", "INSERT", "PING"),
            ("error = '1290'", "DROP", "SELECT"),
            ("error = '1317'", "SELECT", "PING"),
            ("error = '1053'", "PING", CONNECT),
            (
                "error = '1213'\nwhen = { operation = 'SELECT' }",
                "SELECT",
                "UPDATE",
            ),
        ] {
            assert!(hits(keys, hit), "{keys}");
            assert!(!hits(keys, spared), "{keys}");
        }
    }

    #[test]
    fn what_mysql_would_not_say_is_a_problem() {
        for (keys, said) in [
            ("", "does not say which error"),
            (
                "error = '1214'",
                "no error `1214` of MySQL is known (did you mean",
            ),
            ("error = 'lock_deadlok'", "did you mean `lock_deadlock`?"),
            ("error = '1203'", "names somebody"),
            ("error = '1213'\nstatus = 503", "has no `status`"),
            (
                "error = '1213'\nbody = 'x'",
                "has no `body` (did you mean `message`?)",
            ),
            ("error = '1213'\nhint = 'x'", "has no `hint`"),
            (
                "error = '1213'\nwhen = { operation = 'CONNECT' }",
                "not refused by 1213",
            ),
            (
                "error = '1040'\nwhen = { operation = 'SELECT' }",
                "no statements",
            ),
            (
                "error = '1213'\nwhen = { operation = 'SELEC' }",
                "did you mean `SELECT`?",
            ),
        ] {
            let seen = sample::read(&text(keys), Protocol::Mysql).unwrap_err();
            assert!(seen[0].contains(said), "{keys}: {seen:?}");
        }
    }
}
