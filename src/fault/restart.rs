//! `restart`: the dependency is started anew, and its clients live through the whole sequence of
//! it, timed from the moment when the fault comes into force.
//!
//! - PostgreSQL, `fast`: every session ends with 57P01, idle ones too; who connects hears that it
//!   is shutting down; then nobody listens; then it is starting up; then it is ready, and cold for
//!   a while. `immediate`: sessions end with a notice, and after the start it recovers. `crash`:
//!   one server process was killed; sessions end with 57P02, the listener stays, and it recovers.
//! - Redis: connections are closed, nobody listens, then every command is answered `-LOADING`.
//! - MySQL: connections are closed, then nobody listens.
//!
//! The sequences are measured ones; their lengths are the file's, as those of a tiny database say
//! nothing of a real one.

use super::{
    Acts, Behaviour, Closing, ConnectionEvent, Context, Decision, End, FaultDef, Group,
    ListenerState, Reply,
};
use crate::{
    input::{About, Fields, Key, Problems, Shape},
    protocol::{
        CONNECT, Call, Protocol,
        postgres::{ErrorReply, find_error},
        redis,
    },
    units::{format_duration, parse_duration},
};
use std::time::Duration;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "restart",
    group: Group::Capacity,
    summary: "started anew: sessions end, nobody listens, it starts up, it is cold",
    about: About {
        text: "\
            The dependency is started anew, and its clients live through the whole sequence, as \
            it was measured on the real servers: sessions end, idle ones too; who connects hears \
            that it is shutting down; then nobody listens; then it is starting up; then it is \
            ready, and cold for a while.",
        evidence: "\
            Sessions that were ended and requests that were refused or delayed are acts.",
        doubt: "",
        mistakes: &[
            "\
                The phase must be longer than the sequence, or its end is cut off; `check` warns of \
                it.",
            "\
                The herd of returning clients is half of the story: `reconnect` looks at it.",
        ],
        related: &["refuse", "reconnect", "ramp", "recovery"],
    },
    example: "[[phase.fault]]\nkind     = \"restart\"\non       = \"database\"\ndown     = \"10s\"\nstarting = \"2s\"\ncold     = \"20s\"\n",
    example_protocol: Protocol::Postgres,
    keys: &[
        Key::optional(
            "mode",
            Shape::OneOf(&["fast", "immediate", "crash"]),
            "postgres: fast: an orderly shutdown; immediate: without one, so that it recovers; crash: one of its processes was killed (fast)",
        ),
        Key::optional(
            "stopping",
            Shape::Duration,
            "postgres: how long it says that it is shutting down (100ms)",
        ),
        Key::optional(
            "down",
            Shape::Duration,
            "how long nobody listens; not in a crash (5s)",
        ),
        Key::optional(
            "starting",
            Shape::Duration,
            "postgres: how long it says that it is starting up; redis: that it loads; in a crash that it is in recovery mode (1s)",
        ),
        Key::optional(
            "recovering",
            Shape::Duration,
            "postgres, immediate and crash: how long it says that it is not yet accepting (1s)",
        ),
        Key::optional(
            "cold",
            Shape::Duration,
            "how long after that it is slower (0s)",
        ),
        Key::optional(
            "slow",
            Shape::Duration,
            "by how much a request is delayed at first, falling to nothing while it is cold (100ms)",
        ),
    ],
    refuses: &[
        ("when", WHOLE),
        ("share", WHOLE),
        ("by", WHOLE),
        ("first", WHOLE),
        ("every", WHOLE),
        ("after", WHOLE),
        ("ramp", WHOLE),
    ],
    ramps: &[],
    carried_by: |protocol| match protocol {
        Protocol::Postgres | Protocol::Redis | Protocol::Mysql => Ok(()),
        _ => Err(
            "the sequence is known for postgres, redis and mysql; elsewhere `refuse` and `close` make one, phase by phase",
        ),
    },
    parse: |fields, protocol, _, problems| parse(fields, protocol, problems),
};

const WHOLE: &str = "the whole dependency is started anew, for everybody";

/// Keys that only PostgreSQL's sequence has.
const OF_POSTGRES: &[&str] = &["mode", "stopping", "recovering"];

