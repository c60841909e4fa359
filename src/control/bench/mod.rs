//! What stands behind the native API and the page: dependencies, each with its proxy, the faults that
//! were switched on by hand, what was seen lately, and what was done. Knows nothing of HTTP.
//!
//! No fault stays by itself: each has an end, by its time or by a lease that must be renewed, and all
//! are lifted when the server ends. Everything has a bound.

pub(crate) mod fault;
pub(crate) mod figures;
pub(crate) mod log;
pub(crate) mod problem;
mod spec;
pub(crate) mod view;
pub(crate) mod window;

use super::{
    Tell,
    session::{Action, Stood, What},
    toxiproxy::{OF_TOXICS, json::Node},
};
use crate::{
    fault::{Active, FaultId, FaultSet, Memory, Switch},
    history::{Observation, Recorder},
    protocol::Protocol,
    proxy::{ForwardProxy, Route, UnderWay, tls::Authority},
    run::{Ground, RunError, Standing},
    scenario::{self, System, Upstream},
    seed::Seed,
    units::Micros,
};
use fault::{Asked, Placed, Target};
use log::Log;
use parking_lot::{Mutex, MutexGuard};
use problem::{Failure, Why};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use view::{ActedOn, CallView, FaultNow, Live, Of, Series, millis};
use window::{Call, Entry, Flow, Window};

/// The most dependencies, those of the file among them.
pub(crate) const DEPENDENCIES_MAX: usize = 100;

/// The most faults in force at once.
pub(crate) const FAULTS_MAX: usize = 200;

/// The most observations that are taken in at once.
const BATCH: usize = 1_024;

/// How long to wait before what could not stand tries again.
const STAND_AGAIN: Duration = Duration::from_secs(1);

/// How many numbers faults have in observations.
const NUMBERS: u64 = OF_TOXICS as u64;

