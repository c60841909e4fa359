//! Requests that wait for an overloaded dependency, over real sockets in real time: lower bounds
//! on times only.

use super::*;
use crate::{fault::sample, history::QueueSample};

/// Faults from texts, numbered from this.
fn faults(first: u16, texts: &[&str]) -> FaultSet {
    let numbered = texts.iter().zip(first..).map(|(text, id)| {
        let text = format!("on = 'x'\n{text}");
        let mut fault = Arc::into_inner(sample::active(&text, Protocol::Http, 7)).unwrap();
        fault.id = FaultId(id);
        Arc::new(fault)
    });
    FaultSet::new(numbered.collect())
}

/// Nobody is served before the test is over.
const STUCK: &str = "kind = 'overload'\nservers = 1\nservice = '1000s'";

impl Rig {
    /// Answers every request on every connection from now on.
    fn answer_all(&mut self) {
        let port = self.upstream.local_addr().unwrap().port();
        let empty = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        empty.set_nonblocking(true).unwrap();
        let upstream = std::mem::replace(&mut self.upstream, TcpListener::from_std(empty).unwrap());
        assert_eq!(upstream.local_addr().unwrap().port(), port);
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = upstream.accept().await {
                tokio::spawn(async move {
                    let mut byte = [0; 4096];
                    while let Ok(1..) = tcp.read(&mut byte).await {
                        let _ = tcp.write_all(OK.as_bytes()).await;
                    }
                });
            }
        });
    }

    /// Waits until this holds of the queue.
    async fn queue(&mut self, holds: impl Fn(&QueueSample) -> bool) -> QueueSample {
        loop {
            match soon("a sample of the queue", self.observed.recv()).await {
                Some(Observation::Queue(sample)) if holds(&sample) => return sample,
                Some(_) => {}
                None => panic!("the recorder is gone"),
            }
        }
    }

    /// Clients that have sent their request, and of which so many wait.
    async fn waiting(&mut self, count: usize) -> Vec<Peer> {
        let mut clients = Vec::new();
        for n in 0..=count {
            let mut client = self.client().await;
            client.send(GET).await;
            clients.push(client);
            let wanted = n as u64;
            self.queue(|sample| sample.waiting == wanted && sample.serving == 1)
                .await;
        }
        clients
    }
}

#[tokio::test]
async fn waiting_grows_with_what_is_asked_at_the_same_time() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.answer_all();
    let set = faults(0, &["kind = 'overload'\nservers = 1\nservice = '60ms'"]);
    let fault = Arc::clone(&set.faults()[0]);
    rig.switch.set(set);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(rig.client().await);
    }
    for client in &mut clients {
        client.send(GET).await;
    }
    let mut attempts = Vec::new();
    for _ in 0..4 {
        attempts.push(rig.attempt().await);
    }
    let began = attempts.iter().map(|attempt| attempt.began).min().unwrap();
    for (n, attempt) in attempts.iter().enumerate() {
        let since = attempt.ended.since(began);
        assert!(
            since >= Duration::from_millis(60) * (n as u32 + 1),
            "{n}: {since:?}"
        );
        assert_eq!((attempt.status, attempt.released), (Some(200), None));
    }
    // The first one came at once: the fault did not act on it.
    assert_eq!(attempts[0].faults, []);
    let waited = attempts
        .iter()
        .filter(|attempt| attempt.faults == [FaultId(0)]);
    assert_eq!(waited.count() as u64, fault.hits());
    assert!(fault.hits() >= 1);
}

#[tokio::test]
async fn where_there_is_no_room_the_dependency_refuses_in_its_own_words() {
    for (protocol, words) in [
        (Protocol::Http, "HTTP/1.1 503 Service Unavailable\r\n"),
        (Protocol::S3, "HTTP/1.1 503 Slow Down\r\n"),
    ] {
        let mut rig = Rig::new(protocol).await;
        rig.switch.set(faults(0, &[&format!("{STUCK}\nqueue = 0")]));
        if protocol == Protocol::S3 {
            let text = format!("on = 'x'\n{STUCK}\nqueue = 0");
            rig.switch.set(sample::set(&text, protocol));
        }
        let _served = rig.waiting(0).await;
        let mut client = rig.client().await;
        client.send(GET).await;
        client.expect(words).await;
        let attempt = rig.attempt().await;
        assert_eq!((attempt.status, attempt.applied), (Some(503), Applied::No));
        assert_eq!(attempt.faults, [FaultId(0)]);
    }
}

#[tokio::test]
async fn who_waits_is_released_when_nothing_limits_the_dependency_any_more() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.answer_all();
    rig.switch.set(faults(0, &[STUCK]));
    let mut clients = rig.waiting(2).await;
    rig.switch.heal();
    for client in &mut clients {
        client.expect(OK).await;
    }
    for _ in 0..3 {
        let attempt = rig.attempt().await;
        assert!(attempt.released.is_some() && attempt.status == Some(200));
    }
    let mut client = rig.client().await;
    client.send(GET).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn a_later_overload_takes_the_queue_over() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.answer_all();
    rig.switch.set(faults(0, &[STUCK]));
    let mut clients = rig.waiting(2).await;
    // What was 1000 s of work each is a second now.
    let later = faults(5, &[&format!("{STUCK}\nscale = 1000")]);
    rig.switch.set(later);
    let first = rig.queue(|sample| sample.fault == FaultId(5)).await;
    assert!(first.waiting <= 2 && first.serving == 1, "{first:?}");
    for client in &mut clients {
        client.expect(OK).await;
    }
    // One after the other, however late an end is heard of.
    for turn in 1..=3 {
        let attempt = rig.attempt().await;
        assert_eq!((attempt.status, attempt.released), (Some(200), None));
        assert!(
            attempt.ended.since(first.since) >= Duration::from_millis(900) * turn,
            "{turn}: {attempt:?}"
        );
    }
}

