//! The same over HTTP/2: both ends are played with a client and a server of it.

use super::{
    Applied, AttemptEnd, Closing, Decision, Duration, End, FaultId, PATIENCE, Peer, Protocol,
    Reply, Rig, Then, fault, io, slow_down, soon, teapot, tls,
};
use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, Request, Response};
use std::future::poll_fn;
use tokio::{net::TcpStream, time::timeout};

/// A client's connection through the proxy, and how it ended.
async fn connect(rig: &Rig) -> (client::SendRequest<Bytes>, Ended) {
    let tcp = TcpStream::connect(rig.proxy.address()).await.unwrap();
    let (requests, connection) = client::handshake(tcp).await.unwrap();
    (requests, Ended(tokio::spawn(connection)))
}

pub(super) struct Ended(pub(super) tokio::task::JoinHandle<Result<(), h2::Error>>);

impl Ended {
    pub(super) async fn how(self) -> Result<(), h2::Error> {
        soon("the connection's end", self.0).await.unwrap()
    }
}

/// The dependency's end of the next connection. Its requests come out of the channel; it goes on
/// as long as somebody takes them.
async fn accept(rig: &Rig) -> Requests {
    let Peer(tcp) = rig.accept().await;
    let mut connection = soon("a handshake", server::handshake(tcp)).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        while let Some(Ok(request)) = connection.accept().await {
            let _ = sender.send(request).await;
        }
    });
    Requests(receiver)
}

type Asked = (Request<RecvStream>, server::SendResponse<Bytes>);

struct Requests(tokio::sync::mpsc::Receiver<Asked>);

impl Requests {
    async fn next(&mut self) -> Asked {
        soon("a request", self.0.recv()).await.expect("a request")
    }
}

fn put() -> Request<()> {
    Request::put("http://store/b/k?x=%2F")
        .header("x-a", "1")
        .header("x-a", "2")
        .body(())
        .unwrap()
}

fn get() -> Request<()> {
    Request::get("http://store/b/k").body(()).unwrap()
}

/// A whole body with its trailers.
pub(super) async fn whole(
    body: &mut RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            bytes.extend_from_slice(&data);
            body.flow_control().release_capacity(data.len())?;
        }
        Ok((bytes, body.trailers().await?))
    };
    soon("the body", reading).await
}

/// Sends a whole body as far as there is room for it.
async fn send(sender: &mut h2::SendStream<Bytes>, bytes: &[u8], trailers: HeaderMap) {
    super::super::http2::send_data(sender, Bytes::copy_from_slice(bytes), false)
        .await
        .unwrap();
    sender.send_trailers(trailers).unwrap();
}

/// Asks, and answers `ok` at the dependency.
async fn ask(
    requests: &mut client::SendRequest<Bytes>,
    upstream: &mut Requests,
) -> Result<Response<RecvStream>, h2::Error> {
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let (_, mut respond) = upstream.next().await;
    let head = Response::builder().header("etag", "a").body(()).unwrap();
    let mut sender = respond.send_response(head, false).unwrap();
    sender.send_data("0123456789".into(), true).unwrap();
    soon("the answer", answer).await
}

#[tokio::test]
async fn with_little_room_for_observations_a_request_is_held_up_and_counted() {
    let rig = Rig::new(Protocol::S3).await;
    rig.recorder.fill();
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    respond.send_response(Response::new(()), true).unwrap();
    soon("the answer", answer).await.unwrap();
    let waited = rig.recorder.take_waited().expect("it was held up");
    assert_eq!(waited.count, 1);
}

