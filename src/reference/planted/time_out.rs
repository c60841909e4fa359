//! A shop that asks for a price: it gives up after half a second, or never.

use super::{
    Change, FOR_EVER, Planted, Program, Twin, Unmeasured, dependency, get, patience, said,
};
use crate::reference::{
    Options, Refusal,
    web::{Patience, ask},
};
use hyper::StatusCode;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(super) const PLANTED: Planted = Planted {
    name: "time-out",
    good: "gives up after 0.5s",
    bad: "waits for ever",
    fails: &["GIVES-UP", "FAST"],
    unmeasured: Unmeasured {
        what: "fault hits nothing",
        says: &["acted on 0 events"],
        of: Twin::Bad,
        change: Change::Scenario(
            "kind = \"hang\"",
            "kind = \"hang\"\n  when = { path = \"/nobody/asks/this\" }",
        ),
    },
    system: include_str!("files/time-out.system.toml"),
    scenario: include_str!("files/time-out.scenario.toml"),
    start,
};

/// How long a price is worth waiting for.
const BRIEF: Patience = patience(500);

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let patience = if flawed { FOR_EVER } else { BRIEF };
    let prices = Arc::new(dependency(options)?);
    let count = Arc::new(AtomicU64::new(0));
    let program = Program::serve(listen, move |_| {
        let prices = Arc::clone(&prices);
        let nth = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match ask(&prices, get(&format!("/prices/{nth}")), patience).await {
                Ok(answer) if answer.status().is_success() => said(StatusCode::OK, "a price"),
                _ => said(StatusCode::OK, "no price"),
            }
        }
    })?;
    Ok(program)
}
