//! A page with recommendations: where there are none, it shows those of yesterday, or an error.

use super::{Change, PATIENT, Planted, Program, Twin, Unmeasured, dependency, get, said};
use crate::reference::{Options, Refusal, web::ask};
use hyper::{StatusCode, header::HeaderValue};
use std::{net::SocketAddr, sync::Arc};

pub(super) const PLANTED: Planted = Planted {
    name: "fallback",
    good: "shows yesterday's",
    bad: "shows the error",
    fails: &["FALLBACK", "ANSWERED"],
    unmeasured: Unmeasured {
        what: "load too thin",
        says: &["operations cannot show 90%"],
        of: Twin::Good,
        change: Change::System("\"3/s\"", "\"1/s\""),
    },
    system: include_str!("files/fallback.system.toml"),
    scenario: include_str!("files/fallback.scenario.toml"),
    start,
};

/// The header that says where an answer comes from.
const FROM: &str = "x-answered-from";

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let recommendations = Arc::new(dependency(options)?);
    let program = Program::serve(listen, move |_| {
        let recommendations = Arc::clone(&recommendations);
        async move {
            let answer = ask(&recommendations, get("/recommendations"), PATIENT).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return said(StatusCode::OK, "fresh");
            }
            if flawed {
                return said(StatusCode::BAD_GATEWAY, "no recommendations");
            }
            let mut answer = said(StatusCode::OK, "yesterday's");
            let cache = HeaderValue::from_static("cache");
            answer.headers_mut().insert(FROM, cache);
            answer
        }
    })?;
    Ok(program)
}
