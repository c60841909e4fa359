//! The verdicts so far of a run that goes on, for people who watch.
//!
//! When phases are over, and the answers to what began in them have come or run into their time-outs,
//! the expectations that are judged over these phases alone are judged from the history's file, on a
//! thread of the lowest priority that the run does not wait for. Nothing more is kept in memory
//! meanwhile, and a history beyond [`HISTORY_BYTES_MAX`] is not read. What is shown is called "so
//! far" everywhere, and where the verdict at the end is another one, that is said.

use crate::{
    expectation::{self, Status, Verdict},
    history::History,
    report::why,
    scenario::{Scenario, System},
    units::Micros,
};
use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    time::Duration,
};

/// The longest history that is judged while the run goes on: some hundred thousand observations.
const HISTORY_BYTES_MAX: u64 = 32 << 20;

/// The longest time that is given to answers after their phase is over.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// How many ids are named in a line.
const NAMED_MAX: usize = 6;

/// Judges a run of which this many phases are over; `None` where that would be too much work.
pub type Judge = dyn Fn(usize) -> Option<Vec<Verdict>> + Send + Sync;

/// What it takes to judge a run while it goes on.
#[derive(Clone)]
pub struct Preview {
    judge: Arc<Judge>,
    /// For each expectation after how many phases it can be judged; those that need the whole run
    /// have none.
    decided: Vec<Option<usize>>,
    patience: Duration,
}

impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preview")
            .field("decided", &self.decided)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Preview {
    /// A preview of this scenario's verdicts.
    pub fn new(scenario: &Scenario, system: &System, judge: Arc<Judge>) -> Self {
        let phases = scenario.phases.len();
        let first =
            |expect| (1..phases).find(|over| expectation::can_be_judged(expect, scenario, *over));
        let timeouts = system.loads.iter().map(|load| load.timeout);
        Self {
            judge,
            decided: scenario.expects.iter().map(first).collect(),
            patience: timeouts.max().unwrap_or_default().min(PATIENCE_MAX),
        }
    }
}

/// The verdicts so far from a history's file; `None` where it is too long.
pub fn judged(
    path: &Path,
    scenario: &Scenario,
    system: &System,
    over: usize,
) -> Option<Vec<Verdict>> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > HISTORY_BYTES_MAX {
        return None;
    }
    let history = History::read(path).ok()?;
    Some(expectation::judge_so_far(&history, scenario, system, over))
}

/// What was told of each expectation, by its id.
pub type Told = BTreeMap<String, Status>;

/// The verdicts so far of one run.
#[derive(Debug)]
pub struct SoFar {
    preview: Preview,
    /// When to judge, and how many phases are over then.
    due: Vec<(Micros, usize)>,
    judging: Option<Receiver<Option<Vec<Verdict>>>>,
    told: Told,
}

impl SoFar {
    /// Nothing is known yet.
    pub fn new(preview: Preview) -> Self {
        Self {
            preview,
            due: Vec::new(),
            judging: None,
            told: Told::new(),
        }
    }

    /// A phase began, its place from 1: those before it are over.
    pub fn phase_began(&mut self, at: Micros, index: usize) {
        let over = index.saturating_sub(1);
        if self.preview.decided.contains(&Some(over)) {
            self.due.push((at + self.preview.patience, over));
        }
    }

    /// Begins to judge where it is time, and hands out what there is to tell.
    pub fn poll(&mut self, now: Micros) -> Vec<String> {
        let lines = match self.judging.as_ref().map(Receiver::try_recv) {
            Some(Ok(Some(verdicts))) => {
                self.judging = None;
                self.take(&verdicts)
            }
            // Too much was recorded, and it does not become less; or the judging broke, which its
            // panic has told.
            Some(Ok(None) | Err(TryRecvError::Disconnected)) => {
                self.judging = None;
                self.due.clear();
                self.preview.decided.clear();
                Vec::new()
            }
            Some(Err(TryRecvError::Empty)) => return Vec::new(),
            None => Vec::new(),
        };
        let ready = self.due.iter().rposition(|(when, _)| *when <= now);
        if let Some(place) = ready {
            let (_, over) = self.due[place];
            self.due.drain(..=place);
            self.begin(over);
        }
        lines
    }

