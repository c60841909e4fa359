//! A catalogue that asks for the stock: behind a circuit breaker, or as often as it is asked itself.

use super::{Change, PATIENT, Planted, Program, Twin, Unmeasured, dependency, get, said};
use crate::reference::{Options, Refusal, breaker::Breaker, web::ask};
use hyper::StatusCode;
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub(super) const PLANTED: Planted = Planted {
    name: "breaker",
    good: "opens after 5",
    bad: "has none",
    fails: &["LEAVES-ALONE", "RATE"],
    unmeasured: Unmeasured {
        what: "no load",
        says: &["acted on 0 events", "so little came in to the system"],
        of: Twin::Bad,
        change: Change::Scenario(
            // Quiet already before it fails: what is late, on a busy machine, meets no fault either.
            "name  = \"stock fails\"",
            "name  = \"quiet\"\nlasts = \"2s\"\nload  = { look = \"0.001x\" }\n\n[[phase]]\n\
             name  = \"stock fails\"\nload  = { look = \"0.001x\" }",
        ),
    },
    system: include_str!("files/breaker.system.toml"),
    scenario: include_str!("files/breaker.scenario.toml"),
    start,
};

/// After so many failures in a row it opens.
const FAILURES_MAX: u32 = 5;

/// How long it then lets nothing through.
const REST: Duration = Duration::from_millis(500);

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let stock = Arc::new(dependency(options)?);
    let breaker = Arc::new(Breaker::new(FAILURES_MAX, REST));
    let program = Program::serve(listen, move |_| {
        let (stock, breaker) = (Arc::clone(&stock), Arc::clone(&breaker));
        async move {
            if !flawed && !breaker.lets_through() {
                return said(StatusCode::OK, "stock unknown");
            }
            let answer = ask(&stock, get("/stock"), PATIENT).await;
            let well = answer.is_ok_and(|answer| answer.status().is_success());
            breaker.ended(well);
            match well {
                true => said(StatusCode::OK, "in stock"),
                false => said(StatusCode::OK, "stock unknown"),
            }
        }
    })?;
    Ok(program)
}
