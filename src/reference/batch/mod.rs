//! Batch's messaging system on 14 August 2025, small: customers' events are taken in at once and
//! become messages later.
//!
//! ```text
//! customer -> data API -> queue (PostgreSQL) -> worker -> core database (PostgreSQL)
//!    |                                            `-----> sender, and from there webhooks
//!    `-> transactional API -> sender (the core database takes no part)
//! ```
//!
//! `messaging-api` holds the APIs; `messaging-worker` turns queued work into messages. What each
//! does in its two variants stands at the head of `api`, `in_turn` (as it was) and `paced` (remedied).
//!
//! Four classes of work, each with a contract of its own: an *automation* is sent however late; a
//! *campaign* has its time and is not sent after it; a *transactional* message is sent while the
//! caller waits; a *webhook* tells the customer that something was sent.

mod api;
mod busy;
mod clock;
mod core;
mod in_turn;
mod pace;
mod paced;
mod pager;
mod queue;
mod sending;
mod worker;

pub use api::{Api, ApiSetup};
pub use worker::{Worker, WorkerSetup};

use super::web::Patience;
use std::time::Duration;

/// How long either program waits for either database: for a connection and for a statement.
const DATABASE: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(1),
};

/// How long after it was ordered a campaign may still be sent. Hours in reality.
const CAMPAIGN_LIVES: Duration = Duration::from_secs(3);

/// What a queued piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// One message to one profile, set off by an event; never dropped.
    Automation,
    /// One message to all profiles of a segment; dropped when it is late.
    Campaign,
    /// Asked for and sent at once; queued is only its webhook.
    Transactional,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Automation => "automation",
            Self::Campaign => "campaign",
            Self::Transactional => "transactional",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Automation, Self::Campaign, Self::Transactional]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

#[cfg(test)]
mod tests;
