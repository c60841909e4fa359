//! What was asked on the command line, checked, and the scenario that each run is.

use super::Sought;
use crate::{
    cli::{
        Failure,
        args::{Metastability as Args, Trigger},
        files,
    },
    fault::FaultId,
    input::{Problems, Source, hint_among, parse_factor},
    metastability::{Asked, HOLD, Settings, Spacing, TriggerReport, Varied, least_rate},
    protocol::Protocol,
    scenario::{Load, System, from_texts, load_system},
    seed::Seed,
    units::{Share, format_duration, parse_duration},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The most sizes that one search tries.
const SIZES_MAX: usize = 16;

/// How long the first phase lasts, in which nothing is in force.
const STEADY: Duration = Duration::from_secs(2);

/// The least and the greatest part of its own rate that a load is tried at.
const RATES: (f64, f64) = (0.1, 4.0);

/// The most of its capacity that a dependency can lose: with none it would be no server.
const CUT_MAX: f64 = 0.99;

/// How many times the patience of load or client the system is watched.
const WATCH_TIMES: u32 = 10;

/// The longest that it is watched unless `--watch` says more: every run of a search takes so long.
const WATCH_MAX: Duration = Duration::from_secs(3600);

const HINT: &str = "`brownout metastability --help` shows examples";

/// Everything that was asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The system's file.
    pub system: Source,
    /// The folder that its relative paths start from.
    pub folder: PathBuf,
    /// The dependency.
    pub dependency: String,
    /// The load.
    pub load: String,
    /// The load's rate, in operations a second.
    pub rate: f64,
    /// What the sizes of the trigger are.
    pub varied: Varied,
    /// The dependency's own capacity.
    pub capacity: Option<String>,
    /// How long the system is watched after the trigger.
    pub watch: Duration,
    /// Why so long.
    pub watch_because: &'static str,
    /// Runs of each size.
    pub repeats: u32,
    /// Of these side by side.
    pub jobs: usize,
    /// The seed.
    pub seed: Seed,
    /// The size from which the system must come back.
    pub require: Option<f64>,
    /// The trigger's size while the load is searched.
    pub reference: Option<f64>,
    /// Begins no further size once this time is over.
    pub budget: Option<Duration>,
    /// Where everything goes.
    pub out: PathBuf,
    kind: Trigger,
    /// The smallest and the largest size.
    between: (f64, f64),
    /// How deep the trigger is, where its length is varied.
    depth: f64,
    /// How long it lasts, where its depth is varied.
    lasts: Duration,
    protocol: Protocol,
    patience: Duration,
    baseline: Duration,
    precision: f64,
}

/// One run: the trigger's size, and how many times its own rate the load has.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The trigger's size.
    pub size: f64,
    /// The load's factor.
    pub factor: f64,
}

/// A scenario with what its measuring must know.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub text: String,
    /// The capacity after the trigger.
    capacity: Vec<FaultId>,
    trigger: Option<FaultId>,
    /// The load's rate in the baseline and the watch.
    rate: f64,
}

