//! Passes bytes between the client and the dependency, whatever they mean. Each direction has its
//! own end: half-close is kept.
//!
//! Between two plain sockets on Linux, with a clear wire, bytes are spliced in the kernel; as soon
//! as a fault acts they take the way through memory and the wire's shapers, and go back to the
//! kernel when it is lifted.

use super::{
    connection::{Accepted, Alpn, ClientStream, Life, Shared},
    upstream::UpstreamStream,
};
use crate::fault::Closing;
use std::{io, sync::OnceLock, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Which side broke off.
enum Broken {
    Client,
    Upstream(io::Error),
}

/// Serves one connection of a plain stream: connects to the dependency, then passes bytes both
/// ways until both sides are done.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        stream,
        life,
        shared,
        server_name,
        alpn,
        ..
    } = accepted;
    let alpn = match alpn.as_deref() {
        Some(b"h2") => Alpn::Http2,
        Some(b"http/1.1") => Alpn::Http1,
        _ => Alpn::None,
    };
    match shared.connect_upstream(server_name.as_deref(), alpn).await {
        Ok(upstream) => pass(stream, upstream, &life, &shared).await,
        Err(error) => {
            life.ended(upstream_failure(&error));
            life.close(Closing::Reset);
        }
    }
}

/// Passes bytes both ways until both sides are done; half-close is kept. An engine calls this
/// after an upgrade, when all it has buffered is written.
pub(super) async fn pass(
    client: ClientStream,
    upstream: UpstreamStream,
    life: &Life,
    shared: &Shared,
) {
    let first_done = OnceLock::new();
    let done = |who: &'static str| {
        first_done.get_or_init(|| who);
    };
    let broken = match (client, upstream) {
        (ClientStream::Plain(client), UpstreamStream::Plain(upstream)) => {
            plain::pass(client, upstream, shared, done).await
        }
        (ClientStream::Plain(client), UpstreamStream::Tls(upstream)) => {
            copy_both(client, *upstream, |tls| tls.get_ref().0, done).await
        }
        (ClientStream::Told(client), UpstreamStream::Plain(upstream)) => {
            copy_both(client, upstream, |tcp| tcp, done).await
        }
        (ClientStream::Told(client), UpstreamStream::Tls(upstream)) => {
            copy_both(client, *upstream, |tls| tls.get_ref().0, done).await
        }
        (ClientStream::Tls(client), UpstreamStream::Plain(upstream)) => {
            copy_both(*client, upstream, |tcp| tcp, done).await
        }
        (ClientStream::Tls(client), UpstreamStream::Tls(upstream)) => {
            copy_both(*client, *upstream, |tls| tls.get_ref().0, done).await
        }
    };
    match broken {
        Ok(()) => life.ended(*first_done.get_or_init(|| "both sides closed")),
        Err(Broken::Client) => life.ended("client reset"),
        Err(Broken::Upstream(error)) => {
            life.ended(upstream_failure(&error));
            life.close(Closing::Reset);
        }
    }
}

/// What a dependency's failure is called in observations.
pub(super) fn upstream_failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "upstream refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "upstream reset".to_owned(),
        io::ErrorKind::TimedOut => "upstream timed out".to_owned(),
        _ => format!("upstream failed: {error}"),
    }
}

/// A connection that one side broke off is broken off towards the other.
fn reset(upstream: &TcpStream) {
    // Fails only on a connection that is already gone.
    let _ = socket2::SockRef::from(upstream).set_linger(Some(Duration::ZERO));
}

async fn copy_both<C, U>(
    client: C,
    upstream: U,
    tcp: impl Fn(&U) -> &TcpStream,
    done: impl Fn(&'static str),
) -> Result<(), Broken>
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut upstream_read, mut upstream_write) = tokio::io::split(upstream);
    let up = async {
        let mut buf = vec![0; CHUNK];
        while copy_up(&mut client_read, &mut upstream_write, &mut buf).await? {}
        done("client closed");
        Ok(())
    };
    let down = async {
        let mut buf = vec![0; CHUNK];
        while copy_down(&mut upstream_read, &mut client_write, &mut buf).await? {}
        done("upstream closed");
        Ok(())
    };
    let result = tokio::try_join!(up, down).map(|_| ());
    if let Err(Broken::Client) = &result {
        reset(tcp(&upstream_read.unsplit(upstream_write)));
    }
    result
}

