//! `error`: the dependency answers with an error of its protocol: one of S3's by its code, an HTTP
//! status with a body of the author's, the page of a load balancer, one of Redis's by its first
//! word, or one of PostgreSQL's by its SQLSTATE.
//!
//! A database's error meets the requests that can meet it: 53300 those who connect, 40001
//! statements. One that ends sessions is, with `by = "connection"`, said to those that are open
//! when it comes into force, also to idle ones.

use super::{
    Acts, Behaviour, ConnectionEvent, Context, Decision, End, FaultDef, Group, Reply,
    keys::{self, Applies},
    mysql, redis, reply,
    sqlstate::{self, Scope},
};
use crate::{
    input::{About, Fields, Key, Problems, Shape},
    protocol::{
        Call, Protocol, mysql as my,
        redis::{Meets, meets},
    },
};

/// The keys that say which answer it is.
pub(super) const ANSWER: &[Key; 10] = &[
    Key::optional(
        "error",
        Shape::Text,
        "s3: an error code (InternalError, SlowDown …); http: the page of a platform (heroku, nginx-502 …); pusher: a code (4004, 4100 …); redis: an error's first word (LOADING, OOM …); mysql: its number (1213); postgres: a SQLSTATE, its condition (53300, admin_shutdown …), or what PgBouncer says (pgbouncer_query_wait_timeout …)",
    ),
    Key::optional(
        "status",
        Shape::Integer(200, 599),
        "the HTTP status; with S3's code, in place of the code's own",
    ),
    Key::optional(
        "body",
        Shape::Text,
        "http: the body, where the error brings none",
    ),
    Key::optional("headers", Shape::TextMap, "headers added to the answer"),
    Key::optional(
        "message",
        Shape::Text,
        "databases: the error's text, in place of its own; redis: what follows its first word",
    ),
    Key::optional("detail", Shape::Text, "postgres: the detail"),
    Key::optional("hint", Shape::Text, "postgres: the hint"),
    Key::optional("reason", Shape::Text, "the reason phrase of HTTP/1.1"),
    Key::optional(
        "retry_after",
        Shape::Duration,
        "http: Retry-After in seconds; s3: x-amz-retry-after in milliseconds",
    ),
    Key::optional(
        "close",
        Shape::Bool,
        "whether the connection is closed after it; s3: as S3 does for the code",
    ),
];

const KEYS: [Key; 13] = keys::joined(ANSWER, &[keys::APPLIED, keys::EXISTING, keys::TOLD]);

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "error",
    group: Group::Message,
    summary: "an error of the protocol's own, or an HTTP status with its body",
    about: About {
        text: "\
            The dependency answers at once with an error of its protocol, byte for byte as the \
            real one sends it: an S3 code with its body and headers, an HTTP status or the page \
            of a load balancer, a SQLSTATE, a Redis word, a MySQL number, a code of Pusher. \
            Instant errors are the opposite of a hang, and as dangerous: clients that try again \
            at once turn them into a storm.\n\n\
            `applied` says whether the dependency saw the request: `no`, `yes` (it was carried \
            out, and the answer is wrong), or `maybe`, a seeded coin for each. The last one is \
            what a real 500 means.",
        evidence: "Each request that was answered with the error is an act.",
        doubt: "",
        mistakes: &[
            "\
                Some errors of databases meet only those who connect (53300): with a pool that keeps \
                its connections they never act. `restart` ends sessions first.",
            "\
                With `applied = \"maybe\"` only a ledger or `converged` tells whether the system \
                coped.",
        ],
        related: &["error-in-200", "quota", "attempts", "back-off"],
    },
    example: "[[phase.fault]]\nkind    = \"error\"\non      = \"object-store\"\nerror   = \"InternalError\"\napplied = \"maybe\"\n",
    example_protocol: Protocol::S3,
    keys: &KEYS,
    refuses: &[],
    ramps: &[],
    carried_by: keys::messages,
    parse: |fields, protocol, gate, problems| {
        let applies = Applies::parse(fields, problems);
        let cuts_existing = keys::cuts_existing(fields, protocol, problems);
        told_on_pusher(fields, protocol, problems);
        let of_database = match protocol {
            Protocol::Redis => Some(redis::parse(fields, gate, problems)?),
            Protocol::Mysql => Some(mysql::parse(fields, gate, problems)?),
            Protocol::Postgres => {
                let (reply, scope) = sqlstate::parse(fields, gate, problems)?;
                Some((Reply::Postgres(Box::new(reply)), Only::Postgres(scope)))
            }
            _ => None,
        };
        if let Some((reply, only)) = of_database {
            return Some(Box::new(Error {
                reply,
                applies,
                cuts_existing: false,
                only,
            }));
        }
        let reply = reply::parse(fields, protocol, problems)?;
        let is_code = matches!(reply, Reply::Pusher { .. });
        if cuts_existing && !is_code {
            let message = "open WebSockets can only be closed with a code";
            let hint = "write it: error = \"4004\"".to_owned();
            fields.problem(problems, "existing", message, hint);
        }
        Some(Box::new(Error {
            applies,
            cuts_existing,
            only: match (protocol, is_code) {
                (Protocol::Pusher, true) if gate.when.operation.is_empty() => Only::Connects,
                (Protocol::Pusher, true) => Only::Sockets,
                (Protocol::Pusher, false) => Only::Requests,
                _ => Only::Everything,
            },
            reply,
        }))
    },
};

