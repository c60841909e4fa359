//! HTTP/1.1 and HTTP/2 between the system and a dependency.

pub mod body;
pub mod head;
