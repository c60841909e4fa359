//! The native control API at `/api/v1`, the page's files, and `/metrics`.
//!
//! Every route stands in one table; the published document is made of the same. What changes anything
//! wants a header that no page of another origin can send, and JSON that says so.

mod answer;
mod head;
mod kinds;
mod metrics;
mod openapi;
mod routes;
mod stream;

pub(crate) use answer::{Body, bare, header, problem, until_sent, whole, with};

use super::{
    bench::{
        Bench, DEPENDENCIES_MAX, FAULTS_MAX,
        fault::TTL_MAX,
        log,
        problem::{Failure, Why},
        view::{Dependency, Of, UnderWayView, millis},
        window,
    },
    page,
    runs::Runs,
    session::{self, Action, What},
    toxiproxy::{self, Seen, json::Node},
};
use crate::{
    history::{self, HISTORY_VERSION, Observation, Run},
    seed::Seed,
};
use bytes::Bytes;
use futures_util::stream as pieces;
use http::{
    HeaderMap, Method, Response,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        X_FRAME_OPTIONS,
    },
};
use routes::{Does, Found, Led, Parameter, Shape};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    io::{self, BufRead, Read},
    path::Path,
    sync::Arc,
};
use stream::Outlet;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::spawn_blocking,
};

/// The header that whatever changes something must bear.
const SHOWN: &str = "x-brownout";

/// The most requests without an answer that are listed, the oldest; the others are counted.
const UNDER_WAY_MAX: usize = 50;

/// How many calls are listed unless said.
const CALLS: usize = 50;

/// How much of a file is read at once.
const CHUNK: usize = 64 * 1024;

/// How many observations are written at once.
const LINES: usize = 256;

/// The largest seed of a request: the largest number that every reader of JSON keeps as it is.
pub(super) const SEED_MAX: i64 = Seed::EXACT_MAX as i64;

/// The largest report that is sent, in bytes.
const REPORT_BYTES_MAX: u64 = 256 << 20;

/// The API over all there is.
#[derive(Debug)]
pub(crate) struct Api {
    bench: Arc<Bench>,
    runs: Arc<Runs>,
    proxies: Arc<toxiproxy::Api>,
    outlet: Outlet,
    started: jiff::Timestamp,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// As it came, without its query.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
}

/// How everything stands.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    at_ms: f64,
    dependencies: Vec<Dependency>,
    faults: Vec<super::bench::view::Fault>,
    run: Option<super::runs::RunView>,
    session: SessionView,
}

#[derive(Debug, Serialize)]
struct SessionView {
    since_ms: f64,
    actions: Vec<ActionView>,
}

#[derive(Debug, Serialize)]
struct ActionView {
    at_ms: f64,
    what: &'static str,
    text: String,
}

/// What a path is of, if it is of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A file of the page, which holds no secret.
    Page,
    /// `/metrics`.
    Metrics,
    /// The API.
    Api,
}

impl Part {
    /// What this path is of.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let below = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if path == "/" || below("/page") {
            Some(Self::Page)
        } else if path == "/metrics" {
            Some(Self::Metrics)
        } else if below("/api") {
            Some(Self::Api)
        } else {
            None
        }
    }
}

impl Api {
    /// The API over these; it begins to tell those who look.
    pub(crate) fn start(
        bench: Arc<Bench>,
        runs: Arc<Runs>,
        proxies: Arc<toxiproxy::Api>,
    ) -> Arc<Self> {
        let api = Arc::new(Self {
            bench,
            runs,
            proxies,
            outlet: Outlet::new(),
            started: jiff::Timestamp::now(),
        });
        tokio::spawn(stream::tell(Arc::downgrade(&api)));
        api
    }

    /// Ends everything: runs first, then the dependencies.
    pub(crate) async fn stop(&self) {
        self.outlet.stop();
        self.runs.close().await;
        self.bench.stop().await;
    }

    /// Ends those who look, who would else be waited for.
    pub(crate) fn hush(&self) {
        self.outlet.stop();
    }

