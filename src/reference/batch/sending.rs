//! What leaves the house: messages to the sender, webhooks to the customer.

use super::Class;
use crate::reference::{
    Refusal,
    web::{Endpoint, Failure, Patience, Pool},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use serde_json::{Value, json as object};
use std::{fmt, time::Duration};

/// How long a sender or a customer may take.
const SEND: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(2),
};

/// Why something did not leave.
#[derive(Debug)]
pub(super) enum Unsent {
    /// No answer.
    Failed(Failure),
    /// An answer other than success.
    Refused(hyper::StatusCode),
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Refused(status) => write!(f, "status {status}"),
        }
    }
}

/// Somebody who takes JSON by POST.
#[derive(Debug)]
struct Taker {
    pool: Pool,
}

impl Taker {
    fn new(url: &str) -> Result<Self, Refusal> {
        Ok(Self {
            pool: Pool::new(Endpoint::parse(url)?),
        })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(), Unsent> {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|_| Unsent::Failed(Failure::Broken))?;
        match self.pool.ask(request, SEND).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Unsent::Refused(answer.status())),
            Err(failure) => Err(Unsent::Failed(failure)),
        }
    }
}

/// The sender: APNs, FCM, SMTP and SMS in one.
#[derive(Debug)]
pub(super) struct Sender(Taker);

impl Sender {
    pub(super) fn new(url: &str) -> Result<Self, Refusal> {
        Taker::new(url).map(Self)
    }

    /// Sends one message to these tokens. Its id stands under the name of its class.
    pub(super) async fn send(&self, class: Class, id: &str, to: &[String]) -> Result<(), Unsent> {
        let body = object!({ (class.name()): id, "to": to, "text": "hello" });
        self.0.post("/push", &body).await
    }
}

/// The customer's end of webhooks.
#[derive(Debug)]
pub(super) struct Webhooks(Taker);

impl Webhooks {
    pub(super) fn new(url: &str) -> Result<Self, Refusal> {
        Taker::new(url).map(Self)
    }

    /// Tells the customer that a message was sent.
    pub(super) async fn tell(&self, path: &str, class: Class, id: &str) -> Result<(), Unsent> {
        let body = object!({ "event": "sent", (class.name()): id });
        self.0.post(path, &body).await
    }
}
