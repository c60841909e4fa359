//! Asks the faults about a request, and waits as long as they hold it. What is to be done then is
//! the engine's business, whatever its protocol.

use super::{
    connection::Refusal,
    station::{Station, Turned},
};
use crate::{
    fault::{Closing, End, FaultId, FaultSet, Reply, Then, Turn},
    protocol::Call,
    timer::sleep,
    units::Micros,
};
use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

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

    /// When the request had come, from where its delays count: those of several that came together
    /// run side by side.
    fn came(&self) -> Micros;

    /// The request as faults see it; `None` where no fault can act.
    fn call(&self) -> Option<&Call>;

    /// Which faults hold the requests of its connection as a whole, now and as that changes;
    /// `None` where none can.
    fn held_by(&self) -> Option<watch::Receiver<Vec<FaultId>>>;

    /// What its connection as a whole is answered, if it is refused.
    fn refusal(&self) -> Option<Refusal>;

    /// Where it waits for its turn; `None` where nobody queues it.
    fn station(&self) -> Option<&Arc<Station>>;

    /// Notes who acted on it.
    fn acted(&mut self, faults: &[FaultId]);

    /// Notes the set that decided about it last.
    fn decided_by(&mut self, set: Arc<FaultSet>);

    /// Notes that a fault holds it from now on: that another was lifted before says nothing then
    /// of how long the client would have waited.
    fn held(&mut self);

    /// Notes that the fault held it for as long as it wanted.
    fn goes_on(&mut self);

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
    let mut is_served = false;
    let mut since = asked.came();
    loop {
        if let Some(Refusal {
            reply,
            faults: refusing,
        }) = asked.refusal()
        {
            if let Some(call) = asked.call() {
                faults.borrow_and_update().note(call);
            }
            asked.acted(&refusing);
            return Verdict::Reply(reply);
        }
        let verdict = decide_alone(asked, faults, client, &mut is_served, &mut since).await;
        let (Verdict::Forward(_), Some(holding)) = (&verdict, &mut holding) else {
            return verdict;
        };
        if holding.borrow().is_empty() {
            return verdict;
        }
        asked.held();
        if !is_let_go(asked, client, holding).await {
            return Verdict::GaveUp;
        }
        asked.released();
        since = asked.now();
        if client.has_spilled() {
            return Verdict::Spilled;
        }
        asked.settle_answer();
    }
}

/// Waits until no fault holds its connection as a whole any more; false: the client went away. What
/// one phase's fault held the next one's may hold on.
async fn is_let_go(
    asked: &mut impl Asked,
    client: &mut impl Client,
    holding: &mut watch::Receiver<Vec<FaultId>>,
) -> bool {
    loop {
        let held_by = holding.borrow_and_update().clone();
        if held_by.is_empty() {
            return true;
        }
        asked.acted(&held_by);
        tokio::select! {
            biased;
            () = client.gone_spilling() => return false,
            changed = holding.changed() => if changed.is_err() {
                return true;
            },
        }
    }
}

