//! The router in front of the API: what nginx was, in as many lines as it takes.
//!
//! *As it was*: hands everything to the primary, and knows nothing.
//!
//! *Remedied*: checks the primary's health once a second (Ada's plan said every ten; a rehearsal
//! runs ten times as fast). After three failed checks the standby takes over and the pager is
//! told that the primary is gone. Trouble with S3, which the primary reports, is told as well and
//! is the sign to warm the standby. There is no way back by itself: returning to the primary is
//! an operator's decision.

use crate::{
    embedded::server::Server,
    reference::{
        Options, Refusal, Variant,
        web::{self, Answer, Endpoint, Failure, Patience, Pool, ask, json, tell},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use parking_lot::Mutex;
use serde_json::{Value, json as object};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

/// Between two health checks.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Failed checks in a row after which the standby takes over.
const CHECKS_FAILED_MAX: u32 = 3;

/// A check may outlast the beat: the next one is sent all the same. A platform that refuses
/// connections fails it at once; one that is only slow is not taken for lost.
const CHECK: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(2),
};

/// The most checks under way at once; beyond it a beat is left out.
const CHECKS_MAX: usize = 4;

/// What a router needs to know.
#[derive(Debug, Clone)]
pub struct RouterSetup {
    /// Which system it belongs to.
    pub variant: Variant,
    /// The primary's address.
    pub primary: String,
    /// The standby's address; *remedied* only.
    pub standby: Option<String>,
    /// The pager's address; *remedied* only.
    pub pager: Option<String>,
}

impl RouterSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        let variant = options.need("variant")?.parse()?;
        let remedied = |name| match variant {
            Variant::AsItWas => Ok(None),
            Variant::Remedied => options.need(name).map(|value| Some(value.to_owned())),
        };
        Ok(Self {
            variant,
            primary: options.need("primary")?.to_owned(),
            standby: remedied("standby")?,
            pager: remedied("pager")?,
        })
    }
}

/// A running router. Dropping it ends it.
#[derive(Debug)]
pub struct Router {
    server: Server,
    _watch: JoinSet<()>,
}

/// What the router knows of the instances.
#[derive(Debug, Default)]
struct Knowledge {
    standby_serves: bool,
    /// The standby holds every model.
    standby_ready: bool,
    primary_version: Option<String>,
    standby_version: Option<String>,
}

/// What the health checks have shown so far.
#[derive(Debug, Default)]
struct Watch {
    failed: u32,
    seen_healthy: bool,
    s3_is_known: bool,
}

#[derive(Debug)]
struct Routes {
    primary: Pool,
    standby: Option<Pool>,
    pager: Option<Endpoint>,
    patience: Patience,
    knows: Mutex<Knowledge>,
}

