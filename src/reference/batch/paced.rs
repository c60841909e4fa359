//! *Remedied*: nothing waits for what cannot be done, and nothing is lost on the way.
//!
//! - A row that cannot be read is tried a few times and then *parked*: out of the way, looked at
//!   again every few seconds, so that it is processed once the row is restored.
//! - While the core database does not work, work waits in the queue, where it is safe; a trial now
//!   and then finds out when it does. Then the rate rises step by step (see [`super::pace`]).
//! - Fresh work goes before late work, so that what customers do now is not late as well.
//! - A campaign whose time is over is *dropped* and listed; everything else is sent, however late.
//! - Webhooks have places in the queue of their own and are called until the customer takes them.
//! - A few failures of the core database in a short time are worth a page.

use super::{
    CAMPAIGN_LIVES, Class,
    busy::Busy,
    clock::Moment,
    pace::Pace,
    queue::{Item, Kind, Waits},
    worker::{Tools, Unready, insist},
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};

/// The most messages under way at once.
pub(super) const AT_ONCE: usize = 16;

/// How often the queue is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Work accepted less than this ago is fresh.
const FRESH: Duration = Duration::from_secs(2);

/// The most rows that are fetched at a look.
const FETCHED_MAX: i64 = 64;

/// After so many tries a row that cannot be read is parked.
const TRIES: i64 = 3;

/// The pause between these tries.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// How long what is parked waits for the next look.
const PARKED_FOR: Duration = Duration::from_secs(3);

/// How often late campaigns are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// How often webhooks are looked for.
const WEBHOOKS_EVERY: Duration = Duration::from_millis(200);

/// How long a webhook that was not taken waits.
const WEBHOOK_AGAIN: Duration = Duration::from_secs(1);

/// The most webhooks called at a look.
const WEBHOOKS_MAX: i64 = 32;

/// The worker's mind.
#[derive(Debug)]
struct Worker {
    tools: Arc<Tools>,
    pace: Mutex<Pace>,
    busy: Mutex<Busy>,
    began: Instant,
}

/// Works until it is ended.
pub(super) async fn work(tools: Arc<Tools>) {
    let worker = Arc::new(Worker {
        tools,
        pace: Mutex::new(Pace::new()),
        busy: Mutex::default(),
        began: Instant::now(),
    });
    tokio::join!(
        process(Arc::clone(&worker)),
        sweep(&worker),
        webhooks(&worker.tools)
    );
}

/// Takes as much as the pace allows, fresh work first.
async fn process(worker: Arc<Worker>) {
    let mut under_way = JoinSet::new();
    let mut ticks = every(TICK);
    loop {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        let room = AT_ONCE - under_way.len();
        let allowed = worker.pace.lock().allowed(worker.began.elapsed()).min(room);
        if allowed == 0 {
            continue;
        }
        let (asked, fresh) = (Instant::now(), Moment::now().before(FRESH));
        let queue = &worker.tools.queue;
        let fetched = match queue.fresh_first(Kind::Message, fresh, FETCHED_MAX).await {
            Ok(fetched) => fetched,
            Err(trouble) => {
                eprintln!("the queue cannot be read: {trouble}");
                continue;
            }
        };
        let mut taken = 0;
        for item in fetched {
            if taken == allowed {
                break;
            }
            if worker.begin(&item, asked) {
                taken += 1;
                under_way.spawn(Arc::clone(&worker).one(item));
            }
        }
        worker.pace.lock().taken(taken, worker.began.elapsed());
    }
}

impl Worker {
    fn begin(&self, item: &Item, asked: Instant) -> bool {
        self.busy.lock().begin(&item.receipt, asked)
    }

    fn end(&self, item: &Item) {
        self.busy.lock().end(&item.receipt);
    }

    async fn one(self: Arc<Self>, item: Item) {
        if item.class == Class::Campaign && item.accepted.age() > CAMPAIGN_LIVES {
            self.drop_campaign(&item).await;
        } else if let Err(why) = self.send(&item).await {
            self.put_off(&item, &why).await;
        }
        self.end(&item);
    }

    async fn send(&self, item: &Item) -> Result<(), Unready> {
        let to = self.recipients(item).await?;
        self.tools.send(item, &to).await?;
        // Its webhook first: a message that is noted as sent is never looked at again.
        let (class, id) = (item.class, &*item.id);
        insist("a webhook is due", || {
            self.tools.queue.put(Kind::Webhook, class, id, "")
        })
        .await;
        self.tools.note_sent(item).await;
        Ok(())
    }

    /// As [`Tools::recipients`], telling the pace and the pager how it went.
    async fn recipients(&self, item: &Item) -> Result<Vec<String>, Unready> {
        let asked = Instant::now();
        let answer = self.tools.recipients(item).await;
        let now = self.began.elapsed();
        match &answer {
            Ok(_) => self.pace.lock().went_well(asked.elapsed(), now),
            Err(why) => {
                if matches!(why, Unready::Database(_)) {
                    self.pace.lock().failed(now);
                }
                self.tools.pager.note_failure(why);
            }
        }
        answer
    }

    async fn put_off(&self, item: &Item, why: &Unready) {
        eprintln!("{} {}: {why}", item.class.name(), item.id);
        let failures = item.failures + i64::from(matches!(why, Unready::Row(_)));
        let (waits, pause) = match why {
            Unready::Row(_) if failures >= TRIES => (Waits::Parked, PARKED_FOR),
            Unready::Row(_) | Unready::Sender(_) => (Waits::InLine, TRY_EVERY),
            // The pace decides when its turn comes.
            Unready::Database(_) => return,
        };
        let queue = &self.tools.queue;
        if let Err(trouble) = queue.later(item, failures, waits, pause).await {
            eprintln!(
                "{} {} could not be put off: {trouble}",
                item.class.name(),
                item.id
            );
        }
    }

    async fn drop_campaign(&self, item: &Item) {
        insist("a campaign is over", || self.tools.queue.dropped(item)).await;
    }
}

/// Campaigns are dropped when their time is over, also while nothing is processed.
async fn sweep(worker: &Worker) {
    let mut ticks = every(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let Ok(lapsed) = worker.tools.queue.lapsed(FETCHED_MAX).await else {
            continue;
        };
        for item in lapsed {
            if worker.begin(&item, asked) {
                worker.drop_campaign(&item).await;
                worker.end(&item);
            }
        }
    }
}

/// Webhooks are called until they are taken, at least once each. Where they go is read from the
/// core database when it is first needed, and remembered.
async fn webhooks(tools: &Tools) {
    let mut place = None;
    let mut ticks = every(WEBHOOKS_EVERY);
    loop {
        ticks.tick().await;
        let path = match &place {
            Some(path) => path,
            None => match tools.core.webhook().await {
                Ok(path) => place.insert(path),
                Err(_) => continue,
            },
        };
        let Ok(due) = tools.queue.oldest(Kind::Webhook, WEBHOOKS_MAX).await else {
            continue;
        };
        for item in due {
            let noted = match tools.webhooks.tell(path, item.class, &item.id).await {
                Ok(()) => tools.queue.sent(&item).await,
                Err(_) => {
                    let queue = &tools.queue;
                    queue.later(&item, 0, Waits::InLine, WEBHOOK_AGAIN).await
                }
            };
            if let Err(trouble) = noted {
                eprintln!("the webhook of {} will be called again: {trouble}", item.id);
            }
        }
    }
}

fn every(period: Duration) -> time::Interval {
    let mut ticks = time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