/// `is_served`: it has had its turn in the dependency's queue, and gets no other. `since`: from when
/// its delay counts.
async fn decide_alone(
    asked: &mut impl Asked,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
    client: &mut impl Client,
    is_served: &mut bool,
    since: &mut Micros,
) -> Verdict {
    loop {
        let set = {
            let set = faults.borrow_and_update();
            if !set.acts_on_requests() {
                return Verdict::Forward(None);
            }
            Arc::clone(&set)
        };
        let Some(call) = asked.call() else {
            return Verdict::Forward(None);
        };
        let decision = set.request(call, asked.now());
        let turn = decision.turn.filter(|_| !*is_served);
        let before_turn = turn
            .as_ref()
            .map_or(decision.acted.len(), |turn| turn.after);
        let (acted, after_turn) = decision.acted.split_at(before_turn);
        if !decision.acted.is_empty() || turn.is_some() {
            asked.acted(acted);
            asked.decided_by(Arc::clone(&set));
        }
        let mut held = Held::Elapsed;
        if !decision.delay.is_zero() {
            // A request that waited before the fault came into force has had nothing of its delay.
            let gone_by = asked.now().since(*since).min(set.in_force_for());
            let delay = Some(decision.delay.saturating_sub(gone_by));
            asked.held();
            held = hold(faults, client.gone(), &decision.acted, delay).await;
            if held == Held::Elapsed {
                asked.goes_on();
            }
        }
        let who = decision.acted.last().copied();
        if let (Held::Elapsed, Some(turn)) = (held, turn) {
            let refusal = turn.refusal.clone();
            let turned = wait_for_turn(asked, client, turn).await;
            *is_served = turned == Some(Turned::Served);
            // What was decided before it waited holds no more if the faults have changed.
            let is_stale = faults.has_changed().unwrap_or(false);
            if !*is_served || is_stale {
                for fault in after_turn {
                    set.did_not_act(*fault);
                }
            }
            match turned {
                Some(Turned::Served) if is_stale => {
                    *since = asked.now();
                    continue;
                }
                Some(Turned::Served) => asked.acted(after_turn),
                Some(Turned::Refused) => return refused(refusal),
                Some(Turned::Lifted) => held = Held::Lifted,
                None => held = Held::ClientGone,
            }
        } else if held != Held::Elapsed {
            for fault in after_turn {
                set.did_not_act(*fault);
            }
        }
        match (held, decision.end, who) {
            (Held::Elapsed, _, _) if client.has_spilled() => {}
            (Held::Elapsed, Some(End::Hang), Some(who)) => {
                asked.held();
                held = hold(faults, client.gone_spilling(), &[who], None).await;
            }
            (Held::Elapsed, Some(End::Close(closing)), _) => return Verdict::Close(closing),
            (Held::Elapsed, Some(End::Reply(reply)), _) => return Verdict::Reply(reply),
            (Held::Elapsed, Some(End::Never { wait, last }), Some(who)) => {
                asked.held();
                match hold(faults, client.gone_spilling(), &[who], wait).await {
                    Held::ClientGone => return Verdict::GaveUp,
                    Held::Lifted => asked.released(),
                    Held::Elapsed => asked.goes_on(),
                }
                return if client.has_spilled() {
                    Verdict::Spilled
                } else {
                    refused(*last)
                };
            }
            (Held::Elapsed, Some(End::Forward(then)), Some(who)) => {
                asked.will_act_on_answer(who);
                if then.holds() {
                    asked.held();
                }
                return Verdict::Forward(Some((then, who)));
            }
            (Held::Elapsed, _, _) => return Verdict::Forward(None),
            _ => {}
        }
        if held == Held::ClientGone {
            return Verdict::GaveUp;
        }
        asked.released();
        *since = asked.now();
        if client.has_spilled() {
            return Verdict::Spilled;
        }
    }
}

/// Waits for its turn in the dependency's queue; `None`: the client went away.
async fn wait_for_turn(
    asked: &mut impl Asked,
    client: &mut impl Client,
    turn: Turn,
) -> Option<Turned> {
    let fault = [turn.fault];
    let place = asked.station().map(|station| station.enter(turn));
    let Some(mut place) = place.flatten() else {
        return Some(Turned::Lifted);
    };
    if place.waits() {
        asked.acted(&fault);
        asked.held();
    }
    let (turned, acted) = tokio::select! {
        biased;
        () = client.gone() => return None,
        turned = place.turned() => turned,
    };
    if acted {
        asked.acted(&fault);
    }
    if turned != Turned::Lifted {
        asked.goes_on();
    }
    Some(turned)
}

/// How a request ends that is not forwarded.
fn refused(refusal: End) -> Verdict {
    match refusal {
        End::Reply(reply) => Verdict::Reply(reply),
        End::Close(closing) => Verdict::Close(closing),
        // No refusal reads so; what nobody answers is closed.
        End::Hang | End::Forward(_) | End::Never { .. } => Verdict::Close(Closing::Fin),
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
            Some(delay) => sleep(delay).await,
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
