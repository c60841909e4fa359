//! What few repeats can show: exact intervals of a share, and the sequential test that says when
//! repeats are enough. Pure numbers; it knows nothing of runs.

mod binomial;
mod sequential;

pub use binomial::{Interval, LEVEL, Sides, bounds, clopper_pearson};
pub use sequential::{Decision, Sequential, Sprt};
