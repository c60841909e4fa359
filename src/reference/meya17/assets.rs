//! The web chat's static assets.
//!
//! *As it was*: one bucket, asked for every asset the way an S3 client of the day asks. While S3
//! hangs, the page hangs.
//!
//! *Remedied*: a short try at the bucket, then the same asset from a second origin that shares
//! nothing with it; a bucket that keeps failing is left out until it answers again.

use super::health::Health;
use crate::reference::{Refusal, breaker::Breaker, s3::Client};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// What the page needs.
pub(super) const NAMES: &[&str] = &["chat.css", "chat.js", "icons.svg"];

/// How long the bucket is left alone once it has failed three times in a row.
const REST: Duration = Duration::from_secs(2);

/// Where an asset came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The bucket.
    Primary,
    /// The second origin.
    Second,
}

impl Origin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Second => "second",
        }
    }
}

/// The assets.
#[derive(Debug)]
pub(super) struct Assets {
    primary: Client,
    second: Option<Client>,
    breaker: Breaker,
    health: Arc<Health>,
}

impl Assets {
    pub(super) fn new(primary: Client, second: Option<Client>, health: Arc<Health>) -> Self {
        Self {
            primary,
            second,
            breaker: Breaker::new(3, REST),
            health,
        }
    }

    /// Puts every asset where it will be asked for.
    ///
    /// # Errors
    /// An origin that does not take them.
    pub(super) async fn deploy(&self) -> Result<(), Refusal> {
        for client in [Some(&self.primary), self.second.as_ref()] {
            for name in NAMES {
                let Some(client) = client else { continue };
                let body = Bytes::from(format!("/* {name} */").repeat(64));
                client.put(name, 1, body).await.map_err(|error| {
                    Refusal::Usage(format!("asset `{name}` is not taken: {error}"))
                })?;
            }
        }
        Ok(())
    }

    /// An asset and where it came from; `None` where no origin gave it.
    pub(super) async fn get(&self, name: &str) -> Option<(Bytes, Origin)> {
        let Some(second) = &self.second else {
            let body = self.primary(name).await?;
            return Some((body, Origin::Primary));
        };
        if self.breaker.lets_through() {
            let body = self.primary(name).await;
            self.breaker.ended(body.is_some());
            if let Some(body) = body {
                return Some((body, Origin::Primary));
            }
        }
        let (_, body) = second.get(name).await.ok()?;
        Some((body, Origin::Second))
    }

    async fn primary(&self, name: &str) -> Option<Bytes> {
        let got = self.primary.get(name).await;
        self.health.ended("s3", got.is_ok());
        got.ok().map(|(_, body)| body)
    }
}
