//! The toxics of one direction of one connection, one behind the other, with what each still holds.
//!
//! Pure: it owns no socket and never waits; every method takes the time. Bytes keep their order.
//! Every queue has a bound: a toxic whose next has no room keeps what it has, and in the end
//! nothing more is taken in. A toxic that is removed lets go of what it held at once.

use crate::control::toxiproxy::toxics::{Beginning, Ending, Front, HOLD_BYTES, Step, Toxic};
use crate::control::toxiproxy::{Line, Placed};
use bytes::Bytes;
use std::{collections::VecDeque, mem, sync::Arc};
use tokio::time::Instant;

/// What an entry of a queue costs beside its bytes, so that a bound holds for single bytes too.
const ENTRY_BYTES: usize = 64;

/// What is held where there is no toxic, in bytes: what is read at once and finds no receiver.
pub(super) const CLEAR_BYTES: usize = 256 * 1024;

/// Which connection of which proxy: what decides on which connections a toxic acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkNumber(pub(super) u64);

/// One direction's toxics and what is on its way.
pub(super) struct Chain {
    link: LinkNumber,
    stages: Vec<Stage>,
    out: Queue,
    /// Nothing more is taken in.
    is_closed: bool,
}

struct Stage {
    placed: Arc<Placed>,
    toxic: Box<dyn Toxic>,
    /// Whether it acts on this connection at all.
    acts: bool,
    queue: Queue,
    /// It has ended the connection: nothing passes any more.
    is_over: bool,
}

/// What is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// At least one byte.
    Bytes(Bytes),
    /// The last that comes.
    End(Ending),
}

#[derive(Debug)]
struct Entry {
    content: Content,
    arrived: Instant,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    cost: usize,
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.cost += entry.cost();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.cost -= entry.cost();
        Some(entry)
    }

    /// Takes the first bytes off the front, which has more.
    fn split(&mut self, count: usize) -> Option<Bytes> {
        let Content::Bytes(bytes) = &mut self.entries.front_mut()?.content else {
            return None;
        };
        let piece = bytes.split_to(count.min(bytes.len()));
        self.cost -= piece.len();
        Some(piece)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Entry {
    fn cost(&self) -> usize {
        ENTRY_BYTES
            + match &self.content {
                Content::Bytes(bytes) => bytes.len(),
                Content::End(_) => 0,
            }
    }
}

impl Chain {
    /// No toxics, nothing on its way.
    pub(super) fn new(link: LinkNumber) -> Self {
        Self {
            link,
            stages: Vec::new(),
            out: Queue::default(),
            is_closed: false,
        }
    }

    /// Puts these toxics in force. One that was in force before goes on where it was, with its new
    /// attributes.
    pub(super) fn set(&mut self, line: &Line, now: Instant) {
        let mut old: Vec<Option<Stage>> =
            mem::take(&mut self.stages).into_iter().map(Some).collect();
        let was = |old: &mut Vec<Option<Stage>>, placed: &Placed| {
            let at = old
                .iter()
                .position(|stage| matches!(stage, Some(stage) if stage.placed.id == placed.id));
            at.and_then(|at| old[at].take().map(|stage| (at, stage)))
        };
        // Where each toxic stood before; one that is new stands behind all.
        let mut kept = Vec::new();
        for placed in &line.toxics {
            match was(&mut old, placed) {
                Some((at, stage)) => kept.push((at, stage.changed(placed, self.link, now))),
                None => kept.push((usize::MAX, Stage::begin(placed, self.link, now))),
            }
        }
        // What a removed toxic held is older than what stands before it, so the last goes first.
        for (at, stage) in old.into_iter().enumerate().rev() {
            let Some(stage) = stage else { continue };
            let next = kept.iter_mut().find(|(was_at, _)| *was_at > at);
            let next = match next {
                Some((was_at, stage)) if *was_at != usize::MAX => &mut stage.queue,
                // It was the last: what it held is past every toxic that comes now.
                _ => &mut self.out,
            };
            self.is_closed |= stage.leave(next, now);
        }
        self.stages = kept.into_iter().map(|(_, stage)| stage).collect();
    }

    /// How many more bytes it takes in.
    pub(super) fn room(&self) -> usize {
        if self.is_closed || self.stages.iter().any(|stage| stage.is_over) {
            return 0;
        }
        let (holds, queue) = match self.stages.first() {
            Some(stage) => (stage.holds(), &stage.queue),
            None => (CLEAR_BYTES, &self.out),
        };
        holds.saturating_sub(queue.cost + ENTRY_BYTES)
    }

    /// Whether what is taken in comes out at once: there is no toxic, and nothing is on its way.
    pub(super) fn is_clear(&self) -> bool {
        self.stages.is_empty() && self.front().is_none() && !self.is_closed
    }

    /// Bytes of memory that it holds.
    pub(super) fn cost(&self) -> usize {
        let held: usize = self.stages.iter().map(|stage| stage.queue.cost).sum();
        held + self.out.cost
    }

    /// Whether nothing is taken in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed || self.stages.iter().any(|stage| stage.is_over)
    }

    /// Takes in what arrived now; at least one byte, or an end.
    pub(super) fn push(&mut self, content: Content, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.is_closed = matches!(content, Content::End(_));
        let queue = match self.stages.first_mut() {
            Some(stage) => &mut stage.queue,
            None => &mut self.out,
        };
        queue.push(Entry {
            content,
            arrived: now,
        });
    }

    /// Lets everything on that may go on by now, and says when it wants to be asked again though
    /// nothing arrives, leaves or changes.
    pub(super) fn advance(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let mut wake: Option<Instant> = None;
            let mut has_moved = false;
            for at in (0..self.stages.len()).rev() {
                let (before, behind) = self.stages.split_at_mut(at + 1);
                let (next, room) = match behind.first_mut() {
                    Some(stage) => {
                        let holds = stage.holds();
                        (&mut stage.queue, holds)
                    }
                    None => (&mut self.out, HOLD_BYTES),
                };
                let moved = before[at].advance(next, room, now);
                has_moved |= moved.has_moved;
                wake = [wake, moved.wake].into_iter().flatten().min();
            }
            if !has_moved {
                return wake;
            }
        }
    }

    /// What comes out next, without taking it.
    pub(super) fn front(&self) -> Option<&Content> {
        self.out.entries.front().map(|entry| &entry.content)
    }

    /// So many bytes of the front have left.
    pub(super) fn sent(&mut self, count: usize) {
        match self.front() {
            Some(Content::Bytes(bytes)) if count < bytes.len() => {
                self.out.split(count);
            }
            _ => {
                self.out.pop();
            }
        }
    }
}

