//! Stands between the system and a dependency and carries out what faults decide. Owns sockets and delays.
pub mod http;
