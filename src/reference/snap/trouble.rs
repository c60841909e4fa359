//! What is wrong with Pusher, in words that a pager can be told, and how much of it is used.

use super::pusher::NotPublished;
use std::{collections::VecDeque, fmt, time::Duration};
use tokio::time::Instant;

/// Why Pusher does not work for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// More is used than our plan allows: asking again does not help, paying does.
    Quota,
    /// Pusher itself is at its limits, or broken.
    Overload,
    /// Nobody answers.
    Network,
    /// Anything else that it says.
    Other,
}

impl Trouble {
    /// By the code that a portal was refused with; 0: nobody answered.
    pub(super) fn of_connecting(code: u64) -> Self {
        match code {
            0 => Self::Network,
            4004 => Self::Quota,
            4100..=4299 => Self::Overload,
            _ => Self::Other,
        }
    }

    /// By what publishing came to.
    pub(super) fn of_publishing(why: &NotPublished) -> Self {
        match why {
            NotPublished::Forbidden => Self::Quota,
            NotPublished::Refused(status) if status.is_server_error() => Self::Overload,
            NotPublished::Refused(_) => Self::Other,
            NotPublished::Unreachable(_) => Self::Network,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quota => "refuses us over quota",
            Self::Overload => "is overloaded",
            Self::Network => "cannot be reached over the network",
            Self::Other => "refuses us",
        })
    }
}

/// Our own count of what is published.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// When something was published, the last ones.
    published: VecDeque<Instant>,
    is_told: bool,
}

impl Usage {
    /// What a plan counts over, in place of a day.
    pub(super) const WINDOW: Duration = Duration::from_secs(5);

    /// The part of a plan that is worth a word.
    pub(super) const WARNS_AT: &'static str = "80 %";

    /// Notes an event. True when with it four fifths of the plan are used, and were not before.
    pub(super) fn note(&mut self, plan: u64, now: Instant) -> bool {
        self.published.push_back(now);
        while self
            .published
            .front()
            .is_some_and(|first| *first + Self::WINDOW < now)
        {
            self.published.pop_front();
        }
        let used = self.published.len() as u64;
        let is_near = used * 5 >= plan * 4;
        let is_news = is_near && !self.is_told;
        self.is_told = is_near;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::web::Failure;
    use hyper::StatusCode;

    #[test]
    fn a_quota_a_load_and_a_network_are_told_apart() {
        let said = |trouble: Trouble| trouble.to_string();
        let refused = |status| Trouble::of_publishing(&NotPublished::Refused(status));
        for quota in [
            Trouble::of_connecting(4004),
            Trouble::of_publishing(&NotPublished::Forbidden),
        ] {
            assert!(said(quota).contains("quota"));
        }
        for load in [
            Trouble::of_connecting(4100),
            refused(StatusCode::BAD_GATEWAY),
        ] {
            assert!(said(load).contains("overload"));
        }
        let nobody = NotPublished::Unreachable(Failure::NoAnswer);
        for network in [Trouble::of_connecting(0), Trouble::of_publishing(&nobody)] {
            assert!(said(network).contains("network"));
        }
        for other in [
            Trouble::of_connecting(4001),
            refused(StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(said(other), "refuses us");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn four_fifths_of_a_plan_are_told_once_until_less_is_used() {
        let start = Instant::now();
        let mut usage = Usage::default();
        let mut news = |count: u32, from: Instant| -> Vec<u32> {
            (0..count)
                .filter(|nth| usage.note(20, from + Duration::from_millis(10) * *nth))
                .collect()
        };
        assert_eq!(news(18, start), [15]);
        assert_eq!(news(15, start + Duration::from_secs(60)), [] as [u32; 0]);
        assert_eq!(news(1, start + Duration::from_secs(61)), [0]);
    }
}
