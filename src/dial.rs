//! Connects of this process's own, and how many of them failed.
//!
//! Who looks for others' refused connects finds them in a count that the kernel keeps for everybody
//! together, and must leave out those of the load, of checks, and of proxies towards dependencies.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};

/// How many failed as far as is known.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// The same, and those that are under way.
static FAILED_OR_UNDER_WAY: AtomicU64 = AtomicU64::new(0);

/// A connect under way: unless it is seen to fail, it did not.
struct UnderWay {
    has_failed: bool,
}

impl UnderWay {
    fn begin() -> Self {
        FAILED_OR_UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        Self { has_failed: false }
    }

    fn failed(&mut self) {
        self.has_failed = true;
        FAILED.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.has_failed {
            FAILED_OR_UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Connects to the first of a host's addresses that takes it.
///
/// # Errors
/// The host is not found, or none of its addresses takes it: what the last one said.
pub(crate) async fn connect(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host(host).await? {
        match connect_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to one address.
///
/// # Errors
/// As the system says.
pub(crate) async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let mut under_way = UnderWay::begin();
    let connected = TcpStream::connect(address).await;
    if connected.as_ref().is_err_and(is_counted) {
        under_way.failed();
    }
    connected
}

/// Whether the kernel counts a connect that failed so: it was begun, and got no connection.
fn is_counted(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::TimedOut
    )
}

/// How many connects of this process's own have failed: at least so many.
pub(crate) fn failed_at_least() -> u64 {
    FAILED.load(Ordering::SeqCst)
}

/// The same: at most so many. One that has just failed may not be known to have.
pub(crate) fn failed_at_most() -> u64 {
    FAILED_OR_UNDER_WAY.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Other tests of this process connect meanwhile: only what grows can be looked for.

    #[tokio::test]
    async fn a_connect_that_is_refused_counts_and_one_that_is_taken_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connect(address).await.is_ok());
        drop(listener);
        let before = failed_at_least();
        let error = connect(address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(failed_at_least() > before);
        assert!(failed_at_most() > before);
    }

    #[test]
    fn one_under_way_may_have_failed() {
        let before = failed_at_least();
        let under_way: Vec<UnderWay> = (0..1000).map(|_| UnderWay::begin()).collect();
        assert!(failed_at_most() >= before + 1000);
        drop(under_way);
        assert!(failed_at_most() < before + 1000);
    }
}