#[tokio::test]
async fn what_comes_into_force_meanwhile_acts_on_who_was_served() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(faults(0, &[STUCK]));
    let mut clients = rig.waiting(0).await;
    let scaled = format!("{STUCK}\nscale = 1000");
    let error = "kind = 'error'\nstatus = 500";
    rig.switch.set(faults(5, &[&scaled, error]));
    clients[0]
        .expect("HTTP/1.1 500 Internal Server Error\r\n")
        .await;
    assert_eq!(rig.attempt().await.faults, [FaultId(6)]);
}

#[tokio::test]
async fn a_fault_behind_the_queue_has_not_acted_on_who_is_refused() {
    let mut rig = Rig::new(Protocol::Http).await;
    let full = format!("{STUCK}\nqueue = 0");
    rig.switch
        .set(faults(0, &[&full, "kind = 'error'\nstatus = 500"]));
    let set = rig.switch.current();
    let _served = rig.waiting(0).await;
    let mut client = rig.client().await;
    client.send(GET).await;
    client.expect("HTTP/1.1 503 Service Unavailable\r\n").await;
    assert_eq!(rig.attempt().await.faults, [FaultId(0)]);
    let hits: Vec<u64> = set.faults().iter().map(|fault| fault.hits()).collect();
    // The one in service was decided about, and may still be answered so.
    assert_eq!(hits, [1, 1]);
}

#[tokio::test]
async fn who_gives_up_while_it_waits_is_observed_and_stays_in_the_queue_unless_cancelled() {
    for (cancel, left) in [(false, 1), (true, 0)] {
        let mut rig = Rig::new(Protocol::Http).await;
        rig.switch
            .set(faults(0, &[&format!("{STUCK}\ncancel = {cancel}")]));
        let mut clients = rig.waiting(1).await;
        drop(clients.pop());
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.end, attempt.applied),
            (AttemptEnd::GaveUp, Applied::No)
        );
        assert_eq!(attempt.faults, [FaultId(0)]);
        let mut client = rig.client().await;
        client.send(GET).await;
        rig.queue(|sample| sample.waiting == left + 1).await;
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_answered_and_closed() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.answer_all();
    let limit = "kind = 'overload'\nservers = 9\nservice = '1ms'\nconnections = 1";
    rig.switch.set(faults(0, &[limit]));
    let mut first = rig.client().await;
    first.send(GET).await;
    first.expect(OK).await;
    let mut second = rig.client().await;
    second.send(GET).await;
    let refused = second.rest().await;
    assert!(
        refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{refused}"
    );
    first.send(GET).await;
    first.expect(OK).await;
    let attempts = rig.stop().await;
    let refused = attempts
        .iter()
        .find(|attempt| attempt.connection == 2)
        .unwrap();
    assert_eq!((refused.status, refused.applied), (Some(503), Applied::No));
    assert_eq!(refused.faults, [FaultId(0)]);
}

#[tokio::test]
async fn a_quota_of_bytes_counts_what_passed() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.answer_all();
    let quota = "kind = 'quota'\ncounts = 'bytes'\nlimit = '5B'\ntotal = true\nrefusal = '402'";
    rig.switch.set(faults(0, &[quota]));
    let mut client = rig.client().await;
    // Two bytes of body come back each time.
    for _ in 0..3 {
        client.send(GET).await;
        client.expect(OK).await;
        rig.attempt().await;
    }
    client.send(GET).await;
    client.expect("HTTP/1.1 402 Payment Required\r\n").await;
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.applied, &*attempt.faults),
        (Applied::No, &[FaultId(0)][..])
    );
}

#[tokio::test]
async fn a_quota_of_connections_lets_another_in_when_one_is_gone() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.answer_all();
    let quota = "kind = 'quota'\ncounts = 'connections'\nlimit = 1\nrefusal = '429'";
    rig.switch.set(faults(0, &[quota]));
    let mut first = rig.client().await;
    first.send(GET).await;
    first.expect(OK).await;
    let mut second = rig.client().await;
    second.send(GET).await;
    assert!(
        second
            .rest()
            .await
            .starts_with("HTTP/1.1 429 Too Many Requests\r\n")
    );
    drop(second);
    drop(first);
    let mut closed = 0;
    while closed < 2 {
        let observation = soon("an observation", rig.observed.recv()).await;
        closed += u32::from(matches!(observation, Some(Observation::Connection(_))));
    }
    let mut third = rig.client().await;
    third.send(GET).await;
    third.expect(OK).await;
}
