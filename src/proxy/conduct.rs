//! Puts in force on one connection what the faults decide about it, from its acceptance to its
//! close, and again whenever the set changes. Decides nothing itself.

use super::{
    connection::{Life, Shared},
    wire::{Ending, Hold, Wire},
};
use crate::{
    fault::{Closing, ConnectionEvent, Decision, End, FaultId, FaultSet, Reply, StreamPlan, Then},
    protocol::postgres::Moment,
    timer,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

/// How often a parameter that moves is asked for anew.
const RENEWAL: Duration = Duration::from_millis(100);

/// How a connection is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// RST, for a fault or because the dependency broke off.
    Reset,
    /// FIN, for a fault.
    Fin,
    /// FIN, as the engine is done.
    Done,
    /// The client is gone already.
    ClientGone,
    /// At once, as the proxy stops.
    Drop,
}

impl Farewell {
    /// In words, where nobody else has said it.
    pub(super) fn how(self) -> &'static str {
        match self {
            Self::Reset => "reset by fault",
            Self::Fin => "closed by fault",
            Self::Done | Self::ClientGone => "client closed",
            Self::Drop => "proxy stopped",
        }
    }
}

/// Conducts one connection.
pub(super) struct Conductor<'a> {
    wire: &'a Wire,
    connection: u64,
    life: &'a Life,
    shared: &'a Shared,
    start: Notify,
    /// The effects on its bytes, as they were last.
    plan: Mutex<StreamPlan>,
}

impl<'a> Conductor<'a> {
    pub(super) fn new(wire: &'a Wire, connection: u64, life: &'a Life, shared: &'a Shared) -> Self {
        Self {
            wire,
            connection,
            life,
            shared,
            start: Notify::new(),
            plan: Mutex::default(),
        }
    }

    /// Waits until the engine may begin: a connection that hangs from the start never reaches the
    /// dependency.
    pub(super) async fn started(&self) {
        self.start.notified().await;
    }

