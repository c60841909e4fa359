//! Whether attempts that were put together by time may be requests of their own.
//!
//! Where a client sends no id, a request is taken for the next attempt of a failed one for the same
//! thing (see `history::LogicalCall`). Who asks for one thing again and again so looks like who tries
//! again, after pauses that are nothing but the beat of its calls. So what came again is held against
//! what would have come anyway:
//!
//! - as many requests as there were for the same thing while all was well: with r of them a second, of
//!   requests that come by themselves one comes within a pause of p seconds with probability
//!   1 − e^(−rp) (a Poisson process);
//! - where about as many came as a load began operations, and at their beat, as many as these;
//! - what came while another call for the same thing went on may belong to either, or to none.

use super::calls::Hit;
use crate::{
    history::{Attempt, Operation, View, Window},
    units::Micros,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The greatest part of what came again that may have come anyway.
const ANYWAY_MAX: f64 = 0.1;

/// The fewest requests for one thing that are a habit: a connection that is made once is none.
const HABIT_MIN: usize = 2;

/// The fewest requests for one thing of which it is said that they come at the beat of a load.
const BEAT_MIN: usize = 10;

/// By what part their number may differ from that of the load's operations.
const BEAT_PART: f64 = 0.2;

/// A request comes with an operation where it follows it within this part of the mean time between
/// operations.
const WITH_PART: f64 = 0.25;

/// The least share of requests that come with an operation: by chance a quarter does.
const WITH_MIN: f64 = 0.9;

/// Of so many requests as many operations are a sign by themselves, however long a request takes to
/// follow its operation, if their numbers differ by no more than [`MANY_PART`].
const MANY: usize = 100;

/// See [`MANY`].
const MANY_PART: f64 = 0.05;

/// What is asked: the dependency, the operation, the key, what was captured.
type Same<'a> = (&'a str, &'a str, &'a str, &'a BTreeMap<String, String>);

fn same(attempt: &Attempt) -> Same<'_> {
    (
        &attempt.dependency,
        &attempt.operation,
        &attempt.key,
        &attempt.captured,
    )
}

/// The calls for one thing that were put together by time.
struct Thing {
    /// From the first of them to the end of the last.
    span: Window,
    /// From the beginning of each to its end, with the pauses between its attempts, in seconds.
    calls: Vec<(Window, Vec<f64>)>,
    /// How often it was asked for in the steady phases.
    steady: usize,
    /// When it was asked for from the first of the calls to the last.
    asked: Vec<Micros>,
}

/// Why what these calls show of a client may be no client's doing, if so: more than a few of the
/// attempts that were put together by time would have come anyway.
pub fn apart<'a: 'b, 'b>(
    view: &View<'a>,
    hits: impl IntoIterator<Item = &'b Hit<'a>>,
) -> Option<String> {
    let mut things: HashMap<Same<'a>, Thing> = HashMap::new();
    let mut again = 0;
    for hit in hits {
        again += hit.attempts.len() - 1;
        if !hit.call.by_sdk_id {
            let thing = things.entry(same(hit.attempts[0]));
            thing.or_insert_with(|| Thing::new(hit)).add(hit);
        }
    }
    things.retain(|_, thing| thing.calls.iter().any(|(_, pauses)| !pauses.is_empty()));
    if things.is_empty() {
        return None;
    }
    count(view, &mut things);
    let steady: f64 = view.steady().iter().map(|one| seconds(*one)).sum();
    let anyway = things.into_values().map(|one| one.anyway(view, steady));
    let mut anyway: Vec<f64> = anyway.collect();
    // The sum of the same is the same, in whatever order they come.
    anyway.sort_by(f64::total_cmp);
    let anyway: f64 = anyway.iter().sum();
    (anyway > ANYWAY_MAX * again as f64).then(|| {
        format!(
            "of {again} requests that came again about {anyway:.0} may be requests of their own, for what is asked for anyway: the client sends no id"
        )
    })
}

