//! The worker: queued work becomes messages.
//!
//! What a message takes is the same in both variants and stands here: its profile is read in the
//! core database, the contact is written down there, then it is sent. What happens when that does
//! not work is what sets them apart: see [`in_turn`] (as it was) and [`paced`] (remedied).

use super::{
    Class,
    core::Core,
    in_turn, paced,
    pager::Pager,
    queue::{Item, Queue},
    sending::{Sender, Unsent, Webhooks},
};
use crate::{
    embedded::server::Server,
    reference::{Options, Refusal, Variant, database::Trouble, web::json},
};
use hyper::{Request, StatusCode, body::Incoming, service::service_fn};
use serde_json::json as object;
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

/// How often something that must come true is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// SQLSTATEs that speak of a row and not of the database: data and index corrupted.
const UNREADABLE: [&str; 2] = ["XX001", "XX002"];

/// What the worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerSetup {
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
    /// Where pages go.
    pub pager: String,
    /// The public status page; *remedied* only.
    pub status_page: Option<String>,
}

impl WorkerSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        let variant = options.need("variant")?.parse()?;
        let status_page = match variant {
            Variant::AsItWas => None,
            Variant::Remedied => Some(options.need("status-page")?.to_owned()),
        };
        Ok(Self {
            variant,
            queue: options.or_env("queue", "QUEUE_DATABASE_URL")?,
            core: options.or_env("core", "CORE_DATABASE_URL")?,
            sender: options.need("sender")?.to_owned(),
            webhooks: options.need("webhooks")?.to_owned(),
            pager: options.need("pager")?.to_owned(),
            status_page,
        })
    }
}

/// A running worker; it ends with this value. What it was doing is in the queue.
#[derive(Debug)]
pub struct Worker {
    server: Server,
    work: JoinSet<()>,
}

/// What the worker works with.
#[derive(Debug)]
pub(super) struct Tools {
    pub queue: Queue,
    pub core: Core,
    pub sender: Sender,
    pub webhooks: Webhooks,
    pub pager: Pager,
}

impl Worker {
    /// Binds and begins; `GET /healthz` says when it is at work.
    ///
    /// # Errors
    /// An address that cannot be bound or used.
    pub fn start(listen: SocketAddr, setup: &WorkerSetup) -> Result<Self, Refusal> {
        let connections = match setup.variant {
            Variant::AsItWas => in_turn::AT_ONCE,
            Variant::Remedied => paced::AT_ONCE,
        };
        let tools = Arc::new(Tools {
            queue: Queue::new(&setup.queue, setup.variant)?,
            core: Core::new(&setup.core, connections)?,
            sender: Sender::new(&setup.sender)?,
            webhooks: Webhooks::new(&setup.webhooks)?,
            pager: Pager::new(&setup.pager, setup.status_page.as_deref())?,
        });
        let ready = Arc::new(AtomicBool::new(false));
        let shown = Arc::clone(&ready);
        let service = service_fn(move |_: Request<Incoming>| {
            let ready = shown.load(Ordering::Relaxed);
            let status = if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let answer = json(status, &object!({ "ready": ready }));
            async move { Ok::<_, Infallible>(answer) }
        });
        let server = Server::start(listen, service)?;
        let mut work = JoinSet::new();
        let variant = setup.variant;
        work.spawn(async move {
            prepare(&tools).await;
            ready.store(true, Ordering::Relaxed);
            match variant {
                Variant::AsItWas => in_turn::work(&tools).await,
                Variant::Remedied => paced::work(tools).await,
            }
        });
        Ok(Self { server, work })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.server.stop().await;
        self.work.shutdown().await;
    }
}

async fn prepare(tools: &Tools) {
    insist("the queue is made", || tools.queue.prepare()).await;
    insist("the core database is filled", || tools.core.prepare()).await;
}

/// Tries until it works.
pub(super) async fn insist<A, F>(what: &str, attempt: A)
where
    A: Fn() -> F,
    F: Future<Output = Result<(), Trouble>>,
{
    while let Err(trouble) = attempt().await {
        eprintln!("{what}, but not yet: {trouble}");
        time::sleep(AGAIN).await;
    }
}

/// Why a message was not sent.
#[derive(Debug)]
pub(super) enum Unready {
    /// Its own row cannot be read; others can.
    Row(Trouble),
    /// The core database does not work.
    Database(Trouble),
    /// The sender does not take it.
    Sender(Unsent),
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(trouble) => write!(f, "unreadable: {trouble}"),
            Self::Database(trouble) => trouble.fmt(f),
            Self::Sender(unsent) => unsent.fmt(f),
        }
    }
}

impl From<Trouble> for Unready {
    fn from(trouble: Trouble) -> Self {
        match trouble.code() {
            Some(code) if UNREADABLE.contains(&code) => Self::Row(trouble),
            _ => Self::Database(trouble),
        }
    }
}

impl Tools {
    /// Asks the core database for all that a message needs: who gets it. Afterwards it is written
    /// down that they did.
    pub(super) async fn recipients(&self, item: &Item) -> Result<Vec<String>, Unready> {
        let tokens = match item.class {
            Class::Campaign => self.core.audience(&item.subject).await?,
            Class::Automation | Class::Transactional => self.core.token(&item.subject).await?,
        };
        self.core
            .note_contact(&item.subject, item.class, &item.id)
            .await?;
        Ok(tokens)
    }

    /// Sends a message.
    pub(super) async fn send(&self, item: &Item, to: &[String]) -> Result<(), Unready> {
        let sent = self.sender.send(item.class, &item.id, to).await;
        sent.map_err(Unready::Sender)
    }

    /// Notes in the queue that a message was sent; until that stands there it would be sent again.
    pub(super) async fn note_sent(&self, item: &Item) {
        insist("a message was sent", || self.queue.sent(item)).await;
    }
}

/// *As it was*: one try, and no second one.
pub(super) async fn call_webhook_once(core: &Core, webhooks: &Webhooks, class: Class, id: &str) {
    let name = class.name();
    match core.webhook().await {
        Ok(path) => {
            if let Err(unsent) = webhooks.tell(&path, class, id).await {
                eprintln!("webhook of {name} {id} failed: {unsent}");
            }
        }
        Err(trouble) => eprintln!("webhook of {name} {id} failed: {trouble}"),
    }
}
