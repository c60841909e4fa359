//! A wait that ends within microseconds of its moment.
//!
//! The runtime's timers count whole milliseconds and end at the next one, which at 1,000 operations a
//! second is as long as the pause between two. On Linux a timer of the kernel's wakes the runtime as
//! well, whichever comes first; elsewhere, or where no such timer can be had, the runtime's stands
//! alone. It stands in any case: a clock that was stopped for a test has no kernel to go by.

use tokio::time::{Instant, sleep_until};

/// Wakes one waiting task.
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: Option<linux::Timer>,
}

impl Alarm {
    /// An alarm. Must be called within a runtime.
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: linux::Timer::new().ok(),
        }
    }

    /// Comes back when the moment has come, and never before.
    #[cfg(target_os = "linux")]
    pub async fn until(&self, due: Instant) {
        match self.timer.as_ref().filter(|timer| timer.set(due).is_ok()) {
            Some(timer) => tokio::select! {
                biased;
                () = timer.rung(due) => {}
                () = sleep_until(due) => {}
            },
            None => sleep_until(due).await,
        }
    }

    /// Comes back when the moment has come, and never before.
    #[cfg(not(target_os = "linux"))]
    pub async fn until(&self, due: Instant) {
        sleep_until(due).await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::{io, os::fd::OwnedFd, time::Duration};
    use tokio::{
        io::{Interest, unix::AsyncFd},
        time::Instant,
    };

    /// A timer that is a file: readable once it has run out.
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(
            deprecated,
            reason = "the way in that is not deprecated is unsafe, for descriptors that change; this one cannot"
        )]
        pub fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        /// Lets it run out when the moment comes; what it was set to before is forgotten.
        pub fn set(&self, due: Instant) -> io::Result<()> {
            // Nothing at all would stop the timer.
            let left = due
                .saturating_duration_since(Instant::now())
                .max(Duration::from_nanos(1));
            let value = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec::try_from(left).map_err(io::Error::other)?,
            };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &value)?;
            Ok(())
        }

        /// Comes back when it has run out and the moment has come. Setting it made it unreadable, so
        /// that nothing need be read; a wake that is left over from before is passed by.
        pub async fn rung(&self, due: Instant) {
            while let Ok(mut ready) = self.0.readable().await {
                if due <= Instant::now() {
                    return;
                }
                ready.clear_ready();
            }
            // Only a runtime that shuts down says no, and it waits for nobody.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_rings_when_the_moment_has_come_and_not_before() {
        let alarm = Alarm::new();
        let mut best = Duration::MAX;
        for _ in 0..10 {
            best = best.min(usual_delay(&alarm).await);
        }
        // By the runtime's own timer the best of them would be half a millisecond and more.
        #[cfg(target_os = "linux")]
        assert!(best < Duration::from_micros(400), "{best:?}");
    }

    /// How late the half of some waits end at most.
    async fn usual_delay(alarm: &Alarm) -> Duration {
        let mut late = Vec::new();
        for nth in 0..40 {
            let due = Instant::now() + Duration::from_micros(300 + nth * 37);
            alarm.until(due).await;
            let now = Instant::now();
            assert!(due <= now);
            late.push(now - due);
        }
        late.sort();
        late[20]
    }

    #[tokio::test]
    async fn a_moment_that_is_over_is_not_waited_for() {
        let alarm = Alarm::new();
        let now = Instant::now();
        alarm.until(now).await;
        alarm.until(now - Duration::from_millis(5)).await;
        assert!(now.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_leaves_nothing_behind() {
        let alarm = Alarm::new();
        for _ in 0..5 {
            let soon = Instant::now() + Duration::from_millis(2);
            let _ = tokio::time::timeout(Duration::ZERO, alarm.until(soon)).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let later = Instant::now() + Duration::from_millis(5);
            alarm.until(later).await;
            assert!(later <= Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_clock_that_stands_still_it_goes_by_the_clock() {
        let alarm = Alarm::new();
        let began = Instant::now();
        for hour in 1..=100 {
            let due = began + Duration::from_secs(hour * 3_600);
            alarm.until(due).await;
            assert!(Instant::now() < due + Duration::from_millis(2));
        }
    }
}
