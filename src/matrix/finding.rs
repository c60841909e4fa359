//! What of a matrix is worth a person's time: what was wedged, done twice or ended, what failed, and
//! what a load cannot do without. That a fallback answered is none of it: it is what fallbacks are for.

use super::{Aftermath, Cell, Doubling, Kind, Matrix, Met, Trial, Tried};
use crate::units::format_duration;
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, sync::Arc, time::Duration};

/// One thing that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// The place of its trial among the matrix's.
    pub trial: usize,
    /// The load; `None` for the system as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Arc<str>>,
    /// What was found.
    pub found: Found,
    /// The same in a sentence.
    pub what: String,
}

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The system was not as before when the trouble was over.
    Wedged,
    /// Something was done twice because its answer was lost.
    Doubled,
    /// An instance ended on its own account.
    Exited,
    /// A load that does not use the dependency was not answered as before.
    Harmed,
    /// A load was not answered.
    Failed,
    /// A load was answered only when the trouble was over.
    Held,
}

impl Found {
    /// What is found in a cell. That a fallback answers is a finding only where none should have to.
    pub const fn of(cell: &Cell) -> Option<Self> {
        match (cell.met, cell.uses) {
            (Met::Failed | Met::Held | Met::Degraded, false) => Some(Self::Harmed),
            (Met::Failed, true) => Some(Self::Failed),
            (Met::Held, true) => Some(Self::Held),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wedged => "wedged",
            Self::Doubled => "doubled",
            Self::Exited => "exited",
            Self::Harmed => "harmed",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }
}

/// What a load cannot do without, or not without being hurt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Need {
    /// The load.
    pub load: Arc<str>,
    /// The dependency.
    pub dependency: Arc<str>,
    /// The troubles under which it failed, the most telling first.
    pub fails: Vec<Kind>,
    /// How many troubles it was tried with and reached by.
    pub tried: usize,
    /// The least part that failed under any of these, 0 to 1.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

/// From this part on nothing is left that somebody else could have saved.
const WHOLLY: f64 = 0.9;

impl Need {
    /// In a sentence: that it cannot do without, or in part.
    pub fn sentence(&self) -> String {
        let kinds: Vec<&str> = self.fails.iter().map(|kind| kind.name()).collect();
        let (load, dependency) = (&self.load, &self.dependency);
        let percent = |part: f64| (part * 100.0).round();
        let what = if self.least >= WHOLLY {
            format!("{load} cannot do without {dependency}: it fails")
        } else {
            let (least, most) = (percent(self.least), percent(self.most));
            let part = match least == most {
                true => format!("{most}%"),
                false => format!("{least}% to {most}%"),
            };
            format!("{load} is hurt by {dependency}: {part} fail")
        };
        format!(
            "{what} under {} ({} of {} tried)",
            kinds.join(", "),
            self.fails.len(),
            self.tried
        )
    }
}

/// Everything that was found, the worst first; of what was found of one trial first of all that it was
/// wedged.
pub fn findings(matrix: &Matrix) -> Vec<Finding> {
    let trials = matrix.trials.iter().enumerate();
    let mut found: Vec<(Finding, f64)> = trials
        .flat_map(|(nth, trial)| of_trial(nth, trial))
        .collect();
    found.sort_by(|(one, share), (other, other_share)| {
        let by_share = other_share.total_cmp(share);
        one.found.cmp(&other.found).then(by_share)
    });
    found.into_iter().map(|(finding, _)| finding).collect()
}

fn of_trial(nth: usize, trial: &Trial) -> Vec<(Finding, f64)> {
    let Some(tried) = trial.tried() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let whole = |found, what| Finding {
        trial: nth,
        load: None,
        found,
        what,
    };
    found.extend(of_system(trial, tried).map(|(kind, what)| (whole(kind, what), 1.0)));
    for cell in &tried.cells {
        let Some(kind) = Found::of(cell) else {
            continue;
        };
        let finding = Finding {
            trial: nth,
            load: Some(Arc::clone(&cell.load)),
            found: kind,
            what: sentence(trial, cell, kind),
        };
        found.push((finding, cell.failed_share()));
    }
    found
}

/// What was found of the system as a whole.
pub(super) fn of_system<'a>(
    trial: &'a Trial,
    tried: &'a Tried,
) -> impl Iterator<Item = (Found, String)> + 'a {
    let wedged = match tried.aftermath {
        Aftermath::Wedged { watched_us } => {
            let watched = format_duration(Duration::from_micros(watched_us / 100_000 * 100_000));
            let trouble = trouble(trial);
            let what =
                format!("the system is not as before in the {watched} after {trouble} is over");
            Some((Found::Wedged, what))
        }
        Aftermath::Steady { .. } | Aftermath::Unknown => None,
    };
    let doubled = match &tried.doubling {
        Some(Doubling::Doubled { what, .. }) => {
            let what = format!("something is done twice while {}: {what}", doing(trial));
            Some((Found::Doubled, what))
        }
        _ => None,
    };
    let exited = tried.exits.first().map(|first| {
        let more = match tried.exits.len() - 1 {
            0 => String::new(),
            1 => ", and once more".to_owned(),
            more => format!(", and {more} times more"),
        };
        let what = format!(
            "an instance ends by itself while or after {}: {first}{more}",
            doing(trial)
        );
        (Found::Exited, what)
    });
    [wedged, doubled, exited].into_iter().flatten()
}

