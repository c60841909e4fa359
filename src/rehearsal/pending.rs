//! What takes a moment, for tests with a runtime and for those without.

use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Something that takes a moment: to be awaited on whatever runtime, or waited for with
/// [`Pending::wait`]. Nothing is done before.
#[must_use = "nothing is done before it is awaited, or waited for with `wait`"]
pub struct Pending<'a, T> {
    work: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
}

impl<'a, T> Pending<'a, T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'a) -> Self {
        Self {
            work: Box::pin(work),
        }
    }

    /// Waits on this thread. In async code this keeps the thread from other tasks; it never waits for
    /// one of them.
    pub fn wait(self) -> T {
        block_on(self.work)
    }
}

impl<T> Future for Pending<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.get_mut().work.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

/// Wakes a thread that sleeps.
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread, whether or not it belongs to a runtime.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Sleeper(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return done;
        }
        // It may wake without a reason, and then asks once more.
        thread::park();
    }
}
