//! What is shown of the bench: values that are written as JSON. Moments are milliseconds since the
//! server began.

use super::{
    figures::{Bin, Outcome},
    window::{Call, Now},
};
use crate::{
    fault::FaultId,
    history::{Attempt, AttemptEnd},
    proxy::UnderWay,
    units::Micros,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

/// Milliseconds, to the thousandth.
pub(crate) fn millis(at: Micros) -> f64 {
    at.0 as f64 / 1e3
}

fn millis_of(length: Duration) -> f64 {
    millis(Micros::from(length))
}

/// Two or three digits behind the point are enough.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Where a dependency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Of {
    /// The system's file.
    File,
    /// A request.
    Api,
    /// A request in Toxiproxy's words.
    Toxiproxy,
    /// A run.
    Run,
}

/// A dependency.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) role: Option<String>,
    /// `None` where nobody has said it.
    pub(crate) protocol: Option<String>,
    /// Where it listens; `None` while it does not, or where that is not known.
    pub(crate) listen: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) upstream: String,
    pub(crate) of: Of,
    pub(crate) live: Live,
    pub(crate) series: Series,
    /// The numbers of the faults in force on it.
    pub(crate) faults: Vec<u64>,
    /// Toxiproxy's toxics, as its clients see them.
    pub(crate) toxics: Option<Vec<Value>>,
}

/// How a dependency is doing: counts of attempts of the last seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Live {
    /// How much time the counts cover.
    pub(crate) window_ms: f64,
    /// `None` here and below where requests are not seen.
    pub(crate) calls_per_s: Option<f64>,
    pub(crate) attempts_per_s: Option<f64>,
    pub(crate) ok: Option<u64>,
    pub(crate) failed: Option<u64>,
    pub(crate) refused: Option<u64>,
    pub(crate) unfinished: Option<u64>,
    /// Attempts on which faults acted.
    pub(crate) acted: Option<u64>,
    pub(crate) in_flight: Option<u64>,
    pub(crate) connections: u64,
    pub(crate) latency_ms: Option<Latency>,
    pub(crate) bytes_in_per_s: f64,
    pub(crate) bytes_out_per_s: f64,
    pub(crate) second: Second,
}

/// How long attempts took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The last whole second.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Second {
    pub(crate) at_ms: f64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) unfinished: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) bytes: u64,
}

/// The whole seconds that are kept, the oldest first.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) step_ms: u32,
    pub(crate) from_ms: f64,
    pub(crate) ok: Vec<u64>,
    pub(crate) failed: Vec<u64>,
    pub(crate) refused: Vec<u64>,
    pub(crate) unfinished: Vec<u64>,
    pub(crate) p50_ms: Vec<Option<f64>>,
    pub(crate) p99_ms: Vec<Option<f64>>,
    pub(crate) bytes: Vec<u64>,
}

/// A fault in force.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fault {
    pub(crate) id: u64,
    pub(crate) kind: &'static str,
    pub(crate) on: Vec<String>,
    pub(crate) label: String,
    pub(crate) keys: Map<String, Value>,
    pub(crate) since_ms: f64,
    pub(crate) ends_in_ms: f64,
    pub(crate) lease_ms: Option<f64>,
    pub(crate) acted: u64,
    pub(crate) toml: Arc<str>,
}

/// A fault in force, as it changes by itself.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FaultNow {
    pub(crate) id: u64,
    pub(crate) ends_in_ms: f64,
    pub(crate) acted: u64,
}

/// A logical call.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CallView {
    pub(crate) id: String,
    pub(crate) dependency: String,
    pub(crate) operation: String,
    pub(crate) key: Option<String>,
    pub(crate) at_ms: f64,
    pub(crate) took_ms: Option<f64>,
    pub(crate) outcome: &'static str,
    /// At most [`ATTEMPTS_MAX`], the last ones.
    pub(crate) attempts: Vec<AttemptView>,
    /// Whether the attempts were put together by time and not by the client's own id.
    pub(crate) heuristic: bool,
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnderWayView {
    /// The same as long as it has none.
    pub(crate) id: String,
    pub(crate) dependency: String,
    pub(crate) operation: String,
    pub(crate) key: Option<String>,
    pub(crate) at_ms: f64,
    pub(crate) age_ms: f64,
}

impl UnderWayView {
    /// The oldest of these, at most so many, the oldest first.
    pub(crate) fn oldest(
        mut all: Vec<(Arc<str>, UnderWay)>,
        now: Micros,
        most: usize,
    ) -> Vec<Self> {
        all.sort_by_key(|(_, one)| one.began);
        let shown = all.iter().take(most);
        shown.map(|(name, one)| Self::of(name, one, now)).collect()
    }

    fn of(dependency: &str, one: &UnderWay, now: Micros) -> Self {
        let short = |text: &str| text.chars().take(KEY_MAX).collect::<String>();
        Self {
            id: format!("{dependency}/{}.{}", one.connection, one.number),
            dependency: dependency.to_owned(),
            operation: short(&one.operation),
            key: Some(short(&one.key)).filter(|key| !key.is_empty()),
            at_ms: millis(one.began),
            age_ms: millis_of(now.since(one.began)),
        }
    }
}

/// One attempt of a call.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AttemptView {
    pub(crate) at_ms: f64,
    pub(crate) took_ms: Option<f64>,
    pub(crate) end: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    pub(crate) faults: Vec<ActedOn>,
}

