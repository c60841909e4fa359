//! The API: answers from the cache, trains on the task queue.
//!
//! *As it was*: one task queue for everything; a trained model is written to S3 and only then to
//! the cache; S3 is called the way boto 2 does it. While S3 hangs, every worker hangs with it:
//! reports wait behind trainings, and what customers teach their bots is not seen.
//!
//! *Remedied*: trainings and reports have lanes of their own, a trained model goes into the cache
//! first, S3 follows in [`super::save`], and a standby can rebuild the whole cache without S3.

use super::{
    jobs::{Job, JobTable, Lane},
    models::{BOTS, Cache, Model, Versions, key, learn},
    save::Saver,
};
use crate::{
    embedded::server::Server,
    reference::{
        Options, Refusal, Variant,
        s3::{CallError, Client, Manners},
        web::{Answer, json},
    },
};
use futures_util::{StreamExt, stream};
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
use tokio::{sync::Mutex, task::JoinSet, time};

/// A turn that is waited for.
type Turn = Mutex<()>;

/// How long a bot thinks about an answer.
const THINKING: Duration = Duration::from_millis(30);

/// How long a report takes to write.
const REPORTING: Duration = Duration::from_millis(20);

/// Workers of the one queue, as it was; half as many for each lane, remedied.
const WORKERS: usize = 8;

/// How many models are loaded or rebuilt at once.
const LOADS: usize = 4;

/// How long the work under way may take to finish when the API is stopped.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Where the models are kept.
const BUCKET: &str = "models";

/// What an API needs to know.
#[derive(Debug, Clone)]
pub struct ApiSetup {
    /// Which system it belongs to.
    pub variant: Variant,
    /// `primary`, or `standby`: the standby serves once it is told to take over.
    pub name: String,
    /// S3's address.
    pub s3: String,
    /// Access key and secret.
    pub keys: (String, String),
}

impl ApiSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        Ok(Self {
            variant: options.need("variant")?.parse()?,
            name: options.get("name").unwrap_or("primary").to_owned(),
            s3: options.or_env("s3", "AWS_ENDPOINT_URL_S3")?,
            keys: (
                Options::env("AWS_ACCESS_KEY_ID")?,
                Options::env("AWS_SECRET_ACCESS_KEY")?,
            ),
        })
    }
}

/// A running API. Dropping it ends it at once; [`Api::stop`] lets it finish.
#[derive(Debug)]
pub struct Api {
    server: Server,
    app: Arc<App>,
    /// Workers of the lanes; they end when their queues are closed and empty.
    workers: JoinSet<()>,
    /// What never ends by itself.
    background: JoinSet<()>,
}

#[derive(Debug)]
struct App {
    variant: Variant,
    name: String,
    cache: Arc<Cache>,
    versions: Versions,
    s3: Arc<Client>,
    jobs: JobTable,
    in_service: AtomicBool,
    /// Held while everything is learned anew: one rebuild at a time.
    rebuilding: Turn,
    /// *Remedied* only.
    saver: Option<Arc<Saver>>,
}

/// The lanes belong to the server's side, so that the queues close when it stops.
#[derive(Debug, Clone)]
struct Lanes {
    trainings: Arc<Lane>,
    reports: Arc<Lane>,
}

