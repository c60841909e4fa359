//! Whether a client repeats what it must not: what may have been carried out and would be carried out
//! twice, and what was refused for good.

use super::{
    ClaimDef,
    apart::apart,
    calls::Hit,
    claim::{Aspect, Basis, Claim, Finding},
    material::{Material, has_died},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, AttemptEnd, GAP_MAX, LogicalCall, NOTED_LATE},
    protocol::{Applied, Protocol},
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "repeats",
    summary: "whether the client repeats what is not idempotent, and what was refused for good",
    infer,
};

/// So long at least a client must have been there, and seen, after something failed before it is said that
/// it does not repeat it; longer where it was seen to pause longer.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// How often something could have been repeated, and was.
struct Count<'a> {
    /// The calls of which it was a part.
    calls: Vec<&'a LogicalCall>,
    part: u64,
    whole: u64,
    /// How many that were not were followed by a call for the same thing under another id.
    alike: u64,
    /// How many were not of which it cannot be told whether they would have been.
    cut_short: u64,
    window: (Micros, Micros),
    by_id: bool,
}

fn infer<'a>(material: &Material<'a>) -> Vec<Claim> {
    let protocol = material.dependency.protocol;
    let history = material.view.history;
    let name = &material.dependency.name;
    let attempts = history.attempts_of(name);
    let mut twice: BTreeMap<Arc<str>, Count<'a>> = BTreeMap::new();
    let mut refused: BTreeMap<Arc<str>, Count<'a>> = BTreeMap::new();
    let pause = longest_pause(material);
    let calls = history.calls_of(name).iter();
    for call in calls.filter(|call| material.view.contains(call.began)) {
        for (place, index) in call.attempts.iter().enumerate() {
            let attempt = &attempts[*index as usize];
            let again = if place + 1 < call.attempts.len() {
                Again::Yes
            } else if is_cut_short(material, attempt.ended, pause) {
                Again::Unseen
            } else {
                Again::No
            };
            if protocol.adds(&attempt.operation) && is_ambiguous(attempt) {
                let own = count(&mut twice, attempt, call, again);
                let is_alike =
                    again == Again::No && call.by_sdk_id && is_asked_anew(attempts, attempt);
                own.alike += u64::from(is_alike);
            }
            if call.by_sdk_id && is_refused(attempt) {
                count(&mut refused, attempt, call, again);
            }
        }
    }
    let claims = |counts: BTreeMap<Arc<str>, Count<'a>>, aspect: Aspect| {
        let counts = counts.into_iter();
        counts.map(move |(operation, count)| Claim {
            operation: Some(operation),
            basis: if count.by_id {
                Basis::Headers
            } else {
                Basis::Grouped
            },
            ..material.claim(
                aspect,
                count.window,
                doubt(material, &count).unwrap_or_else(|| finding(&count, aspect, protocol)),
                count.whole,
            )
        })
    };
    claims(twice, Aspect::RetriesNonIdempotent)
        .chain(claims(refused, Aspect::RetriesRefused))
        .collect()
}

/// Whether something was repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
    /// Its client ended before it could have been, or the run did.
    Unseen,
}

/// The longest that a client was seen to pause between two attempts, [`PAUSE_MIN`] at least.
fn longest_pause(material: &Material<'_>) -> Duration {
    let history = material.view.history;
    let attempts = history.attempts_of(&material.dependency.name);
    let calls = history.calls_of(&material.dependency.name).iter();
    let calls = calls.filter(|call| call.by_sdk_id);
    let pauses = calls.flat_map(|call| {
        let pairs = call.attempts.windows(2);
        pairs.map(|pair| {
            let (one, next) = (&attempts[pair[0] as usize], &attempts[pair[1] as usize]);
            one.pause_before(next).1
        })
    });
    pauses.fold(PAUSE_MIN, Duration::max)
}

/// Whether a client that failed at this moment, and pauses for so long, may have ended before it came
/// again, or did not come before the run was over.
fn is_cut_short(material: &Material<'_>, failed: Micros, pause: Duration) -> bool {
    let due = failed + pause;
    let mut deaths = material.deaths.iter();
    has_died(&material.deaths, failed)
        || deaths.any(|death| (failed..=due).contains(death))
        || due > material.view.history.over()
}

