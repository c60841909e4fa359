//! Whether somebody is told.
//!
//! *As it was*: the platform looks at its provider's status page and believes it. On the day that
//! page stayed green for two hours, because it depended on what had failed.
//!
//! *Remedied*: every part says how its own calls end; a dependency whose calls keep failing is told
//! to the pager by its name, once until it is well again.

use crate::reference::web::{Endpoint, Patience, ask, tell};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use parking_lot::Mutex;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time;

/// Failures in a row after which a dependency counts as failing.
const FAILURES: u32 = 3;

/// How often the provider's page is looked at.
const GLANCE: Duration = Duration::from_secs(2);

/// How long the page may take.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(2),
};

/// What is known of the dependencies.
#[derive(Debug)]
pub(super) struct Health {
    /// Whom to tell; `None` where nobody listens to our own calls.
    pager: Option<Endpoint>,
    failures: Mutex<BTreeMap<&'static str, u32>>,
}

impl Health {
    pub(super) fn new(pager: Option<Endpoint>) -> Self {
        Self {
            pager,
            failures: Mutex::default(),
        }
    }

    /// A call to a dependency came to its end.
    pub(super) fn ended(&self, dependency: &'static str, well: bool) {
        let mut failures = self.failures.lock();
        let count = failures.entry(dependency).or_default();
        if well {
            *count = 0;
            return;
        }
        *count = count.saturating_add(1);
        if *count == FAILURES
            && let Some(pager) = self.pager.clone()
        {
            let alert = json!({ "alert": format!("calls to {dependency} keep failing") });
            tokio::spawn(tell(pager, "/alerts", alert));
        }
    }
}

/// *As it was*: looks at the provider's page for ever, and tells the pager what it says.
pub(super) async fn believe(page: Endpoint, pager: Endpoint) {
    let mut was_green = true;
    loop {
        time::sleep(GLANCE).await;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = hyper::Uri::from_static("/");
        // A page that cannot be read says nothing.
        let Ok(answer) = ask(&page, request, PATIENCE).await else {
            continue;
        };
        let is_green = !String::from_utf8_lossy(answer.body()).contains("disruption");
        if was_green && !is_green {
            let alert = json!({ "alert": "the provider says that s3 is disrupted" });
            tokio::spawn(tell(pager.clone(), "/alerts", alert));
        }
        was_green = is_green;
    }
}
