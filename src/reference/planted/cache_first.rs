//! Models that are saved: into the cache before the answer and into the store after it, or into the
//! store before the answer.

use super::{Change, Planted, Program, Twin, Unmeasured, said};
use crate::reference::{
    Options, Refusal,
    s3::{Client, Manners},
};
use bytes::Bytes;
use hyper::StatusCode;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(super) const PLANTED: Planted = Planted {
    name: "cache-first",
    good: "cache, then store",
    bad: "store, then cache",
    fails: &["FAST", "TAUGHT"],
    unmeasured: Unmeasured {
        what: "fault hits nothing",
        says: &["acted on 0 events"],
        of: Twin::Bad,
        change: Change::Scenario("operation = \"PutObject\"", "operation = \"DeleteObject\""),
    },
    system: include_str!("files/cache-first.system.toml"),
    scenario: include_str!("files/cache-first.scenario.toml"),
    start,
};

/// The bucket of the models.
const BUCKET: &str = "models";

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let keys = (
        Options::env("AWS_ACCESS_KEY_ID")?,
        Options::env("AWS_SECRET_ACCESS_KEY")?,
    );
    let url = options.need("dependency")?;
    let store = Arc::new(Client::new(url, BUCKET, keys, Manners::ENDLESS)?);
    let newest = Arc::new(AtomicU64::new(0));
    let program = Program::serve(listen, move |_| {
        let store = Arc::clone(&store);
        // Whoever asks for a model from now on gets this version: the number is the whole cache.
        let version = newest.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            let save = async move {
                let key = format!("models/{version}");
                if let Err(error) = store.put(&key, version, Bytes::from_static(b"model")).await {
                    eprintln!("{key}: {error}");
                }
            };
            if flawed {
                save.await;
            } else {
                tokio::spawn(save);
            }
            said(StatusCode::ACCEPTED, "learned")
        }
    })?;
    Ok(program)
}
