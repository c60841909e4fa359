//! The listener of one dependency: accepts, or does not, as the faults in force want it.

use super::connection::{self, Shared};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The kernel's queue of connections not yet accepted.
const BACKLOG: i32 = 1024;

/// A bound address with its listener.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    listener: TcpListener,
}

impl Door {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn run(
        self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) {
        let permits = Arc::new(Semaphore::new(shared.config.limits.connections));
        let mut connection = 0;
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((tcp, _)) = accepted else { continue };
            connection += 1;
            let _ = tcp.set_nodelay(true);
            tasks.spawn(connection::live(
                tcp,
                connection,
                Arc::clone(&shared),
                stopping.clone(),
                permit,
            ));
        }
    }
}
