//! What a dependency can carry.

use crate::{
    fault::Law,
    units::{Rate, format_duration},
};
use std::{fmt, time::Duration};

/// The most requests that wait, whatever the file says: those of clients that have gone and those
/// of other tenants included. Beyond it an arrival is refused.
pub const WAITING_MAX: usize = 1_000_000;

/// What a dependency can carry while an overload is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// How many requests are served at the same time, at least one.
    pub servers: u32,
    /// The work of one request: the time that it takes while nothing else is served.
    pub service: Law,
    /// How many times as fast every server works; zero stands still.
    pub scale: f64,
    /// σ of the Universal Scalability Law: what is done one at a time.
    pub contention: f64,
    /// κ of the Universal Scalability Law: what every server has to agree upon with every other.
    pub coherency: f64,
    /// How much may wait.
    pub bound: Bound,
    /// Who is served next.
    pub order: Order,
    /// What has waited longer than this is refused when its turn comes.
    pub deadline: Option<Duration>,
    /// Whether a request whose client has gone is taken out. If not, it stays and is served for
    /// nobody: dead work, which is what keeps a retry storm alive.
    pub cancel: bool,
    /// The demand of other tenants: Poisson arrivals with the same law of work. They exist in the
    /// model alone.
    pub other_load: Option<Rate>,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Whatever comes, up to [`WAITING_MAX`].
    Unbounded,
    /// So many requests, those in service apart.
    Requests(usize),
    /// So much work that all servers together need this long for it.
    Work(Duration),
}

/// Who is served next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Who came first.
    Fifo,
    /// Who came last.
    Lifo,
}

impl Capacity {
    /// How fast each of `serving` requests proceeds, in parts of the speed that one alone has at
    /// scale 1. By the Universal Scalability Law a request among N takes 1 + σ(N−1) + κN(N−1)
    /// times as long as alone.
    pub fn speed(&self, serving: usize) -> f64 {
        self.scale / self.slowing(serving)
    }

    /// How many times as long as alone a request takes among `serving`.
    pub fn slowing(&self, serving: usize) -> f64 {
        let n = serving.max(1) as f64;
        1.0 + self.contention * (n - 1.0) + self.coherency * n * (n - 1.0)
    }

    /// The work that all servers together do in a second while all are busy, in seconds.
    pub fn work_per_second(&self) -> f64 {
        f64::from(self.servers) * self.speed(self.servers as usize)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbounded => write!(f, "unbounded"),
            Self::Requests(count) => write!(f, "{count}"),
            Self::Work(time) => write!(f, "{}", format_duration(*time)),
        }
    }
}
