//! *As it was*: everything in its turn.
//!
//! The oldest work is fetched in batches, and the next batch is fetched when this one is done. A
//! message is tried until it works. So one row that cannot be read keeps all that comes after it
//! waiting, and when the database is back, a full batch falls upon it at once, and falls upon it
//! again as soon as it does not answer in time.
//!
//! A campaign whose time is over when its turn comes is thrown away and nobody is told; a webhook
//! that cannot be called at once is not called; and somebody is woken only by work that is late.

use super::{
    CAMPAIGN_LIVES, Class,
    queue::{Item, Kind},
    worker::{Tools, Unready, call_webhook_once, insist},
};
use crate::reference::database::Trouble;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time;

/// How many messages a batch has, all of them processed at once.
pub(super) const AT_ONCE: usize = 64;

/// How long it rests when nothing waits.
const REST: Duration = Duration::from_millis(50);

/// How long it waits after an error before it tries a message again. After waiting for an answer
/// in vain it tries again at once: that was wait enough.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the queue's age is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Work older than this wakes somebody.
const LATE: Duration = Duration::from_secs(5);

/// Works until it is ended.
pub(super) async fn work(tools: &Tools) {
    tokio::join!(process(tools), watch(tools));
}

async fn process(tools: &Tools) {
    loop {
        match tools.queue.oldest(Kind::Message, AT_ONCE as i64).await {
            Ok(batch) if batch.is_empty() => time::sleep(REST).await,
            Ok(batch) => {
                join_all(batch.iter().map(|item| until_done(tools, item))).await;
            }
            Err(trouble) => {
                eprintln!("the queue cannot be read: {trouble}");
                time::sleep(PAUSE).await;
            }
        }
    }
}

async fn until_done(tools: &Tools, item: &Item) {
    loop {
        if item.class == Class::Campaign && item.accepted.age() > CAMPAIGN_LIVES {
            insist("a campaign is over", || tools.queue.forget(item)).await;
            return;
        }
        match once(tools, item).await {
            Ok(()) => break,
            Err(Unready::Database(Trouble::NoAnswer)) => {}
            Err(why) => {
                eprintln!("{} {}: {why}", item.class.name(), item.id);
                time::sleep(PAUSE).await;
            }
        }
    }
    tools.note_sent(item).await;
    call_webhook_once(&tools.core, &tools.webhooks, item.class, &item.id).await;
}

async fn once(tools: &Tools, item: &Item) -> Result<(), Unready> {
    let to = tools.recipients(item).await?;
    tools.send(item, &to).await
}

async fn watch(tools: &Tools) {
    loop {
        time::sleep(LOOK_EVERY).await;
        if let Ok(oldest) = tools.queue.oldest(Kind::Message, 1).await {
            let age = oldest.first().map(|item| item.accepted.age());
            tools.pager.note_lateness(age.filter(|age| *age > LATE));
        }
    }
}
