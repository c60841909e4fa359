//! How long a client pauses between attempts of one call.
//!
//! A pause is from the end of one attempt to the beginning of the next, and so holds what the client
//! and its connection take besides. Pauses behind an answer that named a time to wait are left out:
//! they show the server's will. So are those behind an answer whose end came a while after its first
//! byte: nobody knows whether the rest of it was so long in coming, or its end was noted late.
//! Between requests of their own there are no pauses: where more than a few may be that, there is
//! no law.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding},
    fit::{Fitted, Pause, fit},
    material::{Failing, Group, Material},
};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "back-off",
    summary: "the law of the pauses between attempts, its base, factor, cap and jitter",
    infer,
};

fn infer(material: &Material<'_>) -> Vec<Claim> {
    material.groups.iter().filter_map(law).collect()
}

/// The law of a group's pauses; nothing where no call was tried again.
fn law(group: &Group<'_>) -> Option<Claim> {
    let pauses: Vec<Pause> = group.calls.iter().flat_map(pauses).collect();
    let samples = pauses.len();
    let unseen: usize = group.calls.iter().map(unseen).sum();
    if samples + unseen == 0 {
        return None;
    }
    let what = match unseen {
        0 => "pauses".to_owned(),
        _ => format!("pauses, with {unseen} more of which nobody saw when they began,"),
    };
    if let Some(claim) = group.too_few(Aspect::BackOff, samples, &what) {
        return Some(claim);
    }
    if let Some(claim) = group.doubtful(Aspect::BackOff, samples) {
        return Some(claim);
    }
    let finding = match fit(&pauses) {
        Fitted::Law(law) => Finding::BackOff(law),
        Fitted::Unknown(why) => Finding::Unknown { why },
    };
    Some(group.claim(Aspect::BackOff, finding, samples as u64))
}

fn pauses(call: &Failing<'_>) -> Vec<Pause> {
    let mut before = None;
    let mut pauses = Vec::new();
    for (index, pause) in call.pauses().enumerate() {
        if let Some(seconds) = pause
            && is_its_own(call, index)
        {
            pauses.push(Pause {
                nth: index + 1,
                seconds,
                before,
            });
        }
        before = pause;
    }
    pauses
}

/// Whether the client paused after this attempt as it thought fit.
fn is_its_own(call: &Failing<'_>, index: usize) -> bool {
    call.hit.attempts[index].retry_after.is_empty()
}

/// How many of its pauses nobody saw begin.
fn unseen(call: &Failing<'_>) -> usize {
    let pauses = call.pauses().enumerate();
    pauses
        .filter(|(index, pause)| pause.is_none() && is_its_own(call, *index))
        .count()
}
