//! A policy in words of a file: what a client's owner says it does, and whether that is what was seen.
//!
//! The same keys stand in `[dependency.NAME.policy]` of a system, where they declare, and in an
//! expectation of the kind `policy`, where they require. A number that was measured agrees with one
//! that is written where it is within a tenth (times) or a fifth (bases, caps), which is what
//! measuring a real client can bear. What the samples do not tell is open, and no agreement: that one
//! operation agrees does not vouch for another that does not tell, unless there were too few calls
//! of it for anything. Attempts that were put together by time never contradict, and where nothing
//! was found to be repeated they do not agree either: a repetition may look like a request of its
//! own.

use super::{
    Aspect, BackOff, Basis, Calls, Claim, Finding, Jitter, Law,
    beat::{BUSY_FACTOR, is_storm},
    claim::GUESS,
    samples::SAMPLES_MIN,
};
use crate::{
    history::View,
    input::{Fields, Key, Problems, Shape},
    units::{Micros, format_duration},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc, time::Duration};

/// How far a time may be off, as a part of it.
const TIME_PART: f64 = 0.1;

/// How far a time may be off besides, in microseconds: timers and a busy machine.
const TIME_SLACK_US: f64 = 50_000.0;

/// How far a base or a cap may be off, as a part of it.
const BASE_PART: f64 = 0.2;

/// How far a factor may be off, as a part of it.
const FACTOR_PART: f64 = 0.1;

/// The keys of a policy.
pub const KEYS: &[Key] = &[
    Key::optional(
        "timeout",
        Shape::Duration,
        "how long an attempt is waited for until the first byte of its answer",
    ),
    Key::optional(
        "between_bytes_timeout",
        Shape::Duration,
        "how long the rest of an answer is waited for once its first byte came",
    ),
    Key::optional(
        "connect_timeout",
        Shape::Duration,
        "how long a connection is waited for that is accepted and says nothing",
    ),
    Key::optional(
        "gives_up_within",
        Shape::Duration,
        "the longest that any failing call takes, attempts and pauses together",
    ),
    Key::optional(
        "attempts",
        Shape::Integer(1, 1_000_000),
        "how often a failing call is tried",
    ),
    Key::optional(
        "attempts_as_declared",
        Shape::Bool,
        "whether it tries as often as its own headers say it will (AWS SDKs: amz-sdk-request)",
    ),
    Key::optional(
        "back_off",
        Shape::OneOf(&["none", "fixed", "linear", "exponential", "growing"]),
        "how pauses grow; `growing` is linear or exponential, which two pauses cannot tell",
    ),
    Key::optional("base", Shape::Duration, "the first pause, before jitter"),
    Key::optional(
        "factor",
        Shape::Number(0.1, 100.0),
        "by how much an exponential pause grows each time",
    ),
    Key::optional("cap", Shape::Duration, "the longest pause, before jitter"),
    Key::optional(
        "jitter",
        Shape::AnyOf(&[
            Shape::Bool,
            Shape::OneOf(&[
                "none",
                "full",
                "equal",
                "proportional",
                "additive",
                "decorrelated",
            ]),
        ]),
        "how pauses are spread at random, or whether they are",
    ),
    Key::optional(
        "honours_retry_after",
        Shape::Bool,
        "whether it waits as long as answers ask it to",
    ),
    Key::optional(
        "retry_budget",
        Shape::Integer(1, 1_000_000),
        "how many retries in a row it makes before it makes none",
    ),
    Key::optional(
        "repeats_unsafe",
        Shape::Bool,
        "whether it repeats what is not idempotent or was refused for good",
    ),
    Key::optional(
        "hedges",
        Shape::Bool,
        "whether it sends a second attempt beside one that is open",
    ),
    Key::optional(
        "opens_after",
        Shape::Integer(1, 1_000_000),
        "after how many failures its circuit breaker opens",
    ),
    Key::optional(
        "probes_every",
        Shape::Duration,
        "how long an open breaker lets nothing through",
    ),
    Key::optional(
        "closes_after",
        Shape::Integer(1, 1_000_000),
        "after how many probes in a row that do not fail its circuit breaker closes",
    ),
    Key::optional(
        "reconnects_within",
        Shape::Duration,
        "the longest from the end of an outage until as many connections are open as before it",
    ),
    Key::optional(
        "reconnect_peak_at_most",
        Shape::Integer(1, 1_000_000),
        "the most connections that come back in one second",
    ),
    Key::optional(
        "reconnects_in_lock_step",
        Shape::Bool,
        "whether connections come back in waves",
    ),
    Key::optional(
        "reuses_stale_connections",
        Shape::Bool,
        "whether connections from before an outage are used after it, and break",
    ),
    Key::optional(
        "falls_back_on",
        Shape::Text,
        "the dependency or role that is called in its stead while it fails",
    ),
    Key::optional(
        "amplification_at_most",
        Shape::Factor,
        "how much more often it is called while it fails than in steady state, like \"3x\"",
    ),
    Key::optional(
        "changes_half_way",
        Shape::Bool,
        "whether its clients change their ways in the course of a run",
    ),
];

