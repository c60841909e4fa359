//! Redis as the proxy speaks it: commands up, answers down, each side in its order.
//!
//! `up` reads commands, asks the faults about each, and sends them on; `down` passes the answers,
//! and puts ours where their turn is; the `queue` between them says whose turn it is. Both work
//! on many commands at once where a client pipelines: what no fault concerns is written as it was
//! read. Large arguments and answers pass in pieces.
//!
//! Nothing of a command or an answer is changed on the way, with one exception: a transaction
//! that a fault's error has spoilt is given up at the server (`DISCARD`) where the client sends
//! `EXEC`, so that both agree on what was done. After `MONITOR`, `SYNC` and `PSYNC` bytes pass
//! unread.

mod arrivals;
mod down;
mod queue;
#[cfg(test)]
mod tests;
mod up;

use super::{
    connection::{Accepted, Alpn, ClientStream, Life, Shared},
    decide::{Asked, Held, Verdict, decide, hold},
    inlet::{Inlet, Waiting, gone},
    relay,
    statement::Statement,
    upstream::UpstreamStream,
};
use crate::{
    fault::{Closing, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied, CONNECT, Call, Recognised, SILENT,
        redis::{error::error_bytes, find_error},
    },
};
use bytes::Bytes;
use down::Down;
use queue::Queue;
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::watch,
};
use up::{Up, UpEnd};

/// What both halves of one connection know.
struct Desk {
    connection: u64,
    life: Arc<Life>,
    shared: Arc<Shared>,
}

impl Desk {
    fn faults(&self) -> watch::Receiver<Arc<FaultSet>> {
        self.shared.switch.subscribe()
    }
}

/// How a connection is over.
struct Over {
    how: String,
    /// How it is to be closed; `None`: the client has gone.
    closing: Option<Closing>,
    /// What becomes of the commands that were not answered.
    unanswered: AttemptEnd,
}

impl Over {
    fn client_gone() -> Self {
        Self {
            how: "client closed".to_owned(),
            closing: None,
            unanswered: AttemptEnd::GaveUp,
        }
    }

    fn cut(how: impl Into<String>, closing: Closing) -> Self {
        Self {
            how: how.into(),
            closing: Some(closing),
            unanswered: AttemptEnd::Cut,
        }
    }

    fn upstream(how: impl Into<String>, closing: Closing) -> Self {
        Self {
            how: how.into(),
            closing: Some(closing),
            unanswered: AttemptEnd::UpstreamFailed,
        }
    }
}

/// An answer of ours.
struct Made {
    bytes: Bytes,
    /// Its error code.
    code: Option<String>,
    /// Whether the connection is closed behind it.
    closes: bool,
    /// Whether it is no answer at all.
    is_cut: bool,
}

fn make(reply: &Reply, call: Option<&Call>) -> Made {
    match (reply, call) {
        (Reply::Redis { name, rest, close }, Some(call)) => {
            let def = find_error(name);
            let bytes = def.map_or_else(Bytes::new, |def| error_bytes(def, rest.as_deref(), call));
            let word = bytes.split(|byte| *byte == b' ' || *byte == b'\r').next();
            let code = word.and_then(|word| word.strip_prefix(b"-"));
            Made {
                code: code.map(|code| String::from_utf8_lossy(code).into_owned()),
                bytes,
                closes: *close,
                is_cut: false,
            }
        }
        (Reply::Garbage(bytes), _) => cut_behind(bytes.clone()),
        // Answers of HTTP are none here; no file can ask for them.
        _ => cut_behind(Bytes::new()),
    }
}

fn cut_behind(bytes: Bytes) -> Made {
    Made {
        bytes,
        code: None,
        closes: true,
        is_cut: true,
    }
}

