//! `overload`: the dependency has a capacity, and waiting comes from the queue that the system's own
//! calls and retries build.
//!
//! The queue is a model ([`Model`]), one for each dependency; whoever carries decisions out drives
//! it. A request takes its place in it and is forwarded once the model has served it, so that it
//! waits and is worked upon as the capacity says, and then meets the real dependency. Where a later
//! phase has an overload on the same dependency too, the queue goes on under the new capacity: a
//! phase with the dependency's normal capacity shows whether the system comes out of a backlog that
//! it keeps alive itself. Where none has, everybody who waits is released at once.
//!
//! A request of a client that has gone is served for nobody, unless `cancel = true`. It is not
//! forwarded then: what a real dependency would carry out for nobody is not.
//!
//! Sources: N. Gunther's Universal Scalability Law; queueing theory's M/M/c for the special case of
//! exponential service.

mod capacity;
mod model;

pub use capacity::{Bound, Capacity, Order, WAITING_MAX};
pub use model::{Ended, Fate, Model, Sample, Ticket};

use super::{
    Acts, Behaviour, ConnectionEvent, Context, Decision, End, FaultDef, Group, Reply, Turn, keys,
    refusal::{self, REFUSAL},
};
use crate::{
    input::{About, Fields, Key, Problems, Shape},
    protocol::{
        CONNECT, Call, Protocol,
        mysql::{self, Meets},
    },
    units::parse_duration,
};
use std::{sync::Arc, time::Duration};
use toml::de::DeValue;

const KEYS: &[Key] = &[
    Key::required(
        "servers",
        Shape::Integer(0, SERVERS_MAX),
        "how many requests are served at the same time",
    ),
    Key::required(
        "service",
        Shape::AnyOf(&[Shape::Duration, Shape::Table(keys::LAW)]),
        "how long one request takes alone: \"10ms\", or a law as `latency` has them, { exponential = \"10ms\" }",
    ),
    Key::optional(
        "contention",
        Shape::Number(0.0, 1.0),
        "σ of the Universal Scalability Law: among N in service each takes 1 + σ(N−1) + κN(N−1) times as long (0)",
    ),
    Key::optional(
        "coherency",
        Shape::Number(0.0, 1.0),
        "κ of the Universal Scalability Law (0)",
    ),
    Key::optional(
        "queue",
        Shape::AnyOf(&[
            Shape::Integer(0, WAITING_MAX as i64),
            Shape::Duration,
            Shape::OneOf(&["unbounded"]),
        ]),
        "how much may wait: requests, or the time that all servers need for them; beyond it arrivals are refused (\"unbounded\": up to a million)",
    ),
    Key::optional(
        "order",
        Shape::OneOf(&["fifo", "lifo"]),
        "who is served next: who came first, or last (fifo)",
    ),
    Key::optional(
        "deadline",
        Shape::Duration,
        "what has waited longer is refused when its turn comes",
    ),
    Key::optional(
        "connections",
        Shape::Integer(1, 1_000_000),
        "connections that may be open at the same time; further ones are refused, those that are open stay",
    ),
    Key::optional(
        "other_load",
        Shape::Rate,
        "the demand of other tenants, \"800/s\": Poisson arrivals that exist in the queue alone",
    ),
    Key::optional(
        "scale",
        Shape::Number(0.0, 1000.0),
        "how many times as fast every server works: 2.0 is the operator's scale-up (1)",
    ),
    Key::optional(
        "cancel",
        Shape::Bool,
        "whether a request whose client has gone is taken out of the queue (false: it is served for nobody)",
    ),
    REFUSAL,
];

/// The most servers.
const SERVERS_MAX: i64 = 10_000;

