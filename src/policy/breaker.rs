//! Circuit breakers: after so many failures nothing is sent for a while, then one attempt to see.
//!
//! From outside an open breaker is silence: no attempt is open and none begins, though work comes in
//! that would have made some. How much work that must be follows from the steady phases: so many
//! operations of the load that five attempts would have come of them (five at random stay away by
//! chance in one of 150 silences). What breaks the silence is a probe; if it fails, the breaker is
//! open again, and if it does not, it may close.
//!
//! A worker that does one thing after the other is as silent while it pauses between two attempts of
//! one call. So a silence that ends with another attempt of a failed call is none; and where calls
//! are told apart by their time only, and what is asked for does not tell them apart either, nothing
//! is claimed. Nor is it a silence where attempts could not be seen: while connections were refused,
//! or an instance of the system was down.
//!
//! A run mostly sees a breaker open once; that it did after so many failures, and closed after so
//! many probes, is said in words, and claimed where it was seen three times.
//!
//! What is in flight when a breaker opens fails as well and did not open it: it opened after more
//! failures than were over when the last attempt began, and after no more than there were. And
//! whether work that goes on after one good probe is that of a closed breaker, or the next probes of
//! one that lets several through, cannot be seen; that it lets one through at a time shows where good
//! probes had silences between them.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding, time},
    give_up::{SPREAD_MAX, TOGETHER, apart},
    interval::median,
    material::{Material, cause},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, Window},
    units::Micros,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "breaker",
    summary: "after how many failures a circuit breaker opens, how long it then lets nothing through, and what closes it",
    infer,
};

/// How many attempts must be missing in a silence.
const MISSING_MIN: f64 = 5.0;

/// The fewest attempts and operations in the steady phases that a ratio is made of.
const STEADY_MIN: usize = 10;

/// A probe may wait for so many of the times that lie between two attempts: it is made when work
/// comes in, not when the breaker would let it through.
const WORK_LATE: f64 = 3.0;

/// How long a failure may be over before its client knows.
const SEEN_LATE: Duration = Duration::from_millis(2);

/// Faults while which attempts stay unseen: no connection is made, or nobody is there.
const UNSEEN: &[&str] = &[
    "kill",
    "max-connections",
    "no-accept",
    "pause",
    "refuse",
    "restart",
];

/// A silence between attempts.
struct Silence {
    from: Micros,
    to: Micros,
    /// After how many failures in a row it began, at the least and at the most.
    failures: (u64, u64),
    /// Whether it follows another silence with nothing but probes between.
    is_probed: bool,
    /// Whether what ends it may be another attempt of a failed call.
    is_doubtful: bool,
}

/// What was seen of a breaker.
#[derive(Default)]
struct Seen {
    silences: Vec<Silence>,
    /// How many probes in a row did not fail, each time work went on after them.
    closings: Vec<u64>,
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let (Some(trouble), Some(steady)) = (material.trouble(), Steady::of(material)) else {
        return Vec::new();
    };
    let seen = Seen::of(material, trouble, &steady);
    let (Some(first), Some(last)) = (seen.silences.first(), seen.silences.last()) else {
        return Vec::new();
    };
    let window = (first.from, last.to);
    if let Some(why) = seen.doubt() {
        let samples = seen.silences.len() as u64;
        let aspects = [Aspect::BreakerOpens, Aspect::BreakerProbes];
        let unknown = |aspect| {
            let why = why.clone();
            material.claim(aspect, window, Finding::Unknown { why }, samples)
        };
        return aspects.map(unknown).into();
    }
    let opened = seen.silences.iter().filter(|one| !one.is_probed);
    let failures: Vec<(u64, u64)> = opened.map(|one| one.failures).collect();
    let counted = |aspect, counts: &[(u64, u64)], did: &str, what: &str| {
        let samples = counts.len() as u64;
        material.claim(aspect, window, number(counts, did, what), samples)
    };
    let mut claims = vec![
        counted(Aspect::BreakerOpens, &failures, "opened", "failures"),
        probes(material, &seen.silences, window, &steady),
    ];
    if !seen.closings.is_empty() {
        let single = seen.closings.iter().filter(|well| **well < 2).count();
        if single == 0 {
            let closings = seen.closings.iter().map(|well| (*well, *well));
            let closings: Vec<(u64, u64)> = closings.collect();
            let what = "probes that did not fail";
            claims.push(counted(Aspect::BreakerCloses, &closings, "closed", what));
        } else {
            let samples = seen.closings.len() as u64;
            let why = format!(
                "{single} of {samples} times work went on after the first probe that did not fail: at least 1, and what came next may have been probes as well"
            );
            let finding = Finding::Unknown { why };
            claims.push(material.claim(Aspect::BreakerCloses, window, finding, samples));
        }
    }
    claims
}

