//! Starts instances, signals them, and leaves nothing behind.

use super::{
    InstanceSpec, SignalError, StartError, TOKEN,
    guard::Guard,
    output::{LOG_BYTES_MAX, Output},
    program,
    readiness::{Look, accepts},
    table::{COOKIE, Group, Process, resident_bytes},
};
use crate::{
    history::{Observation, ProcessEvent, Recorder},
    units::Micros,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use rustix::process::Signal;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// The lines of output that an error or an exit shows.
const LINES_SHOWN: usize = 20;

/// The time in which the last output of an ended instance must have come; a grandchild may hold
/// the pipe open for ever.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_millis(250);

/// The time in which a killed instance must be gone, and a paused one stand still. Only one that is
/// stuck in the kernel, or out of our reach, is not.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The time between two looks at the table of processes.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The time between two connections to an address that is to be free.
const CONNECT_EVERY: Duration = Duration::from_millis(50);

/// Looks in a row that must find nobody: a process may be between fork and exec, where it does not
/// carry the cookie yet.
const QUIET_LOOKS: u32 = 2;

/// Starts instances, each in a process group of its own, and takes all of them down on every way
/// out: [`Keeper::stop_all`] in order, dropping it at once, and its guard process where the
/// harness is gone without either. To be shared behind an `Arc`.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
}

/// Measures instances, from any thread.
#[derive(Debug, Clone)]
pub struct Meter {
    shared: Arc<Shared>,
}

impl Meter {
    /// The resident memory of an instance's group and of its members' descendants in bytes, memory
    /// that they share counted for each; `None` if it is not running or the system does not tell. Reads the
    /// process table, which takes a few milliseconds.
    pub fn memory(&self, name: &str) -> Option<u64> {
        let processes = self.processes(name).into_iter();
        processes
            .filter_map(resident_bytes)
            .reduce(|sum, bytes| sum + bytes)
    }

    /// The ids of the processes of an instance's group and of its members' descendants; none if it is
    /// not running. Reads the process table, which takes a few milliseconds.
    pub fn processes(&self, name: &str) -> Vec<i32> {
        let Ok((_, running)) = self.shared.alive(name) else {
            return Vec::new();
        };
        let strays = running.group.strays();
        let strays = strays.into_iter().map(|stray| stray.pid);
        running.group.members().into_iter().chain(strays).collect()
    }
}

#[derive(Debug)]
struct Shared {
    recorder: Recorder,
    logs: PathBuf,
    cookie: String,
    guard: Mutex<Option<Guard>>,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    closed: AtomicBool,
    /// How many slots were ever made.
    made: AtomicU64,
}

/// The place of an instance, over all its starts.
#[derive(Debug)]
struct Slot {
    spec: InstanceSpec,
    name: Arc<str>,
    /// By which its processes are known among those of the run.
    cookie: String,
    look: Look,
    stop_signal: Signal,
    output: Arc<Output>,
    process: Mutex<Option<Arc<Running>>>,
}

/// One start of an instance.
#[derive(Debug)]
struct Running {
    group: Group,
    intent: Mutex<Intent>,
    life: watch::Sender<Life>,
    /// Whether it was ready once.
    was_ready: AtomicBool,
}

/// What we have asked of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Run,
    Kill,
    Stop,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    Runs,
    /// The leader is gone; its last output may still come.
    Ended,
    /// Its end is recorded.
    Recorded(String),
}

impl Running {
    fn is_alive(&self) -> bool {
        *self.life.borrow() == Life::Runs
    }

    /// Waits for the end to be recorded and says how it ended.
    async fn ended(&self) -> String {
        let mut life = self.life.subscribe();
        let recorded = life.wait_for(|life| matches!(life, Life::Recorded(_)));
        match recorded.await.as_deref() {
            Ok(Life::Recorded(status)) => status.clone(),
            _ => "ended".to_owned(),
        }
    }
}

impl Keeper {
    /// A keeper whose guard is [`program::again`], which must call [`super::guard::main`] when its
    /// first argument is [`super::guard::ARGUMENT`]. Logs go to `logs`, which is created. `run_id`
    /// tells this run's processes from another's; it is made unique here.
    pub fn new(recorder: Recorder, logs: PathBuf, run_id: String) -> io::Result<Self> {
        Self::with_guard(recorder, logs, run_id, &program::again()?)
    }

