//! Answers of the native API and of the page.

use crate::control::bench::problem::{Failure, Problem, Why};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// The body of an answer: whole, or made while it is sent.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body that is made while it is sent.
pub(crate) fn flowing(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}

/// The same body, which holds this until all of it is sent, or nobody wants it any more.
pub(crate) fn until_sent(body: Body, held: impl Send + Unpin + 'static) -> Body {
    Holding { body, _held: held }.boxed_unsync()
}

struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> hyper::body::Body for Holding<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer with this body.
pub(crate) fn with(status: u16, kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(kind) {
        headers.insert(CONTENT_TYPE, kind);
    }
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An answer without a body.
pub(crate) fn bare(status: u16) -> Response<Body> {
    let mut response = with(status, "text/plain", whole(Bytes::new()));
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// A value as JSON.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => with(status, "application/json", whole(text)),
        Err(_) => bare(500),
    }
}

/// What is wrong.
pub(crate) fn problems(status: u16, problems: &[Problem]) -> Response<Body> {
    json(
        status,
        &serde_json::json!({ "error": { "problems": problems } }),
    )
}

/// One thing that is wrong with a request as a whole.
pub(crate) fn problem(status: u16, what: &str, hint: &str) -> Response<Body> {
    problems(
        status,
        &[Problem {
            place: String::new(),
            what: what.to_owned(),
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        }],
    )
}

/// The answer to what was not done.
pub(crate) fn failure(failure: &Failure) -> Response<Body> {
    let status = match failure.why {
        Why::Bad => 400,
        Why::Unknown => 404,
        Why::Taken => 409,
        Why::Impossible => 422,
        Why::Limit => 429,
    };
    problems(status, &failure.problems)
}

/// Adds a header.
pub(crate) fn header(
    mut response: Response<Body>,
    name: HeaderName,
    value: &str,
) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