    /// Ends everything without waiting.
    pub(crate) fn abandon(&self) {
        self.outlet.stop();
        self.runs.abandon();
        self.bench.abandon();
    }

    /// A file of the page.
    pub(crate) fn page(&self, asked: &Asked<'_>) -> Response<Body> {
        if !matches!(*asked.method, Method::GET | Method::HEAD) {
            let refused = problem(405, "a page is got", "");
            return header(refused, ALLOW, "GET, HEAD");
        }
        let Some(asset) = page::asset(asked.path) else {
            return problem(404, "there is no such file", "");
        };
        let mut found = with(200, asset.kind, whole(asset.body));
        for (name, value) in [
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
            (X_FRAME_OPTIONS, "DENY"),
        ] {
            found = header(found, name, value);
        }
        found
    }

    /// All metrics: those that Toxiproxy's flags ask for, and ours.
    pub(crate) async fn metrics(&self) -> Response<Body> {
        let seen = self.proxies.proxies().seen(false).await;
        self.sample(&seen);
        let mut text = self.proxies.metrics().await;
        text.push_str(&metrics::text(&self.bench, &self.runs));
        with(200, metrics::CONTENT_TYPE, whole(text))
    }

    /// Does what is asked.
    pub(crate) async fn answer(self: &Arc<Self>, asked: &Asked<'_>) -> Response<Body> {
        let Some(segments) = segments(asked.path) else {
            return problem(404, "there is no such path", "");
        };
        let borrowed: Vec<&str> = segments.iter().map(String::as_str).collect();
        let found = match routes::led(asked.method, &borrowed) {
            Led::To(found) => found,
            Led::Otherwise(others) => {
                let what = format!("`{}` cannot be asked of this path", asked.method);
                return header(problem(405, &what, ""), ALLOW, &others);
            }
            Led::Nowhere => {
                let hint = "the paths are at /api/v1/openapi.json";
                return problem(404, "there is no such path", hint);
            }
        };
        if let Some(refused) = refused(asked, &found) {
            return refused;
        }
        match self.carry_out(&found, asked).await {
            Ok(answer) => answer,
            Err(failure) => answer::failure(&failure),
        }
    }