/// The highest demand of other tenants, a second: each arrival is a step of the model.
const OTHER_LOAD_MAX: f64 = 100_000.0;

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "overload",
    group: Group::Capacity,
    summary: "a capacity with a queue: waiting comes from what is asked of it",
    about: About {
        text: "\
            The dependency has a capacity: so many servers, a service time, and how both degrade \
            with concurrency (the Universal Scalability Law). What comes faster waits in a \
            queue, and what the queue does not hold is refused in the protocol's own words. \
            Delays are so not a number that somebody chose but what the system's own calls and \
            retries make of it, and an overload can outlast its cause: retries alone may keep it \
            up.\n\n\
            `scale` in a later phase is the operator's scale-up; `other_load` is the demand of \
            other tenants, which exists in the queue alone.",
        evidence: "Each request that waited or was refused is an act.",
        doubt: "",
        mistakes: &[
            "\
                Servers divided by the service time are the capacity: 4 servers at 10 ms are 400 \
                requests a second. Below that nothing happens, and the verdict says so.",
            "\
                A client that gives up leaves its request in the queue, served for nobody, unless \
                `cancel = true`.",
        ],
        related: &[
            "latency",
            "quota",
            "max-connections",
            "amplification",
            "in-flight",
        ],
    },
    example: "[[phase.fault]]\nkind       = \"overload\"\non         = \"object-store\"\nservers    = 4\nservice    = { exponential = \"10ms\" }\nqueue      = \"500ms\"\nother_load = \"350/s\"\n",
    example_protocol: Protocol::S3,
    keys: KEYS,
    refuses: &[],
    ramps: &[],
    carried_by: |protocol| {
        if protocol.has_messages() {
            Ok(())
        } else {
            Err(
                "no single requests are seen there to queue; `bandwidth`, `latency` and `max-connections` act on any stream",
            )
        }
    },
    parse: |fields, protocol, _, problems| {
        let before = problems.as_slice().len();
        let capacity = capacity(fields, problems);
        let connections = fields.integer("connections", problems);
        let (full, refused) = refusals(fields, protocol, problems)?;
        let clean = problems.as_slice().len() == before;
        Some(Box::new(Overload {
            capacity: Arc::new(capacity.filter(|_| clean)?),
            connections: connections.and_then(|limit| u64::try_from(limit).ok()),
            full,
            refused,
        }))
    },
};

/// What each protocol says where the file does not: to a request for which there is no room, and
/// to a connection beyond the limit.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("http", "503", "503"),
    ("s3", "SlowDown", "SlowDown"),
    ("pusher", "4100", "4100"),
    // Redis queues without a bound; what it cannot keep up with it cuts.
    ("redis", "close", "max-clients"),
    // Who waits for longer than its `statement_timeout` is cancelled, and keeps its session.
    ("postgres", "57014", "53300"),
    // The same of `max_statement_time`.
    ("mysql", "1969", "1040"),
];

/// How a request and how a connection is refused.
fn refusals(
    fields: &Fields<'_>,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<(End, End)> {
    let name = protocol.def().name;
    let known = REFUSALS.iter().find(|(known, _, _)| *known == name);
    let ends = known.and_then(|(_, full, refused)| {
        let full = refusal::named(full, protocol).ok()?;
        Some((full, refusal::named(refused, protocol).ok()?))
    });
    if fields.has("refusal") {
        let end = refusal::parse(fields, protocol, problems)?;
        let refused = match ends {
            Some((_, refused)) if !meets_connections(&end) => refused,
            _ => end.clone(),
        };
        return Some((end, refusal::closes(refused)));
    }
    if ends.is_none() && protocol.has_messages() {
        let message = format!("{} has no `refusal`", fields.name());
        let hint = format!("say how {protocol} refuses: an error of it, \"close\" or \"reset\"");
        problems.error(fields.source, fields.span.clone(), message, hint);
    }
    ends.map(|(full, refused)| (full, refusal::closes(refused)))
}

/// Whether a server refuses a connection so, and not a statement alone.
fn meets_connections(end: &End) -> bool {
    match end {
        End::Reply(Reply::Postgres(error)) => error.severity.ends_session(),
        End::Reply(Reply::Mysql { errno, .. }) => mysql::find_error(&errno.to_string())
            .is_some_and(|def| matches!(def.meets, Meets::Connect | Meets::Login)),
        _ => true,
    }
}

