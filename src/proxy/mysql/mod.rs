//! MySQL and MariaDB as the proxy speaks them. `opening` takes a connection from its acceptance
//! to the end of authentication, TLS on either side included; `session` then carries one command
//! after the other, as the protocol has it, with its answer.
//!
//! Of the greeting two things are changed: TLS is offered as the proxy has it, and nothing is
//! offered that would hide answers from it (compression). Statements and answers pass as they
//! came, large ones in pieces. Where a fault says that a transaction was rolled back, it is rolled
//! back at the server too, so that both agree on what was done.

mod opening;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

use super::{
    connection::{Accepted, ClientStream, Life, Shared},
    decide::Asked,
    relay,
    statement::Statement,
    upstream::UpstreamStream,
};
use crate::{
    fault::{Closing, Reply},
    history::AttemptEnd,
    protocol::mysql::{
        ErrorDef, Leaves, error::error_packet, find_error, handshake::Asked as Wanted,
        packet::Broken,
    },
};
use bytes::Bytes;
use opening::open;
use session::Session;
use std::{io, sync::Arc};

/// What the whole of a connection knows.
struct Desk {
    connection: u64,
    life: Arc<Life>,
    shared: Arc<Shared>,
}

/// How a connection is over.
struct Over {
    how: String,
    /// How it is to be closed; `None`: the client has gone.
    closing: Option<Closing>,
}

impl Over {
    fn client_gone() -> Self {
        Self {
            how: "client closed".to_owned(),
            closing: None,
        }
    }

    fn cut(how: impl Into<String>, closing: Closing) -> Self {
        Self {
            how: how.into(),
            closing: Some(closing),
        }
    }

    fn upstream_closed(error: Option<&io::Error>) -> Self {
        match error {
            Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Self::cut(relay::upstream_failure(error), Closing::Reset)
            }
            _ => Self::cut("upstream closed", Closing::Fin),
        }
    }

    fn upstream_broke(broken: Broken) -> Self {
        let how = format!("upstream broke the protocol: {broken}");
        Self::cut(how, Closing::Reset)
    }
}

/// Two ends that may speak.
struct Open {
    client: ClientStream,
    upstream: UpstreamStream,
    wanted: Wanted,
}

/// An answer of ours.
struct Made {
    bytes: Bytes,
    def: Option<&'static ErrorDef>,
    /// Whether it is no answer at all.
    is_cut: bool,
}

impl Made {
    /// Whether the connection is closed behind it.
    fn closes(&self) -> bool {
        self.is_cut || self.def.is_some_and(|def| def.leaves == Leaves::Nothing)
    }
}

fn make(reply: &Reply, sequence: u8, is_greeting: bool) -> Made {
    let (bytes, def) = match reply {
        Reply::Mysql { errno, text } => {
            let def = find_error(&errno.to_string());
            let bytes = def.map(|def| error_packet(def, text.as_deref(), sequence, is_greeting));
            (Bytes::from(bytes.unwrap_or_default()), def)
        }
        Reply::Garbage(bytes) => (bytes.clone(), None),
        // Answers of other protocols are none here; no file can ask for them.
        _ => (Bytes::new(), None),
    };
    Made {
        is_cut: def.is_none(),
        bytes,
        def,
    }
}

/// Serves one connection until it is over.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        stream,
        connection,
        life,
        shared,
        ..
    } = accepted;
    let desk = Desk {
        connection,
        life,
        shared,
    };
    let over = match Box::pin(open(&desk, stream)).await {
        Ok(open) => {
            let mut session = Session::new(&desk, open);
            let over = Box::pin(session.run()).await;
            let Some(over) = over else {
                return Box::pin(session.hand_over()).await;
            };
            desk.life.ended(over.how.as_str());
            if let Some(closing) = over.closing {
                desk.life.close(closing);
                if closing == Closing::HalfClose {
                    session.drain().await;
                }
            }
            return;
        }
        Err(over) => over,
    };
    desk.life.ended(over.how.as_str());
    if let Some(closing) = over.closing {
        desk.life.close(closing);
    }
}

/// Writes an answer of ours, and ends the statement with it.
async fn say(
    made: &Made,
    statement: &mut Statement,
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> Result<(), Over> {
    if let Some(def) = made.def {
        statement.code(def.errno.to_string());
    }
    statement.add_down(made.bytes.len());
    if write(writer, &made.bytes).await.is_err() {
        statement.gave_up();
        return Err(Over::client_gone());
    }
    statement.settle().await;
    statement.finish(if made.is_cut {
        AttemptEnd::Cut
    } else {
        AttemptEnd::Answered
    });
    if made.closes() {
        return Err(Over::cut("closed after a fault's answer", Closing::Fin));
    }
    Ok(())
}

async fn write(writer: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Whether the fault's answer is one that is given to a client that has said who it is.
fn meets_login(reply: &Reply) -> bool {
    use crate::protocol::mysql::Meets;
    let Reply::Mysql { errno, .. } = reply else {
        return false;
    };
    find_error(&errno.to_string()).is_some_and(|def| def.meets == Meets::Login)
}

/// How a statement ends that a fault cuts.
fn cut_words(closing: Closing) -> &'static str {
    match closing {
        Closing::Reset | Closing::ResetAfter(_) => "reset by fault",
        Closing::HalfClose => "half-closed by fault",
        Closing::Fin | Closing::SlowClose(_) => "closed by fault",
    }
}

/// Notes that what held it was lifted, and that there is nothing left to answer.
fn lost(statement: &mut Statement) -> Over {
    statement.released();
    statement.finish(AttemptEnd::Unfinished);
    Over::cut("lost answer, fault lifted", Closing::Fin)
}
