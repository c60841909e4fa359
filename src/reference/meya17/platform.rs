//! The platform: one program that answers web chat, serves its assets, runs components, and speaks
//! on channels.

use super::{
    analytics::{self, Analytics, Event, What},
    assets::{self, Assets},
    channels::{Channel, Outgoing},
    components::{Components, Ran},
    health::{Health, believe},
    icons::Icons,
};
use crate::{
    embedded::server::Server,
    reference::{
        Options, Refusal, Variant,
        s3::{Client, Manners},
        web::{Answer, Endpoint, body_of, json, trust},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use serde_json::{Value, json as object};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{task::JoinSet, time};

/// How many bots there are; those from [`FIRST_WITH_COMPONENT`] on run a component.
const BOTS: u32 = 40;
const FIRST_WITH_COMPONENT: u32 = 31;

/// How long a bot thinks about an answer.
const THINKING: Duration = Duration::from_millis(20);

/// Where assets and packages are kept.
const ASSETS: &str = "assets";
const COMPONENTS: &str = "components";

/// The provider's status page.
const STATUS_PAGE: &str = "status.aws.amazon.com";

/// What a platform needs to know.
#[derive(Debug, Clone)]
pub struct PlatformSetup {
    /// Which system it is.
    pub variant: Variant,
    /// S3's address.
    pub s3: String,
    /// The second origin's address; *remedied* only.
    pub second: Option<String>,
    /// Access key and secret of both.
    pub keys: (String, String),
    /// The pager's address.
    pub pager: String,
    /// The forward proxy through which third parties are reached: `HTTPS_PROXY`.
    pub proxy: Option<String>,
}

impl PlatformSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        let variant = options.need("variant")?.parse()?;
        let second = match variant {
            Variant::AsItWas => None,
            Variant::Remedied => Some(options.need("second")?.to_owned()),
        };
        Ok(Self {
            variant,
            s3: options.or_env("s3", "AWS_ENDPOINT_URL_S3")?,
            second,
            keys: (
                Options::env("AWS_ACCESS_KEY_ID")?,
                Options::env("AWS_SECRET_ACCESS_KEY")?,
            ),
            pager: options.need("pager")?.to_owned(),
            proxy: std::env::var("HTTPS_PROXY").ok(),
        })
    }
}

/// A running platform. Dropping it ends it.
#[derive(Debug)]
pub struct Platform {
    server: Server,
    background: JoinSet<()>,
}

#[derive(Debug)]
struct App {
    assets: Assets,
    components: Components,
    analytics: Analytics,
    slack: Channel,
    intercom: Channel,
    icons: Icons,
    numbers: AtomicU64,
    is_deployed: AtomicBool,
}

