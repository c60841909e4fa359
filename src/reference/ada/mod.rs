//! Ada's system on 28 February 2017, small: bots whose learned models live in a cache and in S3.
//!
//! ```text
//! clients -> router -> API -> cache of models
//!               |       `---> task queue -> S3 (bucket `models`)
//!               `-> standby API (remedied only)      pager <- router (remedied only)
//! ```
//!
//! What each part does in its two variants stands at the head of its file. Training data and
//! customers live in a database that the incident did not touch and that is not modelled: a model
//! can always be learned again, and its version is the moment of the data it was learned from.

mod api;
mod jobs;
mod models;
mod router;
mod save;

pub use api::{Api, ApiSetup};
pub use router::{Router, RouterSetup};

#[cfg(test)]
mod tests;
