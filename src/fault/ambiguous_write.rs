//! `ambiguous-write`: what the dependency did with a write, and what its caller sees of it, each
//! chosen on its own, for the first attempt of a call, for its retries, or for all.
//!
//! Two axes: {not carried out, once, so many times} and {an error, a time-out, a reset, a late
//! answer}. Cells that other kinds say as well are named in `docs/explanation/writes.md`.

use super::{
    Acts, Behaviour, By, Closing, Context, Decision, End, FaultDef, Gate, Group, Memory, Reply,
    Then,
    error::ANSWER,
    keys::{self, Delays, LAW},
    reply,
};
use crate::{
    input::{About, Fields, Key, Problems, Shape, did_you_mean},
    protocol::{
        CONNECT, Call, Protocol, mysql,
        postgres::{self, Moment},
        redis::{self, Meets},
    },
    seed::name_hash,
    units::Micros,
};
use ::http::HeaderName;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// The most often that one write is sent.
const TIMES_MAX: i64 = 10;

/// Values of `call` whose requests are remembered, and requests of each.
const CALLS_MAX: usize = 100_000;
const ATTEMPTS_MAX: usize = 64;

const OWN: &[Key; 5] = &[
    Key::optional(
        "applied",
        Shape::OneOf(&["no", "once", "each", "repeated"]),
        "how often the dependency carries out a call: no; once: its first attempt alone, the retries that are met never reach it; each: every attempt, so that the client's own retries repeat it; repeated: as once, but the one attempt is sent `times` times (once)",
    ),
    Key::optional(
        "times",
        Shape::Integer(2, TIMES_MAX),
        "repeated: how often it is sent in all (2)",
    ),
    Key::optional(
        "seen",
        Shape::OneOf(&["error", "time-out", "reset", "late"]),
        "what the client sees: an error (`error`, `status` …), nothing, RST, or an answer that comes late (`delay` …) (time-out)",
    ),
    Key::optional(
        "attempts",
        Shape::OneOf(&["all", "first", "retries"]),
        "which attempts of a call it meets (all)",
    ),
    Key::optional(
        "call",
        Shape::OneOfOr(CALLS, "header:"),
        "which requests are attempts of one call: id: those with the client's own id; key: those of the same kind for the same key, \"header:x-order\": with the same value of this header, in each phase anew (id)",
    ),
];

/// What `call` may be beside `header:NAME`.
const CALLS: &[&str] = &["id", "key"];

const OWN_AND_ANSWER: [Key; 15] = keys::joined(OWN, ANSWER);
const KEYS: [Key; 22] = keys::joined(&OWN_AND_ANSWER, LAW);

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "ambiguous-write",
    group: Group::Message,
    summary: "a write is carried out or not, and its caller cannot know",
    about: About {
        text: "\
            A write of which the caller cannot know what became. Two things are chosen apart: \
            how often the dependency carries it out (`applied`: no, once, each attempt, repeated) \
            and what the client sees (`seen`: an error, a time-out, a reset, a late answer). \
            Most damage of outages is done here: who asks again doubles what was done, who does \
            not loses what was not.\n\n\
            It meets writes alone, unless `when` names operations, and of each call all \
            attempts, the first, or the retries. With `applied = \"once\"` the first attempt is \
            carried out and whatever is tried again never reaches the dependency; with `each` \
            every retry is carried out too; with `repeated` one attempt is sent several times, as \
            a proxy does that tries again by itself.",
        evidence: "\
            Each attempt that was met is an act. The history says of each whether it was carried \
            out, how often it was repeated, and of how many copies no answer says whether they \
            were carried out.",
        doubt: "\
            Attempts of one call are known where the client sends an id of the call \
            (`Idempotency-Key`, the SDKs of Amazon, Google, Microsoft, Stripe), or where `call` says \
            by what else: a header, or the key, which of a database may be a bound parameter; \
            then every request that fits `when` counts, also one that another fault took. \
            Elsewhere each request is a call of its own, so that `once` carries out each of them; \
            databases send no id, so that `attempts` needs a `call` there. A request of more than 1 MiB, what \
            is part of a transaction of Redis, and of PostgreSQL a statement in a transaction, behind \
            another one in its pipeline or text, or of more than 32 KiB, are not repeated: the fault \
            then leaves them alone and does not count them.",
        mistakes: &[
            "\
                Without a ledger, `no-double-effect` or `nothing-lost` a run shows only that the \
                client waited.",
            "\
                A phase shorter than the client's time-out ends the silence before the client has \
                given up.",
        ],
        related: &[
            "lost-reply",
            "error",
            "late-reply",
            "no-double-effect",
            "nothing-lost",
        ],
    },
    example: "[[phase.fault]]\nkind     = \"ambiguous-write\"\non       = \"object-store\"\napplied  = \"once\"\nseen     = \"time-out\"\nattempts = \"first\"\n",
    example_protocol: Protocol::S3,
    keys: &KEYS,
    refuses: &[],
    ramps: &["delay"],
    carried_by: keys::messages,
    parse,
};