fn sentence(trial: &Trial, cell: &Cell, found: Found) -> String {
    let load = &cell.load;
    let counts = &cell.counts;
    let (what, time) = match cell.met {
        Met::Held => (
            format!(
                "`{load}` is held ({} of {})",
                counts.held,
                counts.all() + counts.released
            ),
            "for as long as",
        ),
        Met::Degraded => (
            format!(
                "`{load}` is answered by a fallback ({} of {})",
                counts.degraded,
                counts.all()
            ),
            "while",
        ),
        _ => (
            format!(
                "`{load}` fails ({} of {})",
                counts.failed + counts.unanswered,
                counts.all()
            ),
            "while",
        ),
    };
    let although = match found {
        Found::Harmed => ", although it does not call it",
        _ => "",
    };
    format!("{what} {time} {}{although}", doing(trial))
}

/// What the dependencies do: `s3 never answers`.
fn doing(trial: &Trial) -> String {
    let parts = trial.aim.troubles();
    let parts = parts.map(|(name, kind)| format!("{name} {}", kind.verb()));
    parts.collect::<Vec<_>>().join(" and ")
}

/// The same as a name: `the hang of s3`.
fn trouble(trial: &Trial) -> String {
    let parts = trial.aim.troubles();
    let parts = parts.map(|(name, kind)| format!("the {kind} of {name}"));
    parts.collect::<Vec<_>>().join(" and ")
}

/// What loads cannot do without, or not without being hurt: those with the most troubles first, pairs
/// left out.
pub fn needs(matrix: &Matrix) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for trial in matrix.trials.iter().filter(|one| one.aim.beside.is_none()) {
        let Some(tried) = trial.tried() else { continue };
        for cell in tried.cells.iter().filter(|cell| cell.uses) {
            if matches!(cell.met, Met::NotReached | Met::TooFew) {
                continue;
            }
            let known = needs
                .iter_mut()
                .find(|need| need.load == cell.load && need.dependency == trial.aim.dependency);
            let need = match known {
                Some(need) => need,
                None => {
                    needs.push(Need {
                        load: Arc::clone(&cell.load),
                        dependency: Arc::clone(&trial.aim.dependency),
                        fails: Vec::new(),
                        tried: 0,
                        least: 1.0,
                        most: 0.0,
                    });
                    needs.last_mut().expect("it was pushed")
                }
            };
            need.tried += 1;
            if cell.met == Met::Failed {
                need.fails.push(trial.aim.kind);
                need.least = need.least.min(cell.failed_share());
                need.most = need.most.max(cell.failed_share());
            }
        }
    }
    needs.retain(|need| !need.fails.is_empty());
    for need in &mut needs {
        need.fails.sort_unstable();
    }
    needs.sort_by_key(|need| std::cmp::Reverse(need.fails.len()));
    needs
}

impl Matrix {
    /// Every cell with its trial, the worst first: wedged before failed before degraded, a greater
    /// share of failures before a smaller, and of what was answered the slowest.
    pub fn cells(&self) -> Vec<(&Trial, &Cell)> {
        let tried = self.trials.iter();
        let tried = tried.filter_map(|trial| Some((trial, trial.tried()?)));
        let mut cells: Vec<_> = tried
            .flat_map(|(trial, tried)| tried.cells.iter().map(move |cell| (trial, cell)))
            .collect();
        cells.sort_by(|(_, one), (_, other)| badness(one, other));
        cells
    }
}

