//! Joins proxy, load, process and clock; heals on every way out.

mod event;

pub use event::{Event, Events, FaultTick, LoadTick};
