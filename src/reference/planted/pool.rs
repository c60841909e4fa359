//! Profiles behind a pool of four connections: one whose statement came to nothing is given back, or
//! leaks, until none is left.

use super::{Change, Planted, Program, Twin, Unmeasured, patience, said};
use crate::reference::{Options, Refusal, database::Database};
use hyper::StatusCode;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time};

pub(super) const PLANTED: Planted = Planted {
    name: "pool",
    good: "gives all back",
    bad: "leaks, and is wedged",
    fails: &["COMES-BACK"],
    unmeasured: Unmeasured {
        what: "fault hits nothing",
        says: &["acted on 0 events"],
        of: Twin::Bad,
        change: Change::Scenario(
            "kind = \"hang\"",
            "kind = \"hang\"\n  when = { operation = \"DELETE\" }",
        ),
    },
    system: include_str!("files/pool.system.toml"),
    scenario: include_str!("files/pool.scenario.toml"),
    start,
};

/// The size of the pool.
const CONNECTIONS: usize = 4;

/// How long a statement may take, and a free connection.
const STATEMENT: u64 = 1_000;
const FREE: Duration = Duration::from_millis(500);

/// What a request asks the database.
const QUESTION: &str = "SELECT name FROM profiles";

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let url = options.need("dependency")?;
    let database = Database::new(url, CONNECTIONS, patience(STATEMENT))?;
    let database = Arc::new(database);
    let pool = Arc::new(Semaphore::new(CONNECTIONS));
    let program = Program::serve(listen, move |_| {
        let (database, pool) = (Arc::clone(&database), Arc::clone(&pool));
        async move {
            let Ok(Ok(slot)) = time::timeout(FREE, pool.acquire_owned()).await else {
                return said(StatusCode::SERVICE_UNAVAILABLE, "no connection is free");
            };
            match database.query(QUESTION, &[]).await {
                Ok(_) => said(StatusCode::OK, "a profile"),
                Err(error) => {
                    if flawed {
                        slot.forget();
                    }
                    said(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
                }
            }
        }
    })?;
    Ok(program)
}
