//! `back-off`: a client that was refused waits before it comes again, and not to a beat.
//!
//! Judged over the pauses between attempts of one call that a fault acted on, from the end of one to
//! the beginning of the next. Of an answer a client knows no sooner than with its first byte, and no
//! later than we note its end, which on a busy machine is late: a pause that is long enough from the
//! one and too short from the other is neither. Where the client sends no id of its own, which attempts
//! make a call is a guess (see `history::LogicalCall`): independent requests for one thing can look
//! like hasty retries, so that a failure is then inconclusive. `at_most_rate` counts what arrived, and
//! is a fact.

use super::{
    Expectation, ExpectationDef, Foresight, Judgement, Name, Names,
    beat::{peak, variation},
    calls::{self, Hit},
    names,
    samples::SAMPLES_MIN,
    wire::{self, Meant},
};
use crate::{
    history::{Attempt, AttemptEnd, NOTED_LATE, Stalls, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    units::{Micros, Rate, format_duration},
};
use std::time::Duration;

/// The stretch over which a rate is counted.
const RATE_OVER: Duration = Duration::from_secs(1);

/// The fewest pauses of which a variation is claimed.
const PAUSES_MIN: usize = 5;

/// How much longer than the first the last pause must be on average: exponential laws double it.
const GROWTH_MIN: f64 = 1.3;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "back-off",
    summary: "clients of a failing dependency wait between attempts, longer each time, and not to a beat",
    about: About {
        text: "\
            A client that was refused waits before it comes again, longer each time, and not to \
            a beat that all clients share.",
        evidence: "\
            The pauses between attempts of one call that a fault acted on, from the end of one \
            to the beginning of the next; for `at_most_rate` whatever arrived.",
        doubt: "\
            Too few pauses; or answers whose end came a while after their first byte, so that \
            nobody knows when the pause began; or, for `at_most_rate`, connects that were refused \
            or not accepted, of which nobody knows how many came. Where the client sends no id of its own, hasty \
            requests may be independent ones, and a failure is then inconclusive.",
        mistakes: &["\
                A circuit breaker that is open makes no attempts: nothing to judge, and nothing \
                wrong."],
        related: &["attempts", "amplification", "obeys-codes"],
    },
    example: "[[expect]]\nid           = \"SNP-8\"\nthat         = \"clients do not hammer while they are refused\"\nkind         = \"back-off\"\non           = \"object-store\"\nat_least     = \"100ms\"\ngrows        = true\njitter       = 0.2\nat_most_rate = \"40/s\"\n",
    keys: &[
        Key::required("on", Shape::Text, "the role or dependency"),
        wire::OPERATION,
        Key::optional(
            "at_least",
            Shape::Duration,
            "the shortest pause between two attempts of a call",
        ),
        Key::optional(
            "grows",
            Shape::Bool,
            "whether pauses must grow from attempt to attempt, on the average of all calls (false)",
        ),
        Key::optional(
            "jitter",
            Shape::Number(0.01, 10.0),
            "the least coefficient of variation among the first pauses of calls",
        ),
        Key::optional(
            "at_most_rate",
            Shape::Rate,
            "the most requests (connections where none are seen) in any second",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct BackOff {
    on: Name,
    operations: Vec<String>,
    meant: Meant,
    at_least: Option<Duration>,
    grows: bool,
    jitter: Option<f64>,
    rate: Option<Rate>,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let of_calls = ["at_least", "grows", "jitter"]
        .iter()
        .any(|key| fields.has(key));
    let on = if of_calls {
        names::dependency_with_requests(fields, "on", names, problems)
    } else {
        names::dependency(fields, "on", names, problems)
    };
    let meant = Meant::read(fields, false, problems);
    let at_least = fields.duration("at_least", problems);
    let grows = fields.bool("grows", problems).unwrap_or(false);
    let jitter = fields.number("jitter", problems);
    let rate = fields.rate("at_most_rate", problems);
    if at_least.is_none() && !grows && jitter.is_none() && rate.is_none() {
        problems.error(
            fields.source,
            fields.span.clone(),
            format!("{} bounds nothing", fields.name()),
            "say `at_least = \"100ms\"`, `grows = true`, `jitter = 0.2` or `at_most_rate = \"40/s\"`".to_owned(),
        );
        return None;
    }
    Some(Box::new(BackOff {
        on: on?,
        operations: names::operations(fields, "operation", &mut Problems::default()),
        meant,
        at_least,
        grows,
        jitter,
        rate,
    }))
}

/// A pause between two attempts of a call.
#[derive(Clone, Copy)]
struct Pause {
    /// When it began at the soonest: see [`Attempt::waited_from`].
    from: Micros,
    /// The shortest and the longest that it can have been.
    least: Duration,
    most: Duration,
    /// What it was, where these are as good as one.
    known: Option<Duration>,
    /// The longest that it can have been, however late a busy machine noted the end of the attempt
    /// before: of an end that was no answer nobody knows.
    on_any_machine: Option<Duration>,
}

impl Pause {
    fn between(before: &Attempt, after: &Attempt, stalls: &Stalls) -> Self {
        // Beside a stall of ours neither the end of the one is certain nor the beginning of the other.
        let told = before.told();
        let stalled = stalls.within(Window::new(told, before.ended));
        let (from, until) = before.waited_from_noted(NOTED_LATE + stalled);
        let from = stalls.since(from).max(before.began);
        let least = stalls.since(after.began).since(until);
        let most = after.began.since(from);
        let is_answered = before.end == AttemptEnd::Answered;
        Self {
            from,
            least,
            most,
            known: before
                .known_pause_before(after)
                .filter(|_| (least, most) == before.pause_before(after)),
            on_any_machine: is_answered.then(|| after.began.since(before.told())),
        }
    }

    /// What it was at least, where that is not known.
    fn shortest(&self) -> Duration {
        self.known.unwrap_or(self.least)
    }
}

/// The pauses of a call.
fn pauses(hit: &Hit<'_>, stalls: &Stalls) -> Vec<Pause> {
    let pairs = hit.attempts.windows(2);
    pairs
        .map(|pair| Pause::between(pair[0], pair[1], stalls))
        .collect()
}

/// A time of which only the bounds may be known.
fn between(least: Duration, most: Duration) -> String {
    match (format_duration(least), format_duration(most)) {
        (least, most) if least == most => most,
        (least, most) => format!("{least} to {most}"),
    }
}

fn mean(times: impl Iterator<Item = Duration>) -> f64 {
    let (sum, count) = times.fold((0.0, 0u32), |(sum, count), time| {
        (sum + time.as_secs_f64(), count + 1)
    });
    sum / f64::from(count.max(1))
}

impl BackOff {
    fn of_calls(&self, view: &View<'_>) -> Judgement {
        let hits = calls::hit(view, &self.on, &self.operations);
        let certain = hits.iter().all(|hit| hit.call.by_sdk_id);
        let stalls = Stalls::of(view.history);
        let all: Vec<Vec<Pause>> = hits.iter().map(|hit| pauses(hit, &stalls)).collect();
        let flat: Vec<Pause> = all.iter().flatten().copied().collect();
        let least = flat.iter().map(Pause::shortest).min();
        let most = flat.iter().map(|pause| pause.most).min();
        let measured = match (least, most) {
            (Some(least), Some(most)) => format!(
                "{} pauses, the shortest {}{}",
                flat.len(),
                between(least, most),
                calls::grouping_note(&hits)
            ),
            _ => "no pauses".to_owned(),
        };
        let judgement = Judgement::new(view.window(), flat.len() as u64, measured);
        if flat.is_empty() {
            return judgement.inconclusive(format!(
                "none of {} calls that a fault acted on was tried again",
                hits.len()
            ));
        }
        let mut judgement = judgement;
        for wrong in [
            self.too_short(&flat),
            self.stagnant(&all),
            self.in_step(&all),
        ] {
            judgement = match wrong {
                Told::Kept => judgement,
                Told::Unknown(why) => judgement.inconclusive(why),
                Told::Broken {
                    why,
                    evidence,
                    on_any_machine,
                } if certain => judgement
                    .fail_however_busy(on_any_machine, why)
                    .with(evidence),
                Told::Broken { why, evidence, .. } => judgement
                    .inconclusive(format!(
                        "{why}, unless they are requests of their own: the client sends no id"
                    ))
                    .with(evidence),
            };
        }
        if let Some(why) = calls::apart(view, &hits) {
            judgement = judgement.inconclusive(why);
        }
        if (flat.len() as u64) < SAMPLES_MIN {
            return judgement.inconclusive(format!(
                "{} pauses show no law, at least {SAMPLES_MIN} are needed",
                flat.len()
            ));
        }
        judgement
    }

    fn too_short(&self, pauses: &[Pause]) -> Told {
        let Some(least) = self.at_least else {
            return Told::Kept;
        };
        let short: Vec<_> = pauses.iter().filter(|one| one.most < least).collect();
        if short.is_empty() {
            let open = pauses.iter().filter(|one| one.least < least).count();
            return match open {
                0 => Told::Kept,
                _ => Told::Unknown(format!(
                    "{open} of {} pauses may have been shorter than {}: they are so from the end of the answer, and not from its first byte, or as Brownout stood still beside them",
                    pauses.len(),
                    format_duration(least)
                )),
            };
        }
        let evidence = short.iter().map(|one| {
            let what = format!("tried again after {}", format_duration(one.most));
            (one.from, what)
        });
        let is_surely = |one: &&Pause| one.on_any_machine.is_some_and(|most| most < least);
        let why = format!(
            "{} of {} pauses were shorter than {}",
            short.len(),
            pauses.len(),
            format_duration(least)
        );
        Told::Broken {
            why,
            evidence: evidence.take(super::EVIDENCE_MAX).collect(),
            on_any_machine: short.iter().copied().any(|one| is_surely(&one)),
        }
    }

    /// Whether pauses do not grow: the mean of the last against that of the first, of calls with
    /// at least two.
    fn stagnant(&self, calls: &[Vec<Pause>]) -> Told {
        if !self.grows {
            return Told::Kept;
        }
        let long: Vec<&Vec<Pause>> = calls.iter().filter(|pauses| pauses.len() >= 2).collect();
        if (long.len() as u64) < SAMPLES_MIN {
            return Told::Unknown(format!(
                "{} calls had more than one pause, at least {SAMPLES_MIN} are needed to see them grow",
                long.len()
            ));
        }
        let first = |length: fn(&Pause) -> Duration| mean(long.iter().map(|all| length(&all[0])));
        let last = |length: fn(&Pause) -> Duration| {
            let all = long.iter().filter_map(|pauses| pauses.last());
            mean(all.map(length))
        };
        let least = Pause::shortest;
        let most = |one: &Pause| one.most;
        if last(least) >= first(most) * GROWTH_MIN && last(least) > 0.0 {
            return Told::Kept;
        }
        let words = format!(
            "{:.3}s at first, {:.3}s at last on average",
            first(most),
            last(most)
        );
        if last(most) < first(least) * GROWTH_MIN || last(most) == 0.0 {
            return Told::broken(format!("pauses do not grow: {words}"));
        }
        Told::Unknown(format!(
            "whether pauses grow cannot be told: {words}, but some began nobody knows when, before the end of the answer"
        ))
    }

    fn in_step(&self, calls: &[Vec<Pause>]) -> Told {
        let Some(least) = self.jitter else {
            return Told::Kept;
        };
        let first: Vec<&Pause> = calls.iter().filter_map(|pauses| pauses.first()).collect();
        if first.len() < PAUSES_MIN {
            return Told::Unknown(format!(
                "{} first pauses show no jitter, at least {PAUSES_MIN} are needed",
                first.len()
            ));
        }
        // What varies may be how long answers take to come.
        let of = |length: fn(&Pause) -> Duration| {
            let lengths: Vec<Duration> = first.iter().map(|one| length(one)).collect();
            variation(&lengths).unwrap_or(0.0)
        };
        let (one, other) = (of(|one| one.most), of(Pause::shortest));
        match (one >= least, other >= least) {
            (true, true) => Told::Kept,
            (false, false) => Told::broken(format!(
                "pauses come to a beat: variation {:.2}, less than {least}",
                one.max(other)
            )),
            _ => Told::Unknown(format!(
                "the first pauses vary by {one:.2} from the first byte of the answer on, and by {other:.2} from its end on"
            )),
        }
    }

    fn hammering(&self, view: &View<'_>, rate: Rate) -> Judgement {
        let mut moments: Vec<Micros> = Vec::new();
        let mut unseen = Vec::new();
        for window in view.windows() {
            unseen.extend(wire::unseen(view, &self.on, window));
            moments.extend(wire::arrivals(view, &self.on, &self.meant, window));
        }
        moments.sort_unstable();
        let (at, most) = peak(&moments, RATE_OVER).unwrap_or_default();
        let count = moments.len() as u64;
        let judgement = Judgement::new(view.window(), count, format!("at most {most} in a second"));
        let Some(is_peak) = wire::is_peak(view, &moments, RATE_OVER, rate) else {
            return judgement.inconclusive(wire::STALLED);
        };
        if is_peak {
            return judgement
                .fail_however_busy(
                    wire::is_storm(&moments, rate.as_per_second()),
                    format!("{most} arrived in one second"),
                )
                .with([(at, format!("{most} in the second from here"))]);
        }
        if let Some(why) = wire::kept_out(&self.on, &unseen) {
            return judgement.inconclusive(why);
        }
        if count < SAMPLES_MIN {
            return judgement.inconclusive(format!("{count} arrivals show no rate"));
        }
        judgement
    }
}

/// What pauses say.
enum Told {
    Kept,
    Unknown(String),
    Broken {
        why: String,
        evidence: Vec<(Micros, String)>,
        /// Whether no busy machine brings it about.
        on_any_machine: bool,
    },
}

impl Told {
    /// Broken as a whole, which may be the machine's doing.
    const fn broken(why: String) -> Self {
        Self::Broken {
            why,
            evidence: Vec::new(),
            on_any_machine: false,
        }
    }
}

impl Expectation for BackOff {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let of_calls = self.at_least.is_some() || self.grows || self.jitter.is_some();
        let pauses = of_calls.then(|| self.of_calls(view));
        let rate = self.rate.map(|rate| self.hammering(view, rate));
        pauses
            .into_iter()
            .chain(rate)
            .reduce(Judgement::and)
            .unwrap_or_else(|| {
                Judgement::new(view.window(), 0, "nothing").inconclusive("nothing is bounded")
            })
    }

    fn required(&self) -> String {
        let mut bounds = Vec::new();
        bounds.extend(
            self.at_least
                .map(|least| format!("pauses of at least {}", format_duration(least))),
        );
        bounds.extend(self.grows.then(|| "that grow".to_owned()));
        bounds.extend(
            self.jitter
                .map(|least| format!("variation at least {least}")),
        );
        bounds.extend(
            self.rate
                .map(|rate| format!("at most {rate} in any second")),
        );
        format!("attempts at `{}`: {}", self.on, bounds.join(", "))
    }

    fn forewarn(&self, plan: &Foresight<'_>) -> Vec<String> {
        let why = self
            .rate
            .and_then(|_| wire::will_be_kept_out(plan, &self.on));
        why.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_under, problems};
    use crate::{
        expectation::Status,
        history::sample::{Story, attempt},
    };

    const AT_LEAST: &str = "kind = \"back-off\"\non = \"s3\"\nat_least = \"100ms\"";
    const GROWS: &str = "kind = \"back-off\"\non = \"s3\"\ngrows = true";
    const JITTER: &str = "kind = \"back-off\"\non = \"s3\"\njitter = 0.2";
    const RATE: &str = "kind = \"back-off\"\non = \"s3\"\nat_most_rate = \"5/s\"";

    /// Six calls of three failing attempts with these two pauses, the first longer by `spread` from
    /// call to call.
    fn calls(first: u64, second: u64, spread: u64, sdk: bool) -> Story {
        let mut story = Story::new().healthy(0..60);
        for call in 0..6u64 {
            let mut at = 11_000 + call * 3_000;
            for (number, pause) in [(1, first + call * spread), (2, second), (3, 0)] {
                let one = attempt("s3", at, at + 10).status(500).hit();
                let key = format!("bucket/{call}");
                let one = if sdk {
                    one.sdk(&key, number)
                } else {
                    one.key(&key)
                };
                story = story.attempt(one);
                at += 10 + pause;
            }
        }
        story
    }

    #[test]
    fn patient_clients_pass_and_hasty_ones_fail() {
        let verdict = check(AT_LEAST, &calls(100, 200, 0, true));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        let verdict = check(AT_LEAST, &calls(99, 200, 0, true));
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence[0].what, "tried again after 99ms");
    }

    #[test]
    fn the_beat_of_calls_is_no_patience() {
        let beat = |nth: u64| {
            let one = attempt("s3", nth * 200, nth * 200 + 5).key("/prices");
            if nth < 50 { one } else { one.status(500).hit() }
        };
        let story = |from: u64| {
            let attempts = (from..140).map(beat);
            Story::new().healthy(0..60).attempts(attempts)
        };
        let verdict = check(AT_LEAST, &story(0));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let why = verdict.reason.expect("a reason");
        assert!(why.contains("requests of their own"), "{why}");
        assert_eq!(check(AT_LEAST, &story(50)).status, Status::Pass);
    }

    /// Six calls of three attempts, each told so many milliseconds before its end was noted, and tried
    /// again 50 ms after it was told.
    fn noted(late: u64, sdk: bool) -> Story {
        let mut story = Story::new().healthy(0..60);
        for call in 0..6u64 {
            for number in 1..=3u64 {
                let began = 11_000 + call * 3_000 + number * 60;
                let one = attempt("s3", began, began + 10 + late).status(500).hit();
                let one = one.first_byte(began + 10);
                let key = format!("bucket/{call}");
                story = story.attempt(match sdk {
                    true => one.sdk(&key, number as u32),
                    false => one.key(&key),
                });
            }
        }
        story
    }

    #[test]
    fn a_pause_beside_a_stall_of_ours_is_as_long_as_it_may_have_been() {
        let expect = |least: &str| AT_LEAST.replace("100ms", least);
        // Told after 10 ms and tried again 400 ms after that, and noted in the same moment.
        let story = |stalled: Option<(u64, u64)>| {
            let mut story = Story::new().healthy(0..60);
            for call in 0..6u64 {
                for number in 1..=3u64 {
                    let began = 11_000 + call * 3_000 + number * 410;
                    let one = attempt("s3", began, began + 409).status(500).hit();
                    let one = one
                        .first_byte(began + 10)
                        .sdk(&call.to_string(), number as u32);
                    story = story.attempt(one);
                    if let Some((from, to)) = stalled {
                        story = story.stalled(began + from, began + to);
                    }
                }
            }
            story
        };
        let judged = |least, stalled| check(&expect(least), &story(stalled)).status;
        // A body that goes on and on is not over with its first byte, unless it was we who did not look.
        assert_eq!(judged("300ms", None), Status::Fail);
        assert_eq!(judged("300ms", Some((20, 400))), Status::Inconclusive);
        assert_eq!(judged("500ms", Some((20, 400))), Status::Fail);
        // What is noted at the end of a stall may have begun before.
        let long = calls(400, 400, 0, true);
        let beside = (0..6u64).fold(long.clone(), |story, call| {
            let again = 11_410 + call * 3_000;
            story.stalled(again - 200, again)
        });
        assert_eq!(check(&expect("300ms"), &long).status, Status::Pass);
        let verdict = check(&expect("300ms"), &beside);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert_eq!(check(&expect("500ms"), &beside).status, Status::Fail);
    }

    #[test]
    fn a_rate_that_turns_on_a_stall_of_ours_is_not_said() {
        let judged = |arrivals: &[u64], stall: Option<u64>| {
            let all = arrivals.iter().map(|at| attempt("s3", *at, at + 10));
            let story = Story::new().healthy(0..60).attempts(all);
            let story = stall
                .into_iter()
                .fold(story, |story, from| story.stalled(from, 12_500));
            check(RATE, &story).status
        };
        // What came in meanwhile is noted with what came after it.
        let after = [12_500, 12_500, 12_510, 13_100, 13_200, 13_300];
        assert_eq!(judged(&after, None), Status::Fail);
        assert_eq!(judged(&after, Some(12_000)), Status::Inconclusive);
        assert_eq!(judged(&after, Some(12_450)), Status::Fail);
        assert_eq!(judged(&[12_500; 6], Some(12_000)), Status::Fail);
        // It may have come with what came before.
        let before = [11_300, 11_400, 11_500, 12_500, 12_500, 12_510];
        assert_eq!(judged(&before, None), Status::Pass);
        assert_eq!(judged(&before, Some(12_000)), Status::Inconclusive);
        assert_eq!(judged(&before, Some(12_400)), Status::Pass);
    }

    #[test]
    fn a_pause_begins_when_the_client_is_told_and_not_when_we_note_it() {
        let expect = |least: &str| AT_LEAST.replace("100ms", least);
        // Noted in time, late, and after the next attempt was here.
        for (late, sdk) in [(0, true), (5, true), (20, true), (60, true), (60, false)] {
            let verdict = check(&expect("60ms"), &noted(late, true));
            assert_eq!(verdict.status, Status::Fail, "{late}: {verdict:?}");
            // Or it was so long in coming: then it was tried again sooner after it.
            let status = match late {
                0 | 5 => Status::Pass,
                _ => Status::Inconclusive,
            };
            let verdict = check(&expect("40ms"), &noted(late, sdk));
            assert_eq!(verdict.status, status, "{late}: {verdict:?}");
        }
        let shortest = |late| check(&expect("40ms"), &noted(late, true)).measured;
        assert!(shortest(5).ends_with("12 pauses, the shortest 50ms"));
        assert!(shortest(20).ends_with("12 pauses, the shortest 30ms to 50ms"));
        // A body that goes on and on is not over with its first byte.
        let verdict = check(&expect("40ms"), &noted(300, true));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    }

    /// Six calls of three attempts, with answers that are so many milliseconds in coming, each a little
    /// longer than the one of the call before, and pauses after them.
    fn slow(body: u64, spread: u64, pauses: [u64; 2]) -> Story {
        let mut story = Story::new().healthy(0..60);
        for call in 0..6u64 {
            let mut at = 11_000 + call * 3_000;
            for (number, pause) in (1..).zip(pauses.into_iter().chain([0])) {
                let ended = at + 10 + body + call * spread;
                let one = attempt("s3", at, ended).status(500).hit();
                story = story.attempt(one.first_byte(at + 10).sdk(&call.to_string(), number));
                at = ended + pause;
            }
        }
        story
    }

    #[test]
    fn an_error_that_is_long_in_coming_is_no_pause() {
        for (body, pauses, status) in [
            (200, [1, 1], Status::Inconclusive),
            (200, [160, 160], Status::Pass),
            (5, [160, 160], Status::Pass),
            (5, [1, 1], Status::Fail),
            (100, [1, 1], Status::Fail),
        ] {
            let expect = AT_LEAST.replace("100ms", "150ms");
            let verdict = check(&expect, &slow(body, 0, pauses));
            assert_eq!(verdict.status, status, "{body} {pauses:?}: {verdict:?}");
        }
        // Nor does it hide that pauses grow, or make them vary.
        for (body, pauses, status) in [
            (200, [20, 40], Status::Inconclusive),
            (100, [400, 800], Status::Pass),
            (40, [400, 400], Status::Fail),
            (5, [20, 40], Status::Pass),
            (5, [20, 20], Status::Fail),
            (5, [1, 1], Status::Fail),
        ] {
            let verdict = check(GROWS, &slow(body, 0, pauses));
            assert_eq!(verdict.status, status, "{body} {pauses:?}: {verdict:?}");
        }
        let verdict = check(JITTER, &slow(20, 40, [30, 30]));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    #[test]
    fn a_pause_that_is_too_short_is_so_on_a_busy_machine_too() {
        let busy = |story: Story| story.missed(15, "ask", 60);
        let verdict = check(AT_LEAST, &busy(calls(99, 200, 0, true)));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
        for (expect, story) in [
            (AT_LEAST, calls(100, 200, 0, true)),
            (GROWS, calls(200, 200, 0, true)),
            (JITTER, calls(100, 200, 0, true)),
        ] {
            let verdict = check(expect, &busy(story));
            assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        }
        // Of an attempt without an answer nobody knows when its client was done with it.
        let cut = |at: u64, number| attempt("s3", at, at + 10).gave_up().hit().sdk("a", number);
        let story = || {
            (0..4u32).fold(Story::new().healthy(0..60), |story, nth| {
                story.attempt(cut(12_000 + u64::from(nth) * 50, nth + 1))
            })
        };
        assert_eq!(check(AT_LEAST, &story()).status, Status::Fail);
        assert_eq!(check(AT_LEAST, &busy(story())).status, Status::Inconclusive);
    }

    #[test]
    fn a_storm_is_one_on_a_busy_machine_too() {
        let arrivals = |count: u64| {
            let each = (0..count).map(|nth| attempt("s3", 12_000 + nth * 80, 12_010 + nth * 80));
            Story::new().healthy(0..60).attempts(each)
        };
        for (count, on_a_busy_one) in [(60, Status::Inconclusive), (120, Status::Fail)] {
            assert_eq!(check(RATE, &arrivals(count)).status, Status::Fail);
            let busy = arrivals(count).missed(15, "ask", 60);
            assert_eq!(check(RATE, &busy).status, on_a_busy_one, "{count}");
        }
    }

    #[test]
    fn pauses_that_grow_pass_and_even_ones_fail() {
        assert_eq!(check(GROWS, &calls(100, 200, 0, true)).status, Status::Pass);
        assert_eq!(check(GROWS, &calls(200, 200, 0, true)).status, Status::Fail);
    }

    #[test]
    fn pauses_that_differ_pass_and_a_beat_fails() {
        assert_eq!(
            check(JITTER, &calls(100, 200, 60, true)).status,
            Status::Pass
        );
        assert_eq!(
            check(JITTER, &calls(100, 200, 0, true)).status,
            Status::Fail
        );
    }

    #[test]
    fn calls_put_together_by_time_are_no_proof_of_haste() {
        let verdict = check(AT_LEAST, &calls(50, 200, 0, false));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        assert!(verdict.measured.contains("grouped by time"));
        let verdict = check(AT_LEAST, &calls(100, 200, 0, false));
        assert_eq!(verdict.status, Status::Pass);
    }

    #[test]
    fn what_arrives_in_a_second_is_a_fact_whoever_sent_it() {
        assert_eq!(check(RATE, &calls(100, 200, 0, false)).status, Status::Pass);
        let herd = (0..6).map(|nth| attempt("s3", 15_000 + nth * 100, 15_010 + nth * 100));
        let verdict = check(RATE, &Story::new().healthy(0..60).attempts(herd));
        assert_eq!(verdict.status, Status::Fail);
    }

    #[test]
    fn of_what_a_shut_listener_keeps_out_no_rate_is_known() {
        let herd = |count: u64| {
            let herd = (0..count).map(|nth| attempt("s3", 15_000 + nth * 100, 15_010 + nth * 100));
            Story::new().healthy(0..60).attempts(herd)
        };
        for (fault, few, many) in [
            ("hang", Status::Pass, Status::Fail),
            ("refuse", Status::Inconclusive, Status::Fail),
            ("no-accept", Status::Inconclusive, Status::Fail),
        ] {
            let fault = format!("kind = '{fault}'\non = 's3'");
            let under = |count| check_under(&fault, RATE, &herd(count), Vec::new()).status;
            assert_eq!((under(4), under(6)), (few, many), "{fault}");
        }
    }

    #[test]
    fn without_a_second_attempt_there_is_no_pause() {
        let once = attempt("s3", 12_000, 12_010).sdk("a", 1).status(500).hit();
        let story = Story::new().healthy(0..60).attempt(once);
        for text in [AT_LEAST, GROWS, JITTER, RATE] {
            assert_eq!(check(text, &story).status, Status::Inconclusive, "{text}");
        }
    }

    #[test]
    fn a_bound_is_needed() {
        assert_eq!(
            problems("kind = \"back-off\"\non = \"s3\""),
            ["expectation bounds nothing"]
        );
    }
}
