//! An attempt that is over, as a span in the JSON of OTLP. Names are those of OpenTelemetry's semantic
//! conventions for HTTP and databases; what they have no name for begins with `brownout.`.

use crate::{
    history::{Attempt, AttemptEnd, Recorder},
    protocol::{Applied, Protocol},
    seed::{Seed, mixed, name_hash},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// The number by which OTLP names a span of one who was asked.
const SERVER: u32 = 2;

/// The number by which OTLP names what went wrong.
const ERROR: u32 = 2;

/// An attempt that is over, with what is known of it beside.
pub(super) struct Ended {
    attempt: Attempt,
    /// When its recorder began, in nanoseconds since 1970.
    zero: u128,
    /// Its recorder.
    recorder: u64,
    protocol: Option<Protocol>,
    /// The faults that acted on it, in words.
    faults: Vec<Arc<str>>,
}

/// How spans and traces that nobody has named yet are named: by numbers that no other process has.
pub(super) struct Naming {
    nonce: u64,
    spans: AtomicU64,
}

impl Naming {
    pub(super) fn fresh() -> Self {
        let nonce = Seed::fresh().0;
        Self {
            nonce: mixed(nonce ^ u64::from(std::process::id())),
            spans: AtomicU64::new(1),
        }
    }

    fn span(&self) -> u64 {
        let nth = self.spans.fetch_add(1, Ordering::Relaxed);
        // Zero names nothing.
        mixed(self.nonce ^ nth).max(1)
    }

    /// The same for all attempts of a call.
    fn trace(&self, ended: &Ended) -> u128 {
        let call = name_hash(&[&ended.attempt.dependency, &ended.attempt.call]);
        let high = mixed(self.nonce ^ mixed(call ^ ended.recorder));
        (u128::from(high) << 64 | u128::from(mixed(high ^ call))).max(1)
    }
}

impl Ended {
    /// What a recorder was just told.
    pub(super) fn now(recorder: &Recorder, attempt: &Attempt, now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.map_or(0, |since| since.as_nanos());
        Self {
            attempt: attempt.clone(),
            zero: since.saturating_sub(u128::from(recorder.now().0) * 1_000),
            recorder: recorder.number(),
            protocol: recorder.protocol_of(&attempt.dependency),
            faults: attempt
                .faults
                .iter()
                .map(|fault| recorder.name_of(*fault))
                .collect(),
        }
    }

    fn nanos(&self, at: crate::units::Micros) -> String {
        (self.zero + u128::from(at.0) * 1_000).to_string()
    }

    fn as_json(&self, naming: &Naming) -> Value {
        let attempt = &self.attempt;
        let (trace, parent) = match attempt.trace {
            Some(trace) => (trace.trace, format!("{:016x}", trace.span)),
            None => (naming.trace(self), String::new()),
        };
        let event = |name: &Arc<str>| {
            json!({
                "timeUnixNano": self.nanos(attempt.began),
                "name": "brownout.fault",
                "attributes": [text("brownout.fault", name)],
            })
        };
        let mut span = json!({
            "traceId": format!("{trace:032x}"),
            "spanId": format!("{:016x}", naming.span()),
            "parentSpanId": parent,
            "name": format!("{} {}", attempt.operation, attempt.dependency),
            "kind": SERVER,
            "startTimeUnixNano": self.nanos(attempt.began),
            "endTimeUnixNano": self.nanos(attempt.ended),
            "attributes": self.attributes(),
            "events": self.faults.iter().map(event).collect::<Vec<_>>(),
        });
        if let Some(error) = self.error() {
            span["status"] = json!({ "code": ERROR, "message": error });
        }
        span
    }

    fn attributes(&self) -> Vec<Value> {
        let attempt = &self.attempt;
        let mut all = vec![
            text("brownout.dependency", &attempt.dependency),
            text("brownout.call", &attempt.call),
            text("brownout.applied", applied(attempt.applied)),
        ];
        let key = &*attempt.key;
        match self.protocol {
            Some(Protocol::S3) => {
                all.push(text("rpc.system", "aws-api"));
                all.push(text("rpc.service", "S3"));
                all.push(text("rpc.method", &attempt.operation));
                let (bucket, key) = key.split_once('/').unwrap_or((key, ""));
                let parts = [("aws.s3.bucket", bucket), ("aws.s3.key", key)];
                let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
                all.extend(parts.map(|(name, part)| text(name, part)));
            }
            Some(Protocol::Http | Protocol::Pusher) => {
                all.push(text("http.request.method", &attempt.operation));
                all.push(text("url.path", key));
            }
            Some(protocol @ (Protocol::Postgres | Protocol::Mysql | Protocol::Redis)) => {
                all.push(text("db.system.name", database(protocol)));
                all.push(text("db.operation.name", &attempt.operation));
                if protocol != Protocol::Redis && !key.is_empty() {
                    all.push(text("db.collection.name", key));
                }
                let code = attempt.code.as_deref();
                all.extend(code.map(|code| text("db.response.status_code", code)));
            }
            Some(Protocol::Tcp) | None => {}
        }
        let status = attempt.status.map(u64::from);
        all.extend(status.map(|status| number("http.response.status_code", status)));
        if attempt.attempt > 1 {
            let resent = u64::from(attempt.attempt) - 1;
            all.push(number("http.request.resend_count", resent));
        }
        all.extend(self.error().map(|error| text("error.type", &error)));
        all
    }

    /// What went wrong, in a word.
    fn error(&self) -> Option<String> {
        let attempt = &self.attempt;
        if !attempt.failed() {
            return None;
        }
        Some(match (attempt.end, &attempt.code, attempt.status) {
            (AttemptEnd::Answered, Some(code), _) => code.to_string(),
            (AttemptEnd::Answered, None, Some(status)) => status.to_string(),
            (AttemptEnd::Answered, None, None) => "_OTHER".to_owned(),
            (AttemptEnd::GaveUp, ..) => "client gave up".to_owned(),
            (AttemptEnd::Cut, ..) => "cut off".to_owned(),
            (AttemptEnd::UpstreamFailed, ..) => "dependency failed".to_owned(),
            (AttemptEnd::Unfinished, ..) => "not finished".to_owned(),
        })
    }
}

/// The body of a request to the receiver.
pub(super) fn body(ended: &[Ended], resource: &[(String, String)], naming: &Naming) -> Vec<u8> {
    let resource: Vec<Value> = resource
        .iter()
        .map(|(key, value)| text(key, value))
        .collect();
    let spans: Vec<Value> = ended.iter().map(|one| one.as_json(naming)).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": "brownout", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
    .to_string()
    .into_bytes()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Whole numbers are texts in the JSON of protocol buffers.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

const fn applied(applied: Applied) -> &'static str {
    match applied {
        Applied::No => "no",
        Applied::Yes => "yes",
        Applied::Unknown => "unknown",
    }
}

const fn database(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Postgres => "postgresql",
        Protocol::Mysql => "mysql",
        _ => "redis",
    }
}