fn parse(
    fields: &Fields<'_>,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<Box<dyn Behaviour>> {
    let mode = match fields.word("mode", problems).map(|word| word.value) {
        Some("immediate") => Mode::Immediate,
        Some("crash") => Mode::Crash,
        _ => Mode::Fast,
    };
    let mut refuse = |key: &'static str, message: String, hint: &str| {
        if fields.has(key) {
            fields.problem(problems, key, message, hint.to_owned());
        }
    };
    if protocol != Protocol::Postgres {
        for key in OF_POSTGRES {
            let message = format!("a restart of {protocol} has no `{key}`");
            refuse(key, message, "it has `down`, `starting`, `cold` and `slow`");
        }
    }
    if protocol == Protocol::Mysql {
        let message = "a MySQL server that starts up does not listen yet".to_owned();
        refuse("starting", message, "make `down` longer");
    }
    if mode == Mode::Crash {
        for key in ["stopping", "down"] {
            let message = "after a crash the listener stays".to_owned();
            refuse(key, message, "it has `starting` and `recovering`");
        }
    }
    if mode == Mode::Fast && protocol == Protocol::Postgres {
        let message = "after an orderly shutdown nothing is recovered".to_owned();
        refuse("recovering", message, "mode = \"immediate\"");
    }
    let slow = fields.duration("slow", problems);
    Some(Box::new(Restart {
        protocol,
        mode,
        lengths: lengths(protocol, mode, |key| fields.duration(key, problems)),
        slow: slow.unwrap_or(Duration::from_millis(100)),
    }))
}

/// The keys of the stages, in their order, and how many milliseconds each lasts that is not said.
const STAGES: [(&str, u64); 5] = [
    ("stopping", 100),
    ("down", 5_000),
    ("starting", 1_000),
    ("recovering", 1_000),
    ("cold", 0),
];

/// How long each stage lasts; nothing where the sequence has none.
fn lengths(
    protocol: Protocol,
    mode: Mode,
    mut said: impl FnMut(&'static str) -> Option<Duration>,
) -> [Duration; 5] {
    STAGES.map(|(key, default)| {
        let length = said(key).unwrap_or(Duration::from_millis(default));
        match has(protocol, mode, key) {
            true => length,
            false => Duration::ZERO,
        }
    })
}

/// Whether a sequence has the stage of this key.
fn has(protocol: Protocol, mode: Mode, key: &str) -> bool {
    let is_postgres = protocol == Protocol::Postgres;
    match key {
        "stopping" => is_postgres && mode != Mode::Crash,
        "down" => mode != Mode::Crash,
        "starting" => protocol != Protocol::Mysql,
        "recovering" => is_postgres && mode != Mode::Fast,
        _ => true,
    }
}

/// What is left of a restart of these keys when it has gone on for so long: the keys of one that does the
/// rest. `None` once it is ready, which it is also while it is cold still: a restart that begins with that
/// would end sessions anew.
pub fn rest(keys: &toml::Table, protocol: Protocol, after: Duration) -> Option<toml::Table> {
    let mode = match keys.get("mode").and_then(toml::Value::as_str) {
        Some("immediate") => Mode::Immediate,
        Some("crash") => Mode::Crash,
        _ => Mode::Fast,
    };
    let said = |key: &'static str| parse_duration(keys.get(key)?.as_str()?).ok();
    let lengths = lengths(protocol, mode, said);
    if lengths[..4].iter().sum::<Duration>() <= after {
        return None;
    }
    let mut rest = keys.clone();
    let mut gone = after;
    for ((key, default), length) in STAGES.into_iter().zip(lengths) {
        let left = length.saturating_sub(gone);
        gone = gone.saturating_sub(length);
        let goes_without = left == Duration::from_millis(default) && !keys.contains_key(key);
        if has(protocol, mode, key) && !goes_without {
            rest.insert(key.to_owned(), format_duration(left).into());
        }
    }
    Some(rest)
}

/// How it comes to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Fast,
    Immediate,
    Crash,
}

/// Where in the sequence it is, in the order of [`Restart::lengths`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Stopping,
    Down,
    Starting,
    Recovering,
    /// How much of its coldness is left, from 1 to 0.
    Cold(f64),
    Ready,
}

#[derive(Debug)]
struct Restart {
    protocol: Protocol,
    mode: Mode,
    /// How long each stage lasts; nothing where the sequence has none.
    lengths: [Duration; 5],
    slow: Duration,
}

impl Restart {
    fn stage(&self, context: &Context) -> Stage {
        let mut left = context.elapsed();
        for (length, stage) in self.lengths.iter().zip([
            Stage::Stopping,
            Stage::Down,
            Stage::Starting,
            Stage::Recovering,
        ]) {
            if left < *length {
                return stage;
            }
            left -= *length;
        }
        let cold = self.lengths[4];
        if left < cold {
            return Stage::Cold(1.0 - left.as_secs_f64() / cold.as_secs_f64());
        }
        Stage::Ready
    }

    /// Whether sessions that were open before are still being ended: the sequence has just begun.
    fn ends_sessions(&self, context: &Context) -> bool {
        let first = self.lengths.iter().find(|length| !length.is_zero());
        context.elapsed() <= *first.unwrap_or(&Duration::ZERO)
    }

