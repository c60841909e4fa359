//! Redis: RESP2 and RESP3 by hand. `frame` finds where messages end, `request` reads commands and
//! recognises them, `commands` knows what each is, `error` holds the answers of a server in
//! trouble. Nothing here builds up values; what passes is never copied into any.

pub mod commands;
pub mod error;
pub mod frame;
pub mod request;

pub use error::{ERRORS, ErrorDef, Meets, find_error, meets};

use super::CONNECT;

/// The operations that a `when` may name: every command, and the acceptance of a connection.
pub fn operations() -> impl Iterator<Item = &'static str> {
    let commands = commands::COMMANDS.iter().map(|command| command.name);
    std::iter::once(CONNECT).chain(commands)
}