    async fn carry_out(
        self: &Arc<Self>,
        found: &Found<'_>,
        asked: &Asked<'_>,
    ) -> Result<Response<Body>, Failure> {
        let (bench, runs) = (&self.bench, &self.runs);
        let name = found.part.unwrap_or_default();
        Ok(match found.route.does {
            Does::ShowServer => answer::json(200, &self.server()),
            Does::ShowDocument => answer::json(200, &openapi::document()),
            Does::ListKinds => answer::json(200, &kinds::listing()),
            Does::ListDependencies => {
                let all = self.dependencies().await;
                answer::json(200, &json!({ "dependencies": all }))
            }
            Does::MakeDependency => answer::json(201, &bench.make(&body(asked)?)?),
            Does::ShowDependency => {
                let all = self.dependencies().await;
                let one = all.into_iter().find(|one| one.name == name);
                let unknown = || Failure::unknown(format!("there is no dependency `{name}`"));
                answer::json(200, &one.ok_or_else(unknown)?)
            }
            Does::RemoveDependency => {
                bench.remove(name).await?;
                bare(204)
            }
            Does::ListFaults => answer::json(200, &json!({ "faults": bench.faults() })),
            Does::PlaceFault => answer::json(201, &bench.place(&body(asked)?)?),
            Does::LiftAll => {
                bench.lift_all();
                bare(204)
            }
            Does::ShowFault => answer::json(200, &bench.fault(number(name, "fault")?)?),
            Does::LiftFault => {
                bench.lift(number(name, "fault")?)?;
                bare(204)
            }
            Does::RenewFault => {
                let id = number(name, "fault")?;
                answer::json(200, &bench.renew(id, &body(asked)?)?)
            }
            Does::ListCalls => {
                let query = query(asked, found.route.query)?;
                let limit = query[1].as_ref().and_then(|limit| limit.parse().ok());
                let calls = bench.calls(query[0].as_deref(), 0, limit.unwrap_or(CALLS));
                let open = self.under_way(query[0].as_deref()).await;
                answer::json(200, &json!({ "calls": calls, "under_way": open }))
            }
            Does::Stream => self.outlet.answer(self),
            Does::ListScenarios => {
                let runs = Arc::clone(runs);
                let reading = tokio::task::spawn_blocking(move || runs.scenarios()).await;
                let scenarios = reading.unwrap_or_default();
                answer::json(200, &json!({ "scenarios": scenarios }))
            }
            Does::StartRun => {
                let (scenario, seed) = scenario(asked)?;
                let run = runs.start(&scenario, seed).await?;
                answer::json(202, &run.shown())
            }
            Does::ListRuns => {
                let shown: Vec<_> = runs.all().iter().map(|run| run.shown()).collect();
                answer::json(200, &json!({ "runs": shown }))
            }
            Does::ShowRun => answer::json(200, &runs.get(number(name, "run")?)?.shown()),
            Does::StopRun => answer::json(202, &runs.stop(number(name, "run")?)?.shown()),
            Does::RunHistory => {
                let run = runs.get(number(name, "run")?)?;
                history(&run.history()).await?
            }
            Does::RunReport => {
                let run = runs.get(number(name, "run")?)?;
                if !run.is_over() {
                    let hint = "its verdicts so far are with the run".to_owned();
                    return Err(Failure::new(Why::Taken, "", "the run is not over", hint));
                }
                let kept = run.report();
                let report = file(&kept, REPORT_BYTES_MAX, "text/html; charset=utf-8").await?;
                header(report, CONTENT_SECURITY_POLICY, REPORT_POLICY)
            }
            Does::ShowSession => answer::json(200, &self.session()),
            Does::RestartSession => {
                bench.restart_session();
                answer::json(200, &self.session())
            }
            Does::SessionScenario => {
                let saved = self.saved(found, asked)?;
                let shown = json!({
                    "name": saved.name,
                    "toml": saved.toml,
                    "notes": saved.notes,
                    "system": saved.system,
                });
                answer::json(200, &shown)
            }
            Does::SessionFile => {
                let saved = self.saved(found, asked)?;
                let file = with(200, "text/plain; charset=utf-8", whole(saved.toml));
                header(
                    file,
                    CONTENT_DISPOSITION,
                    "attachment; filename=\"scenario.toml\"",
                )
            }
            Does::History => self.history(),
        })
    }

