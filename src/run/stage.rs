//! Everything that has to stand before the first phase: embedded servers, proxies, the system.

use super::{
    Events, Options, RunError, environment, held_up::HeldUps, places::Places, probes::Probes,
    unwritable, watch::Watch,
};
use crate::{
    dial,
    fault::{ProcessAction, Switch},
    history::Recorder,
    load::{self, Base, Driver, Schedule},
    process::{InstanceSpec, Keeper, Readiness, accepts},
    proxy::{
        self, ForwardProxy, Proxy, Route, UpstreamAddress,
        http::Ingress,
        tls::{Authority, Front, Plain, Trust},
    },
    scenario::{Dependency, Instance, Load, Scenario, Start, System, Timeline, Upstream},
    seed::Seed,
    units::{Micros, format_duration},
};
use futures_util::future::{join_all, try_join_all};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long an upstream may take to answer before the first phase.
const UPSTREAM_WITHIN: Duration = Duration::from_secs(10);

/// How many bytes of a message's body are kept where a ledger looks into it.
#[cfg(feature = "demo")]
const LEDGER_BODY_MAX: usize = 64 * 1024;

/// How much of an instance's output is shown when it has died.
const LAST_LINES: usize = 20;

/// Everything that stands while the phases are walked through.
pub struct Stage {
    places: Places,
    /// Where load goes; empty for a system without URL.
    url: String,
    /// The same, taken apart, where there is load; known once the system is there.
    base: Option<Base>,
    keeper: Keeper,
    proxies: Vec<Proxy>,
    switches: Vec<Switch>,
    ingress: Option<Ingress>,
    forward_proxy: Option<ForwardProxy>,
    #[cfg(feature = "demo")]
    embedded: Vec<crate::embedded::Embedded>,
}

/// The load that goes on beside the phases.
pub struct Traffic {
    driver: Option<Driver>,
    stop: CancellationToken,
}

impl Traffic {
    /// Sends nothing more.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Sends nothing more and waits, for a bounded time, for the answers still due.
    pub async fn finish(self) {
        self.stop();
        if let Some(driver) = self.driver {
            driver.join().await;
        }
    }
}

impl Stage {
    /// Starts everything, in the order in which it is needed. Whatever was started is stopped
    /// again if something later cannot be, or if somebody asks for it.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn build(
        scenario: &Scenario,
        system: &System,
        options: &Options,
        recorder: &Recorder,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<Self, RunError> {
        let run_id = format!("{}-{}", std::process::id(), Seed::fresh());
        let logs = options.folder.join("logs");
        let keeper = match &system.start {
            Start::External => Keeper::unguarded(recorder.clone(), logs, run_id),
            Start::Instances(_) => Keeper::new(recorder.clone(), logs, run_id),
        };
        let keeper = keeper.map_err(|error| match cancel.is_cancelled() {
            // The keys that ended the run have ended the guard before it was deaf to them.
            true => RunError::InterruptedEarly,
            false => listening("the guard over the system's processes", error),
        })?;
        let mut stage = Self {
            places: Places::default(),
            url: String::new(),
            base: None,
            keeper,
            proxies: Vec::new(),
            switches: system.dependencies.iter().map(|_| Switch::new()).collect(),
            ingress: None,
            forward_proxy: None,
            #[cfg(feature = "demo")]
            embedded: Vec::new(),
        };
        let built = tokio::select! {
            built = stage.fill(scenario, system, options, recorder, events) => built,
            () = cancel.cancelled() => Err(RunError::InterruptedEarly),
        };
        match built {
            Ok(()) => Ok(stage),
            Err(error) => {
                stage.stop().await;
                Err(error)
            }
        }
    }