#[tokio::test]
async fn heads_bodies_and_trailers_pass_both_ways() {
    let mut rig = Rig::new(Protocol::S3).await;
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, mut sender) = requests.send_request(put(), false).unwrap();
    // More than all windows on the way hold.
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    let (copy, sums) = (body.clone(), trailers.clone());
    tokio::spawn(async move { send(&mut sender, &copy, sums).await });
    let mut upstream = accept(&rig).await;
    let (mut request, mut respond) = upstream.next().await;
    assert_eq!(request.uri(), "http://store/b/k?x=%2F");
    let values: Vec<_> = request.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(request.headers().len(), 2, "nothing is added");
    let (got, sums) = whole(request.body_mut()).await.unwrap();
    assert!(got == body, "{} bytes came", got.len());
    assert_eq!(sums, Some(trailers.clone()));
    let interim = Response::builder().status(103).body(()).unwrap();
    respond.send_informational(interim).unwrap();
    let head = Response::builder().status(201).body(()).unwrap();
    let mut sender = respond.send_response(head, false).unwrap();
    let (copy, sums) = (body.clone(), trailers.clone());
    tokio::spawn(async move { send(&mut sender, &copy, sums).await });
    let mut answer = soon("the answer", answer).await.unwrap();
    assert_eq!(answer.status(), 201);
    let (got, sums) = whole(answer.body_mut()).await.unwrap();
    assert!(got == body, "{} bytes came", got.len());
    assert_eq!(sums, Some(trailers));
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Answered);
    assert_eq!((&*attempt.operation, &*attempt.key), ("PutObject", "b/k"));
    assert_eq!((attempt.status, attempt.applied), (Some(201), Applied::Yes));
    assert_eq!(
        (attempt.bytes_up, attempt.bytes_down),
        (3_000_000, 3_000_000)
    );
}

#[tokio::test]
async fn streams_run_side_by_side_over_one_connection() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(&rig).await;
    let (first, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    let (_, mut slow) = upstream.next().await;
    let mut second = ask(&mut requests, &mut upstream).await.unwrap();
    assert_eq!(whole(second.body_mut()).await.unwrap().0, b"0123456789");
    slow.send_response(Response::new(()), true).unwrap();
    let first = soon("the first answer", first).await.unwrap();
    assert!(first.body().is_end_stream());
    drop(second);
    for bytes_down in [10, 0] {
        let attempt = rig.attempt().await;
        assert_eq!((attempt.connection, attempt.bytes_down), (1, bytes_down));
        assert_eq!(attempt.end, AttemptEnd::Answered);
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(&rig).await;
    let head = Request::head("http://store/a").body(()).unwrap();
    let (answer, _) = requests.send_request(head, true).unwrap();
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    let head = Response::builder().header("content-length", "700");
    respond.send_response(head.body(()).unwrap(), true).unwrap();
    let answer = soon("the answer", answer).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "700");
    assert!(answer.body().is_end_stream());
}

#[tokio::test]
async fn resets_pass_both_ways() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, mut sender) = requests.send_request(put(), false).unwrap();
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    sender.send_reset(Reason::CANCEL);
    drop(answer);
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::GaveUp, Applied::No)
    );
    let reset = poll_fn(|cx| respond.poll_reset(cx));
    assert_eq!(soon("the reset", reset).await.unwrap(), Reason::CANCEL);
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let (_, mut respond) = upstream.next().await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let error = soon("the reset", answer).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    assert_eq!(rig.attempt().await.end, AttemptEnd::UpstreamFailed);
}

#[tokio::test]
async fn a_client_whose_connection_ends_gave_up_on_all_its_streams() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, ended) = connect(&rig).await;
    let (_first, _) = requests.send_request(get(), true).unwrap();
    let (_second, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    // Whoever lets go of a request resets its stream.
    let _asked = (upstream.next().await, upstream.next().await);
    ended.0.abort();
    drop(requests);
    for _ in 0..2 {
        assert_eq!(rig.attempt().await.end, AttemptEnd::GaveUp);
    }
}

#[tokio::test]
async fn streams_in_flight_outlive_a_dependency_that_takes_no_more() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(&rig).await;
    let (first, _) = requests.send_request(get(), true).unwrap();
    let Peer(tcp) = rig.accept().await;
    let mut old = soon("a handshake", server::handshake(tcp)).await.unwrap();
    let (_, mut respond) = soon("a request", old.accept()).await.unwrap().unwrap();
    old.graceful_shutdown();
    let (sender, mut late) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        while let Some(Ok(request)) = old.accept().await {
            let _ = sender.send(request).await;
        }
    });
    // Until the word has come through, requests may still arrive here.
    let (answer, upstream) = loop {
        let (answer, _) = requests.send_request(get(), true).unwrap();
        tokio::select! {
            peer = rig.accept() => break (answer, peer),
            Some((_, mut respond)) = late.recv() => {
                respond.send_response(Response::new(()), true).unwrap();
                soon("the answer", answer).await.unwrap();
                assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
            }
        }
    };
    let new = soon("a handshake", server::handshake(upstream.0)).await;
    let mut new = new.unwrap();
    let (_, mut newer) = soon("a request", new.accept()).await.unwrap().unwrap();
    newer.send_response(Response::new(()), true).unwrap();
    tokio::spawn(async move { while let Some(Ok(_)) = new.accept().await {} });
    soon("the new answer", answer).await.unwrap();
    respond.send_response(Response::new(()), true).unwrap();
    soon("the old answer", first).await.unwrap();
    for _ in 0..2 {
        assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
    }
}

