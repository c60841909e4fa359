//! A server that writes down what it is sent: the far end of alerts and webhooks.
//!
//! It refuses nothing and understands nothing: what an alert must say is for expectations to
//! judge. Query strings and headers are not kept, because that is where secrets travel.

use crate::history::{Message, Observation, Recorder};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::Service};
use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

/// The most that a message's body may hold; a longer one is answered 413.
const BODY_READ_MAX: usize = 1024 * 1024;

/// The sink of one dependency.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    dependency: Arc<str>,
    kept_max: usize,
    recorder: Recorder,
}

impl Sink {
    /// A sink that keeps so many bytes of each body.
    pub(super) fn new(dependency: Arc<str>, kept_max: usize, recorder: Recorder) -> Self {
        Self {
            dependency,
            kept_max,
            recorder,
        }
    }

    async fn take(self, request: Request<Incoming>) -> StatusCode {
        let (head, body) = request.into_parts();
        // A message that broke off was not sent: nothing is recorded and nobody reads the answer.
        let Some(read) = read(body, self.kept_max).await else {
            return StatusCode::BAD_REQUEST;
        };
        self.recorder.record(Observation::Message(Message {
            at: self.recorder.now(),
            dependency: Arc::clone(&self.dependency),
            request: format!("{} {}", head.method, head.uri.path()),
            body: String::from_utf8_lossy(&read.kept).into_owned(),
            cut: read.length > read.kept.len(),
        }));
        match head.method {
            _ if read.length > BODY_READ_MAX => StatusCode::PAYLOAD_TOO_LARGE,
            Method::GET | Method::HEAD => StatusCode::OK,
            _ => StatusCode::NO_CONTENT,
        }
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