/// `told` without a code to tell says nothing.
fn told_on_pusher(fields: &Fields<'_>, protocol: Protocol, problems: &mut Problems) {
    if fields.has("told") && !(protocol == Protocol::Pusher && fields.has("error")) {
        let message = "`told` says how a code of Channels is told, and there is none";
        let hint = "write it, on a dependency of the protocol pusher: error = \"4004\"".to_owned();
        fields.problem(problems, "told", message, hint);
    }
}

/// What of a protocol can be answered so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    /// All that matches.
    Everything,
    /// WebSockets' handshakes.
    Connects,
    /// WebSockets' handshakes and messages.
    Sockets,
    /// Requests of HTTP, handshakes included.
    Requests,
    /// Commands that Redis answers so.
    Redis(Meets),
    /// Requests that MySQL answers so.
    Mysql(my::Meets),
    /// Requests that PostgreSQL answers so.
    Postgres(Scope),
}

impl Only {
    fn concerns(self, call: &Call) -> bool {
        let is_message = call.method.is_empty();
        match self {
            Self::Everything => true,
            Self::Connects => *call.operation == *"Connect",
            Self::Sockets => is_message || *call.operation == *"Connect",
            Self::Requests => !is_message,
            Self::Redis(state) => meets(state, &call.operation),
            Self::Mysql(state) => my::meets(state, call),
            Self::Postgres(scope) => scope.concerns(call),
        }
    }

    /// What a call is answered that it concerns. A replica that must not serve stale data tells
    /// whoever writes that it is read-only all the same; measured on Redis 7.0.
    fn answer(self, reply: &Reply, call: &Call) -> Reply {
        match (self, reply) {
            (Self::Redis(Meets::Stale), Reply::Redis { close, .. })
                if meets(Meets::Writing, &call.operation) =>
            {
                Reply::Redis {
                    name: "READONLY".to_owned(),
                    rest: None,
                    close: *close,
                }
            }
            _ => reply.clone(),
        }
    }
}

#[derive(Debug)]
struct Error {
    reply: Reply,
    applies: Applies,
    cuts_existing: bool,
    only: Only,
}

impl Behaviour for Error {
    fn connection(&self, event: &ConnectionEvent, _: &Context) -> Option<Decision> {
        (self.only == Only::Postgres(Scope::OpenConnections) && event.already_open)
            .then(|| Decision::end(End::Reply(self.reply.clone())))
    }

    fn request(&self, call: &Call, context: &Context) -> Option<Decision> {
        if call.place.is_some_and(|place| place.already_open) {
            return Some(Decision::end(End::Reply(self.reply.clone())));
        }
        let concerns = self.only.concerns(call);
        concerns.then(|| {
            let reply = self.only.answer(&self.reply, call);
            self.applies.decide(reply, context)
        })
    }

