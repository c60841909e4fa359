//! Which retry storms end and which never do: the table of thresholds for one dependency of 100
//! requests a second, whose clients wait for a second, retry three times at once, and meet a stall
//! of ten seconds, one thing varied at a time.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// When the trigger comes, in seconds.
const TRIGGER: f64 = 30.0;

/// The requests a second that the dependency can carry.
const CAPACITY: f64 = 100.0;

/// A setting. What is not said is as in the module's head.
#[derive(Debug, Clone)]
struct Setting {
    utilisation: f64,
    /// How long the trigger lasts, in seconds, and what the capacity is meanwhile.
    lasts: f64,
    scale: f64,
    servers: u32,
    timeout: f64,
    retries: u32,
    /// The greatest back-off before a retry, drawn with full jitter.
    backoff: f64,
    /// What a call adds to the budget of retries; a retry takes 1 of it.
    budget: Option<f64>,
    bound: Bound,
    order: Order,
    deadline: Option<Duration>,
    cancel: bool,
}

const BASE: Setting = Setting {
    utilisation: 0.70,
    lasts: 10.0,
    scale: 0.0,
    servers: 1,
    timeout: 1.0,
    retries: 3,
    backoff: 0.0,
    budget: None,
    bound: Bound::Unbounded,
    order: Order::Fifo,
    deadline: None,
    cancel: false,
};

/// The most retries that a budget lets through at once.
const BUDGET_MAX: f64 = 10.0;

/// Something that the clients do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Call,
    Attempt(usize),
    TimeOut(Ticket),
    Trigger,
    Relief,
}

#[derive(Debug, Clone, Copy, Default)]
struct Call {
    began: f64,
    attempts: u32,
    is_answered: bool,
}

/// The clients of one dependency.
struct Clients {
    setting: Setting,
    model: Model,
    normal: Arc<Capacity>,
    triggered: Arc<Capacity>,
    steps: BTreeSet<(u64, Step)>,
    calls: Vec<Call>,
    open: BTreeMap<Ticket, usize>,
    budget: f64,
    tickets: u64,
    arrivals: Exponential,
    work: Exponential,
    jitter: ChaCha8Rng,
}

