//! What a run says while it goes on: one stream of typed events, of which the terminal's progress
//! is one reader.
//!
//! Events are for people who watch. Nothing is judged by them, and emitting one never waits: an
//! event that finds the queue full is dropped, which the next [`Event::Tick`] makes good.

use crate::units::Micros;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

/// Something that a person who watches a run wants to know. Moments count from the beginning of
/// its scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The system is about to be started.
    ScenarioStarted {
        /// The scenario's title.
        title: String,
        /// How long the phases last at most, at the speed of this run.
        planned: Duration,
    },
    /// A phase began; it ends the one before.
    PhaseBegan {
        /// When.
        at: Micros,
        /// Its name.
        name: Arc<str>,
        /// Its place, from 1.
        index: usize,
        /// How many there are.
        of: usize,
        /// When it ends, or at the latest ends.
        ends_at: Micros,
        /// Whether it may end earlier: a recovery that ends once all is steady.
        until_steady: bool,
        /// The labels of the faults that come into force with it.
        faults: Vec<String>,
    },
    /// How things stand; about once a second.
    Tick {
        /// When.
        at: Micros,
        /// What became of each load's operations since the tick before.
        loads: Vec<LoadTick>,
        /// The faults in force.
        faults: Vec<FaultTick>,
    },
    /// Something worth a line: an instance is ready, exited, was killed; healing has begun.
    Note {
        /// When.
        at: Micros,
        /// What: "primary is ready at http://127.0.0.1:40123".
        what: String,
        /// Whether it is shown only with `--verbose`.
        detail: bool,
    },
    /// The scenario is over and everything is healed.
    ScenarioEnded {
        /// When.
        at: Micros,
        /// `completed`, `interrupted`, or what broke.
        how: String,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Micros {
        match self {
            Self::ScenarioStarted { .. } => Micros(0),
            Self::PhaseBegan { at, .. }
            | Self::Tick { at, .. }
            | Self::Note { at, .. }
            | Self::ScenarioEnded { at, .. } => *at,
        }
    }
}

/// What became of a load's operations in one tick.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadTick {
    /// The load's name.
    pub load: Arc<str>,
    /// Answered as required, a second.
    pub ok: f64,
    /// Answered by a fallback, a second.
    pub degraded: f64,
    /// Failed, a second.
    pub failed: f64,
    /// Without an answer in time, a second.
    pub indeterminate: f64,
}

/// A fault in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultTick {
    /// Its label.
    pub label: String,
    /// How many events it acted on so far.
    pub hits: u64,
}

/// Where a run puts its events. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Events {
    sender: Option<SyncSender<Event>>,
}

impl Events {
    /// How many events wait at most for a reader that is slow.
    pub const QUEUE: usize = 1_024;

    /// An outlet, and where its events come out.
    pub fn channel() -> (Self, Receiver<Event>) {
        let (sender, receiver) = sync_channel(Self::QUEUE);
        (
            Self {
                sender: Some(sender),
            },
            receiver,
        )
    }

    /// An outlet that nobody listens to.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Says one thing, without waiting.
    pub fn emit(&self, event: Event) {
        if let Some(sender) = &self.sender {
            // A full queue or a reader that has gone costs a line on a screen and nothing else.
            let _ = sender.try_send(event);
        }
    }

    /// Says something that everybody shall see.
    pub fn note(&self, at: Micros, what: impl Into<String>) {
        self.emit(Event::Note {
            at,
            what: what.into(),
            detail: false,
        });
    }

    /// Says something for `--verbose`.
    pub fn detail(&self, at: Micros, what: impl Into<String>) {
        self.emit(Event::Note {
            at,
            what: what.into(),
            detail: true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_slow_or_gone_never_holds_up_the_run() {
        let (events, receiver) = Events::channel();
        for _ in 0..2 * Events::QUEUE {
            events.note(Micros(1), "busy");
        }
        assert_eq!(receiver.try_iter().count(), Events::QUEUE);
        drop(receiver);
        events.note(Micros(2), "nobody is there");
    }
}
