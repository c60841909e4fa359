//! Passes bytes between the client and the dependency, whatever they mean. Each direction has its
//! own end: half-close is kept.
//!
//! Between two plain sockets on Linux, with a clear wire, bytes are spliced in the kernel where many
//! come at once; a few take the way through memory, by one read and one write. As soon as a fault acts
//! all take that way, through the wire's shapers, and go back to the kernel when it is lifted.

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
            Box::pin(copy_both(client, *upstream, |tls| tls.get_ref().0, done)).await
        }
        (ClientStream::Told(client), UpstreamStream::Plain(upstream)) => {
            Box::pin(copy_both(client, upstream, |tcp| tcp, done)).await
        }
        (ClientStream::Told(client), UpstreamStream::Tls(upstream)) => {
            Box::pin(copy_both(client, *upstream, |tls| tls.get_ref().0, done)).await
        }
        (ClientStream::Tls(client), UpstreamStream::Plain(upstream)) => {
            Box::pin(copy_both(*client, upstream, |tcp| tcp, done)).await
        }
        (ClientStream::Tls(client), UpstreamStream::Tls(upstream)) => {
            Box::pin(copy_both(*client, *upstream, |tls| tls.get_ref().0, done)).await
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
    use super::{Broken, CHUNK, Shared, TcpStream, io, reset, write_down, write_up};
    use crate::proxy::{
        scratch,
        splice::{Lease, Pipes},
        wire::{Direct, Wire, WireStream, poll_take},
    };
    use std::{
        future::poll_fn,
        pin::Pin,
        task::{Poll, ready},
    };
    use tokio::{
        io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
        net::tcp::{ReadHalf, WriteHalf},
    };

    /// A read of so many bytes is taken for a part of more, which the kernel then moves. Of less, a read
    /// and a write cost less than the kernel's own way, which does not say that a socket is empty.
    const SPLICE_FROM: usize = CHUNK / 2;

    /// The kernel moves bytes as long as so many come at once.
    const SPLICE_ON: usize = CHUNK / 4;

    /// Why splicing ended.
    enum Left {
        /// The stream is over.
        Ended,
        /// A fault acts.
        NotClear,
        /// Little comes at once.
        Little,
        /// There is no pipe to be had.
        NoPipe,
    }

    /// Which side failed.
    enum Failed {
        Reading(io::Error),
        Writing(io::Error),
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

    /// Passes what one read brings, through memory that all connections of a thread share: what the
    /// writer does not take at once is copied. How much it was; 0 at the end of the stream.
    async fn pass_once(
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<usize, Failed> {
        let mut rest = Vec::new();
        let passing = poll_fn(|cx| {
            let mut memory = scratch::take();
            let mut read = ReadBuf::new(&mut memory);
            let polled = match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(Failed::Reading(error))),
                Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Ok(0)),
                Poll::Ready(Ok(())) => {
                    let bytes = read.filled();
                    match Pin::new(&mut *to).poll_write(cx, bytes) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(Failed::Writing(error))),
                        Poll::Ready(Ok(written)) => {
                            rest = bytes[written..].to_vec();
                            Poll::Ready(Ok(bytes.len()))
                        }
                        Poll::Pending => {
                            rest = bytes.to_vec();
                            Poll::Ready(Ok(bytes.len()))
                        }
                    }
                }
            };
            scratch::give_back(memory);
            polled
        });
        let count = passing.await?;
        if !rest.is_empty() {
            to.write_all(&rest).await.map_err(Failed::Writing)?;
        }
        Ok(count)
    }

    async fn up(
        mut client: WireStream,
        wire: &Wire,
        mut upstream: WriteHalf<'_>,
        pipes: &Pipes,
    ) -> Result<(), Broken> {
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
            let count = match pass_once(&mut client, &mut upstream).await {
                Ok(0) => return end_up(upstream.as_ref()),
                Ok(count) => count,
                Err(Failed::Reading(_)) => return Err(Broken::Client),
                Err(Failed::Writing(error)) => return Err(Broken::Upstream(error)),
            };
            if can_splice && count >= SPLICE_FROM && wire.is_clear() {
                match splice_up(wire, upstream.as_ref(), pipes).await? {
                    Left::Ended => return end_up(upstream.as_ref()),
                    Left::NotClear | Left::Little => {}
                    Left::NoPipe => can_splice = false,
                }
            }
        }
    }

    fn end_up(upstream: &TcpStream) -> Result<(), Broken> {
        match socket2::SockRef::from(upstream).shutdown(std::net::Shutdown::Write) {
            // A dependency that closed before the client did.
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
            let count = match filled.await {
                Ok(Direct::Done(0)) => return Ok(Left::Ended),
                Ok(Direct::Done(count)) => count,
                Ok(Direct::NotClear) => return Ok(Left::NotClear),
                Err(_) if lease.is_refused() => return Ok(Left::NoPipe),
                Err(_) => return Err(Broken::Client),
            };
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
            if count < SPLICE_ON {
                return Ok(Left::Little);
            }
        }
    }

    async fn down(
        mut client: WireStream,
        wire: &Wire,
        mut upstream: ReadHalf<'_>,
        pipes: &Pipes,
    ) -> Result<(), Broken> {
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
            let count = match pass_once(&mut upstream, &mut client).await {
                Ok(0) => return write_down(&mut client, &[]).await,
                Ok(count) => count,
                Err(Failed::Reading(error)) => return Err(Broken::Upstream(error)),
                Err(Failed::Writing(_)) => return Err(Broken::Client),
            };
            if can_splice && count >= SPLICE_FROM && wire.is_clear() {
                match splice_down(&mut client, wire, upstream.as_ref(), pipes).await? {
                    Left::Ended => return write_down(&mut client, &[]).await,
                    Left::NotClear | Left::Little => {}
                    Left::NoPipe => can_splice = false,
                }
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
            let count = match filled.await {
                Ok(0) => return Ok(Left::Ended),
                Ok(count) => count,
                Err(_) if lease.is_refused() => return Ok(Left::NoPipe),
                Err(error) => return Err(Broken::Upstream(error)),
            };
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
            if count < SPLICE_ON {
                return Ok(Left::Little);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use tokio::io::{AsyncReadExt, duplex};

        #[tokio::test]
        async fn what_a_writer_does_not_take_at_once_follows_in_order() {
            let (mut sender, mut from) = duplex(1 << 20);
            let (mut to, mut receiver) = duplex(1000);
            let sent: Vec<u8> = (0..=scratch::BYTES).map(|n| (n ^ (n >> 8)) as u8).collect();
            sender.write_all(&sent).await.unwrap();
            drop(sender);
            let passing = async {
                let mut counts = Vec::new();
                while counts.last() != Some(&0) {
                    let count = pass_once(&mut from, &mut to).await;
                    counts.push(count.unwrap_or_else(|_| panic!("nobody broke off")));
                }
                drop(to);
                counts
            };
            let mut came = Vec::new();
            let (counts, read) = tokio::join!(passing, receiver.read_to_end(&mut came));
            read.unwrap();
            assert_eq!(
                counts,
                [scratch::BYTES, 1, 0],
                "filled exactly, more, the end"
            );
            assert!(came == sent, "in order");
        }

        #[tokio::test]
        async fn a_writer_that_is_gone_is_not_taken_for_the_reader() {
            let (mut sender, mut from) = duplex(1000);
            let (mut to, receiver) = duplex(1000);
            drop(receiver);
            sender.write_all(b"some").await.unwrap();
            let passed = pass_once(&mut from, &mut to).await;
            assert!(matches!(passed, Err(Failed::Writing(_))));
        }
    }
}