fn badness(one: &Cell, other: &Cell) -> Ordering {
    let slower = |cell: &Cell| cell.p99_us as f64 / cell.steady_p99_us.max(1) as f64;
    let wedged = other.is_wedged().cmp(&one.is_wedged());
    let share = other.failed_share().total_cmp(&one.failed_share());
    let slow = slower(other).total_cmp(&slower(one));
    wedged.then(one.met.cmp(&other.met)).then(share).then(slow)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        expectation::Status,
        matrix::{
            Aim, Beside, Counts, Delay, MATRIX_VERSION, Reference, State, Tried, Tries, Use, pairs,
        },
    };

    /// A load that failed `failed` of 28 times, of one that uses the dependency.
    fn cell(load: &str, met: Met, failed: u64) -> Cell {
        Cell {
            load: load.into(),
            uses: true,
            met,
            counts: match met {
                Met::Degraded => Counts {
                    degraded: 28,
                    ..Counts::default()
                },
                _ => Counts {
                    ok: 28 - failed,
                    failed,
                    ..Counts::default()
                },
            },
            p50_us: 500_000,
            p99_us: 5_000_000,
            steady_p99_us: 520_000,
            tries: (failed > 0).then_some(Tries {
                calls: 9,
                low: 1,
                high: 3,
                named: true,
            }),
            aftermath: Aftermath::Steady {
                after_us: 1_200_000,
            },
            because: (failed > 0).then(|| "status 503".to_owned()),
        }
    }

    fn trial(dependency: &str, kind: Kind, cells: Vec<Cell>) -> Trial {
        Trial {
            aim: Aim::single(&dependency.into(), kind),
            delay: kind.takes_delay().then(|| Delay {
                us: 800_000,
                chosen: "80% of the time-out of 1s that was declared".to_owned(),
            }),
            text: None,
            history: Some(format!("out/{dependency}-{kind}/history.jsonl")),
            state: State::Tried(Tried {
                faults: vec![format!("{kind} on {dependency}")],
                hits: 30,
                lasted_us: 7_000_000,
                aftermath: Aftermath::Steady {
                    after_us: 1_200_000,
                },
                waited_us: None,
                policy: vec!["PutObject: attempts a call 3".to_owned()],
                claims: Vec::new(),
                leant_on: Vec::new(),
                exits: Vec::new(),
                doubling: None,
                restarted: false,
                cells,
            }),
        }
    }

    /// A matrix with one of everything, for reports.
    pub fn sample() -> Matrix {
        let ask = || Cell {
            uses: false,
            ..cell("ask", Met::DoesNotUseIt, 0)
        };
        let mut wedged = trial(
            "s3",
            Kind::Quota,
            vec![cell("train", Met::Failed, 28), ask()],
        );
        if let State::Tried(tried) = &mut wedged.state {
            let aftermath = Aftermath::Wedged {
                watched_us: 30_012_345,
            };
            tried.aftermath = aftermath;
            tried.cells[0].aftermath = aftermath;
            tried.exits.push("primary exited at 7.1s".to_owned());
            tried.restarted = true;
        }
        let mut doubled = trial(
            "s3",
            Kind::LostReply,
            vec![cell("train", Met::Answered, 0), ask()],
        );
        if let State::Tried(tried) = &mut doubled.state {
            tried.doubling = Some(Doubling::Doubled {
                what: "sent: 3 of 28 deliveries too many".to_owned(),
                by: vec!["ONCE-sent".to_owned()],
            });
        }
        let harmed = Cell {
            uses: false,
            ..cell("ask", Met::Failed, 2)
        };
        let mut unmeasured = trial("s3", Kind::Restart, Vec::new());
        unmeasured.state = State::Unmeasured {
            why: "the system was not healthy before the fault".to_owned(),
        };
        let used = |load: &str, dependency: &str, calls| Use {
            load: load.into(),
            dependency: dependency.into(),
            operations: 16,
            calls,
            asked: std::iter::once("PutObject".into()).collect(),
        };
        Matrix {
            version: MATRIX_VERSION,
            brownout: "0.0.0".to_owned(),
            began: "2026-11-22T02:20:00.123Z".to_owned(),
            took_us: 130_000_000,
            seed: 7,
            system: "bots <1>".to_owned(),
            file: "my system.toml".to_owned(),
            external: false,
            reference: Some(Reference {
                sick: None,
                uses: vec![
                    used("train", "s3", 16),
                    used("ask", "s3", 0),
                    used("ask", "pager", 0),
                ],
                by_itself: Vec::new(),
                named_by: Vec::new(),
                starts_us: 900_000,
                history: Some("out/reference/history.jsonl".to_owned()),
            }),
            trials: vec![
                trial(
                    "s3",
                    Kind::Hang,
                    vec![cell("train", Met::Failed, 28), harmed],
                ),
                trial(
                    "s3",
                    Kind::Error,
                    vec![cell("train", Met::Failed, 14), ask()],
                ),
                trial(
                    "s3",
                    Kind::TooSlow,
                    vec![cell("train", Met::Degraded, 0), ask()],
                ),
                trial(
                    "s3",
                    Kind::Slow,
                    vec![cell("train", Met::Answered, 0), ask()],
                ),
                trial(
                    "s3",
                    Kind::Reset,
                    vec![cell("train", Met::NotReached, 0), ask()],
                ),
                wedged,
                doubled,
                unmeasured,
                Trial::left_out(Aim::single(&"pager".into(), Kind::Hang), "no load calls it"),
            ],
            interrupted: false,
            fail_on: Vec::new(),
        }
    }

    #[test]
    fn what_is_found_is_told_the_worst_first_and_in_sentences() {
        let found: Vec<(Found, String)> = findings(&sample())
            .into_iter()
            .map(|one| (one.found, one.what))
            .collect();
        let said = [
            (
                Found::Wedged,
                "the system is not as before in the 30s after the quota of s3 is over",
            ),
            (
                Found::Doubled,
                "something is done twice while s3 does what it is asked and loses its answers: sent: 3 of 28 deliveries too many",
            ),
            (
                Found::Exited,
                "an instance ends by itself while or after s3 refuses, its quota used up: primary exited at 7.1s",
            ),
            (
                Found::Harmed,
                "`ask` fails (2 of 28) while s3 never answers, although it does not call it",
            ),
            (
                Found::Failed,
                "`train` fails (28 of 28) while s3 never answers",
            ),
            (
                Found::Failed,
                "`train` fails (28 of 28) while s3 refuses, its quota used up",
            ),
            (
                Found::Failed,
                "`train` fails (14 of 28) while s3 answers with an error",
            ),
        ];
        assert_eq!(found, said.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn what_a_load_cannot_do_without_is_what_it_failed_under() {
        let needs = needs(&sample());
        assert_eq!(needs.len(), 1, "{needs:?}");
        assert_eq!((&*needs[0].load, &*needs[0].dependency), ("train", "s3"));
        assert_eq!(needs[0].fails, [Kind::Hang, Kind::Error, Kind::Quota]);
        assert_eq!(
            needs[0].tried, 6,
            "the reset that reached nothing does not count"
        );
    }

    #[test]
    fn it_fails_on_what_must_not_be_found_and_is_never_green_of_nothing() {
        let mut matrix = sample();
        assert_eq!(
            matrix.status(),
            Status::Inconclusive,
            "a trial was not measured"
        );
        matrix
            .trials
            .retain(|one| !matches!(one.state, State::Unmeasured { .. }));
        assert_eq!(matrix.status(), Status::Pass);
        for found in [
            Found::Wedged,
            Found::Doubled,
            Found::Exited,
            Found::Harmed,
            Found::Failed,
        ] {
            matrix.fail_on = vec![found];
            assert_eq!(matrix.status(), Status::Fail, "{found:?}");
        }
        matrix.trials.retain(|one| one.aim.kind == Kind::Slow);
        assert_eq!(matrix.status(), Status::Pass);
        matrix.trials = vec![trial(
            "s3",
            Kind::Hang,
            vec![cell("train", Met::NotReached, 0)],
        )];
        assert_eq!(matrix.status(), Status::Inconclusive, "nothing was shown");
        let mut sick = sample();
        sick.trials.clear();
        assert_eq!(sick.status(), Status::Inconclusive);
        sick.reference = None;
        assert_eq!(sick.status(), Status::Inconclusive);
    }

    #[test]
    fn what_must_not_be_found_is_not_green_where_nobody_looked() {
        let mut matrix = sample();
        matrix.trials.retain(|one| one.aim.kind == Kind::Slow);
        let of = |change: &dyn Fn(&mut Matrix), fail_on: &[Found]| {
            let mut changed = matrix.clone();
            change(&mut changed);
            changed.fail_on = fail_on.to_vec();
            changed.status()
        };
        let as_it_is = |_: &mut Matrix| {};
        assert_eq!(of(&as_it_is, &[Found::Wedged]), Status::Pass);
        let no_time = |matrix: &mut Matrix| {
            let aim = Aim::single(&"s3".into(), Kind::Hang);
            matrix.trials.push(Trial::due(aim, "no time"));
        };
        assert_eq!(of(&no_time, &[]), Status::Pass);
        assert_eq!(of(&no_time, &[Found::Failed]), Status::Inconclusive);
        let not_watched = |matrix: &mut Matrix| {
            if let State::Tried(tried) = &mut matrix.trials[0].state {
                tried.aftermath = Aftermath::Unknown;
            }
        };
        assert_eq!(of(&not_watched, &[Found::Wedged]), Status::Inconclusive);
        assert_eq!(of(&not_watched, &[Found::Failed]), Status::Pass);
        // Whether anything is done twice shows only where answers were lost, and somebody could count.
        assert_eq!(of(&as_it_is, &[Found::Doubled]), Status::Inconclusive);
        let lost = |doubling: Doubling| {
            let lose = move |matrix: &mut Matrix| {
                let cells = vec![cell("train", Met::Answered, 0)];
                let mut lost = trial("s3", Kind::LostReply, cells);
                if let State::Tried(tried) = &mut lost.state {
                    tried.doubling = Some(doubling.clone());
                }
                matrix.trials.push(lost);
            };
            of(&lose, &[Found::Doubled])
        };
        let text = String::new;
        assert_eq!(lost(Doubling::Once { what: text() }), Status::Pass);
        assert_eq!(lost(Doubling::Nothing { why: text() }), Status::Pass);
        assert_eq!(
            lost(Doubling::Unknown { why: text() }),
            Status::Inconclusive
        );
        let not_reached = |matrix: &mut Matrix| {
            let reference = matrix.reference.as_mut().expect("it was run");
            let mut other = reference.uses[0].clone();
            other.dependency = "pager".into();
            reference.uses.push(other);
            let cells = vec![cell("train", Met::NotReached, 0)];
            matrix.trials.push(trial("pager", Kind::Hang, cells));
        };
        assert_eq!(of(&not_reached, &[]), Status::Pass);
        assert_eq!(of(&not_reached, &[Found::Failed]), Status::Inconclusive);
        // That a load bears one trouble does not say that it bears another.
        let in_one = |uses: bool, met: Met| {
            let add = move |matrix: &mut Matrix| {
                let one = Cell {
                    uses,
                    ..cell("train", met, 0)
                };
                matrix.trials.push(trial("s3", Kind::Hang, vec![one]));
            };
            let both = [Found::Failed, Found::Wedged];
            both.map(|found| of(&add, &[found]))
        };
        let (pass, open) = (Status::Pass, Status::Inconclusive);
        assert_eq!(in_one(true, Met::Answered), [pass, pass]);
        assert_eq!(in_one(true, Met::TooFew), [open, pass]);
        assert_eq!(in_one(true, Met::NotReached), [open, pass]);
        assert_eq!(in_one(false, Met::TooFew), [pass, pass]);
        assert_eq!(in_one(true, Met::Failed), [Status::Fail, pass]);
    }

    #[test]
    fn who_is_held_and_who_is_degraded_for_nothing_is_found() {
        let mut held = cell("train", Met::Held, 0);
        held.counts.released = 12;
        held.counts.held = 10;
        let degraded = Cell {
            uses: false,
            ..cell("ask", Met::Degraded, 0)
        };
        let matrix = Matrix {
            trials: vec![trial("s3", Kind::Hang, vec![held, degraded])],
            ..sample()
        };
        let found: Vec<(Found, String)> = findings(&matrix)
            .into_iter()
            .map(|one| (one.found, one.what))
            .collect();
        let said = [
            (
                Found::Harmed,
                "`ask` is answered by a fallback (28 of 28) while s3 never answers, although it does not call it",
            ),
            (
                Found::Held,
                "`train` is held (10 of 40) for as long as s3 never answers",
            ),
        ];
        assert_eq!(found, said.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn the_worst_cells_come_first() {
        let matrix = sample();
        let cells = matrix.cells();
        let first: Vec<(Kind, &str, Met)> = cells
            .iter()
            .map(|(trial, cell)| (trial.aim.kind, &*cell.load, cell.met))
            .take(5)
            .collect();
        assert_eq!(
            first,
            [
                (Kind::Quota, "train", Met::Failed),
                (Kind::Hang, "train", Met::Failed),
                (Kind::Error, "train", Met::Failed),
                (Kind::Hang, "ask", Met::Failed),
                (Kind::TooSlow, "train", Met::Degraded),
            ]
        );
        assert!(
            cells
                .iter()
                .rev()
                .take(4)
                .all(|(_, cell)| cell.met == Met::DoesNotUseIt)
        );
    }

    #[test]
    fn a_pair_is_worth_trying_only_where_something_else_saved_the_system() {
        let saved = |met, leant_on: &[&str]| {
            let mut one = trial("s3", Kind::Hang, vec![cell("train", met, 0)]);
            if let State::Tried(tried) = &mut one.state {
                tried.leant_on = leant_on.iter().map(|name| (*name).into()).collect();
            }
            one
        };
        let of = |trials: Vec<Trial>| {
            let aims = pairs(&Matrix { trials, ..sample() });
            aims.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let both = ["s3 hang and backup hang", "s3 hang and backup error"];
        assert_eq!(of(vec![saved(Met::Degraded, &["backup"])]), both);
        assert_eq!(of(vec![saved(Met::Answered, &["backup"])]), both);
        assert!(of(vec![saved(Met::Failed, &["backup"])]).is_empty());
        assert!(of(vec![saved(Met::Answered, &[])]).is_empty());
        let mut slow = saved(Met::Answered, &["backup"]);
        slow.aim.kind = Kind::TooSlow;
        assert!(
            of(vec![slow]).is_empty(),
            "it came late and needed nothing else"
        );
        // The same fallback under another trouble, and a pair that was tried already.
        let mut error = saved(Met::Answered, &["backup"]);
        error.aim.kind = Kind::Error;
        let mut pair = saved(Met::Answered, &["third"]);
        pair.aim.beside = Some(Beside {
            dependency: "backup".into(),
            kind: Kind::Hang,
        });
        assert_eq!(
            of(vec![saved(Met::Degraded, &["backup"]), error, pair]),
            both
        );
    }

    #[test]
    fn what_is_called_anyway_may_be_the_path_that_saved_it_and_what_is_too_much_alone_is_no_pair() {
        let single = |dependency: &str, kind, met| {
            let failed = if met == Met::Failed { 28 } else { 0 };
            trial(dependency, kind, vec![cell("train", met, failed)])
        };
        let of = |trials: Vec<Trial>, leant_on: bool| {
            let mut matrix = Matrix { trials, ..sample() };
            let reference = matrix.reference.as_mut().expect("it was run");
            let mut cache = reference.uses[0].clone();
            cache.dependency = "cache".into();
            reference.uses.push(cache);
            if let (true, State::Tried(tried)) = (leant_on, &mut matrix.trials[0].state) {
                tried.leant_on = vec!["cache".into()];
            }
            let aims = pairs(&matrix);
            aims.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let degraded = || single("s3", Kind::Hang, Met::Degraded);
        let of_cache = |hang, error| {
            vec![
                degraded(),
                single("cache", Kind::Hang, hang),
                single("cache", Kind::Error, error),
            ]
        };
        // It is called no more often than before, and comes through without it too.
        let both = ["s3 hang and cache hang", "s3 hang and cache error"];
        assert_eq!(of(of_cache(Met::Answered, Met::Degraded), false), both);
        // Alone too much, it shows nothing beside another, whoever leans on it.
        let error = ["s3 hang and cache error"];
        assert_eq!(of(of_cache(Met::Failed, Met::Answered), false), error);
        assert_eq!(of(of_cache(Met::Failed, Met::Answered), true), error);
        assert!(of(of_cache(Met::Failed, Met::Failed), true).is_empty());
        // Answered as before, nothing else was needed.
        let unchanged = vec![
            single("s3", Kind::Hang, Met::Answered),
            single("cache", Kind::Hang, Met::Answered),
        ];
        assert!(of(unchanged, false).is_empty());
        assert!(
            of(vec![degraded()], false).is_empty(),
            "cache was not tried"
        );
    }
}