/// A policy as written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    wants: Vec<Want>,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq)]
struct Want {
    key: &'static str,
    rule: Rule,
}

/// What one line says.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Timeout(Duration),
    BetweenBytes(Duration),
    ConnectTimeout(Duration),
    GivesUpWithin(Duration),
    Attempts(u64),
    AsDeclared(bool),
    Law(&'static str),
    Base(Duration),
    Factor(f64),
    Cap(Duration),
    Jitter(Jitter),
    Jittered(bool),
    RetryAfter(bool),
    RetryBudget(u64),
    Repeats(bool),
    Hedges(bool),
    OpensAfter(u64),
    ProbesEvery(Duration),
    ClosesAfter(u64),
    ReconnectsWithin(Duration),
    ReconnectPeak(u64),
    LockStep(bool),
    Stale(bool),
    FallsBackOn(Arc<str>),
    Amplification(f64),
    Changes(bool),
}

/// Whether something is as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// What was seen agrees.
    Agrees,
    /// What was seen does not tell.
    Open,
    /// What was seen contradicts.
    Contradicts,
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its key.
    pub key: &'static str,
    /// What it says, in words: `attempts = 3`.
    pub written: String,
    /// Whether that is so.
    pub standing: Standing,
    /// What was seen, or why nothing can be said, the worst first.
    pub seen: Vec<Seen>,
    /// How many samples say so.
    pub samples: u64,
}

/// What one claim says to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When the first of what it rests on began.
    pub at: Micros,
    /// What, in words.
    pub what: String,
    /// Whether it agrees.
    pub standing: Standing,
    /// Whether it is of too few samples for anything, or of what could not show it.
    pub is_few: bool,
    /// Whether it rests on attempts that were put together by time.
    pub is_guess: bool,
    /// Whether it is too much of something by more than a busy machine brings about.
    pub on_any_machine: bool,
}

impl Declared {
    /// Reads the [`KEYS`]; `None` where something is wrong with them.
    pub fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let before = problems.as_slice().len();
        let mut wants = Vec::new();
        for key in KEYS.iter().filter(|key| fields.has(key.name)) {
            let rule = rule(key.name, fields, problems);
            wants.extend(rule.map(|rule| Want {
                key: key.name,
                rule,
            }));
        }
        (problems.as_slice().len() == before).then_some(Self { wants })
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// How long it says that an attempt is waited for.
    pub fn timeout(&self) -> Option<Duration> {
        self.wants.iter().find_map(|want| match want.rule {
            Rule::Timeout(timeout) => Some(timeout),
            _ => None,
        })
    }

    /// How long it says that a failing call lasts at the most, its pauses left out where nothing is said
    /// of the whole: every attempt is waited for.
    pub fn lasts(&self) -> Option<Duration> {
        let whole = self.wants.iter().find_map(|want| match want.rule {
            Rule::GivesUpWithin(bound) => Some(bound),
            _ => None,
        });
        let attempts = self.wants.iter().find_map(|want| match want.rule {
            Rule::Attempts(count) => u32::try_from(count).ok(),
            _ => None,
        });
        whole.or_else(|| Some(self.timeout()?.saturating_mul(attempts.unwrap_or(1))))
    }