impl Plan {
    /// What was asked, if it can be done.
    pub fn new(args: &Args) -> Result<Self, Failure> {
        let mut problems = Problems::default();
        let system = load_system(&args.system, &mut problems);
        files::show(problems)?;
        let system = system.ok_or_else(Failure::shown)?;
        let (dependency, protocol) = dependency(&system, &args.on)?;
        let load = load(&system, args.load.as_deref())?;
        let (varied, between) = range(args)?;
        let size = |text: &Option<String>, option: &str| {
            let parse = |text: &String| {
                sized(varied, text).ok_or_else(|| {
                    usage(format!(
                        "`{option} {text}` is not of the unit of `--between {}`",
                        args.between
                    ))
                })
            };
            text.as_ref().map(parse).transpose()
        };
        let require = size(&args.require, "--require")?;
        if require.is_some_and(|size| size < between.0 || size > between.1) {
            return Err(usage("`--require` is not within `--between`".to_owned()));
        }
        let own = system.dependencies.iter();
        let mut own = own.filter(|one| *one.name == *dependency);
        let declared = own.find_map(|one| one.policy.as_ref()?.lasts());
        let (watch, watch_because) = match args.watch {
            Some(watch) => (watch, "--watch"),
            None => usual_watch(load, declared),
        };
        let plan = Self {
            dependency,
            protocol,
            load: load.name.to_string(),
            rate: load.rate.as_per_second(),
            patience: load.patience(),
            varied,
            between,
            depth: depth(args)?,
            lasts: args.lasts.unwrap_or_default(),
            capacity: args.capacity.clone(),
            watch: watch.max(HOLD * 2),
            watch_because,
            repeats: args.repeats,
            jobs: usize::from(args.jobs),
            seed: args.seed.map_or_else(Seed::fresh, Seed),
            require,
            reference: size(&args.reference, "--reference")?,
            budget: args.budget,
            out: args.out.clone(),
            kind: args.trigger,
            baseline: args.baseline.max(HOLD),
            precision: args.precision.max(0.01),
            folder: system.folder.clone(),
            system: system.source.clone(),
        };
        plan.can_be_done()?;
        Ok(plan)
    }

    /// Whether the scenarios of both ends are valid: their problems are shown otherwise, before
    /// anything is started.
    fn can_be_done(&self) -> Result<(), Failure> {
        let needs = matches!(self.kind, Trigger::Capacity | Trigger::Load);
        if needs && self.capacity.is_none() {
            return Err(usage(
                "this trigger needs to know the dependency's own capacity: add `--capacity`"
                    .to_owned(),
            ));
        }
        for size in [self.between.0, self.between.1] {
            let written = self.scenario(Setting { size, factor: 1.0 });
            let source = Source::new("the scenario made of the options", written.text);
            let mut problems = Problems::default();
            let both = from_texts(
                source,
                self.system.clone(),
                self.folder.clone(),
                &mut problems,
            );
            if both.is_none() {
                files::show(problems)?;
                return Err(Failure::shown());
            }
        }
        Ok(())
    }

