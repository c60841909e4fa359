//! `brownout metastability`: the trigger from which a system does not come back.
//!
//! Every run is a scenario of its own, written beside its history, so that it can be run and judged
//! like any other. What is tried next and where the boundary lies is decided by
//! [`crate::metastability`]; here it is only carried out.

mod plan;

use super::{
    Exit, Failure, args::Metastability as Args, interrupt::Interrupt, outputs::HISTORY,
    paths::in_words, progress::Progress, say,
};
use crate::{
    history::History,
    input::{Problems, Source},
    metastability::{
        Boundary, Ended, HiddenCapacity, METASTABILITY_VERSION, MetastabilityReport, Next, Point,
        Probe, ProbeEnd, Requirement, Search, SearchReport, Side, Varied, measure,
    },
    report::metastability as reports,
    run::{Ending, Events, Options, RunError},
    scenario::{Scenario, System, from_texts},
    seed::Seed,
};
use futures_util::{StreamExt, stream};
use plan::{Plan, Setting, Written};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

/// With less of its operations answered before the trigger a load is too much in itself.
const HEALTHY: f64 = 0.95;

/// The fewest runs that a requirement holds by: five of five from a coin are rarer than one in twenty.
const HOLDS_BY: u64 = 5;

/// Carries it out.
pub fn metastability(args: &Args) -> Result<Exit, Failure> {
    let plan = Plan::new(args)?;
    let mut json = created(&args.out, "metastability.json")?;
    let mut html = created(&args.out, "metastability.html")?;
    let progress = Progress::new(args.quiet, false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (report, not_started) = runtime.block_on(searched(&plan, &progress))?;
    let written = json
        .1
        .write_all(&reports::json(&report))
        .and(html.1.write_all(&reports::html(&report)));
    let mut text = reports::terminal(&report);
    for (path, _) in [&json, &html] {
        text.extend_from_slice(format!("written   {}\n", path.display()).as_bytes());
    }
    say::data(&text)?;
    written?;
    Ok(exit(&report, not_started))
}

/// A file of the report, opened before anything begins.
fn created(folder: &Path, name: &str) -> Result<(PathBuf, File), Failure> {
    let path = folder.join(name);
    let file = fs::create_dir_all(folder).and_then(|()| File::create(&path));
    match file {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(Failure::usage(
            format!("cannot write `{}`: {}", path.display(), in_words(&error)),
            "name another folder with `--out DIR`; nothing was started",
        )),
    }
}

/// What a build is told.
fn exit(report: &MetastabilityReport, not_started: bool) -> Exit {
    let hidden = report.hidden_capacity.as_ref().map(|hidden| &hidden.search);
    let searches = || [Some(&report.search), hidden].into_iter().flatten();
    if searches().any(|search| search.ended == Ended::Interrupted) {
        return Exit::Interrupted;
    }
    let unknown = searches().any(|search| search.boundary == Boundary::Unknown);
    match report.require.as_ref().map(|require| require.held) {
        _ if not_started && unknown => Exit::NotStarted,
        Some(Some(false)) => Exit::Fail,
        Some(Some(true)) => Exit::Pass,
        Some(None) => Exit::Inconclusive,
        None if unknown => Exit::Inconclusive,
        None => Exit::Pass,
    }
}

/// Everything that was found, and whether a run could not be started.
async fn searched(
    plan: &Plan,
    progress: &Progress,
) -> Result<(MetastabilityReport, bool), Failure> {
    let began = jiff::Timestamp::now().to_string();
    let interrupt = Interrupt::listen(progress.clone())?;
    let mut runner = Runner {
        plan,
        progress,
        interrupt: &interrupt,
        began: Instant::now(),
        runs: 0,
        sizes: 0,
        not_started: false,
    };
    let first = plan.require;
    let search = runner.search(plan.trigger_search(), first).await;
    let hidden_capacity = match plan.reference {
        Some(size) if !interrupt.asked() => Some(HiddenCapacity {
            trigger: plan.trigger_in_words(size),
            search: runner.search(plan.load_search(size), None).await,
        }),
        _ => None,
    };
    interrupt.unless_nobody_looks(progress.shown()).await;
    let not_started = runner.not_started;
    let require = plan.require.map(|size| required(plan, size, &search));
    let report = MetastabilityReport {
        version: METASTABILITY_VERSION,
        brownout: env!("CARGO_PKG_VERSION").to_owned(),
        began,
        seed: plan.seed.0,
        system: plan.system.name.to_string(),
        dependency: plan.dependency.clone(),
        load: plan.load.clone(),
        rate: plan.rate,
        trigger: plan.trigger(),
        capacity: plan.capacity.clone(),
        watch_us: u64::try_from(plan.watch.as_micros()).unwrap_or(u64::MAX),
        watch_because: plan.watch_because.to_owned(),
        repeats: plan.repeats,
        search,
        hidden_capacity,
        require,
    };
    Ok((report, not_started))
}

/// Whether the system came back from everything up to this size. A system that now and then does not
/// does not.
fn required(plan: &Plan, size: f64, search: &SearchReport) -> Requirement {
    let shown = plan.shown(plan.varied, size);
    let within: Vec<&Point> = search
        .points
        .iter()
        .filter(|point| point.size <= size)
        .collect();
    let wedged: u64 = within.iter().map(|point| point.tally.wedged).sum();
    let all: u64 = within.iter().map(|point| point.tally.told()).sum();
    let own = within.iter().find(|point| point.size == size);
    let (held, why) = match own {
        _ if wedged > 0 => (
            Some(false),
            format!("of {all} runs of {shown} or less {wedged} did not"),
        ),
        Some(own) if own.side == Side::Recovers && own.tally.told() >= HOLDS_BY => (
            Some(true),
            format!(
                "all {} runs of it did ({:.0}% sure)",
                own.tally.told(),
                own.tally.confidence() * 100.0
            ),
        ),
        Some(own) if own.tally.told() > 0 => (
            None,
            format!(
                "of it {} could be measured, and {HOLDS_BY} are needed",
                match own.tally.told() {
                    1 => "1 run".to_owned(),
                    told => format!("{told} runs"),
                }
            ),
        ),
        _ => (None, "no run of it could be measured".to_owned()),
    };
    Requirement {
        size,
        shown,
        held,
        why,
    }
}

/// What is searched: the sizes, and what a run of one is.
pub(super) struct Sought<'a> {
    settings: crate::metastability::Settings,
    varied: Varied,
    setting: Box<dyn Fn(f64) -> Setting + 'a>,
}

