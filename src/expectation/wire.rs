//! What arrived at a dependency, for expectations that count and time it.

use super::{Foresight, Shut, names};
use crate::{
    fault::{refuses, shut, wildcard},
    history::{Attempt, Stalls, View, Window},
    input::{Fields, Key, Problems, Shape},
    scenario::Target,
    units::{Micros, Rate, format_duration},
};
use std::time::Duration;

pub use super::beat::{BUSY_FACTOR, STORM_OVER, is_storm};

/// Key of expectations that count requests at a dependency.
pub const OPERATION: Key = Key::optional(
    "operation",
    Shape::TextOrTexts,
    "only requests of this operation, or this HTTP method",
);

/// Key of expectations that count requests at a dependency.
pub const PATH: Key = Key::optional(
    "path",
    Shape::Text,
    "only requests for this path or key, with `*` for any characters",
);

/// Which requests are meant.
#[derive(Debug, Clone, Default)]
pub struct Meant {
    operations: Vec<String>,
    path: Option<String>,
}

impl Meant {
    /// Reads [`OPERATION`] and, where it is declared, [`PATH`].
    pub fn read(fields: &Fields<'_>, with_path: bool, problems: &mut Problems) -> Self {
        let path = with_path.then(|| fields.text("path", problems)).flatten();
        Self {
            operations: names::operations(fields, "operation", problems),
            path: path.map(|text| text.value),
        }
    }

    /// In words: ` GET /healthz`, or nothing.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for part in [self.operations.join("/")].iter().chain(&self.path) {
            if !part.is_empty() {
                text.push(' ');
                text.push_str(part);
            }
        }
        text
    }

    /// Whether a request is one of those meant.
    pub fn means(&self, attempt: &Attempt) -> bool {
        self.has(&attempt.operation, &attempt.key)
    }

    fn all(&self) -> bool {
        self.operations.is_empty() && self.path.is_none()
    }

    fn has(&self, operation: &str, key: &str) -> bool {
        (self.operations.is_empty() || self.operations.iter().any(|one| one == operation))
            && self.path.as_ref().is_none_or(|path| wildcard(path, key))
    }
}

/// What is said where a verdict would turn on a stall: see [`Stalls`](crate::history::Stalls).
pub const STALLED: &str = "it turns on moments in which Brownout itself stood still, so that nobody knows when within them something happened";

/// Whether so many moments, which are in order, came in one second as may not: `None` where it turns on
/// a stall of ours.
pub fn is_peak(view: &View<'_>, moments: &[Micros], over: Duration, rate: Rate) -> Option<bool> {
    let (fewest, most) = Stalls::of(view.history).peak(moments, over);
    let is_too_much = |count: usize| count as f64 > rate.as_per_second();
    (is_too_much(fewest) == is_too_much(most)).then(|| is_too_much(most))
}

/// Where a listener was shut for no longer than this there was none: the lifting of a fault and the
/// change of phase are two entries.
const SHUT_MIN: Duration = Duration::from_millis(100);

/// The stretches of a window, in order, in which a fault kept connects to a dependency or role out at
/// its listener: they leave no request and no connection, so that [`arrivals`] has not all of them.
pub fn unseen(view: &View<'_>, on: &str, window: Window) -> Vec<Window> {
    let meant = view.dependencies(on);
    let mut found: Vec<Window> = Vec::new();
    for span in &view.history.faults {
        let Some((_, fault)) = view.fault(span) else {
            continue;
        };
        let Target::Dependencies(indices) = &fault.target else {
            continue;
        };
        for (index, behaviour) in indices.iter().zip(&fault.behaviours) {
            let dependency = view.system.dependencies.get(*index);
            if dependency.is_some_and(|one| meant.contains(&&one.name)) {
                let stretches = shut(&**behaviour, span.armed, span.lifted);
                found.extend(
                    stretches
                        .into_iter()
                        .map(|(from, to)| Window::new(from.max(window.from), to.min(window.to))),
                );
            }
        }
    }
    found.retain(|one| one.from < one.to && one.length() > SHUT_MIN);
    found.sort_by_key(|one| one.from);
    let mut joined: Vec<Window> = Vec::new();
    for one in found {
        match joined.last_mut() {
            Some(last) if one.from <= last.to => last.to = last.to.max(one.to),
            _ => joined.push(one),
        }
    }
    joined
}

