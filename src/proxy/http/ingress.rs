//! The front door before the system: somebody else's requests pass to the system unchanged, and
//! each becomes an operation of the history, measured as our own load is. No fault acts here.

use super::{
    desk::{Desk, Door},
    http1::Dial,
    serve_client,
};
use crate::{
    fault::{Closing, Switch},
    history::Recorder,
    protocol::Protocol,
    proxy::{
        Limits, UpstreamAddress,
        door::ACCEPT_PAUSE,
        tls,
        upstream::{Alpn, Connector, UpstreamStream},
        wire::{Socket, Wire, WireStream},
    },
    scenario,
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The time to connect to the system.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The front door. Dropping it closes everything without waiting; [`Ingress::stop`] waits until
/// every operation is recorded.
#[derive(Debug)]
pub struct Ingress {
    address: SocketAddr,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Ingress {
    /// Where the door will be. Whoever comes before it is opened waits.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn listen(config: &scenario::Ingress) -> io::Result<std::net::TcpListener> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = std::net::TcpListener::bind(config.listen.unwrap_or(anywhere))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Opens the door to the system at this URL, of which only scheme, host and port count: the
    /// requests keep their paths. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The URL names no host, or the listener is of no use.
    pub fn start(
        listener: std::net::TcpListener,
        config: &scenario::Ingress,
        system_url: &str,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let system = Arc::new(connector(system_url)?);
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let door = Arc::new(Door {
            name: Arc::clone(&config.name),
            outcomes: config.outcomes.clone(),
            timeout: config.timeout,
            recorder,
            count: AtomicU64::new(0),
            switch: Switch::new(),
        });
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        let visitors = Visitors {
            door,
            system,
            limits: Limits::default(),
            stopping: stopping.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(visitors.admit(listener));
        tasks.close();
        Ok(Self {
            address,
            stopping,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Admits nobody more, closes what is open, and waits until every operation is recorded.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn connector(system_url: &str) -> io::Result<Connector> {
    let wrong = || {
        let message = format!("{system_url:?} is no URL of a system");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    let address = UpstreamAddress::of_url(system_url).ok_or_else(wrong)?;
    let config = tls::client_config_if(address.tls)?;
    Ok(Connector::new(
        address,
        &config,
        Protocol::Http,
        CONNECT_TIME_MAX,
    ))
}

/// Everybody who comes through the door.
struct Visitors {
    door: Arc<Door>,
    system: Arc<Connector>,
    limits: Limits,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Visitors {
    async fn admit(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((tcp, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let visit = visit(
                tcp,
                Arc::clone(&self.door),
                Arc::clone(&self.system),
                self.limits.clone(),
            );
            let stopping = self.stopping.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => {}
                    () = visit => {}
                }
                drop(permit);
            });
        }
    }
}

struct ToSystem(Arc<Connector>);

impl Dial for ToSystem {
    type Stream = UpstreamStream;

    async fn dial(&self, alpn: Alpn) -> io::Result<UpstreamStream> {
        self.0.connect(None, alpn).await
    }
}

async fn visit(tcp: TcpStream, door: Arc<Door>, system: Arc<Connector>, limits: Limits) {
    // Without it small answers wait; it cannot fail on a connected socket.
    let _ = tcp.set_nodelay(true);
    let wire = Arc::new(Wire::new(Socket::Tcp(tcp), limits.held_bytes));
    let desk = Arc::new(Desk::Door(door));
    let stream = WireStream::new(&wire);
    let over = serve_client(stream, None, ToSystem(system), desk, limits.held_bytes).await;
    match over.closing {
        Some(Closing::Reset) => wire.arm_reset(),
        Some(_) => wire.finish(limits.linger).await,
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Observation, Operation, Outcome, Source},
        scenario::{Outcomes, Rule, StatusSet, Template, ValueMatch},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::mpsc,
        time::timeout,
    };

    const PATIENCE: Duration = Duration::from_secs(10);
    const GET: &[u8] = b"GET /ask?token=x HTTP/1.1\r\nHost: x\r\n\r\n";

    /// A door to a system that a test plays.
    async fn open(time: Duration) -> (Ingress, TcpListener, mpsc::Receiver<Observation>) {
        let cached = Rule {
            status: StatusSet(vec![200..=299]),
            header: vec![("x-from".to_owned(), "cache".to_owned())],
            json: Vec::new(),
        };
        let whole = Rule {
            status: StatusSet(vec![200..=200]),
            header: Vec::new(),
            json: vec![(
                "/ok".to_owned(),
                ValueMatch {
                    comparison: "=",
                    value: Template("true".to_owned()),
                },
            )],
        };
        let config = scenario::Ingress {
            listen: None,
            outcomes: Outcomes {
                ok: whole,
                degraded: Some(cached),
                usually_degraded: None,
            },
            timeout: time,
            name: "visitors".into(),
        };
        let system = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", system.local_addr().unwrap());
        let (recorder, observed) = Recorder::channel(100);
        let listener = Ingress::listen(&config).unwrap();
        let ingress = Ingress::start(listener, &config, &url, recorder).unwrap();
        (ingress, system, observed)
    }

    async fn operation(observed: &mut mpsc::Receiver<Observation>) -> Operation {
        match timeout(PATIENCE, observed.recv()).await {
            Ok(Some(Observation::Operation(operation))) => operation,
            other => panic!("no operation: {other:?}"),
        }
    }

    /// One visitor's exchange with the system.
    async fn visit(ingress: &Ingress, system: &TcpListener, answer: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(ingress.address()).await.unwrap();
        client.write_all(GET).await.unwrap();
        let (mut served, _) = timeout(PATIENCE, system.accept()).await.unwrap().unwrap();
        let mut request = vec![0; GET.len()];
        served.read_exact(&mut request).await.unwrap();
        assert_eq!(request, GET);
        served.write_all(answer).await.unwrap();
        let mut got = vec![0; answer.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, answer);
        client
    }

    #[tokio::test]
    async fn visitors_requests_become_operations_by_the_rules() {
        let (ingress, system, mut observed) = open(PATIENCE).await;
        for (answer, outcome) in [
            (
                "200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}",
                Outcome::Ok,
            ),
            (
                "200 OK\r\nContent-Length: 12\r\n\r\n{\"ok\":false}",
                Outcome::Failed,
            ),
            (
                "200 OK\r\nX-From: cache\r\nContent-Length: 1\r\n\r\nx",
                Outcome::Degraded,
            ),
            ("503 No\r\nContent-Length: 0\r\n\r\n", Outcome::Failed),
        ] {
            let answer = format!("HTTP/1.1 {answer}");
            visit(&ingress, &system, answer.as_bytes()).await;
            let operation = operation(&mut observed).await;
            assert_eq!(operation.outcome, outcome, "{answer}");
            assert_eq!(
                (&*operation.load, operation.source),
                ("visitors", Source::Ingress)
            );
            assert_eq!(&*operation.request, "GET /ask");
            assert_eq!(operation.intended, operation.began);
            assert!(operation.ended >= operation.began);
        }
        ingress.stop().await;
    }

    #[tokio::test]
    async fn who_comes_before_the_door_is_opened_waits() {
        let config = scenario::Ingress {
            listen: None,
            outcomes: Outcomes::default(),
            timeout: PATIENCE,
            name: "visitors".into(),
        };
        let system = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", system.local_addr().unwrap());
        let listener = Ingress::listen(&config).unwrap();
        let mut early = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        early.write_all(GET).await.unwrap();
        let (recorder, mut observed) = Recorder::channel(100);
        let ingress = Ingress::start(listener, &config, &url, recorder).unwrap();
        let (mut served, _) = timeout(PATIENCE, system.accept()).await.unwrap().unwrap();
        let mut request = vec![0; GET.len()];
        served.read_exact(&mut request).await.unwrap();
        let answer = b"HTTP/1.1 204 Fine\r\n\r\n";
        served.write_all(answer).await.unwrap();
        assert_eq!(operation(&mut observed).await.outcome, Outcome::Ok);
        ingress.stop().await;
    }

    #[tokio::test]
    async fn no_answer_in_time_is_indeterminate_even_if_one_comes_later() {
        let (ingress, system, mut observed) = open(Duration::from_millis(30)).await;
        let mut client = TcpStream::connect(ingress.address()).await.unwrap();
        client.write_all(GET).await.unwrap();
        let (mut served, _) = timeout(PATIENCE, system.accept()).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        let answer = b"HTTP/1.1 200 OK\r\nX-From: cache\r\nContent-Length: 0\r\n\r\n";
        served.write_all(answer).await.unwrap();
        let operation = operation(&mut observed).await;
        assert_eq!(operation.outcome, Outcome::Indeterminate);
        assert_eq!(operation.why.as_deref(), Some("no answer within 30ms"));
        assert_eq!(operation.ended, operation.began + Duration::from_millis(30));
    }

    #[tokio::test]
    async fn visitors_who_give_up_and_a_system_that_refuses_are_told_apart() {
        let (ingress, system, mut observed) = open(PATIENCE).await;
        let mut client = TcpStream::connect(ingress.address()).await.unwrap();
        client.write_all(GET).await.unwrap();
        let (served, _) = timeout(PATIENCE, system.accept()).await.unwrap().unwrap();
        drop(client);
        let given_up = operation(&mut observed).await;
        assert_eq!(given_up.outcome, Outcome::Indeterminate);
        assert_eq!(given_up.why.as_deref(), Some("the client gave up"));
        drop((served, system));
        let mut client = TcpStream::connect(ingress.address()).await.unwrap();
        client.write_all(GET).await.unwrap();
        let refused = operation(&mut observed).await;
        assert_eq!((refused.outcome, refused.nth), (Outcome::Failed, 2));
    }

    #[tokio::test]
    async fn what_is_open_at_the_stop_is_recorded() {
        let (ingress, system, mut observed) = open(PATIENCE).await;
        let mut client = TcpStream::connect(ingress.address()).await.unwrap();
        client.write_all(GET).await.unwrap();
        let _served = timeout(PATIENCE, system.accept()).await.unwrap().unwrap();
        ingress.stop().await;
        let operation = operation(&mut observed).await;
        assert_eq!(operation.outcome, Outcome::Indeterminate);
    }

    #[tokio::test]
    async fn a_url_that_names_no_system_is_refused() {
        for url in ["", "x", "ftp://x", "http://", "/path"] {
            assert!(connector(url).is_err(), "{url}");
        }
        assert!(connector("http://[::1]:80/x").is_ok());
    }
}