fn seconds(window: Window) -> f64 {
    window.length().as_secs_f64()
}

/// Counts how often each thing was asked for.
fn count<'a>(view: &View<'a>, things: &mut HashMap<Same<'a>, Thing>) {
    let steady = view.steady();
    let names: BTreeSet<&str> = things.keys().map(|key| key.0).collect();
    for name in names {
        for attempt in view.history.attempts_of(name) {
            let Some(thing) = things.get_mut(&same(attempt)) else {
                continue;
            };
            let is_steady = steady.iter().any(|one| one.contains(attempt.began));
            thing.steady += usize::from(is_steady);
            if thing.span.contains(attempt.began) {
                thing.asked.push(attempt.began);
            }
        }
    }
}

impl Thing {
    fn new(first: &Hit<'_>) -> Self {
        Self {
            span: Window::new(first.call.began, first.call.ended),
            calls: Vec::new(),
            steady: 0,
            asked: Vec::new(),
        }
    }

    /// Adds a call. An attempt that bears a number was numbered by its client, and is no guess.
    fn add(&mut self, hit: &Hit<'_>) {
        let pairs = hit.attempts.windows(2);
        let pauses = pairs
            .filter(|pair| pair[1].attempt <= 1)
            .map(|pair| pair[1].began.since(pair[0].ended).as_secs_f64());
        let whole = Window::new(hit.call.began, hit.call.ended);
        self.span.from = self.span.from.min(whole.from);
        self.span.to = self.span.to.max(whole.to);
        self.calls.push((whole, pauses.collect()));
    }

    /// How many of the requests that came again would have come anyway.
    fn anyway(mut self, view: &View<'_>, steady: f64) -> f64 {
        let usual = if steady > 0.0 && self.steady >= HABIT_MIN {
            self.steady as f64 / steady
        } else {
            0.0
        };
        let rate = usual.max(self.beat(view));
        self.calls.sort_by_key(|(whole, _)| whole.from);
        let (mut until, mut anyway) = (Micros::default(), 0.0);
        for (place, (whole, pauses)) in self.calls.iter().enumerate() {
            let next = self.calls.get(place + 1);
            let is_beside =
                whole.from < until || next.is_some_and(|(next, _)| next.from < whole.to);
            until = until.max(whole.to);
            let chance = |pause: &f64| 1.0 - (-rate * pause).exp();
            anyway += if is_beside {
                pauses.len() as f64
            } else {
                pauses.iter().map(chance).sum()
            };
        }
        anyway
    }

    /// How many operations a second a load began at whose beat it was asked for; 0 where there is none.
    fn beat(&self, view: &View<'_>) -> f64 {
        let span = self.span;
        let loads = view.system.loads.iter();
        let operations = loads.map(|load| view.operations_in(&load.name, span));
        operations
            .filter(|operations| keeps_time(&self.asked, operations, span))
            .map(|operations| operations.len() as f64 / seconds(span))
            .fold(0.0, f64::max)
    }
}

