//! The APIs: data that becomes messages later, and transactional messages that are sent at once.
//!
//! Both variants answer 202 for data once it is in the queue and never before, and say 503 where
//! it is not. Changes of a profile go straight to the core database: a change that it refuses is
//! refused, never taken on trust.
//!
//! They differ in the webhook of a transactional message. *As it was* the address is read from the
//! core database once the message is sent, and if that fails there is no webhook. *Remedied* the
//! webhook is put into the queue, from where the worker delivers it.

use super::{
    Class,
    core::Core,
    queue::{Kind, Queue},
    sending::{Sender, Webhooks},
    worker::call_webhook_once,
};
use crate::{
    embedded::server::Server,
    reference::{
        Options, Refusal, Variant,
        database::Trouble,
        web::{Answer, body_of, json},
    },
};
use hyper::{Method, Request, StatusCode, body::Incoming, service::service_fn};
use parking_lot::Mutex;
use serde_json::{Value, json as object};
use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time};

/// The most connections to the core database.
const CORE_CONNECTIONS: usize = 8;

/// The most webhooks under way on the side; beyond it one is left out.
const CALLS_MAX: usize = 256;

/// How often a webhook that the queue would not take is offered again.
const OWED_EVERY: Duration = Duration::from_secs(1);

/// How often the queue's table is tried to be made at the start.
const PREPARE_EVERY: Duration = Duration::from_millis(100);

/// How long webhooks under way may take when the API is stopped.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// What the API needs to know.
#[derive(Debug, Clone)]
pub struct ApiSetup {
    /// Which system it belongs to.
    pub variant: Variant,
    /// The queue's address.
    pub queue: String,
    /// The core database's address.
    pub core: String,
    /// The sender's address.
    pub sender: String,
    /// Where the customer's webhooks are.
    pub webhooks: String,
}

impl ApiSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        Ok(Self {
            variant: options.need("variant")?.parse()?,
            queue: options.or_env("queue", "QUEUE_DATABASE_URL")?,
            core: options.or_env("core", "CORE_DATABASE_URL")?,
            sender: options.need("sender")?.to_owned(),
            webhooks: options.need("webhooks")?.to_owned(),
        })
    }
}

/// A running API. Dropping it ends it at once; [`Api::stop`] lets it finish.
#[derive(Debug)]
pub struct Api {
    server: Server,
    app: Arc<App>,
    preparing: JoinSet<()>,
}

#[derive(Debug)]
struct App {
    variant: Variant,
    queue: Arc<Queue>,
    core: Arc<Core>,
    sender: Sender,
    webhooks: Arc<Webhooks>,
    ready: AtomicBool,
    /// Webhooks that are being called or put into the queue.
    calls: Mutex<JoinSet<()>>,
}