/// One read and its writes towards the dependency; false at the end of the stream.
async fn copy_up(
    client: &mut (impl AsyncRead + Unpin),
    upstream: &mut (impl AsyncWrite + Unpin),
    buf: &mut [u8],
) -> Result<bool, Broken> {
    let count = client.read(buf).await.map_err(|_| Broken::Client)?;
    write_up(upstream, &buf[..count]).await
}

/// Writes towards the dependency; nothing means the end of the stream, and is answered with false.
async fn write_up(upstream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<bool, Broken> {
    let is_end = bytes.is_empty();
    let writing = async {
        if is_end {
            return upstream.shutdown().await;
        }
        upstream.write_all(bytes).await?;
        upstream.flush().await
    };
    match writing.await {
        Ok(()) => Ok(!is_end),
        // A dependency that closed before the client did.
        Err(error) if is_end && error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(Broken::Upstream(error)),
    }
}

/// One read and its writes towards the client; false at the end of the stream.
async fn copy_down(
    upstream: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    buf: &mut [u8],
) -> Result<bool, Broken> {
    let count = match upstream.read(buf).await {
        Ok(count) => count,
        // TLS without its farewell: the end of the stream all the same, as most servers do it.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
        Err(error) => return Err(Broken::Upstream(error)),
    };
    write_down(client, &buf[..count]).await?;
    Ok(count > 0)
}

/// Writes to the client; nothing means the end of the stream.
async fn write_down(client: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Broken> {
    let writing = async {
        if bytes.is_empty() {
            return client.shutdown().await;
        }
        client.write_all(bytes).await?;
        client.flush().await
    };
    writing.await.map_err(|_| Broken::Client)
}

#[cfg(not(target_os = "linux"))]
mod plain {
    use super::*;
    use crate::proxy::wire::WireStream;

    pub(super) async fn pass(
        client: WireStream,
        upstream: TcpStream,
        _shared: &Shared,
        done: impl Fn(&'static str),
    ) -> Result<(), Broken> {
        copy_both(client, upstream, |tcp| tcp, done).await
    }
}

/// Two plain sockets on Linux.
#[cfg(target_os = "linux")]
mod plain {
    use super::{
        Broken, CHUNK, Shared, TcpStream, copy_down, copy_up, io, reset, write_down, write_up,
    };
    use crate::proxy::{
        splice::{Lease, Pipes},
        wire::{Direct, Wire, WireStream, poll_take},
    };
    use std::{
        future::poll_fn,
        task::{Poll, ready},
    };
    use tokio::{
        io::Interest,
        net::tcp::{ReadHalf, WriteHalf},
    };

    /// Why splicing ended.
    enum Left {
        /// The stream is over.
        Ended,
        /// A fault acts.
        NotClear,
        /// There is no pipe to be had.
        NoPipe,
    }

    pub(super) async fn pass(
        client: WireStream,
        mut upstream: TcpStream,
        shared: &Shared,
        done: impl Fn(&'static str),
    ) -> Result<(), Broken> {
        let wire = client.wire();
        let (upstream_read, upstream_write) = upstream.split();
        let up = async {
            up(client.again(), wire, upstream_write, &shared.pipes).await?;
            done("client closed");
            Ok(())
        };
        let down = async {
            down(client.again(), wire, upstream_read, &shared.pipes).await?;
            done("upstream closed");
            Ok(())
        };
        let result = tokio::try_join!(up, down).map(|_| ());
        if let Err(Broken::Client) = &result {
            reset(&upstream);
        }
        result
    }

    async fn up(
        mut client: WireStream,
        wire: &Wire,
        mut upstream: WriteHalf<'_>,
        pipes: &Pipes,
    ) -> Result<(), Broken> {
        let mut buf = Vec::new();
        let mut can_splice = true;
        loop {
            if !wire.is_clear() {
                // What was held is not copied once more.
                let bytes = client.take().await.map_err(|_| Broken::Client)?;
                if !write_up(&mut upstream, &bytes).await? {
                    return Ok(());
                }
                continue;
            }
            if can_splice && wire.is_clear() {
                // Memory for the other way is not kept while it is not taken.
                buf = Vec::new();
                match splice_up(wire, upstream.as_ref(), pipes).await? {
                    Left::Ended => return end_up(upstream.as_ref()),
                    Left::NotClear => {}
                    Left::NoPipe => can_splice = false,
                }
            }
            buf.resize(CHUNK, 0);
            if !copy_up(&mut client, &mut upstream, &mut buf).await? {
                return Ok(());
            }
        }
    }

    fn end_up(upstream: &TcpStream) -> Result<(), Broken> {
        match socket2::SockRef::from(upstream).shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                Err(Broken::Upstream(error))
            }
            _ => Ok(()),
        }
    }

    async fn splice_up(wire: &Wire, upstream: &TcpStream, pipes: &Pipes) -> Result<Left, Broken> {
        let mut lease = Lease::new(pipes);
        loop {
            let filled = poll_fn(|cx| {
                let polled = wire.poll_direct_read(cx, |tcp| lease.fill(tcp));
                if polled.is_pending() {
                    lease.rest();
                }
                polled
            });
            match filled.await {
                Ok(Direct::Done(0)) => return Ok(Left::Ended),
                Ok(Direct::Done(_)) => {}
                Ok(Direct::NotClear) => return Ok(Left::NotClear),
                Err(_) if lease.is_refused() => return Ok(Left::NoPipe),
                Err(_) => return Err(Broken::Client),
            }
            // Towards the dependency nothing is shaped any more: what the pipe holds goes on.
            while lease.held() > 0 {
                let drained = poll_fn(|cx| {
                    loop {
                        ready!(upstream.poll_write_ready(cx))?;
                        match upstream.try_io(Interest::WRITABLE, || lease.drain(upstream)) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            result => return Poll::Ready(result),
                        }
                    }
                });
                drained.await.map_err(Broken::Upstream)?;
            }
        }
    }

    async fn down(
        mut client: WireStream,
        wire: &Wire,
        mut upstream: ReadHalf<'_>,
        pipes: &Pipes,
    ) -> Result<(), Broken> {
        let mut buf = Vec::new();
        let mut can_splice = true;
        loop {
            if !wire.is_clear() {
                // What is to be held is read into memory of its own.
                let taken = poll_fn(|cx| poll_take(upstream.as_ref(), cx, CHUNK));
                let bytes = taken.await.map_err(Broken::Upstream)?;
                if bytes.is_empty() {
                    return write_down(&mut client, &[]).await;
                }
                client.give(bytes).await.map_err(|_| Broken::Client)?;
                continue;
            }
            if can_splice && wire.is_clear() {
                buf = Vec::new();
                match splice_down(&mut client, wire, upstream.as_ref(), pipes).await? {
                    Left::Ended => return write_down(&mut client, &[]).await,
                    Left::NotClear => {}
                    Left::NoPipe => can_splice = false,
                }
            }
            buf.resize(CHUNK, 0);
            if !copy_down(&mut upstream, &mut client, &mut buf).await? {
                return Ok(());
            }
        }
    }

    async fn splice_down(
        client: &mut WireStream,
        wire: &Wire,
        upstream: &TcpStream,
        pipes: &Pipes,
    ) -> Result<Left, Broken> {
        let mut lease = Lease::new(pipes);
        loop {
            let filled = poll_fn(|cx| {
                loop {
                    if upstream.poll_read_ready(cx)?.is_pending() {
                        lease.rest();
                        return Poll::Pending;
                    }
                    match upstream.try_io(Interest::READABLE, || lease.fill(upstream)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result),
                    }
                }
            });
            match filled.await {
                Ok(0) => return Ok(Left::Ended),
                Ok(_) => {}
                Err(_) if lease.is_refused() => return Ok(Left::NoPipe),
                Err(error) => return Err(Broken::Upstream(error)),
            }
            while lease.held() > 0 {
                let drained = poll_fn(|cx| wire.poll_direct_write(cx, |tcp| lease.drain(tcp)));
                match drained.await.map_err(|_| Broken::Client)? {
                    Direct::Done(_) => {}
                    Direct::NotClear => {
                        let held = lease.read_back().map_err(Broken::Upstream)?;
                        write_down(client, &held).await?;
                        return Ok(Left::NotClear);
                    }
                }
            }
        }
    }
}
