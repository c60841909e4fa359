//! The chat server: takes visitors' questions, hands each to an agent, knows who is there.
//!
//! *As it was*: a question is offered to the agents in turn, whoever is said to be available, and
//! published while the visitor waits; a refusal is tried again. An agent's status is a message over
//! Pusher like any other, so that nobody can be marked as away while Pusher refuses.
//!
//! *Remedied*: a question is kept in the agent's inbox before anything is published, and is given
//! only to agents who said within three seconds that they hear; publishing is done beside the
//! visitor's request, once. The pager is told why Pusher is not there, the quota, too much load, or
//! the network, and when the plan's messages are nearly used up. Status is the server's own
//! business.

use super::{
    portals::AGENTS,
    pusher::{App, NotPublished, Publisher},
    trouble::{Trouble, Usage},
};
use crate::{
    embedded::server::Server as Listener,
    reference::{
        Options, Refusal, Variant,
        web::{Answer, Endpoint, Patience, body_of, json, tell},
    },
};
use hyper::{
    Method, Request, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use parking_lot::Mutex;
use serde_json::{Value, json as object};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::{self, Instant};

/// The most questions that are remembered; the oldest are forgotten.
const CHATS_MAX: usize = 10_000;

/// The most questions that wait in an inbox.
const INBOX_MAX: usize = 1_000;

/// How long ago an agent may have said that it hears, remedied.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// Pusher's HTTP API.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(5),
};

/// How often publishing is tried as it was, and the pause between two tries.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct ServerSetup {
    /// Which system it belongs to.
    pub variant: Variant,
    /// Pusher's address.
    pub pusher: String,
    /// The app.
    pub app: App,
    /// The pager's address; *remedied* only.
    pub pager: Option<String>,
    /// How many messages the plan allows in five seconds; *remedied* only.
    pub plan: Option<u64>,
}

impl ServerSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        let variant = options.need("variant")?.parse()?;
        let (pager, plan) = match variant {
            Variant::AsItWas => (None, None),
            Variant::Remedied => {
                let plan = options.need("plan")?.parse();
                let plan = plan.map_err(|_| Refusal::Usage("`--plan` is a number".to_owned()))?;
                (Some(options.need("pager")?.to_owned()), Some(plan))
            }
        };
        Ok(Self {
            variant,
            pusher: options.need("pusher")?.to_owned(),
            app: App::parse(options.need("app")?)?,
            pager,
            plan,
        })
    }
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
}

#[derive(Debug)]
struct Desk {
    variant: Variant,
    publisher: Publisher,
    pager: Option<Endpoint>,
    plan: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    agents: BTreeMap<u32, Agent>,
    /// Whether each question was read, by its id.
    chats: BTreeMap<String, bool>,
    order: VecDeque<String>,
    /// Whose turn it is.
    turn: u32,
    /// What the pager was told since all portals were last on Pusher.
    told: BTreeSet<Trouble>,
    usage: Usage,
}

#[derive(Debug)]
struct Agent {
    is_available: bool,
    transport: String,
    heard: Instant,
    inbox: VecDeque<String>,
}