fn capacity(fields: &Fields<'_>, problems: &mut Problems) -> Option<Capacity> {
    let servers = fields.integer("servers", problems);
    let scale = fields.number("scale", problems).unwrap_or(1.0);
    if servers == Some(0) {
        let hint = "the least is 1; a `hang` never answers".to_owned();
        fields.problem(problems, "servers", "no server: a capacity of zero", hint);
    }
    if scale == 0.0 {
        let hint = "write a small number, like 0.01; a `hang` never answers".to_owned();
        fields.problem(problems, "scale", "a capacity of zero", hint);
    }
    let service = service(fields, problems);
    let bound = bound(fields, problems);
    let order = match fields.word("order", problems).map(|word| word.value) {
        Some("lifo") => Order::Lifo,
        _ => Order::Fifo,
    };
    if bound == Some(Bound::Requests(0)) {
        for key in ["order", "deadline"] {
            if fields.has(key) {
                let hint = format!("leave `{key}` out, or let the queue hold something");
                let message = format!("nobody waits in a queue of 0, and so `{key}` says nothing");
                fields.problem(problems, key, message, hint);
            }
        }
    }
    let deadline = fields.duration("deadline", problems);
    if deadline.is_some_and(|deadline| deadline.is_zero()) {
        let hint = "a queue of 0 lets nobody wait".to_owned();
        fields.problem(problems, "deadline", "`deadline` must be above zero", hint);
    }
    let other_load = fields.rate("other_load", problems);
    if other_load.is_some_and(|rate| rate.as_per_second() > OTHER_LOAD_MAX) {
        let hint = "take fewer, and as much less of servers".to_owned();
        let message = format!("`other_load` is at most {OTHER_LOAD_MAX}/s");
        fields.problem(problems, "other_load", message, hint);
    }
    Some(Capacity {
        servers: u32::try_from(servers?).ok()?,
        service: service?,
        scale,
        contention: fields.number("contention", problems).unwrap_or(0.0),
        coherency: fields.number("coherency", problems).unwrap_or(0.0),
        bound: bound?,
        order,
        deadline,
        cancel: fields.bool("cancel", problems).unwrap_or(false),
        other_load,
    })
}

fn service(fields: &Fields<'_>, problems: &mut Problems) -> Option<super::Law> {
    let law = match fields.raw("service")?.get_ref() {
        DeValue::String(_) => super::Law::Constant(fields.duration("service", problems)?),
        _ => {
            let wanted = "a duration, like \"10ms\", or a table with a law";
            let table = fields.alternative("service", keys::LAW, wanted, problems)?;
            keys::Delays::law(&table, problems)?
        }
    };
    if law.longest().is_zero() {
        let hint = "say how long one request takes alone: service = \"10ms\"".to_owned();
        let message = "a service that takes no time: nothing would ever wait";
        fields.problem(problems, "service", message, hint);
        return None;
    }
    Some(law)
}

/// How much may wait; `None` where that is wrong.
fn bound(fields: &Fields<'_>, problems: &mut Problems) -> Option<Bound> {
    let Some(value) = fields.raw("queue") else {
        return Some(Bound::Unbounded);
    };
    let bound = match value.get_ref() {
        DeValue::String(text) if text == "unbounded" => Some(Bound::Unbounded),
        DeValue::String(text) => parse_duration(text).ok().map(Bound::Work),
        DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|count| *count <= WAITING_MAX)
            .map(Bound::Requests),
        _ => None,
    };
    if bound.is_none() {
        let message = format!(
            "`queue` is a number of requests up to {WAITING_MAX}, a time of work, or \"unbounded\""
        );
        let hint = "queue = 500, queue = \"500ms\" or queue = \"unbounded\"".to_owned();
        fields.problem(problems, "queue", message, hint);
    }
    bound
}

#[derive(Debug)]
struct Overload {
    capacity: Arc<Capacity>,
    connections: Option<u64>,
    /// What a request gets for which there is no room.
    full: End,
    /// What a connection gets beyond the limit.
    refused: End,
}

impl Overload {
    /// The work of one request, a function of the request alone.
    fn work(&self, context: &Context) -> Duration {
        let (seed, name, key) = context.stream;
        self.capacity.service.draw(&mut seed.generator(name, key))
    }
}

impl Behaviour for Overload {
    fn connection(&self, event: &ConnectionEvent, _: &Context) -> Option<Decision> {
        let limit = self.connections?;
        let too_many = event.open > limit && !event.already_open;
        too_many.then(|| Decision::end(self.refused.clone()))
    }

    fn request(&self, call: &Call, context: &Context) -> Option<Decision> {
        // Who connects to a database waits as a statement does, and is told otherwise.
        let refusal = if *call.operation == *CONNECT {
            &self.refused
        } else {
            &self.full
        };
        let turn = Turn::new(self.work(context), refusal.clone());
        Some(Decision::turn(turn))
    }

    fn capacity(&self) -> Option<&Arc<Capacity>> {
        Some(&self.capacity)
    }

    fn acts(&self) -> Acts {
        Acts {
            connections: self.connections.is_some(),
            ..Acts::REQUESTS
        }
    }
}

#[cfg(test)]
mod tests;
