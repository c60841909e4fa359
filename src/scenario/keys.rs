//! The keys of both files, declared once: reading, the JSON Schema and listings follow from them.

use crate::{
    input::{Key, Shape},
    policy::POLICY_KEYS,
    protocol::PROTOCOLS,
};

/// The most loads, instances or captures of one file.
pub(super) const NAMED_MAX: usize = 100;

/// The most dependencies of one file.
pub(super) const DEPENDENCIES_MAX: usize = 500;

/// What a system file may hold.
pub const SYSTEM_FILE: &[Key] = &[
    Key::required("system", Shape::Table(SYSTEM), "what is under test"),
    Key::optional(
        "dependency",
        Shape::MapOf(DEPENDENCY),
        "what the system calls, each through a proxy of ours",
    ),
    Key::optional("load", Shape::MapOf(LOAD), "requests driven at the system"),
    Key::optional(
        "ingress",
        Shape::Table(INGRESS),
        "a door in front of the system, through which other people's load is measured",
    ),
    Key::optional(
        "ledger",
        Shape::MapOf(LEDGER),
        "which work was accepted and which was delivered",
    ),
];

/// `[system]`.
pub(super) const SYSTEM: &[Key] = &[
    Key::optional(
        "name",
        Shape::Text,
        "how reports call it (the file's name without `.toml`)",
    ),
    Key::optional(
        "command",
        Shape::Texts,
        "program and arguments, never a shell; `{port.NAME}` and the like are filled in",
    ),
    Key::optional(
        "external",
        Shape::Text,
        "the URL of a system that somebody else has started, in place of a command",
    ),
    Key::optional(
        "env",
        Shape::TextMap,
        "environment of every instance, with placeholders like `{dependency.s3.url}`; `{env.NAME}` is a variable of Brownout's own environment, for what must not stand in a file",
    ),
    Key::optional(
        "url",
        Shape::Text,
        "where load and probes go: \"http://127.0.0.1:{port.api}\" (the first instance's that has one); with instances, the `url` of one of them",
    ),
    Key::optional(
        "ready",
        Shape::Table(READY),
        "when an instance counts as ready",
    ),
    Key::optional("stop", Shape::Table(STOP), "how an instance is stopped"),
    Key::optional(
        "unlisted",
        Shape::OneOf(UNLISTED),
        "what the forward proxy does with hosts that no dependency lists: refuse them (the default), pass those on that are loopback addresses, or pass all on",
    ),
    Key::optional(
        "folder",
        Shape::Text,
        "working directory, relative to the file (the file's own folder)",
    ),
    Key::optional(
        "instance",
        Shape::Tables(INSTANCE),
        "the system's processes, where there is more than one",
    ),
];

/// What `unlisted` may be.
pub(super) const UNLISTED: &[&str] = &["refuse", "pass", "pass-anywhere"];

/// `[[system.instance]]`.
pub(super) const INSTANCE: &[Key] = &[
    Key::required(
        "name",
        Shape::Text,
        "the name for `instance:NAME` and `{instance.NAME.url}`",
    ),
    Key::required(
        "command",
        Shape::Texts,
        "program and arguments, never a shell; `{port.NAME}` and the like are filled in",
    ),
    Key::optional("env", Shape::TextMap, "environment beside the system's own"),
    Key::optional("url", Shape::Text, "its own base URL"),
    Key::optional(
        "ready",
        Shape::Table(READY),
        "when it counts as ready (as the system's)",
    ),
    Key::optional(
        "stop",
        Shape::Table(STOP),
        "how it is stopped (as the system's)",
    ),
    Key::optional(
        "folder",
        Shape::Text,
        "working directory, relative to the file (as the system's)",
    ),
    Key::optional(
        "autostart",
        Shape::Bool,
        "whether it is started with the run (true); else a `start` fault starts it",
    ),
];

/// `ready`.
pub(super) const READY: &[Key] = &[
    Key::optional(
        "path",
        Shape::Text,
        "asked until it answers 2xx; without it: when the port accepts",
    ),
    Key::optional("within", Shape::Duration, "the time it has (20s)"),
];