/// Whether an attempt failed though it may have been carried out.
fn is_ambiguous(attempt: &Attempt) -> bool {
    attempt.failed() && attempt.end != AttemptEnd::Unfinished && attempt.applied != Applied::No
}

/// Whether the same was asked under another id soon after an attempt: ids say which attempts are one
/// call, and not that two calls are not one wish. `attempts` are in the order they began.
fn is_asked_anew(attempts: &[Attempt], before: &Attempt) -> bool {
    let over = before.waited_from().0;
    let like = |one: &Attempt| {
        (&one.operation, &one.key, &one.captured)
            == (&before.operation, &before.key, &before.captured)
    };
    let first = attempts.partition_point(|one| one.began <= before.began);
    let later = attempts[first..].iter();
    later
        .take_while(|one| one.began <= before.ended + GAP_MAX)
        .filter(|one| one.began + NOTED_LATE >= over)
        .any(|one| one.call != before.call && like(one))
}

/// Answers that another try does mend, or may: with new credentials (401, 407), on a new connection
/// (408), after a conflict (409), outside early data (425) (RFC 9110, 15.5; RFC 8470, 5.2).
const MENDED: &[u16] = &[401, 407, 408, 409, 425];

/// Whether an attempt was answered with an error that another try does not mend.
fn is_refused(attempt: &Attempt) -> bool {
    let is_final = |status: u16| status >= 400 && !MENDED.contains(&status);
    attempt.settled() && attempt.status.is_some_and(is_final)
}

fn count<'a, 'b>(
    counts: &'b mut BTreeMap<Arc<str>, Count<'a>>,
    attempt: &Attempt,
    call: &'a LogicalCall,
    again: Again,
) -> &'b mut Count<'a> {
    let own = counts
        .entry(Arc::clone(&attempt.operation))
        .or_insert(Count {
            calls: Vec::new(),
            part: 0,
            whole: 0,
            alike: 0,
            cut_short: 0,
            window: (attempt.began, attempt.ended),
            by_id: true,
        });
    if again == Again::Unseen {
        own.cut_short += 1;
        return own;
    }
    own.whole += 1;
    if own
        .calls
        .last()
        .is_none_or(|last| !std::ptr::eq(*last, call))
    {
        own.calls.push(call);
    }
    own.part += u64::from(again == Again::Yes);
    own.window.1 = own.window.1.max(attempt.ended);
    own.by_id &= call.by_sdk_id;
    own
}

/// That what looks like repetitions may be requests of their own, if so.
fn doubt(material: &Material<'_>, count: &Count<'_>) -> Option<Finding> {
    if count.by_id || count.part == 0 {
        return None;
    }
    let history = material.view.history;
    let attempts = history.attempts_of(&material.dependency.name);
    let calls = count.calls.iter().map(|call| {
        let own = call.attempts.iter().map(|index| &attempts[*index as usize]);
        Hit::of(history, call, own.collect())
    });
    let calls: Vec<Hit<'_>> = calls.collect();
    apart(material.view, &calls).map(|why| Finding::Unknown { why })
}

fn finding(count: &Count<'_>, aspect: Aspect, protocol: Protocol) -> Finding {
    let unknown = |why: String| Finding::Unknown { why };
    // The id of a call of plain HTTP may be an `Idempotency-Key`, with which a repetition is safe.
    let is_repeated = aspect == Aspect::RetriesNonIdempotent && count.part > 0;
    if is_repeated && protocol == Protocol::Http && count.by_id {
        return unknown("calls bear an id, by which the server may know them again".to_owned());
    }
    if count.whole < SAMPLES_MIN {
        let whole = count.whole;
        let mut why = format!("seen {whole} times of at least {SAMPLES_MIN}");
        if count.cut_short > 0 {
            why.push_str(&format!(
                ", and {} times by clients that ended, or had no time left, before they could have repeated it",
                count.cut_short
            ));
        }
        return unknown(why);
    }
    if count.part == 0 && count.alike > 0 {
        return unknown(format!(
            "none of {} was repeated under its own id, and {} were followed by a call for the same thing under another, which may be a repetition",
            count.whole, count.alike
        ));
    }
    Finding::Does {
        does: count.part > 0,
        part: count.part,
        whole: count.whole,
    }
}
