//! One operation from its intended start to its outcome.

use super::{
    Base, Planned,
    exchange::{Answered, Trouble, exchange},
    pool::Pool,
    request::Rendered,
};
use crate::{
    history::{Operation, Outcome, Recorder, Source},
    scenario::{Capture, Follow, Load, Template},
    units::{Micros, format_duration},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// The most bytes of a captured value that are kept.
const CAPTURED_BYTES_MAX: usize = 1_024;

/// What every operation of a load shares.
pub(super) struct Lane {
    /// The load.
    pub load: Load,
    /// Where it goes.
    pub base: Arc<Base>,
    /// The connections.
    pub pool: Arc<Pool>,
    /// Where outcomes go.
    pub recorder: Recorder,
    /// Ends what is still in flight.
    pub cut: CancellationToken,
}

/// What became of an operation.
struct Ending {
    outcome: Outcome,
    status: Option<u16>,
    why: Option<String>,
    cut: bool,
}

impl Ending {
    fn failed(status: Option<u16>, why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            status,
            why: Some(why.into()),
            cut: false,
        }
    }

    fn indeterminate(why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Indeterminate,
            status: None,
            why: Some(why.into()),
            cut: false,
        }
    }

    /// We ourselves could not ask what would have told. What was taken in before stays known.
    fn unasked() -> Self {
        Self {
            cut: true,
            ..Self::indeterminate("we had no socket left to read it back with")
        }
    }

    /// The run ended before the answer was due.
    fn cut() -> Self {
        Self {
            cut: true,
            ..Self::indeterminate("run ended")
        }
    }
}

/// One operation on its way.
struct Attempted<'a> {
    lane: &'a Lane,
    planned: &'a Planned,
    began: Micros,
    /// When the first answer was whole, once it is being read back.
    accepted: Option<Micros>,
    captured: BTreeMap<String, String>,
    /// How often it was refused and asked again.
    refused: u32,
}

impl Lane {
    /// Carries an operation out. `None`: it could not be sent for want of our own resources.
    pub async fn operate(&self, planned: &Planned, began: Micros) -> Option<Operation> {
        let mut attempted = Attempted {
            lane: self,
            planned,
            began,
            accepted: None,
            captured: BTreeMap::new(),
            refused: 0,
        };
        attempted.capture_variables();
        let rendered = Rendered::new(&self.load.request, planned, &BTreeMap::new(), &self.base);
        let (ending, label) = match &rendered {
            Err(why) => {
                let why = format!("the request cannot be sent: {why}");
                (Some(Ending::failed(None, why)), "".into())
            }
            Ok(rendered) => {
                let ending = tokio::select! {
                    biased;
                    ending = attempted.carry_out(rendered) => ending,
                    () = self.cut.cancelled() => Some(Ending::cut()),
                };
                (ending, Arc::clone(&rendered.label))
            }
        };
        let ended = self.recorder.now();
        ending.map(|ending| attempted.into_operation(ending, ended, label))
    }

    /// Gives a connection back once its answer has been judged, so that it costs no latency.
    fn keep(&self, answer: &mut Answered) {
        if let Some(sender) = answer.sender.take() {
            let pool = Arc::clone(&self.pool);
            tokio::spawn(async move { pool.give_back(sender).await });
        }
    }
}