/// Whether requests come as operations of a load do. Both are in order.
fn keeps_time(asked: &[Micros], operations: &[Operation], span: Window) -> bool {
    let (requests, begun) = (asked.len() as f64, operations.len() as f64);
    let apart = (requests - begun).abs();
    if asked.len() < BEAT_MIN || apart > BEAT_PART * requests {
        return false;
    }
    let close = seconds(span) / begun * WITH_PART;
    let is_with = |at: &&Micros| {
        let before = operations.partition_point(|one| one.intended <= **at);
        let last = before.checked_sub(1).map(|place| &operations[place]);
        last.is_some_and(|last| at.since(last.intended).as_secs_f64() <= close)
    };
    let with = asked.iter().filter(is_with).count() as f64;
    let is_many = asked.len() >= MANY && apart <= MANY_PART * requests;
    is_many || with >= WITH_MIN * requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{
            Observation,
            sample::{self, AttemptBuilder, Story, attempt},
        },
        policy::calls,
    };

    fn doubt(story: &Story) -> Option<String> {
        let (history, scenario, system) = (story.history(), sample::scenario(), sample::system());
        let view = View::new(&history, &scenario, &system);
        apart(&view, &calls::hit(&view, "s3", &[]))
    }

    /// A request for one thing every so many milliseconds, from one to the other, that fails at once
    /// from the tenth second on.
    fn beat(from: u64, to: u64, every: u64) -> impl Iterator<Item = AttemptBuilder> {
        let moments = (from..to).step_by(every as usize);
        moments.map(|at| {
            let one = attempt("s3", at, at + 3);
            if at < 10_000 {
                one
            } else {
                one.status(500).hit()
            }
        })
    }

    #[test]
    fn what_is_asked_for_as_often_anyway_is_not_tried_again() {
        let quiet = || Story::new().healthy(0..60);
        let usual = quiet().attempts(beat(0, 20_000, 300));
        let why = doubt(&usual).expect("it comes anyway");
        assert!(why.contains("may be requests of their own"), "{why}");
        // Five times as often as usual, and yet one in ten pauses would have had another.
        let often = quiet()
            .attempts(beat(0, 10_000, 300))
            .attempts(beat(10_000, 20_000, 60));
        assert!(doubt(&often).is_some());
        let seldom = quiet()
            .attempts(beat(0, 10_000, 5_000))
            .attempts(beat(10_000, 20_000, 60));
        assert_eq!(doubt(&seldom), None);
        let once = quiet()
            .attempts(beat(9_000, 9_001, 1))
            .attempts(beat(10_000, 20_000, 4_000));
        assert_eq!(doubt(&once), None);
        // What nobody asked for before is tried again, unless it comes with the operations.
        assert_eq!(doubt(&quiet().attempts(beat(11_000, 12_000, 60))), None);
        assert_eq!(doubt(&quiet().attempts(beat(11_010, 20_000, 37))), None);
    }

    #[test]
    fn what_comes_with_the_operations_of_a_load_is_a_request_of_each() {
        let story = Story::new().healthy(0..60);
        let begun: Vec<u64> = story
            .observations
            .iter()
            .filter_map(|one| match one {
                Observation::Operation(one) if &*one.load == "ask" => Some(one.intended.0 / 1_000),
                _ => None,
            })
            .filter(|at| (11_000..16_000).contains(at))
            .collect();
        assert!(begun.len() >= BEAT_MIN, "{begun:?}");
        let each = |lag: u64| {
            let own = begun
                .iter()
                .map(move |at| attempt("s3", at + lag, at + lag + 1));
            story.clone().attempts(own.map(|one| one.status(500).hit()))
        };
        assert!(doubt(&each(2)).is_some());
    }

    #[test]
    fn of_two_calls_that_go_on_at_one_time_nobody_knows_which_went_on() {
        let overlapping = |key: &'static str| {
            (0..6u64).flat_map(move |nth| {
                let at = 11_000 + nth * 3_000;
                let one = move |from: u64| attempt("s3", from, from + 500).gave_up().hit();
                [one(at), one(at + 700)]
                    .into_iter()
                    .chain([one(at + 400).key(key), one(at + 1_000).key(key)])
            })
        };
        let story = |key| Story::new().healthy(0..60).attempts(overlapping(key));
        assert!(doubt(&story("bucket/model")).is_some());
        // Each for a thing of its own: what follows three seconds later is another matter.
        let apart = (0..6u64).flat_map(|nth| {
            let key = format!("bucket/{nth}");
            let at = 11_000 + nth * 300;
            let one = move |from: u64| attempt("s3", from, from + 500).gave_up().hit();
            [one(at).key(&key), one(at + 700).key(&key)]
        });
        assert_eq!(doubt(&Story::new().healthy(0..60).attempts(apart)), None);
    }
}
