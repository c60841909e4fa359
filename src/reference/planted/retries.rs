//! Orders that are paid for: a charge that fails is tried three times with pauses, or again and
//! again until it is made.

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
        says: "acted on 0 events",
        of: Twin::Bad,
        change: Change::Scenario(
            "name  = \"payments fail\"",
            "name  = \"payments fail\"\nload  = { order = \"0.001x\" }",
        ),
    },
    system: include_str!("files/retries.system.toml"),
    scenario: include_str!("files/retries.scenario.toml"),
    start,
};

/// The most tries.
const TRIES_MAX: u32 = 3;

/// The first pause between two tries; without the flaw each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(50);

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
                if !flawed && tries == TRIES_MAX {
                    return said(StatusCode::SERVICE_UNAVAILABLE, "not paid");
                }
                let growth = if flawed { 1 } else { 1 << (tries - 1) };
                time::sleep(PAUSE * growth).await;
            }
        }
    })?;
    Ok(program)
}