#[tokio::test]
async fn a_fault_on_an_answer_that_never_came_did_not_act() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch
        .set(fault(0, || Decision::end(End::Forward(Then::Lose))));
    let (mut requests, ended) = connect(&rig).await;
    let (answer, mut sender) = requests.send_request(put(), false).unwrap();
    let mut upstream = accept(&rig).await;
    let asked = upstream.next().await;
    sender.send_reset(Reason::CANCEL);
    let attempt = rig.attempt().await;
    assert_eq!((attempt.end, attempt.faults), (AttemptEnd::GaveUp, vec![]));
    drop((answer, sender, requests, asked, upstream));
    ended.0.abort();
    // Nobody is there to answer.
    rig.upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, _) = requests.send_request(get(), true).unwrap();
    assert!(soon("the failure", answer).await.is_err());
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
    assert_eq!(attempt.faults, []);
}

/// A POST that is repeated while it is answered so; what its client sees of it.
async fn posted(
    rig: &Rig,
    requests: &mut client::SendRequest<Bytes>,
    statuses: [Option<u16>; 3],
) -> Result<Response<RecvStream>, h2::Error> {
    let post = Request::post("http://store/b/k").body(()).unwrap();
    let (answer, mut sender) = requests.send_request(post, false).unwrap();
    let mut sums = HeaderMap::new();
    sums.insert("x-sum", "7".parse().unwrap());
    send(&mut sender, b"charge it", sums.clone()).await;
    let mut upstream = accept(rig).await;
    for status in statuses {
        let (mut request, mut respond) = upstream.next().await;
        assert_eq!(request.uri(), "http://store/b/k");
        let (body, trailers) = whole(request.body_mut()).await.unwrap();
        assert_eq!(
            (&*body, trailers.as_ref()),
            (&b"charge it"[..], Some(&sums))
        );
        match status {
            Some(status) => {
                let head = Response::builder().status(status).body(()).unwrap();
                respond.send_response(head, true).unwrap();
            }
            None => respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
    soon("the answer", answer).await
}

#[tokio::test]
async fn a_write_can_be_carried_out_several_times_and_what_nobody_answered_is_unknown() {
    for (statuses, applied, repeated, unknown) in [
        ([Some(201); 3], Applied::Yes, 2, 0),
        ([Some(201), Some(409), Some(201)], Applied::Yes, 1, 0),
        ([Some(201), Some(201), None], Applied::Yes, 1, 1),
        ([Some(500), Some(500), None], Applied::Unknown, 0, 2),
        ([Some(409), None, Some(201)], Applied::Yes, 0, 1),
    ] {
        let mut rig = Rig::new(Protocol::Http).await;
        rig.switch.set(super::ambiguous(
            "applied = 'repeated'\ntimes = 3\nseen = 'late'\ndelay = '1ms'",
        ));
        let (mut requests, _ended) = connect(&rig).await;
        let answer = posted(&rig, &mut requests, statuses).await.unwrap();
        assert_eq!(Some(answer.status().as_u16()), statuses[0]);
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.applied, seen.repeated, seen.repeated_unknown),
            (applied, repeated, unknown),
            "{statuses:?}"
        );
        assert_eq!(seen.faults.len(), 1);
    }
    // Whatever its client sees.
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(super::ambiguous(
        "applied = 'repeated'\ntimes = 3\nseen = 'reset'",
    ));
    let (mut requests, _ended) = connect(&rig).await;
    let reset = posted(&rig, &mut requests, [Some(201); 3]).await;
    assert!(reset.unwrap_err().is_reset());
    let seen = rig.attempt().await;
    assert_eq!((seen.end, seen.repeated), (AttemptEnd::Cut, 2));
}