/// Carries runs out.
struct Runner<'a> {
    plan: &'a Plan,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    began: Instant,
    /// Runs so far, by which each has a seed of its own.
    runs: u32,
    /// Sizes so far, by which each has a folder of its own.
    sizes: u32,
    not_started: bool,
}

impl Runner<'_> {
    /// Searches; `first` is tried before anything else.
    async fn search(&mut self, sought: Sought<'_>, first: Option<f64>) -> SearchReport {
        let mut search = Search::new(sought.settings);
        let mut points: Vec<Point> = Vec::new();
        let mut pending = first;
        let ended = loop {
            if self.interrupt.asked() {
                break Ended::Interrupted;
            }
            let size = match (pending.take(), search.next()) {
                (Some(size), _) | (None, Next::Try(size)) => size,
                (None, Next::Done) => break Ended::Complete,
            };
            let over = self
                .plan
                .budget
                .is_some_and(|most| self.began.elapsed() > most);
            if over && !points.is_empty() {
                break Ended::Budget;
            }
            let point = self.point(&sought, size).await;
            search.note(size, point.tally);
            points.push(point);
        };
        points.sort_by(|one, other| one.size.total_cmp(&other.size));
        let boundary = search.boundary();
        SearchReport {
            varied: sought.varied,
            boundary,
            shown: boundary.in_words(|size| self.plan.shown(sought.varied, size)),
            steep: SearchReport::steepest(&points),
            points,
            ended,
            monotone: search.is_monotone(),
        }
    }

    /// All runs of one size.
    async fn point(&mut self, sought: &Sought<'_>, size: f64) -> Point {
        let shown = self.plan.shown(sought.varied, size);
        self.sizes += 1;
        let name = format!("{:02}-{}", self.sizes, shown.replace('/', "-per-"));
        let setting = (sought.setting)(size);
        let tasks: Vec<(u32, Seed)> = (1..=self.plan.repeats)
            .map(|nth| (nth, self.plan.seed.of_repeat(self.runs + nth)))
            .collect();
        self.runs += self.plan.repeats;
        let runner = &*self;
        let ran: Vec<(Probe, bool)> = stream::iter(tasks)
            .map(|(nth, seed)| {
                let folder = format!("probes/{name}/run-{nth}");
                Box::pin(runner.probe(setting, folder, seed))
            })
            .buffered(self.plan.jobs)
            .collect()
            .await;
        self.not_started |= ran.iter().any(|(_, not_started)| *not_started);
        let mut probes: Vec<Probe> = ran.into_iter().map(|(probe, _)| probe).collect();
        if sought.varied == Varied::Rate {
            probes.iter_mut().for_each(too_much);
        }
        let point = Point::of(size, shown, probes);
        self.progress.announce_unless_quiet(&format!(
            "{} {}: {} of {} came back{}",
            match sought.varied {
                Varied::Rate => "load",
                _ => "trigger",
            },
            point.shown,
            point.tally.recovered,
            point.tally.told(),
            match point.tally.unmeasured {
                0 => String::new(),
                count => format!(", {count} could not be measured"),
            }
        ));
        point
    }

    /// One run, and whether it could not be started.
    async fn probe(&self, setting: Setting, folder: String, seed: Seed) -> (Probe, bool) {
        let unmeasured = |why: String, not_started: bool| {
            let probe = Probe {
                folder: folder.clone(),
                seed: seed.0,
                end: ProbeEnd::Unmeasured,
                baseline: None,
                recovery_us: None,
                goodput: None,
                amplification: None,
                note: Some(why),
            };
            (probe, not_started)
        };
        let path = self.plan.out.join(&folder);
        let written = self.plan.scenario(setting);
        let (scenario, system) = match prepared(self.plan, &path, &written) {
            Ok(both) => both,
            Err(why) => return unmeasured(why, false),
        };
        let options = Options {
            folder: path.clone(),
            seed,
            speed: 1.0,
        };
        let events = Events::nobody();
        let run = crate::run::run(
            &scenario,
            &system,
            &options,
            &events,
            self.interrupt.gently(),
        );
        let ran = tokio::select! {
            ran = run => ran,
            () = self.interrupt.at_once() => Err(RunError::InterruptedEarly),
        };
        match ran {
            Ok(ran) if ran.ending == Ending::Completed => {}
            Ok(_) | Err(RunError::InterruptedEarly) => {
                return unmeasured("it was interrupted".to_owned(), false);
            }
            Err(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default().to_owned();
                return unmeasured(first, !matches!(error, RunError::Recording { .. }));
            }
        }
        let (plan, own) = (self.plan.clone(), folder.clone());
        let probe = measured(path.join(HISTORY), move |history| {
            measure(history, &plan.asked(&written), own, seed.0)
        });
        match probe.await {
            Ok(probe) => (probe, false),
            Err(why) => unmeasured(why, false),
        }
    }
}

