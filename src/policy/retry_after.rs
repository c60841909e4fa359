//! Whether a client waits as long as an answer asks it to.
//!
//! A pause as long as was asked is a sign of obedience only where the client would have come sooner
//! of its own accord: where it is known to pause as long anyway, nothing is claimed. Where nothing is
//! known of its own pauses these may be as long as what is asked, by chance; that its waits follow shows
//! only where it was asked for short ones and for long ones, and came so soon and so late. AWS clients
//! heed `x-amz-retry-after` for five seconds at the most and do not look at `Retry-After`; so each
//! header is looked at by itself, and a wait that was asked for by two tells of both.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding},
    interval::median,
    material::{Group, Material},
    samples::SAMPLES_MIN,
};
use crate::protocol::RETRY_HEADERS;

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "retry-after",
    summary: "whether the client waits as long as answers ask (Retry-After, x-amz-retry-after)",
    infer,
};

/// So much of the time that was asked must have passed: timers are no finer.
const KEPT: f64 = 0.98;

/// A pause of the client's own of at least this part of what was asked cannot be told from one that
/// was asked for.
const OWN_PART: f64 = 0.5;

/// A wait is one that was asked for, where nothing else is known of the client's pauses, up to this
/// multiple of what was asked.
const CLOSE_PART: f64 = 1.25;

/// And up to so many seconds more.
const CLOSE_SLACK: f64 = 0.5;

/// Where nothing else is known of the client's pauses, those of at least so many times the shortest that
/// was asked must be kept as well as the shorter ones.
const APART: f64 = 2.0;

/// A pause behind an answer that asked for one.
struct Asked {
    /// Seconds.
    wanted: f64,
    /// Seconds.
    waited: f64,
}

impl Asked {
    /// Whether it took as long as was asked.
    fn is_kept(&self) -> bool {
        self.waited >= KEPT * self.wanted
    }

    /// Whether the wait follows what was asked: it is not much longer either.
    fn follows(&self) -> bool {
        self.is_kept() && self.waited <= self.wanted * CLOSE_PART + CLOSE_SLACK
    }
}

/// Whether enough of these do.
fn nearly_all(asked: &[&Asked], does: fn(&Asked) -> bool) -> bool {
    asked.iter().filter(|one| does(one)).count() * 10 >= asked.len() * 9
}

/// Why waits as long as was asked may be the client's own pauses, of which nothing else is known.
fn may_be_its_own(asked: &[&Asked]) -> Option<String> {
    let shortest = asked.iter().map(|one| one.wanted);
    let shortest = shortest.fold(f64::INFINITY, f64::min);
    let (long, short): (Vec<&Asked>, Vec<&Asked>) =
        asked.iter().partition(|one| one.wanted >= APART * shortest);
    if !nearly_all(asked, Asked::follows) {
        Some("it waits longer than asked, which may be its own pause: no other was seen".to_owned())
    } else if (long.len().min(short.len()) as u64) < SAMPLES_MIN {
        Some(format!(
            "its own pause may be as long: no other was seen, and {SAMPLES_MIN} waits of at least {APART} times the shortest would tell"
        ))
    } else if !nearly_all(&long, Asked::follows) || !nearly_all(&short, Asked::follows) {
        Some("its waits do not follow what is asked, and no other pause was seen".to_owned())
    } else {
        None
    }
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let groups = material.groups.iter();
    groups
        .flat_map(|group| {
            let headers = RETRY_HEADERS.iter();
            headers.filter_map(|(header, _)| honoured(material, group, header))
        })
        .collect()
}

fn honoured(material: &Material<'_>, group: &Group<'_>, header: &str) -> Option<Claim> {
    let aspect = Aspect::RetryAfter;
    let asked: Vec<Asked> = asked(group, header);
    if asked.is_empty() {
        return None;
    }
    let named = |claim: Claim| Claim {
        detail: Some(header.to_owned()),
        ..claim
    };
    let samples = asked.len() as u64;
    if let Some(claim) = group.too_few(
        aspect,
        asked.len(),
        "answers asked for a wait and were followed by another attempt",
    ) {
        return Some(named(claim));
    }
    if let Some(claim) = group.doubtful(aspect, asked.len()) {
        return Some(named(claim));
    }
    let asked: Vec<&Asked> = asked.iter().collect();
    let part = asked.iter().filter(|one| one.is_kept()).count() as u64;
    let wanted = asked.iter().map(|one| one.wanted).fold(0.0, f64::max);
    let own = own_pause(material, group);
    let does = nearly_all(&asked, Asked::is_kept);
    let unknown = |why: String| Some(named(group.unknown(aspect, why, samples)));
    match own {
        Some(own) if own >= OWN_PART * wanted && part * 2 > samples => {
            return unknown(format!(
                "the client pauses for {own:.3}s without being asked"
            ));
        }
        None if does => {
            if let Some(why) = may_be_its_own(&asked) {
                return unknown(why);
            }
        }
        _ => {}
    }
    let finding = Finding::Does {
        does,
        part,
        whole: samples,
    };
    Some(named(group.claim(aspect, finding, samples)))
}

fn asked(group: &Group<'_>, header: &str) -> Vec<Asked> {
    let mut asked = Vec::new();
    for call in &group.calls {
        for (attempt, waited) in call.hit.attempts.iter().zip(call.pauses()) {
            let told = attempt.retry_after.iter();
            let own = told.filter(|one| *one.header == *header);
            asked.extend(own.filter_map(|one| {
                Some(Asked {
                    wanted: one.delay().as_secs_f64(),
                    waited: waited?,
                })
            }));
        }
    }
    asked.retain(|one| one.wanted > 0.0);
    asked
}

/// The median pause of the same operation where nothing was asked, if there were enough of them.
fn own_pause(material: &Material<'_>, group: &Group<'_>) -> Option<f64> {
    let same = material
        .groups
        .iter()
        .filter(|other| other.name.operation == group.name.operation && other.doubt.is_none());
    let mut own = Vec::new();
    for call in same.flat_map(|group| &group.calls) {
        let pauses = call.hit.attempts.iter().zip(call.pauses());
        own.extend(
            pauses
                .filter(|(attempt, _)| attempt.retry_after.is_empty())
                .filter_map(|(_, pause)| pause),
        );
    }
    (own.len() >= 3).then(|| median(&own).map(|found| found.value))?
}
