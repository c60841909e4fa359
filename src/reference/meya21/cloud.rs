//! The cloud's front: bots that answer, and the web IDE's look into the ledger.
//!
//! Here stands all that the two variants do differently: see [`Log::start`].

use super::{
    direct::Direct,
    ledger::{Ledger, Manners},
    outbox::Outbox,
    record::{Record, tenant},
    watch::watch,
};
use crate::{
    embedded::server::Server,
    reference::{
        Options, Refusal, Variant,
        web::{Answer, Endpoint, body_of, json},
    },
};
use hyper::{Method, Request, StatusCode, body::Incoming, service::service_fn};
use serde_json::{Value, json as object};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time};

/// How long a bot thinks about an answer.
const THINKING: Duration = Duration::from_millis(50);

/// How much of a message a record holds, remedied: a bound on the size of what may have to wait.
const ENTRY_MAX: usize = 2 * 1024;

/// The pause before the table is asked for again, at start.
const PREPARE_AGAIN: Duration = Duration::from_millis(200);

/// How long records may still be written when the cloud is stopped.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// What a cloud needs to know.
#[derive(Debug, Clone)]
pub struct CloudSetup {
    /// Which system it belongs to.
    pub variant: Variant,
    /// The ledger's address, `postgres://user@host:port/database`.
    pub database: String,
    /// The pager's address; *remedied* only.
    pub pager: Option<String>,
}

impl CloudSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        let variant = options.need("variant")?.parse()?;
        let pager = match variant {
            Variant::AsItWas => None,
            Variant::Remedied => Some(options.need("pager")?.to_owned()),
        };
        Ok(Self {
            variant,
            database: Options::env("DATABASE_URL")?,
            pager,
        })
    }
}

/// A running cloud. Dropping it ends it at once; [`Cloud::stop`] lets it finish.
#[derive(Debug)]
pub struct Cloud {
    server: Server,
    app: Arc<App>,
    /// What never ends by itself.
    background: JoinSet<()>,
}

#[derive(Debug)]
struct App {
    log: Log,
    ledger: Arc<Ledger>,
    /// Whether the ledger's table is known to be there.
    prepared: AtomicBool,
}

/// The way of a record into the ledger.
#[derive(Debug)]
enum Log {
    /// *As it was*: before the reply.
    Direct(Direct),
    /// *Remedied*: behind it.
    Outbox(Arc<Outbox>),
}