    fn farewell(&self) -> End {
        let error = match (self.protocol, self.mode) {
            (Protocol::Postgres, Mode::Fast) => "administrator_command",
            (Protocol::Postgres, Mode::Immediate) => "immediate_shutdown",
            (Protocol::Postgres, Mode::Crash) => "crash_shutdown",
            _ => return End::Close(Closing::Fin),
        };
        postgres(error).unwrap_or(End::Close(Closing::Fin))
    }

    /// What a request hears at a stage; nothing where it is carried out.
    fn answer(&self, stage: Stage, call: &Call) -> Option<End> {
        let connects = *call.operation == *CONNECT;
        match (self.protocol, stage) {
            (_, Stage::Ready | Stage::Cold(_)) => None,
            // Somebody who was let in just before the listener was closed: nobody serves him.
            (_, Stage::Down) => Some(End::Close(Closing::Reset)),
            (Protocol::Postgres, _) if !connects => None,
            (Protocol::Postgres, Stage::Stopping) => postgres("shutting_down"),
            (Protocol::Postgres, Stage::Starting) if self.mode == Mode::Crash => {
                postgres("in_recovery")
            }
            (Protocol::Postgres, Stage::Starting) => postgres("starting_up"),
            (Protocol::Postgres, Stage::Recovering) => postgres("not_yet_accepting"),
            (Protocol::Redis, Stage::Starting) => loading(call),
            _ => None,
        }
    }
}

fn postgres(name: &str) -> Option<End> {
    let reply = ErrorReply::from(find_error(name)?);
    Some(End::Reply(Reply::Postgres(Box::new(reply))))
}

fn loading(call: &Call) -> Option<End> {
    let def = redis::find_error("LOADING")?;
    redis::meets(def.meets, &call.operation).then(|| {
        End::Reply(Reply::Redis {
            name: def.name.to_owned(),
            rest: None,
            close: false,
        })
    })
}

impl Behaviour for Restart {
    fn listener(&self, context: &Context) -> Option<ListenerState> {
        (self.stage(context) == Stage::Down).then_some(ListenerState::Refuse)
    }

    fn connection(&self, event: &ConnectionEvent, context: &Context) -> Option<Decision> {
        if event.already_open {
            return self
                .ends_sessions(context)
                .then(|| Decision::end(self.farewell()));
        }
        // Accepted just before the listener was closed.
        let is_late = self.stage(context) == Stage::Down;
        is_late.then(|| Decision::end(End::Close(Closing::Reset)))
    }

    fn request(&self, call: &Call, context: &Context) -> Option<Decision> {
        let stage = self.stage(context);
        if let Stage::Cold(left) = stage {
            let is_slower = *call.operation != *CONNECT;
            return is_slower.then(|| Decision::delay(self.slow.mul_f64(left)));
        }
        self.answer(stage, call).map(Decision::end)
    }

    fn acts(&self) -> Acts {
        Acts {
            listener: true,
            connections: true,
            requests: true,
            ..Acts::NOTHING
        }
    }

    fn moves(&self) -> bool {
        true
    }

    /// Until it is ready; how cold it still is then is the phase's to choose.
    fn takes(&self) -> Duration {
        self.lengths[..4].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{FaultSet, sample},
        protocol::{CallTracker, Recognised, postgres::Session},
        units::Micros,
    };
    use Protocol::{Http, Mysql, Postgres, Redis};

    fn at(millis: u64) -> Micros {
        Micros::from(Duration::from_millis(millis))
    }

    fn set(keys: &str, protocol: Protocol) -> FaultSet {
        sample::set(&format!("kind = 'restart'\non = 'x'\n{keys}"), protocol)
    }

    fn call(operation: &str) -> Call {
        let recognised = Recognised {
            operation: operation.into(),
            ..Recognised::default()
        };
        Call::statement(recognised, 1, &mut CallTracker::default())
    }

    /// What somebody meets who connects, or asks, at this moment.
    fn met(set: &FaultSet, operation: &str, millis: u64) -> String {
        if set.listener(at(millis)).0 == ListenerState::Refuse {
            return "refused".to_owned();
        }
        let decision = set.request(&call(operation), at(millis));
        match decision.end {
            Some(End::Reply(Reply::Postgres(error))) => error.message.into_owned(),
            Some(End::Reply(Reply::Redis { name, .. })) => name,
            None if decision.delay.is_zero() => "ready".to_owned(),
            None => format!("{} ms", decision.delay.as_millis()),
            other => format!("{other:?}"),
        }
    }

    fn sequence(keys: &str, protocol: Protocol, operation: &str, every: u64) -> Vec<String> {
        let set = set(keys, protocol);
        let mut seen: Vec<String> = (0..10).map(|n| met(&set, operation, n * every)).collect();
        seen.dedup();
        seen
    }