/// What a history shows. Reading it keeps a processor busy; other runs' phases must not wait for it.
async fn measured(
    history: PathBuf,
    measure: impl FnOnce(&History) -> Probe + Send + 'static,
) -> Result<Probe, String> {
    let measured = tokio::task::spawn_blocking(move || {
        let history = History::read(&history).map_err(|error| error.to_string())?;
        Ok(measure(&history))
    });
    let a_bug = |_| Err("a part of Brownout panicked; what it said stands above".to_owned());
    measured.await.unwrap_or_else(a_bug)
}

/// A load that is too much even without a trigger is one from which the system does not come back.
fn too_much(probe: &mut Probe) {
    let ill = probe.baseline.is_some_and(|baseline| baseline < HEALTHY);
    if probe.end == ProbeEnd::Unmeasured && ill {
        probe.end = ProbeEnd::Wedged;
        probe.note = Some("the load alone is too much, before any trigger".to_owned());
    }
}

/// The scenario of a run, written into its folder, and the system.
fn prepared(plan: &Plan, folder: &Path, written: &Written) -> Result<(Scenario, System), String> {
    let file = folder.join("scenario.toml");
    let saved = fs::create_dir_all(folder).and_then(|()| fs::write(&file, &written.text));
    let cannot = |error: io::Error| format!("cannot write {}: {error}", file.display());
    saved.map_err(cannot)?;
    let mut problems = Problems::default();
    let source = Source::new(file.display().to_string(), written.text.clone());
    let both = from_texts(
        source,
        plan.system.clone(),
        plan.folder.clone(),
        &mut problems,
    );
    both.ok_or_else(|| "the scenario of this size is not valid".to_owned())
}

#[cfg(test)]
mod tests;
