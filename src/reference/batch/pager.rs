//! Who is woken, and by what.

use crate::reference::{
    Refusal,
    web::{Endpoint, tell},
};
use parking_lot::Mutex;
use serde_json::json as object;
use std::{collections::VecDeque, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// So many failures …
const FAILURES: usize = 3;

/// … within this time wake somebody.
const WITHIN: Duration = Duration::from_secs(2);

/// After so long without one, the next trouble is a new one.
const CALM: Duration = Duration::from_secs(10);

/// The most pages under way at once; there is one a trouble, and three tries of each end soon.
const PAGES_MAX: usize = 8;

/// The pager.
#[derive(Debug)]
pub(super) struct Pager {
    endpoint: Endpoint,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last failures were, at most [`FAILURES`] of them.
    failures: VecDeque<Instant>,
    paged: bool,
    pages: JoinSet<()>,
}

impl Pager {
    pub(super) fn new(url: &str) -> Result<Self, Refusal> {
        Ok(Self {
            endpoint: Endpoint::parse(url)?,
            state: Mutex::default(),
        })
    }

    /// *Remedied*: each failure of the core database is told here, and a few of them in a short
    /// time are worth a page.
    pub(super) fn note_failure(&self, why: &dyn std::fmt::Display) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.failures.back().is_some_and(|last| *last + CALM < now) {
            state.paged = false;
        }
        state.failures.push_back(now);
        if state.failures.len() > FAILURES {
            state.failures.pop_front();
        }
        let first = state.failures.front().copied();
        let often = state.failures.len() == FAILURES && first.is_some_and(|at| at + WITHIN >= now);
        if often && !state.paged {
            state.paged = true;
            self.page(&mut state, &format!("core-db fails: {why}"));
        }
    }

    /// *As it was*: wakes somebody because work is late, once until it no longer is.
    pub(super) fn note_lateness(&self, late: Option<Duration>) {
        let mut state = self.state.lock();
        match late {
            Some(late) if !state.paged => {
                state.paged = true;
                let seconds = late.as_secs();
                let why = format!("messages are {seconds} s late, waiting for core-db");
                self.page(&mut state, &why);
            }
            Some(_) => {}
            None => state.paged = false,
        }
    }

    fn page(&self, state: &mut State, summary: &str) {
        while state.pages.try_join_next().is_some() {}
        if state.pages.len() < PAGES_MAX {
            let page = object!({ "severity": "page", "summary": summary });
            state
                .pages
                .spawn(tell(self.endpoint.clone(), "/pages", page));
        }
    }
}