impl Server {
    /// Binds and begins; `GET /readyz` says when every agent is there.
    ///
    /// # Errors
    /// An address that cannot be bound or used.
    pub fn start(listen: SocketAddr, setup: ServerSetup) -> Result<Self, Refusal> {
        let pager = setup.pager.as_deref().map(Endpoint::parse).transpose()?;
        let desk = Arc::new(Desk {
            variant: setup.variant,
            publisher: Publisher::new(setup.app, Endpoint::parse(&setup.pusher)?),
            pager,
            plan: setup.plan,
            state: Mutex::default(),
        });
        let service = service_fn(move |request: Request<Incoming>| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(desk.answer(request).await) }
        });
        Ok(Self {
            listener: Listener::start(listen, service)?,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

impl Desk {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let body = body_of(body).await.unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (&head.method, path.as_slice()) {
            (&Method::POST, ["chats"]) => match said["id"].as_str() {
                Some(id) => self.question(id).await,
                None => refused(StatusCode::BAD_REQUEST, "a question needs an `id`"),
            },
            (&Method::GET, ["chats", id]) => match self.state.lock().chats.get(*id) {
                Some(true) => ok(&object!({ "state": "read" })),
                Some(false) => ok(&object!({ "state": "waiting" })),
                None => refused(StatusCode::NOT_FOUND, "no such question"),
            },
            (&Method::POST, ["chats", id, "read"]) => self.read(id, &said),
            (&Method::POST, ["agents", agent, "here"]) => match number(agent) {
                Some(agent) => self.here(agent, &said),
                None => refused(StatusCode::NOT_FOUND, "no such agent"),
            },
            (&Method::PUT, ["agents", agent, "status"]) => match number(agent) {
                Some(agent) => self.status(agent, &said).await,
                None => refused(StatusCode::NOT_FOUND, "no such agent"),
            },
            (&Method::GET, ["agents", agent, "status"]) => match number(agent) {
                Some(agent) => self.shown_status(agent),
                None => refused(StatusCode::NOT_FOUND, "no such agent"),
            },
            (&Method::GET, ["agents", agent, "inbox"]) => match number(agent) {
                Some(agent) => self.inbox(agent),
                None => refused(StatusCode::NOT_FOUND, "no such agent"),
            },
            (&Method::GET, ["agents"]) => ok(&self.roll_call()),
            (&Method::GET, ["readyz"]) => {
                let roll = self.roll_call();
                let is_ready = roll["realtime"] == roll["of"];
                json(
                    if is_ready {
                        StatusCode::OK
                    } else {
                        StatusCode::SERVICE_UNAVAILABLE
                    },
                    &roll,
                )
            }
            _ => refused(StatusCode::NOT_FOUND, "no such thing"),
        }
    }

    /// A visitor asks.
    async fn question(self: &Arc<Self>, id: &str) -> Answer {
        let Some((agent, transport)) = self.assign(id) else {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "no agent is there");
        };
        match self.variant {
            Variant::AsItWas => {
                let _ = self.publish(agent, id, TRIES).await;
            }
            Variant::Remedied => {
                if transport == "realtime" {
                    let (desk, id) = (Arc::clone(self), id.to_owned());
                    tokio::spawn(async move {
                        if let Err(why) = desk.publish(agent, &id, 1).await {
                            desk.tell_pager(Trouble::of_publishing(&why), "its HTTP API");
                        }
                    });
                }
            }
        }
        let mut answer = ok(&object!({ "id": id, "agent": agent }));
        let transport = if transport == "fallback" {
            "fallback"
        } else {
            "realtime"
        };
        answer
            .headers_mut()
            .insert("x-transport", HeaderValue::from_static(transport));
        answer
    }

    /// The next agent who can take a question, and how that agent hears; the question is noted.
    fn assign(&self, id: &str) -> Option<(u32, String)> {
        let mut state = self.state.lock();
        let hears = |agent: &Agent| match self.variant {
            Variant::AsItWas => agent.is_available,
            Variant::Remedied => {
                agent.is_available
                    && agent.transport != "nothing"
                    && agent.heard.elapsed() < HEARD_WITHIN
            }
        };
        let turn = (1..=AGENTS)
            .map(|step| (state.turn + step - 1) % AGENTS + 1)
            .find(|agent| state.agents.get(agent).is_some_and(hears))?;
        state.turn = turn;
        state.chats.insert(id.to_owned(), false);
        state.order.push_back(id.to_owned());
        if state.order.len() > CHATS_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.chats.remove(&oldest);
        }
        let agent = state.agents.get_mut(&turn)?;
        if self.variant == Variant::Remedied && agent.inbox.len() < INBOX_MAX {
            agent.inbox.push_back(id.to_owned());
        }
        Some((turn, agent.transport.clone()))
    }

    async fn publish(&self, agent: u32, id: &str, tries: u32) -> Result<(), NotPublished> {
        let channel = format!("agent-{agent}");
        let data = object!({ "id": id });
        let mut tried = 1;
        loop {
            self.note_use();
            let published = self
                .publisher
                .publish(&channel, "question", &data, PATIENCE)
                .await;
            match published {
                Ok(()) => return Ok(()),
                Err(why) if tried >= tries => {
                    eprintln!("question {id} is not published: {why:?}");
                    return Err(why);
                }
                Err(_) => time::sleep(PAUSE).await,
            }
            tried += 1;
        }
    }

    /// An agent has read a question.
    fn read(&self, id: &str, said: &Value) -> Answer {
        let mut state = self.state.lock();
        let Some(is_read) = state.chats.get_mut(id) else {
            return refused(StatusCode::NOT_FOUND, "no such question");
        };
        *is_read = true;
        let agent = said["agent"].as_u64().and_then(|n| u32::try_from(n).ok());
        if let Some(agent) = agent.and_then(|agent| state.agents.get_mut(&agent)) {
            agent.inbox.retain(|waiting| waiting != id);
        }
        ok(&object!({}))
    }

    /// An agent's portal says that it is there, and how it hears.
    fn here(self: &Arc<Self>, agent: u32, said: &Value) -> Answer {
        let transport = said["transport"].as_str().unwrap_or("nothing");
        let refused = said["refused"].as_u64();
        let mut state = self.state.lock();
        let known = state.agents.entry(agent).or_insert_with(|| Agent {
            is_available: true,
            transport: String::new(),
            heard: Instant::now(),
            inbox: VecDeque::new(),
        });
        known.transport = transport.to_owned();
        known.heard = Instant::now();
        let waiting = known.inbox.len();
        let is_well = |agent: &Agent| agent.transport == "realtime";
        if state.agents.len() == AGENTS as usize && state.agents.values().all(is_well) {
            state.told.clear();
        }
        drop(state);
        if let Some(code) = refused {
            self.tell_pager(Trouble::of_connecting(code), "a portal");
        }
        ok(&object!({ "waiting": waiting }))
    }

    /// An agent goes away, or is back.
    async fn status(&self, agent: u32, said: &Value) -> Answer {
        let is_available = said["status"] != "away";
        if self.variant == Variant::AsItWas {
            let channel = format!("agent-{agent}");
            let published = self
                .publisher
                .publish(&channel, "status", said, PATIENCE)
                .await;
            if published.is_err() {
                return refused(StatusCode::BAD_GATEWAY, "the status cannot be changed now");
            }
        }
        if let Some(agent) = self.state.lock().agents.get_mut(&agent) {
            agent.is_available = is_available;
        }
        ok(&object!({}))
    }

    /// Whether an agent is there to take questions.
    fn shown_status(&self, agent: u32) -> Answer {
        match self.state.lock().agents.get(&agent) {
            Some(agent) if agent.is_available => ok(&object!({ "status": "available" })),
            Some(_) => ok(&object!({ "status": "away" })),
            None => refused(StatusCode::NOT_FOUND, "no such agent"),
        }
    }

    fn inbox(&self, agent: u32) -> Answer {
        let state = self.state.lock();
        let waiting = state.agents.get(&agent).map(|agent| &agent.inbox);
        let questions: Vec<Value> = waiting
            .into_iter()
            .flatten()
            .map(|id| object!({ "id": id }))
            .collect();
        ok(&object!({ "questions": questions }))
    }

    /// How many agents hear, and how.
    fn roll_call(&self) -> Value {
        let state = self.state.lock();
        let by = |transport: &str| {
            let agents = state.agents.values();
            agents.filter(|agent| agent.transport == transport).count()
        };
        object!({ "realtime": by("realtime"), "fallback": by("fallback"), "of": AGENTS })
    }

    /// *Remedied*: counts what is published, and tells the pager when the plan is nearly used up.
    fn note_use(&self) {
        let Some(plan) = self.plan else { return };
        if self.state.lock().usage.note(plan, Instant::now()) {
            self.page(&format!(
                "{} of {plan} messages of pusher's plan are used",
                Usage::WARNS_AT
            ));
        }
    }

    /// Tells the pager that Pusher does not work, and why; once, until all is well again.
    fn tell_pager(&self, why: Trouble, whom: &str) {
        if self.state.lock().told.insert(why) {
            self.page(&format!("pusher {why} (said to {whom})"));
        }
    }

    fn page(&self, what: &str) {
        if let Some(pager) = self.pager.clone() {
            tokio::spawn(tell(pager, "/alerts", object!({ "alert": what })));
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let agent = text.parse().ok()?;
    (1..=AGENTS).contains(&agent).then_some(agent)
}

fn ok(value: &Value) -> Answer {
    json(StatusCode::OK, value)
}

fn refused(status: StatusCode, why: &str) -> Answer {
    json(status, &object!({ "error": why }))
}
