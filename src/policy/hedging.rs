//! Whether a client sends a second attempt while the first is still open, and after what time.
//!
//! Only where attempts name their call: two requests for one thing at one time are otherwise as
//! likely two users.

use super::{
    ClaimDef,
    claim::{Aspect, Basis, Claim, Finding},
    interval::median,
    material::Material,
    samples::SAMPLES_MIN,
};
use crate::units::Micros;
use std::{collections::BTreeMap, sync::Arc};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "hedging",
    summary: "whether a second attempt is sent beside one that is still open, and when",
    infer,
};

/// What the calls of one operation show.
struct Beside {
    /// How long after the first attempt the second began, in seconds.
    delays: Vec<f64>,
    calls: u64,
    window: (Micros, Micros),
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let history = material.view.history;
    let name = &material.dependency.name;
    let attempts = history.attempts_of(name);
    let mut operations: BTreeMap<Arc<str>, Beside> = BTreeMap::new();
    let calls = history.calls_of(name).iter();
    let meant = calls.filter(|call| call.by_sdk_id && material.view.contains(call.began));
    for call in meant {
        let own = call.attempts.iter().map(|index| &attempts[*index as usize]);
        let own: Vec<_> = own.collect();
        let entry = operations.entry(Arc::clone(&own[0].operation));
        let beside = entry.or_insert(Beside {
            delays: Vec::new(),
            calls: 0,
            window: (call.began, call.ended),
        });
        beside.calls += 1;
        beside.window.1 = beside.window.1.max(call.ended);
        if let [first, second, ..] = own.as_slice()
            && second.began < first.ended
        {
            let delay = second.began.since(first.began).as_secs_f64();
            beside.delays.push(delay);
        }
    }
    let told = operations.into_iter();
    told.filter_map(|(operation, beside)| {
        let finding = finding(&beside)?;
        Some(Claim {
            operation: Some(operation),
            basis: Basis::Headers,
            ..material.claim(Aspect::Hedges, beside.window, finding, beside.calls)
        })
    })
    .collect()
}

fn finding(beside: &Beside) -> Option<Finding> {
    let part = beside.delays.len() as u64;
    if part == 0 && beside.calls >= SAMPLES_MIN {
        return Some(Finding::Does {
            does: false,
            part,
            whole: beside.calls,
        });
    }
    if part < SAMPLES_MIN {
        let why = format!("{part} calls had two attempts at a time, of at least {SAMPLES_MIN}");
        return Some(Finding::Unknown { why });
    }
    Some(median(&beside.delays)?.time())
}
