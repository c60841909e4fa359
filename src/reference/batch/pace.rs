//! How fast the remedied worker may go: pure, with the time as a parameter.
//!
//! While the core database fails nothing is taken but a trial now and then. After that the rate
//! starts low and doubles step by step, as long as the database stays healthy; where it does not,
//! the rate is halved.

use std::time::Duration;

/// Messages a second right after a failure: twice what customers order, so that fresh work is not
/// late from the first second.
const START: f64 = 24.0;

/// Messages a second when all is well.
const CEILING: f64 = 64.0;

/// How long a rate is kept before it is doubled or halved.
const STEP: Duration = Duration::from_secs(2);

/// So many failures in a row mean that the database is away.
const FAILURES: u32 = 5;

/// The time between two trials while it is away.
const TRIAL_EVERY: Duration = Duration::from_millis(250);

/// A message that keeps the database busy longer than this was slow.
const SLOW: Duration = Duration::from_millis(250);

/// More than one slow or failed message in so many makes a step unhealthy.
const ILL_ONE_IN: u32 = 20;

/// How much may be taken at once when nothing was taken for a while, in seconds of the rate.
const BURST: f64 = 0.2;

/// How fast to go.
#[derive(Debug)]
pub(super) struct Pace {
    rate: f64,
    /// What may be taken now, counted up with the time.
    allowance: f64,
    counted: Duration,
    /// When this rate began.
    step: Duration,
    good: u32,
    ill: u32,
    failures: u32,
    /// While the database is away: when the next trial is due.
    trial: Option<Duration>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            rate: CEILING,
            allowance: 0.0,
            counted: Duration::ZERO,
            step: Duration::ZERO,
            good: 0,
            ill: 0,
            failures: 0,
            trial: None,
        }
    }

    /// How many messages may be begun now.
    pub(super) fn allowed(&mut self, now: Duration) -> usize {
        if let Some(due) = self.trial {
            return usize::from(now >= due);
        }
        let passed = now.saturating_sub(self.counted).as_secs_f64();
        self.counted = now;
        self.allowance = (self.allowance + passed * self.rate).min(self.rate * BURST);
        self.allowance as usize
    }

    /// So many were begun.
    pub(super) fn taken(&mut self, count: usize, now: Duration) {
        if let Some(due) = &mut self.trial
            && count > 0
        {
            *due = now + TRIAL_EVERY;
        }
        self.allowance = (self.allowance - count as f64).max(0.0);
    }

    /// The database did what was asked for a message, in this time.
    pub(super) fn went_well(&mut self, took: Duration, now: Duration) {
        self.failures = 0;
        if self.trial.take().is_some() {
            self.start_over(now);
        }
        if took < SLOW {
            self.good += 1;
        } else {
            self.ill += 1;
        }
        self.step_up_or_down(now);
    }

    /// The database did not.
    pub(super) fn failed(&mut self, now: Duration) {
        self.failures += 1;
        self.ill += 1;
        if self.failures >= FAILURES && self.trial.is_none() {
            self.trial = Some(now + TRIAL_EVERY);
        }
        self.step_up_or_down(now);
    }

    /// Whether the database is away.
    pub(super) fn is_stopped(&self) -> bool {
        self.trial.is_some()
    }

    fn start_over(&mut self, now: Duration) {
        self.rate = START;
        self.allowance = 0.0;
        self.counted = now;
        self.begin_step(now);
    }

    fn step_up_or_down(&mut self, now: Duration) {
        if now.saturating_sub(self.step) < STEP || self.is_stopped() {
            return;
        }
        let healthy = self.ill <= (self.good + self.ill) / ILL_ONE_IN;
        let factor = if healthy { 2.0 } else { 0.5 };
        self.rate = (self.rate * factor).clamp(START, CEILING);
        self.begin_step(now);
    }

    fn begin_step(&mut self, now: Duration) {
        self.step = now;
        self.good = 0;
        self.ill = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    /// How many messages are begun from `from` to `to`, in milliseconds, looking every 50 ms;
    /// each takes `took`.
    fn begun(pace: &mut Pace, from: u64, to: u64, took: Duration) -> usize {
        let looks = (from..to).step_by(50).map(ms);
        looks
            .map(|now| {
                let count = pace.allowed(now);
                pace.taken(count, now);
                (0..count).for_each(|_| pace.went_well(took, now));
                count
            })
            .sum()
    }

    fn stopped_at(now: u64) -> Pace {
        let mut pace = Pace::new();
        (0..FAILURES).for_each(|_| pace.failed(ms(now)));
        pace
    }

    #[test]
    fn a_healthy_database_is_used_at_the_full_rate() {
        let mut pace = Pace::new();
        let count = begun(&mut pace, 0, 10_000, FAST);
        assert!((620..=640).contains(&count), "{count}");
    }

    #[test]
    fn a_few_failures_stop_nothing_and_several_in_a_row_do() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            (1..FAILURES).for_each(|_| pace.failed(ms(0)));
            pace.went_well(FAST, ms(0));
        }
        assert!(!pace.is_stopped());
        assert!(stopped_at(0).is_stopped());
    }

    #[test]
    fn while_it_is_away_there_is_one_trial_at_a_time() {
        let mut pace = stopped_at(0);
        let mut trials = 0;
        for now in (0..5_000).step_by(50).map(ms) {
            let count = pace.allowed(now);
            pace.taken(count, now);
            (0..count).for_each(|_| pace.failed(now));
            trials += count;
        }
        assert_eq!(trials, 19, "every quarter of a second, the first after one");
    }

    #[test]
    fn afterwards_the_rate_starts_low_and_doubles_up_to_the_ceiling() {
        let mut pace = stopped_at(0);
        pace.went_well(FAST, ms(1_000));
        let steps = [1_000, 3_000, 5_000, 7_000, 9_000];
        let begun: Vec<usize> = steps
            .windows(2)
            .map(|step| begun(&mut pace, step[0], step[1], FAST))
            .collect();
        for (count, expected) in begun.iter().zip([48, 96, 128, 128]) {
            assert!(count.abs_diff(expected) <= 6, "{begun:?}");
        }
    }

    #[test]
    fn a_slow_database_is_not_pressed_any_harder() {
        let mut pace = stopped_at(0);
        pace.went_well(FAST, ms(1_000));
        let count = begun(&mut pace, 1_000, 11_000, SLOW * 2);
        assert!(count <= 240, "{count} are more than the starting rate");
    }

    #[test]
    fn what_was_not_taken_is_not_saved_up() {
        let mut pace = Pace::new();
        assert!(pace.allowed(ms(60_000)) <= 13);
    }
}