    /// Both together; what `other` says besides comes last.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.wants.extend(other.wants.iter().cloned());
        self
    }

    /// Holds what is claimed of one dependency, and how long its failing calls took, against every
    /// line.
    pub fn hold(&self, view: &View<'_>, claims: &[Claim], calls: &[Calls]) -> Vec<Answer> {
        let wants = self.wants.iter();
        wants.map(|want| want.hold(view, claims, calls)).collect()
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.wants.iter().map(Want::written).collect();
        f.write_str(&words.join(", "))
    }
}

fn rule(key: &'static str, fields: &Fields<'_>, problems: &mut Problems) -> Option<Rule> {
    let mut time = || fields.duration(key, problems);
    Some(match key {
        "timeout" => Rule::Timeout(time()?),
        "between_bytes_timeout" => Rule::BetweenBytes(time()?),
        "connect_timeout" => Rule::ConnectTimeout(time()?),
        "gives_up_within" => Rule::GivesUpWithin(time()?),
        "base" => Rule::Base(time()?),
        "cap" => Rule::Cap(time()?),
        "probes_every" => Rule::ProbesEvery(time()?),
        "reconnects_within" => Rule::ReconnectsWithin(time()?),
        "attempts" => Rule::Attempts(fields.integer(key, problems)?.unsigned_abs()),
        "retry_budget" => Rule::RetryBudget(fields.integer(key, problems)?.unsigned_abs()),
        "opens_after" => Rule::OpensAfter(fields.integer(key, problems)?.unsigned_abs()),
        "closes_after" => Rule::ClosesAfter(fields.integer(key, problems)?.unsigned_abs()),
        "reconnect_peak_at_most" => {
            Rule::ReconnectPeak(fields.integer(key, problems)?.unsigned_abs())
        }
        "attempts_as_declared" => Rule::AsDeclared(fields.bool(key, problems)?),
        "reuses_stale_connections" => Rule::Stale(fields.bool(key, problems)?),
        "changes_half_way" => Rule::Changes(fields.bool(key, problems)?),
        "falls_back_on" => Rule::FallsBackOn(fields.text(key, problems)?.value.into()),
        "amplification_at_most" => Rule::Amplification(fields.factor(key, problems)?),
        "factor" => Rule::Factor(fields.number(key, problems)?),
        "back_off" => Rule::Law(fields.word(key, problems)?.value),
        "honours_retry_after" => Rule::RetryAfter(fields.bool(key, problems)?),
        "repeats_unsafe" => Rule::Repeats(fields.bool(key, problems)?),
        "hedges" => Rule::Hedges(fields.bool(key, problems)?),
        "reconnects_in_lock_step" => Rule::LockStep(fields.bool(key, problems)?),
        "jitter" => return jitter(key, fields, problems),
        _ => unreachable!("every key of a policy is read"),
    })
}

fn jitter(key: &'static str, fields: &Fields<'_>, problems: &mut Problems) -> Option<Rule> {
    if let Some(wanted) = fields.bool(key, &mut Problems::default()) {
        return Some(Rule::Jittered(wanted));
    }
    let text = fields.text(key, problems)?;
    let known = Jitter::ALL
        .iter()
        .find(|jitter| jitter.name() == text.value);
    if known.is_none() {
        let names: Vec<&str> = Jitter::ALL.iter().map(|jitter| jitter.name()).collect();
        let hint = format!("true, false, or one of: {}", names.join(", "));
        fields.problem(
            problems,
            key,
            format!("unknown jitter `{}`", text.value),
            hint,
        );
    }
    known.copied().map(Rule::Jitter)
}