/// The median of counts, of which there must be three; of those that are not known to one, only from
/// where to where they go.
fn number(counts: &[(u64, u64)], did: &str, what: &str) -> Finding {
    let times = counts.len() as u64;
    if times < SAMPLES_MIN {
        let words = counts.iter().map(|(low, high)| {
            if low == high {
                low.to_string()
            } else {
                format!("{low} to {high}")
            }
        });
        let words: Vec<String> = words.collect();
        let words = words.join(" and ");
        return Finding::Unknown {
            why: format!("{did} {times} times of at least {SAMPLES_MIN}, after {words} {what}"),
        };
    }
    let mut lows: Vec<u64> = counts.iter().map(|(low, _)| *low).collect();
    lows.sort_unstable();
    let (low, value) = (lows[0], lows[(lows.len() - 1) / 2]);
    let highs = counts.iter().map(|(_, high)| *high);
    let high = highs.fold(low, u64::max);
    if counts.iter().all(|(low, high)| low == high) {
        Finding::Count { value, low, high }
    } else {
        Finding::Range { low, high }
    }
}

/// How long nothing was let through.
fn probes(
    material: &Material<'_>,
    silences: &[Silence],
    window: (Micros, Micros),
    steady: &Steady<'_>,
) -> Claim {
    let times = silences.iter();
    let times = times.map(|one| one.to.since(one.from).as_secs_f64());
    let times: Vec<f64> = times.collect();
    let samples = times.len() as u64;
    let unknown = |why: String| Finding::Unknown { why };
    let finding = match median(&times).filter(|_| samples >= SAMPLES_MIN) {
        None => unknown(format!("{samples} silences of at least {SAMPLES_MIN}")),
        Some(found) => {
            let (low, high) = apart(&times);
            let words = |seconds: f64| time((seconds * 1e6) as u64);
            if high - low > (SPREAD_MAX * found.value).max(TOGETHER) + WORK_LATE * steady.gap {
                unknown(format!(
                    "{samples} silences ended after {} to {}, at no one time",
                    words(low),
                    words(high)
                ))
            } else {
                lasting(found.time(), &times, steady.work_gap())
            }
        }
    };
    material.claim(Aspect::BreakerProbes, window, finding, samples)
}

/// How long a breaker stays open whose silences took this time. The probe is made with the next work, so
/// that each silence is longer than the breaker's time by as much as that was late: the shortest of three
/// at random by no more than the mean time between two pieces of it, `gap`, in 19 of 20 runs, and by no
/// more than that where work comes at a beat.
fn lasting(time: Finding, silences: &[f64], gap: f64) -> Finding {
    let shortest = silences.iter().copied().fold(f64::INFINITY, f64::min);
    let least = ((shortest - gap).max(0.0) * 1e6) as u64;
    match time {
        Finding::Time {
            value_us,
            low_us,
            high_us,
            confidence,
        } => Finding::Time {
            value_us,
            low_us: low_us.min(least),
            high_us,
            confidence,
        },
        other => other,
    }
}

impl Seen {
    /// The silences that begin in trouble and are broken by another attempt, and what closed the
    /// breaker.
    fn of(material: &Material<'_>, trouble: Window, steady: &Steady) -> Self {
        let attempts = material.view.history.attempts_of(&material.dependency.name);
        let again = repeated(material);
        let hidden = hidden(material);
        let mut seen = Self::default();
        let mut open_until = Micros(0);
        // When those that failed in a row were over.
        let mut failures: Vec<Micros> = Vec::new();
        let mut last_began = Micros(0);
        // How many probes in a row did not fail, where the breaker was seen to open.
        let mut probed: Option<u64> = None;
        for (index, attempt) in attempts.iter().enumerate() {
            let silence = Window::new(open_until, attempt.began);
            let missing = steady.per_operation * operations(material, silence) as f64;
            let begins = probed.is_some() || (!failures.is_empty() && silence.from <= trouble.to);
            if begins && missing >= MISSING_MIN {
                let is_hidden = hidden
                    .iter()
                    .any(|one| one.from < silence.to && silence.from < one.to);
                let is_again = again.get(&index).copied();
                if is_hidden {
                    failures.clear();
                    probed = None;
                } else if is_again != Some(Again::Surely) {
                    // What closes a breaker that opened in the judged phases may come after them.
                    if material.view.contains(silence.from) {
                        seen.silences.push(Silence {
                            from: silence.from,
                            to: silence.to,
                            failures: bounds(&failures, last_began),
                            is_probed: probed.is_some(),
                            is_doubtful: is_again.is_some() && !steady.is_common(attempt),
                        });
                        probed = Some(probed.unwrap_or(0));
                    }
                    failures.clear();
                }
            } else if let Some(well) = probed.filter(|well| *well > 0) {
                seen.closings.push(well);
                probed = None;
            }
            if has_failed(material, attempt) {
                failures.push(attempt.ended);
                probed = probed.map(|_| 0);
            } else {
                failures.clear();
                probed = probed.map(|well| well + 1);
            }
            last_began = attempt.began;
            open_until = open_until.max(attempt.ended);
        }
        seen
    }