/// How often the dependency carries out a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    No,
    Once,
    Each,
    /// So many times more than once.
    Repeated(u32),
}

/// What the client sees.
#[derive(Debug, Clone)]
enum Seen {
    Error(Reply),
    TimeOut,
    Reset,
    /// An answer after this time: the dependency's, or, where it is not asked, this one.
    Late(Delays, Option<Reply>),
}

/// Which attempts of a call are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempts {
    All,
    First,
    Retries,
}

impl Attempts {
    fn meets(self, attempt: u32) -> bool {
        match self {
            Self::All => true,
            Self::First => attempt <= 1,
            Self::Retries => attempt > 1,
        }
    }

    /// Whether this attempt is the first of those met.
    fn begins_with(self, attempt: u32) -> bool {
        match self {
            Self::All | Self::First => attempt <= 1,
            Self::Retries => attempt == 2,
        }
    }
}

/// What tells which requests are attempts of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// The client's own id.
    Id,
    /// The operation and key, or the value of a header.
    By(By),
}

/// The requests that came for each call since the fault came into force, by a number that stands for
/// the call's name. Bounded: beyond [`CALLS_MAX`] calls all are forgotten, and of one call no more
/// than [`ATTEMPTS_MAX`] requests are told apart.
#[derive(Debug, Default)]
struct Came(HashMap<u64, Vec<Arc<str>>>);

impl Came {
    /// Which attempt of its call a request is, from 1. The same one may be asked about again.
    fn number(&mut self, name: u64, request: &Arc<str>) -> u32 {
        if self.0.len() >= CALLS_MAX && !self.0.contains_key(&name) {
            self.0.clear();
        }
        let own = self.0.entry(name).or_default();
        let place = own.iter().position(|known| known == request);
        let place = place.unwrap_or_else(|| {
            if own.len() < ATTEMPTS_MAX {
                own.push(Arc::clone(request));
            }
            own.len() - 1
        });
        u32::try_from(place + 1).unwrap_or(u32::MAX)
    }
}

#[derive(Debug)]
struct AmbiguousWrite {
    protocol: Protocol,
    /// Whether the file's `when` names operations: then these are met, else all that write.
    is_named: bool,
    carried: Carried,
    seen: Seen,
    attempts: Attempts,
    named: Named,
    came: Mutex<Came>,
}

fn parse(
    fields: &Fields<'_>,
    protocol: Protocol,
    gate: &Gate,
    problems: &mut Problems,
) -> Option<Box<dyn Behaviour>> {
    let carried = carried(fields, protocol, gate, problems);
    no_connections(fields, gate, problems);
    let named = named(fields, protocol, problems);
    let attempts = attempts(fields, &named, protocol, problems);
    let seen = seen(fields, carried, protocol, gate, problems);
    Some(Box::new(AmbiguousWrite {
        protocol,
        is_named: !gate.when.operation.is_empty(),
        carried,
        seen: seen?,
        attempts,
        named,
        came: Mutex::default(),
    }))
}

