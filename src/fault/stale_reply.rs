//! `stale-reply`: a read is answered with what it got before, as from a cache or replica that
//! lags. Writes pass.

use super::{Acts, Behaviour, Context, Decision, End, FaultDef, Group, Then, keys};
use crate::input::About;
use crate::protocol::{Call, Protocol};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "stale-reply",
    group: Group::Message,
    summary: "reads get the answer that they got before",
    about: About {
        text: "\
            A read is answered with what it got before, as from a cache or a replica that lags. \
            Writes pass. With `by = \"key\"` it is always the same keys that are stale, which is \
            how it happens.",
        evidence: "\
            Each read that was answered from before is an act; the first read of a key passes, \
            as there is nothing old to give.",
        doubt: "",
        mistakes: &["What was never read in an earlier phase cannot be stale."],
        related: &["converged", "lost-reply"],
    },
    example: "[[phase.fault]]\nkind  = \"stale-reply\"\non    = \"object-store\"\nshare = \"33%\"\nby    = \"key\"\n",
    example_protocol: Protocol::S3,
    keys: &[],
    refuses: &[],
    ramps: &[],
    carried_by: keys::bodies,
    parse: |_, _, _, _| Some(Box::new(StaleReply)),
};

#[derive(Debug)]
struct StaleReply;

impl Behaviour for StaleReply {
    fn request(&self, call: &Call, _: &Context) -> Option<Decision> {
        let reads = matches!(&*call.method, "GET" | "HEAD");
        reads.then(|| Decision::end(End::Forward(Then::Stale)))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, units::Micros};
    use Protocol::{S3, Tcp};

    #[test]
    fn reads_are_answered_from_memory_and_writes_pass_uncounted() {
        let set = sample::set("kind = 'stale-reply'\non = 'x'\nfirst = 1", S3);
        let put = sample::call(S3, "PUT", "/a/b");
        assert!(set.request(&put, Micros(0)).is_pass());
        let get = sample::call(S3, "GET", "/a/b");
        let stale = Some(End::Forward(Then::Stale));
        assert_eq!(set.request(&get, Micros(0)).end, stale);
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn by_key_the_same_keys_are_stale_every_time() {
        let set = sample::set(DEF.example, S3);
        let stale = |key: usize, times: usize| -> Vec<bool> {
            let calls = sample::calls(S3, "GET", &format!("/a/{key}"), times);
            let decisions = calls.iter().map(|call| set.request(call, Micros(0)));
            decisions.map(|decision| !decision.is_pass()).collect()
        };
        let keys: Vec<Vec<bool>> = (0..300).map(|key| stale(key, 3)).collect();
        assert!(
            keys.iter()
                .all(|seen| seen.iter().all(|one| *one == seen[0]))
        );
        let share = keys.iter().filter(|seen| seen[0]).count();
        assert!((70..130).contains(&share), "{share}");
    }

    #[test]
    fn tcp_has_no_reads() {
        assert!(sample::read("kind = 'stale-reply'\non = 'x'", Tcp).is_err());
    }
}
