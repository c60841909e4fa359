//! Ports for the system's own listeners, so that runs go side by side.
//!
//! A port that is found by binding port 0 and letting go can be taken by anybody's outgoing
//! connection before the system binds it. These come from below the kernel's ephemeral range
//! (Linux: 32768 and up), where no outgoing connection lands, and each is held by an advisory lock
//! on a file that every run of Brownout on this machine looks at. The lock goes with the process,
//! however it ends.

use rand::Rng;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

/// The range ports are taken from.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// How many ports are tried before giving up.
const TRIES: u32 = 2_000;

/// A port on loopback that no other run of Brownout takes while this value lives.
#[derive(Debug)]
pub struct ReservedPort {
    /// The port.
    pub port: u16,
    _lock: File,
}

impl ReservedPort {
    /// Reserves a port, trying in an order drawn from `random`.
    ///
    /// # Errors
    /// The lock folder cannot be made, or no port of the range is free.
    pub fn take(random: &mut impl Rng) -> io::Result<Self> {
        let folder = lock_folder()?;
        for _ in 0..TRIES {
            let span = u64::from(RANGE.end - RANGE.start);
            let port = RANGE.start + u16::try_from(random.next_u64() % span).unwrap_or(0);
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(port.to_string()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(Self { port, _lock: lock });
            }
        }
        Err(io::Error::other(format!(
            "no free port between {} and {}",
            RANGE.start, RANGE.end
        )))
    }
}

/// One folder a user: another user's lock files could not be opened for writing.
fn lock_folder() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("brownout-ports-{}", user()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(unix)]
fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(not(unix))]
fn user() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn a_port_is_not_given_twice_while_it_is_held() {
        let first = ReservedPort::take(&mut Seed(1).stream(&["ports"])).unwrap();
        let second = ReservedPort::take(&mut Seed(1).stream(&["ports"])).unwrap();
        assert_ne!(first.port, second.port);
        assert!(RANGE.contains(&first.port) && RANGE.contains(&second.port));
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_passed_over() {
        let taken = ReservedPort::take(&mut Seed(2).stream(&["ports"])).unwrap();
        let port = taken.port;
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        drop(taken);
        let next = ReservedPort::take(&mut Seed(2).stream(&["ports"])).unwrap();
        assert_ne!(next.port, port);
    }
}