#[tokio::test]
async fn a_copy_on_a_stream_that_its_client_leaves_may_have_been_carried_out() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(super::ambiguous(
        "applied = 'repeated'\ntimes = 3\nseen = 'time-out'",
    ));
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, mut sender) = {
        let post = Request::post("http://store/b/k").body(()).unwrap();
        requests.send_request(post, true).unwrap()
    };
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    respond.send_response(Response::new(()), true).unwrap();
    let _copy = upstream.next().await;
    sender.send_reset(Reason::CANCEL);
    drop(answer);
    let seen = rig.attempt().await;
    assert_eq!((seen.end, seen.applied), (AttemptEnd::GaveUp, Applied::Yes));
    assert_eq!((seen.repeated, seen.repeated_unknown), (0, 1));
}

#[tokio::test]
async fn a_stream_that_is_too_long_to_be_repeated_passes_and_is_no_hit() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch
        .set(super::ambiguous("applied = 'repeated'\nseen = 'reset'"));
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, mut sender) = requests.send_request(put(), false).unwrap();
    let body = vec![b'x'; 1024 * 1024 + 1];
    tokio::spawn(async move { send(&mut sender, &body, HeaderMap::new()).await });
    let mut upstream = accept(&rig).await;
    let (mut request, mut respond) = upstream.next().await;
    whole(request.body_mut()).await.unwrap();
    respond.send_response(Response::new(()), true).unwrap();
    soon("the answer", answer).await.unwrap();
    let seen = rig.attempt().await;
    assert_eq!((seen.repeated, seen.faults.len()), (0, 0));
}

#[tokio::test]
async fn a_dependency_that_speaks_no_http2_is_told_in_its_own_words() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = rig.accept().await;
    upstream.expect("PRI * HTTP/2.0\r\n\r\n").await;
    upstream
        .send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        .await;
    let error = soon("the reset", answer).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::HTTP_1_1_REQUIRED));
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
}

#[tokio::test]
async fn a_reply_stands_in_for_the_dependency() {
    let mut rig = Rig::new(Protocol::S3).await;
    rig.switch
        .set(fault(3, || Decision::end(End::Reply(slow_down()))));
    let (mut requests, ended) = connect(&rig).await;
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let mut answer = soon("the answer", answer).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().get("transfer-encoding").is_none());
    assert!(answer.headers().get("connection").is_none());
    let (body, _) = whole(answer.body_mut()).await.unwrap();
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("<Code>SlowDown</Code>")
    );
    let attempt = rig.attempt().await;
    assert_eq!(attempt.code.as_deref(), Some("SlowDown"));
    assert_eq!(
        (attempt.applied, attempt.faults),
        (Applied::No, vec![FaultId(3)])
    );
    // S3 closes after this error, in HTTP/2's way.
    assert!(ended.how().await.is_ok());
}

#[tokio::test]
async fn what_is_no_answer_is_a_reset_of_the_stream() {
    let mut rig = Rig::new(Protocol::Http).await;
    for decide in [
        || Decision::end(End::Close(Closing::Reset)),
        || Decision::end(End::Reply(Reply::Empty)),
        || Decision::end(End::Reply(Reply::Garbage("x".into()))),
    ] {
        rig.switch.set(fault(0, decide));
        let (mut requests, _ended) = connect(&rig).await;
        let (answer, _) = requests.send_request(get(), true).unwrap();
        let error = soon("the reset", answer).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
        assert!(error.is_reset() && error.is_remote());
        assert_eq!(rig.attempt().await.end, AttemptEnd::Cut);
    }
}

#[tokio::test]
async fn a_close_ends_the_connection_and_every_stream_on_it() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, ended) = connect(&rig).await;
    let (_waiting, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    let _asked = upstream.next().await;
    rig.switch
        .set(fault(0, || Decision::end(End::Close(Closing::Fin))));
    let (answer, _) = requests.send_request(get(), true).unwrap();
    assert!(soon("the end", answer).await.is_err());
    for _ in 0..2 {
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.end, attempt.faults),
            (AttemptEnd::Cut, vec![FaultId(0)])
        );
    }
    let _ = ended.how().await;
}