impl Want {
    fn written(&self) -> String {
        let key = self.key;
        match &self.rule {
            Rule::Timeout(time)
            | Rule::BetweenBytes(time)
            | Rule::ConnectTimeout(time)
            | Rule::GivesUpWithin(time)
            | Rule::Base(time)
            | Rule::Cap(time)
            | Rule::ProbesEvery(time)
            | Rule::ReconnectsWithin(time) => format!("{key} = {}", format_duration(*time)),
            Rule::Attempts(count)
            | Rule::RetryBudget(count)
            | Rule::OpensAfter(count)
            | Rule::ClosesAfter(count)
            | Rule::ReconnectPeak(count) => {
                format!("{key} = {count}")
            }
            Rule::Factor(factor) => format!("{key} = {factor}"),
            Rule::Amplification(factor) => format!("{key} = {factor}x"),
            Rule::FallsBackOn(other) => format!("{key} = {other}"),
            Rule::Law(name) => format!("{key} = {name}"),
            Rule::Jitter(jitter) => format!("{key} = {jitter}"),
            Rule::Jittered(is)
            | Rule::RetryAfter(is)
            | Rule::Repeats(is)
            | Rule::Hedges(is)
            | Rule::AsDeclared(is)
            | Rule::Stale(is)
            | Rule::Changes(is)
            | Rule::LockStep(is) => format!("{key} = {is}"),
        }
    }

    fn hold(&self, view: &View<'_>, claims: &[Claim], calls: &[Calls]) -> Answer {
        let (mut seen, samples): (Vec<Seen>, u64) = if let Rule::GivesUpWithin(bound) = self.rule {
            let seen = calls.iter().map(|own| own.within(bound));
            (seen.collect(), calls.iter().map(Calls::count).sum())
        } else {
            let told = || {
                claims
                    .iter()
                    .filter(|claim| self.rule.is_about(view, claim))
            };
            let seen = told().map(|claim| self.rule.seen(view, claim));
            (seen.collect(), told().map(|claim| claim.samples).sum())
        };
        if let Rule::FallsBackOn(_) = self.rule
            && seen.iter().any(|one| one.standing == Standing::Agrees)
        {
            // Of a role, one that is called is enough.
            seen.retain(|one| one.standing == Standing::Agrees);
        }
        let standing = standing_of(&seen);
        seen.sort_by_key(|one| {
            (
                std::cmp::Reverse(one.standing),
                !one.on_any_machine,
                one.is_few,
            )
        });
        Answer {
            key: self.key,
            written: self.written(),
            standing,
            seen,
            samples,
        }
    }
}

/// One contradiction is enough. One agreement is where nothing else is open but for want of samples.
fn standing_of(seen: &[Seen]) -> Standing {
    let is = |standing| seen.iter().any(|one| one.standing == standing);
    let doubted = seen
        .iter()
        .any(|one| one.standing == Standing::Open && !one.is_few);
    if is(Standing::Contradicts) {
        Standing::Contradicts
    } else if is(Standing::Agrees) && !doubted {
        Standing::Agrees
    } else {
        Standing::Open
    }
}

impl Rule {
    /// What a claim about it says to it. Attempts put together by time are no proof of a wrong
    /// number, and none that nothing is repeated.
    fn seen(&self, view: &View<'_>, claim: &Claim) -> Seen {
        let told = self.to(&claim.finding);
        let is_guess = claim.basis == Basis::Grouped;
        let mut what = format!("{}: {}", claim.subject(), claim.said());
        let mut standing = told;
        if is_guess && told == Standing::Contradicts {
            what.push_str(", unless these are requests of their own: the client sends no id");
            standing = Standing::Open;
        } else if is_guess && told == Standing::Agrees && self.is_denial() {
            what.push_str(
                ", unless repetitions look like requests of their own: the client sends no id",
            );
            standing = Standing::Open;
        }
        Seen {
            at: claim.window.0,
            what,
            standing,
            is_few: claim.samples < SAMPLES_MIN || self.is_in_time(claim, standing),
            is_guess,
            on_any_machine: standing == Standing::Contradicts && self.is_surpassed(view, claim),
        }
    }

    /// Whether it only says that answers came before anybody would have given them up.
    fn is_in_time(&self, claim: &Claim, standing: Standing) -> bool {
        matches!(self, Self::Timeout(_) | Self::ConnectTimeout(_))
            && standing == Standing::Open
            && claim.cause.is_none()
            && matches!(claim.finding, Finding::AtLeast { .. })
    }

