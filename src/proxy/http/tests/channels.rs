//! WebSockets of Channels through the proxy, frame by frame.

use super::*;
use crate::{
    fault::sample,
    protocol::{
        pusher::goodbye,
        websocket::{Opcode, server_close, server_frame},
    },
};

const UPGRADE: &str = "GET /app/k?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const ESTABLISHED: &str =
    r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.1\"}"}"#;

fn text(message: &str) -> Vec<u8> {
    server_frame(Opcode::Text, message.as_bytes()).to_vec()
}

fn news(n: u32) -> Vec<u8> {
    text(&format!(r#"{{"event":"news","channel":"a","data":"{n}"}}"#))
}

/// A frame as a client sends it.
fn masked(frame: &[u8]) -> Vec<u8> {
    let head = crate::protocol::websocket::read_head(frame, false, true)
        .unwrap()
        .unwrap();
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = frame.to_vec();
    bytes[1] |= 0x80;
    crate::protocol::websocket::unmask(&mut bytes[head.len..], mask, 0);
    bytes.splice(head.len..head.len, mask);
    bytes
}

impl Rig {
    fn put(&self, text: &str) {
        let set = sample::set(text, Protocol::Pusher);
        self.switch.set(set);
    }

    /// A WebSocket that is open, its handshake seen.
    async fn socket(&mut self) -> (Peer, Peer) {
        let mut client = self.client().await;
        client.send(UPGRADE).await;
        let mut upstream = self.accept().await;
        upstream.expect(UPGRADE).await;
        upstream.send(UPGRADED).await;
        client.expect(UPGRADED).await;
        upstream.send(text(ESTABLISHED)).await;
        client.expect(text(ESTABLISHED)).await;
        let connect = self.attempt().await;
        assert_eq!((&*connect.operation, &*connect.key), ("Connect", "k"));
        assert_eq!(connect.end, AttemptEnd::Answered);
        assert_eq!((connect.applied, connect.code), (Applied::Yes, None));
        assert_eq!(&*self.attempt().await.operation, "Notify");
        (client, upstream)
    }
}

#[tokio::test]
async fn frames_pass_as_they_came_in_both_directions() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut client, mut upstream) = rig.socket().await;
    let parts = |first: u8, part: &[u8]| {
        let mut frame = vec![first, part.len() as u8];
        frame.extend_from_slice(part);
        frame
    };
    let whole = br#"{"event":"news","channel":"a","data":"x"}"#;
    let fragments = [
        parts(0x01, &whole[..9]),
        parts(0x00, b""),
        parts(0x80, &whole[9..]),
    ]
    .concat();
    let large = server_frame(Opcode::Text, &vec![b'x'; 300_000]).to_vec();
    let large_parts = [
        parts(0x01, b"some"),
        {
            let mut frame = server_frame(Opcode::Text, &vec![b'y'; 100_000]).to_vec();
            frame[0] = 0x00;
            frame
        },
        parts(0x80, b"end"),
    ]
    .concat();
    for (bytes, operation, key) in [
        (news(1), "Deliver", "a"),
        (fragments, "Deliver", "a"),
        (large, "Notify", ""),
        (large_parts, "Notify", ""),
        (
            server_frame(Opcode::Binary, b"\x00\xff").to_vec(),
            "Notify",
            "",
        ),
        (text("no JSON"), "Notify", ""),
    ] {
        let (sending, receiving) = (upstream.send(&bytes), client.expect(&bytes));
        tokio::join!(sending, receiving);
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, &*seen.key), (operation, key));
        assert_eq!(
            (seen.end, seen.applied),
            (AttemptEnd::Answered, Applied::Yes)
        );
    }
    for (message, operation, key) in [
        (
            r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#,
            "Subscribe",
            "a",
        ),
        (r#"{"event":"pusher:ping","data":{}}"#, "Ping", ""),
        (
            r#"{"event":"client-x","channel":"private-a","data":1}"#,
            "ClientEvent",
            "private-a",
        ),
    ] {
        let bytes = masked(&text(message));
        client.send(&bytes).await;
        upstream.expect(&bytes).await;
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, &*seen.key), (operation, key));
    }
    // Pings of WebSocket itself, and the close with its code.
    let ping = server_frame(Opcode::Ping, b"p");
    upstream.send(&ping).await;
    client.expect(&ping).await;
    let close = server_close(4200, "Generic reconnect immediately");
    upstream.send(&close).await;
    client.expect(&close).await;
    client.send(masked(&close)).await;
    upstream.expect(masked(&close)).await;
    let seen = rig.attempt().await;
    assert_eq!(
        (&*seen.operation, seen.code.as_deref()),
        ("Close", Some("4200"))
    );
    upstream.half_close().await;
    client.expect_fin().await;
}