    fn acts(&self) -> Acts {
        if self.only == Only::Postgres(Scope::OpenConnections) {
            return Acts::CONNECTIONS;
        }
        Acts {
            sockets: self.cuts_existing,
            ..Acts::REQUESTS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Then;
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    const NOW: Micros = Micros(0);

    fn s3_reply(code: &str) -> Reply {
        Reply::S3 {
            code: code.to_owned(),
            status: None,
            headers: Vec::new(),
            in_200: false,
            close: None,
        }
    }

    fn reply(keys: &str, protocol: Protocol) -> Reply {
        let set = sample::set(&format!("kind = 'error'\non = 'x'\n{keys}"), protocol);
        match set.request(&sample::call(protocol, "GET", "/a/b"), NOW).end {
            Some(End::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn problems(keys: &str, protocol: Protocol) -> Vec<String> {
        sample::read(&format!("kind = 'error'\non = 'x'\n{keys}"), protocol).unwrap_err()
    }

    #[test]
    fn requests_that_match_get_the_code_and_others_pass() {
        let text = "kind = 'error'\non = 'x'\nerror = 'SlowDown'\nwhen = { key = 'models/*' }";
        let set = sample::set(text, S3);
        let hit = set.request(&sample::call(S3, "PUT", "/models/1"), NOW);
        assert_eq!(hit.end, Some(End::Reply(s3_reply("SlowDown"))));
        let passed = set.request(&sample::call(S3, "PUT", "/logs/1"), NOW);
        assert!(passed.is_pass());
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn applied_says_whether_the_dependency_sees_the_request() {
        let ends = |applied: &str| -> Vec<End> {
            let keys = format!("error = 'InternalError'\napplied = '{applied}'");
            let set = sample::set(&format!("kind = 'error'\non = 'x'\n{keys}"), S3);
            let calls = sample::calls(S3, "PUT", "/a/b", 200);
            let decisions = calls.iter().map(|call| set.request(call, NOW));
            decisions.map(|decision| decision.end.unwrap()).collect()
        };
        let before = End::Reply(s3_reply("InternalError"));
        let after = End::Forward(Then::Reply(s3_reply("InternalError")));
        assert!(ends("no").iter().all(|end| *end == before));
        assert!(ends("yes").iter().all(|end| *end == after));
        let maybe = ends("maybe");
        let applied = maybe.iter().filter(|end| **end == after).count();
        assert!((70..130).contains(&applied), "{applied}");
        assert_eq!(maybe, ends("maybe"));
    }

    #[test]
    fn a_code_of_channels_refuses_connects_unless_the_file_says_what_else() {
        let connect = sample::call(Protocol::Pusher, "GET", "/app/k");
        let publish = sample::call(Protocol::Pusher, "POST", "/apps/1/events");
        let set = sample::set("kind = 'error'\non = 'x'\nerror = '4004'", Protocol::Pusher);
        let refusal = Reply::Pusher {
            code: 4004,
            reason: "Application is over connection quota".to_owned(),
            in_close: false,
        };
        let decided = set.request(&connect, NOW).end;
        assert_eq!(decided, Some(End::Reply(refusal)));
        assert!(set.request(&publish, NOW).is_pass());
        let text = "kind = 'error'\non = 'x'\nstatus = 403\nwhen = { operation = 'PublishEvent' }";
        let set = sample::set(text, Protocol::Pusher);
        assert!(set.request(&connect, NOW).is_pass());
        match set.request(&publish, NOW).end {
            Some(End::Reply(Reply::Http { status, body, .. })) => {
                assert_eq!((status, body.is_empty()), (403, false));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn open_websockets_are_closed_only_where_the_file_says_so() {
        let mut open = sample::call(Protocol::Pusher, "GET", "/app/k");
        open.place = Some(crate::protocol::Place {
            rank: 1,
            already_open: true,
        });
        for (more, acts) in [
            ("", false),
            ("existing = 'keep'", false),
            ("existing = 'cut'", true),
        ] {
            let text = format!("kind = 'error'\non = 'x'\nerror = '4100'\n{more}");
            let set = sample::set(&text, Protocol::Pusher);
            assert_eq!(set.acts_on_sockets(), acts, "{more}");
            assert_eq!(!set.request(&open, NOW).is_pass(), acts, "{more}");
        }
    }

    #[test]
    fn a_code_that_channels_does_not_have_is_a_problem() {
        for (keys, said) in [
            ("error = '4404'", "Channels has no code `4404`"),
            ("error = 'Quota'", "Channels has no code `Quota`"),
            (
                "error = '4004'\nstatus = 403",
                "a code of Channels has no `status`",
            ),
            ("status = 403\ntold = 'close'", "`told` says how a code"),
            (
                "status = 403\nexisting = 'cut'",
                "only be closed with a code",
            ),
            ("", "neither `error` nor `status`"),
        ] {
            let seen = problems(keys, Protocol::Pusher);
            assert!(seen[0].contains(said), "{keys}: {seen:?}");
        }
        let seen = problems("error = 'SlowDown'\nexisting = 'cut'", S3);
        assert!(seen[0].contains("about WebSockets"), "{seen:?}");
    }

    #[test]
    fn retry_after_is_told_in_the_words_of_the_protocol() {
        let Reply::S3 { headers, .. } = reply("error = 'SlowDown'\nretry_after = '1500ms'", S3)
        else {
            panic!()
        };
        assert_eq!(headers, [("x-amz-retry-after".into(), "1500".into())]);
        let Reply::Http { headers, .. } = reply("status = 503\nretry_after = '1500ms'", Http)
        else {
            panic!()
        };
        assert_eq!(headers, [("Retry-After".into(), "2".into())]);
    }

    #[test]
    fn a_status_comes_with_the_authors_body_headers_and_reason() {
        let keys = "status = 429\nbody = '{}'\nreason = 'Enough'\nclose = true\nheaders = { x-why = 'quota' }";
        let expected = Reply::Http {
            status: 429,
            reason: "Enough".to_owned(),
            headers: vec![("x-why".to_owned(), "quota".to_owned())],
            body: "{}".into(),
            close: true,
            chunked: false,
        };
        assert_eq!(reply(keys, Http), expected);
        assert_eq!(reply(keys, S3), expected);
    }

    #[test]
    fn the_pages_of_platforms_have_their_true_lengths() {
        for (name, status, len) in [
            ("nginx-502", 502, 157),
            ("nginx-504", 504, 167),
            ("haproxy-502", 502, 107),
            ("haproxy-503", 503, 107),
            ("haproxy-504", 504, 92),
        ] {
            match reply(&format!("error = '{name}'"), Http) {
                Reply::Http {
                    status: seen, body, ..
                } => assert_eq!((seen, body.len()), (status, len), "{name}"),
                other => panic!("{other:?}"),
            }
        }
        let Reply::Http { status, body, .. } = reply("error = 'heroku'", Http) else {
            panic!()
        };
        assert_eq!(status, 503);
        assert!(body.starts_with(b"<!DOCTYPE html>"));
    }

    #[test]
    fn an_unknown_code_gets_a_did_you_mean() {
        let said = problems("error = 'InternalEror'", S3);
        assert_eq!(
            said,
            ["S3 has no error `InternalEror` (did you mean `InternalError`?)"]
        );
        let said = problems("error = 'ngnix-502'", Http);
        assert_eq!(
            said,
            ["no page `ngnix-502` is known (did you mean `nginx-502`?)"]
        );
    }

    #[test]
    fn what_does_not_fit_together_is_a_problem() {
        for (keys, protocol, said) in [
            ("", S3, "neither `error` nor `status`"),
            ("", Http, "neither `error` nor `status`"),
            ("error = 'SlowDown'\nbody = 'x'", S3, "brings its own body"),
            (
                "error = 'SlowDown'\nreason = 'x'",
                S3,
                "brings its own reason",
            ),
            (
                "status = 503\nheaders = { 'a b' = 'x' }",
                Http,
                "no header name",
            ),
            (
                "status = 503\nheaders = { a = \"x\\ny\" }",
                Http,
                "no header value",
            ),
            (
                "status = 503\nheaders = { Content-Length = '9' }",
                Http,
                "framing",
            ),
            (
                "status = 503\nreason = \"a\\r\\nb\"",
                Http,
                "no reason phrase",
            ),
            ("status = 204\nbody = 'x'", Http, "carries no body"),
            ("status = 99", Http, "from 200 to 599"),
            (
                "status = 503\nmessage = 'x'",
                Http,
                "have no `message` (did you mean `body`?)",
            ),
            (
                "error = '40001'\nbody = 'x'",
                Protocol::Postgres,
                "has no `body` (did you mean `message`?)",
            ),
            (
                "error = 'InternalError'",
                Tcp,
                "cannot act on the protocol tcp",
            ),
        ] {
            let seen = problems(keys, protocol);
            assert!(seen[0].contains(said), "{keys}: {seen:?}");
        }
    }
}