/// `stop`.
pub(super) const STOP: &[Key] = &[
    Key::optional(
        "signal",
        Shape::OneOf(SIGNALS),
        "sent to the whole process group (TERM)",
    ),
    Key::optional("within", Shape::Duration, "then KILL after this time (10s)"),
];

/// What `stop.signal` may be.
pub(super) const SIGNALS: &[&str] = &["TERM", "INT", "QUIT", "HUP", "KILL"];

/// `[dependency.NAME]`.
pub(super) const DEPENDENCY: &[Key] = &[
    Key::required(
        "protocol",
        Shape::OneOf(PROTOCOL_NAMES),
        "what it speaks; `brownout list protocols` shows all",
    ),
    Key::optional(
        "role",
        Shape::Text,
        "the part it plays, by which scenarios name it: \"object-store\"",
    ),
    Key::required(
        "upstream",
        Shape::Text,
        "what stands behind the proxy: \"embedded\", \"embedded:sink\", \"host:port\", a URL, or \"instance:NAME\"; the embedded PostgreSQL lets one session write at a time: one that a fault holds inside a transaction stops all other writers, each until its lock_timeout (30s at most), when it gets 55P03",
    ),
    Key::optional(
        "tls",
        Shape::AnyOf(&[Shape::Bool, Shape::Table(TLS)]),
        "TLS towards the system, with a certificate of the run's own CA",
    ),
    Key::optional(
        "listen",
        Shape::Text,
        "a fixed address, \"127.0.0.1:9000\" (an ephemeral loopback port)",
    ),
    Key::optional(
        "virtual_host",
        Shape::Text,
        "the host name after the bucket's label, for S3 clients that put the bucket into the host",
    ),
    Key::optional(
        "buckets",
        Shape::Texts,
        "buckets that the embedded S3 server has from the start",
    ),
    Key::optional(
        "schema",
        Shape::Text,
        "SQL that the embedded PostgreSQL server runs before the system starts: \"CREATE TABLE …; …\"",
    ),
    Key::optional(
        "answer",
        Shape::Table(ANSWER),
        "what `embedded:sink` answers (204, and 200 to GET and HEAD): { status = 200, body = '{\"ok\": true}' }",
    ),
    Key::optional(
        "app",
        Shape::Table(APP),
        "pusher: the app that the system speaks for, as `{dependency.NAME.app_key}` …",
    ),
    Key::optional(
        "key",
        Shape::Text,
        "what is the key of a command or statement: redis: \"argument:2\" (its first key); postgres, mysql: \"parameter:1\", a bound parameter (its table)",
    ),
    Key::optional(
        "capture",
        Shape::TextMap,
        "what is kept of each request, by name: \"header:x-amz-meta-version\", \"response-header:etag\", \"key\"; of SQL \"key\", \"parameter:1\"; of pusher also \"json:/data/id\" of each message on a WebSocket and of each body that publishes one, through data that is a text of JSON",
    ),
    Key::optional(
        "policy",
        Shape::Table(POLICY_KEYS),
        "what its clients do by their settings, to be held against what is seen: { timeout = \"2s\", attempts = 3 }",
    ),
    Key::optional(
        "hosts",
        Shape::Texts,
        "hosts that are wired into libraries, led here by a forward proxy: \"api.segment.io\", \"*.pusher.com\"",
    ),
];

/// `answer`.
pub(super) const ANSWER: &[Key] = &[
    Key::optional("status", Shape::Integer(200, 299), "its status (200)"),
    Key::optional(
        "body",
        Shape::Text,
        "its body, sent as JSON where it is JSON and as plain text otherwise",
    ),
];

/// `app`.
pub(super) const APP: &[Key] = &[
    Key::optional("id", Shape::Text, "its id, in the HTTP API's paths (\"1\")"),
    Key::optional(
        "key",
        Shape::Text,
        "its key, by which clients name it (\"brownout-key\")",
    ),
    Key::optional(
        "secret",
        Shape::Text,
        "its secret, with which servers sign (\"brownout-secret\")",
    ),
    Key::optional(
        "activity_timeout",
        Shape::Duration,
        "embedded server: how long a connection may be silent (120s)",
    ),
    Key::optional(
        "webhook",
        Shape::Text,
        "embedded server: where webhooks are sent, plain HTTP: \"{url}/webhooks\"",
    ),
];