impl Log {
    fn start(
        setup: &CloudSetup,
        ledger: &Arc<Ledger>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Refusal> {
        Ok(match setup.variant {
            Variant::AsItWas => Self::Direct(Direct::start(ledger, tasks)),
            Variant::Remedied => {
                let outbox = Outbox::start(ledger, tasks);
                if let Some(pager) = &setup.pager {
                    let pager = Endpoint::parse(pager)?;
                    tasks.spawn(watch(Arc::clone(&outbox), pager));
                }
                Self::Outbox(outbox)
            }
        })
    }

    /// The heart of the matter: whether a reply waits for its record.
    async fn take(&self, id: String, tenant: usize, said: &str) {
        match self {
            Self::Direct(direct) => {
                direct
                    .write(Record::new(id, tenant, said, usize::MAX))
                    .await
            }
            Self::Outbox(outbox) => outbox.put(Record::new(id, tenant, said, ENTRY_MAX)),
        }
    }
}

impl Cloud {
    /// Binds and begins. `GET /readyz` says when the ledger is there for the first time.
    ///
    /// # Errors
    /// An address that cannot be bound, a database's or pager's address that cannot be used.
    pub fn start(listen: SocketAddr, setup: &CloudSetup) -> Result<Self, Refusal> {
        let manners = match setup.variant {
            Variant::AsItWas => Manners::AS_IT_WAS,
            Variant::Remedied => Manners::REMEDIED,
        };
        let ledger = Arc::new(Ledger::new(&setup.database, manners)?);
        let mut background = JoinSet::new();
        let app = Arc::new(App {
            log: Log::start(setup, &ledger, &mut background)?,
            ledger,
            prepared: AtomicBool::new(false),
        });
        background.spawn(Arc::clone(&app).prepare());
        let serving = Arc::clone(&app);
        let service = service_fn(move |request: Request<Incoming>| {
            let app = Arc::clone(&serving);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        Ok(Self {
            server: Server::start(listen, service)?,
            app,
            background,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops serving, and lets records that wait be written for a bounded time.
    pub async fn stop(mut self) {
        self.server.stop().await;
        if let Log::Outbox(outbox) = &self.app.log {
            let _ = time::timeout(DRAIN_MAX, outbox.settled()).await;
        }
        self.background.shutdown().await;
    }
}

impl App {
    /// Makes the ledger's table, whenever the database can first be had.
    async fn prepare(self: Arc<Self>) {
        while let Err(error) = self.ledger.prepare().await {
            eprintln!("no ledger yet: {error}");
            time::sleep(PREPARE_AGAIN).await;
        }
        self.prepared.store(true, Ordering::Relaxed);
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let path: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method(), path.as_slice()) {
            (&Method::POST, ["tenants", name, "messages"]) => match tenant(name) {
                Some(tenant) => self.message(tenant, request.into_body()).await,
                None => no_such("tenant"),
            },
            (&Method::GET, ["tenants", name, "history"]) => match tenant(name) {
                Some(tenant) => self.history(tenant).await,
                None => no_such("tenant"),
            },
            (&Method::GET, ["status"]) => self.status(),
            (&Method::GET, ["shed"]) => self.shed(),
            (&Method::GET, ["readyz"]) if self.prepared.load(Ordering::Relaxed) => {
                json(StatusCode::OK, &object!({ "ready": true }))
            }
            (&Method::GET, ["readyz"]) => unavailable("there is no ledger yet"),
            _ => no_such("thing"),
        }
    }

    /// A message of an end user, and the bot's reply.
    async fn message(&self, tenant: usize, body: Incoming) -> Answer {
        let message: Option<Value> = match body_of(body).await {
            Some(body) => serde_json::from_slice(&body).ok(),
            None => None,
        };
        let text = |field: &str| message.as_ref()?[field].as_str();
        let (Some(id), Some(said)) = (text("id"), text("text")) else {
            let problem = object!({ "error": "a message has an id and a text" });
            return json(StatusCode::BAD_REQUEST, &problem);
        };
        time::sleep(THINKING).await;
        self.log.take(id.to_owned(), tenant, said).await;
        json(StatusCode::OK, &object!({ "id": id, "text": "hello" }))
    }

    /// What the web IDE shows of a tenant's ledger.
    async fn history(&self, tenant: usize) -> Answer {
        let read = match &self.log {
            Log::Direct(_) => self.ledger.read(tenant).await,
            Log::Outbox(outbox) => outbox.read(tenant).await,
        };
        match read {
            Ok(ids) => json(StatusCode::OK, &object!({ "records": ids })),
            Err(error) => unavailable(&error.to_string()),
        }
    }

    /// How it stands with the records.
    fn status(&self) -> Answer {
        let status = match &self.log {
            Log::Direct(direct) => object!({
                "waiting": direct.waiting(),
                "written": direct.written(),
            }),
            Log::Outbox(outbox) => object!({
                "waiting": outbox.waiting(),
                "written": outbox.written(),
                "oldest_ms": u64::try_from(outbox.oldest().as_millis()).unwrap_or(u64::MAX),
                "shed": outbox.shed().0,
            }),
        };
        json(StatusCode::OK, &status)
    }

    /// *Remedied*: the records that were given up. As it was nobody counted.
    fn shed(&self) -> Answer {
        match &self.log {
            Log::Direct(_) => no_such("thing"),
            Log::Outbox(outbox) => {
                let (count, ids) = outbox.shed();
                json(StatusCode::OK, &object!({ "count": count, "ids": ids }))
            }
        }
    }
}

fn unavailable(why: &str) -> Answer {
    json(StatusCode::SERVICE_UNAVAILABLE, &object!({ "error": why }))
}

fn no_such(what: &str) -> Answer {
    let problem = object!({ "error": format!("no such {what}") });
    json(StatusCode::NOT_FOUND, &problem)
}
