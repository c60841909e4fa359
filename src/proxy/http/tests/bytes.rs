//! What is observed of requests while faults act on the bytes of their connections: how long they took
//! for the client, how they ended for it, and who is to blame.

use super::{Arc, AttemptEnd, Duration, FaultId, GET, OK, PUT, Protocol, Rig, soon};
use crate::{
    fault::{Active, FaultSet, sample},
    protocol::Applied,
};

fn arm(rig: &Rig, keys: &str) -> Arc<Active> {
    let set = sample::set(&format!("on = 'x'\n{keys}"), Protocol::Http);
    let fault = Arc::clone(&set.faults()[0]);
    rig.switch.set(set);
    fault
}

/// Waits until the fault has acted on bytes.
async fn acts(fault: &Active) {
    let acting = async {
        while fault.hits() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("an act", acting).await;
}

const BOTH: [&str; 2] = ["up", "down"];

#[tokio::test]
async fn each_request_of_a_connection_takes_the_delay_of_its_bytes_and_is_put_down_to_it() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    for direction in BOTH {
        let keys = format!("kind = 'latency'\ndelay = '60ms'\ndirection = '{direction}'");
        arm(&rig, &keys);
        for _ in 0..3 {
            client.send(GET).await;
            upstream.expect(GET).await;
            upstream.send(OK).await;
            client.expect(OK).await;
            let seen = rig.attempt().await;
            assert_eq!(seen.end, AttemptEnd::Answered);
            assert_eq!(seen.faults, [FaultId(0)], "{direction}");
            assert!(seen.duration() >= Duration::from_millis(59), "{seen:?}");
        }
    }
    rig.switch.set(FaultSet::default());
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn who_leaves_while_the_answer_is_held_gave_up_then() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    let fault = arm(&rig, "kind = 'latency'\ndelay = '15s'");
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    acts(&fault).await;
    drop(client);
    let seen = rig.attempt().await;
    assert_eq!((seen.end, seen.applied), (AttemptEnd::GaveUp, Applied::Yes));
    assert_eq!(seen.faults, [FaultId(0)]);
    assert_eq!((seen.status, seen.first_byte), (None, None));
    assert!(seen.duration() < Duration::from_secs(8), "{seen:?}");
}

#[tokio::test]
async fn who_leaves_while_the_request_is_on_its_way_gave_up_then() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    let fault = arm(&rig, "kind = 'latency'\ndelay = '1500ms'\ndirection = 'up'");
    client.send(GET).await;
    acts(&fault).await;
    drop(client);
    upstream.expect(GET).await;
    upstream.send(OK).await;
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.end, &seen.faults[..]),
        (AttemptEnd::GaveUp, &[FaultId(0)][..])
    );
    assert!(seen.duration() < Duration::from_millis(1300), "{seen:?}");
}

#[tokio::test]
async fn a_request_that_is_cut_on_its_way_up_is_cut_by_its_fault() {
    let head = PUT.len() - "hello".len();
    for (kept, operation) in [(PUT.len() - 2, "PUT"), (head - 4, "PUT"), (10, "malformed")] {
        let mut rig = Rig::new(Protocol::Http).await;
        let (mut client, _upstream) = rig.met().await;
        let keys = format!("kind = 'truncate'\ndirection = 'up'\nafter_bytes = '{kept}B'");
        arm(&rig, &keys);
        client.send(PUT).await;
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, seen.end), (operation, AttemptEnd::Cut));
        assert_eq!((seen.faults.len(), seen.applied), (1, Applied::No));
        assert!(operation == "malformed" || &*seen.key == "/b/k");
    }
}
