//! Meya's bot cloud on 8 September 2021, small: the bots of several tenants, and one ledger of
//! everything that was said, in a PostgreSQL that all tenants share.
//!
//! ```text
//! end users -> bots of every tenant -> replies
//! web IDE  -->     |        `----> records of what was said -> ledger (PostgreSQL)
//!                  `-> pager (remedied only)
//! ```
//!
//! *As it was* (`direct`) the reply waits until its record is written. *Remedied* (`outbox`) it
//! does not: records wait in bounded buffers and are written behind it. What else differs is the
//! ledger's client (`ledger::Manners`) and how much of a conversation a record holds; all of it
//! is chosen in `cloud`.

mod buffer;
mod cloud;
mod direct;
mod gate;
mod ledger;
mod outbox;
mod record;
mod watch;

pub use cloud::{Cloud, CloudSetup};

#[cfg(test)]
mod tests;
