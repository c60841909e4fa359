//! Orders that are paid for: a charge that fails is tried three times, or again and again until it is
//! made; with the same growing pauses either way.

use super::{Change, PATIENT, Planted, Program, Twin, Unmeasured, dependency, post, said};
use crate::reference::{Options, Refusal, web::ask};
use hyper::{StatusCode, header::HeaderValue};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time;

pub(super) const PLANTED: Planted = Planted {
    name: "retries",
    good: "tries three times",
    bad: "tries until it works",
    fails: &["ATTEMPTS", "STORM"],
    unmeasured: Unmeasured {
        what: "no load",
        says: &["acted on 0 events", "so little came in to the system"],
        of: Twin::Bad,
        change: Change::Scenario(
            // Quiet already before it fails: what is late, on a busy machine, meets no fault either.
            "name  = \"payments fail\"",
            "name  = \"quiet\"\nlasts = \"2s\"\nload  = { order = \"0.001x\" }\n\n[[phase]]\n\
             name  = \"payments fail\"\nload  = { order = \"0.001x\" }",
        ),
    },
    system: include_str!("files/retries.system.toml"),
    scenario: include_str!("files/retries.scenario.toml"),
    start,
};

/// The most tries.
const TRIES_MAX: u32 = 3;

/// The first pause between two tries; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// The pause after so many tries; `None` where there is no further one. The flaw is that there
/// always is.
fn pause(tries: u32, flawed: bool) -> Option<Duration> {
    let doublings = tries.saturating_sub(1);
    let grown = PAUSE.saturating_mul(2_u32.saturating_pow(doublings));
    (flawed || tries < TRIES_MAX).then_some(grown.min(PAUSE_MAX))
}

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let payments = Arc::new(dependency(options)?);
    let count = Arc::new(AtomicU64::new(0));
    let program = Program::serve(listen, move |_| {
        let payments = Arc::clone(&payments);
        let nth = count.fetch_add(1, Ordering::Relaxed);
        async move {
            let charge = || {
                let mut request = post("/charges", &serde_json::json!({ "order": nth }));
                let headers = request.headers_mut();
                headers.insert("idempotency-key", HeaderValue::from(nth));
                ask(&payments, request, PATIENT)
            };
            let mut tries = 0;
            loop {
                let answer = charge().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return said(StatusCode::CREATED, "paid");
                }
                tries += 1;
                let Some(pause) = pause(tries, flawed) else {
                    return said(StatusCode::SERVICE_UNAVAILABLE, "not paid");
                };
                time::sleep(pause).await;
            }
        }
    })?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pause_alike_and_only_one_ever_stops() {
        let milliseconds = |tries, flawed| pause(tries, flawed).map(|pause| pause.as_millis());
        for flawed in [false, true] {
            assert_eq!(milliseconds(1, flawed), Some(50));
            assert_eq!(milliseconds(2, flawed), Some(100));
        }
        assert_eq!(milliseconds(3, false), None);
        assert_eq!(milliseconds(3, true), Some(200));
        assert_eq!(milliseconds(4, true), Some(200));
        assert_eq!(milliseconds(u32::MAX, true), Some(200));
    }
}