#[tokio::test]
async fn a_hanging_stream_goes_on_when_the_fault_is_lifted_or_is_given_up() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(fault(0, || Decision::end(End::Hang)));
    let (mut requests, _ended) = connect(&rig).await;
    let (mut given_up, mut sender) = requests.send_request(put(), false).unwrap();
    let silence = timeout(Duration::from_millis(40), &mut given_up);
    assert!(silence.await.is_err());
    sender.send_reset(Reason::CANCEL);
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::GaveUp, Applied::No)
    );
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let asked = timeout(Duration::from_millis(40), rig.upstream.accept());
    assert!(asked.await.is_err(), "nothing is forwarded while it hangs");
    rig.switch.heal();
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    respond.send_response(Response::new(()), true).unwrap();
    soon("the answer", answer).await.unwrap();
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Answered);
    assert!(attempt.released.is_some());
}

/// An exchange whose answer a fault works on.
async fn after_forward(
    decide: fn() -> Decision,
) -> (Rig, Result<Response<RecvStream>, h2::Error>, Ended) {
    let rig = Rig::new(Protocol::Http).await;
    rig.switch.set(fault(0, decide));
    let (mut requests, ended) = connect(&rig).await;
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    let head = Response::builder().header("etag", "a").body(()).unwrap();
    let mut sender = respond.send_response(head, false).unwrap();
    sender.send_data("0123456789".into(), true).unwrap();
    tokio::spawn(async move { while upstream.0.recv().await.is_some() {} });
    let answer = timeout(PATIENCE, answer)
        .await
        .expect("an answer or a reset");
    (rig, answer, ended)
}

#[tokio::test]
async fn faults_work_on_the_answer() {
    let decide = || Decision::end(End::Forward(Then::Reply(teapot(false))));
    let (mut rig, answer, _ended) = after_forward(decide).await;
    assert_eq!(answer.unwrap().status(), 418);
    assert_eq!(rig.attempt().await.applied, Applied::Yes);

    let decide = || Decision::end(End::Forward(Then::Close(Closing::Reset)));
    let (mut rig, answer, _ended) = after_forward(decide).await;
    assert!(answer.unwrap_err().is_reset());
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::Cut, Applied::Yes)
    );

    let decide = || Decision::end(End::Forward(Then::Late(Duration::from_millis(60))));
    let (mut rig, answer, _ended) = after_forward(decide).await;
    assert_eq!(
        whole(answer.unwrap().body_mut()).await.unwrap().0,
        b"0123456789"
    );
    let attempt = rig.attempt().await;
    assert!(attempt.ended.since(attempt.began) >= Duration::from_millis(60));

    let decide = || Decision::end(End::Forward(Then::EmptyBody));
    let (mut rig, answer, _ended) = after_forward(decide).await;
    let mut answer = answer.unwrap();
    assert_eq!(answer.headers()["etag"], "a");
    assert_eq!(whole(answer.body_mut()).await.unwrap().0, b"");
    assert_eq!(rig.attempt().await.bytes_down, 0);

    let decide = || {
        let cut = Then::TruncateBody {
            after: 4,
            closing: Closing::Fin,
        };
        Decision::end(End::Forward(cut))
    };
    let (mut rig, answer, _ended) = after_forward(decide).await;
    assert!(
        whole(answer.unwrap().body_mut())
            .await
            .unwrap_err()
            .is_reset()
    );
    let attempt = rig.attempt().await;
    assert_eq!((attempt.end, attempt.bytes_down), (AttemptEnd::Cut, 4));

    let decide = || {
        let stall = Then::StallBody {
            after: 4,
            pause: None,
        };
        Decision::end(End::Forward(stall))
    };
    let (mut rig, answer, _ended) = after_forward(decide).await;
    let mut answer = answer.unwrap();
    let first = soon("the first bytes", answer.body_mut().data()).await;
    assert_eq!(first.unwrap().unwrap(), "0123");
    let more = timeout(Duration::from_millis(40), answer.body_mut().data());
    assert!(more.await.is_err());
    rig.switch.heal();
    assert_eq!(whole(answer.body_mut()).await.unwrap().0, b"456789");
    assert!(rig.attempt().await.released.is_some());
}

#[tokio::test]
async fn a_lost_answer_never_comes() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch
        .set(fault(0, || Decision::end(End::Forward(Then::Lose))));
    let (mut requests, _ended) = connect(&rig).await;
    let (mut answer, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    let (_, mut respond) = upstream.next().await;
    respond.send_response(Response::new(()), true).unwrap();
    let silence = timeout(Duration::from_millis(40), &mut answer);
    assert!(silence.await.is_err());
    rig.switch.heal();
    assert!(soon("the reset", answer).await.unwrap_err().is_reset());
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::Unfinished, Applied::Yes)
    );
}