/// Everything that stands, and what is in force on it.
#[derive(Debug)]
pub(crate) struct Bench {
    ground: Ground,
    system: Option<Arc<System>>,
    /// Whether a dependency may listen where others than this machine reach it.
    is_open: bool,
    state: Mutex<State>,
    /// What leads to the dependencies of the file that list hosts.
    forward_proxy: Mutex<Option<ForwardProxy>>,
    window: Mutex<Window>,
    /// The first fault to end may be another one now.
    due: Notify,
    changes: watch::Sender<u64>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    dependencies: BTreeMap<Arc<str>, Dependency>,
    faults: BTreeMap<u64, Placed>,
    /// Which fault had a number in observations last, and what it was.
    numbers: BTreeMap<u16, (u64, &'static str)>,
    /// How often faults that are lifted acted, by kind and dependency.
    acted: BTreeMap<(&'static str, Arc<str>), u64>,
    /// Faults so far.
    count: u64,
    memory: Memory,
    log: Log,
    /// A run needs the addresses of those that listen at fixed ones.
    is_aside: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Dependency {
    /// The system that it is a dependency of, and its place there.
    system: Arc<System>,
    index: usize,
    of: Of,
    switch: Switch,
    /// `None` while it steps aside, and until it can stand again.
    standing: Option<Standing>,
    /// Why it cannot.
    missing: Option<String>,
}

impl Dependency {
    fn spec(&self) -> &scenario::Dependency {
        &self.system.dependencies[self.index]
    }

    /// Whether a run's would listen at the same address.
    fn steps_aside(&self) -> bool {
        self.of == Of::File && self.spec().listen.is_some()
    }

    /// Has it stand again.
    fn stand(&mut self, ground: &Ground) -> Result<(), RunError> {
        let spec = &self.system.dependencies[self.index];
        match Standing::start(spec, &self.system, self.switch.clone(), ground) {
            Ok(standing) => {
                self.standing = Some(standing);
                self.missing = None;
                Ok(())
            }
            Err(error) => {
                self.missing = Some(error.to_string());
                Err(error)
            }
        }
    }
}

/// How to set up a bench.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) system: Option<Arc<System>>,
    pub(crate) seed: Seed,
    pub(crate) is_open: bool,
    pub(crate) recorder: Recorder,
    pub(crate) observations: mpsc::Receiver<Observation>,
    pub(crate) authority: Option<Arc<Authority>>,
}

impl Bench {
    /// Has the dependencies of the system stand, and begins to watch.
    ///
    /// # Errors
    /// One of them cannot stand. One whose upstream is known in a run alone is left out, and said.
    pub(crate) fn start(setup: Setup, tell: &Tell) -> io::Result<Arc<Self>> {
        let bench = Arc::new(Self {
            ground: Ground {
                seed: setup.seed,
                recorder: setup.recorder,
                authority: setup.authority,
            },
            system: setup.system,
            is_open: setup.is_open,
            state: Mutex::default(),
            forward_proxy: Mutex::default(),
            window: Mutex::default(),
            due: Notify::new(),
            changes: watch::Sender::new(0),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        if let Some(system) = &bench.system {
            for index in 0..system.dependencies.len() {
                bench.stand_of_file(system, index, tell)?;
            }
            bench.open_forward_proxy(system, tell)?;
        }
        bench
            .tasks
            .spawn(Arc::clone(&bench).observe(setup.observations));
        bench.tasks.spawn(Arc::clone(&bench).expire(tell.clone()));
        bench.tasks.close();
        Ok(bench)
    }

    fn stand_of_file(&self, system: &Arc<System>, index: usize, tell: &Tell) -> io::Result<()> {
        let spec = &system.dependencies[index];
        let switch = Switch::new();
        match Standing::start(spec, system, switch.clone(), &self.ground) {
            Ok(standing) => {
                tell.info(format_args!("{}: {}", spec.name, standing.url()));
                let dependency = Dependency {
                    system: Arc::clone(system),
                    index,
                    of: Of::File,
                    switch,
                    standing: Some(standing),
                    missing: None,
                };
                let mut state = self.state.lock();
                state
                    .dependencies
                    .insert(Arc::clone(&spec.name), dependency);
                Ok(())
            }
            Err(error @ RunError::Upstream { .. }) => {
                tell.error(error);
                Ok(())
            }
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }

    /// Has a forward proxy lead to the dependencies that list hosts, for whoever is told to use it.
    fn open_forward_proxy(&self, system: &System, tell: &Tell) -> io::Result<()> {
        let state = self.state.lock();
        let each = state.dependencies.values();
        let standing = each.filter_map(|one| Some((one.spec(), one.standing.as_ref()?.address())));
        let routes: Vec<Route> = standing
            .flat_map(|(spec, to)| {
                let hosts = spec.hosts.iter().cloned();
                hosts.map(move |host| Route { host, to })
            })
            .collect();
        drop(state);
        if routes.is_empty() {
            return Ok(());
        }
        let proxy = ForwardProxy::start(routes, system.unlisted, self.ground.recorder.clone())?;
        tell.info(format_args!(
            "the forward proxy, for HTTP_PROXY and HTTPS_PROXY: http://{}",
            proxy.address()
        ));
        *self.forward_proxy.lock() = Some(proxy);
        Ok(())
    }

    /// Where the forward proxy listens, if any dependency lists hosts.
    pub(crate) fn forward_proxy(&self) -> Option<SocketAddr> {
        self.forward_proxy
            .lock()
            .as_ref()
            .map(ForwardProxy::address)
    }

    /// Now, on the server's clock.
    pub(crate) fn now(&self) -> Micros {
        self.ground.recorder.now()
    }

    /// The server's clock.
    pub(crate) fn clock(&self) -> Recorder {
        self.ground.recorder.clone()
    }

    /// The system, if there is one.
    pub(crate) fn system(&self) -> Option<&Arc<System>> {
        self.system.as_ref()
    }

    /// What decides by chance.
    pub(crate) fn seed(&self) -> Seed {
        self.ground.seed
    }

    /// Tells of every change of dependencies, faults and the session.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes in what is observed, until the bench is stopped.
    async fn observe(self: Arc<Self>, mut queue: mpsc::Receiver<Observation>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let count = tokio::select! {
                count = queue.recv_many(&mut batch, BATCH) => count,
                () = self.stopping.cancelled() => return,
            };
            if count == 0 {
                return;
            }
            let recorder = &self.ground.recorder;
            let mut window = self.window.lock();
            let dropped = recorder.take_dropped();
            if dropped > 0 {
                window.dropped += dropped;
                window.take(Observation::Dropped {
                    at: recorder.now(),
                    count: dropped,
                });
            }
            batch
                .drain(..)
                .for_each(|observation| window.take(observation));
            drop(window);
            recorder.taken();
        }
    }

    /// Lifts each fault when its time is over, and has stand again what could not when it was to.
    async fn expire(self: Arc<Self>, tell: Tell) {
        loop {
            let (next, is_complete) = {
                let state = self.state.lock();
                let next = state.faults.values().map(Placed::ends).min();
                (next, state.is_aside || state.is_complete())
            };
            let over = async {
                match next {
                    Some(at) => sleep_until(self.ground.recorder.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            let again = async {
                match is_complete {
                    true => std::future::pending().await,
                    false => sleep(STAND_AGAIN).await,
                }
            };
            tokio::select! {
                () = over => self.lift_expired(),
                () = again => self.stand_again(&tell),
                () = self.due.notified() => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    fn lift_expired(&self) {
        let now = self.now();
        let mut state = self.state.lock();
        let over = state.faults.values().filter(|fault| fault.ends() <= now);
        let over: Vec<u64> = over.map(|fault| fault.id).collect();
        for id in &over {
            state.lift(*id, now, &self.ground.recorder);
            state.log.note(now, What::Expired { id: *id });
        }
        drop(state);
        if !over.is_empty() {
            self.changed();
        }
    }

    /// Makes a dependency that a request asks for, and gives it as it is then.
    pub(crate) fn make(&self, node: &Node) -> Result<view::Dependency, Failure> {
        let (name, system) = spec::read(node, self.is_open)?;
        let mut state = self.open_state()?;
        if state.dependencies.contains_key(&name) {
            let what = format!("there is a dependency `{name}`");
            return Err(Failure::new(Why::Taken, "name", what, None));
        }
        if state.dependencies.len() >= DEPENDENCIES_MAX {
            return Err(Failure::limit("dependencies", DEPENDENCIES_MAX));
        }
        let switch = Switch::new();
        let started = Standing::start(
            &system.dependencies[0],
            &system,
            switch.clone(),
            &self.ground,
        );
        let standing = started
            .map_err(|error| Failure::new(Why::Impossible, "listen", error.to_string(), None))?;
        let dependency = Dependency {
            system: Arc::new(system),
            index: 0,
            of: Of::Api,
            switch,
            standing: Some(standing),
            missing: None,
        };
        let now = self.now();
        let shown = state.shown(&name, &dependency, &self.window.lock(), now);
        let what = What::Made {
            name: name.to_string(),
        };
        state.dependencies.insert(name, dependency);
        state.log.note(now, what);
        drop(state);
        self.changed();
        Ok(shown)
    }

    /// Removes a dependency that a request made, with the faults on it.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Failure> {
        let standing = self.take_out(name)?;
        self.changed();
        if let Some(standing) = standing {
            standing.stop().await;
        }
        Ok(())
    }

    fn take_out(&self, name: &str) -> Result<Option<Standing>, Failure> {
        let mut state = self.state.lock();
        let unknown = || Failure::unknown(format!("there is no dependency `{name}`"));
        let of = state.dependencies.get(name).ok_or_else(unknown)?.of;
        if of != Of::Api {
            let what = format!("`{name}` is of the system's file");
            let hint = "those that were made by a request can be removed".to_owned();
            return Err(Failure::new(Why::Taken, "", what, hint));
        }
        let now = self.now();
        let mut gone = Vec::new();
        for fault in state.faults.values_mut() {
            if !fault.leave(name) {
                gone.push(fault.id);
            }
        }
        for id in gone {
            state.lift(id, now, &self.ground.recorder);
            state.log.note(now, What::Lifted { id });
        }
        let taken = state.dependencies.remove(name);
        state.acted.retain(|(_, on), _| **on != *name);
        let what = What::Removed {
            name: name.to_owned(),
        };
        state.log.note(now, what);
        Ok(taken.and_then(|dependency| {
            dependency.switch.heal();
            dependency.standing
        }))
    }

    /// Puts a fault in force that a request asks for, and gives it as it is then: it may be over at once.
    pub(crate) fn place(&self, node: &Node) -> Result<view::Fault, Failure> {
        let mut state = self.open_state()?;
        let asked = Asked::read(node, &state.targets())?;
        state.all_stand(asked.on.iter().map(|(name, ..)| name))?;
        if state.faults.len() >= FAULTS_MAX {
            return Err(Failure::limit("faults in force", FAULTS_MAX));
        }
        let now = self.now();
        let (id, number) = state.number();
        let mut memory = std::mem::take(&mut state.memory);
        let placed = asked.place((id, number), now, self.ground.seed, &mut memory);
        state.memory = memory;
        state.numbers.insert(number.0, (id, placed.kind));
        let what = placed_what(&placed);
        let armed = Observation::Armed {
            at: now,
            fault: number,
        };
        self.ground.recorder.names(number, &placed.label);
        self.ground.recorder.record(armed);
        let on = placed.on.clone();
        let shown = shown(&placed, now);
        state.faults.insert(id, placed);
        state.arm(&on);
        state.log.note(now, what);
        drop(state);
        self.due.notify_one();
        self.changed();
        Ok(shown)
    }

    /// Gives a fault more time, and gives it as it is then.
    pub(crate) fn renew(&self, id: u64, node: &Node) -> Result<view::Fault, Failure> {
        let mut state = self.state.lock();
        let now = self.now();
        let fault = state.faults.get_mut(&id).ok_or_else(|| no_fault(id))?;
        fault.renew(node, now)?;
        let shown = shown(fault, now);
        state.log.note(now, What::Renewed { id });
        drop(state);
        self.due.notify_one();
        self.changed();
        Ok(shown)
    }

    /// Lifts a fault.
    pub(crate) fn lift(&self, id: u64) -> Result<(), Failure> {
        let mut state = self.state.lock();
        let now = self.now();
        if !state.lift(id, now, &self.ground.recorder) {
            return Err(no_fault(id));
        }
        state.log.note(now, What::Lifted { id });
        drop(state);
        self.changed();
        Ok(())
    }

    /// Lifts every fault.
    pub(crate) fn lift_all(&self) {
        let mut state = self.state.lock();
        let now = self.now();
        let ids: Vec<u64> = state.faults.keys().copied().collect();
        for id in &ids {
            state.lift(*id, now, &self.ground.recorder);
            state.log.note(now, What::Lifted { id: *id });
        }
        drop(state);
        if !ids.is_empty() {
            self.changed();
        }
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.state.lock();
        if state.is_closed {
            return Err(Failure::new(Why::Impossible, "", "the server ends", None));
        }
        Ok(state)
    }

    /// The faults in force, by number.
    pub(crate) fn faults(&self) -> Vec<view::Fault> {
        let now = self.now();
        let state = self.state.lock();
        state
            .faults
            .values()
            .map(|fault| shown(fault, now))
            .collect()
    }

    /// One of them.
    pub(crate) fn fault(&self, id: u64) -> Result<view::Fault, Failure> {
        let now = self.now();
        let state = self.state.lock();
        let fault = state.faults.get(&id).ok_or_else(|| no_fault(id))?;
        Ok(shown(fault, now))
    }

    /// What changes of the faults by itself.
    pub(crate) fn faults_now(&self) -> Vec<FaultNow> {
        let now = self.now();
        let state = self.state.lock();
        let one = |fault: &Placed| FaultNow {
            id: fault.id,
            ends_in_ms: millis(Micros::from(fault.ends().since(now))),
            acted: fault.acted(),
        };
        state.faults.values().map(one).collect()
    }

    /// How often faults acted since the beginning, by kind and dependency, and how many of each are
    /// in force.
    pub(crate) fn acted(&self) -> BTreeMap<(&'static str, Arc<str>), (u64, u64)> {
        let state = self.state.lock();
        let lifted = state.acted.iter();
        let mut all: BTreeMap<_, _> = lifted
            .map(|(key, count)| (key.clone(), (*count, 0)))
            .collect();
        for fault in state.faults.values() {
            for (name, active) in &fault.active {
                let entry = all.entry((fault.kind, Arc::clone(name))).or_default();
                entry.0 += active.hits();
                entry.1 += 1;
            }
        }
        all
    }

    /// The dependencies, by name.
    pub(crate) fn dependencies(&self) -> Vec<view::Dependency> {
        let now = self.now();
        let state = self.state.lock();
        let window = self.window.lock();
        let each = state.dependencies.iter();
        each.map(|(name, one)| state.shown(name, one, &window, now))
            .collect()
    }

    /// How the dependencies are doing.
    pub(crate) fn live(&self) -> Vec<(String, Live)> {
        let now = self.now();
        let state = self.state.lock();
        let window = self.window.lock();
        let each = state.dependencies.iter();
        each.map(|(name, one)| {
            let live = live_of(&window, name, one.spec().protocol.has_messages(), now);
            (name.to_string(), live)
        })
        .collect()
    }

    /// Asks every proxy what went through it; `others` are those that are none of the bench's. What
    /// was seen of proxies that are gone is forgotten.
    pub(crate) fn sample(&self, others: &[(Arc<str>, Flow)]) {
        let now = self.now();
        let state = self.state.lock();
        let own = state.dependencies.iter().map(|(name, one)| {
            let counts = one.standing.as_ref().map(Standing::counters);
            let counts = counts.unwrap_or_default();
            let flow = Flow {
                connections: counts.open,
                in_flight: one
                    .spec()
                    .protocol
                    .has_messages()
                    .then_some(counts.under_way),
                bytes_in: counts.bytes_up,
                bytes_out: counts.bytes_down,
            };
            (Arc::clone(name), flow)
        });
        let flows: Vec<(Arc<str>, Flow)> = own.chain(others.iter().cloned()).collect();
        drop(state);
        let mut window = self.window.lock();
        let names: BTreeSet<Arc<str>> = flows.iter().map(|(name, _)| Arc::clone(name)).collect();
        window.keep(&names);
        for (name, flow) in flows {
            window.flowed(&name, flow, now);
        }
        window.age(now);
    }

    /// What was seen of something that is no dependency of the bench's.
    pub(crate) fn seen(&self, name: &str, sees_requests: bool) -> (Live, Series) {
        let now = self.now();
        let window = self.window.lock();
        let series = Series::of(window.series(name, now));
        (live_of(&window, name, sees_requests, now), series)
    }

    /// Looks at what was seen lately.
    pub(crate) fn with_window<T>(&self, look: impl FnOnce(&Window) -> T) -> T {
        look(&self.window.lock())
    }

    /// Everything that is kept of what was observed.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.window.lock().entries()
    }

    /// The requests without an answer of one dependency, or of all: of each the oldest, at most so many.
    pub(crate) fn under_way(
        &self,
        dependency: Option<&str>,
        most: usize,
    ) -> Vec<(Arc<str>, UnderWay)> {
        let state = self.state.lock();
        let each = state.dependencies.iter();
        let wanted = each.filter(|(name, _)| dependency.is_none_or(|wanted| wanted == &***name));
        let of = |(name, one): (&Arc<str>, &Dependency)| {
            let standing = one.standing.as_ref();
            let open = standing.map_or_else(Vec::new, |standing| standing.under_way(most));
            let name = Arc::clone(name);
            open.into_iter().map(move |one| (Arc::clone(&name), one))
        };
        wanted.flat_map(of).collect()
    }

    /// The newest calls, of which an attempt ended that has this number or a later one.
    pub(crate) fn calls(
        &self,
        dependency: Option<&str>,
        since: u64,
        limit: usize,
    ) -> Vec<CallView> {
        let calls: Vec<Call> = self.window.lock().calls(dependency, since, limit);
        let state = self.state.lock();
        let named = |number: FaultId| state.named(number);
        let each = calls.iter();
        each.map(|call| CallView::of(call, Micros::default(), named))
            .collect()
    }

    /// How many actions of the session were forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.state.lock().log.forgotten()
    }

    /// When the session began, and what was done in it.
    pub(crate) fn session(&self) -> (Micros, Vec<Action>) {
        let state = self.state.lock();
        (state.log.since(), state.log.actions())
    }

    /// Begins a new session; what is in force stays.
    pub(crate) fn restart_session(&self) {
        let mut state = self.state.lock();
        let in_force: Vec<What> = state.faults.values().map(placed_what).collect();
        let now = self.now();
        state.log.restart(now, in_force.into_iter());
        drop(state);
        self.changed();
    }

    /// The dependencies as a scenario's system would have them.
    pub(crate) fn stood(&self) -> Vec<Stood> {
        let state = self.state.lock();
        let each = state.dependencies.values();
        each.map(|one| Stood {
            name: one.spec().name.to_string(),
            protocol: one.spec().protocol,
            listen: one
                .standing
                .as_ref()
                .map_or_else(String::new, |standing| standing.address().to_string()),
            upstream: upstream(one.spec()),
        })
        .collect()
    }

    /// Has the dependencies of the file that listen at fixed addresses make room for a run's, which
    /// listen at the same. They are back with [`Bench::step_back`].
    ///
    /// # Errors
    /// A fault is in force on one of them, which would act on nothing meanwhile.
    pub(crate) async fn step_aside(&self) -> Result<(), Failure> {
        let mut gone = Vec::new();
        {
            let mut state = self.state.lock();
            state.may_step_aside()?;
            state.is_aside = true;
            let all = state.dependencies.values_mut();
            for one in all.filter(|one| one.steps_aside()) {
                gone.extend(one.standing.take());
            }
        }
        if !gone.is_empty() {
            self.changed();
        }
        for standing in gone {
            standing.stop().await;
        }
        Ok(())
    }

    /// Has them stand again. Where one cannot it is said once, and tried again until it can.
    pub(crate) fn step_back(&self, tell: &Tell) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        state.is_aside = false;
        for one in state.dependencies.values_mut() {
            if one.standing.is_none()
                && let Err(error) = one.stand(&self.ground)
            {
                tell.error(error);
            }
        }
        drop(state);
        self.due.notify_one();
        self.changed();
    }

    fn stand_again(&self, tell: &Tell) {
        let mut state = self.state.lock();
        if state.is_closed || state.is_aside {
            return;
        }
        let mut is_change = false;
        for one in state.dependencies.values_mut() {
            if one.standing.is_none() && one.stand(&self.ground).is_ok() {
                tell.info(format_args!("{} stands again", one.spec().name));
                is_change = true;
            }
        }
        drop(state);
        if is_change {
            self.changed();
        }
    }

    /// Lifts everything and closes everything.
    pub(crate) async fn stop(&self) {
        let standing: Vec<Standing> = {
            let mut state = self.state.lock();
            state.is_closed = true;
            let now = self.now();
            let ids: Vec<u64> = state.faults.keys().copied().collect();
            for id in ids {
                state.lift(id, now, &self.ground.recorder);
            }
            let all = state.dependencies.values_mut();
            all.filter_map(|one| one.standing.take()).collect()
        };
        let forward_proxy = self.forward_proxy.lock().take();
        if let Some(proxy) = forward_proxy {
            proxy.stop().await;
        }
        futures_util::future::join_all(standing.into_iter().map(Standing::stop)).await;
        self.stopping.cancel();
        self.tasks.wait().await;
    }

    /// Ends what goes on by itself, without waiting.
    pub(crate) fn abandon(&self) {
        self.stopping.cancel();
        *self.forward_proxy.lock() = None;
        let mut state = self.state.lock();
        state.is_closed = true;
        for one in state.dependencies.values_mut() {
            one.switch.heal();
            one.standing = None;
        }
    }
}

impl State {
    /// What faults can be put on.
    fn targets(&self) -> Vec<Target> {
        let each = self.dependencies.values().map(Dependency::spec);
        each.map(|spec| Target {
            name: Arc::clone(&spec.name),
            role: spec.role.clone(),
            protocol: spec.protocol,
            has_capacity: self.has_capacity(&spec.name),
        })
        .collect()
    }

    /// Whether all that is to stand does.
    fn is_complete(&self) -> bool {
        let mut all = self.dependencies.values();
        all.all(|one| one.standing.is_some())
    }

    /// A fault on what does not stand would act on nothing.
    fn all_stand<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) -> Result<(), Failure> {
        for name in names {
            let Some(one) = self.dependencies.get(name) else {
                continue;
            };
            if one.standing.is_some() {
                continue;
            }
            let (what, hint) = match &one.missing {
                Some(why) if !self.is_aside => (
                    format!("`{name}` does not stand: {why}"),
                    "it is tried again every second".to_owned(),
                ),
                _ => (
                    format!("`{name}` has made room for a run: a fault would act on nothing"),
                    "wait for the end of the run, or stop it".to_owned(),
                ),
            };
            return Err(Failure::new(Why::Taken, "on", what, hint));
        }
        Ok(())
    }

    /// What steps aside for a run must be free of faults: they would be in force, and act on nothing.
    fn may_step_aside(&self) -> Result<(), Failure> {
        for fault in self.faults.values() {
            let steps_aside = |name: &&Arc<str>| {
                let one = self.dependencies.get(*name);
                one.is_some_and(Dependency::steps_aside)
            };
            if let Some(name) = fault.on.iter().find(steps_aside) {
                let what = format!(
                    "fault {} ({}) is in force on `{name}`, which must make room for the run",
                    fault.id, fault.kind
                );
                let hint = "lift it, or wait until its time is over".to_owned();
                return Err(Failure::new(Why::Taken, "", what, hint));
            }
        }
        Ok(())
    }

    fn has_capacity(&self, name: &str) -> bool {
        let active = self.faults.values().flat_map(|fault| &fault.active);
        let mut on_it = active.filter(|(on, _)| **on == *name);
        on_it.any(|(_, active)| active.behaviour.capacity().is_some())
    }

    /// The next fault's number, and the one it has in observations: none that is in force has it.
    fn number(&mut self) -> (u64, FaultId) {
        loop {
            self.count += 1;
            let number = FaultId((self.count % NUMBERS) as u16);
            if self.faults.values().all(|fault| fault.number != number) {
                return (self.count, number);
            }
        }
    }

    /// The fault that an observation names.
    fn named(&self, number: FaultId) -> ActedOn {
        match self.numbers.get(&number.0) {
            Some((id, kind)) => ActedOn {
                id: Some(*id),
                kind: (*kind).to_owned(),
            },
            None => ActedOn {
                id: None,
                kind: "toxic".to_owned(),
            },
        }
    }

    /// Puts in force on these dependencies what is to be.
    fn arm(&self, names: &[Arc<str>]) {
        for name in names {
            let Some(dependency) = self.dependencies.get(name) else {
                continue;
            };
            let on_it = |fault: &Placed| {
                let active = fault.active.iter();
                let active = active.filter(|(on, _)| on == name);
                let active: Vec<Arc<Active>> = active.map(|(_, one)| Arc::clone(one)).collect();
                active
            };
            let active = self.faults.values().flat_map(on_it).collect();
            dependency.switch.set(FaultSet::new(active));
        }
    }

    /// Lifts a fault; whether it was there.
    fn lift(&mut self, id: u64, at: Micros, recorder: &Recorder) -> bool {
        let Some(fault) = self.faults.remove(&id) else {
            return false;
        };
        self.arm(&fault.on);
        for (name, active) in &fault.active {
            let key = (fault.kind, Arc::clone(name));
            *self.acted.entry(key).or_default() += active.hits();
        }
        recorder.record(Observation::Lifted {
            at,
            fault: fault.number,
            hits: fault.acted(),
        });
        true
    }

    fn shown(
        &self,
        name: &Arc<str>,
        one: &Dependency,
        window: &Window,
        now: Micros,
    ) -> view::Dependency {
        let spec = one.spec();
        let on_it = self.faults.values().filter(|fault| fault.on.contains(name));
        view::Dependency {
            name: name.to_string(),
            role: spec.role.as_deref().map(str::to_owned),
            protocol: Some(spec.protocol.to_string()),
            listen: one.standing.as_ref().map(|one| one.address().to_string()),
            url: one.standing.as_ref().map(Standing::url),
            upstream: upstream(spec),
            of: one.of,
            live: live_of(window, name, spec.protocol.has_messages(), now),
            series: Series::of(window.series(name, now)),
            faults: on_it.map(|fault| fault.id).collect(),
            toxics: None,
        }
    }
}

fn live_of(window: &Window, name: &str, sees_requests: bool, now: Micros) -> Live {
    let seen = window.now(name, now).unwrap_or_default();
    Live::of(&seen, sees_requests)
}

fn placed_what(fault: &Placed) -> What {
    What::Placed {
        id: fault.id,
        label: fault.label.clone(),
        on: fault.on.iter().map(ToString::to_string).collect(),
        toml: Arc::clone(&fault.toml),
    }
}

fn no_fault(id: u64) -> Failure {
    Failure::unknown(format!("there is no fault {id} in force"))
}

fn shown(fault: &Placed, now: Micros) -> view::Fault {
    let keys = fault.keys.iter();
    view::Fault {
        id: fault.id,
        kind: fault.kind,
        on: fault.on.iter().map(ToString::to_string).collect(),
        label: fault.label.clone(),
        keys: keys
            .map(|(key, value)| (key.clone(), super::said::shown(value)))
            .collect(),
        since_ms: millis(fault.since),
        ends_in_ms: millis(Micros::from(fault.ends().since(now))),
        lease_ms: fault.lease.map(|lease| millis(Micros::from(lease))),
        acted: fault.acted(),
        toml: Arc::clone(&fault.toml),
    }
}

/// An upstream as a system's file says it.
pub(crate) fn upstream(spec: &scenario::Dependency) -> String {
    match &spec.upstream {
        Upstream::Embedded("sink") => "embedded:sink".to_owned(),
        Upstream::Embedded(_) => "embedded".to_owned(),
        Upstream::Instance(name) => format!("instance:{name}"),
        Upstream::Address { host, port, tls } => {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.clone()
            };
            match tls {
                true if spec.protocol.is_http() => format!("https://{host}:{port}"),
                true => format!("tls://{host}:{port}"),
                false => format!("{host}:{port}"),
            }
        }
    }
}

/// What a protocol is called, if it is one.
pub(crate) fn protocol_named(name: &str) -> Option<Protocol> {
    let def = crate::protocol::PROTOCOLS
        .iter()
        .find(|def| def.name == name)?;
    Some(def.protocol)
}

/// Reads what a request asks for in each of the ways in which a body is read: a dependency, a fault
/// that is put in force and given more time.
///
/// # Panics
/// What is refused has no reason, what is taken goes beyond its bounds, or a dependency would listen
/// where others can reach it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(node: &Node) {
    let told =
        |failure: &Failure| assert!(!failure.problems.is_empty(), "refused without a reason");
    match spec::read(node, false) {
        Ok((name, system)) => {
            let mut dependencies = system.dependencies.iter();
            let listens = dependencies.all(|one| one.listen.is_none_or(|at| at.ip().is_loopback()));
            assert!(listens, "{name} can be reached by others");
        }
        Err(failure) => told(&failure),
    }
    let _ = spec::read(node, true).map_err(|failure| told(&failure));
    let targets: Vec<Target> = crate::protocol::PROTOCOLS
        .iter()
        .map(|def| Target {
            name: def.name.into(),
            role: Some("any".into()),
            protocol: def.protocol,
            has_capacity: false,
        })
        .collect();
    match Asked::read(node, &targets) {
        Ok(asked) => {
            assert!(
                asked.ttl.or(asked.lease).is_some(),
                "a fault without an end"
            );
            let now = Micros::from_secs(1);
            let memory = &mut Memory::default();
            let mut placed = asked.place((1, FaultId(1)), now, Seed(1), memory);
            let last = now + fault::TTL_MAX;
            assert!((now..=last).contains(&placed.ends()), "it ends in time");
            let _ = placed.renew(node, now).map_err(|failure| told(&failure));
            assert!((now..=last).contains(&placed.ends()), "it ends in time");
        }
        Err(failure) => told(&failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        input::{Problems, Source},
        scenario::system_from_text,
    };
    use std::{net::TcpListener, path::PathBuf};

    /// A bench on which `fixed` listens at a fixed address, and `free` wherever it may.
    fn bench(tell: &Tell) -> (Arc<Bench>, SocketAddr) {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
        let free = free.expect("a port");
        let text = format!(
            "[system]\nexternal = \"http://127.0.0.1:9\"\n\
             [dependency.fixed]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\nlisten = \"{free}\"\n\
             [dependency.free]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\n"
        );
        let mut problems = Problems::default();
        let source = Source::new("brownout.toml", text);
        let system = system_from_text(source, PathBuf::from("."), &mut problems);
        let (recorder, observations) = Recorder::channel(Recorder::QUEUE);
        let setup = Setup {
            system: Some(Arc::new(system.expect("a system"))),
            seed: Seed(1),
            is_open: false,
            recorder,
            observations,
            authority: None,
        };
        (Bench::start(setup, tell).expect("it stands"), free)
    }

    fn placed(bench: &Bench, on: &str) -> Result<view::Fault, Failure> {
        let said = format!(r#"{{"on":{on},"kind":"hang","ttl":"30s"}}"#);
        let node = Node::read(said.as_bytes()).expect("it is JSON");
        bench.place(&node)
    }

    #[tokio::test]
    async fn what_is_in_force_on_what_must_make_room_keeps_a_run_from_beginning() {
        let tell = Tell::new(|_, _| {});
        let (bench, _) = bench(&tell);
        let stand = || bench.dependencies().iter().all(|one| one.listen.is_some());
        placed(&bench, r#""free""#).expect("it stands");
        placed(&bench, r#"["free","fixed"]"#).expect("they stand");
        let failure = bench.step_aside().await.expect_err("it is on one of them");
        assert_eq!(failure.why, Why::Taken);
        assert!(failure.problems[0].what.contains("`fixed`"), "{failure:?}");
        assert!(stand(), "nothing has stepped aside");
        bench.lift(2).expect("it is in force");
        bench.step_aside().await.expect("nothing is on what must");
        assert!(!stand());
        bench.step_back(&tell);
        assert!(stand());
        bench.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_stand_again_after_a_run_does_once_it_can() {
        let tell = Tell::new(|_, _| {});
        let (bench, address) = bench(&tell);
        bench.step_aside().await.expect("nothing is in force");
        let taken = TcpListener::bind(address).expect("there is room");
        bench.step_back(&tell);
        let failure = placed(&bench, r#""fixed""#).expect_err("it does not stand");
        let what = &failure.problems[0].what;
        assert!(what.contains("does not stand: "), "{what}");
        drop(taken);
        let mut changes = bench.changes();
        let stands = async {
            while placed(&bench, r#""fixed""#).is_err() {
                changes.changed().await.expect("the bench is there");
            }
        };
        let within = Duration::from_secs(20);
        tokio::time::timeout(within, stands)
            .await
            .expect("it stands");
        bench.stop().await;
    }

    #[tokio::test]
    async fn what_is_made_or_placed_is_shown_as_it_was_then() {
        let tell = Tell::new(|_, _| {});
        let (bench, _) = bench(&tell);
        let node = |said: &str| Node::read(said.as_bytes()).expect("it is JSON");
        let fault = placed(&bench, r#""free""#).expect("it stands");
        assert_eq!((fault.id, fault.kind), (1, "hang"));
        let renewed = bench
            .renew(1, &node(r#"{"ttl":"50s"}"#))
            .expect("more time");
        assert!(renewed.ends_in_ms > fault.ends_in_ms, "{renewed:?}");
        let made = node(r#"{"name":"made","protocol":"tcp","upstream":"127.0.0.1:1"}"#);
        let made = bench.make(&made).expect("it is made");
        assert_eq!(made.name, "made");
        assert!(made.listen.is_some(), "{made:?}");
        bench.stop().await;
    }

    #[tokio::test]
    async fn nothing_is_put_on_what_has_made_room_for_a_run() {
        let tell = Tell::new(|_, _| {});
        let (bench, _) = bench(&tell);
        let place = |on: &str| placed(&bench, on);
        assert!(place(r#""fixed""#).is_ok());
        bench.lift_all();
        bench.step_aside().await.expect("nothing is in force");
        for on in [r#""fixed""#, r#"["free","fixed"]"#] {
            let failure = place(on).expect_err("it acts on nothing");
            assert_eq!(failure.why, Why::Taken);
            assert_eq!(failure.problems[0].place, "on");
            assert!(failure.problems[0].what.contains("`fixed`"), "{failure:?}");
        }
        assert!(place(r#""free""#).is_ok());
        bench.step_back(&tell);
        assert!(place(r#""fixed""#).is_ok());
        let actions = bench.session().1;
        let placed = actions
            .iter()
            .filter(|one| matches!(one.what, What::Placed { .. }));
        assert_eq!(placed.count(), 3);
        bench.stop().await;
    }
}
