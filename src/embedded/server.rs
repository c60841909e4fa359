//! The listener under every embedded server: HTTP/1.1 and HTTP/2 without TLS, bounded, and ended
//! by dropping it.

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::Service,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time,
};

/// The most connections open at once. Further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;

/// How long requests under way may take to finish once the server is stopped.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long accepting rests after it failed, for instance because no file descriptor was left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What a service's answer may fail with.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A running listener.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds `listen` and serves `service` on it.
    pub(crate) fn start<S, B>(listen: SocketAddr, service: S) -> io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, service, stopped));
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.stop.send(true);
        // A panic in the task has already been printed; there is nothing left to end.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S, B>(listener: TcpListener, service: S, mut stopped: watch::Receiver<bool>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    // Aborts what is left when this task ends, however it ends.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        let Some((stream, slot)) = accepted else {
            time::sleep(ACCEPT_REST).await;
            continue;
        };
        let connection = auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(stream), service.clone())
            .into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A client that breaks off is its own business, and it is seen at the proxy.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = time::timeout(DRAIN_MAX, graceful.shutdown()).await;
}

/// A connection with its slot; `None` when accepting failed.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    // Small answers must not wait for the client's delayed acknowledgement.
    stream.set_nodelay(true).ok()?;
    Some((stream, slot))
}