    /// Whether something was done too often by more than a busy machine brings about. Who waits in
    /// vain on one asks again, but of one call no more often than ever, and no more than twice as
    /// often of all; what waited comes all at once, but not for long.
    fn is_surpassed(&self, view: &View<'_>, claim: &Claim) -> bool {
        match (self, &claim.finding) {
            (Self::Attempts(wanted), Finding::Count { high, .. } | Finding::Range { high, .. }) => {
                high > wanted
            }
            (Self::RetryBudget(wanted), Finding::Budget { retries, slack, .. }) => {
                *retries > wanted + slack
            }
            (Self::Repeats(false), Finding::Does { does, .. }) => *does,
            (Self::Amplification(most), Finding::Factor { low, .. }) => *low > most * BUSY_FACTOR,
            (Self::ReconnectPeak(most), _) => {
                let (from, to) = claim.window;
                let opened = view.history.connections.iter();
                let opened = opened.filter(|one| one.dependency == claim.dependency);
                let opened = opened.map(|one| one.opened);
                let mut moments: Vec<Micros> =
                    opened.filter(|at| (from..to).contains(at)).collect();
                moments.sort_unstable();
                is_storm(&moments, *most as f64)
            }
            _ => false,
        }
    }

    /// Whether it says that nothing is repeated.
    const fn is_denial(&self) -> bool {
        matches!(self, Self::Attempts(1) | Self::Repeats(false))
    }

    /// Whether a claim is about it.
    fn is_about(&self, view: &View<'_>, claim: &Claim) -> bool {
        match self {
            Self::Timeout(_) => claim.aspect == Aspect::FirstByteTimeout,
            Self::BetweenBytes(_) => claim.aspect == Aspect::BetweenBytesTimeout,
            Self::ConnectTimeout(_) => claim.aspect == Aspect::ConnectTimeout,
            // The calls themselves say that.
            Self::GivesUpWithin(_) => false,
            Self::Attempts(_) => claim.aspect == Aspect::Attempts,
            Self::AsDeclared(_) => claim.aspect == Aspect::AsDeclared,
            Self::Law(_)
            | Self::Base(_)
            | Self::Factor(_)
            | Self::Cap(_)
            | Self::Jitter(_)
            | Self::Jittered(_) => claim.aspect == Aspect::BackOff,
            Self::RetryAfter(_) => claim.aspect == Aspect::RetryAfter,
            Self::RetryBudget(_) => claim.aspect == Aspect::RetryBudget,
            Self::Repeats(_) => matches!(
                claim.aspect,
                Aspect::RetriesNonIdempotent | Aspect::RetriesRefused
            ),
            Self::Hedges(_) => claim.aspect == Aspect::Hedges,
            Self::OpensAfter(_) => claim.aspect == Aspect::BreakerOpens,
            Self::ProbesEvery(_) => claim.aspect == Aspect::BreakerProbes,
            Self::ClosesAfter(_) => claim.aspect == Aspect::BreakerCloses,
            Self::ReconnectsWithin(_) => claim.aspect == Aspect::Restored,
            Self::ReconnectPeak(_) => claim.aspect == Aspect::ReconnectPeak,
            Self::LockStep(_) => claim.aspect == Aspect::LockStep,
            Self::Stale(_) => claim.aspect == Aspect::StaleConnections,
            Self::FallsBackOn(other) => {
                let mut meant = view.dependencies(other).into_iter();
                claim.aspect == Aspect::Fallback
                    && meant.any(|name| claim.detail.as_deref() == Some(&**name))
            }
            Self::Amplification(_) => claim.aspect == Aspect::Amplification,
            Self::Changes(_) => claim.aspect == Aspect::Change,
        }
    }