    async fn fill(
        &mut self,
        scenario: &Scenario,
        system: &System,
        options: &Options,
        recorder: &Recorder,
        events: &Events,
    ) -> Result<(), RunError> {
        let ca_path = std::path::absolute(options.folder.join("ca.pem"))
            .unwrap_or_else(|_| options.folder.join("ca.pem"));
        let folder =
            std::path::absolute(&options.folder).unwrap_or_else(|_| options.folder.clone());
        self.places = Places::new(system, &folder, &ca_path)
            .map_err(|error| listening("the system's ports", error))?;
        self.places
            .set_environment(system, &|name| std::env::var(name).ok())
            .map_err(|names| RunError::Unset { names })?;
        self.url = self.places.fill(&system.url);
        self.check_untaken(system).await?;
        let authority = self.authority(system, &ca_path)?;
        let mut trust = Trust::default();
        for (index, dependency) in system.dependencies.iter().enumerate() {
            self.put_proxy(
                index,
                dependency,
                scenario,
                system,
                options,
                authority.as_ref(),
                &mut trust,
                recorder,
            )?;
        }
        self.check_upstreams(system).await?;
        self.open_forward_proxy(system, recorder, events)?;
        let door = self.listen_for_others(system)?;
        let ca = authority.is_some().then_some(ca_path.as_path());
        self.start_system(system, ca, events, recorder).await?;
        self.check_external(system).await?;
        if !system.loads.is_empty() {
            let base = Base::parse(&self.url).map_err(|reason| self.unreachable(reason))?;
            self.base = Some(base);
        }
        self.open_ingress(door, system, recorder, events)?;
        Ok(())
    }