impl Api {
    /// Binds and begins; `GET /healthz` says when the queue can be used.
    ///
    /// # Errors
    /// An address that cannot be bound or used.
    pub fn start(listen: SocketAddr, setup: &ApiSetup) -> Result<Self, Refusal> {
        let app = Arc::new(App {
            variant: setup.variant,
            queue: Arc::new(Queue::new(&setup.queue, setup.variant)?),
            core: Arc::new(Core::new(&setup.core, CORE_CONNECTIONS)?),
            sender: Sender::new(&setup.sender)?,
            webhooks: Arc::new(Webhooks::new(&setup.webhooks)?),
            ready: AtomicBool::new(false),
            calls: Mutex::default(),
        });
        let serving = Arc::clone(&app);
        let service = service_fn(move |request: Request<Incoming>| {
            let app = Arc::clone(&serving);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let server = Server::start(listen, service)?;
        let mut preparing = JoinSet::new();
        preparing.spawn(Arc::clone(&app).prepare());
        Ok(Self {
            server,
            app,
            preparing,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops serving, and lets webhooks under way finish for a bounded time.
    pub async fn stop(mut self) {
        self.preparing.shutdown().await;
        self.server.stop().await;
        let mut calls = std::mem::take(&mut *self.app.calls.lock());
        let finished = async { while calls.join_next().await.is_some() {} };
        let _ = time::timeout(DRAIN_MAX, finished).await;
        calls.shutdown().await;
    }
}

impl App {
    async fn prepare(self: Arc<Self>) {
        while let Err(trouble) = self.queue.prepare().await {
            eprintln!("the queue is not ready: {trouble}");
            time::sleep(PREPARE_EVERY).await;
        }
        self.ready.store(true, Ordering::Relaxed);
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["healthz"]) => self.health(),
            (&Method::GET, ["messages", class, id]) => self.message(class, id).await,
            (&Method::GET, ["backlog"]) => self.backlog().await,
            (&Method::GET, ["dropped"]) => self.dropped().await,
            (&Method::POST, route) => {
                let Some(body) = parsed(body).await else {
                    return problem(StatusCode::BAD_REQUEST, &"the body is no JSON");
                };
                match route {
                    ["events"] => self.accept(Class::Automation, &body, "profile").await,
                    ["campaigns"] => self.accept(Class::Campaign, &body, "segment").await,
                    ["transactional"] => self.transactional(&body).await,
                    ["profiles", profile] => self.change(profile, &body).await,
                    _ => no_such("thing"),
                }
            }
            _ => no_such("thing"),
        }
    }

    /// Data: accepted once it is in the queue.
    async fn accept(&self, class: Class, body: &Value, subject: &str) -> Answer {
        let (Some(id), Some(subject)) = (body["id"].as_str(), body[subject].as_str()) else {
            let why = format!("`id` and `{subject}` are needed");
            return problem(StatusCode::BAD_REQUEST, &why);
        };
        match self.queue.put(Kind::Message, class, id, subject).await {
            Ok(()) => json(StatusCode::ACCEPTED, &object!({ "id": id })),
            Err(trouble) => problem(StatusCode::SERVICE_UNAVAILABLE, &trouble),
        }
    }

    /// A transactional message: who gets it stands in the request, so nothing is looked up.
    async fn transactional(&self, body: &Value) -> Answer {
        let (Some(id), Some(to)) = (body["id"].as_str(), body["to"].as_str()) else {
            return problem(StatusCode::BAD_REQUEST, &"`id` and `to` are needed");
        };
        let class = Class::Transactional;
        if let Err(unsent) = self.sender.send(class, id, &[to.to_owned()]).await {
            return problem(StatusCode::BAD_GATEWAY, &unsent);
        }
        match self.variant {
            Variant::AsItWas => self.call_webhook(id),
            Variant::Remedied => {
                if let Err(trouble) = self.queue.put(Kind::Webhook, class, id, "").await {
                    eprintln!("webhook of transactional {id} is not safe yet: {trouble}");
                    self.owe_webhook(id);
                }
            }
        }
        json(StatusCode::OK, &object!({ "id": id }))
    }

    /// *As it was*: on the spot, and if that fails, not at all.
    fn call_webhook(&self, id: &str) {
        let (core, webhooks) = (Arc::clone(&self.core), Arc::clone(&self.webhooks));
        let id = id.to_owned();
        self.on_the_side(async move {
            call_webhook_once(&core, &webhooks, Class::Transactional, &id).await;
        });
    }

    /// *Remedied*, where the queue would not take it. The message has left, so the caller is not
    /// told to send it again.
    fn owe_webhook(&self, id: &str) {
        let (queue, id) = (Arc::clone(&self.queue), id.to_owned());
        self.on_the_side(async move {
            let class = Class::Transactional;
            while queue.put(Kind::Webhook, class, &id, "").await.is_err() {
                time::sleep(OWED_EVERY).await;
            }
        });
    }

    fn on_the_side(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut calls = self.calls.lock();
        while calls.try_join_next().is_some() {}
        if calls.len() < CALLS_MAX {
            calls.spawn(call);
        } else {
            eprintln!("a webhook is left out: {CALLS_MAX} are under way");
        }
    }

    /// A profile's change: written when it is answered, or refused.
    async fn change(&self, profile: &str, body: &Value) -> Answer {
        let Some(id) = body["id"].as_str() else {
            return problem(StatusCode::BAD_REQUEST, &"`id` is needed");
        };
        match self.core.change(profile, id).await {
            Ok(true) => json(StatusCode::OK, &object!({ "id": id })),
            Ok(false) => no_such("profile"),
            Err(trouble) => problem(StatusCode::SERVICE_UNAVAILABLE, &trouble),
        }
    }

    /// What became of a message. As it was, it may have several rows.
    async fn message(&self, class: &str, id: &str) -> Answer {
        let Some(class) = Class::of(class) else {
            return no_such("class");
        };
        match self.queue.states(class, id).await {
            Ok(states) if states.is_empty() => no_such("message"),
            Ok(states) => {
                let is = |wanted: &str| states.iter().any(|state| state == wanted);
                let state = if is("sent") { "sent" } else { &states[0] };
                json(StatusCode::OK, &object!({ "state": state }))
            }
            Err(trouble) => problem(StatusCode::SERVICE_UNAVAILABLE, &trouble),
        }
    }

    /// How much work waits.
    async fn backlog(&self) -> Answer {
        match self.queue.waiting().await {
            Ok(waiting) => json(StatusCode::OK, &object!({ "waiting": waiting })),
            Err(trouble) => problem(StatusCode::SERVICE_UNAVAILABLE, &trouble),
        }
    }

    /// What was dropped. *As it was* nobody wrote it down.
    async fn dropped(&self) -> Answer {
        if self.variant == Variant::AsItWas {
            return no_such("list");
        }
        let listed = async {
            let (ids, count) = (self.queue.all_dropped(), self.queue.dropped_count());
            Ok::<_, Trouble>((ids.await?, count.await?))
        };
        match listed.await {
            Ok((ids, count)) => json(StatusCode::OK, &object!({ "dropped": ids, "count": count })),
            Err(trouble) => problem(StatusCode::SERVICE_UNAVAILABLE, &trouble),
        }
    }

    fn health(&self) -> Answer {
        let ready = self.ready.load(Ordering::Relaxed);
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json(status, &object!({ "ready": ready }))
    }
}

async fn parsed(body: Incoming) -> Option<Value> {
    serde_json::from_slice(&body_of(body).await?).ok()
}

fn problem(status: StatusCode, why: &dyn fmt::Display) -> Answer {
    json(status, &object!({ "error": why.to_string() }))
}

fn no_such(what: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, &format!("no such {what}"))
}
