//! How long a client pauses between attempts of one call.
//!
//! A pause is from the end of one attempt to the beginning of the next, and so holds what the client
//! and its connection take besides. Pauses behind an answer that named a time to wait are left out:
//! they show the server's will.

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
    if samples == 0 {
        return None;
    }
    if let Some(claim) = group.too_few(Aspect::BackOff, samples, "pauses") {
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
    for (index, seconds) in call.pauses().enumerate() {
        if call.hit.attempts[index].retry_after.is_empty() {
            pauses.push(Pause {
                nth: index + 1,
                seconds,
                before,
            });
        }
        before = Some(seconds);
    }
    pauses
}