    /// The run's throw-away CA, where any dependency speaks TLS towards the system.
    fn authority(
        &self,
        system: &System,
        path: &PathBuf,
    ) -> Result<Option<Arc<Authority>>, RunError> {
        if system
            .dependencies
            .iter()
            .all(|dependency| dependency.tls.is_none() && dependency.hosts.is_empty())
        {
            return Ok(None);
        }
        let authority = Authority::new()
            .map_err(|error| listening("a throw-away certificate authority", error))?;
        std::fs::write(path, authority.bundle_pem()).map_err(|error| unwritable(path, &error))?;
        Ok(Some(authority))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call site; a struct would only name them again"
    )]
    fn put_proxy(
        &mut self,
        index: usize,
        dependency: &Dependency,
        scenario: &Scenario,
        system: &System,
        options: &Options,
        authority: Option<&Arc<Authority>>,
        trust: &mut Trust,
        recorder: &Recorder,
    ) -> Result<(), RunError> {
        let what = format!("dependency `{}`", dependency.name);
        let upstream = self.upstream(dependency, system, recorder)?;
        let upstream_tls = trust
            .towards(upstream.tls)
            .map_err(|error| listening("TLS towards dependencies", error))?;
        let tls = authority.and_then(|authority| front(dependency, authority));
        let config = proxy::Config {
            dependency: Arc::clone(&dependency.name),
            protocol: dependency.protocol,
            listen: dependency.listen,
            tls,
            upstream,
            upstream_tls,
            virtual_host: dependency.virtual_host.clone(),
            capture: dependency.capture.clone(),
            key: dependency.key,
            limits: limits(scenario),
            seed: options.seed,
        };
        let proxy = Proxy::start(config, self.switches[index].clone(), recorder.clone())
            .map_err(|error| listening(&what, error))?;
        self.places
            .set_dependency(&dependency.name, &proxy.url(), proxy.address());
        if let Some(app) = &dependency.app {
            self.places.set_app(&dependency.name, app);
        }
        self.proxies.push(proxy);
        Ok(())
    }

    /// Where a proxy connects to; starts the embedded server where one stands behind it.
    fn upstream(
        &mut self,
        dependency: &Dependency,
        system: &System,
        recorder: &Recorder,
    ) -> Result<UpstreamAddress, RunError> {
        match &dependency.upstream {
            Upstream::Address { host, port, tls } => Ok(UpstreamAddress {
                host: host.clone(),
                port: *port,
                tls: *tls,
            }),
            Upstream::Instance(name) => self.instance_address(name, system),
            Upstream::Embedded(kind) => self.embed(kind, dependency, system, recorder),
        }
    }

    fn instance_address(&self, name: &str, system: &System) -> Result<UpstreamAddress, RunError> {
        let url = instances(system)
            .iter()
            .find(|instance| *instance.name == *name)
            .and_then(|instance| instance.url.as_ref())
            .map(|url| self.places.fill(url))
            .unwrap_or_default();
        let wrong = || {
            let error = std::io::Error::other(format!("no host and port in its url {url:?}"));
            listening(&format!("instance `{name}`"), error)
        };
        UpstreamAddress::of_url(&url).ok_or_else(wrong)
    }

    #[cfg(feature = "demo")]
    fn embed(
        &mut self,
        kind: &'static str,
        dependency: &Dependency,
        system: &System,
        recorder: &Recorder,
    ) -> Result<UpstreamAddress, RunError> {
        let server = embedded(kind, dependency, system, &self.places, recorder)?;
        let address = server.address();
        self.embedded.push(server);
        Ok(on_loopback(address))
    }

    #[cfg(not(feature = "demo"))]
    fn embed(
        &mut self,
        kind: &'static str,
        dependency: &Dependency,
        _system: &System,
        _recorder: &Recorder,
    ) -> Result<UpstreamAddress, RunError> {
        Err(left_out(kind, dependency))
    }

    /// Every upstream that exists before the system does must be reachable.
    async fn check_upstreams(&self, system: &System) -> Result<(), RunError> {
        for (dependency, proxy) in system.dependencies.iter().zip(&self.proxies) {
            if matches!(dependency.upstream, Upstream::Instance(_)) {
                continue;
            }
            let reason = match tokio::time::timeout(UPSTREAM_WITHIN, proxy.check_upstream()).await {
                Ok(Ok(())) => continue,
                Ok(Err(reason)) => reason,
                Err(_) => format!("did not answer within {}", format_duration(UPSTREAM_WITHIN)),
            };
            return Err(RunError::Upstream {
                dependency: dependency.name.to_string(),
                reason,
            });
        }
        Ok(())
    }

    async fn start_system(
        &self,
        system: &System,
        ca: Option<&std::path::Path>,
        events: &Events,
        recorder: &Recorder,
    ) -> Result<(), RunError> {
        let starting = instances(system).iter().map(|instance| {
            let spec = self.spec(system, instance, ca);
            let keeper = &self.keeper;
            let url = instance.url.as_ref().map(|url| self.places.fill(url));
            async move {
                if !instance.autostart {
                    return Ok(keeper.register(spec)?);
                }
                keeper.start(spec).await?;
                let at = url.map_or_else(String::new, |url| format!(" at {url}"));
                events.note(
                    recorder.now(),
                    format!("instance {} is ready{at}", instance.name),
                );
                Ok::<(), RunError>(())
            }
        });
        try_join_all(starting).await?;
        self.all_alive(system)
    }

    /// An instance that became ready and died while others still started is no system to rehearse
    /// with.
    fn all_alive(&self, system: &System) -> Result<(), RunError> {
        let started = instances(system)
            .iter()
            .filter(|instance| instance.autostart);
        let gone = started
            .map(|instance| &instance.name)
            .find(|name| !self.keeper.is_alive(name));
        match gone {
            Some(name) => Err(RunError::Died {
                instance: name.to_string(),
                output: self.keeper.last_output(name, LAST_LINES).join("\n"),
            }),
            None => Ok(()),
        }
    }

    fn spec(
        &self,
        system: &System,
        instance: &Instance,
        ca: Option<&std::path::Path>,
    ) -> InstanceSpec {
        let url = instance.url.as_ref().map(|url| self.places.fill(url));
        let ready = match (&instance.ready.path, url) {
            (Some(path), Some(url)) => Readiness::Http {
                url: format!("{}{path}", url.trim_end_matches('/')),
            },
            (None, Some(url)) => Readiness::of_url(&url),
            (_, None) => Readiness::Immediately,
        };
        InstanceSpec {
            name: instance.name.to_string(),
            argv: instance
                .command
                .iter()
                .map(|word| self.places.fill(word))
                .collect(),
            env: environment::of_instance(
                system,
                instance,
                &self.places,
                ca,
                self.forward_proxy.as_ref().map(ForwardProxy::address),
            ),
            folder: instance
                .folder
                .clone()
                .unwrap_or_else(|| system.folder.clone()),
            ready,
            ready_within: instance.ready.within,
            stop_signal: instance.stop.signal,
            stop_within: instance.stop.within,
        }
    }

    /// Nobody may serve where load is to go before the system does: he would be taken for it, and
    /// whatever befalls the system would leave him unharmed. An instance that is started at this
    /// address asks for itself.
    async fn check_untaken(&self, system: &System) -> Result<(), RunError> {
        let at = Readiness::of_url(&self.url);
        let started = instances(system).iter().filter(|one| one.autostart);
        let mut urls = started.filter_map(|one| one.url.as_ref());
        let asks_itself = urls.any(|url| Readiness::of_url(&self.places.fill(url)) == at);
        if asks_itself || matches!(system.start, Start::External) {
            return Ok(());
        }
        match at {
            Readiness::Port { address } if accepts(&address).await == Some(true) => {
                Err(RunError::Taken { address })
            }
            _ => Ok(()),
        }
    }

    /// A system that somebody else started must answer before the first phase.
    async fn check_external(&self, system: &System) -> Result<(), RunError> {
        if !matches!(system.start, Start::External) {
            return Ok(());
        }
        let address = UpstreamAddress::of_url(&self.url)
            .ok_or_else(|| self.unreachable("its URL names no host".to_owned()))?;
        let connect = dial::connect((address.host.as_str(), address.port));
        match tokio::time::timeout(UPSTREAM_WITHIN, connect).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.unreachable(error.to_string())),
            Err(_) => {
                let within = format_duration(UPSTREAM_WITHIN);
                Err(self.unreachable(format!("no answer within {within}")))
            }
        }
    }

    fn unreachable(&self, reason: String) -> RunError {
        RunError::External {
            url: self.url.clone(),
            reason,
        }
    }

    /// Where other people's load will come in: instances are told before the door opens, because
    /// one of them may be the program that drives it. Who comes early waits.
    fn listen_for_others(
        &mut self,
        system: &System,
    ) -> Result<Option<std::net::TcpListener>, RunError> {
        let Some(config) = &system.ingress else {
            return Ok(None);
        };
        let listener = Ingress::listen(config).map_err(|error| listening("the ingress", error))?;
        let address = listener.local_addr();
        let address = address.map_err(|error| listening("the ingress", error))?;
        self.places.set_ingress(address);
        Ok(Some(listener))
    }

    /// Opens the door for other people's load and says where it is.
    fn open_ingress(
        &mut self,
        listener: Option<std::net::TcpListener>,
        system: &System,
        recorder: &Recorder,
        events: &Events,
    ) -> Result<(), RunError> {
        let (Some(config), Some(listener)) = (&system.ingress, listener) else {
            return Ok(());
        };
        let ingress = Ingress::start(listener, config, &self.url, recorder.clone())
            .map_err(|error| listening("the ingress", error))?;
        events.note(
            recorder.now(),
            format!("the ingress is open at http://{}", ingress.address()),
        );
        self.ingress = Some(ingress);
        Ok(())
    }

    /// Starts the forward proxy, where any dependency lists hosts.
    fn open_forward_proxy(
        &mut self,
        system: &System,
        recorder: &Recorder,
        events: &Events,
    ) -> Result<(), RunError> {
        let mut routes = Vec::new();
        for (dependency, proxy) in system.dependencies.iter().zip(&self.proxies) {
            routes.extend(dependency.hosts.iter().map(|host| Route {
                host: host.clone(),
                to: proxy.address(),
            }));
            if !dependency.hosts.is_empty() && dependency.upstream == Upstream::Embedded("sink") {
                proxy.offer_http2();
            }
        }
        if routes.is_empty() {
            return Ok(());
        }
        let forward = ForwardProxy::start(routes, system.unlisted, recorder.clone())
            .map_err(|error| listening("the forward proxy", error))?;
        if matches!(system.start, Start::External) {
            // Nobody else can tell the system.
            events.note(
                recorder.now(),
                format!("the forward proxy is at http://{}", forward.address()),
            );
        }
        self.forward_proxy = Some(forward);
        Ok(())
    }

    /// The switches, in the order of the system's dependencies.
    pub fn switches(&self) -> Vec<Switch> {
        self.switches.clone()
    }

    /// Starts the loads, each at the pace of the timeline; the first operation is due at `from` or
    /// later.
    pub fn drive(
        &self,
        system: &System,
        timeline: &Timeline,
        seed: Seed,
        recorder: &Recorder,
        from: Micros,
    ) -> Traffic {
        let stop = CancellationToken::new();
        let schedule = |load: &Load| {
            let schedule = Schedule::new(load, seed, from).paced(timeline.pace(&load.name));
            (load.clone(), schedule)
        };
        let loads = system.loads.iter().map(schedule).collect();
        let driver = self
            .base
            .clone()
            .map(|base| load::drive(loads, base, recorder.clone(), stop.clone()));
        Traffic { driver, stop }
    }

    /// Starts the probes that expectations ask for.
    pub fn probe(&self, scenario: &Scenario, recorder: &Recorder) -> Probes {
        Probes::start(scenario, &self.places, &self.keeper.mark(), recorder)
    }

    /// Starts looking at what ledgers and verdicts ask of the system itself.
    pub fn watch(&self, system: &System, recorder: &Recorder) -> Watch {
        Watch::start(system, &self.url, &self.keeper.meter(), recorder)
    }

    /// Starts looking at how long the system waits for a processor.
    pub fn held_ups(&self, system: &System, recorder: &Recorder) -> HeldUps {
        HeldUps::start(system, &self.keeper.meter(), recorder)
    }

    /// Whether an instance was started that may yet become ready.
    pub fn is_any_starting(&self) -> bool {
        self.keeper.is_any_starting()
    }

    /// Does to an instance what a process fault says; what was done, in a word.
    ///
    /// # Errors
    /// Why it could not be done, for people.
    pub async fn act(&self, instance: &str, action: ProcessAction) -> Result<&'static str, String> {
        let (done, what) = match action {
            ProcessAction::Kill { .. } => (
                self.keeper
                    .kill(instance)
                    .await
                    .map_err(|error| error.to_string()),
                "killed",
            ),
            ProcessAction::Pause { .. } => (
                self.keeper
                    .pause(instance)
                    .await
                    .map_err(|error| error.to_string()),
                "paused",
            ),
            ProcessAction::Resume => (
                self.keeper
                    .resume(instance)
                    .map_err(|error| error.to_string()),
                "resumed",
            ),
            ProcessAction::Start => (
                self.keeper
                    .restart(instance)
                    .await
                    .map_err(|error| error.to_string()),
                "started again",
            ),
        };
        done.map(|()| what)
    }

    /// Takes everything down: the system first, then what it depended on.
    pub async fn stop(self) {
        if let Some(ingress) = self.ingress {
            ingress.stop().await;
        }
        self.keeper.stop_all().await;
        if let Some(forward) = self.forward_proxy {
            forward.stop().await;
        }
        join_all(self.proxies.into_iter().map(Proxy::stop)).await;
        #[cfg(feature = "demo")]
        join_all(
            self.embedded
                .into_iter()
                .map(crate::embedded::Embedded::stop),
        )
        .await;
    }
}