    #[test]
    fn postgres_plays_the_measured_sequence_of_each_mode() {
        let keys = "stopping = '1s'\ndown = '2s'\nstarting = '1s'";
        let fast = [
            "the database system is shutting down",
            "refused",
            "the database system is starting up",
            "ready",
        ];
        assert_eq!(sequence(keys, Postgres, CONNECT, 1000), fast);
        let keys = format!("mode = 'immediate'\nrecovering = '1s'\n{keys}");
        let immediate = [
            "the database system is shutting down",
            "refused",
            "the database system is starting up",
            "the database system is not yet accepting connections",
            "ready",
        ];
        assert_eq!(sequence(&keys, Postgres, CONNECT, 1000), immediate);
        let keys = "mode = 'crash'\nstarting = '1s'\nrecovering = '1s'";
        let crash = [
            "the database system is in recovery mode",
            "the database system is not yet accepting connections",
            "ready",
        ];
        assert_eq!(sequence(keys, Postgres, CONNECT, 1000), crash);
    }

    #[test]
    fn who_was_let_in_just_before_it_went_is_not_served() {
        for (protocol, operation) in [(Postgres, CONNECT), (Redis, "GET"), (Mysql, CONNECT)] {
            let set = set("down = '2s'", protocol);
            let decision = set.request(&call(operation), at(1000));
            assert_eq!(decision.end, Some(End::Close(Closing::Reset)), "{protocol}");
        }
    }

    #[test]
    fn redis_and_mysql_play_theirs() {
        let keys = "down = '2s'\nstarting = '1s'";
        let seen = sequence(keys, Redis, "GET", 1000);
        assert_eq!(seen, ["refused", "LOADING", "ready"]);
        let seen = sequence("down = '2s'", Mysql, "SELECT", 1000);
        assert_eq!(seen, ["refused", "ready"]);
    }

    #[test]
    fn sessions_that_are_open_when_it_begins_end_and_later_ones_do_not() {
        for (mode, said) in [
            ("fast", &b"E\0\0\0"[..]),
            ("immediate", b"N\0\0\0"),
            ("crash", b"N\0\0\x01"),
        ] {
            let set = set(&format!("mode = '{mode}'"), Postgres);
            let ended = set.connection(&sample::open(1), at(1));
            let Some(End::Reply(Reply::Postgres(error))) = ended.end else {
                panic!("{mode}: {ended:?}");
            };
            let bytes = error.bytes(&Session::default(), 1, "", "");
            assert!(bytes.starts_with(said), "{mode}");
            assert!(set.connection(&sample::accepted(2), at(1)).is_pass());
            assert!(set.connection(&sample::open(3), at(60_000)).is_pass());
        }
        for protocol in [Redis, Mysql] {
            let ended = set("", protocol).connection(&sample::open(1), at(1));
            assert_eq!(ended.end, Some(End::Close(Closing::Fin)));
        }
    }

    #[test]
    fn whoever_was_let_in_just_before_the_listener_closed_is_not_served() {
        let reset = Some(End::Close(Closing::Reset));
        for (protocol, operation, down) in [
            (Postgres, CONNECT, 150),
            (Postgres, "INSERT", 150),
            (Redis, "GET", 1),
            (Mysql, "SELECT", 1),
        ] {
            let set = set("", protocol);
            let asked = set.request(&call(operation), at(down));
            assert_eq!(asked.end, reset, "{protocol} {operation}");
            let accepted = set.connection(&sample::accepted(2), at(down));
            assert_eq!(accepted.end, reset, "{protocol}");
        }
    }

    #[test]
    fn it_is_cold_for_a_while_and_warms_up() {
        let set = set(
            "down = '1s'\nstarting = '0s'\nstopping = '0s'\ncold = '4s'\nslow = '200ms'",
            Postgres,
        );
        let seen: Vec<String> = (0..6)
            .map(|second| met(&set, "SELECT", second * 1000))
            .collect();
        assert_eq!(
            seen,
            ["refused", "200 ms", "150 ms", "100 ms", "50 ms", "ready"]
        );
        assert_eq!(met(&set, CONNECT, 1000), "ready");
        assert!(set.moves());
    }

    #[test]
    fn what_a_sequence_does_not_have_is_a_problem() {
        for (keys, protocol, said) in [
            ("", Http, "cannot act on the protocol http"),
            ("mode = 'crash'", Redis, "has no `mode`"),
            ("starting = '1s'", Mysql, "does not listen yet"),
            (
                "mode = 'crash'\ndown = '1s'",
                Postgres,
                "the listener stays",
            ),
            ("recovering = '1s'", Postgres, "nothing is recovered"),
            ("share = '10%'", Postgres, "takes no `share`"),
        ] {
            let text = format!("kind = 'restart'\non = 'x'\n{keys}");
            let problems = sample::read(&text, protocol).unwrap_err();
            assert!(problems[0].contains(said), "{keys}: {problems:?}");
        }
    }
}