    fn begin(&mut self, over: usize) {
        let (sender, receiver) = sync_channel(1);
        let judge = Arc::clone(&self.preview.judge);
        let thread = std::thread::Builder::new().name("verdicts so far".to_owned());
        let started = thread.spawn(move || {
            step_back();
            // Whoever waited may have gone with the run.
            let _ = sender.send(judge(over));
        });
        if started.is_ok() {
            self.judging = Some(receiver);
        }
    }

    /// Notes verdicts, and says what is new in them.
    fn take(&mut self, verdicts: &[Verdict]) -> Vec<String> {
        let is_new = |one: &&Verdict| self.told.get(&one.id) != Some(&one.status);
        let fresh: Vec<&Verdict> = verdicts.iter().filter(is_new).collect();
        if fresh.is_empty() {
            return Vec::new();
        }
        for verdict in &fresh {
            self.told.insert(verdict.id.clone(), verdict.status);
        }
        let mut lines = vec![format!("so far: {}", self.tally())];
        for verdict in fresh {
            if verdict.status != Status::Pass {
                let says = says(verdict.status, 1);
                lines.push(format!("so far {} {says}: {}", verdict.id, why(verdict)));
            }
        }
        lines
    }

    /// What is known so far, in a line: `ADA-3 fails; ADA-1, ADA-2 pass; 4 still open`.
    fn tally(&self) -> String {
        let mut parts: Vec<String> = [Status::Fail, Status::Inconclusive, Status::Pass]
            .into_iter()
            .filter_map(|status| {
                let own = self.told.iter().filter(|(_, told)| **told == status);
                let ids: Vec<&str> = own.map(|(id, _)| id.as_str()).collect();
                let says = says(status, ids.len());
                (!ids.is_empty()).then(|| format!("{} {says}", named(&ids)))
            })
            .collect();
        parts.push(format!("{} still open", self.open()));
        parts.join("; ")
    }

    /// The line that stands while the run goes on, once something is known: counts, because ids may
    /// be more than there is room for.
    pub fn standing(&self) -> Option<String> {
        if self.told.is_empty() {
            return None;
        }
        let parts: Vec<String> = [Status::Fail, Status::Inconclusive, Status::Pass]
            .into_iter()
            .map(|status| {
                (
                    self.told.values().filter(|told| **told == status).count(),
                    status,
                )
            })
            .filter(|(count, _)| *count > 0)
            .map(|(count, status)| format!("{count} {}", says(status, count)))
            .collect();
        let open = self.open();
        Some(format!("so far {}, {open} still open", parts.join(", ")))
    }

    /// How many expectations nothing was told of.
    fn open(&self) -> usize {
        self.preview.decided.len().saturating_sub(self.told.len())
    }

    /// What was told of each expectation.
    pub fn into_told(self) -> Told {
        self.told
    }
}

/// Where the verdicts at the end are others than those that were told, a line for each.
pub fn changed(told: &Told, verdicts: &[Verdict]) -> Vec<String> {
    let verdicts = verdicts.iter();
    verdicts
        .filter_map(|verdict| {
            let before = *told.get(&verdict.id)?;
            (before != verdict.status).then(|| {
                let (was, is) = (says(before, 1), says(verdict.status, 1));
                let why = match verdict.status {
                    Status::Pass => String::new(),
                    _ => format!(": {}", why(verdict)),
                };
                format!(
                    "{}, of which it was said that it {was} so far, {is}{why}",
                    verdict.id
                )
            })
        })
        .collect()
}

fn says(status: Status, count: usize) -> &'static str {
    match (status, count) {
        (Status::Pass, 1) => "passes",
        (Status::Pass, _) => "pass",
        (Status::Fail, 1) => "fails",
        (Status::Fail, _) => "fail",
        (Status::Inconclusive, 1) => "is inconclusive",
        (Status::Inconclusive, _) => "are inconclusive",
    }
}

/// The first few ids, and how many more there are.
fn named(ids: &[&str]) -> String {
    if ids.len() <= NAMED_MAX {
        return ids.join(", ");
    }
    let shown = &ids[..NAMED_MAX - 1];
    format!("{} and {} more", shown.join(", "), ids.len() - shown.len())
}