    fn to(&self, finding: &Finding) -> Standing {
        match (self, finding) {
            (_, Finding::Unknown { .. }) => Standing::Open,
            (Self::Attempts(wanted), Finding::Range { high, .. }) => {
                // Some calls were given up sooner; why is not known.
                if high == wanted {
                    Standing::Open
                } else {
                    Standing::Contradicts
                }
            }
            (
                Self::Timeout(wanted) | Self::BetweenBytes(wanted) | Self::ConnectTimeout(wanted),
                _,
            ) => time_is(*wanted, finding),
            (Self::ProbesEvery(wanted), _) => silence_is(*wanted, finding),
            (Self::Attempts(wanted) | Self::ClosesAfter(wanted), Finding::Count { .. }) => {
                count_is(*wanted, finding)
            }
            (
                Self::OpensAfter(wanted),
                Finding::Count { low, high, .. } | Finding::Range { low, high },
            ) => is_one_of(*wanted, *low, *high),
            (Self::ReconnectPeak(most), Finding::Count { high, .. }) => agrees(high <= most),
            (Self::ReconnectsWithin(bound), _) => is_within(*bound, finding),
            (Self::RetryBudget(wanted), Finding::Budget { .. }) => budget_is(*wanted, finding),
            (_, Finding::BackOff(law)) => self.to_law(law),
            (Self::Hedges(wanted), Finding::Time { .. })
            | (Self::Changes(wanted), Finding::Changed { .. }) => agrees(*wanted),
            (Self::FallsBackOn(_), Finding::Factor { .. }) => Standing::Agrees,
            (Self::FallsBackOn(_), Finding::Does { does, .. }) => agrees(*does),
            (Self::Amplification(most), Finding::Factor { low, high, .. }) => {
                if high <= most {
                    Standing::Agrees
                } else if low > most {
                    Standing::Contradicts
                } else {
                    Standing::Open
                }
            }
            (
                Self::RetryAfter(wanted)
                | Self::Repeats(wanted)
                | Self::Hedges(wanted)
                | Self::AsDeclared(wanted)
                | Self::Stale(wanted)
                | Self::Changes(wanted)
                | Self::LockStep(wanted),
                Finding::Does { does, .. },
            ) => agrees(wanted == does),
            _ => Standing::Open,
        }
    }

    fn to_law(&self, law: &BackOff) -> Standing {
        let number = |known: Option<(u64, u64, u64)>, wanted: Duration| {
            let wanted = Micros::from(wanted).0 as f64;
            known.map_or(Standing::Open, |(value, low, high)| {
                interval(
                    value as f64,
                    low as f64,
                    high as f64,
                    wanted,
                    BASE_PART,
                    0.0,
                )
            })
        };
        match self {
            Self::Law(name) => among(&law.laws, &|one| match *name {
                "growing" => matches!(one, Law::Linear | Law::Exponential),
                name => one.name() == name,
            }),
            Self::Jitter(wanted) => among(&law.jitters, &|one| one == wanted),
            Self::Jittered(wanted) => among(&law.jitters, &|one| (*one != Jitter::None) == *wanted),
            Self::Base(wanted) => number(law.base_us, *wanted),
            // It has no interval with which it could contradict.
            Self::Cap(wanted) => number(law.cap_us.map(|cap| (cap, 0, u64::MAX)), *wanted),
            Self::Factor(wanted) => factor_is(*wanted, law),
            _ => Standing::Open,
        }
    }
}

/// Whether pauses grow by a factor each time: those that are always the same do by one, and of those
/// that rise by the same amount no two grow alike.
fn factor_is(wanted: f64, law: &BackOff) -> Standing {
    let factor = match law.law() {
        Some(Law::Exponential) => law.factor,
        Some(Law::Fixed) => Some(1.0),
        _ if law.laws.contains(&Law::Exponential) => None,
        _ => return Standing::Contradicts,
    };
    // It is known to a tenth itself.
    factor.map_or(Standing::Open, |factor| {
        let (low, high) = (factor / (1.0 + FACTOR_PART), factor * (1.0 + FACTOR_PART));
        interval(factor, low, high, wanted, FACTOR_PART, 0.0)
    })
}

const fn agrees(is_so: bool) -> Standing {
    if is_so {
        Standing::Agrees
    } else {
        Standing::Contradicts
    }
}

/// All that is possible agrees, or none of it, or it is open.
fn among<T>(possible: &[T], is_meant: &dyn Fn(&T) -> bool) -> Standing {
    match possible.iter().filter(|one| is_meant(one)).count() {
        0 => Standing::Contradicts,
        count if count == possible.len() => Standing::Agrees,
        _ => Standing::Open,
    }
}