struct Moved {
    has_moved: bool,
    wake: Option<Instant>,
}

impl Stage {
    fn begin(placed: &Arc<Placed>, link: LinkNumber, now: Instant) -> Self {
        let toxic = (placed.kind.begin)(Beginning {
            attributes: &placed.attributes,
            now,
            random: placed.random(link.0),
        });
        Self {
            placed: Arc::clone(placed),
            toxic,
            acts: placed.acts_on(link.0),
            queue: Queue::default(),
            is_over: false,
        }
    }

    fn changed(mut self, placed: &Arc<Placed>, link: LinkNumber, now: Instant) -> Self {
        if !Arc::ptr_eq(&self.placed, placed) {
            self.toxic.change(&placed.attributes, now);
            self.acts = placed.acts_on(link.0);
            self.placed = Arc::clone(placed);
        }
        self
    }

    fn holds(&self) -> usize {
        self.placed.kind.holds
    }

    /// It is removed: what it held goes on. Whether that ended the connection.
    fn leave(mut self, next: &mut Queue, now: Instant) -> bool {
        if self.is_over {
            return true;
        }
        let ending = self.toxic.removed().filter(|_| self.acts);
        if let Some(ending) = ending {
            next.push(Entry {
                content: Content::End(ending),
                arrived: now,
            });
            return true;
        }
        while let Some(entry) = self.queue.pop() {
            next.push(entry);
        }
        false
    }

    /// Lets on what may go on, as long as the next has room.
    fn advance(&mut self, next: &mut Queue, holds: usize, now: Instant) -> Moved {
        let mut moved = Moved {
            has_moved: false,
            wake: None,
        };
        while !self.is_over {
            if let Some((at, ending)) = self.ends_at() {
                if at <= now {
                    self.end(ending, next, now);
                    moved.has_moved = true;
                    break;
                }
                moved.wake = Some(at);
            }
            if next.cost >= holds {
                break;
            }
            let Some(step) = self.step(now) else { break };
            if let Step::Stay(until) = step {
                moved.wake = [moved.wake, until].into_iter().flatten().min();
                break;
            }
            moved.has_moved = true;
            self.take(step, next, now);
        }
        moved
    }

    fn ends_at(&self) -> Option<(Instant, Ending)> {
        self.toxic.ends_at().filter(|_| self.acts)
    }

    fn step(&mut self, now: Instant) -> Option<Step> {
        let entry = self.queue.entries.front()?;
        if !self.acts {
            return Some(Step::Pass(entry.arrived));
        }
        let front = match &entry.content {
            Content::Bytes(bytes) => Front::Bytes(bytes.len()),
            Content::End(_) => Front::End,
        };
        Some(self.toxic.step(front, entry.arrived, now))
    }

    fn take(&mut self, step: Step, next: &mut Queue, now: Instant) {
        match step {
            Step::Pass(at) => {
                if let Some(entry) = self.queue.pop() {
                    next.push(Entry {
                        arrived: at.max(entry.arrived),
                        ..entry
                    });
                }
            }
            Step::Piece(count, at) => {
                if let Some(piece) = self.queue.split(count) {
                    next.push(Entry {
                        content: Content::Bytes(piece),
                        arrived: at,
                    });
                }
            }
            Step::Drop => {
                self.queue.pop();
            }
            Step::End(ending) => self.end(ending, next, now),
            Step::Stay(_) => {}
        }
    }

    fn end(&mut self, ending: Ending, next: &mut Queue, now: Instant) {
        self.is_over = true;
        self.queue.clear();
        next.push(Entry {
            content: Content::End(ending),
            arrived: now,
        });
    }
}

#[cfg(test)]
mod tests;