/// The acceptance of a connection is no write, whatever the file's `when` names.
fn no_connections(fields: &Fields<'_>, gate: &Gate, problems: &mut Problems) {
    let is_connect = |name: &&String| name.eq_ignore_ascii_case(CONNECT);
    if let Some(name) = gate.when.operation.iter().find(is_connect) {
        let message = format!("`{name}` is a connection's acceptance, and no write");
        let hint = "`hang`, `error` and `reset` act on those who connect".to_owned();
        fields.problem(problems, "when", message, hint);
    }
}

fn named(fields: &Fields<'_>, protocol: Protocol, problems: &mut Problems) -> Named {
    let Some(text) = fields.text("call", problems) else {
        return Named::Id;
    };
    let header = text.value.strip_prefix("header:");
    let header = header.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    match (&*text.value, header) {
        ("id", _) => {}
        ("key", _) => return Named::By(By::Key),
        (_, Some(name)) if protocol.is_http() => {
            return Named::By(By::Header(name.as_str().into()));
        }
        (_, Some(_)) => {
            let message = format!("requests of the protocol {protocol} have no headers");
            let hint = "write call = \"key\"".to_owned();
            fields.problem(problems, "call", message, hint);
        }
        (other, None) => {
            let hint = match did_you_mean(other, CALLS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of: {}, header:NAME", CALLS.join(", ")),
            };
            let message = format!("unknown call `{other}`");
            fields.problem(problems, "call", message, hint);
        }
    }
    Named::Id
}

fn carried(
    fields: &Fields<'_>,
    protocol: Protocol,
    gate: &Gate,
    problems: &mut Problems,
) -> Carried {
    let applied = fields.word("applied", problems).map(|word| word.value);
    let times = fields.integer("times", problems);
    if applied != Some("repeated") && fields.has("times") {
        let hint = "write applied = \"repeated\", or leave `times` out".to_owned();
        fields.problem(problems, "times", "nothing is sent several times", hint);
    }
    match applied {
        Some("no") => Carried::No,
        Some("each") => Carried::Each,
        Some("repeated") => {
            let repeated = |name: &&String| {
                let mut all = postgres::REPEATED.iter();
                all.any(|one| one.eq_ignore_ascii_case(name))
            };
            let mut named = gate.when.operation.iter();
            let other = named.find(|name| !repeated(name));
            if let Some(name) = other.filter(|_| protocol == Protocol::Postgres) {
                let message = format!("no `{name}` of the protocol {protocol} is sent twice");
                let hint = format!("only {}", postgres::REPEATED.join(", "));
                fields.problem(problems, "when", message, hint);
            }
            let more = times.unwrap_or(2).saturating_sub(1);
            Carried::Repeated(u32::try_from(more).unwrap_or(1))
        }
        _ => Carried::Once,
    }
}

/// Only clients of HTTP say themselves which call a request is an attempt of.
fn attempts(
    fields: &Fields<'_>,
    named: &Named,
    protocol: Protocol,
    problems: &mut Problems,
) -> Attempts {
    let attempts = match fields.word("attempts", problems).map(|word| word.value) {
        Some("first") => Attempts::First,
        Some("retries") => Attempts::Retries,
        _ => Attempts::All,
    };
    let is_told = *named != Named::Id || protocol.is_http() || !protocol.has_messages();
    if attempts != Attempts::All && !is_told {
        let message =
            format!("requests of the protocol {protocol} do not say which call they belong to");
        let hint = "call = \"key\" takes those for the same key as one call".to_owned();
        fields.problem(problems, "attempts", message, hint);
    }
    attempts
}

fn seen(
    fields: &Fields<'_>,
    carried: Carried,
    protocol: Protocol,
    gate: &Gate,
    problems: &mut Problems,
) -> Option<Seen> {
    let word = fields.word("seen", problems).map(|word| word.value);
    let (tells, is_late) = (word == Some("error"), word == Some("late"));
    let delayed = LAW.iter().map(|key| key.name);
    let delayed = delayed.chain(gate.ramp.delay.map(|_| "ramp"));
    for key in delayed.filter(|key| !is_late && fields.has(key)) {
        let message = format!("`{key}` says how late the answer is, and none is late");
        let hint = "write seen = \"late\"".to_owned();
        fields.problem(problems, key, message, hint);
    }
    let answered = ANSWER.iter().map(|key| key.name);
    let mut answered = answered.filter(|key| fields.has(key)).peekable();
    let is_answered = answered.peek().is_some();
    for key in answered.filter(|_| !tells && !is_late) {
        let message = format!("`{key}` says what the error is, and none is seen");
        let hint = "write seen = \"error\"".to_owned();
        fields.problem(problems, key, message, hint);
    }
    match word {
        Some("error") => answer(fields, protocol, problems).map(Seen::Error),
        Some("reset") => Some(Seen::Reset),
        Some("late") => {
            let delays = Delays::parse(fields, gate, problems);
            let reply = if carried == Carried::No || is_answered {
                Some(answer(fields, protocol, problems)?)
            } else {
                None
            };
            Some(Seen::Late(delays?, reply))
        }
        _ => Some(Seen::TimeOut),
    }
}