#[tokio::test]
async fn compressed_messages_pass_unseen_where_both_sides_agreed_on_them() {
    let rig = Rig::new(Protocol::Pusher).await;
    rig.put("kind = 'drop'\non = 'x'");
    let mut client = rig.client().await;
    client.send(UPGRADE).await;
    let mut upstream = rig.accept().await;
    upstream.expect(UPGRADE).await;
    let agreed = UPGRADED.replace(
        "\r\n\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    upstream.send(&agreed).await;
    client.expect(&agreed).await;
    let mut compressed = news(1);
    compressed[0] |= 0x40;
    upstream.send(&compressed).await;
    client.expect(&compressed).await;
    upstream.send(news(2)).await;
    upstream.send(&compressed).await;
    client.expect(&compressed).await;
}

#[tokio::test]
async fn a_code_refuses_the_handshake_and_the_dependency_sees_nothing_of_it() {
    for (told, in_close) in [("", false), ("told = 'close'", true)] {
        let mut rig = Rig::new(Protocol::Pusher).await;
        rig.put(&format!("kind = 'error'\non = 'x'\nerror = '4004'\n{told}"));
        let mut client = rig.client().await;
        client.send(UPGRADE).await;
        client.expect(UPGRADED).await;
        client
            .expect(goodbye(
                4004,
                "Application is over connection quota",
                in_close,
            ))
            .await;
        client.expect_fin().await;
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.status, attempt.code.as_deref()),
            (Some(101), Some("4004"))
        );
        assert_eq!(
            (attempt.end, attempt.applied),
            (AttemptEnd::Answered, Applied::No)
        );
        assert_eq!(attempt.faults, [FaultId(0)]);
    }
}

#[tokio::test]
async fn the_dependencys_own_refusal_is_observed_with_its_code() {
    let event = text(r#"{"event":"pusher:error","data":{"code":4001,"message":"no"}}"#);
    for refusal in [event, server_close(4001, "no").to_vec()] {
        let mut rig = Rig::new(Protocol::Pusher).await;
        let mut client = rig.client().await;
        client.send(UPGRADE).await;
        let mut upstream = rig.accept().await;
        upstream.expect(UPGRADE).await;
        upstream.send(UPGRADED).await;
        upstream.send(&refusal).await;
        client.expect(UPGRADED).await;
        client.expect(&refusal).await;
        let attempt = rig.attempt().await;
        assert_eq!(&*attempt.operation, "Connect");
        assert_eq!(attempt.code.as_deref(), Some("4001"));
        assert_eq!(attempt.applied, Applied::No);
    }
}

#[tokio::test]
async fn open_websockets_are_cut_when_the_fault_comes_into_force_and_others_stay() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut old, mut old_upstream) = rig.socket().await;
    let (mut young, _young_upstream) = rig.socket().await;
    rig.put("kind = 'error'\non = 'x'\nerror = '4100'");
    old_upstream.send(news(1)).await;
    old.expect(news(1)).await;
    rig.put("kind = 'max-connections'\non = 'x'\nlimit = 1\nexisting = 'cut'\nerror = '4100'");
    young.expect(goodbye(4100, "Over capacity", false)).await;
    young.expect_fin().await;
    old_upstream.send(news(2)).await;
    old.expect(news(2)).await;
    rig.put("kind = 'error'\non = 'x'\nerror = '4200'\nexisting = 'cut'\ntold = 'close'");
    old.expect(server_close(4200, "Generic reconnect immediately"))
        .await;
    old.expect_fin().await;
    assert_eq!(rig.switch.current().faults()[0].hits(), 1);
    let mut closes: Vec<String> = Vec::new();
    for attempt in rig.stop().await {
        if &*attempt.operation == "Close" {
            assert_eq!(attempt.faults, [FaultId(0)]);
            closes.push(attempt.code.unwrap().to_string());
        }
    }
    assert_eq!(closes, ["4100", "4200"]);
}

#[tokio::test]
async fn dropped_messages_never_arrive_and_the_rest_does() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut client, mut upstream) = rig.socket().await;
    rig.put("kind = 'drop'\non = 'x'\nevery = 2");
    for n in 1..=6 {
        upstream.send(news(n)).await;
    }
    for n in [1, 3, 5] {
        client.expect(news(n)).await;
    }
    let mut fates = Vec::new();
    for _ in 1..=6 {
        let seen = rig.attempt().await;
        fates.push((seen.end, seen.applied, seen.faults.len()));
    }
    let passed = (AttemptEnd::Answered, Applied::Yes, 0);
    let dropped = (AttemptEnd::Cut, Applied::No, 1);
    assert_eq!(fates, [passed, dropped, passed, dropped, passed, dropped]);
}