/// Whether a measured value agrees with a written one, contradicts it with its whole interval, or
/// neither.
fn interval(value: f64, low: f64, high: f64, wanted: f64, part: f64, slack: f64) -> Standing {
    let (least, most) = (wanted / (1.0 + part) - slack, wanted * (1.0 + part) + slack);
    if least <= value && value <= most {
        Standing::Agrees
    } else if high < least || low > most {
        Standing::Contradicts
    } else {
        Standing::Open
    }
}

fn time_is(wanted: Duration, finding: &Finding) -> Standing {
    let wanted = Micros::from(wanted).0 as f64;
    match *finding {
        Finding::Time {
            value_us,
            low_us,
            high_us,
            ..
        } => interval(
            value_us as f64,
            low_us as f64,
            high_us as f64,
            wanted,
            TIME_PART,
            TIME_SLACK_US,
        ),
        Finding::AtLeast { value_us } => {
            if value_us as f64 > wanted * (1.0 + TIME_PART) + TIME_SLACK_US {
                Standing::Contradicts
            } else {
                Standing::Open
            }
        }
        _ => Standing::Open,
    }
}

/// Whether a breaker that lets nothing through for so long may have been silent as long as it was: the
/// silence ends with the next work, so that anything from the lower end of its interval to its median is
/// as good as measured.
fn silence_is(wanted: Duration, finding: &Finding) -> Standing {
    let wanted = Micros::from(wanted).0 as f64;
    match *finding {
        Finding::Time {
            value_us,
            low_us,
            high_us,
            ..
        } => {
            let (low, high) = (low_us as f64, high_us as f64);
            let measured = wanted.clamp(low.min(value_us as f64), value_us as f64);
            interval(measured, low, high, wanted, TIME_PART, TIME_SLACK_US)
        }
        _ => Standing::Open,
    }
}

/// Whether something that took so long was over within a bound.
fn is_within(bound: Duration, finding: &Finding) -> Standing {
    let bound = Micros::from(bound).0;
    match *finding {
        Finding::Time { high_us, .. } if high_us <= bound => Standing::Agrees,
        Finding::Time { low_us: least, .. } | Finding::AtLeast { value_us: least }
            if least > bound =>
        {
            Standing::Contradicts
        }
        _ => Standing::Open,
    }
}

fn count_is(wanted: u64, finding: &Finding) -> Standing {
    match *finding {
        Finding::Count { value, high, .. } if value != wanted || high > wanted => {
            Standing::Contradicts
        }
        Finding::Count { low, .. } if low < wanted => Standing::Open,
        _ => Standing::Agrees,
    }
}

/// Whether a number that lies somewhere between two is the one that is written.
const fn is_one_of(wanted: u64, low: u64, high: u64) -> Standing {
    if wanted < low || high < wanted {
        Standing::Contradicts
    } else if low == high {
        Standing::Agrees
    } else {
        Standing::Open
    }
}

fn budget_is(wanted: u64, finding: &Finding) -> Standing {
    match *finding {
        Finding::Budget {
            retries,
            slack,
            or_changed,
            ..
        } => {
            // What may have been no budget says neither.
            if or_changed {
                Standing::Open
            } else if retries.abs_diff(wanted) > slack {
                Standing::Contradicts
            } else if slack > 0 {
                Standing::Open
            } else {
                Standing::Agrees
            }
        }
        _ => Standing::Open,
    }
}

impl Answer {
    /// Whether it is contradicted by something that no busy machine brings about.
    pub fn on_any_machine(&self) -> bool {
        self.seen.iter().any(|one| one.on_any_machine)
    }

    /// What is written, marked where what agrees with it is a guess: `attempts = 3 (grouped by time)`.
    pub fn known(&self) -> String {
        let is_guess = self.seen.iter().any(|one| one.is_guess);
        let note = if is_guess { GUESS } else { "" };
        format!("{}{note}", self.written)
    }