/// The names in [`PROTOCOLS`], in its order.
pub(super) const PROTOCOL_NAMES: &[&str] = &{
    let mut names = [""; PROTOCOLS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = PROTOCOLS[index].name;
        index += 1;
    }
    names
};

/// `tls`.
pub(super) const TLS: &[Key] = &[Key::optional(
    "names",
    Shape::Texts,
    "names on the certificate beside `localhost` and the loopback addresses",
)];

/// `[load.NAME]`.
pub(super) const LOAD: &[Key] = &[
    Key::required(
        "rate",
        Shape::Rate,
        "operations begun per second, however slowly they are answered",
    ),
    Key::optional(
        "arrivals",
        Shape::OneOf(ARRIVALS),
        "when they begin: at random (\"poisson\", the default) or evenly spaced",
    ),
    Key::required("request", Shape::Table(REQUEST), "what is asked"),
    Key::optional(
        "vars",
        Shape::MapOf(VAR),
        "variables of the request: { zipf = 1.1, of = 200 }, { one_of = [\"a\", \"b\"] }, { sequence = 100 }, { uniform = 200 }",
    ),
    Key::optional(
        "timeout",
        Shape::Duration,
        "no answer within this time is indeterminate (10s)",
    ),
    Key::optional("ok", Shape::Table(RULE), "what counts as ok (any 2xx)"),
    Key::optional(
        "degraded",
        Shape::Table(RULE),
        "what counts as a fallback's answer; asked before `ok`",
    ),
    Key::optional(
        "usually_degraded",
        Shape::Share,
        "the greatest share that fallbacks may answer in the steady phases (10%)",
    ),
    Key::optional(
        "again",
        Shape::Table(AGAIN),
        "which refusals are answered by the same request again, as by a client with a key for it",
    ),
    Key::optional(
        "then",
        Shape::Table(THEN),
        "a second request, repeated until it comes true; the operation is ok only then",
    ),
    Key::optional(
        "capture",
        Shape::TextMap,
        "what is kept of each operation, by name: \"json:/id\", \"response-header:etag\", \"header:x-id\", \"var:bot\"",
    ),
    Key::optional(
        "in_flight_max",
        Shape::Integer(1, 100_000),
        "the most operations in flight (1000); beyond it they are missed, and counted as such",
    ),
];

/// What `arrivals` may be, in the order of [`super::Arrivals`].
pub(super) const ARRIVALS: &[&str] = &["constant", "poisson"];

/// `request`.
pub(super) const REQUEST: &[Key] = &[
    Key::optional(
        "method",
        Shape::Text,
        "the HTTP method (GET; POST where there is a body)",
    ),
    Key::required("path", Shape::Text, "path and query, with placeholders"),
    Key::optional("headers", Shape::TextMap, "headers, with placeholders"),
    Key::optional(
        "json",
        Shape::Any,
        "the body as JSON; placeholders in its texts are filled in",
    ),
    Key::optional("body", Shape::Text, "the body as text, with placeholders"),
];

/// One of `vars`.
pub(super) const VAR: &[Key] = &[
    Key::optional(
        "zipf",
        Shape::Number(0.0, 10.0),
        "the exponent of a Zipf law over 1 to `of`: small numbers are the popular ones",
    ),
    Key::optional(
        "of",
        Shape::Integer(1, 1_000_000_000),
        "the greatest number of a Zipf law",
    ),
    Key::optional(
        "uniform",
        Shape::Integer(1, 1_000_000_000),
        "a number from 1 to this, all equally likely",
    ),
    Key::optional(
        "sequence",
        Shape::Integer(1, 1_000_000_000),
        "1, 2, 3 … up to this, then again",
    ),
    Key::optional("one_of", Shape::Texts, "one of these, all equally likely"),
];

/// A rule over an answer.
pub const RULE: &[Key] = &[
    Key::optional(
        "status",
        Shape::AnyOf(&[Shape::Text, Shape::Integer(100, 999)]),
        "the statuses: 200, \"2xx\", \"200,202-204\" (any 2xx)",
    ),
    Key::optional(
        "header",
        Shape::TextMap,
        "headers and their values, with `*` for any characters",
    ),
    Key::optional(
        "json",
        Shape::ScalarMap,
        "JSON pointers into the body and what must stand there: { \"/version\" = \">= {version}\" }",
    ),
];

