//! One request and its answer, or what went wrong in plain words.
//!
//! Time-outs are the caller's: dropping an exchange closes its connection.

use super::{
    pool::{Acquired, Pool, Sender},
    request::Rendered,
};
use crate::scenario::{Answer, BODY_BYTES_MAX};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{error::Error, io};

/// The most bytes of an answer that are read at all. What is longer counts as answered there, and
/// its connection is closed.
pub const DRAIN_BYTES_MAX: u64 = 64 << 20;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answered {
    /// The status code.
    pub status: u16,
    /// The headers, in the answer's order, repeats included.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body's first [`BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// The connection, if it can be used again.
    pub sender: Option<Sender>,
}

/// Why there was no whole answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The system's doing: refused, reset, broken off.
    Theirs {
        /// In plain words.
        why: String,
        /// The status, if the answer's head came.
        status: Option<u16>,
    },
    /// The generator's own: it ran out of sockets. Nothing was sent.
    Ours,
}

impl Trouble {
    fn theirs(why: impl Into<String>) -> Self {
        Self::Theirs {
            why: why.into(),
            status: None,
        }
    }
}

impl Answered {
    /// The first value of a header, by its lower-case name, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.as_str() == name)?;
        value.to_str().ok()
    }

    /// The answer as rules see it.
    pub fn seen(&self) -> Answer<'_, impl Iterator<Item = (&str, &[u8])> + Clone> {
        Answer {
            status: self.status,
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
            body: &self.body,
        }
    }
}

/// Sends a request and reads the answer. A connection from the pool that turns out to be closed
/// is replaced only while nothing of the request was sent: a request is never sent twice.
pub(super) async fn exchange(pool: &Pool, request: &Rendered) -> Result<Answered, Trouble> {
    let mut message = request.message();
    loop {
        let Acquired { mut sender, reused } =
            pool.acquire().await.map_err(|error| of_dialling(&error))?;
        match sender.try_send_request(message).await {
            Ok(response) => return read(response, sender).await,
            Err(mut failed) => match failed.take_message().filter(|_| reused) {
                Some(unsent) => message = unsent,
                None => return Err(Trouble::theirs(of_http(failed.error()))),
            },
        }
    }
}

async fn read(response: Response<Incoming>, sender: Sender) -> Result<Answered, Trouble> {
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let mut kept = Vec::new();
    let mut read = 0;
    let mut whole = true;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Trouble::Theirs {
            why: format!("in the middle of the answer: {}", of_http(&error)),
            status: Some(status),
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = BODY_BYTES_MAX - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        read += data.len() as u64;
        if read > DRAIN_BYTES_MAX {
            whole = false;
            break;
        }
    }
    Ok(Answered {
        status,
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        body: kept.into(),
        sender: whole.then_some(sender),
    })
}

/// Why no connection came about.
fn of_dialling(error: &io::Error) -> Trouble {
    match ran_out(error) {
        true => Trouble::Ours,
        false => Trouble::theirs(of_io(error)),
    }
}

/// Whether it was we who had no socket, file or port left to connect with: nothing was sent.
pub fn ran_out(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let own = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::ADDRNOTAVAIL,
        Errno::NOBUFS,
    ];
    let raw = error.raw_os_error();
    own.iter().any(|errno| raw == Some(errno.raw_os_error()))
}

fn of_io(error: &io::Error) -> String {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
    match error.kind() {
        ConnectionRefused => "connection refused".to_owned(),
        ConnectionReset | ConnectionAborted | BrokenPipe => "connection reset".to_owned(),
        _ => format!("no connection: {error}"),
    }
}

/// Why an exchange on an open connection broke.
fn of_http(error: &hyper::Error) -> String {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            // hyper tells a body that ends too early in this way.
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return "connection closed".to_owned();
            }
            return of_io(error);
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "connection closed".to_owned()
    } else if error.is_parse() {
        format!("the answer is not HTTP: {error}")
    } else {
        error.to_string()
    }
}