/// Lets everything else go first. On Linux this is the priority of the calling thread alone.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        // Without it the judging is as important as the run, which costs a little more.
        let _ = rustix::process::nice(19);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expectation::Place, report::sample};
    use std::time::Instant;

    fn verdict(id: &str, status: Status) -> Verdict {
        let mut verdict = sample::suite().scenarios[0].verdicts[1].clone();
        verdict.id = id.to_owned();
        verdict.status = status;
        verdict.place = None::<Place>;
        verdict
    }

    /// Four expectations: one for the first phase, two for the first two, one for the whole run.
    fn preview(judge: impl Fn(usize) -> Option<Vec<Verdict>> + Send + Sync + 'static) -> Preview {
        Preview {
            judge: Arc::new(judge),
            decided: vec![Some(1), Some(2), Some(2), None],
            patience: Duration::from_secs(5),
        }
    }

    /// What is told at a moment, as soon as the judging that is due then is done.
    fn told(so_far: &mut SoFar, now: Micros) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut lines = so_far.poll(now);
        while so_far.judging.is_some() {
            assert!(Instant::now() < deadline, "it is never judged");
            std::thread::yield_now();
            lines.extend(so_far.poll(now));
        }
        lines
    }

    #[test]
    fn what_is_decided_is_told_when_the_answers_of_its_phases_have_come() {
        let mut so_far = SoFar::new(preview(|over| {
            let mut verdicts = vec![verdict("A", Status::Pass)];
            if over == 2 {
                verdicts.push(verdict("B", Status::Fail));
                verdicts.push(verdict("C", Status::Inconclusive));
            }
            Some(verdicts)
        }));
        so_far.phase_began(Micros::from_secs(0), 1);
        assert_eq!(
            told(&mut so_far, Micros::from_secs(9)),
            Vec::<String>::new()
        );
        assert_eq!(so_far.standing(), None);
        so_far.phase_began(Micros::from_secs(10), 2);
        assert_eq!(
            told(&mut so_far, Micros::from_secs(14)),
            Vec::<String>::new()
        );
        assert_eq!(
            told(&mut so_far, Micros::from_secs(15)),
            ["so far: A passes; 3 still open"]
        );
        so_far.phase_began(Micros::from_secs(20), 3);
        let lines = told(&mut so_far, Micros::from_secs(26));
        assert_eq!(
            lines[0],
            "so far: B fails; C is inconclusive; A passes; 1 still open"
        );
        assert!(
            lines[1].starts_with("so far B fails: 2 of 3 calls"),
            "{lines:?}"
        );
        assert!(
            lines[2].starts_with("so far C is inconclusive: "),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 3);
        assert_eq!(
            so_far.standing().as_deref(),
            Some("so far 1 fails, 1 is inconclusive, 1 passes, 1 still open")
        );
    }

    #[test]
    fn phases_that_end_close_to_each_other_are_judged_once() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut so_far = SoFar::new(preview(move |over| {
            sender.send(over).unwrap();
            Some(vec![verdict("A", Status::Pass)])
        }));
        so_far.phase_began(Micros::from_secs(10), 2);
        so_far.phase_began(Micros::from_secs(11), 3);
        // After the last phase nothing more is decided by it.
        so_far.phase_began(Micros::from_secs(12), 4);
        told(&mut so_far, Micros::from_secs(60));
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_history_that_is_too_long_is_left_alone_from_then_on() {
        let mut so_far = SoFar::new(preview(|_| None));
        so_far.phase_began(Micros::from_secs(10), 2);
        assert_eq!(
            told(&mut so_far, Micros::from_secs(15)),
            Vec::<String>::new()
        );
        so_far.phase_began(Micros::from_secs(20), 3);
        assert_eq!(so_far.due, []);
        assert_eq!(so_far.standing(), None);
    }

    #[test]
    fn a_verdict_that_became_another_is_said_to_have() {
        let mut so_far = SoFar::new(preview(|_| None));
        so_far.take(&[verdict("A", Status::Pass), verdict("B", Status::Fail)]);
        let again = so_far.take(&[verdict("A", Status::Pass), verdict("B", Status::Pass)]);
        assert_eq!(again, ["so far: A, B pass; 2 still open"]);
        let end = [
            verdict("A", Status::Fail),
            verdict("B", Status::Pass),
            verdict("D", Status::Fail),
        ];
        let lines = changed(&so_far.into_told(), &end);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("A, of which it was said that it passes so far, fails: 2 of 3"),
            "{lines:?}"
        );
    }

    #[test]
    fn of_many_ids_the_first_few_are_named() {
        let ids = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(named(&ids[..6]), "a, b, c, d, e, f");
        assert_eq!(named(&ids), "a, b, c, d, e and 2 more");
    }
}