/// The error that is told, which must be one that a write can meet.
fn answer(fields: &Fields<'_>, protocol: Protocol, problems: &mut Problems) -> Option<Reply> {
    if protocol == Protocol::Pusher && fields.has("error") {
        let message = "a code of Channels meets WebSockets, and no writes";
        let hint = "write the status: status = 500".to_owned();
        fields.problem(problems, "error", message, hint);
        return None;
    }
    let reply = reply::parse(fields, protocol, problems)?;
    let meets_writes = match &reply {
        Reply::Redis { name, .. } => {
            redis::find_error(name).is_none_or(|def| def.meets != Meets::Connections)
        }
        Reply::Mysql { errno, .. } => mysql::find_error(&errno.to_string())
            .is_none_or(|def| !matches!(def.meets, mysql::Meets::Connect | mysql::Meets::Login)),
        Reply::Postgres(error) => {
            matches!(error.moment, Moment::Session | Moment::Statement)
        }
        _ => true,
    };
    if !meets_writes {
        let message = "this error meets connections, and no writes";
        let hint = "the kind `error` tells it to those who connect".to_owned();
        fields.problem(problems, "error", message, hint);
    }
    Some(reply)
}

impl AmbiguousWrite {
    /// Whether a request is one of those that it meets, whichever attempt it is.
    fn is_meant(&self, call: &Call) -> bool {
        self.is_named || self.protocol.writes(&call.operation)
    }

    /// Which attempt of its call a request is, from 1.
    fn attempt(&self, call: &Call) -> u32 {
        let Named::By(by) = &self.named else {
            return call.attempt;
        };
        // A request without the header, or without a key, is an attempt of nobody else's call.
        let is_named = match by {
            By::Header(name) => call.headers.get(name).is_some(),
            _ => !call.key.is_empty(),
        };
        if !is_named {
            return call.attempt;
        }
        let name = name_hash(&[&call.operation]) ^ by.of(call).rotate_left(1);
        let request: Arc<str> = format!("{} {}", call.id, call.attempt).into();
        self.came.lock().number(name, &request)
    }

    /// The end of an attempt that the dependency never sees.
    fn unseen(&self, context: &Context) -> End {
        let never = |wait, last| End::Never {
            wait,
            last: Box::new(last),
        };
        match &self.seen {
            Seen::Error(reply) => End::Reply(reply.clone()),
            Seen::TimeOut => never(None, End::Close(Closing::Fin)),
            Seen::Reset => End::Close(Closing::Reset),
            Seen::Late(delays, reply) => {
                let last = reply.clone().map_or(End::Close(Closing::Reset), End::Reply);
                never(Some(delays.draw(context)), last)
            }
        }
    }

    /// What happens to the answer of one that it carries out.
    fn then(&self, context: &Context) -> Then {
        let then = match &self.seen {
            Seen::Error(reply) => Then::Reply(reply.clone()),
            Seen::TimeOut => Then::Lose,
            Seen::Reset => Then::Close(Closing::Reset),
            Seen::Late(delays, _) => Then::Late(delays.draw(context)),
        };
        match self.carried {
            Carried::Repeated(times) => Then::Repeat {
                times,
                then: Box::new(then),
            },
            _ => then,
        }
    }
}

