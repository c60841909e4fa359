//! Retry budgets: a client that has tried again too often does not try again, until calls succeed.
//!
//! Seen from outside a budget is a number that can be counted: failing calls are tried as often as
//! ever, then one is tried fewer times, then every one but once. The AWS SDKs hold 500 tokens, of
//! which a retry takes 14 (before 2026: 5, after a time-out 10), so that 26 failing calls show
//! 17 × 3 + 2 + 8 × 1 attempts: ⌊500/14⌋ = 35 retries.

use super::{
    ClaimDef,
    beat::most_open,
    claim::{Aspect, Claim, Finding},
    material::{Failing, Group, Material},
    samples::SAMPLES_MIN,
};
use crate::{history::Window, units::Micros};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "retry-budget",
    summary: "how many retries a client makes before it makes none until calls succeed",
    infer,
};

/// How many tokens the AWS SDKs begin with (botocore `retries/standard.py`, smithy `RetryQuota`).
const AWS_TOKENS: u64 = 500;

/// A budget that was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// When the first call began that was tried less often.
    pub at: Micros,
    /// How many retries were made until there were none left.
    pub retries: u64,
    /// How many of them may be other calls' turn: those that went on side by side.
    pub slack: u64,
    /// How many calls were then tried but once.
    pub bare: u64,
}

/// Where the client stopped trying again: at least three calls in a row that were given up after
/// equally many attempts, then none but single ones, at least three. The calls must be sorted by
/// when they began; where several go on side by side, as many may lie between.
pub fn spent(calls: &[Failing<'_>]) -> Option<Spent> {
    let given_up: Vec<&Failing<'_>> = calls.iter().filter(|call| call.gave_up).collect();
    let most = given_up.iter().map(|call| call.count()).max()?;
    let full = given_up.iter().take_while(|call| call.count() == most);
    let full = full.count();
    let bare_behind = given_up.iter().rev().take_while(|call| call.count() == 1);
    let bare = bare_behind.count();
    let between = given_up.len().checked_sub(full + bare)?;
    let beside = most_beside(&given_up);
    let is_step = most >= 2
        && full as u64 >= SAMPLES_MIN
        && bare as u64 >= SAMPLES_MIN
        && between < beside.max(1) * 2;
    let first = given_up.get(full).filter(|_| is_step)?;
    let retries = given_up.iter().map(|call| call.count() as u64 - 1).sum();
    Some(Spent {
        at: first.hit.call.began,
        retries,
        slack: beside as u64 - 1,
        bare: bare as u64,
    })
}

/// The most of these calls that went on at one time.
fn most_beside(calls: &[&Failing<'_>]) -> usize {
    let spells = calls
        .iter()
        .map(|one| (one.hit.call.began, one.hit.call.ended));
    let spells: Vec<(Micros, Micros)> = spells.collect();
    let always = Window::new(Micros(0), Micros(u64::MAX));
    most_open(&spells, always).map_or(1, |(_, most)| most.max(1))
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let groups = material.groups.iter();
    groups
        .filter_map(|group| claim(material, group, group.spent?))
        .collect()
}

/// That a budget was spent. A client that was told half-way to make one attempt looks the same,
/// unless its attempts go on to say that it may make more.
fn claim(material: &Material<'_>, group: &Group<'_>, spent: Spent) -> Option<Claim> {
    let samples = group.calls.iter().filter(|call| call.gave_up).count() as u64;
    let first = group.calls.first()?.hit.call.began;
    if first >= spent.at {
        // A part of the calls after a change: the one before says it.
        return None;
    }
    let mut behind = group
        .calls
        .iter()
        .filter(|call| call.hit.call.began >= spent.at);
    let goes_on = behind.any(|call| {
        let attempts = &call.hit.attempts;
        attempts.len() == 1 && attempts[0].declared_max.is_some_and(|most| most > 1)
    });
    let others = all_retries(material, group).saturating_sub(spent.retries);
    if others > 0 {
        let why = format!(
            "the last of {} retries was followed by none in {} calls, but {others} more were made of other calls or after other trouble, which may take another part of a budget or give it back",
            spent.retries, spent.bare
        );
        return Some(group.unknown(Aspect::RetryBudget, why, samples));
    }
    let tokens = AWS_TOKENS.checked_div(spent.retries).filter(|tokens| {
        let fits = *tokens > 0 && AWS_TOKENS / tokens == spent.retries;
        fits && goes_on && spent.slack == 0
    });
    let finding = Finding::Budget {
        retries: spent.retries,
        slack: spent.slack,
        bare: spent.bare,
        tokens_each: tokens,
        or_changed: !goes_on,
    };
    Some(group.claim(Aspect::RetryBudget, finding, samples))
}

/// How many retries the dependency's clients made until the last of a group's calls: a budget is one
/// for all operations and all trouble, though not all of it takes equally much.
fn all_retries(material: &Material<'_>, group: &Group<'_>) -> u64 {
    let history = material.view.history;
    let calls = history.calls_of(&material.dependency.name).iter();
    calls
        .filter(|call| call.began <= group.name.window.1)
        .map(|call| call.attempts.len() as u64 - 1)
        .sum()
}