impl Router {
    /// Binds and begins.
    ///
    /// # Errors
    /// An address that cannot be bound or that is not plain HTTP.
    pub fn start(listen: SocketAddr, setup: RouterSetup) -> Result<Self, Refusal> {
        let optional = |url: Option<String>| url.as_deref().map(Endpoint::parse).transpose();
        let standby = optional(setup.standby)?;
        // nginx waits a minute by default; remedied, clients are told sooner.
        let seconds = match setup.variant {
            Variant::AsItWas => (60, 60),
            Variant::Remedied => (1, 10),
        };
        let routes = Arc::new(Routes {
            primary: Pool::new(Endpoint::parse(&setup.primary)?),
            standby: standby.clone().map(Pool::new),
            pager: optional(setup.pager)?,
            patience: Patience {
                connect: Duration::from_secs(seconds.0),
                answer: Duration::from_secs(seconds.1),
            },
            knows: Mutex::default(),
        });
        let mut watch = JoinSet::new();
        if let Some(standby) = standby {
            watch.spawn(Arc::clone(&routes).watch_primary(standby.clone()));
            watch.spawn(Arc::clone(&routes).watch_standby(standby));
        }
        let service = service_fn(move |request: Request<Incoming>| {
            let routes = Arc::clone(&routes);
            async move { Ok::<_, Infallible>(routes.answer(request).await) }
        });
        Ok(Self {
            server: Server::start(listen, service)?,
            _watch: watch,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops serving; requests under way may finish for two seconds.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Routes {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/_router/healthz" => json(StatusCode::OK, &object!({ "ok": true })),
            "/_router/standby" => self.standby_state(),
            _ => self.forward(request).await,
        }
    }

    /// 200 while a standby is ready and runs the primary's version.
    fn standby_state(&self) -> Answer {
        if self.standby.is_none() {
            return json(StatusCode::NOT_FOUND, &object!({ "error": "no standby" }));
        }
        let knows = self.knows.lock();
        let same_version =
            knows.standby_version.is_some() && knows.standby_version == knows.primary_version;
        let state = object!({
            "serves": knows.standby_serves,
            "ready": knows.standby_ready,
            "same_version": same_version,
        });
        json(StatusCode::OK, &state)
    }

    async fn forward(&self, request: Request<Incoming>) -> Answer {
        let standby_serves = self.knows.lock().standby_serves;
        let (instance, name) = match &self.standby {
            Some(standby) if standby_serves => (standby, "standby"),
            _ => (&self.primary, "primary"),
        };
        let (head, body) = request.into_parts();
        let Some(body) = web::body_of(body).await else {
            return json(StatusCode::PAYLOAD_TOO_LARGE, &object!({}));
        };
        let mut onward = Request::new(Full::new(body));
        *onward.method_mut() = head.method;
        *onward.uri_mut() = head
            .uri
            .path_and_query()
            .map_or_else(Default::default, |path| path.clone().into());
        if let Some(kind) = head.headers.get("content-type") {
            onward.headers_mut().insert("content-type", kind.clone());
        }
        let mut answer = match instance.ask(onward, self.patience).await {
            Ok(answer) => answer.map(Full::new),
            Err(Failure::NoAnswer) => no_gateway(StatusCode::GATEWAY_TIMEOUT, name),
            Err(_) => no_gateway(StatusCode::BAD_GATEWAY, name),
        };
        // The framing is this server's own affair.
        for hop in ["transfer-encoding", "connection", "content-length"] {
            answer.headers_mut().remove(hop);
        }
        answer
            .headers_mut()
            .insert("x-served-by", HeaderValue::from_static(name));
        answer
    }

    /// Health checks of the primary, on the second, for ever.
    async fn watch_primary(self: Arc<Self>, standby: Endpoint) {
        let mut ticks = time::interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut watch = Watch::default();
        let mut checks = JoinSet::new();
        // What is told takes its time; checks must not wait for it.
        let mut told = JoinSet::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if checks.len() < CHECKS_MAX {
                        let routes = Arc::clone(&self);
                        checks.spawn(async move { get(&routes.primary.endpoint, "/healthz").await });
                    }
                }
                Some(health) = checks.join_next() => {
                    self.take_in(health.ok().flatten(), &mut watch, &standby, &mut told);
                }
                Some(_) = told.join_next() => {}
            }
        }
    }

    /// What follows from one check.
    fn take_in(
        &self,
        health: Option<Value>,
        watch: &mut Watch,
        standby: &Endpoint,
        told: &mut JoinSet<()>,
    ) {
        let mut knows = self.knows.lock();
        let Some(health) = health else {
            watch.failed += 1;
            let gone = watch.seen_healthy && watch.failed >= CHECKS_FAILED_MAX;
            if gone && !knows.standby_serves {
                knows.standby_serves = true;
                told.spawn(tell(standby.clone(), "/takeover", object!({})));
                told.spawn(self.alert("primary", "three health checks failed"));
            }
            return;
        };
        watch.failed = 0;
        watch.seen_healthy = true;
        if knows.standby_serves {
            // It came back, but it is out of service: only one may write.
            told.spawn(tell(
                self.primary.endpoint.clone(),
                "/stand-down",
                object!({}),
            ));
        }
        knows.primary_version = text(&health, "version");
        let s3_fails = health["troubles"]
            .as_array()
            .is_some_and(|troubles| troubles.iter().any(|trouble| trouble == "s3"));
        if s3_fails && !watch.s3_is_known {
            told.spawn(self.alert("s3", "models cannot be saved"));
            told.spawn(tell(standby.clone(), "/warm", object!({})));
        }
        watch.s3_is_known = s3_fails;
    }

    async fn watch_standby(self: Arc<Self>, standby: Endpoint) {
        let mut ticks = time::interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let version = get(&standby, "/healthz")
                .await
                .and_then(|health| text(&health, "version"));
            let ready = get(&standby, "/readyz").await.is_some();
            let mut knows = self.knows.lock();
            knows.standby_version = version;
            knows.standby_ready = ready;
        }
    }

    /// Tells the pager which dependency fails.
    fn alert(&self, dependency: &str, why: &str) -> impl Future<Output = ()> + Send + use<> {
        let alert = object!({ "dependency": dependency, "summary": why });
        let pager = self.pager.clone();
        async move {
            if let Some(pager) = pager {
                tell(pager, "/alerts", alert).await;
            }
        }
    }
}

/// The JSON that a path answers with, if it answers 2xx in time.
async fn get(endpoint: &Endpoint, path: &str) -> Option<Value> {
    let request = Request::get(path).body(Full::default()).ok()?;
    let answer = ask(endpoint, request, CHECK).await.ok()?;
    answer.status().is_success().then_some(())?;
    serde_json::from_slice(answer.body()).ok()
}

fn text(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().map(str::to_owned)
}

fn no_gateway(status: StatusCode, name: &str) -> Response<Full<Bytes>> {
    json(
        status,
        &object!({ "error": format!("{name} does not answer") }),
    )
}
