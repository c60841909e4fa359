//! Every load against every dependency and every kind of trouble, one at a time: what is tried, in
//! which order, how it is written as a scenario, and what a history says of it. Pure: it starts
//! nothing and waits for nothing.
//!
//! A *trial* is one kind of trouble on one dependency, or two of them at once, tried on a system that
//! was started for it and healthy; a *cell* is what one load met with in a trial. What the loads
//! depend on is told by a [`Reference`] run without any fault, in which each load is alone for a
//! while.
//!
//! | a cell is | when |
//! |---|---|
//! | failed | fewer than 99 % of the operations were answered, and at least three or half were not |
//! | held | more than 1 % hung until the faults were lifted, and were answered only then |
//! | degraded | they were, but by a fallback, more than 10 points above steady state |
//! | answered | they were, as before |
//! | too few | fewer than three operations say anything, or one or two of few failed |
//! | not reached | the fault acted on no call that is this load's, or came too late for none of them |
//! | does not use it | the load called the dependency in no operation of the reference run, and was answered as before |
//!
//! Beside its cells a trial may show that the system was never as before, that an instance exited,
//! and, where answers were lost, that something was done twice; see [`Found`] and [`Doubling`].
//!
//! The last three are never good news: nothing was shown. A load that does not use a dependency and
//! fails all the same when that one is in trouble has *failed*, whatever it uses; where the faults
//! acted on nothing at all, nothing is their doing.

mod cell;
mod delay;
mod doubling;
mod finding;
mod kind;
mod model;
mod order;
mod reference;
mod text;

pub use cell::{is_our_doing, tried};
pub use delay::{Delay, PATIENCE_MAX, Patience, in_time, too_late};
pub use doubling::{Doubling, NamedBy, may_lose_answers};
#[cfg(test)]
pub(crate) use finding::tests::sample;
pub use finding::{Finding, Found, Need, findings, needs};
pub use kind::Kind;
pub use model::{
    Aftermath, Aim, Beside, Cell, Counts, MATRIX_VERSION, Matrix, Met, State, Trial, Tried, Tries,
};
pub use order::{Wanted, aims, pairs};
pub use reference::{Reference, Use, scenario as reference_scenario};
pub use text::{Lengths, Relied, finding_text, once_text, trial_text};
