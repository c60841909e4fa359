//! Asks the faults about a request, and waits as long as they hold it. What is to be done then is
//! the engine's business.

use super::{exchange::Exchange, forward::lifted};
use crate::fault::{Closing, End, FaultId, FaultSet, Reply, Then};
use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// What is to be done about a request.
pub(super) enum Verdict {
    /// Forward it, and do this to its answer.
    Forward(Option<(Then, FaultId)>),
    /// Answer it in the dependency's stead.
    Reply(Reply),
    /// Close.
    Close(Closing),
    /// Nothing: the client gave up while it was held.
    GaveUp,
    /// Nothing: it was released, but too much of it had to be thrown away meanwhile.
    Spilled,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Its time is over.
    Elapsed,
    /// The fault was lifted.
    Lifted,
    /// The client went away.
    ClientGone,
}

/// The client's side of a request while it waits.
pub(super) trait Client: Send {
    /// Comes back when the client goes away. Nothing it sends is lost: once there is no more room
    /// it is held back, and its going is noticed later.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;

    /// As [`Client::gone`], where nobody knows for how long: what there is no room for is thrown
    /// away.
    fn gone_spilling(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether the request can no longer be forwarded, as too much was thrown away.
    fn has_spilled(&self) -> bool;
}

/// Asks the faults until the request may be forwarded, or is not to be. Those that hold its
/// connection as a whole hold it too.
pub(super) async fn decide(
    exchange: &mut Exchange,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    client: &mut impl Client,
) -> Verdict {
    let mut holding = exchange.desk.held_by();
    loop {
        let verdict = decide_alone(exchange, faults, client).await;
        let (Verdict::Forward(_), Some(holding)) = (&verdict, &mut holding) else {
            return verdict;
        };
        let held_by = holding.borrow_and_update().clone();
        if held_by.is_empty() {
            return verdict;
        }
        exchange.acted(&held_by);
        tokio::select! {
            biased;
            () = client.gone_spilling() => return Verdict::GaveUp,
            _ = holding.wait_for(Vec::is_empty) => {}
        }
        exchange.released = Some(exchange.desk.now());
        if client.has_spilled() {
            return Verdict::Spilled;
        }
        exchange.settle_answer();
    }
}

async fn decide_alone(
    exchange: &mut Exchange,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    client: &mut impl Client,
) -> Verdict {
    loop {
        let set = Arc::clone(&faults.borrow_and_update());
        let Some(call) = exchange.call().filter(|_| set.acts_on_requests()) else {
            return Verdict::Forward(None);
        };
        let decision = set.request(call, exchange.desk.now());
        if !decision.is_pass() {
            exchange.acted(&decision.acted);
            exchange.decided_by = Some(set);
        }
        let mut held = Held::Elapsed;
        if !decision.delay.is_zero() {
            let delay = Some(decision.delay);
            held = hold(faults, client.gone(), &decision.acted, delay).await;
        }
        let who = decision.acted.last().copied();
        match (held, decision.end, who) {
            (Held::Elapsed, _, _) if client.has_spilled() => {}
            (Held::Elapsed, Some(End::Hang), Some(who)) => {
                held = hold(faults, client.gone_spilling(), &[who], None).await;
            }
            (Held::Elapsed, Some(End::Close(closing)), _) => return Verdict::Close(closing),
            (Held::Elapsed, Some(End::Reply(reply)), _) => return Verdict::Reply(reply),
            (Held::Elapsed, Some(End::Forward(then)), Some(who)) => {
                exchange.will_act_on_answer(who);
                return Verdict::Forward(Some((then, who)));
            }
            (Held::Elapsed, _, _) => return Verdict::Forward(None),
            _ => {}
        }
        if held == Held::ClientGone {
            return Verdict::GaveUp;
        }
        exchange.released = Some(exchange.desk.now());
        if client.has_spilled() {
            return Verdict::Spilled;
        }
    }
}

/// Waits while one of these faults is in force, for at most `delay`, and until the client is
/// `gone`.
pub(super) async fn hold(
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    gone: impl Future<Output = ()>,
    ids: &[FaultId],
    delay: Option<Duration>,
) -> Held {
    let sleeping = async {
        match delay {
            Some(delay) => sleep_until(Instant::now() + delay).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        () = gone => Held::ClientGone,
        () = lifted(faults, ids) => Held::Lifted,
        () = sleeping => Held::Elapsed,
    }
}