/// Why nobody knows how much arrived, where connects came unseen: `None` where none did.
pub fn kept_out(on: &str, unseen: &[Window]) -> Option<String> {
    let length: Duration = unseen.iter().map(|one| one.length()).sum();
    (!unseen.is_empty()).then(|| {
        format!(
            "for {} connects to `{on}` were refused or not accepted, which leaves no request: nobody knows how much came",
            format_duration(length)
        )
    })
}

/// The same of a run that has not happened.
pub fn will_be_kept_out(plan: &Foresight<'_>, on: &str) -> Option<String> {
    let is_meant = |one: &&Shut<'_>| one.dependency == on || one.role == Some(on);
    let shut = plan.shut.iter().find(is_meant)?;
    Some(format!(
        "connects to `{on}` that are refused or not accepted in `{}` leave no request, so that it cannot be told how much comes then",
        shut.phase
    ))
}

/// How many connects to a dependency or role were refused in a window, at most: where a fault kept all of
/// them out by refusing them, and the kernel counted them for one listener alone. `None` where that is not
/// known.
pub fn refused_at_most(view: &View<'_>, on: &str, window: Window) -> Option<u64> {
    let machine = view.history.run.machine.as_ref();
    if machine.is_none_or(|machine| machine.os != "linux") {
        return None;
    }
    let meant = view.dependencies(on);
    let mut sum = 0;
    for span in &view.history.faults {
        let Some((_, fault)) = view.fault(span) else {
            continue;
        };
        let Target::Dependencies(indices) = &fault.target else {
            continue;
        };
        let met = Window::new(span.armed.max(window.from), span.lifted.min(window.to));
        if met.from >= met.to || met.length() <= SHUT_MIN {
            continue;
        }
        for (index, behaviour) in indices.iter().zip(&fault.behaviours) {
            let dependency = view.system.dependencies.get(*index);
            if !dependency.is_some_and(|one| meant.contains(&&one.name))
                || shut(&**behaviour, span.armed, span.lifted).is_empty()
            {
                continue;
            }
            if !refuses(&**behaviour, span.armed, span.lifted) {
                return None;
            }
            // It is looked once more when the listener opens again.
            let within = Window::new(span.armed, span.lifted + SHUT_MIN * 10);
            let noted = view.history.interventions.iter();
            for one in noted.filter(|one| one.fault == span.fault && within.contains(one.at)) {
                // Of several listeners that are shut at once nobody knows which of them it was.
                if one.what.contains("closed listeners") {
                    return None;
                }
                sum += one.count;
            }
        }
    }
    Some(sum)
}

/// When something meant arrived at a dependency or role in a window: requests, or connections
/// where the protocol shows no requests (and nothing narrower is asked for).
pub fn arrivals(view: &View<'_>, on: &str, meant: &Meant, window: Window) -> Vec<Micros> {
    let mut moments: Vec<Micros> = view
        .attempts_in(on, window)
        .into_iter()
        .filter(|one| meant.has(&one.operation, &one.key))
        .map(|one| one.began)
        .collect();
    if meant.all() {
        let blind: Vec<&str> = view
            .system
            .dependencies
            .iter()
            .filter(|one| *one.name == *on || one.role.as_deref() == Some(on))
            .filter(|one| !one.protocol.has_messages())
            .map(|one| &*one.name)
            .collect();
        let connections = window.of(&view.history.connections, |one| one.opened);
        moments.extend(
            connections
                .iter()
                .filter(|one| blind.contains(&&*one.dependency))
                .map(|one| one.opened),
        );
        moments.sort_unstable();
    }
    moments
}