/// A fault that acted on an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ActedOn {
    /// Its number; `None` for a toxic.
    pub(crate) id: Option<u64>,
    pub(crate) kind: String,
}

/// The most attempts of a call that are shown.
pub(crate) const ATTEMPTS_MAX: usize = 50;

/// The longest key that is shown, in characters.
const KEY_MAX: usize = 300;

impl Live {
    /// How it is doing. `sees_requests`: whether its protocol shows single requests.
    pub(crate) fn of(now: &Now, sees_requests: bool) -> Self {
        let seconds = now.span.as_secs_f64();
        let per_second = |count: u64| {
            let rate = if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            };
            rounded(rate)
        };
        let bin = &now.bin;
        let seen = |count: u64| sees_requests.then_some(count);
        Self {
            window_ms: millis_of(now.span),
            calls_per_s: sees_requests.then(|| per_second(bin.calls)),
            attempts_per_s: sees_requests.then(|| per_second(bin.attempts())),
            ok: seen(bin.ok),
            failed: seen(bin.failed),
            refused: seen(bin.refused),
            unfinished: seen(bin.unfinished),
            acted: seen(bin.acted),
            in_flight: now.flow.in_flight.filter(|_| sees_requests),
            connections: now.flow.connections,
            latency_ms: quantile(bin, 0.5)
                .zip(quantile(bin, 0.99))
                .map(|(p50, p99)| Latency { p50, p99 }),
            bytes_in_per_s: per_second(bin.bytes_in),
            bytes_out_per_s: per_second(bin.bytes_out),
            second: Second::of(&now.second),
        }
    }
}

impl Live {
    /// The same of something whose clock began then, on the server's.
    pub(crate) fn at(mut self, since: Micros) -> Self {
        self.second.at_ms += millis(since);
        self
    }
}

impl Second {
    fn of(bin: &Bin) -> Self {
        Self {
            at_ms: millis(Micros::from_secs(bin.step)),
            ok: bin.ok,
            failed: bin.failed,
            refused: bin.refused,
            unfinished: bin.unfinished,
            p50_ms: quantile(bin, 0.5),
            p99_ms: quantile(bin, 0.99),
            bytes: bin.bytes_in + bin.bytes_out,
        }
    }
}

impl Series {
    /// The seconds of a window.
    pub(crate) fn of((from, bins): (Micros, Vec<&Bin>)) -> Self {
        let counts = |of: fn(&Bin) -> u64| bins.iter().map(|bin| of(bin)).collect();
        let quantiles = |share| bins.iter().map(|bin| quantile(bin, share)).collect();
        Self {
            step_ms: 1_000,
            from_ms: millis(from),
            ok: counts(|bin| bin.ok),
            failed: counts(|bin| bin.failed),
            refused: counts(|bin| bin.refused),
            unfinished: counts(|bin| bin.unfinished),
            p50_ms: quantiles(0.5),
            p99_ms: quantiles(0.99),
            bytes: counts(|bin| bin.bytes_in + bin.bytes_out),
        }
    }
}

impl Series {
    /// The same of something whose clock began then, on the server's.
    pub(crate) fn at(mut self, since: Micros) -> Self {
        self.from_ms += millis(since);
        self
    }
}

fn quantile(bin: &Bin, share: f64) -> Option<f64> {
    bin.quantile(share).map(|micros| rounded(micros / 1e3))
}

impl CallView {
    /// A call. `since`: when its history began, on the server's clock. `named` knows the faults by
    /// their numbers in observations.
    pub(crate) fn of(call: &Call, since: Micros, named: impl Fn(FaultId) -> ActedOn) -> Self {
        let at = |moment: Micros| millis(Micros(since.0 + moment.0));
        let skipped = call.attempts.len().saturating_sub(ATTEMPTS_MAX);
        let last = call.attempts.last();
        let outcome = last.map_or(Outcome::Unfinished, |last| Outcome::of(last));
        let first = call.attempts.first();
        let text = |of: fn(&Attempt) -> &Arc<str>| {
            let text = first.map_or("", |first| &**of(first));
            text.chars().take(KEY_MAX).collect::<String>()
        };
        Self {
            id: format!("{}/{}", call.dependency, call.number),
            dependency: call.dependency.to_string(),
            operation: text(|attempt| &attempt.operation),
            key: Some(text(|attempt| &attempt.key)).filter(|key| !key.is_empty()),
            at_ms: at(call.call.began),
            took_ms: (outcome != Outcome::Unfinished)
                .then(|| millis_of(call.call.ended.since(call.call.began))),
            outcome: outcome.name(),
            attempts: call.attempts[skipped..]
                .iter()
                .map(|attempt| AttemptView {
                    at_ms: at(attempt.began),
                    took_ms: (attempt.end != AttemptEnd::Unfinished)
                        .then(|| millis_of(attempt.duration())),
                    end: end(attempt.end),
                    status: attempt.status,
                    code: attempt.code.as_deref().map(str::to_owned),
                    faults: attempt.faults.iter().map(|fault| named(*fault)).collect(),
                })
                .collect(),
            heuristic: !call.call.by_sdk_id,
        }
    }
}

/// How an attempt ended, in the words of a history.
const fn end(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Answered => "answered",
        AttemptEnd::GaveUp => "gave-up",
        AttemptEnd::Cut => "cut",
        AttemptEnd::UpstreamFailed => "upstream-failed",
        AttemptEnd::Unfinished => "unfinished",
    }
}