    fn server(&self) -> Value {
        let system = self.bench.system();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "seed": self.bench.seed().0,
            "started_at": self.started.to_string(),
            "uptime_ms": millis(self.bench.now()),
            "system": system.map(|system| system.name.clone()),
            "scenarios": self.runs.has_scenarios(),
            "forward_proxy": self.bench.forward_proxy().map(|at| format!("http://{at}")),
            "limits": {
                "dependencies": DEPENDENCIES_MAX,
                "faults": FAULTS_MAX,
                "fault_ttl_ms": TTL_MAX.as_millis() as u64,
                "observations": window::OBSERVATIONS_MAX,
                "observations_kept_ms": window::KEPT.as_millis() as u64,
                "live_ms": window::LIVE.as_millis() as u64,
                "actions": log::ACTIONS_MAX,
                "readers": stream::READERS_MAX,
            },
        })
    }

    /// All dependencies: those of the file and those that requests made, then Toxiproxy's proxies.
    async fn dependencies(&self) -> Vec<Dependency> {
        let mut all = self.bench.dependencies();
        let seen = self.proxies.proxies().seen(true).await;
        all.extend(seen.into_iter().map(|proxy| self.of_toxiproxy(proxy)));
        all
    }

    fn of_toxiproxy(&self, proxy: Seen) -> Dependency {
        let sees_requests = proxy.protocol.is_some_and(|one| one.has_messages());
        let (live, series) = self.bench.seen(&proxy.name, sees_requests);
        Dependency {
            name: proxy.name.to_string(),
            role: None,
            protocol: proxy.protocol.map(|one| one.to_string()),
            listen: proxy.listen,
            url: None,
            upstream: proxy.upstream,
            of: Of::Toxiproxy,
            live,
            series,
            faults: Vec::new(),
            toxics: Some(proxy.toxics),
        }
    }

    /// Has every proxy asked what went through it.
    pub(super) fn sample(&self, seen: &[Seen]) {
        let flow = |proxy: &Seen| {
            let counters = &proxy.counters;
            let flow = window::Flow {
                connections: proxy.connections,
                in_flight: proxy.in_flight,
                bytes_in: counters.upstream.so_far().0,
                bytes_out: counters.downstream.so_far().1,
            };
            (Arc::clone(&proxy.name), flow)
        };
        let flows: Vec<_> = seen.iter().map(flow).collect();
        self.bench.sample(&flows);
    }

    /// How everything stands.
    pub(super) async fn state(&self) -> State {
        State {
            at_ms: millis(self.bench.now()),
            dependencies: self.dependencies().await,
            faults: self.bench.faults(),
            run: self.runs.last().map(|run| run.shown()),
            session: self.session(),
        }
    }

    /// The oldest requests that have no answer yet, of one dependency or of all.
    pub(super) async fn under_way(&self, dependency: Option<&str>) -> Vec<UnderWayView> {
        let mut all = self.bench.under_way(dependency, UNDER_WAY_MAX);
        let others = self.proxies.proxies().under_way(UNDER_WAY_MAX).await;
        let is_meant = |name: &str| dependency.is_none_or(|wanted| wanted == name);
        all.extend(others.into_iter().filter(|(name, _)| is_meant(name)));
        UnderWayView::oldest(all, self.bench.now(), UNDER_WAY_MAX)
    }

    /// What changes by itself, beside these requests without an answer.
    pub(super) fn tick(&self, seen: &[Seen], under_way: &[UnderWayView]) -> Value {
        let mut live: Vec<Value> = Vec::new();
        for (name, one) in self.bench.live() {
            live.push(json!({ "name": name, "live": one }));
        }
        for proxy in seen {
            let sees_requests = proxy.protocol.is_some_and(|one| one.has_messages());
            let (one, _) = self.bench.seen(&proxy.name, sees_requests);
            live.push(json!({ "name": &*proxy.name, "live": one }));
        }
        json!({
            "at_ms": millis(self.bench.now()),
            "dependencies": live,
            "faults": self.bench.faults_now(),
            "under_way": under_way,
            "run": self.runs.last().map(|run| run.shown()),
        })
    }

    fn session(&self) -> SessionView {
        let (since, actions) = self.bench.session();
        SessionView {
            since_ms: millis(since),
            actions: actions.iter().map(ActionView::of).collect(),
        }
    }

    fn saved(&self, found: &Found<'_>, asked: &Asked<'_>) -> Result<session::Saved, Failure> {
        let query = query(asked, found.route.query)?;
        let name = query[0].as_deref().unwrap_or_default();
        let (_, actions) = self.bench.session();
        let (now, system) = (self.bench.now(), self.bench.system());
        let stood = self.bench.stood();
        let saved = session::scenario(&actions, now, system.map(|one| &**one), &stood, name);
        let nothing = |why: session::Nothing| Failure::new(Why::Taken, "", why.to_string(), None);
        let mut saved = saved.map_err(nothing)?;
        let forgotten = self.bench.forgotten();
        if forgotten > 0 {
            saved.notes.push(format!(
                "the session was too long to be kept: the {forgotten} oldest actions are missing"
            ));
        }
        Ok(saved)
    }

    /// What was observed lately, as a history's file has it.
    fn history(&self) -> Response<Body> {
        // Whoever may ask this server need not be one who may read the system's file.
        let named =
            |system: &crate::scenario::System| (system.source.name.to_string(), String::new());
        let head = Observation::Run(Run {
            version: HISTORY_VERSION,
            brownout: env!("CARGO_PKG_VERSION").to_owned(),
            began: self.started.to_string(),
            seed: self.bench.seed().0,
            speed: 1.0,
            scenario: ("by hand".to_owned(), String::new()),
            system: self
                .bench
                .system()
                .map(|system| named(system))
                .unwrap_or_default(),
            machine: Some(crate::run::this_machine()),
        });
        let head = line(&head);
        let entries = self.bench.entries().into_iter();
        let rest = pieces::unfold(entries, |mut entries| async {
            let some: Vec<_> = entries.by_ref().take(LINES).collect();
            let text: String = some
                .iter()
                .map(|entry| line(&entry.observation()))
                .collect();
            (!some.is_empty()).then(|| (Bytes::from(text), entries))
        });
        let first = pieces::once(async { Bytes::from(head) });
        let all = futures_util::StreamExt::chain(first, rest);
        let history = with(200, "application/jsonl", answer::flowing(all));
        header(
            history,
            CONTENT_DISPOSITION,
            "attachment; filename=\"history.jsonl\"",
        )
    }
}