/// Serves one connection until it is over.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        stream,
        connection,
        server_name,
        life,
        shared,
        ..
    } = accepted;
    let desk = Desk {
        connection,
        life,
        shared,
    };
    let (reader, mut writer) = split(stream);
    let mut client = Inlet::new(reader);
    let accepting = accept(&desk, &mut client, &mut writer, server_name.as_deref());
    let over = match accepting.await {
        Ok(upstream) => {
            let (reader, writer_up) = split(upstream);
            let upstream = (Inlet::new(reader), writer_up);
            match Box::pin(exchange(&desk, &mut client, &mut writer, upstream)).await {
                Ended::Over(over) => over,
                Ended::Handover(upstream) => {
                    return hand_over(&desk, (client, writer), upstream).await;
                }
            }
        }
        Err(over) => over,
    };
    desk.life.ended(over.how.as_str());
    if let Some(closing) = over.closing {
        desk.life.close(closing);
        if closing == Closing::HalfClose {
            drain(&mut client).await;
        }
    }
}

type Client = Inlet<ReadHalf<ClientStream>>;
type ClientWriter = WriteHalf<ClientStream>;
type Upstream = (Inlet<ReadHalf<UpstreamStream>>, WriteHalf<UpstreamStream>);

/// Decides about the connection's acceptance, and connects to the dependency.
async fn accept(
    desk: &Desk,
    client: &mut Client,
    writer: &mut ClientWriter,
    server_name: Option<&str>,
) -> Result<UpstreamStream, Over> {
    let recognised = Recognised {
        operation: CONNECT.into(),
        text: SILENT.into(),
        ..Recognised::default()
    };
    let (shared, life) = (&desk.shared, &desk.life);
    let mut statement = Statement::new(shared, life, desk.connection, recognised, shared.now());
    let mut faults = desk.faults();
    let mut waiting = Waiting {
        inlet: client,
        keep: usize::MAX,
    };
    let verdict = decide(&mut statement, &mut faults, &mut waiting).await;
    let then = match verdict {
        Verdict::Forward(then) => then,
        Verdict::Reply(reply) => {
            return Err(refuse(&reply, statement, writer).await);
        }
        Verdict::Close(closing) => {
            return Err(cut(closing, &mut statement, &mut faults, gone(client)).await);
        }
        Verdict::GaveUp | Verdict::Spilled => {
            statement.gave_up();
            return Err(Over::client_gone());
        }
    };
    let upstream = match shared.connect_upstream(server_name, Alpn::None).await {
        Ok(upstream) => upstream,
        Err(error) => {
            statement.finish(AttemptEnd::UpstreamFailed);
            let how = relay::upstream_failure(&error);
            return Err(Over::upstream(how, Closing::Reset));
        }
    };
    statement.sent_whole();
    statement.upstream_answered(Applied::Yes);
    match then {
        None => {}
        Some((Then::Reply(reply), _)) => return Err(refuse(&reply, statement, writer).await),
        Some((Then::Close(closing), _)) => {
            return Err(cut(closing, &mut statement, &mut faults, gone(client)).await);
        }
        Some((Then::Late(delay), fault)) => {
            match hold(&mut faults, gone(client), &[fault], Some(delay)).await {
                Held::ClientGone => {
                    statement.gave_up();
                    return Err(Over::client_gone());
                }
                Held::Lifted => statement.released(),
                Held::Elapsed => {}
            }
        }
        Some((Then::Lose, fault)) => {
            let held = hold(&mut faults, gone(client), &[fault], None).await;
            return Err(lost(held, &mut statement));
        }
        Some((_, fault)) => statement.did_not_act(fault),
    }
    statement.finish(AttemptEnd::Answered);
    Ok(upstream)
}

/// The end of a connection whose answer was lost, once that is lifted or the client is gone.
fn lost(held: Held, statement: &mut Statement) -> Over {
    if held == Held::ClientGone {
        statement.gave_up();
        return Over::client_gone();
    }
    statement.released();
    statement.finish(AttemptEnd::Unfinished);
    Over::cut("lost answer, fault lifted", Closing::Fin)
}