    /// In one sentence: `attempts = 3, but GetObject of s3 (error): attempts a call 5`.
    pub fn sentence(&self) -> String {
        let seen = self.seen.first().map(|one| &*one.what);
        match (self.standing, seen) {
            (Standing::Agrees, _) => format!("{} agrees with what was seen", self.known()),
            (Standing::Open, None) => format!("{} is open: nothing was seen of it", self.written),
            (Standing::Open, Some(why)) => format!("{} is open: {why}", self.written),
            (Standing::Contradicts, why) => {
                format!("{}, but {}", self.written, why.unwrap_or("not so"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_flight_neither_agree_nor_contradict() {
        let opens = Rule::OpensAfter;
        let between = Finding::Range { low: 5, high: 10 };
        for wanted in [5, 7, 10] {
            assert_eq!(opens(wanted).to(&between), Standing::Open, "{wanted}");
        }
        assert_eq!(opens(4).to(&between), Standing::Contradicts);
        assert_eq!(opens(11).to(&between), Standing::Contradicts);
        let count = |low, high| Finding::Count {
            value: low,
            low,
            high,
        };
        assert_eq!(opens(5).to(&count(5, 5)), Standing::Agrees);
        assert_eq!(opens(4).to(&count(5, 5)), Standing::Contradicts);
        assert_eq!(opens(5).to(&count(5, 6)), Standing::Open);
    }

    #[test]
    fn a_silence_is_longer_than_the_breaker_is_open_by_what_work_is_late() {
        let to = |wanted: u64, (low, value, high): (u64, u64, u64)| {
            let time = Finding::Time {
                value_us: value * 1_000,
                low_us: low * 1_000,
                high_us: high * 1_000,
                confidence: 0.95,
            };
            Rule::ProbesEvery(Duration::from_millis(wanted)).to(&time)
        };
        let thin = (990, 1_190, 1_190);
        for (wanted, standing) in [
            (500, Standing::Contradicts),
            (1_000, Standing::Agrees),
            (1_200, Standing::Agrees),
            (1_500, Standing::Contradicts),
        ] {
            assert_eq!(to(wanted, thin), standing, "{wanted}");
        }
        // It may have been the longest of them, which is no median.
        assert_eq!(to(2_000, (990, 1_190, 2_500)), Standing::Open);
        let never = Finding::AtLeast { value_us: 1 };
        let probes = Rule::ProbesEvery(Duration::from_secs(1));
        assert_eq!(probes.to(&never), Standing::Open);
    }

    #[test]
    fn only_an_exponential_pause_has_a_factor() {
        let to = |wanted: f64, laws: &[Law], factor| {
            let law = BackOff {
                laws: laws.to_vec(),
                jitters: vec![Jitter::None],
                factor,
                base_us: None,
                cap_us: None,
            };
            Rule::Factor(wanted).to(&Finding::BackOff(law))
        };
        assert_eq!(to(2.0, &[Law::Exponential], Some(2.0)), Standing::Agrees);
        assert_eq!(
            to(3.0, &[Law::Exponential], Some(2.0)),
            Standing::Contradicts
        );
        assert_eq!(to(2.0, &[Law::Exponential], None), Standing::Open);
        // 1, 3, 5, 7 s rise by two bases each, and 1, 2, 3, 4 s by one.
        assert_eq!(to(2.0, &[Law::Linear], Some(2.0)), Standing::Contradicts);
        assert_eq!(to(1.05, &[Law::Linear], Some(1.0)), Standing::Contradicts);
        assert_eq!(to(2.0, &[Law::Fixed], None), Standing::Contradicts);
        assert_eq!(to(1.0, &[Law::Fixed], None), Standing::Agrees);
        assert_eq!(
            to(2.0, &[Law::Linear, Law::Exponential], None),
            Standing::Open
        );
    }

    #[test]
    fn what_may_be_no_budget_neither_agrees_nor_contradicts() {
        let found = |or_changed| Finding::Budget {
            retries: 35,
            slack: 0,
            bare: 8,
            tokens_each: None,
            or_changed,
        };
        let budget = Rule::RetryBudget;
        assert_eq!(budget(35).to(&found(true)), Standing::Open);
        assert_eq!(budget(20).to(&found(true)), Standing::Open);
        assert_eq!(budget(35).to(&found(false)), Standing::Agrees);
        assert_eq!(budget(20).to(&found(false)), Standing::Contradicts);
    }
}