    /// The search over the trigger's size.
    pub fn trigger_search(&self) -> Sought<'_> {
        let spacing = match self.varied {
            Varied::Share => Spacing::Even,
            Varied::Duration | Varied::Factor | Varied::Rate => Spacing::Geometric,
        };
        Sought {
            settings: self.settings(self.between, spacing),
            varied: self.varied,
            setting: Box::new(|size| Setting { size, factor: 1.0 }),
        }
    }

    /// The search over the load after a trigger of this size.
    pub fn load_search(&self, size: f64) -> Sought<'_> {
        let high = self.rate * RATES.1;
        // Of a smaller load nothing could be told.
        let least = least_rate(self.baseline, self.watch);
        let rates = ((self.rate * RATES.0).max(least).min(high), high);
        Sought {
            settings: self.settings(rates, Spacing::Geometric),
            varied: Varied::Rate,
            setting: Box::new(move |rate| Setting {
                size,
                factor: rate / self.rate,
            }),
        }
    }

    fn settings(&self, (low, high): (f64, f64), spacing: Spacing) -> Settings {
        Settings {
            low,
            high,
            spacing,
            precision: self.precision,
            sizes_max: SIZES_MAX,
        }
    }

    /// A size in words.
    pub fn shown(&self, varied: Varied, size: f64) -> String {
        let round = |value: f64, steps: f64| (value * steps).round() / steps;
        match varied {
            Varied::Duration => format_duration(time(size)),
            Varied::Share => format!("{}%", round(size * 100.0, 10.0)),
            Varied::Factor => format!("{}x", round(size, 100.0)),
            Varied::Rate => format!("{}/s", round(size, 100.0)),
        }
    }

    /// The trigger as a whole, in words.
    pub fn trigger(&self) -> TriggerReport {
        let name = name(self.kind);
        let what = match self.varied {
            Varied::Duration => self.what(self.depth),
            _ => format!("{name} for {}", format_duration(self.lasts)),
        };
        TriggerReport {
            kind: name.to_owned(),
            what,
        }
    }

    /// The trigger of this size, in words.
    pub fn trigger_in_words(&self, size: f64) -> String {
        let (lasts, depth) = self.lasts_and_depth(size);
        format!("{} for {}", self.what(depth), format_duration(lasts))
    }

    fn what(&self, depth: f64) -> String {
        match self.kind {
            Trigger::Hang | Trigger::Error if depth >= 1.0 => name(self.kind).to_owned(),
            Trigger::Hang | Trigger::Error => {
                format!(
                    "{} of {}",
                    name(self.kind),
                    self.shown(Varied::Share, depth)
                )
            }
            Trigger::Capacity => format!("{} less capacity", self.shown(Varied::Share, depth)),
            Trigger::Load => format!("load of {}", self.shown(Varied::Factor, depth)),
        }
    }

    fn lasts_and_depth(&self, size: f64) -> (Duration, f64) {
        match self.varied {
            Varied::Duration => (time(size), self.depth),
            _ => (self.lasts, size),
        }
    }

    /// What the history of such a run is asked.
    pub fn asked<'a>(&'a self, written: &'a Written) -> Asked<'a> {
        Asked {
            load: &self.load,
            rate: written.rate,
            dependency: &self.dependency,
            phases: [1, 2, 3],
            patience: self.patience,
            capacity: &written.capacity,
            trigger: written.trigger,
        }
    }

    /// The scenario of one run: steady, the baseline at the dependency's own capacity, the trigger,
    /// the watch in which nothing but that capacity is in force.
    pub fn scenario(&self, setting: Setting) -> Written {
        let (lasts, depth) = self.lasts_and_depth(setting.size);
        let own = |scale: Option<f64>| {
            let keys = self.capacity.as_ref()?;
            let scale = scale.map_or_else(String::new, |scale| format!(", scale = {scale:.4}"));
            Some(format!(
                "{{ kind = \"overload\", on = {:?}, {keys}{scale} }}",
                self.dependency
            ))
        };
        let hits = self.hitting(depth);
        let cut = (self.kind == Trigger::Capacity).then_some(1.0 - depth);
        let spike = if self.kind == Trigger::Load {
            depth
        } else {
            1.0
        };
        let phases = [
            ("baseline", self.baseline, 1.0, vec![own(None)]),
            ("trigger", lasts, spike, vec![hits.clone(), own(cut)]),
            ("watch", self.watch + self.patience, 1.0, vec![own(None)]),
        ];
        let mut text = format!(
            "title  = {:?}\nstory  = \"made by brownout metastability\"\nsystem = {:?}\n\n\
             [[phase]]\nname   = \"steady\"\nlasts  = {:?}\nsteady = true\n",
            format!(
                "{} on {}",
                self.trigger_in_words(setting.size),
                self.dependency
            ),
            absolute(&self.system.name),
            format_duration(STEADY),
        );
        let (mut faults, mut capacity, mut trigger) = (0, Vec::new(), None);
        for (name, lasts, spike, own) in phases {
            text.push_str(&format!(
                "\n[[phase]]\nname  = {name:?}\nlasts = {:?}\n",
                format_duration(lasts)
            ));
            if name == "watch" {
                text.push_str("aftermath = true\n");
            }
            let factor = setting.factor * spike;
            if factor != 1.0 {
                text.push_str(&format!(
                    "load  = {{ {:?} = \"{factor:.4}x\" }}\n",
                    self.load
                ));
            }
            let own: Vec<(usize, String)> = own
                .into_iter()
                .enumerate()
                .filter_map(|(place, fault)| Some((place, fault?)))
                .collect();
            for (place, _) in &own {
                let id = FaultId(faults);
                faults += 1;
                if name == "trigger" && *place == 0 {
                    trigger = Some(id);
                } else if name == "watch" {
                    capacity.push(id);
                }
            }
            if !own.is_empty() {
                let faults: Vec<&str> = own.iter().map(|(_, fault)| fault.as_str()).collect();
                text.push_str(&format!("fault = [\n  {},\n]\n", faults.join(",\n  ")));
            }
        }
        text.push_str(&format!(
            "\n[[phase]]\nname  = \"over\"\nlasts = \"1s\"\n\n[[expect]]\nid       = \"BACK\"\n\
             that     = \"it comes back once the trigger is over\"\nkind     = \"success-rate\"\n\
             load     = {:?}\nduring   = \"watch\"\nat_least = \"90%\"\n",
            self.load
        ));
        Written {
            text,
            capacity,
            trigger: trigger.filter(|_| hits.is_some()),
            rate: self.rate * setting.factor,
        }
    }

    /// The fault that hits requests, where the trigger is one.
    fn hitting(&self, depth: f64) -> Option<String> {
        let share = if depth < 1.0 {
            format!(", share = {:?}", self.shown(Varied::Share, depth))
        } else {
            String::new()
        };
        let kind = match (self.kind, self.protocol) {
            (Trigger::Hang, _) => "kind = \"hang\"",
            (Trigger::Error, Protocol::S3) => "kind = \"error\", error = \"SlowDown\"",
            (Trigger::Error, Protocol::Postgres) => "kind = \"error\", error = \"57014\"",
            (Trigger::Error, Protocol::Mysql) => "kind = \"error\", error = \"1205\"",
            (Trigger::Error, Protocol::Redis) => "kind = \"error\", error = \"LOADING\"",
            (Trigger::Error, _) => "kind = \"error\", status = 503",
            (Trigger::Capacity | Trigger::Load, _) => return None,
        };
        Some(format!("{{ {kind}, on = {:?}{share} }}", self.dependency))
    }
}