impl Behaviour for AmbiguousWrite {
    fn armed(&self, _: &mut Memory, _: &str, _: Micros) -> Option<Arc<dyn Behaviour>> {
        Some(Arc::new(Self {
            protocol: self.protocol,
            is_named: self.is_named,
            carried: self.carried,
            seen: self.seen.clone(),
            attempts: self.attempts,
            named: self.named.clone(),
            came: Mutex::default(),
        }))
    }

    fn request(&self, call: &Call, context: &Context) -> Option<Decision> {
        if !self.is_meant(call) {
            return None;
        }
        let attempt = self.attempt(call);
        if !self.attempts.meets(attempt) {
            return None;
        }
        let is_carried_out = match self.carried {
            Carried::No => false,
            Carried::Each => true,
            Carried::Once | Carried::Repeated(_) => self.attempts.begins_with(attempt),
        };
        Some(Decision::end(if is_carried_out {
            End::Forward(self.then(context))
        } else {
            self.unseen(context)
        }))
    }

    fn note(&self, call: &Call) {
        if self.is_meant(call) {
            self.attempt(call);
        }
    }

    fn notes_requests(&self) -> bool {
        matches!(self.named, Named::By(_))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{FaultId, sample},
        protocol::{CallTracker, Recognised, http},
    };
    use Protocol::{Http, Mysql, Postgres, Pusher, Redis, S3, Tcp};
    use std::time::Duration;

    fn text(keys: &str) -> String {
        format!("kind = 'ambiguous-write'\non = 'x'\n{keys}")
    }

    /// The ends of so many attempts of one call that bears an id.
    fn ends(keys: &str, count: usize) -> Vec<Option<End>> {
        let set = sample::set(&text(keys), Http);
        let mut tracker = CallTracker::default();
        let mut attempt = || {
            let headers = [("Host", "a"), ("Idempotency-Key", "7")];
            http::identify(Http, None, "POST", "/charges", headers, 1, &mut tracker)
        };
        let attempts: Vec<Call> = (0..count).map(|_| attempt()).collect();
        let ends = attempts.iter().map(|call| set.request(call, Micros(0)).end);
        ends.collect()
    }

    /// So many requests for the same thing by a client that sends no id.
    fn posts(count: usize) -> Vec<Call> {
        sample::calls(Http, "POST", "/charges", count)
    }

    fn never(wait: Option<u64>, last: End) -> Option<End> {
        let wait = wait.map(Duration::from_secs);
        let last = Box::new(last);
        Some(End::Never { wait, last })
    }

    fn gone() -> Option<End> {
        never(None, End::Close(Closing::Fin))
    }

    fn lost() -> Option<End> {
        Some(End::Forward(Then::Lose))
    }

    #[test]
    fn each_cell_is_what_the_dependency_does_and_what_the_client_sees() {
        let busy = match ends("applied = 'no'\nseen = 'error'\nstatus = 503", 1).remove(0) {
            Some(End::Reply(busy)) => busy,
            other => panic!("{other:?}"),
        };
        let repeated = |then| {
            let then = Box::new(then);
            Some(End::Forward(Then::Repeat { times: 2, then }))
        };
        let late = || Then::Late(Duration::from_secs(4));
        let close = || End::Close(Closing::Reset);
        for (keys, unseen, then) in [
            (
                "seen = 'error'\nstatus = 503",
                Some(End::Reply(busy.clone())),
                Then::Reply(busy.clone()),
            ),
            ("seen = 'time-out'", gone(), Then::Lose),
            ("seen = 'reset'", Some(close()), Then::Close(Closing::Reset)),
            (
                "seen = 'late'\ndelay = '4s'\nstatus = 503",
                never(Some(4), End::Reply(busy)),
                late(),
            ),
        ] {
            let end = |applied: &str| ends(&format!("applied = {applied}\n{keys}"), 1).remove(0);
            assert_eq!(end("'no'"), unseen, "{keys}");
            let once = Some(End::Forward(then.clone()));
            assert_eq!(end("'once'"), once, "{keys}");
            assert_eq!(end("'each'"), once, "{keys}");
            assert_eq!(end("'repeated'\ntimes = 3"), repeated(then), "{keys}");
        }
    }