/// Answers a connection, and closes it.
async fn refuse(reply: &Reply, mut statement: Statement, writer: &mut ClientWriter) -> Over {
    let made = make(reply, statement.call());
    statement.add_down(made.bytes.len());
    if let Some(code) = made.code {
        statement.code(code);
    }
    if write(writer, &made.bytes).await.is_err() {
        statement.gave_up();
        return Over::client_gone();
    }
    statement.settle().await;
    statement.finish(if made.is_cut {
        AttemptEnd::Cut
    } else {
        AttemptEnd::Answered
    });
    Over::cut("refused by fault", Closing::Fin)
}

/// Cuts the connection as a fault wants it, after its time where it has one.
async fn cut(
    closing: Closing,
    statement: &mut Statement,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    gone: impl Future<Output = ()>,
) -> Over {
    let (delay, closing) = closing.apart();
    if delay.is_some() && hold(faults, gone, &[], delay).await == Held::ClientGone {
        statement.gave_up();
        return Over::client_gone();
    }
    statement.finish(AttemptEnd::Cut);
    let how = match closing {
        Closing::Reset | Closing::ResetAfter(_) => "reset by fault",
        Closing::HalfClose => "half-closed by fault",
        Closing::Fin | Closing::SlowClose(_) => "closed by fault",
    };
    Over::cut(how, closing)
}

async fn write(writer: &mut ClientWriter, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

enum Ended {
    Over(Over),
    /// The server speaks when it likes: bytes pass from now on.
    Handover(Upstream),
}

/// Carries commands and answers until the connection is over.
async fn exchange(
    desk: &Desk,
    client: &mut Client,
    writer: &mut ClientWriter,
    upstream: Upstream,
) -> Ended {
    let queue = Queue::default();
    let (mut reader_up, mut writer_up) = upstream;
    let ended = {
        let mut up = Up::new(desk, &queue, client, &mut writer_up);
        let mut down = Down::new(desk, &queue, writer, &mut reader_up);
        let mut up = std::pin::pin!(up.run());
        let mut down = std::pin::pin!(down.run());
        let linger = desk.shared.config.limits.linger;
        let mut has_left = false;
        let mut up_is_done = false;
        let mut leaving = std::pin::pin!(tokio::time::sleep(linger));
        let mut unread = std::pin::pin!(desk.life.client_left());
        loop {
            tokio::select! {
                biased;
                ended = &mut down => break ended,
                end = &mut up, if !up_is_done => {
                    up_is_done = true;
                    if end == UpEnd::ClientLeft {
                        has_left = true;
                        leaving.as_mut().reset(tokio::time::Instant::now() + linger);
                    }
                }
                // Nobody reads any more from a client whose turn is the last.
                _ = &mut unread, if up_is_done && !has_left => {
                    queue.left(desk.life.left_at());
                    has_left = true;
                    leaving.as_mut().reset(tokio::time::Instant::now() + linger);
                }
                () = &mut leaving, if has_left => break Some(Over::client_gone()),
            }
        }
    };
    match ended {
        Some(over) => {
            queue.end(over.unanswered);
            Ended::Over(over)
        }
        None => Ended::Handover((reader_up, writer_up)),
    }
}

/// Passes what is left in the buffers, then bytes as they come.
async fn hand_over(desk: &Desk, client: (Client, ClientWriter), upstream: Upstream) {
    let (client_reader, client_rest) = client.0.into_parts();
    let (upstream_reader, upstream_rest) = upstream.0.into_parts();
    let (mut client_writer, mut upstream_writer) = (client.1, upstream.1);
    let passing = async {
        write(&mut client_writer, &upstream_rest).await?;
        upstream_writer.write_all(&client_rest).await?;
        upstream_writer.flush().await
    };
    if let Err(error) = passing.await {
        desk.life.ended(format!("broke off: {error}"));
        return desk.life.close(Closing::Reset);
    }
    let client = client_reader.unsplit(client_writer);
    let upstream = upstream_reader.unsplit(upstream_writer);
    relay::pass(client, upstream, &desk.life, &desk.shared).await;
}

/// Reads what the client still sends, and throws it away, until it closes.
async fn drain(client: &mut Client) {
    loop {
        client.consume(client.bytes().len());
        if !matches!(client.fill().await, Ok(1..)) {
            return;
        }
    }
}