/// `again`.
pub(super) const AGAIN: &[Key] = &[
    Key::required(
        "status",
        Shape::AnyOf(&[Shape::Text, Shape::Integer(100, 999)]),
        "the statuses that are refusals: 503, \"5xx\"; the last answer decides",
    ),
    Key::optional(
        "every",
        Shape::Duration,
        "the time from one asking to the next (1s)",
    ),
    Key::required(
        "within",
        Shape::Duration,
        "counted from the operation's intended start; a refusal after that is the last",
    ),
];

/// `then`.
pub(super) const THEN: &[Key] = &[
    Key::required(
        "request",
        Shape::Table(REQUEST),
        "what is asked; captured names are placeholders too",
    ),
    Key::required("until", Shape::Table(RULE), "what must come true"),
    Key::optional("every", Shape::Duration, "how often it is asked (250ms)"),
    Key::required(
        "within",
        Shape::Duration,
        "counted from the operation's intended start; then it failed",
    ),
];

/// `[ingress]`.
pub(super) const INGRESS: &[Key] = &[
    Key::optional(
        "name",
        Shape::Text,
        "the name under which its operations are judged, like a load's (\"ingress\")",
    ),
    Key::optional(
        "listen",
        Shape::Text,
        "a fixed address, \"127.0.0.1:8080\" (an ephemeral loopback port, printed at start; for programs it is `{ingress.url}`)",
    ),
    Key::optional("ok", Shape::Table(RULE), "what counts as ok (any 2xx)"),
    Key::optional(
        "degraded",
        Shape::Table(RULE),
        "what counts as a fallback's answer; asked before `ok`",
    ),
    Key::optional(
        "usually_degraded",
        Shape::Share,
        "the greatest share that fallbacks may answer in the steady phases (10%)",
    ),
    Key::optional(
        "timeout",
        Shape::Duration,
        "no answer within this time is indeterminate (30s)",
    ),
];

/// `[ledger.NAME]`.
pub(super) const LEDGER: &[Key] = &[
    Key::required(
        "accepted",
        Shape::Table(ACCEPTED),
        "the work: operations of a load that were acknowledged (their outcome is ok or degraded)",
    ),
    Key::required(
        "delivered",
        Shape::AnyOf(&[Shape::Table(DELIVERED), Shape::Tables(DELIVERED)]),
        "where deliveries are seen; an id is delivered when any of several places shows it",
    ),
    Key::optional(
        "priority",
        Shape::Text,
        "the load's capture that says the class of work",
    ),
    Key::optional(
        "dropped",
        Shape::Table(DROPPED),
        "what the system itself reports as dropped: a listing of ids, or a number",
    ),
    Key::optional(
        "backlog",
        Shape::Table(BACKLOG),
        "how much work the system itself says is waiting, asked each second",
    ),
    Key::optional(
        "settle",
        Shape::Duration,
        "after the load has ended nothing may be delivered for so long before what is missing counts as lost (5s)",
    ),
];

/// `accepted`.
pub(super) const ACCEPTED: &[Key] = &[
    Key::required(
        "load",
        Shape::Text,
        "the load whose operations are the work",
    ),
    Key::required("id", Shape::Text, "the load's capture that is the id"),
];

/// `delivered`.
pub(super) const DELIVERED: &[Key] = &[
    Key::optional(
        "dependency",
        Shape::Text,
        "requests to this dependency are deliveries, or messages that reached its sink",
    ),
    Key::optional(
        "operation",
        Shape::TextOrTexts,
        "only requests of this operation, or this HTTP method",
    ),
    Key::optional(
        "pattern",
        Shape::Text,
        "where the id is in the captured value: \"bucket/models/{id}.json\" (all of it)",
    ),
    Key::optional(
        "applied",
        Shape::Bool,
        "whether only requests count that the dependency carried out, and of statements that change rows only those that changed one, not those that found it as it was to be (true); false also where a trigger or a rule diverts the rows of the table that is written to, as the database then says that none was changed",
    ),
    Key::optional(
        "read",
        Shape::Table(READ),
        "a listing of all that was delivered, shown by the system itself and read each second; an id that it showed and shows no more is lost",
    ),
    Key::required(
        "id",
        Shape::Text,
        "the dependency's capture that is the id; of a sink's bodies and of a listing \"json:/events/*/id\"",
    ),
];

