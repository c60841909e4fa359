//! A server that writes down what it is sent: the far end of alerts and webhooks.
//!
//! It refuses nothing and understands nothing: what an alert must say is for expectations to
//! judge. Query strings and headers are not kept, because that is where secrets travel.

use crate::history::{Message, Observation, Recorder};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::Service};
use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

/// How much of a message's body is kept; the rest is read and forgotten.
const BODY_KEPT_MAX: usize = 4 * 1024;

/// The most that a message's body may hold; a longer one is answered 413.
const BODY_READ_MAX: usize = 1024 * 1024;

/// The sink of one dependency.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    dependency: Arc<str>,
    recorder: Recorder,
}

impl Sink {
    pub(super) fn new(dependency: Arc<str>, recorder: Recorder) -> Self {
        Self {
            dependency,
            recorder,
        }
    }

    async fn take(self, request: Request<Incoming>) -> StatusCode {
        let (head, body) = request.into_parts();
        // A message that broke off was not sent: nothing is recorded and nobody reads the answer.
        let Some((kept, whole)) = read(body).await else {
            return StatusCode::BAD_REQUEST;
        };
        self.recorder.record(Observation::Message(Message {
            at: self.recorder.now(),
            dependency: Arc::clone(&self.dependency),
            request: format!("{} {}", head.method, head.uri.path()),
            body: String::from_utf8_lossy(&kept).into_owned(),
        }));
        match head.method {
            _ if !whole => StatusCode::PAYLOAD_TOO_LARGE,
            Method::GET | Method::HEAD => StatusCode::OK,
            _ => StatusCode::NO_CONTENT,
        }
    }
}

/// The beginning of a body, and whether it was within the limit; `None` if it broke off.
async fn read(mut body: Incoming) -> Option<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        length += data.len();
        let room = BODY_KEPT_MAX - kept.len();
        kept.extend_from_slice(&data[..room.min(data.len())]);
        if length > BODY_READ_MAX {
            return Some((kept, false));
        }
    }
    Some((kept, true))
}

impl Service<Request<Incoming>> for Sink {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let sink = self.clone();
        Box::pin(async move {
            let mut response = Response::new(Empty::new());
            *response.status_mut() = sink.take(request).await;
            Ok(response)
        })
    }
}