#[tokio::test]
async fn a_delay_counts_from_arrival_and_keeps_the_order() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut client, mut upstream) = rig.socket().await;
    rig.put("kind = 'latency'\non = 'x'\ndelay = '300ms'\nwhen = { operation = 'Deliver' }");
    let began = std::time::Instant::now();
    let all: Vec<u8> = (1..=20).flat_map(news).collect();
    upstream.send(&all).await;
    client.expect(&all).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(
        took < Duration::from_secs(3),
        "one after the other: {took:?}"
    );
}

#[tokio::test]
async fn a_silent_websocket_answers_nothing_until_the_fault_is_lifted() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut client, mut upstream) = rig.socket().await;
    let ping = masked(&text(r#"{"event":"pusher:ping","data":{}}"#));
    for fault in [
        "kind = 'hang'\non = 'x'\nwhen = { operation = ['Deliver', 'Notify'] }",
        "kind = 'hang'\non = 'x'\nby = 'connection'",
        "kind = 'stall'\non = 'x'",
    ] {
        rig.put(fault);
        // The set reaches the connection's task a moment later.
        tokio::task::yield_now().await;
        client.expect_silence().await;
        upstream.send(news(1)).await;
        client.expect_silence().await;
        rig.switch.heal();
        client.expect(news(1)).await;
        client.send(&ping).await;
        upstream.expect(&ping).await;
    }
}

#[tokio::test]
async fn a_client_event_is_refused_and_the_websocket_stays() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut client, mut upstream) = rig.socket().await;
    rig.put("kind = 'error'\non = 'x'\nerror = '4301'\nwhen = { operation = 'ClientEvent' }");
    let event = r#"{"event":"client-x","channel":"private-a","data":1}"#;
    client.send(masked(&text(event))).await;
    client
        .expect(text(
            r#"{"event":"pusher:error","data":{"code":4301,"message":"Client event rejected due to rate limit"}}"#,
        ))
        .await;
    let ping = masked(&text(r#"{"event":"pusher:ping","data":{}}"#));
    client.send(&ping).await;
    upstream.expect(&ping).await;
    let seen = rig.attempt().await;
    assert_eq!(
        (&*seen.operation, seen.code.as_deref()),
        ("ClientEvent", Some("4301"))
    );
    assert_eq!(seen.applied, Applied::No);
}

#[tokio::test]
async fn messages_end_their_connection_by_reset_and_close() {
    for (fault, is_reset) in [("reset", true), ("close", false)] {
        let mut rig = Rig::new(Protocol::Pusher).await;
        let (mut client, mut upstream) = rig.socket().await;
        rig.put(&format!(
            "kind = '{fault}'\non = 'x'\nwhen = {{ operation = 'Deliver' }}"
        ));
        upstream.send(news(1)).await;
        if is_reset {
            client.expect_reset().await;
        } else {
            client.expect_fin().await;
        }
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, seen.end), ("Deliver", AttemptEnd::Cut));
    }
}

#[tokio::test]
async fn garbage_of_either_side_ends_its_connection_alone_and_is_observed() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    let (mut healthy, mut healthy_upstream) = rig.socket().await;
    let (mut client, _upstream) = rig.socket().await;
    client.send(b"\x81\x03not masked").await;
    client.expect_fin().await;
    assert_eq!(&*rig.attempt().await.operation, "malformed");
    let (mut client, mut upstream) = rig.socket().await;
    upstream.send(b"\xff\xff\xff\xff").await;
    client.expect_fin().await;
    assert_eq!(&*rig.attempt().await.operation, "malformed");
    healthy_upstream.send(news(1)).await;
    healthy.expect(news(1)).await;
}

#[tokio::test]
async fn a_status_refuses_publishing_and_may_refuse_the_handshake() {
    let mut rig = Rig::new(Protocol::Pusher).await;
    rig.put("kind = 'error'\non = 'x'\nstatus = 403\nclose = true");
    for request in [
        UPGRADE,
        "POST /apps/1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let mut client = rig.client().await;
        client.send(request).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert!(answer.ends_with("over its message quota\n"), "{answer}");
        assert_eq!(rig.attempt().await.status, Some(403));
    }
}

#[tokio::test]
async fn plain_http_still_tunnels_what_it_upgrades_to() {
    let rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client.send(UPGRADE).await;
    let mut upstream = rig.accept().await;
    upstream.expect(UPGRADE).await;
    upstream.send(UPGRADED).await;
    client.expect(UPGRADED).await;
    upstream.send(b"\xff\x00any bytes").await;
    client.expect(b"\xff\x00any bytes").await;
    client.send(b"\x00\xff").await;
    upstream.expect(b"\x00\xff").await;
}
