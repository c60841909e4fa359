//! Waits for a moment: never less, and seldom more than a tenth of a millisecond.
//!
//! tokio's timers have a grain of a millisecond. On Linux those who wait on one runtime stand in
//! one line, in the order of their moments, and a single timer of the kernel, of which the runtime
//! hears as of a socket, is set to the first of them. It goes off at most once every 50
//! microseconds, and then lets everybody go who is due: many delays cost few turns. A runtime on
//! which nobody has waited has no line; whoever is dropped has left it.
//!
//! Elsewhere, where the system has no descriptor to spare, and while the clock of a test stands
//! still, tokio's own timers are used.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Waits for a time from now.
pub(crate) fn sleep(time: Duration) -> Delay {
    sleep_until(Instant::now() + time)
}

/// Waits until a moment. Needs a runtime of tokio with its clock and its sockets.
pub(crate) fn sleep_until(until: Instant) -> Delay {
    Delay {
        until,
        way: Way::New,
    }
}

/// A wait for a moment. Small while nobody asks for it.
#[derive(Debug)]
pub(crate) struct Delay {
    until: Instant,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Nobody has asked yet.
    New,
    #[cfg(target_os = "linux")]
    Line(line::Place),
    /// Boxed, as it is large and rare.
    Tokio(Pin<Box<Sleep>>),
}

impl Delay {
    /// The moment.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    fn begin(&self, cx: &Context<'_>) -> Way {
        #[cfg(target_os = "linux")]
        {
            let line = line::of_this_runtime();
            if let Some(place) = line.and_then(|line| line.enter(self.until, cx.waker())) {
                return Way::Line(place);
            }
        }
        let _ = cx;
        Way::Tokio(Box::pin(tokio::time::sleep_until(self.until)))
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Way::New = self.way {
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            self.way = self.begin(cx);
        }
        match &mut self.way {
            #[cfg(target_os = "linux")]
            Way::Line(place) => place.poll(cx),
            Way::Tokio(sleep) => sleep.as_mut().poll(cx),
            Way::New => Poll::Pending,
        }
    }
}

