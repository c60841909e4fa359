//! Asks the faults about a request, and waits as long as they hold it. What is to be done then is
//! the engine's business, whatever its protocol.

use crate::{
    fault::{Closing, End, FaultId, FaultSet, Reply, Then},
    protocol::Call,
    units::Micros,
};
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

/// A request that is decided about, and what is noted of it meanwhile.
pub(super) trait Asked: Send {
    /// Now, on the run's clock.
    fn now(&self) -> Micros;

    /// The request as faults see it; `None` where no fault can act.
    fn call(&self) -> Option<&Call>;

    /// Which faults hold the requests of its connection as a whole, now and as that changes;
    /// `None` where none can.
    fn held_by(&self) -> Option<watch::Receiver<Vec<FaultId>>>;

    /// Notes who acted on it.
    fn acted(&mut self, faults: &[FaultId]);

    /// Notes the set that decided about it last.
    fn decided_by(&mut self, set: Arc<FaultSet>);

    /// Notes that the fault that held it was lifted just now.
    fn released(&mut self);

    /// Notes that this fault will act on the dependency's answer, if one comes.
    fn will_act_on_answer(&mut self, fault: FaultId);

    /// Takes back that a fault acted on an answer that never came.
    fn settle_answer(&mut self);
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
    asked: &mut impl Asked,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    client: &mut impl Client,
) -> Verdict {
    let mut holding = asked.held_by();
    loop {
        let verdict = decide_alone(asked, faults, client).await;
        let (Verdict::Forward(_), Some(holding)) = (&verdict, &mut holding) else {
            return verdict;
        };
        let held_by = holding.borrow_and_update().clone();
        if held_by.is_empty() {
            return verdict;
        }
        asked.acted(&held_by);
        tokio::select! {
            biased;
            () = client.gone_spilling() => return Verdict::GaveUp,
            _ = holding.wait_for(Vec::is_empty) => {}
        }
        asked.released();
        if client.has_spilled() {
            return Verdict::Spilled;
        }
        asked.settle_answer();
    }
}

async fn decide_alone(
    asked: &mut impl Asked,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    client: &mut impl Client,
) -> Verdict {
    loop {
        let set = Arc::clone(&faults.borrow_and_update());
        let Some(call) = asked.call().filter(|_| set.acts_on_requests()) else {
            return Verdict::Forward(None);
        };
        let decision = set.request(call, asked.now());
        if !decision.is_pass() {
            asked.acted(&decision.acted);
            asked.decided_by(set);
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
                asked.will_act_on_answer(who);
                return Verdict::Forward(Some((then, who)));
            }
            (Held::Elapsed, _, _) => return Verdict::Forward(None),
            _ => {}
        }
        if held == Held::ClientGone {
            return Verdict::GaveUp;
        }
        asked.released();
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

/// Waits until none of these faults is in force; for ever where there are none.
pub(super) async fn lifted(faults: &mut watch::Receiver<Arc<FaultSet>>, ids: &[FaultId]) {
    if ids.is_empty() {
        return pending().await;
    }
    let is_free = |set: &Arc<FaultSet>| !set.faults().iter().any(|fault| ids.contains(&fault.id));
    if faults.wait_for(is_free).await.is_err() {
        // Nobody is left to change anything.
        pending::<()>().await;
    }
}