    /// As [`Keeper::new`], with another executable as the guard: for programs that only use the
    /// library.
    pub fn with_guard(
        recorder: Recorder,
        logs: PathBuf,
        run_id: String,
        guard: &Path,
    ) -> io::Result<Self> {
        let cookie = unique(&run_id);
        let guard = Guard::launch(guard, &cookie)?;
        Self::made(recorder, logs, cookie, Some(guard))
    }

    fn made(
        recorder: Recorder,
        logs: PathBuf,
        cookie: String,
        guard: Option<Guard>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&logs)?;
        Ok(Self {
            shared: Arc::new(Shared {
                recorder,
                logs,
                cookie,
                guard: Mutex::new(guard),
                slots: Mutex::new(BTreeMap::new()),
                closed: AtomicBool::new(false),
                made: AtomicU64::new(0),
            }),
        })
    }

    /// A keeper without a guard, for runs that start nothing: an instance that is to be started all the
    /// same is refused.
    pub fn unguarded(recorder: Recorder, logs: PathBuf, run_id: String) -> io::Result<Self> {
        Self::made(recorder, logs, unique(&run_id), None)
    }

    /// Takes an instance in without starting it, so that [`Keeper::restart`] can start it later.
    /// Its log is opened, so that a bad path shows now.
    pub fn register(&self, spec: InstanceSpec) -> Result<(), StartError> {
        let mut slots = self.shared.slots.lock();
        self.shared.register(&mut slots, spec).map(drop)
    }

    /// Starts an instance and waits until it is ready. One that is not ready in time is killed, and
    /// one at whose address somebody listens already is not started: he would be taken for it.
    /// Several may be started at once.
    pub async fn start(&self, spec: InstanceSpec) -> Result<(), StartError> {
        // What cannot be looked at is refused when it is registered.
        if let Ok(look) = Look::new(&spec.ready) {
            self.shared
                .untaken(&spec.name, &look, Instant::now())
                .await?;
        }
        let (slot, running) = self.shared.register_and_spawn(spec)?;
        self.shared.await_ready(&slot, &running).await
    }

    /// Starts a registered instance that is not running, once an earlier kill of ours has taken
    /// effect and its address is free, and returns without waiting for readiness; `ready` is recorded
    /// when it is, and `not-ready` when it is not in time (the instance is then killed). Where it
    /// cannot be started at all, `not-started` is.
    pub async fn restart(&self, name: &str) -> Result<(), StartError> {
        let slot = self
            .shared
            .slot(name)
            .ok_or_else(|| StartError::Unknown(name.to_owned()))?;
        let running = match self.shared.spawn_again(&slot).await {
            Ok(running) => running,
            Err(error) => {
                self.shared.record_not_started(&slot, &error);
                return Err(error);
            }
        };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // The failure is in the history: `not-ready`, or `exited`.
            let _ = shared.await_ready(&slot, &running).await;
        });
        Ok(())
    }

    /// Whether an instance runs that was not ready yet and whose time to be is not over.
    pub fn is_any_starting(&self) -> bool {
        let slots = self.shared.slots.lock();
        slots.values().any(|slot| {
            let running = slot.process.lock();
            let mut running = running.iter();
            running.any(|one| one.is_alive() && !one.was_ready.load(Ordering::SeqCst))
        })
    }

    /// SIGKILL to the whole group of an instance and to whoever left it: its children in groups and
    /// sessions of their own, and what it started that has lost its parents. Returns once all of
    /// them are gone and nobody accepts connections at its address any more.
    ///
    /// # Errors
    /// It does not run; or 5 s later somebody of it still does, or somebody still serves at its
    /// address: then it was not killed, whatever the history says of the signal.
    pub async fn kill(&self, name: &str) -> Result<(), SignalError> {
        let (slot, running) = self.shared.alive(name)?;
        let killed = Some(Intent::Kill);
        let known = self
            .shared
            .signal(&slot, &running, Signal::KILL, "killed", killed)?;
        let until = Instant::now() + GONE_WITHIN;
        self.shared.gone(&slot, &running, known, until).await?;
        self.shared.unserved(&slot, until).await
    }

    /// SIGSTOP to the whole group of an instance and to whoever left it, see [`Keeper::kill`].
    /// Returns once all of them stand still.
    ///
    /// # Errors
    /// It does not run; or 5 s later somebody of it still goes on.
    pub async fn pause(&self, name: &str) -> Result<(), SignalError> {
        let (slot, running) = self.shared.alive(name)?;
        let known = self
            .shared
            .signal(&slot, &running, Signal::STOP, "paused", None)?;
        let until = Instant::now() + GONE_WITHIN;
        self.shared.stopped(&slot, &running, known, until).await
    }

    /// SIGCONT to the whole group of an instance and to whoever left it, see [`Keeper::kill`].
    pub fn resume(&self, name: &str) -> Result<(), SignalError> {
        let (slot, running) = self.shared.alive(name)?;
        self.shared
            .signal(&slot, &running, Signal::CONT, "resumed", None)
            .map(drop)
    }

    /// Whether an instance was started and has not exited. A paused one is alive.
    pub fn is_alive(&self, name: &str) -> bool {
        self.shared.alive(name).is_ok()
    }

    /// The process ids of an instance's group; off Linux its leader's alone. Empty if not running.
    pub fn pids(&self, name: &str) -> Vec<i32> {
        self.shared
            .alive(name)
            .map_or_else(|_| Vec::new(), |(_, running)| running.group.members())
    }

    /// The resident memory of an instance's group, see [`Meter::memory`].
    pub fn memory(&self, name: &str) -> Option<u64> {
        self.meter().memory(name)
    }

    /// What measures the instances. It keeps nothing alive but the keeper's own lists.
    pub fn meter(&self) -> Meter {
        Meter {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The last lines that an instance printed in its latest start, at most 50.
    pub fn last_output(&self, name: &str, lines: usize) -> Vec<String> {
        self.shared
            .slot(name)
            .map_or_else(Vec::new, |slot| slot.output.last(lines))
    }

    /// The environment variable by which this run's processes are known, and its value: whatever
    /// else is started for the run must carry it, so that it is ended with the run on every way
    /// out.
    pub fn mark(&self) -> (&'static str, OsString) {
        (COOKIE, nested(&self.shared.cookie))
    }

    /// Asks every instance to stop by its signal, paused ones too, kills what has not stopped in
    /// its time, and then everything else that carries the run's cookie. Afterwards nothing can be
    /// started any more.
    pub async fn stop_all(&self) {
        let slots = self.shared.close();
        join_all(slots.iter().map(|slot| self.shared.stop(slot))).await;
        let guard = self.shared.guard.lock().take();
        if let Some(mut guard) = guard {
            // Its few milliseconds are spent waiting for another process.
            let _ = tokio::task::spawn_blocking(move || guard.finish()).await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for slot in self.shared.close() {
            if let Some(running) = &*slot.process.lock() {
                self.shared.tell_strays(running.group);
                let _ = running.group.signal(Signal::KILL);
            }
        }
        drop(self.shared.guard.lock().take());
    }
}

impl Shared {
    fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.slots.lock().get(name).cloned()
    }

    fn alive(&self, name: &str) -> Result<(Arc<Slot>, Arc<Running>), SignalError> {
        let slot = self
            .slot(name)
            .ok_or_else(|| SignalError::Unknown(name.to_owned()))?;
        let running = slot.process.lock().clone();
        match running.filter(|running| running.is_alive()) {
            Some(running) => Ok((slot, running)),
            None => Err(SignalError::NotRunning(name.to_owned())),
        }
    }

    /// From here on nothing is started; what was is returned.
    fn close(&self) -> Vec<Arc<Slot>> {
        self.closed.store(true, Ordering::SeqCst);
        self.slots.lock().values().cloned().collect()
    }

    /// Both under one lock, so that two starts of one name cannot pass each other.
    fn register_and_spawn(
        self: &Arc<Self>,
        spec: InstanceSpec,
    ) -> Result<(Arc<Slot>, Arc<Running>), StartError> {
        let mut slots = self.slots.lock();
        let slot = self.register(&mut slots, spec)?;
        let running = self.spawn(&slot)?;
        Ok((slot, running))
    }

    fn register(
        &self,
        slots: &mut BTreeMap<String, Arc<Slot>>,
        spec: InstanceSpec,
    ) -> Result<Arc<Slot>, StartError> {
        if let Some(known) = slots.get(&spec.name)
            && known.is_running()
        {
            return Err(StartError::AlreadyRunning(spec.name));
        }
        let nth = self.made.fetch_add(1, Ordering::Relaxed);
        let cookie = format!("{}.{nth}", self.cookie);
        let slot = Arc::new(Slot::new(spec, &self.logs, cookie)?);
        slots.insert(slot.spec.name.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Starts the process and everything that watches it.
    fn spawn(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<Arc<Running>, StartError> {
        // Held over the whole start: whoever closes the keeper finds the process or prevents it.
        let mut place = slot.process.lock();
        if place.as_ref().is_some_and(|running| running.is_alive()) {
            return Err(StartError::AlreadyRunning(slot.spec.name.clone()));
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(StartError::Closed(slot.spec.name.clone()));
        }
        slot.output.begin();
        let mut child = slot.command(&self.cookie)?;
        let group = child.id().and_then(Group::of_leader);
        let group = group.ok_or_else(|| slot.wrong("it ended at once"))?;
        if let Err(error) = self.tell_guard(|guard| guard.tell_group(group)) {
            let _ = group.signal(Signal::KILL);
            let name = slot.spec.name.clone();
            return Err(StartError::Guard { name, error });
        }
        let running = Arc::new(Running {
            group,
            intent: Mutex::new(Intent::Run),
            life: watch::Sender::new(Life::Runs),
            was_ready: AtomicBool::new(false),
        });
        *place = Some(Arc::clone(&running));
        self.record(slot, self.recorder.now(), "started", true, None);
        let pumps = slot.pumps(&mut child);
        tokio::spawn(Arc::clone(self).attend(Arc::clone(slot), Arc::clone(&running), child, pumps));
        Ok(running)
    }

    /// Starts the process once the one before it is gone and its address is free.
    async fn spawn_again(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<Arc<Running>, StartError> {
        let before = slot.process.lock().clone();
        if let Some(before) = before.filter(|before| *before.intent.lock() != Intent::Run) {
            let _ = timeout(GONE_WITHIN, before.ended()).await;
        }
        let until = Instant::now() + GONE_WITHIN;
        self.untaken(&slot.spec.name, &slot.look, until).await?;
        self.spawn(slot)
    }

    /// That an instance does not run which should. Whether a guard is there is our business and not
    /// its own.
    fn record_not_started(&self, slot: &Slot, error: &StartError) {
        let ours = match error {
            StartError::AlreadyRunning(_) | StartError::Unknown(_) | StartError::Closed(_) => {
                return;
            }
            StartError::Guard { .. } => true,
            _ => false,
        };
        let detail = Some(error.to_string());
        self.record(slot, self.recorder.now(), "not-started", ours, detail);
    }

    fn tell_guard(&self, tell: impl FnOnce(&mut Guard) -> io::Result<()>) -> io::Result<()> {
        match &mut *self.guard.lock() {
            Some(guard) => tell(guard),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Tells the guard who left the group, while their parents still show whose they are.
    fn tell_strays(&self, group: Group) {
        for stray in group.strays() {
            let _ = self.tell_guard(|guard| guard.tell_stray(&stray));
        }
    }

    /// Waits for the end of a process, notices it at once and records it.
    async fn attend(
        self: Arc<Self>,
        slot: Arc<Slot>,
        running: Arc<Running>,
        mut child: Child,
        pumps: Vec<JoinHandle<()>>,
    ) {
        let status = match child.wait().await {
            Ok(status) => status_in_words(status),
            Err(error) => format!("lost sight of it: {error}"),
        };
        let at = self.recorder.now();
        let intent = *running.intent.lock();
        running.life.send_replace(Life::Ended);
        if intent != Intent::Stop {
            // Workers that outlive their leader would hold ports and carry on as if all was well.
            let _ = slot.signal_everybody(running.group, Signal::KILL);
        }
        let _ = timeout(LAST_OUTPUT_WITHIN, join_all(pumps)).await;
        let event = if intent == Intent::Stop {
            "stopped"
        } else {
            "exited"
        };
        let detail = slot.detail(&status);
        self.record(&slot, at, event, intent != Intent::Run, Some(detail));
        if running.group.members().is_empty() {
            let _ = self.tell_guard(|guard| guard.tell_gone(running.group));
        }
        running.life.send_replace(Life::Recorded(status));
    }

    async fn await_ready(&self, slot: &Slot, running: &Running) -> Result<(), StartError> {
        let looked = tokio::select! {
            biased;
            status = running.ended() => return Err(slot.exited(status)),
            looked = slot.look.until_ready(slot.spec.ready_within) => looked,
        };
        if !running.is_alive() {
            // Somebody else answered at its address.
            return Err(slot.exited(running.ended().await));
        }
        let at = self.recorder.now();
        let Err(last) = looked else {
            self.record(slot, at, "ready", true, None);
            running.was_ready.store(true, Ordering::SeqCst);
            return Ok(());
        };
        let output = slot.output.last(LINES_SHOWN);
        self.record(slot, at, "not-ready", false, Some(last.clone()));
        let killed = self.signal(slot, running, Signal::KILL, "killed", Some(Intent::Kill));
        let until = Instant::now() + GONE_WITHIN;
        let _ = self
            .gone(slot, running, killed.unwrap_or_default(), until)
            .await;
        Err(StartError::NotReady {
            name: slot.spec.name.clone(),
            within: slot.spec.ready_within,
            last,
            output,
        })
    }

    /// Signals everybody of an instance and records it, after noting what is meant by it; returns
    /// who they were. Who is to stop is asked by the group alone: whoever left it is led by them.
    fn signal(
        &self,
        slot: &Slot,
        running: &Running,
        signal: Signal,
        event: &str,
        meant: Option<Intent>,
    ) -> Result<Vec<Process>, SignalError> {
        // Held until the event is recorded: the exit that it causes asks for it first.
        let mut intent = running.intent.lock();
        *intent = meant.unwrap_or(*intent);
        let at = self.recorder.now();
        let signalled = match meant {
            Some(Intent::Stop) => running.group.signal(signal).map(|()| Vec::new()),
            _ => slot.signal_everybody(running.group, signal),
        };
        let everybody = signalled.map_err(|error| SignalError::Refused {
            name: slot.spec.name.clone(),
            error: error.into(),
        })?;
        self.record(slot, at, event, true, None);
        Ok(everybody)
    }

    /// Kills until nobody of an instance is left, its end recorded.
    async fn gone(
        &self,
        slot: &Slot,
        running: &Running,
        mut known: Vec<Process>,
        until: Instant,
    ) -> Result<(), SignalError> {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            let mut left = running.group.everybody(&slot.cookie, &known);
            quiet = if left.is_empty() { quiet + 1 } else { 0 };
            if Instant::now() >= until && !left.is_empty() {
                return Err(slot.unmoved("still run", &left));
            }
            for process in &left {
                process.signal(Signal::KILL);
            }
            left.retain(|one| !known.iter().any(|other| other.is_same(one)));
            known.extend(left);
            sleep(LOOK_EVERY).await;
        }
        let _ = timeout(GONE_WITHIN, running.ended()).await;
        Ok(())
    }

    /// Waits until everybody of an instance stands still.
    async fn stopped(
        &self,
        slot: &Slot,
        running: &Running,
        known: Vec<Process>,
        until: Instant,
    ) -> Result<(), SignalError> {
        loop {
            let mut moving = running.group.everybody(&slot.cookie, &known);
            moving.retain(|process| !process.is_stopped());
            if moving.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(slot.unmoved("still go on", &moving));
            }
            for process in &moving {
                process.signal(Signal::STOP);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until nobody accepts connections at the address of an instance that does not run; the
    /// error is the address. Where another one that runs has the same address, nothing is to be
    /// seen there.
    async fn free(&self, look: &Look, until: Instant) -> Result<(), String> {
        let Some(address) = look.address() else {
            return Ok(());
        };
        let mut accepted = false;
        while !self.is_served_by_ours(address) {
            // Whoever accepted and has no room left has not gone.
            accepted = accepts(address).await.unwrap_or(accepted);
            if !accepted {
                break;
            }
            if Instant::now() >= until {
                return Err(address.to_owned());
            }
            sleep(CONNECT_EVERY).await;
        }
        Ok(())
    }

    /// That nobody serves any more where an instance was killed.
    async fn unserved(&self, slot: &Slot, until: Instant) -> Result<(), SignalError> {
        let free = self.free(&slot.look, until).await;
        free.map_err(|address| SignalError::StillServed {
            name: slot.spec.name.clone(),
            address,
        })
    }

    /// That nobody serves yet where an instance is to be started.
    async fn untaken(&self, name: &str, look: &Look, until: Instant) -> Result<(), StartError> {
        let free = self.free(look, until).await;
        free.map_err(|address| StartError::Taken {
            name: name.to_owned(),
            address,
        })
    }

    /// Whether an instance that runs has this address.
    fn is_served_by_ours(&self, address: &str) -> bool {
        let slots = self.slots.lock();
        let mut slots = slots.values();
        slots.any(|slot| slot.look.address() == Some(address) && slot.is_running())
    }

    /// Stops one instance: its signal, then KILL.
    async fn stop(&self, slot: &Slot) {
        let Some(running) = slot.process.lock().clone() else {
            return;
        };
        if running.is_alive() {
            self.tell_strays(running.group);
            let meant = Some(Intent::Stop);
            let _ = self.signal(slot, &running, slot.stop_signal, "stopping", meant);
            // Who is paused takes the signal only once he goes on.
            let _ = slot.signal_everybody(running.group, Signal::CONT);
            let until = Instant::now() + slot.spec.stop_within;
            emptied(running.group, until).await;
        }
        let _ = running.group.signal(Signal::KILL);
        emptied(running.group, Instant::now() + GONE_WITHIN).await;
        let _ = timeout(GONE_WITHIN, running.ended()).await;
    }

    fn record(&self, slot: &Slot, at: Micros, event: &str, ours: bool, detail: Option<String>) {
        self.recorder.record(Observation::Process(ProcessEvent {
            at,
            instance: Arc::clone(&slot.name),
            event: event.to_owned(),
            ours,
            detail,
        }));
    }
}

/// Waits until nobody in a group runs any more.
async fn emptied(group: Group, until: Instant) {
    while !group.members().is_empty() && Instant::now() < until {
        sleep(LOOK_EVERY).await;
    }
}

impl Slot {
    fn new(spec: InstanceSpec, logs: &Path, cookie: String) -> Result<Self, StartError> {
        let wrong = |what: String| StartError::Spec {
            name: spec.name.clone(),
            what,
        };
        let look = Look::new(&spec.ready).map_err(wrong)?;
        let stop_signal = signal_named(spec.stop_signal)
            .ok_or_else(|| wrong(format!("unknown signal `{}`", spec.stop_signal)))?;
        let log = logs.join(format!("{}.log", file_name(&spec.name)));
        let output = Output::create(&log, LOG_BYTES_MAX)
            .map_err(|error| wrong(format!("cannot write its log {}: {error}", log.display())))?;
        Ok(Self {
            name: spec.name.as_str().into(),
            cookie,
            look,
            stop_signal,
            output,
            process: Mutex::new(None),
            spec,
        })
    }

    fn is_running(&self) -> bool {
        let running = self.process.lock();
        running.as_ref().is_some_and(|running| running.is_alive())
    }

    /// Signals the group, and whoever belongs to the instance and left the group, each once;
    /// returns who they were. Who left is looked for first, while their parents show whose they
    /// are.
    fn signal_everybody(&self, group: Group, signal: Signal) -> rustix::io::Result<Vec<Process>> {
        let everybody = group.everybody(&self.cookie, &[]);
        group.signal(signal)?;
        for stray in everybody.iter().filter(|one| one.group != group.pid) {
            stray.signal(signal);
        }
        Ok(everybody)
    }

    fn unmoved(&self, still: &'static str, who: &[Process]) -> SignalError {
        SignalError::Unmoved {
            name: self.spec.name.clone(),
            still,
            pids: who.iter().map(|process| process.pid).collect(),
            within: GONE_WITHIN,
        }
    }

    fn wrong(&self, what: &str) -> StartError {
        StartError::Spec {
            name: self.spec.name.clone(),
            what: what.to_owned(),
        }
    }

    /// Starts the process itself.
    fn command(&self, cookie: &str) -> Result<Child, StartError> {
        let (program, arguments) = self
            .spec
            .argv
            .split_first()
            .ok_or_else(|| self.wrong("no program to start"))?;
        let folder = std::path::absolute(&self.spec.folder)
            .ok()
            .filter(|folder| folder.is_dir())
            .ok_or_else(|| {
                self.wrong(&format!("no such folder: {}", self.spec.folder.display()))
            })?;
        // Left to the system, a relative program would be looked up from either folder.
        let program = if program.contains('/') {
            folder.join(program)
        } else {
            PathBuf::from(program)
        };
        Command::new(&program)
            .args(arguments)
            .env_remove(TOKEN)
            .envs(&self.spec.env)
            .env(COOKIE, nested(&format!("{cookie}:{}", self.cookie)))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| StartError::Spawn {
                name: self.spec.name.clone(),
                program: program.display().to_string(),
                error,
            })
    }

    fn pumps(&self, child: &mut Child) -> Vec<JoinHandle<()>> {
        let out = child.stdout.take();
        let err = child.stderr.take();
        let out = out.map(|stream| tokio::spawn(Arc::clone(&self.output).pump(stream)));
        let err = err.map(|stream| tokio::spawn(Arc::clone(&self.output).pump(stream)));
        out.into_iter().chain(err).collect()
    }

    fn exited(&self, status: String) -> StartError {
        StartError::Exited {
            name: self.spec.name.clone(),
            status,
            output: self.output.last(LINES_SHOWN),
        }
    }

    /// How it ended, and what it said last.
    fn detail(&self, status: &str) -> String {
        let output = self.output.last(LINES_SHOWN);
        if output.is_empty() {
            return status.to_owned();
        }
        format!("{status}; last output:\n{}", output.join("\n"))
    }
}

/// A cookie that no other keeper has, without the characters that have a meaning in it.
fn unique(run_id: &str) -> String {
    static KEEPERS: AtomicU64 = AtomicU64::new(1);
    let nth = KEEPERS.fetch_add(1, Ordering::Relaxed);
    let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!(
        "{}.{}.{nth}.{}",
        file_name(run_id),
        std::process::id(),
        since_epoch.as_micros()
    )
}

/// The cookie behind those of the runs around this one, which must find our instances too.
fn nested(cookie: &str) -> OsString {
    let mut value = std::env::var_os(COOKIE).unwrap_or_default();
    if !value.is_empty() {
        value.push(":");
    }
    value.push(cookie);
    value
}

/// A name without characters that mean something in a path.
fn file_name(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            letter if letter.is_alphanumeric() => letter,
            '-' | '_' => letter,
            _ => '_',
        })
        .collect()
}

fn signal_named(name: &str) -> Option<Signal> {
    Some(match name {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => return None,
    })
}

/// "exit status 3", "killed by signal 9 (KILL)".
fn status_in_words(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exit status {code}");
    }
    let Some(number) = status.signal() else {
        return status.to_string();
    };
    let known = [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::HUP, "HUP"),
        (Signal::KILL, "KILL"),
        (Signal::ABORT, "ABRT"),
        (Signal::SEGV, "SEGV"),
        (Signal::BUS, "BUS"),
        (Signal::ILL, "ILL"),
        (Signal::FPE, "FPE"),
        (Signal::PIPE, "PIPE"),
    ];
    let name = known
        .iter()
        .find(|(signal, _)| signal.as_raw() == number)
        .map_or_else(String::new, |(_, name)| format!(" ({name})"));
    format!("killed by signal {number}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_in_words() {
        for (raw, words) in [
            (0, "exit status 0"),
            (3 << 8, "exit status 3"),
            (9, "killed by signal 9 (KILL)"),
            (15, "killed by signal 15 (TERM)"),
            (11 | 0x80, "killed by signal 11 (SEGV)"),
        ] {
            assert_eq!(status_in_words(ExitStatus::from_raw(raw)), words);
        }
    }

    #[test]
    fn two_keepers_of_the_same_run_id_have_different_cookies() {
        let (one, other) = (unique("a:b/c"), unique("a:b/c"));
        assert_ne!(one, other);
        assert!(one.starts_with("a_b_c."), "{one}");
        assert!(!one.contains([':', ' ', '\n', '=']), "{one}");
    }
}