/// `read`.
pub(super) const READ: &[Key] = &[Key::required(
    "path",
    Shape::Text,
    "path and query, below the system's `url`; a body of at most 16 MiB with at most 200000 ids",
)];

/// `dropped`.
pub(super) const DROPPED: &[Key] = &[
    Key::required(
        "path",
        Shape::Text,
        "path and query, below the system's `url`",
    ),
    Key::optional(
        "id",
        Shape::Text,
        "where the ids are in a listing: \"json:/dropped/*/id\"",
    ),
    Key::optional(
        "value",
        Shape::Text,
        "where the number is: \"json:/dropped\"",
    ),
];

/// `backlog`.
pub(super) const BACKLOG: &[Key] = &[
    Key::required(
        "path",
        Shape::Text,
        "path and query, below the system's `url`",
    ),
    Key::required("value", Shape::Text, "where the number is: \"json:/depth\""),
];

/// What a scenario file may hold.
pub const SCENARIO_FILE: &[Key] = &[
    Key::required("title", Shape::Text, "one line that says what happens"),
    Key::optional(
        "incident",
        Shape::Table(INCIDENT),
        "the outage that it replays",
    ),
    Key::optional(
        "story",
        Shape::Text,
        "two or three sentences for a reviewer",
    ),
    Key::optional(
        "system",
        Shape::Text,
        "the system file, relative to this one; `--system FILE` replaces it",
    ),
    Key::optional("tags", Shape::Texts, "labels"),
    Key::optional(
        "hold",
        Shape::Duration,
        "how long everything must hold before recovery counts (5s)",
    ),
    Key::required(
        "phase",
        Shape::Tables(PHASE),
        "what happens, in order: first the steady phase, last the recovery",
    ),
    Key::required(
        "expect",
        Shape::Registry(EXPECTATION),
        "what is required; `brownout list expectations` shows all kinds",
    ),
];

/// `incident`.
pub(super) const INCIDENT: &[Key] = &[
    Key::required("who", Shape::Text, "whose outage it was"),
    Key::required("on", Shape::Date, "the day"),
    Key::optional("source", Shape::Text, "the URL of its description"),
];

/// `[[phase]]`.
pub(super) const PHASE: &[Key] = &[
    Key::required("name", Shape::Text, "how expectations and reports call it"),
    Key::required(
        "lasts",
        Shape::Text,
        "\"20s\"; the last phase may say \"until steady, at most 60s\"",
    ),
    Key::optional(
        "steady",
        Shape::Bool,
        "whether it is the baseline: the first phase, without faults",
    ),
    Key::optional(
        "aftermath",
        Shape::Bool,
        "whether the outage is over and its faults are what the recovery meets: a database that is still cold; `drain`, `fresh-first`, `ramp` and `reconnect` count from here",
    ),
    Key::optional(
        "happened",
        Shape::Text,
        "what it stands for on the real clock",
    ),
    Key::optional(
        "load",
        Shape::TextMap,
        "more or less of a load while it lasts: { ask = \"10x\" } is ten times its own rate",
    ),
    Key::optional(
        "fault",
        Shape::Registry(FAULT),
        "what goes wrong in it; `brownout list faults` shows all kinds",
    ),
];

/// Keys that every `[[expect]]` may have, beside its kind's own.
pub const EXPECT: &[Key] = &[
    Key::required("id", Shape::Text, "its name in verdicts, unique"),
    Key::required("that", Shape::Text, "what it requires, in words"),
    Key::required(
        "kind",
        Shape::Text,
        "what is measured; `brownout list expectations` shows all kinds",
    ),
    Key::optional(
        "during",
        Shape::TextOrTexts,
        "the phases over which it is judged (the kind's own choice)",
    ),
];

/// The registry of [`crate::fault::FAULTS`].
pub(super) const FAULT: &str = "fault";

/// The registry of [`crate::expectation::EXPECTATIONS`].
pub(super) const EXPECTATION: &str = "expectation";