#[cfg(target_os = "linux")]
mod line {
    use parking_lot::Mutex;
    use rustix::{
        fd::OwnedFd,
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        },
    };
    use std::{
        cell::RefCell,
        collections::BTreeMap,
        io,
        sync::{Arc, Weak},
        task::{Context, Poll, Waker},
        time::Duration,
    };
    use tokio::{
        io::{Interest, unix::AsyncFd},
        runtime::{Handle, Id},
        time::Instant,
    };

    /// The shortest time between two turns of a line: what a delay may be late for the sake of
    /// others.
    const REST: Duration = Duration::from_micros(50);

    /// The lines of all runtimes of this process.
    static LINES: Mutex<Vec<(Id, Weak<Line>)>> = Mutex::new(Vec::new());

    thread_local! {
        /// The line that was asked for last on this thread.
        static LAST: RefCell<Option<(Id, Weak<Line>)>> = const { RefCell::new(None) };
    }

    /// Everybody who waits on one runtime.
    #[derive(Debug)]
    pub(super) struct Line {
        timer: AsyncFd<OwnedFd>,
        /// Never held while somebody is woken.
        waiting: Mutex<Waiting>,
    }

    #[derive(Debug)]
    struct Waiting {
        /// By their moment, and among those of one moment in the order in which they came.
        wakers: BTreeMap<(Instant, u64), Waker>,
        came: u64,
        /// What the timer is set to; `None` if it is not set.
        set_to: Option<Instant>,
        /// It is not set to an earlier moment than this.
        rests_until: Instant,
        /// The runtime has ended: nobody is woken any more.
        is_over: bool,
    }

    /// Somebody's place in a line, which is left by drop.
    #[derive(Debug)]
    pub(super) struct Place {
        line: Arc<Line>,
        at: (Instant, u64),
    }

    /// The line of the runtime on which this is called, which is begun if there is none. `None`
    /// where there can be none.
    pub(super) fn of_this_runtime() -> Option<Arc<Line>> {
        if stands_still() {
            return None;
        }
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let same = |of: &Option<(Id, Weak<Line>)>| match of {
            Some((of, line)) if *of == id => line.upgrade(),
            _ => None,
        };
        if let Some(line) = LAST.with_borrow(same) {
            return Some(line);
        }
        let mut lines = LINES.lock();
        lines.retain(|(_, line)| line.strong_count() > 0);
        let known = lines.iter().find(|(of, _)| *of == id);
        let line = match known.and_then(|(_, line)| line.upgrade()) {
            Some(line) => line,
            None => {
                let line = Arc::new(Line::new().ok()?);
                lines.push((id, Arc::downgrade(&line)));
                runtime.spawn(Arc::clone(&line).advance());
                line
            }
        };
        LAST.set(Some((id, Arc::downgrade(&line))));
        Some(line)
    }

    /// Whether tokio's clock is paused, as in tests: then it alone knows when it goes on. It does
    /// not move while the system's does.
    fn stands_still() -> bool {
        let before = Instant::now();
        let real = std::time::Instant::now();
        while std::time::Instant::now() <= real {
            std::hint::spin_loop();
        }
        Instant::now() == before
    }

    impl Line {
        fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let waiting = Waiting {
                wakers: BTreeMap::new(),
                came: 0,
                set_to: None,
                rests_until: Instant::now(),
                is_over: false,
            };
            // Its successor is for those whose descriptor may change or be closed behind its back, and
            // asks for a promise in `unsafe`; an owned one stays what it is.
            #[allow(deprecated)]
            let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
            Ok(Self {
                timer,
                waiting: Mutex::new(waiting),
            })
        }

        /// Takes a place, to be woken when the moment has come; none where nobody is woken.
        pub(super) fn enter(self: Arc<Self>, until: Instant, waker: &Waker) -> Option<Place> {
            let mut waiting = self.waiting.lock();
            if waiting.is_over {
                return None;
            }
            waiting.came += 1;
            let at = (until, waiting.came);
            waiting.wakers.insert(at, waker.clone());
            self.set(&mut waiting, until);
            drop(waiting);
            Some(Place { line: self, at })
        }

        /// Sets the timer to this moment, if that is earlier than what it is set to.
        fn set(&self, waiting: &mut Waiting, until: Instant) {
            let until = until.max(waiting.rests_until);
            if waiting.set_to.is_some_and(|set_to| set_to <= until) {
                return;
            }
            // Nothing at all would switch it off.
            let time = until.saturating_duration_since(Instant::now());
            let time = time.max(Duration::from_nanos(1));
            let timer = Itimerspec {
                it_interval: timespec(Duration::ZERO),
                it_value: timespec(time),
            };
            // Fails only for times that are none.
            let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer);
            waiting.set_to = Some(until);
        }

        /// Lets go who is due, whenever the timer goes off, for as long as the runtime lives.
        async fn advance(self: Arc<Self>) {
            let line = Advancing(&self);
            let mut due = Vec::new();
            // It fails when the runtime ends.
            while let Ok(mut ready) = line.0.timer.readable().await {
                // What the timer counts is not read: each time it goes off is told anew.
                ready.clear_ready();
                line.0.take_due(&mut due);
                due.drain(..).for_each(Waker::wake);
            }
        }

        /// Takes out who is due by now, and sets the timer to whoever is next.
        fn take_due(&self, due: &mut Vec<Waker>) {
            let now = Instant::now();
            let mut waiting = self.waiting.lock();
            waiting.set_to = None;
            waiting.rests_until = now + REST;
            while let Some((&(until, _), _)) = waiting.wakers.first_key_value() {
                if until > now {
                    return self.set(&mut waiting, until);
                }
                due.extend(waiting.wakers.pop_first().map(|(_, waker)| waker));
            }
        }

        #[cfg(test)]
        pub(super) fn waiting(&self) -> usize {
            self.waiting.lock().wakers.len()
        }
    }

    /// While it lives, those who wait in a line are woken.
    struct Advancing<'a>(&'a Line);

    impl Drop for Advancing<'_> {
        fn drop(&mut self) {
            self.0.waiting.lock().is_over = true;
        }
    }

    impl Place {
        pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
            if Instant::now() >= self.at.0 {
                return Poll::Ready(());
            }
            let mut waiting = self.line.waiting.lock();
            let known = waiting.wakers.get(&self.at);
            if known.is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            let another = waiting.wakers.insert(self.at, cx.waker().clone());
            self.line.set(&mut waiting, self.at.0);
            // Whoever it would have woken may go with it, and leave a place of their own.
            drop(waiting);
            drop(another);
            Poll::Pending
        }
    }

    #[cfg(test)]
    impl Place {
        pub(super) fn is_over(&self) -> bool {
            self.line.waiting.lock().is_over
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let waker = self.line.waiting.lock().wakers.remove(&self.at);
            // Only now that the line is free: see `poll`.
            drop(waker);
        }
    }

    fn timespec(time: Duration) -> Timespec {
        Timespec {
            // Whoever waits for longer than that is asked again.
            tv_sec: time.as_secs().min(u64::from(u32::MAX)) as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, task::Waker};

    const HOUR: Duration = Duration::from_secs(3600);
    const MS: Duration = Duration::from_millis(1);

    /// Asks once.
    async fn has_ended(delay: &mut Delay) -> bool {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *delay).poll(cx).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_clock_stands_still_time_goes_on_as_ever() {
        let began = Instant::now();
        let real = std::time::Instant::now();
        sleep(HOUR).await;
        assert!((HOUR..HOUR + MS * 2).contains(&began.elapsed()));
        assert!(real.elapsed() < HOUR);
        let mut delay = sleep(HOUR);
        assert!(!has_ended(&mut delay).await);
        assert!(matches!(delay.way, Way::Tokio(_)));
        tokio::time::advance(HOUR).await;
        delay.await;
    }

    #[tokio::test]
    async fn a_moment_that_is_over_is_not_waited_for() {
        let mut delay = sleep(Duration::ZERO);
        assert!(has_ended(&mut delay).await);
        assert!(matches!(delay.way, Way::New));
    }

    #[cfg(target_os = "linux")]
    mod in_line {
        use super::*;
        use proptest::prelude::*;
        use tokio::{runtime::Runtime, task::JoinSet, time::timeout};

        /// Much longer than anything here takes.
        const PATIENCE: Duration = Duration::from_secs(20);

        fn waiting() -> usize {
            let line = line::of_this_runtime();
            line.expect("there is a line").waiting()
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(8))]
            #[test]
            fn no_delay_ends_early_and_none_is_forgotten(
                delays in prop::collection::vec(0..15_000u64, 1..200),
            ) {
                let runtime = Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    let mut all = JoinSet::new();
                    for micros in delays {
                        let until = Instant::now() + Duration::from_micros(micros);
                        all.spawn(async move {
                            sleep_until(until).await;
                            assert!(Instant::now() >= until, "it ended early");
                        });
                    }
                    while let Some(ended) = timeout(PATIENCE, all.join_next()).await.expect("in time") {
                        ended.expect("none ended early");
                    }
                    assert_eq!(waiting(), 0);
                });
            }
        }

        #[tokio::test]
        async fn whoever_is_dropped_has_left_the_line() {
            let mut delays: Vec<Delay> = (0..100).map(|_| sleep(HOUR)).collect();
            for delay in &mut delays {
                assert!(!has_ended(delay).await);
            }
            assert_eq!(waiting(), 100);
            delays.truncate(1);
            assert_eq!(waiting(), 1);
            let abandoned = timeout(MS, sleep(HOUR)).await;
            assert!(abandoned.is_err());
            drop(delays);
            assert_eq!(waiting(), 0);
        }

        #[tokio::test]
        async fn who_comes_later_and_is_due_earlier_is_let_go_earlier() {
            let mut long = sleep(HOUR);
            assert!(!has_ended(&mut long).await);
            timeout(PATIENCE, sleep(MS * 3)).await.expect("in time");
            assert!(!has_ended(&mut long).await);
            assert_eq!(waiting(), 1);
        }

        #[tokio::test]
        async fn whoever_asked_last_is_woken() {
            let mut delay = sleep(MS * 5);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut delay).poll(&mut cx).is_pending());
            let another = tokio::spawn(delay);
            let ended = timeout(PATIENCE, another).await.expect("in time");
            ended.expect("it was let go");
        }

        #[test]
        fn each_runtime_has_its_own_line_and_it_ends_with_it() {
            let mut left = Vec::new();
            for _ in 0..3 {
                let runtime = Runtime::new().expect("a runtime");
                runtime.block_on(async {
                    timeout(PATIENCE, sleep(MS)).await.expect("in time");
                    let mut delay = sleep(HOUR);
                    assert!(!has_ended(&mut delay).await);
                    assert_eq!(waiting(), 1);
                    left.push(delay);
                });
            }
            for delay in &left {
                let Way::Line(place) = &delay.way else {
                    panic!("it stands in a line");
                };
                assert!(place.is_over(), "nobody would wake it");
            }
        }
    }
}