/// What a report may do in a browser: it is one file, and asks for nothing.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts";

fn line(observation: &Observation) -> String {
    // An observation is always written.
    serde_json::to_string(observation).unwrap_or_default() + "\n"
}

impl ActionView {
    fn of(action: &Action) -> Self {
        let (what, text) = match &action.what {
            What::Placed { id, label, .. } => ("fault", format!("fault {id}: {label}")),
            What::Lifted { id } => ("lifted", format!("fault {id} was lifted")),
            What::Expired { id } => ("expired", format!("the time of fault {id} was over")),
            What::Renewed { id } => ("renewed", format!("fault {id} was given more time")),
            What::Made { name } => ("dependency", format!("`{name}` was made")),
            What::Removed { name } => ("dependency", format!("`{name}` was removed")),
        };
        Self {
            at_ms: millis(action.at),
            what,
            text,
        }
    }
}

/// Why a request that would change something is not carried out.
fn refused(asked: &Asked<'_>, found: &Found<'_>) -> Option<Response<Body>> {
    if found.route.method == "GET" {
        return None;
    }
    if asked.headers.get(SHOWN).is_none_or(|value| value != "1") {
        let what = "the header `X-Brownout: 1` is missing";
        return Some(problem(
            403,
            what,
            "it shows that no page of another origin asks",
        ));
    }
    if asked.body.is_empty() {
        return None;
    }
    let kind = asked
        .headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("application/json") {
        return None;
    }
    let hint = "send `Content-Type: application/json`";
    Some(problem(415, "the body is not said to be JSON", hint))
}

/// The parts of a path, taken out of their escapes; `None` where one is no text.
fn segments(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/')?.split('/').map(unescaped).collect()
}

/// A part of a path or of a query without its escapes.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest
            .get(..2)?
            .iter()
            .map(|digit| char::from(*digit).to_digit(16));
        let number = digits.collect::<Option<Vec<u32>>>()?;
        bytes.push((number[0] * 16 + number[1]) as u8);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// What a body says.
fn body(asked: &Asked<'_>) -> Result<Node, Failure> {
    if asked.body.is_empty() {
        return Ok(Node::Object(Vec::new()));
    }
    serde_json::from_slice(&asked.body)
        .map_err(|error| Failure::new(Why::Bad, "", format!("the body is no JSON: {error}"), None))
}

/// The file that a run is asked for by, and the seed that it is to have.
fn scenario(asked: &Asked<'_>) -> Result<(String, Option<Seed>), Failure> {
    let node = body(asked)?;
    let mut body = super::bench::problem::Body::open(&node)?;
    body.only(&["scenario", "seed"]);
    let seed = match body.get("seed") {
        Some(Node::Integer(seed @ 0..=SEED_MAX)) => Some(Seed(seed.unsigned_abs())),
        Some(_) => {
            let what = format!("`seed` must be a whole number from 0 to {SEED_MAX}");
            body.problem("seed", what, None);
            None
        }
        None => None,
    };
    let hint = "the name of a file at /api/v1/scenarios";
    let scenario = body.required("scenario", 255, hint).map(str::to_owned);
    body.finish(Why::Bad)?;
    Ok((scenario.unwrap_or_default(), seed))
}

