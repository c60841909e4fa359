//! Why a request was not done, in the words and with the status that clients look for.

use super::json::{Mismatch, Node};
use serde::Serialize;

/// The longest name or address, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// A name or an address that a request says.
pub(super) fn bounded(node: &Node, key: &str) -> Result<Option<String>, Failure> {
    match node.text_at(key)? {
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(Failure::bad(format!(
            "`{key}` is too long: at most {TEXT_BYTES_MAX} bytes"
        ))),
        text => Ok(text),
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    #[serde(rename = "error")]
    pub(crate) message: String,
    pub(crate) status: u16,
}

impl Failure {
    /// Bad input that has no words of its own.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 400,
        }
    }

    /// The body is no JSON, or other JSON than is wanted.
    pub(crate) fn bad_body(why: impl std::fmt::Display) -> Self {
        Self::bad(format!("bad request body: {why}"))
    }

    /// A field without which there is no proxy.
    pub(crate) fn missing(field: impl std::fmt::Display) -> Self {
        Self::bad(format!("missing required field: {field}"))
    }

    /// There is no such proxy.
    pub(crate) fn no_proxy() -> Self {
        Self::new("proxy not found", 404)
    }

    /// There is no such toxic.
    pub(crate) fn no_toxic() -> Self {
        Self::new("toxic not found", 404)
    }

    /// A proxy of this name is there.
    pub(crate) fn proxy_exists() -> Self {
        Self::new("proxy already exists", 409)
    }

    /// A toxic of this name is there.
    pub(crate) fn toxic_exists() -> Self {
        Self::new("toxic already exists", 409)
    }

    /// What the machine would not do.
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 500,
        }
    }

    fn new(message: &str, status: u16) -> Self {
        Self {
            message: message.to_owned(),
            status,
        }
    }
}

impl From<Mismatch> for Failure {
    fn from(mismatch: Mismatch) -> Self {
        Self::bad_body(mismatch)
    }
}