impl Platform {
    /// Binds and begins; `GET /readyz` says when assets and components are deployed.
    ///
    /// # Errors
    /// An address that cannot be bound or used.
    pub fn start(listen: SocketAddr, setup: PlatformSetup) -> Result<Self, Refusal> {
        let mut background = JoinSet::new();
        let app = Arc::new(App::new(setup, &mut background)?);
        let deploying = Arc::clone(&app);
        background.spawn(async move {
            match deploying.deploy().await {
                Ok(()) => deploying.is_deployed.store(true, Ordering::Relaxed),
                Err(refusal) => eprintln!("not deployed: {refusal}"),
            }
            deploying.components.sweep().await;
        });
        let service = service_fn(move |request: Request<Incoming>| {
            let app = Arc::clone(&app);
            // What was begun goes on though the visitor has left, as in most servers.
            tokio::spawn(async move { app.answer(request).await })
        });
        Ok(Self {
            server: Server::start(listen, service)?,
            background,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops serving.
    pub async fn stop(mut self) {
        self.server.stop().await;
        self.background.shutdown().await;
    }
}

impl App {
    fn new(setup: PlatformSetup, tasks: &mut JoinSet<()>) -> Result<Self, Refusal> {
        let variant = setup.variant;
        let tls = trust()?;
        let third_party =
            |host| Endpoint::third_party(host, setup.proxy.as_deref(), Arc::clone(&tls));
        let pager = Endpoint::parse(&setup.pager)?;
        let bucket = |url: &str, name, manners| Client::new(url, name, setup.keys.clone(), manners);
        let (manners, writing) = match variant {
            Variant::AsItWas => (Manners::BOTO_2, Manners::ENDLESS),
            Variant::Remedied => (Manners::BRIEF, Manners::BOUNDED),
        };
        let health = Arc::new(Health::new(match variant {
            Variant::AsItWas => None,
            Variant::Remedied => Some(pager.clone()),
        }));
        let second = setup.second.as_deref();
        let second = second
            .map(|url| bucket(url, ASSETS, Manners::BOUNDED))
            .transpose()?;
        let component_manners = match variant {
            Variant::AsItWas => Manners::ENDLESS,
            Variant::Remedied => Manners::BRIEF,
        };
        let icons = Arc::new(bucket(&setup.s3, ASSETS, writing)?);
        let segment = third_party(analytics::HOST)?;
        let analytics = match variant {
            Variant::AsItWas => Analytics::inline(segment, Arc::clone(&health)),
            Variant::Remedied => Analytics::beside(segment, Arc::clone(&health), tasks),
        };
        if variant == Variant::AsItWas {
            tasks.spawn(believe(third_party(STATUS_PAGE)?, pager));
        }
        let slack = ("slack", third_party("slack.com")?, "/api/chat.postMessage");
        let intercom = ("intercom", third_party("api.intercom.io")?, "/messages");
        Ok(Self {
            assets: Assets::new(
                bucket(&setup.s3, ASSETS, manners)?,
                second,
                Arc::clone(&health),
            ),
            components: Components::new(
                variant,
                bucket(&setup.s3, COMPONENTS, component_manners)?,
                Arc::clone(&health),
            ),
            analytics,
            slack: Channel::open(variant, slack, Arc::clone(&health), tasks),
            intercom: Channel::open(variant, intercom, Arc::clone(&health), tasks),
            icons: Icons::open(variant, icons, health, tasks),
            numbers: AtomicU64::new(now_micros()),
            is_deployed: AtomicBool::new(false),
        })
    }

    async fn deploy(&self) -> Result<(), Refusal> {
        self.assets.deploy().await?;
        self.components.deploy(FIRST_WITH_COMPONENT..=BOTS).await
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        match (&head.method, path.as_slice()) {
            (&Method::POST, ["bots", bot, "messages"]) => match known_bot(bot) {
                Some(bot) => self.talk(bot, body).await,
                None => no_such("bot"),
            },
            (&Method::GET, ["assets", name]) if assets::NAMES.contains(name) => {
                self.asset(name).await
            }
            (&Method::POST, ["channels", name, "messages"]) => {
                let channel = match *name {
                    "slack" => &self.slack,
                    "intercom" => &self.intercom,
                    _ => return no_such("channel"),
                };
                send(channel, body).await
            }
            (&Method::POST, ["icons"]) => {
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                accepted(self.icons.accept(number), &object!({ "number": number }))
            }
            (&Method::GET, ["status"]) => self.status(),
            (&Method::GET, ["readyz"]) => {
                let is_ready = self.is_deployed.load(Ordering::Relaxed);
                let status = if is_ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                json(status, &object!({ "deployed": is_ready }))
            }
            _ => no_such("thing"),
        }
    }

    /// A bot's answer in the web chat.
    async fn talk(&self, bot: u32, said: Incoming) -> Answer {
        let said = body_of(said).await.unwrap_or_default();
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        let has_component = bot >= FIRST_WITH_COMPONENT;
        let what = match has_component {
            true => What::Component,
            false => What::Message,
        };
        let id = said["id"].as_str().map(str::to_owned);
        self.analytics.track(Event { bot, what, id }).await;
        time::sleep(THINKING).await;
        if !has_component {
            return spoken("hello", "flow");
        }
        match self.components.run(bot).await {
            Ran::Well => spoken("here is your order", "component"),
            Ran::Fallback => spoken("I cannot look that up just now", "fallback"),
            Ran::Offline => {
                let problem = object!({ "error": "this bot's component is offline" });
                json(StatusCode::SERVICE_UNAVAILABLE, &problem)
            }
        }
    }

    async fn asset(&self, name: &str) -> Answer {
        let Some((body, origin)) = self.assets.get(name).await else {
            let problem = object!({ "error": "the asset cannot be read" });
            return json(StatusCode::BAD_GATEWAY, &problem);
        };
        let mut answer = Response::new(Full::new(body));
        mark(&mut answer, "x-origin", origin.name());
        answer
    }

    /// The platform's own status page, which needs nobody else.
    fn status(&self) -> Answer {
        let page = object!({ "tracking": self.analytics.status() });
        json(StatusCode::OK, &page)
    }
}

async fn send(channel: &Channel, body: Incoming) -> Answer {
    let Some(message) = body_of(body).await.and_then(|body| outgoing(&body)) else {
        let problem = object!({ "error": "a message needs `id` and `text`" });
        return json(StatusCode::BAD_REQUEST, &problem);
    };
    let answer = object!({ "id": message.id });
    accepted(channel.send(message), &answer)
}

fn outgoing(body: &Bytes) -> Option<Outgoing> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(Outgoing {
        id: value["id"].as_str()?.to_owned(),
        text: value["text"].as_str()?.to_owned(),
    })
}

fn accepted(is_accepted: bool, value: &Value) -> Answer {
    if is_accepted {
        return json(StatusCode::ACCEPTED, value);
    }
    let full = object!({ "error": "too much is waiting" });
    json(StatusCode::SERVICE_UNAVAILABLE, &full)
}

fn spoken(text: &str, by: &'static str) -> Answer {
    let mut answer = json(StatusCode::OK, &object!({ "text": text }));
    mark(&mut answer, "x-answered-by", by);
    answer
}

fn mark(answer: &mut Answer, name: &'static str, value: &'static str) {
    let value = HeaderValue::from_static(value);
    answer.headers_mut().insert(name, value);
}

fn known_bot(text: &str) -> Option<u32> {
    let bot = text.parse().ok()?;
    (1..=BOTS).contains(&bot).then_some(bot)
}

fn no_such(what: &str) -> Answer {
    let problem = object!({ "error": format!("no such {what}") });
    json(StatusCode::NOT_FOUND, &problem)
}

fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0))
}
