//! A Pusher Channels server: WebSockets for clients, the signed HTTP API for servers, webhooks.
//!
//! It speaks versions 5 to 7 of the protocol. Channels are public, private and presence; user
//! authentication, watchlists, encrypted channels and the cache of cache channels are left out.
//! Everything lives in memory and has a limit, see [`hub`]; what goes over one is told in
//! Channels' own words. Sources: the Channels documentation and what pusher-js 8.6.0 and the
//! `pusher` library of PyPI accept.

mod hub;
mod message;
mod rest;
mod session;
mod sign;
#[cfg(test)]
mod tests;
mod webhooks;

use crate::protocol::websocket::accept_key;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::Full;
use hub::Hub;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::Service};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The app that an embedded server serves: its names, and how it behaves.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id, in the paths of the HTTP API.
    pub id: String,
    /// Its key, by which clients name it.
    pub key: String,
    /// Its secret, with which servers sign. It guards nothing but a loopback test double.
    pub secret: String,
    /// How long a connection may be silent before it is pinged; clients are told so.
    pub activity_timeout: Duration,
    /// Where webhooks are sent, over plain HTTP; nowhere without it.
    pub webhook: Option<String>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            id: "1".to_owned(),
            key: "brownout-key".to_owned(),
            secret: "brownout-secret".to_owned(),
            activity_timeout: Duration::from_secs(120),
            webhook: None,
        }
    }
}

/// What the server runs beside its listener: sessions and the sender of webhooks. Dropping it ends
/// them.
#[derive(Debug)]
pub(super) struct Sessions {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sessions {
    /// Ends every session and waits for it.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The server of one app.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    hub: Arc<Hub>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What answers are made of.
pub(super) type Answer = Response<Full<Bytes>>;

impl Channels {
    /// A server, and what must be kept as long as it runs.
    pub(super) fn new(app: App) -> (Self, Sessions) {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let webhooks = webhooks::start(&app, &tasks, &stop);
        let server = Self {
            hub: Arc::new(Hub::new(app, webhooks)),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        (server, Sessions { stop, tasks })
    }

    async fn answer(self, request: Request<Incoming>) -> Answer {
        if is_upgrade(&request) {
            return self.upgrade(request);
        }
        rest::respond(&self.hub, request).await
    }

    /// Accepts every WebSocket: what is wrong with it is said on it, in a code.
    fn upgrade(self, mut request: Request<Incoming>) -> Answer {
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        let Some(key) = key.and_then(|key| key.to_str().ok()) else {
            return text(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing\n");
        };
        let accept = HeaderValue::from_str(&accept_key(key));
        let asked = session::Asked::of(request.uri());
        let upgrading = hyper::upgrade::on(&mut request);
        let (hub, stop) = (Arc::clone(&self.hub), self.stop.clone());
        self.tasks.spawn(async move {
            let session = async {
                // A client that leaves before it is upgraded leaves nothing behind.
                if let Ok(upgraded) = upgrading.await {
                    session::serve(TokioIo::new(upgraded), &asked, &hub).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = session => {}
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = accept {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

fn is_upgrade(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    let upgrade = upgrade.and_then(|value| value.to_str().ok());
    request.method() == Method::GET
        && upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// A text answer.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl Service<Request<Incoming>> for Channels {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}