/// Starts the embedded server behind a dependency.
#[cfg(feature = "demo")]
pub(super) fn embedded(
    kind: &'static str,
    dependency: &Dependency,
    system: &System,
    places: &Places,
    recorder: &Recorder,
) -> Result<crate::embedded::Embedded, RunError> {
    let (access_key, secret_key) = environment::credentials(system, places);
    // An id of a ledger may be long, and called anything.
    let is_looked_into = is_looked_into(system, &dependency.name);
    let options = crate::embedded::Options {
        dependency: Arc::clone(&dependency.name),
        kept_max: match is_looked_into {
            true => LEDGER_BODY_MAX,
            false => crate::embedded::KEPT_MAX,
        },
        keeps_secrets: is_looked_into,
        answer: dependency
            .answer
            .clone()
            .map(|(status, body)| crate::embedded::Answer { status, body }),
        schema: dependency.schema.clone(),
        access_key,
        secret_key,
        buckets: dependency.buckets.clone(),
        virtual_host: dependency.virtual_host.clone(),
        app: app(dependency, places),
        ..Default::default()
    };
    crate::embedded::start(kind, options, recorder.clone()).map_err(|error| {
        listening(
            &format!("the embedded server of `{}`", dependency.name),
            error,
        )
    })
}

/// The app that an embedded server serves.
#[cfg(feature = "demo")]
fn app(dependency: &Dependency, places: &Places) -> crate::embedded::App {
    let Some(app) = &dependency.app else {
        return crate::embedded::App::default();
    };
    crate::embedded::App {
        id: app.id.clone(),
        key: app.key.clone(),
        secret: app.secret.clone(),
        activity_timeout: app.activity_timeout,
        webhook: app.webhook.as_ref().map(|url| places.fill(url)),
    }
}

