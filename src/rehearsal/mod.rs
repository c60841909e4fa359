//! Brownout within Rust tests: proxies on ports of their own, faults that heal when their guard goes,
//! and what was seen on the wire; and whole scenarios, with their verdicts.
//!
//! ```
//! use brownout::rehearsal::{Dependency, Fault};
//! # use std::{io::{Read, Write}, net::{SocketAddr, TcpListener, TcpStream}};
//! #
//! # fn get(address: SocketAddr, path: &str) -> u16 {
//! #     let mut stream = TcpStream::connect(address).unwrap();
//! #     write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
//! #     let mut answer = String::new();
//! #     stream.read_to_string(&mut answer).unwrap();
//! #     answer[9..12].parse().unwrap()
//! # }
//! #
//! # fn main() -> Result<(), brownout::rehearsal::Error> {
//! # let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//! # let server = listener.local_addr().unwrap();
//! # std::thread::spawn(move || {
//! #     for stream in listener.incoming() {
//! #         let mut stream = stream.unwrap();
//! #         let mut head = [0; 4096];
//! #         let mut read = 0;
//! #         while !head[..read].ends_with(b"\r\n\r\n") { read += stream.read(&mut head[read..]).unwrap(); }
//! #         stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").unwrap();
//! #     }
//! # });
//! // In front of the server that the code under test depends on. In an async test: `.await`.
//! let stock = Dependency::http("stock", server).start().wait()?;
//!
//! // The code under test is given `stock.address()`, or `stock.url()`.
//! assert_eq!(get(stock.address(), "/items"), 200);
//!
//! let fault = stock.inject(Fault::error(503).method("GET").first(1)).wait()?;
//! assert_eq!(get(stock.address(), "/items"), 503);
//! assert_eq!(get(stock.address(), "/items"), 200);
//! fault.must_have_acted().wait()?;
//! drop(fault); // Healed.
//!
//! let seen = stock.seen().wait()?;
//! let statuses: Vec<_> = seen.attempts().map(|one| one.status()).collect();
//! assert_eq!(statuses, [Some(200), Some(503), Some(200)]);
//! // The one that failed and the one that came next are taken for one call, tried twice.
//! assert_eq!(seen.calls().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **A fault that never acted is no test.** A guard that goes without its fault having acted panics,
//!   unless the fault says by [`Fault::min_hits`] that it may be idle.
//! - **What was seen is complete.** [`Dependency::seen`] comes back when the proxy has dealt with
//!   everything that had reached it: whoever has an answer finds its request there. Nothing sleeps.
//!   What is not over yet is counted by [`Seen::in_flight`].
//! - **What is not complete is an error.** The record is bounded ([`Builder::keep`]); beyond, asking
//!   for it is [`Error::TooMuch`], and never half of the truth.
//! - **The same seed, the same decisions** ([`Builder::seed`]), as far as requests come in the same
//!   order where a fault counts them.
//! - **Nothing in a request is altered** on its way.
//!
//! # Threads and runtimes
//!
//! Each dependency has one thread of its own, on which its proxy lives: it does not matter whether the
//! test has a tokio runtime, another one or none, or whether it is blocked. Whatever takes a moment
//! returns a [`Pending`], to be awaited, or waited for with [`Pending::wait`].
//!
//! # How stable it is
//!
//! This module is for others' programs. The rest of the crate is Brownout's own and may change with
//! each version. With `default-features = false` the command line, the reports and the embedded
//! servers are left out.

mod backstage;
mod dependency;
mod error;
mod fault;
mod injected;
mod pending;
mod scenario;
mod seen;

pub use dependency::{Builder, Dependency};
pub use error::Error;
pub use fault::{Fault, Setting};
pub use injected::Injected;
pub use pending::Pending;
pub use scenario::{Judged, Scenario, Status, Verdict};
pub use seen::{Applied, Attempt, Call, Connection, Ending, Seen};

#[cfg(test)]
mod tests;