#[tokio::test]
async fn a_stale_answer_is_the_one_given_before() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(&rig).await;
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let mut upstream = accept(&rig).await;
    for body in ["old", "new"] {
        let (_, mut respond) = if body == "old" {
            upstream.next().await
        } else {
            let (answer, _) = requests.send_request(get(), true).unwrap();
            tokio::spawn(answer);
            upstream.next().await
        };
        let mut sender = respond.send_response(Response::new(()), false).unwrap();
        sender.send_data(body.into(), true).unwrap();
        rig.attempt().await;
        rig.switch
            .set(fault(0, || Decision::end(End::Forward(Then::Stale))));
    }
    let mut first = soon("the answer", answer).await.unwrap();
    assert_eq!(whole(first.body_mut()).await.unwrap().0, b"old");
    let mut third = ask(&mut requests, &mut upstream).await.unwrap();
    assert_eq!(whole(third.body_mut()).await.unwrap().0, b"old");
    assert_eq!(rig.attempt().await.faults, [FaultId(0)]);
}

/// A server behind TLS that answers every request of HTTP/2 with its path.
async fn serve_tls(listener: tokio::net::TcpListener, authority: std::sync::Arc<tls::Authority>) {
    let config = authority.server_config(&[], &[b"h2"]).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let stream = acceptor.accept(tcp).await?;
            let mut connection = server::handshake(stream).await.map_err(io::Error::other)?;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let path = Bytes::from(request.uri().path().to_owned());
                let mut sender = respond.send_response(Response::new(()), false).unwrap();
                sender.send_data(path, true).unwrap();
            }
            Ok::<_, io::Error>(())
        });
    }
}

#[tokio::test]
async fn what_both_sides_negotiate_behind_tls_is_spoken() {
    let authority = tls::Authority::new().unwrap();
    let trusting = tls::client_config(&[authority.certificate_pem()]).unwrap();
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = upstream.local_addr().unwrap().port();
    tokio::spawn(serve_tls(upstream, std::sync::Arc::clone(&authority)));
    let front = tls::Front::new(std::sync::Arc::clone(&authority), Vec::new());
    let upstream_tls = std::sync::Arc::clone(&trusting);
    let mut rig = Rig::with(Protocol::Http, |config| {
        config.upstream.port = port;
        config.upstream.tls = true;
        config.upstream_tls = upstream_tls;
        config.tls = Some(std::sync::Arc::new(front));
    })
    .await;
    rig.proxy.check_upstream().await.unwrap();
    let mut config = rustls::ClientConfig::clone(&trusting);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let tcp = TcpStream::connect(rig.proxy.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = soon("a handshake", connector.connect(name, tcp))
        .await
        .unwrap();
    let (mut requests, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (answer, _) = requests.send_request(get(), true).unwrap();
    let mut answer = soon("the answer", answer).await.unwrap();
    assert_eq!(whole(answer.body_mut()).await.unwrap().0, b"/b/k");
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
}

#[tokio::test]
async fn streams_wait_for_an_overloaded_dependency_one_by_one() {
    let mut rig = Rig::new(Protocol::Http).await;
    let text = "kind = 'overload'\non = 'x'\nservers = 1\nservice = '60ms'";
    let set = crate::fault::sample::set(text, Protocol::Http);
    let overload = std::sync::Arc::clone(&set.faults()[0]);
    rig.switch.set(set);
    let (mut requests, _ended) = connect(&rig).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(requests.send_request(get(), true).unwrap().0);
    }
    let mut upstream = accept(&rig).await;
    for _ in 0..3 {
        let (_, mut respond) = upstream.next().await;
        respond.send_response(Response::new(()), true).unwrap();
    }
    for answer in answers {
        assert_eq!(soon("an answer", answer).await.unwrap().status(), 200);
    }
    let mut attempts = Vec::new();
    for _ in 0..3 {
        attempts.push(rig.attempt().await);
    }
    let began = attempts.iter().map(|attempt| attempt.began).min().unwrap();
    let ended = attempts.iter().map(|attempt| attempt.ended).max().unwrap();
    assert!(ended.since(began) >= Duration::from_millis(180));
    assert!(overload.hits() >= 1);
}