    /// Conducts until the connection is to be closed.
    pub(super) async fn conduct(&self) -> Farewell {
        let mut faults = self.shared.switch.subscribe();
        let mut already_open = false;
        let ending = 'sets: loop {
            let set = Arc::clone(&faults.borrow_and_update());
            let event = self.event(already_open);
            already_open = true;
            let mut now = self.shared.now();
            // Nobody queues whole connections.
            let mut decision = set.connection(&event, now);
            *self.plan.lock() = set.streams(&event, now);
            loop {
                let acted = decision.acted.clone();
                let drawn = set.drawn(&event, &decision, now);
                tokio::select! {
                    biased;
                    Ok(()) = faults.changed() => continue 'sets,
                    ending = self.under(&set, &event, decision.clone()) => break 'sets ending,
                    () = self.redrawn(&set, &event, &decision, &drawn) => {}
                }
                now = self.shared.now();
                decision = set.connection_again(&event, &acted, now);
                let plan = set.renew_streams(&self.plan.lock(), &event, now);
                *self.plan.lock() = plan;
            }
        };
        let farewell = match ending {
            Ending::Done => Farewell::Done,
            Ending::ClientGone => Farewell::ClientGone,
            Ending::Close(closing) => self.leave(closing).await,
        };
        self.life.left(farewell);
        farewell
    }

    fn event(&self, already_open: bool) -> ConnectionEvent {
        ConnectionEvent {
            connection: self.connection,
            open: self.shared.open(),
            already_open,
        }
    }

    /// Comes back when a share that moves has reached the connection, or left it, of a fault that
    /// has, or would have, a say in what was decided.
    async fn redrawn(
        &self,
        set: &FaultSet,
        event: &ConnectionEvent,
        decision: &Decision,
        drawn: &[FaultId],
    ) {
        if !set.redraws_connections() {
            return std::future::pending().await;
        }
        loop {
            timer::sleep(RENEWAL).await;
            if set.drawn(event, decision, self.shared.now()) != drawn {
                return;
            }
        }
    }

    /// What happens under one set, until the connection is to be closed.
    async fn under(&self, set: &FaultSet, event: &ConnectionEvent, decision: Decision) -> Ending {
        let Decision {
            delay, end, acted, ..
        } = decision;
        let plan = self.plan.lock().clone();
        self.life.acted(&acted);
        if !delay.is_zero() {
            self.wire.set(&plan, Hold::Both);
            if let Some(ending) = self.drive_for(delay).await {
                return ending;
            }
        }
        match end {
            None => self.pass(set, event, plan, Hold::Free).await,
            Some(End::Hang) => self.pass_held(plan, acted).await,
            Some(End::Close(closing)) => self.close(closing, acted, set, event, plan).await,
            Some(End::Reply(reply)) => self.reply(reply, acted, set, event, plan).await,
            Some(End::Forward(then)) => self.then(then, acted, set, event, plan).await,
            // Only requests are decided about so.
            Some(End::Never { .. }) => self.pass(set, event, plan, Hold::Free).await,
        }
    }

    /// Reads and never answers. An engine that sees requests reads them, so that they are
    /// observed, and holds them; it needs telling, as their answers alone are held on the wire.
    async fn pass_held(&self, plan: StreamPlan, faults: Vec<FaultId>) -> Ending {
        if !self.shared.config.protocol.has_messages() {
            self.wire.set(&plan, Hold::Both);
            return self.wire.drive().await;
        }
        let _held = self.life.hold_requests(faults);
        self.wire.set(&plan, Hold::Down);
        self.start.notify_one();
        self.wire.drive().await
    }

    /// Carries bytes under these effects, which move if the set says so.
    async fn pass(
        &self,
        set: &FaultSet,
        event: &ConnectionEvent,
        mut plan: StreamPlan,
        hold: Hold,
    ) -> Ending {
        self.wire.set(&plan, hold);
        self.start.notify_one();
        if !set.moves() {
            return self.wire.drive().await;
        }
        loop {
            if let Some(ending) = self.drive_for(RENEWAL).await {
                return ending;
            }
            plan = set.renew_streams(&plan, event, self.shared.now());
            self.plan.lock().clone_from(&plan);
            self.wire.set(&plan, hold);
        }
    }

    /// Drives the wire for a time; `Some` if it ended meanwhile.
    async fn drive_for(&self, time: Duration) -> Option<Ending> {
        tokio::select! {
            biased;
            ending = self.wire.drive() => Some(ending),
            () = timer::sleep(time) => None,
        }
    }

    async fn close(
        &self,
        closing: Closing,
        acted: Vec<FaultId>,
        set: &FaultSet,
        event: &ConnectionEvent,
        plan: StreamPlan,
    ) -> Ending {
        let (hold, after) = match closing {
            Closing::Reset | Closing::Fin => return Ending::Close(closing),
            Closing::HalfClose => {
                self.life.ended_by(&acted);
                self.wire.half_close();
                return self.pass(set, event, plan, Hold::Free).await;
            }
            Closing::ResetAfter(after) => (Hold::Free, after),
            Closing::SlowClose(after) => (Hold::Down, after),
        };
        let end = Instant::now() + after;
        tokio::select! {
            biased;
            ending = self.pass(set, event, plan, hold) => ending,
            () = timer::sleep_until(end) => Ending::Close(match closing {
                Closing::ResetAfter(_) => Closing::Reset,
                _ => Closing::Fin,
            }),
        }
    }

    /// An answer to a connection as a whole: bytes that are none, or none at all. An answer of the
    /// protocol is given by the engine, which knows when the client can read it; so is what ends a
    /// session.
    async fn reply(
        &self,
        reply: Reply,
        acted: Vec<FaultId>,
        set: &FaultSet,
        event: &ConnectionEvent,
        plan: StreamPlan,
    ) -> Ending {
        let bytes = match reply {
            // Said unasked, at a message's end and under TLS.
            Reply::Postgres(ref error) if error.moment == Moment::Session => {
                self.life.dismiss(reply, &acted);
                return self.pass(set, event, plan, Hold::Free).await;
            }
            Reply::Garbage(bytes) => bytes,
            Reply::Empty | Reply::Nothing => Bytes::new(),
            of_the_protocol => {
                let _refused = self.life.refuse_requests(of_the_protocol, acted);
                return self.pass(set, event, plan, Hold::Free).await;
            }
        };
        self.life.ended_by(&acted);
        self.wire.send_and_close(bytes);
        self.wire.set(&StreamPlan::default(), Hold::Free);
        self.wire.drive().await
    }

    /// What is to happen to the answer of a connection as a whole.
    async fn then(
        &self,
        then: Then,
        acted: Vec<FaultId>,
        set: &FaultSet,
        event: &ConnectionEvent,
        plan: StreamPlan,
    ) -> Ending {
        match then {
            Then::Lose => self.pass(set, event, plan, Hold::Down).await,
            Then::Close(closing) => self.close(closing, acted, set, event, plan).await,
            Then::Reply(reply) => self.reply(reply, acted, set, event, plan).await,
            Then::Late(_)
            | Then::Repeat { .. }
            | Then::StallBody { .. }
            | Then::TruncateBody { .. }
            | Then::EmptyBody
            | Then::Stale => self.pass(set, event, plan, Hold::Free).await,
        }
    }

    /// The last step of a closing that the bytes themselves led to.
    async fn leave(&self, closing: Closing) -> Farewell {
        match closing {
            Closing::Reset => Farewell::Reset,
            Closing::Fin | Closing::HalfClose => Farewell::Fin,
            Closing::ResetAfter(after) => {
                timer::sleep(after).await;
                Farewell::Reset
            }
            Closing::SlowClose(after) => {
                timer::sleep(after).await;
                Farewell::Fin
            }
        }
    }
}