/// A number in a path.
fn number(text: &str, of: &str) -> Result<u64, Failure> {
    text.parse()
        .map_err(|_| Failure::unknown(format!("there is no {of} `{text}`")))
}

/// The values of these parameters, in their order.
fn query(asked: &Asked<'_>, known: &[Parameter]) -> Result<Vec<Option<String>>, Failure> {
    let mut values: Vec<Option<String>> = vec![None; known.len()];
    for pair in asked.query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(at) = known.iter().position(|parameter| parameter.name == name) else {
            continue;
        };
        let bad = |what: String| Failure::new(Why::Bad, known[at].name, what, None);
        let value = unescaped(&value.replace('+', " "));
        let value = value.ok_or_else(|| bad(format!("`{name}` is no text")))?;
        match known[at].shape {
            Shape::Text(most) if value.chars().count() > most => {
                return Err(bad(format!("`{name}` is longer than {most} characters")));
            }
            Shape::Count(most) if !value.parse().is_ok_and(|one| (1..=most).contains(&one)) => {
                return Err(bad(format!(
                    "`{name}` must be a whole number from 1 to {most}"
                )));
            }
            Shape::Text(_) | Shape::Count(_) => {}
        }
        values[at] = Some(value);
    }
    Ok(values)
}

/// Reads a request as it comes from anybody, by every method: where it leads, its query, and its body
/// in each of the ways in which one is read. Says how many routes it leads to.
///
/// # Panics
/// What is taken goes beyond its bounds.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(target: &str, body: &[u8]) -> usize {
    let (path, query_said) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let headers = HeaderMap::new();
    let parts = segments(path).unwrap_or_default();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut led = 0;
    for method in [Method::GET, Method::POST, Method::DELETE, Method::PATCH] {
        let asked = Asked {
            method: &method,
            path,
            query: query_said,
            headers: &headers,
            body: Bytes::copy_from_slice(body),
        };
        if let Led::To(found) = routes::led(&method, &parts) {
            led += 1;
            let values = query(&asked, found.route.query);
            assert!(
                values.is_ok_and(|values| values.len() == found.route.query.len())
                    || query_said.is_some()
            );
            let _ = number(found.part.unwrap_or_default(), "fault");
        }
        if method == Method::POST {
            if let Ok(node) = self::body(&asked) {
                super::bench::feed(&node);
            }
            if let Ok((file, _)) = scenario(&asked) {
                assert!(!file.is_empty() && file.chars().count() <= 255);
            }
        }
    }
    led
}

fn gone(_: std::io::Error) -> Failure {
    Failure::unknown("there is no such file of this run")
}

/// A file of a run, as far as it is written.
async fn file(path: &Path, bytes_max: u64, kind: &str) -> Result<Response<Body>, Failure> {
    let file = tokio::fs::File::open(path).await.map_err(gone)?;
    let length = file.metadata().await.map_err(gone)?.len();
    let rest = file.take(length.min(bytes_max));
    Ok(with(200, kind, answer::flowing(read(rest))))
}

/// The history of a run, as far as it is written, unpacked where it is packed; its first line holds the
/// texts of files.
async fn history(path: &Path) -> Result<Response<Body>, Failure> {
    let path = path.to_owned();
    let opened = spawn_blocking(move || {
        let mut all = history::open(&path)?;
        let mut head = Vec::new();
        let mut first = (&mut all).take(head::HEAD_BYTES_MAX);
        first.read_until(b'\n', &mut head)?;
        Ok((head, all))
    });
    let (head, all) = opened
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(gone)?;
    // A head that goes on would come as the rest, with all that is in it.
    let is_whole = head.ends_with(b"\n");
    let head = head::without_texts(&head);
    let head = pieces::once(async { Bytes::from(head) });
    let rest = unpacked(all.take(if is_whole { u64::MAX } else { 0 }));
    let flowing = futures_util::StreamExt::chain(head, rest);
    Ok(with(200, "application/jsonl", answer::flowing(flowing)))
}

