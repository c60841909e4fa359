//! Who is woken, and by what; and what the public is told.

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

/// Trouble that goes on for so long after somebody was woken is told in public.
const IN_PUBLIC: Duration = Duration::from_secs(2);

/// After so long without one, the next trouble is a new one.
const CALM: Duration = Duration::from_secs(10);

/// The most pages under way at once; there is one a trouble, and three tries of each end soon.
const PAGES_MAX: usize = 8;

/// The pager.
#[derive(Debug)]
pub(super) struct Pager {
    endpoint: Endpoint,
    /// Where notices for the public go; *remedied* only.
    public: Option<Endpoint>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last failures were, at most [`FAILURES`] of them.
    failures: VecDeque<Instant>,
    /// Since when somebody knows of the present trouble.
    paged: Option<Instant>,
    /// Whether the public does.
    is_public: bool,
    pages: JoinSet<()>,
}

impl Pager {
    pub(super) fn new(url: &str, public: Option<&str>) -> Result<Self, Refusal> {
        Ok(Self {
            endpoint: Endpoint::parse(url)?,
            public: public.map(Endpoint::parse).transpose()?,
            state: Mutex::default(),
        })
    }

    /// *Remedied*: each failure of the core database is told here, and a few of them in a short
    /// time are worth a page. If they go on, so does a notice on the public status page: in words
    /// that nobody has to write on such a day.
    pub(super) fn note_failure(&self, why: &dyn std::fmt::Display) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.failures.back().is_some_and(|last| *last + CALM < now) {
            state.paged = None;
            state.is_public = false;
        }
        state.failures.push_back(now);
        if state.failures.len() > FAILURES {
            state.failures.pop_front();
        }
        let first = state.failures.front().copied();
        let often = state.failures.len() == FAILURES && first.is_some_and(|at| at + WITHIN >= now);
        match state.paged {
            None if often => {
                state.paged = Some(now);
                self.page(&mut state, &format!("core-db fails: {why}"));
            }
            Some(since) if often && !state.is_public && since + IN_PUBLIC <= now => {
                state.is_public = true;
                self.tell_the_public(&mut state);
            }
            _ => {}
        }
    }

    /// *As it was*: wakes somebody because work is late, once until it no longer is.
    pub(super) fn note_lateness(&self, late: Option<Duration>) {
        let mut state = self.state.lock();
        match late {
            Some(late) if state.paged.is_none() => {
                state.paged = Some(Instant::now());
                let seconds = late.as_secs();
                let why = format!("messages are {seconds} s late, waiting for core-db");
                self.page(&mut state, &why);
            }
            Some(_) => {}
            None => state.paged = None,
        }
    }

    fn page(&self, state: &mut State, summary: &str) {
        let page = object!({ "severity": "page", "summary": summary });
        state.say(tell(self.endpoint.clone(), "/pages", page));
    }

    fn tell_the_public(&self, state: &mut State) {
        if let Some(public) = self.public.clone() {
            let notice = object!({
                "status": "investigating",
                "body": "Messages may be late and campaigns may not be sent. What you send us is kept.",
            });
            state.say(tell(public, "/incidents", notice));
        }
    }
}

impl State {
    fn say(&mut self, word: impl Future<Output = ()> + Send + 'static) {
        while self.pages.try_join_next().is_some() {}
        if self.pages.len() < PAGES_MAX {
            self.pages.spawn(word);
        }
    }
}
