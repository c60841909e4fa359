//! What shows that a closed listener hit anybody: nobody in user space sees a SYN that the kernel
//! drops or refuses, so that it must be looked for elsewhere.
//!
//! - Unanswered connects: `/proc/net/tcp` and `tcp6` list sockets in SYN_SENT towards our port.
//!   Each distinct local port is one connect. Clients on other machines, in other network
//!   namespaces, and those that give up within a tick are not seen: the count is "at least".
//! - Refused connects: how many connects failed in this network namespace, from
//!   `/proc/net/snmp`, less those that were ours. Connects to other closed ports count too: "at
//!   most". On a machine that refuses nobody else the two are the same. While a run refuses connects
//!   at more than one listener, nobody knows which of them was asked, and none counts a hit.
//!
//! Elsewhere than on Linux nothing is seen, and such faults count no hits.

use super::connection::Shared;
use crate::{
    dial,
    fault::{FaultId, FaultSet, ListenerState},
    history::{Intervention, Observation},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// The listeners that each run has closed so that connects are refused.
static REFUSING: Mutex<BTreeMap<u64, Closed>> = Mutex::new(BTreeMap::new());

/// How long our own check of a closed listener may take.
const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// The most that one look adds for refused connects: a bound on what others' failures can do.
const REFUSED_PER_LOOK_MAX: u64 = 10_000;

/// Looks for hits of one listener.
#[derive(Debug)]
pub(super) struct Evidence {
    address: SocketAddr,
    shared: Arc<Shared>,
    watched: Option<Watched>,
}

/// A state in force.
#[derive(Debug)]
struct Watched {
    fault: FaultId,
    set: Arc<FaultSet>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Client sockets already counted, as long as they are in SYN_SENT.
    Unanswered(BTreeSet<String>),
    /// The namespace's count of failed connects less our own, when it was last looked at.
    Refused(u64, Refusing),
}

/// The listeners of one run that refuse connects.
#[derive(Debug, Default)]
struct Closed {
    count: usize,
    /// How often one came to others, or left others behind.
    changes: u64,
}

/// While it lives, one more listener of its run refuses connects.
#[derive(Debug)]
struct Refusing {
    run: u64,
    changes: u64,
}

impl Refusing {
    fn new(run: u64) -> Self {
        let mut refusing = REFUSING.lock();
        let closed = refusing.entry(run).or_default();
        closed.changes += u64::from(closed.count > 0);
        closed.count += 1;
        // What was refused before is not asked about.
        let changes = closed.changes;
        Self { run, changes }
    }

    /// How many listeners of its run refused connects since this was last asked, at least.
    fn count(&mut self) -> usize {
        let mut refusing = REFUSING.lock();
        let closed = refusing.entry(self.run).or_default();
        let has_changed = std::mem::replace(&mut self.changes, closed.changes) != closed.changes;
        closed.count + usize::from(has_changed && closed.count == 1)
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        let mut refusing = REFUSING.lock();
        if let Some(closed) = refusing.get_mut(&self.run) {
            closed.count -= 1;
            closed.changes += 1;
            if closed.count == 0 {
                refusing.remove(&self.run);
            }
        }
    }
}

impl Evidence {
    pub(super) fn new(address: SocketAddr, shared: Arc<Shared>) -> Self {
        Self {
            address,
            shared,
            watched: None,
        }
    }

    /// This state is in force now, for this fault. A listener that was just closed is checked.
    pub(super) async fn watch(
        &mut self,
        state: ListenerState,
        fault: Option<FaultId>,
        set: &Arc<FaultSet>,
    ) {
        let before = self.watched.take().map(|watched| watched.kind);
        let Some(fault) = fault else { return };
        let (kind, is_new) = match (state, before) {
            (ListenerState::Open, _) => return,
            (ListenerState::NoAccept(_), Some(kind @ Kind::Unanswered(_)))
            | (ListenerState::Refuse, Some(kind @ Kind::Refused(..))) => (kind, false),
            (ListenerState::NoAccept(_), _) => (Kind::Unanswered(BTreeSet::new()), true),
            (ListenerState::Refuse, _) => {
                // What is not known yet to have been ours was before this.
                let own = dial::failed_at_least();
                let failed = failed_connects().saturating_sub(own);
                let refusing = Refusing::new(self.shared.recorder.number());
                (Kind::Refused(failed, refusing), true)
            }
        };
        self.watched = Some(Watched {
            fault,
            set: Arc::clone(set),
            kind,
        });
        if is_new && state == ListenerState::Refuse {
            self.record(0, check(self.address).await.to_owned());
        }
    }

    /// Looks, and records and counts what is new.
    pub(super) async fn gather(&mut self) {
        let port = self.address.port();
        let Some(watched) = &mut self.watched else {
            return;
        };
        let (new, what) = match &mut watched.kind {
            Kind::Unanswered(seen) => {
                let waiting = blocking(move || connecting_to(port)).await;
                let new = waiting.difference(seen).count() as u64;
                *seen = waiting;
                (new, format!("{new} connects unanswered"))
            }
            Kind::Refused(last, refusing) => {
                let failed = blocking(failed_connects).await;
                // One of ours that has just failed may not be known to have.
                let failed = failed.saturating_sub(dial::failed_at_most());
                let new = failed.saturating_sub(*last).min(REFUSED_PER_LOOK_MAX);
                *last = failed.max(*last);
                match refusing.count() {
                    0 | 1 => (new, format!("at most {new} connects refused")),
                    _ if new == 0 => return,
                    count => {
                        let what = format!(
                            "at most {new} connects refused, by which of {count} closed listeners \
                             is not known"
                        );
                        return self.record(0, what);
                    }
                }
            }
        };
        if new > 0 {
            watched.set.count(watched.fault, new);
            self.record(new, what);
        }
    }

    fn record(&self, count: u64, what: String) {
        let Some(watched) = &self.watched else { return };
        let intervention = Intervention {
            at: self.shared.now(),
            fault: watched.fault,
            count,
            what,
        };
        self.shared
            .recorder
            .record(Observation::Acted(intervention));
    }
}

async fn blocking<T: Send + Default + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // Fails only while the runtime shuts down.
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

/// Connects to a listener that was closed, and says what came of it.
async fn check(mut address: SocketAddr) -> &'static str {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let connecting = tokio::time::timeout(CHECK_LIMIT, dial::connect_to(address));
    match connecting.await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "listener closed; a connect of our own was refused"
        }
        _ => "listener closed, yet a connect of our own was not refused",
    }
}

