//! The agents' portals, all of them in one program, as if each were a browser somewhere.

use super::{
    portal::{Office, Portal},
    pusher::App,
};
use crate::reference::{
    Options, Refusal, Variant,
    web::{Endpoint, Pool},
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// How many agents there are, numbered from 1.
pub(super) const AGENTS: u32 = 8;

/// When the first agent loads the page again, and how long after it the next one does.
const RELOAD: Duration = Duration::from_secs(46);
const RELOAD_STEP: Duration = Duration::from_millis(1_500);

/// What the portals need to know.
#[derive(Debug, Clone)]
pub struct PortalsSetup {
    /// Which system they belong to.
    pub variant: Variant,
    /// The server's address.
    pub server: String,
    /// Pusher's address.
    pub pusher: String,
    /// Where transcripts are kept.
    pub transcripts: String,
    /// The app.
    pub app: App,
}

impl PortalsSetup {
    pub(in crate::reference) fn from_options(options: &Options) -> Result<Self, Refusal> {
        Ok(Self {
            variant: options.need("variant")?.parse()?,
            server: options.need("server")?.to_owned(),
            pusher: options.need("pusher")?.to_owned(),
            transcripts: options.need("transcripts")?.to_owned(),
            app: App::parse(options.need("app")?)?,
        })
    }
}

/// Running portals. Dropping them closes every page.
#[derive(Debug)]
pub struct Portals {
    _pages: JoinSet<()>,
}

impl Portals {
    /// Opens every agent's page.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub fn open(setup: PortalsSetup) -> Result<Self, Refusal> {
        let office = Arc::new(Office {
            variant: setup.variant,
            app: setup.app,
            pusher: Endpoint::parse(&setup.pusher)?,
            server: Pool::new(Endpoint::parse(&setup.server)?),
            transcripts: Pool::new(Endpoint::parse(&setup.transcripts)?),
        });
        let mut pages = JoinSet::new();
        for agent in 1..=AGENTS {
            let portal = Portal::new(Arc::clone(&office), agent);
            pages.spawn(portal.work(RELOAD + RELOAD_STEP * (agent - 1)));
        }
        Ok(Self { _pages: pages })
    }
}
