//! What a person sees while a run goes on, all of it on standard error: on a terminal a few lines
//! that keep changing, elsewhere a dated line for whatever happens, nothing with `--quiet`.
//!
//! Standard error may be a pipe that nobody reads. Whoever drives runs therefore never writes there:
//! threads of their own do, which wait for the reader while the runs go on.

use super::so_far::{Preview, SoFar, Told, changed};
use crate::{
    expectation::Verdict,
    report::layout::{WIDTH, wrap},
    run::{Event, Events, FaultTick, LoadTick},
    units::{Micros, format_duration},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// How often the changing lines move on by themselves.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// How many announcements wait for a reader; further ones are lost.
const UNREAD_MAX: usize = 1_000;

/// The progress of all scenarios of a command.
#[derive(Debug, Clone)]
pub struct Progress {
    shows: Shows,
    verbose: bool,
    bars: MultiProgress,
    voice: Voice,
}

/// The thread that writes announcements, one after another.
#[derive(Debug, Clone)]
struct Voice {
    lines: SyncSender<String>,
    /// How many were taken.
    taken: Arc<AtomicU64>,
    /// How many of them are written.
    written: watch::Receiver<u64>,
}

impl Voice {
    /// Each of them is written by `write`.
    fn new(write: impl Fn(&str) + Send + 'static) -> Self {
        let (lines, unread) = sync_channel::<String>(UNREAD_MAX);
        let (count, written) = watch::channel(0);
        // A program that is refused a thread for it says no more than its reports do.
        let _ = std::thread::Builder::new()
            .name("announcements".to_owned())
            .spawn(move || {
                for line in unread {
                    write(&line);
                    count.send_modify(|count| *count += 1);
                }
            });
        Self {
            lines,
            taken: Arc::default(),
            written,
        }
    }

    /// Has a line written; never waits.
    fn say(&self, line: &str) {
        if self.lines.try_send(line.to_owned()).is_ok() {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until all is written that was said so far.
    async fn heard(&self) {
        let taken = self.taken.load(Ordering::SeqCst);
        // Without the thread nothing will be.
        let _ = self
            .written
            .clone()
            .wait_for(|written| *written >= taken)
            .await;
    }
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Nothing,
    Lines,
    Bars,
}

impl Progress {
    /// Progress as it suits standard error.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let shows = if quiet {
            Shows::Nothing
        } else if std::io::stderr().is_terminal() && !dumb {
            Shows::Bars
        } else {
            Shows::Lines
        };
        let bars = MultiProgress::new();
        let above = bars.clone();
        Self {
            shows,
            verbose,
            bars,
            voice: Voice::new(move |line| above.suspend(|| super::say::note(line))),
        }
    }

    /// A line that is shown whatever `--quiet` says, above the lines that change. Never waits until it
    /// is: whoever ends the command does, by [`Progress::shown`].
    pub fn announce(&self, text: &str) {
        self.voice.say(text);
    }

    /// Waits until all that was announced is shown.
    pub async fn shown(&self) {
        self.voice.heard().await;
    }

    /// A line above the lines that change, as long as there are any. Never waits.
    pub fn announce_unless_quiet(&self, text: &str) {
        if self.shows != Shows::Nothing {
            self.announce(text);
        }
    }

    /// Says where verdicts are others than those that were told while the run went on.
    pub fn correct(&self, name: Option<&str>, told: &Told, verdicts: &[Verdict]) {
        let name = name.map_or_else(String::new, |name| format!("{name}: "));
        for line in changed(told, verdicts) {
            self.announce(&format!("{name}{line}"));
        }
    }

    /// Watches one scenario. `name` stands before its lines where several run side by side.
    pub fn watch(&self, name: Option<&str>, preview: Preview) -> (Events, Watch) {
        if self.shows == Shows::Nothing {
            return (Events::nobody(), Watch::default());
        }
        let (events, receiver) = Events::channel();
        let over = Arc::new(AtomicBool::new(false));
        let screen = Screen {
            progress: self.clone(),
            name: name.map(str::to_owned),
            narrator: Narrator::new(self.verbose),
            so_far: SoFar::new(preview),
            bar: None,
            over: Arc::clone(&over),
        };
        let (end, told) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            // Nobody may wait for it any more.
            .spawn(move || drop(end.send(screen.show(&receiver))));
        let told = thread.is_ok().then_some(told);
        (events, Watch { over, told })
    }
}

/// A scenario that is being watched, until this is dropped.
#[derive(Debug, Default)]
pub struct Watch {
    over: Arc<AtomicBool>,
    told: Option<oneshot::Receiver<Told>>,
}

impl Watch {
    /// Ends watching; the verdicts that were told while the run went on, once the last line is shown.
    pub async fn close(mut self) -> Told {
        self.over.store(true, Ordering::SeqCst);
        match self.told.take() {
            // A panic in it has been reported by the hook.
            Some(told) => told.await.unwrap_or_default(),
            None => Told::default(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// The thread that turns events into lines.
struct Screen {
    progress: Progress,
    name: Option<String>,
    narrator: Narrator,
    so_far: SoFar,
    bar: Option<ProgressBar>,
    over: Arc<AtomicBool>,
}

impl Screen {
    fn show(mut self, receiver: &Receiver<Event>) -> Told {
        let mut latest = (Micros(0), Instant::now());
        loop {
            match receiver.recv_timeout(REDRAW_EVERY) {
                Ok(event) => {
                    latest = (event.at(), Instant::now());
                    for line in self.narrator.tell(&event) {
                        self.line(event.at(), &line);
                    }
                    match event {
                        Event::ScenarioStarted { .. } => self.bar = self.new_bar(),
                        Event::PhaseBegan { at, index, .. } => self.so_far.phase_began(at, index),
                        _ => {}
                    }
                }
                // The run may keep a clone of its events in a task that is being dropped.
                Err(RecvTimeoutError::Timeout) if self.over.load(Ordering::SeqCst) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = latest.0 + latest.1.elapsed();
            for line in self.so_far.poll(now) {
                self.line(now, &line);
            }
            self.redraw(now);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.so_far.into_told()
    }

    fn line(&self, at: Micros, text: &str) {
        let name = self
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!("{name}: "));
        let offset = format!("{:>7.1}s", at.as_secs_f64());
        if self.progress.shows == Shows::Bars {
            let lines = wrap(&format!("{offset}  {name}"), text, columns());
            self.progress
                .bars
                .suspend(|| super::say::note(lines.trim_end()));
        } else {
            super::say::note(&format!("{} {offset}  {name}{text}", now()));
        }
    }

    fn new_bar(&self) -> Option<ProgressBar> {
        if self.progress.shows != Shows::Bars {
            return None;
        }
        let style = ProgressStyle::with_template("{spinner} {prefix}{wide_bar}\n{msg}")
            .expect("the template is well-formed")
            .progress_chars("━╸─");
        let bar = self
            .progress
            .bars
            .add(ProgressBar::new(1).with_style(style));
        if let Some(name) = &self.name {
            bar.set_prefix(format!("{name} "));
        }
        Some(bar)
    }

    fn redraw(&self, now: Micros) {
        let Some(bar) = &self.bar else { return };
        if let Some((passed, whole)) = self.narrator.share(now) {
            // Together, so that no length is drawn with another phase's position.
            bar.update(|state| {
                state.set_len(whole);
                state.set_pos(passed);
            });
        }
        let mut lines = self.narrator.standing(now);
        lines.extend(self.so_far.standing().map(|line| format!("  {line}")));
        let room = columns().saturating_sub(1);
        let lines: Vec<String> = lines.iter().map(|line| clipped(line, room)).collect();
        bar.set_message(lines.join("\n"));
        bar.tick();
    }
}

/// As much of a line as there is room for: one that wraps would be drawn anew below itself.
fn clipped(line: &str, room: usize) -> String {
    if line.chars().count() <= room {
        return line.to_owned();
    }
    let kept: String = line.chars().take(room.saturating_sub(1)).collect();
    kept.trim_end().to_owned() + "…"
}

/// How wide the terminal is now; it may be resized at any time.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map_or(WIDTH, |size| usize::from(size.ws_col))
        .max(WIDTH / 2)
}

fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Events to words; knows neither a clock nor a terminal.
#[derive(Debug, Default)]
struct Narrator {
    verbose: bool,
    phase: Option<Current>,
    loads: Vec<LoadTick>,
    faults: Vec<FaultTick>,
}

/// The phase that is going on.
#[derive(Debug)]
struct Current {
    name: String,
    index: usize,
    of: usize,
    began: Micros,
    ends_at: Micros,
    until_steady: bool,
    /// Sums of the ticks' rates by load: ok, degraded, failed, indeterminate; and their number.
    sums: BTreeMap<String, ([f64; 4], u32)>,
    hits: BTreeMap<String, u64>,
}

impl Narrator {
    fn new(verbose: bool) -> Self {
        Self {
            verbose,
            ..Self::default()
        }
    }

    /// The lines that an event is worth.
    fn tell(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::ScenarioStarted { title, planned } => {
                let planned = format_duration(*planned);
                vec![format!(
                    "{title}: starting the system; at most {planned} once it is ready"
                )]
            }
            Event::PhaseBegan { .. } => self.phase_began(event),
            Event::Tick { loads, faults, .. } => {
                self.tick(loads, faults);
                if self.verbose {
                    vec![self.rates()]
                } else {
                    Vec::new()
                }
            }
            Event::Note { what, detail, .. } if !detail || self.verbose => vec![what.clone()],
            Event::Note { .. } => Vec::new(),
            Event::ScenarioEnded { at, how } => {
                let mut lines: Vec<String> = self.phase_ended(*at).into_iter().collect();
                // What broke may go on with an instance's last output, which the report shows.
                lines.push(how.lines().next().unwrap_or_default().to_owned());
                lines
            }
        }
    }

    fn phase_began(&mut self, event: &Event) -> Vec<String> {
        let Event::PhaseBegan {
            at,
            name,
            index,
            of,
            ends_at,
            until_steady,
            faults,
        } = event
        else {
            return Vec::new();
        };
        let mut lines: Vec<String> = self.phase_ended(*at).into_iter().collect();
        let most = if *until_steady { "at most " } else { "" };
        let lasts = format_duration(rounded(ends_at.since(*at)));
        let faults = if faults.is_empty() {
            String::new()
        } else {
            format!(": {}", faults.join("; "))
        };
        lines.push(format!(
            "phase {index} of {of}, {name}, {most}{lasts}{faults}"
        ));
        self.phase = Some(Current {
            name: name.to_string(),
            index: *index,
            of: *of,
            began: *at,
            ends_at: *ends_at,
            until_steady: *until_steady,
            sums: BTreeMap::new(),
            hits: BTreeMap::new(),
        });
        self.faults.clear();
        lines
    }

    fn tick(&mut self, loads: &[LoadTick], faults: &[FaultTick]) {
        self.loads = loads.to_vec();
        self.faults = faults.to_vec();
        let Some(phase) = &mut self.phase else { return };
        for load in loads {
            let (sums, ticks) = phase.sums.entry(load.load.to_string()).or_default();
            let rates = [load.ok, load.degraded, load.failed, load.indeterminate];
            for (sum, rate) in sums.iter_mut().zip(rates) {
                *sum += rate;
            }
            *ticks += 1;
        }
        for fault in faults {
            phase.hits.insert(fault.label.clone(), fault.hits);
        }
    }

    /// What the phase that ends has been, on average.
    fn phase_ended(&mut self, at: Micros) -> Option<String> {
        let phase = self.phase.take()?;
        let mut parts: Vec<String> = phase
            .sums
            .iter()
            .map(|(load, (sums, ticks))| {
                format!(
                    "{load} {}",
                    outcome_rates(sums.map(|sum| sum / f64::from(*ticks)))
                )
            })
            .collect();
        parts.extend(phase.hits.iter().map(|(label, hits)| acted(label, *hits)));
        let lasted = format_duration(rounded(at.since(phase.began)));
        let summary = if parts.is_empty() {
            String::new()
        } else {
            format!(": {}", parts.join("; "))
        };
        Some(format!("{} is over after {lasted}{summary}", phase.name))
    }

    fn rates(&self) -> String {
        let loads = self.loads.iter().map(|load| {
            let rates = [load.ok, load.degraded, load.failed, load.indeterminate];
            format!("{} {}", load.load, outcome_rates(rates))
        });
        let faults = self
            .faults
            .iter()
            .map(|fault| acted(&fault.label, fault.hits));
        loads.chain(faults).collect::<Vec<_>>().join("; ")
    }

    /// How much of the phase is over: milliseconds of milliseconds.
    fn share(&self, now: Micros) -> Option<(u64, u64)> {
        let phase = self.phase.as_ref()?;
        let whole = phase.ends_at.since(phase.began).as_millis();
        let passed = now.since(phase.began).as_millis().min(whole);
        Some((u64::try_from(passed).ok()?, u64::try_from(whole).ok()?))
    }

    /// The lines that keep changing.
    fn standing(&self, now: Micros) -> Vec<String> {
        let Some(phase) = &self.phase else {
            return vec!["  starting".to_owned()];
        };
        let left = Duration::from_secs(phase.ends_at.since(now).as_secs_f64().ceil() as u64);
        let most = if phase.until_steady { "at most " } else { "" };
        let mut lines = vec![format!(
            "  phase {} of {}, {}, {most}{} left",
            phase.index,
            phase.of,
            phase.name,
            format_duration(left)
        )];
        for load in &self.loads {
            let rates = [load.ok, load.degraded, load.failed, load.indeterminate];
            lines.push(format!("  {} {}", load.load, outcome_rates(rates)));
        }
        for fault in &self.faults {
            lines.push(format!("  {}", acted(&fault.label, fault.hits)));
        }
        lines
    }
}

/// The rates that are not zero, with their words.
fn outcome_rates(rates: [f64; 4]) -> String {
    let words = ["ok", "degraded", "failed", "without answer"];
    let parts: Vec<String> = rates
        .into_iter()
        .zip(words)
        .filter(|(rate, _)| *rate > 0.0)
        .map(|(rate, word)| {
            if rate < 0.1 {
                format!("under 0.1/s {word}")
            } else {
                format!("{}/s {word}", (rate * 10.0).round() / 10.0)
            }
        })
        .collect();
    if parts.is_empty() {
        "idle".to_owned()
    } else {
        parts.join(", ")
    }
}

fn acted(label: &str, hits: u64) -> String {
    match hits {
        0 => format!("{label} has not acted"),
        1 => format!("{label} acted once"),
        hits => format!("{label} acted {hits} times"),
    }
}

/// To the tenth of a second.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis((duration.as_secs_f64() * 10.0).round() as u64 * 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn phase(at: u64, index: usize, name: &str, faults: &[&str]) -> Event {
        Event::PhaseBegan {
            at: Micros::from_secs(at),
            name: name.into(),
            index,
            of: 3,
            ends_at: Micros::from_secs(at + 10),
            until_steady: index == 3,
            faults: faults.iter().map(|&label| label.to_owned()).collect(),
        }
    }

    fn tick(at: u64, ok: f64, failed: f64, hits: u64) -> Event {
        Event::Tick {
            at: Micros::from_secs(at),
            loads: vec![LoadTick {
                load: "ask".into(),
                ok,
                degraded: 0.0,
                failed,
                indeterminate: 0.0,
            }],
            faults: vec![FaultTick {
                label: "hang on store".to_owned(),
                hits,
            }],
        }
    }

    fn told(narrator: &mut Narrator, events: &[Event]) -> Vec<String> {
        events
            .iter()
            .flat_map(|event| narrator.tell(event))
            .collect()
    }

    #[test]
    fn a_change_of_phase_sums_up_the_one_that_ended() {
        let lines = told(
            &mut Narrator::new(false),
            &[
                phase(0, 2, "S3 hangs", &["hang on store"]),
                tick(1, 40.0, 0.0, 3),
                tick(2, 39.0, 1.0, 7),
                phase(10, 3, "recovery", &[]),
                Event::ScenarioEnded {
                    at: Micros::from_millis(13_240),
                    how: "completed".to_owned(),
                },
            ],
        );
        assert_eq!(
            lines,
            [
                "phase 2 of 3, S3 hangs, 10s: hang on store",
                "S3 hangs is over after 10s: ask 39.5/s ok, 0.5/s failed; hang on store acted 7 \
                 times",
                "phase 3 of 3, recovery, at most 10s",
                "recovery is over after 3.2s",
                "completed",
            ]
        );
    }

    #[test]
    fn details_and_ticks_are_told_only_when_asked_for() {
        let events = [
            phase(0, 1, "steady", &[]),
            tick(1, 0.04, 0.0, 1),
            Event::Note {
                at: Micros(1),
                what: "port 4711".to_owned(),
                detail: true,
            },
        ];
        assert_eq!(told(&mut Narrator::new(false), &events).len(), 1);
        assert_eq!(
            told(&mut Narrator::new(true), &events)[1..],
            ["ask under 0.1/s ok; hang on store acted once", "port 4711"]
        );
    }

    #[tokio::test]
    async fn what_nobody_reads_is_waited_for_by_whoever_wants_it_shown_and_by_nobody_else() {
        let (reader, reads) = std::sync::mpsc::channel::<()>();
        let (shown, lines) = std::sync::mpsc::channel();
        let voice = Voice::new(move |line| {
            let _ = reads.recv();
            shown.send(line.to_owned()).unwrap();
        });
        // One is being written, and no more wait than there is room for: whoever says it does not.
        for nth in 0..=2 * UNREAD_MAX {
            voice.say(&nth.to_string());
        }
        let mut heard = Box::pin(voice.heard());
        assert!((&mut heard).now_or_never().is_none());
        drop(reader);
        heard.await;
        let lines: Vec<String> = lines.try_iter().collect();
        let kept = lines.len();
        assert!(kept == UNREAD_MAX || kept == UNREAD_MAX + 1, "{kept}");
        let first = (0..UNREAD_MAX).map(|nth| nth.to_string());
        assert!(first.eq(lines.into_iter().take(UNREAD_MAX)));
    }

    #[test]
    fn a_line_that_stands_never_wraps() {
        assert_eq!(clipped("phase 1 of 3", 12), "phase 1 of 3");
        assert_eq!(clipped("phase 1 of 30", 12), "phase 1 of…");
    }

    #[test]
    fn what_stands_on_the_terminal_tells_phase_time_left_rates_and_faults() {
        let mut narrator = Narrator::new(false);
        told(
            &mut narrator,
            &[phase(0, 3, "recovery", &[]), tick(1, 40.0, 0.0, 0)],
        );
        assert_eq!(
            narrator.standing(Micros::from_millis(2_500)),
            [
                "  phase 3 of 3, recovery, at most 8s left",
                "  ask 40/s ok",
                "  hang on store has not acted",
            ]
        );
        assert_eq!(
            narrator.share(Micros::from_secs(99)),
            Some((10_000, 10_000))
        );
    }
}