/// How long is long enough for what a client that waits so long has left in queues to be worked off,
/// and why: its patience is the load's own, or what is declared of the dependency's clients, where that
/// is longer. No longer than [`WATCH_MAX`].
fn usual_watch(load: &Load, declared: Option<Duration>) -> (Duration, &'static str) {
    let declared = declared.filter(|declared| *declared > load.patience());
    let patience = declared.unwrap_or_else(|| load.patience());
    let watch = patience.saturating_mul(WATCH_TIMES);
    let because = match (declared, watch > WATCH_MAX) {
        (Some(_), false) => "ten times what is declared of a failing call: time-out times attempts",
        (Some(_), true) => {
            "the longest without `--watch`: less than ten times what is declared of a failing call"
        }
        (None, false) => "ten times the load's time-out",
        (None, true) => "the longest without `--watch`: less than ten times the load's time-out",
    };
    (watch.min(WATCH_MAX), because)
}

fn usage(message: String) -> Failure {
    Failure::usage(message, HINT)
}

/// How a kind of trigger is called.
const fn name(kind: Trigger) -> &'static str {
    match kind {
        Trigger::Hang => "hang",
        Trigger::Error => "error",
        Trigger::Capacity => "capacity",
        Trigger::Load => "load",
    }
}

/// Seconds, to the millisecond.
fn time(seconds: f64) -> Duration {
    Duration::from_millis((seconds * 1e3).round().max(1.0) as u64)
}

fn absolute(name: &str) -> String {
    let path = std::path::absolute(Path::new(name));
    path.map_or_else(|_| name.to_owned(), |path| path.display().to_string())
}

fn dependency(system: &System, on: &str) -> Result<(String, Protocol), Failure> {
    let all = &system.dependencies;
    let by_name = all.iter().find(|one| *one.name == *on);
    let by_role = || all.iter().find(|one| one.role.as_deref() == Some(on));
    let found = by_name.or_else(by_role);
    found
        .map(|one| (one.name.to_string(), one.protocol))
        .ok_or_else(|| {
            let names = all.iter().map(|one| &*one.name);
            let hint = hint_among(on, names);
            Failure::usage(format!("the system has no dependency `{on}`"), hint)
        })
}

