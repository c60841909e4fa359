//! A client's first packets, until its messages can be passed on.

use super::{
    Over, Waiting, leaves_within,
    queue::{Kind, Pending, Plan},
};
use crate::{
    fault::{Closing, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied, CONNECT, Recognised,
        postgres::{Malformed, Moment, Opening, Session, connecting},
    },
    proxy::{
        connection::{Alpn, Arrival, ClientStream, Life, Shared, shake},
        decide::{Asked, Verdict, decide, lifted},
        statement::Statement,
        upstream::UpstreamStream,
    },
    timer,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// The time in which a client must say what it wants, TLS included; the server's own
/// `authentication_timeout`. While a fault acts it goes on.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A session that was opened on both sides; the server has the client's start-up packet.
pub(super) struct Opened {
    pub(super) client: ClientStream,
    pub(super) upstream: UpstreamStream,
    pub(super) session: Session,
    /// The start-up, whose answer is due.
    pub(super) first: Pending,
}

/// A packet with its meaning.
struct Packet {
    opening: Opening,
    bytes: Vec<u8>,
    began: Arrival,
}

/// Opens a session. `None` if the client wanted none, or left.
pub(super) async fn open(
    mut client: ClientStream,
    connection: u64,
    life: &Arc<Life>,
    shared: &Arc<Shared>,
) -> Result<Option<Opened>, Over> {
    let mut has_asked = [false; 2];
    loop {
        let read = first_packet(&mut client, life).await;
        if read.is_err() && life.is_cut() {
            cut_off(connection, life, shared);
        }
        let Some(packet) = read? else {
            return Ok(None);
        };
        let asked = match packet.opening {
            Opening::Tls => &mut has_asked[0],
            Opening::Gss => &mut has_asked[1],
            Opening::Cancel => return cancel(packet, client, connection, life, shared).await,
            Opening::Startup(ref session) => {
                let session = session.clone();
                return start(packet, session, client, connection, life, shared).await;
            }
        };
        if std::mem::replace(asked, true) {
            return Err(Over::ClientMalformed(Malformed::Body(packet.bytes[7])));
        }
        client = match packet.opening {
            Opening::Tls => tls(client, life, shared).await?,
            _ => {
                say(&mut client, b"N").await?;
                client
            }
        };
    }
}

/// The next packet; `None` if the client closes before it, or takes too long.
async fn first_packet(client: &mut ClientStream, life: &Life) -> Result<Option<Packet>, Over> {
    let mut reading = std::pin::pin!(read_packet(client, life));
    loop {
        tokio::select! {
            biased;
            read = timeout(TIME_MAX, &mut reading) => match read {
                Ok(read) => return read,
                Err(_) if life.is_clear() => {
                    life.ended("client did not say what it wants");
                    return Ok(None);
                }
                // A fault holds it up: that is not the client's time.
                Err(_) => {}
            },
            // Nobody is connected yet whom an error could tell anything.
            _ = life.dismissed() => return Err(Over::ByFault(Closing::Fin)),
        }
    }
}

async fn read_packet(client: &mut ClientStream, life: &Life) -> Result<Option<Packet>, Over> {
    let mut prefix = [0; 4];
    match client.read(&mut prefix[..1]).await {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(_) => return Err(Over::ClientFailed),
    }
    let began = life.arrival();
    let failed = |_| Over::ClientFailed;
    client.read_exact(&mut prefix[1..]).await.map_err(failed)?;
    let length = Opening::length(prefix).map_err(Over::ClientMalformed)?;
    let mut bytes = vec![0; length];
    bytes[..4].copy_from_slice(&prefix);
    client.read_exact(&mut bytes[4..]).await.map_err(failed)?;
    let opening = Opening::read(&bytes).map_err(Over::ClientMalformed)?;
    Ok(Some(Packet {
        opening,
        bytes,
        began,
    }))
}

/// Records the packet of which only the beginning came, as a fault cut the connection behind it.
fn cut_off(connection: u64, life: &Arc<Life>, shared: &Arc<Shared>) {
    let recognised = Recognised {
        operation: CONNECT.into(),
        ..Recognised::default()
    };
    let mut statement = Statement::new(shared, life, connection, recognised, life.arrival());
    statement.finish(AttemptEnd::GaveUp);
}

async fn say(client: &mut ClientStream, bytes: &[u8]) -> Result<(), Over> {
    let saying = async {
        client.write_all(bytes).await?;
        client.flush().await
    };
    saying.await.map_err(|_| Over::ClientFailed)
}

/// Speaks TLS where there is a front, and else says that we do not.
async fn tls(
    mut client: ClientStream,
    life: &Arc<Life>,
    shared: &Arc<Shared>,
) -> Result<ClientStream, Over> {
    let Some(front) = &shared.config.tls else {
        say(&mut client, b"N").await?;
        return Ok(client);
    };
    let ClientStream::Plain(mut plain) = client else {
        // TLS within TLS.
        return Err(Over::ClientMalformed(Malformed::Kind(0)));
    };
    if plain.write_all(b"S").await.is_err() {
        return Err(Over::ClientFailed);
    }
    match shake(plain, front, || life.is_clear(), shared).await {
        Ok((stream, _, _)) => Ok(stream),
        Err(error) => {
            life.ended(format!("TLS handshake failed: {error}"));
            Err(Over::ClientFailed)
        }
    }
}

/// Asks the faults about a packet that opens something, as if it were a statement.
async fn ask(
    recognised: Recognised,
    packet: &Packet,
    connection: u64,
    life: &Arc<Life>,
    shared: &Arc<Shared>,
) -> (Statement, Verdict) {
    let mut statement = Statement::new(shared, life, connection, recognised, packet.began);
    statement.add_up(packet.bytes.len());
    let mut faults = shared.switch.subscribe();
    let verdict = decide(&mut statement, &mut faults, &mut Waiting(life)).await;
    (statement, verdict)
}

/// Starts a session: connects to the server and sends it the client's packet, unless a fault is
/// in the way.
async fn start(
    packet: Packet,
    session: Session,
    mut client: ClientStream,
    connection: u64,
    life: &Arc<Life>,
    shared: &Arc<Shared>,
) -> Result<Option<Opened>, Over> {
    let (mut statement, verdict) =
        ask(connecting(&session), &packet, connection, life, shared).await;
    let plan = match verdict {
        // It begins when the client has proved who it is: before that the client takes part.
        Verdict::Forward(then) => then.map(|(then, fault)| Plan::After(then, fault)),
        Verdict::Reply(Reply::Postgres(error)) if error.moment == Moment::Authenticated => {
            Some(Plan::Authenticated(error))
        }
        Verdict::Reply(Reply::Postgres(error)) => {
            let bytes = error.bytes(&session, 0, "CONNECT", "");
            let code = error.code.to_string();
            return refuse(statement, client, &bytes, Some(code)).await;
        }
        Verdict::Reply(Reply::Garbage(bytes)) => {
            return refuse(statement, client, &bytes, None).await;
        }
        Verdict::Reply(_) => return refuse(statement, client, b"", None).await,
        Verdict::Close(closing) => return cut(statement, closing, life).await,
        Verdict::GaveUp | Verdict::Spilled => {
            statement.finish(AttemptEnd::GaveUp);
            return Ok(None);
        }
    };
    let mut upstream = match shared.connect_upstream(None, Alpn::None).await {
        Ok(upstream) => upstream,
        Err(error) => {
            statement.finish(AttemptEnd::UpstreamFailed);
            return Err(Over::UpstreamFailed(error));
        }
    };
    let sending = async {
        upstream.write_all(&packet.bytes).await?;
        upstream.flush().await
    };
    if let Err(error) = sending.await {
        statement.finish(AttemptEnd::UpstreamFailed);
        return Err(Over::UpstreamFailed(error));
    }
    statement.sent_whole();
    // Nothing has been sent to the client; a TLS stream may still hold something back.
    client.flush().await.map_err(|_| Over::ClientFailed)?;
    let first = Pending {
        kind: Kind::Connect,
        statement: Some(Box::new(statement)),
        plan,
    };
    Ok(Some(Opened {
        client,
        upstream,
        session,
        first,
    }))
}

/// Closes in the server's stead, after the time that takes.
async fn cut(
    mut statement: Statement,
    closing: Closing,
    life: &Life,
) -> Result<Option<Opened>, Over> {
    let (delay, closing) = closing.apart();
    if leaves_within(life, delay).await {
        statement.finish(AttemptEnd::GaveUp);
        return Ok(None);
    }
    statement.finish(AttemptEnd::Cut);
    Err(Over::ByFault(closing))
}

/// Ends a start-up in the server's stead.
async fn refuse(
    mut statement: Statement,
    mut client: ClientStream,
    bytes: &[u8],
    code: Option<String>,
) -> Result<Option<Opened>, Over> {
    statement.add_down(bytes.len());
    let end = match code {
        Some(code) => {
            statement.code(code);
            AttemptEnd::Answered
        }
        None => AttemptEnd::Cut,
    };
    say(&mut client, bytes).await?;
    // Under TLS the client is told that nothing follows; it may be gone already.
    let _ = client.shutdown().await;
    statement.settle().await;
    statement.finish(end);
    Err(Over::ByFault(Closing::Fin))
}

/// Passes a request to cancel on to the server, which answers by closing.
async fn cancel(
    packet: Packet,
    mut client: ClientStream,
    connection: u64,
    life: &Arc<Life>,
    shared: &Arc<Shared>,
) -> Result<Option<Opened>, Over> {
    let recognised = Recognised {
        operation: "CANCEL".into(),
        ..Recognised::default()
    };
    let (mut statement, verdict) = ask(recognised, &packet, connection, life, shared).await;
    let then = match verdict {
        Verdict::Forward(then) => then,
        Verdict::Reply(Reply::Garbage(bytes)) => {
            return refuse(statement, client, &bytes, None).await;
        }
        Verdict::Reply(_) => return refuse(statement, client, &Bytes::new(), None).await,
        Verdict::Close(closing) => return cut(statement, closing, life).await,
        Verdict::GaveUp | Verdict::Spilled => {
            statement.finish(AttemptEnd::GaveUp);
            return Ok(None);
        }
    };
    let passing = async {
        let mut upstream = shared.connect_upstream(None, Alpn::None).await?;
        upstream.write_all(&packet.bytes).await?;
        upstream.flush().await?;
        statement.sent_whole();
        // No byte comes, only the end; whatever came would end it as well.
        upstream.read(&mut [0]).await
    };
    if let Err(error) = passing.await {
        statement.finish(AttemptEnd::UpstreamFailed);
        return Err(Over::UpstreamFailed(error));
    }
    statement.upstream_answered(Applied::Yes);
    match then {
        Some((Then::Close(closing), _)) => return cut(statement, closing, life).await,
        Some((Then::Late(delay), _)) => timer::sleep(delay).await,
        Some((Then::Lose, fault)) => {
            let mut faults = shared.switch.subscribe();
            let fault = [fault];
            tokio::select! {
                biased;
                _ = life.client_left() => {}
                () = lifted(&mut faults, &fault) => statement.released(),
            }
        }
        _ => {}
    }
    // Under TLS the client is told that nothing follows; it may be gone already.
    let _ = client.shutdown().await;
    statement.finish(AttemptEnd::Answered);
    life.ended("cancelled");
    Ok(None)
}