    /// Why the silences may be no breaker's.
    fn doubt(&self) -> Option<String> {
        let count = self.silences.iter().filter(|one| one.is_doubtful).count();
        let all = self.silences.len();
        (count > 0).then(|| {
            format!(
                "{count} of {all} silences ended with what may be another attempt of a call that failed: the client sends no id"
            )
        })
    }
}

/// After how many of these failures a breaker opened, at the least and at the most: when the last
/// attempt began, it was closed.
fn bounds(failures: &[Micros], last_began: Micros) -> (u64, u64) {
    let known = |ended: &&Micros| **ended + SEEN_LATE <= last_began;
    let (known, all) = (failures.iter().filter(known).count(), failures.len());
    ((known as u64 + 1).min(all as u64), all as u64)
}

/// Whether an attempt is another one of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The client says so.
    Surely,
    /// By operation, key and time.
    Perhaps,
}

/// The attempts that are not the first of their call.
fn repeated(material: &Material<'_>) -> HashMap<usize, Again> {
    let history = material.view.history;
    let attempts = history.attempts_of(&material.dependency.name);
    let mut again = HashMap::new();
    for call in history.calls_of(&material.dependency.name) {
        for index in call.attempts.iter().skip(1) {
            let index = *index as usize;
            let is_sure = call.by_sdk_id || attempts[index].attempt > 1;
            let how = if is_sure {
                Again::Surely
            } else {
                Again::Perhaps
            };
            again.insert(index, how);
        }
    }
    again
}

/// When attempts could not be seen.
fn hidden(material: &Material<'_>) -> Vec<Window> {
    let view = material.view;
    let faults = material.faults().into_iter();
    let unseen = faults.filter(|(_, kind)| UNSEEN.contains(kind));
    let mut hidden: Vec<Window> = unseen.map(|(span, _)| span).collect();
    let mut since: HashMap<Arc<str>, Micros> = HashMap::new();
    for event in &view.history.processes {
        match &*event.event {
            "exited" | "killed" | "stopped" | "stopping" | "paused" => {
                since.entry(Arc::clone(&event.instance)).or_insert(event.at);
            }
            "ready" | "resumed" => {
                let from = since.remove(&event.instance);
                hidden.extend(from.map(|from| Window::new(from, event.at)));
            }
            _ => {}
        }
    }
    let end = view.history.over();
    hidden.extend(since.into_values().map(|from| Window::new(from, end)));
    hidden
}

fn has_failed(material: &Material<'_>, attempt: &Attempt) -> bool {
    cause(attempt, &material.deaths).is_some()
}

/// What attempts are like in the steady phases.
struct Steady<'a> {
    /// How many an operation makes.
    per_operation: f64,
    /// The mean time between two, in seconds.
    gap: f64,
    /// How often each thing was asked for.
    asked: HashMap<(&'a str, &'a str), u64>,
}

impl<'a> Steady<'a> {
    fn of(material: &Material<'a>) -> Option<Self> {
        let windows = material.view.steady();
        let attempts = material.view.history.attempts_of(&material.dependency.name);
        let (mut made, mut operations, mut seconds) = (0, 0, 0.0);
        let mut asked: HashMap<(&str, &str), u64> = HashMap::new();
        for window in windows {
            let own = window.of(attempts, |one| one.began);
            made += own.len();
            operations += self::operations(material, window);
            seconds += window.length().as_secs_f64();
            for one in own.iter().filter(|one| one.settled()) {
                *asked.entry((&*one.operation, &*one.key)).or_default() += 1;
            }
        }
        (made >= STEADY_MIN && operations >= STEADY_MIN).then(|| Self {
            per_operation: made as f64 / operations as f64,
            gap: seconds / made as f64,
            asked,
        })
    }

    /// The mean time between two operations that make attempts, in seconds.
    fn work_gap(&self) -> f64 {
        self.gap * self.per_operation.max(1.0)
    }

    /// Whether the same was asked for again and again while nothing failed: that it is asked for
    /// once more does not make it another attempt.
    fn is_common(&self, attempt: &Attempt) -> bool {
        let times = self.asked.get(&(&*attempt.operation, &*attempt.key));
        times.is_some_and(|times| *times >= SAMPLES_MIN)
    }
}

/// How many operations were to begin in a window, whatever the load.
fn operations(material: &Material<'_>, window: Window) -> usize {
    let loads = material.view.history.operations.values();
    loads
        .map(|own| window.of(own, |one| one.intended).len())
        .sum()
}
