//! Whether a system comes back by itself: for which triggers it stays broken although nothing is wrong
//! any more.
//!
//! A system is *metastable* where a trigger that is over leaves it in a state that its own work keeps
//! up, most often the retries of calls that time out in a queue of calls that timed out (Bronson and
//! others, HotOS 2021; Huang and others, OSDI 2022). Pure: [`measure`] makes one probe of one
//! history, and [`Search`] says which size of the trigger to try next and where the boundary lies.

mod measure;
mod model;
mod search;

pub use measure::{Asked, HOLD, least_rate, measure};
pub use model::{
    Ended, HiddenCapacity, METASTABILITY_VERSION, MetastabilityReport, Point, Probe, ProbeEnd,
    Requirement, SearchReport, TriggerReport, Varied,
};
pub use search::{Boundary, Next, Search, Settings, Side, Spacing, TOLD_MIN, Tally};