impl Api {
    /// Binds and begins. A primary loads its models in the background; `GET /readyz` says when it
    /// has them.
    ///
    /// # Errors
    /// An address that cannot be bound, an S3 address that cannot be used.
    pub fn start(listen: SocketAddr, setup: ApiSetup) -> Result<Self, Refusal> {
        let manners = match setup.variant {
            Variant::AsItWas => Manners::BOTO_2,
            Variant::Remedied => Manners::BOUNDED,
        };
        let s3 = Arc::new(Client::new(&setup.s3, BUCKET, setup.keys, manners)?);
        let cache = Arc::new(Cache::default());
        let (mut workers, mut background) = (JoinSet::new(), JoinSet::new());
        let saver = (setup.variant == Variant::Remedied)
            .then(|| Saver::start(Arc::clone(&cache), Arc::clone(&s3), &mut background));
        let standby = setup.name == "standby";
        let app = Arc::new(App {
            variant: setup.variant,
            name: setup.name,
            cache,
            versions: Versions::default(),
            s3,
            jobs: JobTable::default(),
            in_service: AtomicBool::new(!standby),
            rebuilding: Turn::default(),
            saver,
        });
        let lanes = start_lanes(&app, &mut workers);
        if !standby {
            background.spawn(Arc::clone(&app).load());
        }
        let serving = Arc::clone(&app);
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, lanes) = (Arc::clone(&serving), lanes.clone());
            async move { Ok::<_, Infallible>(app.answer(&request, &lanes).await) }
        });
        let server = Server::start(listen, service)?;
        Ok(Self {
            server,
            app,
            workers,
            background,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops serving, and lets queued work and unsaved models finish for a bounded time.
    pub async fn stop(mut self) {
        self.server.stop().await;
        let queued = async { while self.workers.join_next().await.is_some() {} };
        let _ = time::timeout(DRAIN_MAX, queued).await;
        if let Some(saver) = &self.app.saver {
            let _ = time::timeout(DRAIN_MAX, saver.settled()).await;
        }
        self.workers.shutdown().await;
        self.background.shutdown().await;
    }
}

fn start_lanes(app: &Arc<App>, tasks: &mut JoinSet<()>) -> Lanes {
    let worker = Arc::clone(app);
    let work = move |job| Arc::clone(&worker).do_job(job);
    match app.variant {
        Variant::AsItWas => {
            let tasks = Arc::new(Lane::start(WORKERS, tasks, work));
            Lanes {
                trainings: Arc::clone(&tasks),
                reports: tasks,
            }
        }
        Variant::Remedied => Lanes {
            trainings: Arc::new(Lane::start(WORKERS / 2, tasks, work.clone())),
            reports: Arc::new(Lane::start(WORKERS / 2, tasks, work)),
        },
    }
}

impl App {
    async fn answer(self: &Arc<Self>, request: &Request<Incoming>, lanes: &Lanes) -> Answer {
        let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        match (request.method(), path.as_slice()) {
            (&Method::POST, ["bots", bot, "ask"]) => match known_bot(bot) {
                Some(bot) => self.ask(bot).await,
                None => no_such("bot"),
            },
            (&Method::POST, ["bots", bot, "train"]) => match known_bot(bot) {
                Some(bot) => self.train(bot, lanes),
                None => no_such("bot"),
            },
            (&Method::GET, ["bots", bot, "model"]) => {
                match known_bot(bot).and_then(|bot| self.cache.get(bot)) {
                    Some(model) => ok(&object!({ "version": model.version })),
                    None => no_such("model"),
                }
            }
            (&Method::POST, ["reports"]) => self.report(lanes),
            (&Method::GET, ["jobs", id]) => {
                match id.parse().ok().and_then(|id| self.jobs.is_done(id)) {
                    Some(true) => ok(&object!({ "state": "done" })),
                    Some(false) => ok(&object!({ "state": "queued" })),
                    None => no_such("job"),
                }
            }
            (&Method::GET, ["healthz"]) => ok(&self.health()),
            (&Method::GET, ["readyz"]) => self.readiness(),
            (&Method::POST, ["warm"]) => {
                tokio::spawn(Arc::clone(self).rebuild());
                ok(&object!({ "warming": true }))
            }
            (&Method::POST, ["takeover"]) => self.take_over(),
            (&Method::POST, ["stand-down"]) => self.stand_down(),
            _ => no_such("thing"),
        }
    }

    /// A bot's answer, from the cache; from S3 where the cache has no model.
    async fn ask(&self, bot: u32) -> Answer {
        time::sleep(THINKING).await;
        let (model, from) = match self.cache.get(bot) {
            Some(model) => (Some(model), "cache"),
            None => (self.fetch(bot).await, "store"),
        };
        let Some(model) = model else {
            let problem = object!({ "error": "this bot has no model" });
            return json(StatusCode::SERVICE_UNAVAILABLE, &problem);
        };
        let mut answer = ok(&object!({ "text": "hello", "version": model.version }));
        let from = hyper::header::HeaderValue::from_static(from);
        answer.headers_mut().insert("x-answered-from", from);
        answer
    }

    async fn fetch(&self, bot: u32) -> Option<Model> {
        let (version, body) = self.s3.get(&key(bot)).await.ok()?;
        let model = Model { version, body };
        self.cache.keep(bot, model.clone());
        Some(model)
    }

    fn train(&self, bot: u32, lanes: &Lanes) -> Answer {
        let version = self.versions.next();
        let accepted = object!({ "bot": bot, "version": version });
        accept(&lanes.trainings, Job::Train { bot, version }, &accepted)
    }

    fn report(&self, lanes: &Lanes) -> Answer {
        let id = self.versions.next();
        self.jobs.note(id, false);
        accept(&lanes.reports, Job::Report { id }, &object!({ "id": id }))
    }

    async fn do_job(self: Arc<Self>, job: Job) {
        match job {
            Job::Report { id } => {
                time::sleep(REPORTING).await;
                self.jobs.note(id, true);
            }
            Job::Train { bot, version } => {
                let model = learn(bot, version).await;
                self.keep_trained(bot, model).await;
            }
        }
    }

    /// The heart of the matter: where a trained model goes first.
    async fn keep_trained(&self, bot: u32, model: Model) {
        match &self.saver {
            None => match self
                .s3
                .put(&key(bot), model.version, model.body.clone())
                .await
            {
                Ok(()) => self.cache.keep(bot, model),
                Err(error) => eprintln!("bot {bot}: training task failed: {error}"),
            },
            Some(saver) => {
                self.cache.keep(bot, model);
                if self.in_service.load(Ordering::Relaxed) {
                    saver.note(bot);
                }
            }
        }
    }

    /// At start: every model from S3; what S3 does not have is learned.
    async fn load(self: Arc<Self>) {
        stream::iter(1..=BOTS)
            .for_each_concurrent(LOADS, |bot| self.load_one(bot))
            .await;
    }

    async fn load_one(&self, bot: u32) {
        match self.s3.get(&key(bot)).await {
            Ok((version, body)) => self.cache.keep(bot, Model { version, body }),
            Err(CallError::Unavailable(why)) if self.saver.is_none() => {
                eprintln!("bot {bot}: model not loaded: {why}");
            }
            Err(_) => {
                let model = learn(bot, self.versions.next()).await;
                self.keep_trained(bot, model).await;
            }
        }
    }

    /// Learns every model anew, the most asked bots first; S3 takes no part in it.
    async fn rebuild(self: Arc<Self>) {
        let _turn = self.rebuilding.lock().await;
        stream::iter(1..=BOTS)
            .map(|bot| {
                let app = &self;
                async move { (bot, learn(bot, app.versions.next()).await) }
            })
            .buffered(LOADS)
            .for_each(|(bot, model)| {
                self.cache.keep(bot, model);
                async {}
            })
            .await;
        self.save_all_if_in_service();
    }

    fn save_all_if_in_service(&self) {
        if let Some(saver) = &self.saver
            && self.in_service.load(Ordering::Relaxed)
        {
            (1..=BOTS).for_each(|bot| saver.note_doubtful(bot));
        }
    }

    /// From now on this instance serves, and it alone writes to S3. What the other one learned
    /// last may be lost with it, so everything is learned once more.
    fn take_over(self: &Arc<Self>) -> Answer {
        self.in_service.store(true, Ordering::Relaxed);
        tokio::spawn(Arc::clone(self).rebuild());
        ok(&object!({ "in_service": true }))
    }

    fn stand_down(&self) -> Answer {
        self.in_service.store(false, Ordering::Relaxed);
        if let Some(saver) = &self.saver {
            saver.forget();
        }
        ok(&object!({ "in_service": false }))
    }

    fn health(&self) -> Value {
        let s3 = self.saver.as_ref().is_some_and(|saver| saver.in_trouble());
        let troubles: &[&str] = if s3 { &["s3"] } else { &[] };
        object!({
            "name": self.name,
            "version": env!("CARGO_PKG_VERSION"),
            "in_service": self.in_service.load(Ordering::Relaxed),
            "troubles": troubles,
        })
    }

    fn readiness(&self) -> Answer {
        let models = self.cache.len();
        let status = if models == BOTS as usize {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json(status, &object!({ "models": models, "of": BOTS }))
    }
}

fn known_bot(text: &str) -> Option<u32> {
    let bot = text.parse().ok()?;
    (1..=BOTS).contains(&bot).then_some(bot)
}

fn accept(lane: &Lane, job: Job, accepted: &Value) -> Answer {
    if lane.queue(job) {
        return json(StatusCode::ACCEPTED, accepted);
    }
    let full = object!({ "error": "the task queue is full" });
    json(StatusCode::SERVICE_UNAVAILABLE, &full)
}

fn ok(value: &Value) -> Answer {
    json(StatusCode::OK, value)
}

fn no_such(what: &str) -> Answer {
    let problem = object!({ "error": format!("no such {what}") });
    json(StatusCode::NOT_FOUND, &problem)
}