/// What is left to be read, piece by piece, on threads that may wait: unpacking keeps one busy.
fn unpacked<R: Read + Send + 'static>(rest: R) -> impl futures_util::Stream<Item = Bytes> + Send {
    pieces::unfold(rest, |mut rest| async {
        let piece = spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK];
            // What cannot be read any more ends it.
            let count = rest.read(&mut chunk).unwrap_or(0);
            chunk.truncate(count);
            (count > 0).then(|| (Bytes::from(chunk), rest))
        });
        piece.await.ok().flatten()
    })
}

/// What is left to be read, piece by piece.
fn read<R: AsyncRead + Unpin + Send>(rest: R) -> impl futures_util::Stream<Item = Bytes> + Send {
    pieces::unfold(rest, |mut rest| async {
        let mut chunk = vec![0; CHUNK];
        // What cannot be read any more ends it.
        let count = rest.read(&mut chunk).await.unwrap_or(0);
        chunk.truncate(count);
        (count > 0).then(|| (Bytes::from(chunk), rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_of_the_page_of_the_metrics_or_of_the_api() {
        assert_eq!(Part::of("/"), Some(Part::Page));
        assert_eq!(Part::of("/page/app.js"), Some(Part::Page));
        assert_eq!(Part::of("/metrics"), Some(Part::Metrics));
        assert_eq!(Part::of("/api/v1/faults"), Some(Part::Api));
        for other in [
            "/proxies",
            "/apiary",
            "/pages",
            "/version",
            "//",
            "/metrics/",
        ] {
            assert_eq!(Part::of(other), None, "{other}");
        }
    }

    #[test]
    fn parts_of_paths_are_taken_out_of_their_escapes() {
        let parts = |path| segments(path);
        assert_eq!(
            parts("/api/a%2Fb"),
            Some(vec!["api".to_owned(), "a/b".to_owned()])
        );
        assert_eq!(parts("/%"), None);
        assert_eq!(parts("/%ff"), None);
        assert_eq!(parts("/%+1"), None);
        assert_eq!(parts("none"), None);
    }

    #[test]
    fn a_run_may_say_its_seed() {
        let method = Method::POST;
        let headers = HeaderMap::new();
        let read = |text: &'static str| {
            let asked = Asked {
                method: &method,
                path: "/",
                query: None,
                headers: &headers,
                body: Bytes::from(text),
            };
            scenario(&asked).map_err(|failure| failure.problems[0].place.clone())
        };
        let file = || "a.toml".to_owned();
        assert_eq!(read(r#"{"scenario":"a.toml"}"#), Ok((file(), None)));
        assert_eq!(
            read(r#"{"scenario":"a.toml","seed":9007199254740991}"#),
            Ok((file(), Some(Seed(9_007_199_254_740_991))))
        );
        for seed in ["-1", "1.5", "\"7\"", "9007199254740992"] {
            let text: &'static str =
                Box::leak(format!(r#"{{"scenario":"a.toml","seed":{seed}}}"#).into_boxed_str());
            assert_eq!(read(text), Err("seed".to_owned()), "{seed}");
        }
    }

    #[test]
    fn queries_are_read_within_their_bounds() {
        let method = Method::GET;
        let headers = HeaderMap::new();
        let read = |text: &'static str| {
            let asked = Asked {
                method: &method,
                path: "/",
                query: Some(text),
                headers: &headers,
                body: Bytes::new(),
            };
            let known = routes::ROUTES
                .iter()
                .find(|route| route.does == Does::ListCalls);
            query(&asked, known.expect("it is there").query).ok()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("dependency=a%20b+c&x=1"),
            Some(vec![some("a b c"), None])
        );
        assert_eq!(read("limit=7"), Some(vec![None, some("7")]));
        assert_eq!(read("limit=0"), None);
        assert_eq!(read("limit=501"), None);
        assert_eq!(read("limit=x"), None);
        assert_eq!(read("dependency=%zz"), None);
    }
}