fn at(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

impl Clients {
    fn new(setting: Setting) -> Self {
        let service = Duration::from_secs_f64(f64::from(setting.servers) / CAPACITY);
        let normal = Capacity {
            bound: setting.bound,
            order: setting.order,
            deadline: setting.deadline,
            cancel: setting.cancel,
            ..plain(setting.servers, Law::Exponential(service))
        };
        let triggered = Capacity {
            scale: setting.scale,
            ..normal.clone()
        };
        let relief = TRIGGER + setting.lasts;
        let rate = Duration::from_secs_f64(1.0 / (CAPACITY * setting.utilisation));
        Self {
            model: model(normal.clone()),
            normal: Arc::new(normal),
            triggered: Arc::new(triggered),
            steps: BTreeSet::from([
                (0, Step::Call),
                (at(TRIGGER), Step::Trigger),
                (at(relief), Step::Relief),
            ]),
            calls: Vec::new(),
            open: BTreeMap::new(),
            budget: 0.0,
            tickets: 0,
            arrivals: Exponential::new("calls", rate),
            work: Exponential::new("work", service),
            jitter: random("jitter"),
            setting,
        }
    }

    /// Lets this many seconds pass since the beginning.
    fn run(&mut self, until: f64) {
        loop {
            let step = self.steps.first().map(|(time, _)| *time);
            let turn = self.model.next().map(|next| next.0);
            let Some(now) = step
                .into_iter()
                .chain(turn)
                .min()
                .filter(|now| *now < at(until))
            else {
                return;
            };
            for ended in self.model.take(Micros(now)) {
                self.told(ended);
            }
            if step == Some(now)
                && let Some((_, step)) = self.steps.pop_first()
            {
                self.step(step, now);
            }
        }
    }

    fn step(&mut self, step: Step, now: u64) {
        match step {
            Step::Call => {
                let call = Call {
                    began: now as f64 / 1e6,
                    ..Call::default()
                };
                self.calls.push(call);
                if let Some(share) = self.setting.budget {
                    self.budget = (self.budget + share).min(BUDGET_MAX);
                }
                self.attempt(self.calls.len() - 1, now);
                self.steps
                    .insert((now + 1 + self.arrivals.draw() as u64, Step::Call));
            }
            Step::Attempt(call) => self.attempt(call, now),
            Step::TimeOut(ticket) => {
                if let Some(call) = self.open.remove(&ticket) {
                    self.model.leave(ticket, Micros(now));
                    self.retry(call, now);
                }
            }
            Step::Trigger => self.model.change(Arc::clone(&self.triggered), Micros(now)),
            Step::Relief => self.model.change(Arc::clone(&self.normal), Micros(now)),
        }
    }

    fn attempt(&mut self, call: usize, now: u64) {
        self.tickets += 1;
        self.calls[call].attempts += 1;
        let ticket = Ticket(self.tickets);
        let work = Duration::from_nanos((self.work.draw() * 1e3) as u64);
        self.open.insert(ticket, call);
        self.steps
            .insert((now + at(self.setting.timeout), Step::TimeOut(ticket)));
        self.model.arrive(ticket, work, Micros(now));
    }

    fn told(&mut self, ended: Ended) {
        let Some(call) = self.open.remove(&ended.ticket) else {
            return;
        };
        match ended.how {
            Fate::Served { .. } => self.calls[call].is_answered = true,
            Fate::Refused | Fate::Expired => self.retry(call, ended.at.0),
            Fate::Cancelled => {}
        }
    }

    fn retry(&mut self, call: usize, now: u64) {
        if self.calls[call].attempts > self.setting.retries {
            return;
        }
        if self.setting.budget.is_some() {
            if self.budget < 1.0 {
                return;
            }
            self.budget -= 1.0;
        }
        let unit = (self.jitter.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let wait = at(self.setting.backoff * unit);
        self.steps.insert((now + 1 + wait, Step::Attempt(call)));
    }
}

/// How many seconds after the trigger's end calls are answered again, 95 % of them in each five
/// seconds to come; `None`: at the end of ten minutes still not one in twenty is.
fn recovery(setting: &Setting) -> Option<f64> {
    const WINDOW: f64 = 5.0;
    const UNTIL: f64 = 600.0;
    let mut clients = Clients::new(setting.clone());
    clients.run(UNTIL + 60.0);
    let relief = TRIGGER + setting.lasts;
    let windows = ((UNTIL - relief) / WINDOW) as usize;
    let (mut all, mut answered) = (vec![0.0; windows], vec![0.0; windows]);
    for call in &clients.calls {
        let window = ((call.began - relief) / WINDOW).floor();
        if window >= 0.0 && (window as usize) < windows {
            all[window as usize] += 1.0;
            answered[window as usize] += f64::from(u8::from(call.is_answered));
        }
    }
    let is_bad = |window: &usize| answered[*window] < 0.95 * all[*window];
    let last_bad = (0..windows).rev().find(is_bad);
    let last = windows - 10..windows;
    let share = answered[last.clone()].iter().sum::<f64>() / all[last].iter().sum::<f64>();
    assert!(!(0.05..0.95).contains(&share), "neither nor: {share}");
    (share > 0.5).then(|| last_bad.map_or(0.0, |window| (window + 1) as f64 * WINDOW))
}

fn with(change: impl FnOnce(&mut Setting)) -> Setting {
    let mut setting = BASE;
    change(&mut setting);
    setting
}

/// Checks that each of these recovers in about this many seconds.
fn recover(settings: &[(&str, Setting, f64)]) {
    for (what, setting, expected) in settings {
        let seen = recovery(setting);
        let seen = seen.unwrap_or_else(|| panic!("{what}: never recovered"));
        let (least, most) = (expected / 1.5 - 5.0, (expected * 1.5).max(5.0));
        assert!(
            (least..=most).contains(&seen),
            "{what}: {seen} s, not {expected} s"
        );
    }
}

/// Checks that none of these ever recovers.
fn never_recover(settings: &[(&str, Setting)]) {
    for (what, setting) in settings {
        assert_eq!(recovery(setting), None, "{what}");
    }
}

#[test]
fn a_stall_that_outlasts_the_time_out_is_for_ever_if_retries_pass_the_capacity() {
    never_recover(&[
        ("a stall of 10 s", BASE),
        ("utilisation 0.50", with(|s| s.utilisation = 0.50)),
        (
            "half the capacity for 20 s",
            with(|s| (s.scale, s.lasts) = (0.5, 20.0)),
        ),
        ("a time-out of 5 s", with(|s| s.timeout = 5.0)),
        (
            "ten servers, a stall of 3 s",
            with(|s| (s.servers, s.lasts) = (10, 3.0)),
        ),
    ]);
}

#[test]
fn neither_fewer_retries_nor_back_off_help_while_the_product_is_above_one() {
    never_recover(&[
        ("4 x 0.30", with(|s| s.utilisation = 0.30)),
        ("2 x 0.70", with(|s| s.retries = 1)),
        ("back-off up to 0.1 s", with(|s| s.backoff = 0.1)),
        ("back-off up to 1 s", with(|s| s.backoff = 1.0)),
    ]);
}

#[test]
fn what_stays_below_one_recovers_slowly_and_a_short_stall_at_once() {
    recover(&[
        ("a stall of 0.5 s", with(|s| s.lasts = 0.5), 0.0),
        ("a stall of 1 s", with(|s| s.lasts = 1.0), 0.0),
        ("4 x 0.24", with(|s| s.utilisation = 0.24), 130.0),
        ("4 x 0.20", with(|s| s.utilisation = 0.20), 20.0),
        (
            "2 x 0.45",
            with(|s| (s.utilisation, s.retries) = (0.45, 1)),
            70.0,
        ),
    ]);
}

#[test]
fn each_remedy_ends_the_storm() {
    recover(&[
        ("no retries", with(|s| s.retries = 0), 20.0),
        ("a budget of 10 %", with(|s| s.budget = Some(0.1)), 30.0),
        (
            "what the client has given up is dropped",
            with(|s| s.deadline = Some(DEADLINE)),
            0.0,
        ),
        ("last in, first out", with(|s| s.order = Order::Lifo), 0.0),
        (
            "0.5 s of work wait",
            with(|s| s.bound = Bound::Work(ms(500))),
            0.0,
        ),
        ("the dead are taken out", with(|s| s.cancel = true), 0.0),
    ]);
}

/// The client's time-out less what serving takes: what begins later is answered too late.
const DEADLINE: Duration = Duration::from_millis(900);
