//! The next reqwest, without TLS: what the clients use of it is the same.

pub use itself::*;
