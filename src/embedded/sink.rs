//! A server that writes down what it is sent: the far end of alerts and webhooks.
//!
//! It refuses nothing and understands nothing: what an alert must say is for expectations to
//! judge. What it answers can be said beforehand, for clients that insist on their provider's own. Query strings and headers are not
//! kept, because that is where secrets travel, nor what a body calls after one: `{"token": "***"}`.

use crate::{
    history::{Message, Observation, Recorder},
    input::without_secrets,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    service::Service,
};
use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

/// The most that a message's body may hold; a longer one is answered 413.
const BODY_READ_MAX: usize = 1024 * 1024;

/// What a sink answers to everything that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    fn response(&self) -> Response<Full<Bytes>> {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&self.body).is_ok();
        let kind = if is_json {
            "application/json"
        } else {
            "text/plain"
        };
        let mut response = Response::new(Full::from(self.body.clone()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        if !self.body.is_empty() {
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        response
    }
}

/// The sink of one dependency.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    dependency: Arc<str>,
    kept_max: usize,
    keeps_secrets: bool,
    answer: Option<Arc<Answer>>,
    recorder: Recorder,
}

impl Sink {
    /// A sink that keeps so many bytes of each body, with what is secret in it or without, and
    /// answers so; by default 204, and 200 to those who only look.
    pub(super) fn new(
        dependency: Arc<str>,
        (kept_max, keeps_secrets): (usize, bool),
        answer: Option<Answer>,
        recorder: Recorder,
    ) -> Self {
        Self {
            dependency,
            kept_max,
            keeps_secrets,
            answer: answer.map(Arc::new),
            recorder,
        }
    }

    async fn take(self, request: Request<Incoming>) -> StatusCode {
        let (head, body) = request.into_parts();
        // A message that broke off was not sent: nothing is recorded and nobody reads the answer.
        let Some(read) = read(body, self.kept_max).await else {
            return StatusCode::BAD_REQUEST;
        };
        let status = match head.method {
            _ if read.length > BODY_READ_MAX => StatusCode::PAYLOAD_TOO_LARGE,
            Method::GET | Method::HEAD => StatusCode::OK,
            _ => StatusCode::NO_CONTENT,
        };
        let refuses = |answer: &Arc<Answer>| !(200..300).contains(&answer.status);
        let kept = String::from_utf8_lossy(&read.kept);
        let body = match self.keeps_secrets {
            true => kept.to_string(),
            false => without_secrets(&kept),
        };
        // As long as it was, but with other bytes: some of them said something else.
        let is_whole = read.length == read.kept.len() && body.as_bytes() == read.kept;
        self.recorder.record(Observation::Message(Message {
            at: self.recorder.now(),
            dependency: Arc::clone(&self.dependency),
            request: format!("{} {}", head.method, head.uri.path()),
            body,
            cut: !is_whole,
            taken: status.is_success() && !self.answer.as_ref().is_some_and(refuses),
        }));
        status
    }
}

/// What was read of a body.
struct Read {
    /// Its beginning.
    kept: Vec<u8>,
    /// How long it was, as far as it was read: beyond [`BODY_READ_MAX`] it is not.
    length: usize,
}

/// Reads a body; `None` if it broke off.
async fn read(mut body: Incoming, kept_max: usize) -> Option<Read> {
    let mut kept = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        length += data.len();
        let room = kept_max - kept.len();
        kept.extend_from_slice(&data[..room.min(data.len())]);
        if length > BODY_READ_MAX {
            break;
        }
    }
    Some(Read { kept, length })
}

impl Service<Request<Incoming>> for Sink {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let sink = self.clone();
        Box::pin(async move {
            let answer = sink.answer.clone();
            let status = sink.take(request).await;
            Ok(match answer.filter(|_| status.is_success()) {
                Some(answer) => answer.response(),
                None => {
                    let mut response = Response::new(Full::default());
                    *response.status_mut() = status;
                    response
                }
            })
        })
    }
}