/// Where an embedded server is.
#[cfg(feature = "demo")]
pub(super) fn on_loopback(address: std::net::SocketAddr) -> UpstreamAddress {
    UpstreamAddress {
        host: address.ip().to_string(),
        port: address.port(),
        tls: false,
    }
}

/// An embedded server that is wanted of a build without any.
#[cfg(not(feature = "demo"))]
pub(super) fn left_out(kind: &'static str, dependency: &Dependency) -> RunError {
    RunError::Upstream {
        dependency: dependency.name.to_string(),
        reason: format!("is {kind}, which this build leaves out (feature `demo`)"),
    }
}

/// Whether a ledger looks into the messages that this dependency's sink is sent.
#[cfg(feature = "demo")]
fn is_looked_into(system: &System, dependency: &str) -> bool {
    use crate::scenario::Delivered;
    let mut places = system.ledgers.iter().flat_map(|ledger| &ledger.delivered);
    places.any(
        |place| matches!(place, Delivered::Messages { dependency: of, .. } if **of == *dependency),
    )
}

/// TLS towards the system: where its file asks for it, and for hosts that are wired into
/// libraries, which are asked for with TLS and without.
pub(super) fn front(dependency: &Dependency, authority: &Arc<Authority>) -> Option<Arc<Front>> {
    let plain = match (&dependency.tls, dependency.hosts.is_empty()) {
        (None, true) => return None,
        (Some(_), true) => Plain::Refused,
        (Some(_), false) => Plain::Accepted,
        (None, false) => Plain::Preferred,
    };
    let mut names = dependency
        .tls
        .as_ref()
        .map_or_else(Vec::new, |tls| tls.names.clone());
    names.extend(dependency.hosts.iter().map(ToString::to_string));
    let front = Front::new(Arc::clone(authority), names);
    Some(Arc::new(front.beside(plain)))
}

fn instances(system: &System) -> &[Instance] {
    match &system.start {
        Start::Instances(instances) => instances,
        Start::External => &[],
    }
}

pub(super) fn listening(what: &str, error: std::io::Error) -> RunError {
    RunError::Listen {
        what: what.to_owned(),
        error,
    }
}

/// The bounds of the scenario's proxies: answers are remembered only where a fault gives them again.
fn limits(scenario: &Scenario) -> proxy::Limits {
    let mut faults = scenario.phases.iter().flat_map(|phase| &phase.faults);
    let limits = proxy::Limits::default();
    if faults.any(|fault| fault.kind == "stale-reply") {
        limits
    } else {
        proxy::Limits {
            answers_bytes: 0,
            ..limits
        }
    }
}