/// The local ends of sockets in SYN_SENT towards this port.
fn connecting_to(port: u16) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(text) = std::fs::read_to_string(table) {
            found.extend(in_syn_sent(&text, port).map(str::to_owned));
        }
    }
    found
}

/// The local ends in a kernel table that are in SYN_SENT towards this port. The columns are: slot,
/// local address:port, remote address:port, state, each in hexadecimal.
fn in_syn_sent(table: &str, port: u16) -> impl Iterator<Item = &str> {
    const SYN_SENT: &str = "02";
    let remote = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, to, state) = (columns.next()?, columns.next()?, columns.next()?);
        (state == SYN_SENT && to.ends_with(&remote)).then_some(local)
    })
}

/// Connects that failed in this network namespace.
fn failed_connects() -> u64 {
    std::fs::read_to_string("/proc/net/snmp")
        .ok()
        .and_then(|text| attempt_fails(&text))
        .unwrap_or_default()
}

/// `AttemptFails` of the kernel's table, whose names and values stand in two lines.
fn attempt_fails(table: &str) -> Option<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with("Tcp:"));
    let names = lines.next()?.split_ascii_whitespace();
    let values = lines.next()?.split_ascii_whitespace();
    names
        .zip(values)
        .find(|(name, _)| *name == "AttemptFails")
        .and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connects_to_the_port_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             \u{20}  0: 0100007F:9C40 0100007F:1F90 02 00000001:00000000\n\
             \u{20}  1: 0100007F:9C42 0100007F:1F91 02 00000001:00000000\n\
             \u{20}  2: 0100007F:9C44 0100007F:1F90 01 00000001:00000000\n";
        let found: Vec<&str> = in_syn_sent(table, 0x1f90).collect();
        assert_eq!(found, ["0100007F:9C40"]);
    }

    #[test]
    fn a_listener_that_was_closed_for_a_while_was_closed_beside_the_others() {
        const RUN: u64 = u64::MAX;
        let mut first = Refusing::new(RUN);
        assert_eq!(first.count(), 1);
        let mut second = Refusing::new(RUN);
        assert_eq!((first.count(), second.count()), (2, 2));
        drop(second);
        assert_eq!(first.count(), 2, "since it was last asked");
        assert_eq!(first.count(), 1);
        drop(Refusing::new(RUN));
        assert_eq!(first.count(), 2);
        assert_eq!(Refusing::new(RUN - 1).count(), 1, "another run's");
        drop(first);
        assert!(!REFUSING.lock().contains_key(&RUN));
    }

    #[test]
    fn failed_connects_are_found_by_the_columns_name() {
        let table = "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
             Tcp: RtoAlgorithm AttemptFails EstabResets\nTcp: 1 42 7\n";
        assert_eq!(attempt_fails(table), Some(42));
        assert_eq!(attempt_fails("Tcp: A B\n"), None);
    }
}