    #[test]
    fn attempts_of_a_call_are_met_and_carried_out_as_the_file_says() {
        for (keys, expected) in [
            ("", [lost(), gone(), gone()]),
            ("applied = 'each'", [lost(), lost(), lost()]),
            ("applied = 'no'", [gone(), gone(), gone()]),
            ("attempts = 'first'", [lost(), None, None]),
            ("applied = 'no'\nattempts = 'first'", [gone(), None, None]),
            ("attempts = 'retries'", [None, lost(), gone()]),
            (
                "applied = 'each'\nattempts = 'retries'",
                [None, lost(), lost()],
            ),
            (
                "applied = 'no'\nattempts = 'retries'",
                [None, gone(), gone()],
            ),
        ] {
            assert_eq!(ends(keys, 3), expected, "{keys}");
        }
    }

    #[test]
    fn a_key_or_a_header_tells_which_requests_are_attempts_of_one_call() {
        let mut tracker = CallTracker::default();
        let mut charge = |order: &str| {
            let headers = [("Host", "a"), ("X-Order", order)];
            http::identify(Http, None, "POST", "/charges", headers, 1, &mut tracker)
        };
        let calls = [charge("7"), charge("8"), charge("7")];
        let set = sample::set(&text("call = 'header:X-Order'"), Http);
        let ends = |calls: &[Call]| -> Vec<_> {
            let ends = calls.iter().map(|call| set.request(call, Micros(0)).end);
            ends.collect()
        };
        assert_eq!(ends(&calls), [lost(), lost(), gone()]);
        // Who is asked about again is no other attempt.
        assert_eq!(ends(&calls), [lost(), lost(), gone()]);

        let mut tracker = CallTracker::default();
        let mut insert = |key: &str, operation: &str| {
            let recognised = Recognised {
                operation: operation.into(),
                key: key.into(),
                ..Recognised::default()
            };
            Call::statement(recognised, 1, &mut tracker)
        };
        let keys = "call = 'key'\nattempts = 'retries'\napplied = 'no'";
        let set = sample::set(&text(keys), Postgres);
        let calls = [
            ("7", "INSERT", false),
            ("8", "INSERT", false),
            ("7", "UPDATE", false),
            ("7", "INSERT", true),
            ("", "INSERT", false),
            ("", "INSERT", false),
        ];
        for (key, operation, met) in calls {
            let end = set.request(&insert(key, operation), Micros(0)).end;
            assert_eq!(end.is_some(), met, "{key} {operation}");
        }
    }

    #[test]
    fn a_request_that_another_fault_took_or_a_share_left_out_is_an_attempt_all_the_same() {
        let keyed = text("call = 'key'\nattempts = 'first'");
        let first = "kind = 'error'\non = 'x'\nstatus = 503\nfirst = 1";
        let before = sample::together(&[first, &keyed], Http);
        let own: Vec<bool> = posts(3)
            .iter()
            .map(|call| before.request(call, Micros(0)).acted.contains(&FaultId(1)))
            .collect();
        // The first attempt met the error; those that follow are retries.
        assert_eq!(own, [false, false, false]);

        // Of a call whose first attempt a share left out, a retry is met as what it is.
        let shared = format!("{keyed}\nshare = '50%'\nby = 'request'");
        let set = sample::set(&shared, Http);
        let met = (0..64).filter(|order| {
            let own = sample::calls(Http, "POST", &format!("/charges/{order}"), 3);
            let met = |call: &Call| !set.request(call, Micros(0)).is_pass();
            let own: Vec<bool> = own.iter().map(met).collect();
            assert!(!own[1] && !own[2], "{order}: {own:?}");
            own[0]
        });
        let met = met.count();
        assert!((16..48).contains(&met), "{met}");

        // What a connection's refusal took is told to the set alone.
        let alone = sample::set(&keyed, Http);
        let calls = posts(2);
        alone.note(&calls[0]);
        assert!(alone.request(&calls[1], Micros(0)).is_pass());
        // Who asks again about a request tells nothing new.
        let again = sample::set(&keyed, Http);
        again.note(&calls[0]);
        assert!(!again.request(&calls[0], Micros(0)).is_pass());
    }