fn load<'a>(system: &'a System, name: Option<&str>) -> Result<&'a Load, Failure> {
    let names = || system.loads.iter().map(|load| &*load.name);
    match (name, system.loads.as_slice()) {
        (None, [one]) => Ok(one),
        (None, []) => Err(usage("the system has no load".to_owned())),
        (None, _) => {
            let names: Vec<&str> = names().collect();
            Err(usage(format!(
                "which load? Add `--load` with one of {}",
                names.join(", ")
            )))
        }
        (Some(name), loads) => loads
            .iter()
            .find(|load| *load.name == *name)
            .ok_or_else(|| {
                let hint = hint_among(name, names());
                Failure::usage(format!("the system has no load `{name}`"), hint)
            }),
    }
}

/// What is varied, and from where to where.
fn range(args: &Args) -> Result<(Varied, (f64, f64)), Failure> {
    let (low, high) = args.between.split_once("..").ok_or_else(|| {
        usage(format!(
            "`--between {}` is no range like 100ms..20s",
            args.between
        ))
    })?;
    let varied = [Varied::Duration, Varied::Share, Varied::Factor]
        .into_iter()
        .find(|varied| sized(*varied, low).is_some() && sized(*varied, high).is_some())
        .ok_or_else(|| {
            usage(format!(
                "`--between {}` is of neither times, shares nor factors",
                args.between
            ))
        })?;
    let between = (
        sized(varied, low).unwrap_or_default(),
        sized(varied, high).unwrap_or_default(),
    );
    if between.0 <= 0.0 || between.0 >= between.1 {
        return Err(usage(format!(
            "`--between {}` does not rise from above zero",
            args.between
        )));
    }
    let wrong = match (varied, args.trigger, args.lasts) {
        (Varied::Duration, _, Some(_)) => {
            Some("`--for` goes with shares or factors in `--between`")
        }
        (Varied::Duration, ..) => None,
        (_, _, None) => Some("how long does the trigger last? Add `--for TIME`"),
        (Varied::Factor, kind, _) if kind != Trigger::Load => {
            Some("factors are for `--trigger load`; give shares, like 10%..100%")
        }
        (Varied::Share, Trigger::Load, _) => Some("`--trigger load` needs factors, like 2x..10x"),
        (Varied::Share, Trigger::Capacity, _) if between.1 > CUT_MAX => {
            Some("of its capacity a dependency can lose 99% at most")
        }
        _ => None,
    };
    wrong.map_or(Ok((varied, between)), |wrong| Err(usage(wrong.to_owned())))
}

/// How deep the trigger is where its length is varied.
fn depth(args: &Args) -> Result<f64, Failure> {
    let Some(text) = &args.depth else {
        return Ok(match args.trigger {
            Trigger::Hang | Trigger::Error => 1.0,
            Trigger::Capacity => CUT_MAX,
            Trigger::Load => 3.0,
        });
    };
    let varied = match args.trigger {
        Trigger::Load => Varied::Factor,
        _ => Varied::Share,
    };
    let most = match args.trigger {
        Trigger::Capacity => CUT_MAX,
        Trigger::Load => f64::MAX,
        _ => 1.0,
    };
    sized(varied, text)
        .filter(|depth| *depth > 0.0 && *depth <= most)
        .ok_or_else(|| {
            usage(format!(
                "`--depth {text}` is no depth of `--trigger {}`",
                name(args.trigger)
            ))
        })
}

/// A size of this sort, if the text is one.
fn sized(varied: Varied, text: &str) -> Option<f64> {
    let text = text.trim();
    match varied {
        Varied::Duration => parse_duration(text).ok().map(|one| one.as_secs_f64()),
        Varied::Share => {
            let number = text.strip_suffix('%')?.trim().parse::<f64>().ok()?;
            Share::new(number / 100.0).map(|_| number / 100.0)
        }
        Varied::Factor => parse_factor(text).ok(),
        Varied::Rate => None,
    }
}