impl Attempted<'_> {
    async fn carry_out(&mut self, rendered: &Rendered) -> Option<Ending> {
        let lane = self.lane;
        let mut asked = lane.recorder.instant(self.began);
        let mut answer = loop {
            let until = asked + lane.load.timeout;
            let mut answer = match timeout_at(until, exchange(&lane.pool, rendered)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(Trouble::Theirs { why, status })) => {
                    return Some(Ending::failed(status, why));
                }
                Ok(Err(Trouble::Ours)) => return None,
                Err(_) => {
                    let limit = format_duration(lane.load.timeout);
                    return Some(Ending::indeterminate(format!("no answer within {limit}")));
                }
            };
            let Some(next) = self.asks_again(&answer, asked) else {
                break answer;
            };
            lane.keep(&mut answer);
            sleep_until(next).await;
            asked = Instant::now();
            self.refused += 1;
        };
        self.capture_answer(rendered, &answer);
        let ending = self.judged(&answer);
        lane.keep(&mut answer);
        match &lane.load.follow {
            Some(follow) if ending.outcome == Outcome::Ok => {
                self.accepted = Some(lane.recorder.now());
                Some(self.followed(follow, ending).await)
            }
            _ => Some(ending),
        }
    }

    /// When a refused request is asked again; `None` if its answer stands.
    fn asks_again(&self, answer: &Answered, asked: Instant) -> Option<Instant> {
        let again = self.lane.load.again.as_ref()?;
        let last = self.lane.recorder.instant(self.planned.intended) + again.within;
        let next = (asked + again.every).max(Instant::now());
        (again.status.contains(answer.status) && next <= last).then_some(next)
    }

    fn judged(&self, answer: &Answered) -> Ending {
        let outcomes = &self.lane.load.outcomes;
        let outcome = outcomes.classify(&answer.seen(), &|template| self.fill(template));
        let status = answer.status;
        let why = match outcome {
            Outcome::Ok => None,
            Outcome::Degraded => Some(format!("a fallback answered, status {status}")),
            _ if outcomes.ok.status.contains(status) => {
                Some(format!("status {status}, but not the answer required"))
            }
            _ => Some(format!("status {status}")),
        };
        Ending {
            outcome,
            status: Some(status),
            why,
            cut: false,
        }
    }

    /// Asks the second request until it comes true.
    async fn followed(&self, follow: &Follow, first: Ending) -> Ending {
        let lane = self.lane;
        let late = |last: &str| {
            let limit = format_duration(follow.within);
            let why = format!("not readable within {limit}; last: {last}");
            Ending::failed(first.status, why)
        };
        let rendered = Rendered::new(&follow.request, self.planned, &self.captured, &lane.base);
        let rendered = match rendered {
            Ok(rendered) => rendered,
            Err(why) => {
                let why = format!("the follow-up cannot be sent: {why}");
                return Ending::failed(first.status, why);
            }
        };
        let until = lane.recorder.instant(self.planned.intended) + follow.within;
        loop {
            let asked = Instant::now();
            let limit = until.min(asked + lane.load.timeout);
            let last = match timeout_at(limit, exchange(&lane.pool, &rendered)).await {
                Ok(Ok(mut answer)) => {
                    let holds = follow.until.holds(&answer.seen(), &|text| self.fill(text));
                    lane.keep(&mut answer);
                    if holds {
                        return first;
                    }
                    format!("status {}", answer.status)
                }
                Ok(Err(Trouble::Theirs { why, .. })) => why,
                Ok(Err(Trouble::Ours)) => return Ending::unasked(),
                Err(_) => "no answer".to_owned(),
            };
            let next = asked + follow.every;
            if next.max(Instant::now()) >= until {
                return late(&last);
            }
            sleep_until(next).await;
        }
    }

    fn fill(&self, template: &Template) -> String {
        let captured = |name: &str| self.captured.get(name).cloned();
        template.fill(&|name: &str| self.planned.value(name).or_else(|| captured(name)))
    }

    fn capture_variables(&mut self) {
        for (name, capture) in &self.lane.load.capture {
            if let Capture::Var(var) = capture
                && let Some(value) = self.planned.value(var)
            {
                self.captured.insert(name.clone(), cut(value));
            }
        }
    }

    fn capture_answer(&mut self, rendered: &Rendered, answer: &Answered) {
        let mut document: Option<Value> = None;
        for (name, capture) in &self.lane.load.capture {
            let value = match capture {
                Capture::Header(header) => rendered.header(header).map(str::to_owned),
                Capture::ResponseHeader(header) => answer.header(header).map(str::to_owned),
                Capture::Json(pointer) => document
                    .get_or_insert_with(|| serde_json::from_slice(&answer.body).unwrap_or_default())
                    .pointer(pointer)
                    .map(text_of),
                Capture::Var(_) | Capture::Key | Capture::Parameter(_) => None,
            };
            if let Some(value) = value {
                self.captured.insert(name.clone(), cut(value));
            }
        }
    }

    fn into_operation(self, ending: Ending, ended: Micros, request: Arc<str>) -> Operation {
        Operation {
            load: Arc::clone(&self.lane.load.name),
            nth: self.planned.nth,
            source: Source::Load,
            intended: self.planned.intended,
            began: self.began,
            ended,
            accepted: self.accepted,
            outcome: ending.outcome,
            status: ending.status,
            why: ending.why,
            cut: ending.cut,
            refused: self.refused,
            request,
            captured: self.captured,
        }
    }
}

/// A JSON value as text: a string without its quotes.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value within the bound, cut where a letter ends.
fn cut(mut value: String) -> String {
    value.truncate(value.floor_char_boundary(CAPTURED_BYTES_MAX));
    value
}