    #[test]
    fn what_is_remembered_of_calls_is_bounded() {
        let mut came = Came::default();
        let request = |nth: u64| -> Arc<str> { nth.to_string().into() };
        for nth in 0..200 {
            came.number(1, &request(nth));
        }
        assert_eq!(came.number(1, &request(500)), 64);
        for name in 0..=CALLS_MAX as u64 {
            came.number(name, &request(0));
        }
        assert!(came.0.len() <= CALLS_MAX);
    }

    #[test]
    fn reads_pass_unless_the_file_names_them() {
        for (protocol, keys, method, met) in [
            (Http, "", "POST", true),
            (Http, "", "GET", false),
            (Http, "when = { operation = 'GET' }", "GET", true),
            (S3, "", "PUT", true),
            (S3, "", "GET", false),
            (Http, "when = { path = '/c' }", "PUT", false),
        ] {
            let set = sample::set(&text(keys), protocol);
            let decision = set.request(&sample::call(protocol, method, "/a/b"), Micros(0));
            assert_eq!(!decision.is_pass(), met, "{protocol} {method} {keys}");
        }
    }

    #[test]
    fn a_late_answer_to_what_never_arrived_is_an_error_or_a_reset() {
        let late = "seen = 'late'\ndelay = '4s'";
        let seen = ends(late, 2);
        let reset = never(Some(4), End::Close(Closing::Reset));
        assert_eq!(seen[1], reset);
        let problems = sample::read(&text(&format!("applied = 'no'\n{late}")), Http).unwrap_err();
        assert!(
            problems[0].contains("neither `error` nor `status`"),
            "{problems:?}"
        );
    }

    #[test]
    fn what_a_protocol_cannot_carry_is_a_problem() {
        refused("", Tcp, "cannot act on the protocol tcp");
        refused("attempts = 'first'", Redis, "do not say which call");
        refused("attempts = 'retries'", Mysql, "(call = \"key\" takes those");
        refused("call = 'header:x-order'", Redis, "have no headers");
        let copy = "applied = 'repeated'\nwhen = { operation = ['INSERT', 'COPY'] }";
        let twice = "no `COPY` of the protocol postgres is sent twice (only INSERT";
        refused(copy, Postgres, twice);
        for protocol in [Http, S3, Pusher, Redis, Mysql, Postgres] {
            let read = sample::read(&text("applied = 'repeated'"), protocol);
            assert!(read.is_ok(), "{protocol}: {:?}", read.unwrap_err());
        }
    }

    #[test]
    fn an_error_that_meets_no_writes_and_what_nobody_sees_are_problems() {
        refused("seen = 'error'", Http, "neither `error` nor `status`");
        refused("seen = 'error'", Redis, "does not say which error");
        for (error, protocol, said) in [
            ("1040", Mysql, "meets connections"),
            ("53300", Postgres, "meets connections"),
            ("max-clients", Redis, "meets connections"),
            ("4004", Pusher, "(write the status"),
        ] {
            refused(
                &format!("seen = 'error'\nerror = '{error}'"),
                protocol,
                said,
            );
        }
        refused("seen = 'late'", Http, "has no delay");
        let late = "none is late (write seen = \"late\")";
        refused("delay = '1s'", Http, late);
        let error = "none is seen (write seen = \"error\")";
        refused("status = 503", Http, error);
        let connect = "when = { operation = 'CONNECT' }";
        refused(connect, Redis, "acceptance, and no write");
    }

    #[test]
    fn what_says_nothing_is_a_problem() {
        refused("times = 3", Http, "nothing is sent several times");
        refused("applied = 'repeated'\ntimes = 1", Http, "from 2 to 10");
        refused("applied = 'yes'", Http, "unknown applied `yes`");
        refused(
            "call = 'ids'",
            Http,
            "unknown call `ids` (did you mean `id`?)",
        );
        refused("call = 'header:'", Http, "one of: id, key, header:NAME");
    }

    #[track_caller]
    fn refused(keys: &str, protocol: Protocol, said: &str) {
        let seen = sample::read(&text(keys), protocol).unwrap_err();
        assert!(seen[0].contains(said), "{protocol} {keys}: {seen:?}");
    }
}
