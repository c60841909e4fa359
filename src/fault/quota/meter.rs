//! What is counted: use by account, and connections. No clock: every method is told the moment.

use crate::units::Micros;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// The most accounts that are kept apart; whoever comes later shares one.
pub const ACCOUNTS_MAX: usize = 100_000;

/// How what was used is given back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refill {
    /// Never.
    Total,
    /// All at once, at the end of each window; the first began when the counting did.
    Window(Duration),
    /// Evenly, this much a second: a token bucket whose depth is the limit.
    Bucket(f64),
}

/// A limit, and how it is given back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// So much may be used.
    pub most: f64,
    /// How it is given back.
    pub refill: Refill,
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Over {
    /// The limit.
    pub limit: Limit,
    /// When something is given back, from now; `None`: never.
    pub restored_in: Option<Duration>,
}

/// What was used of one quota since the counting began. It outlives the phases.
#[derive(Debug)]
pub struct Meter {
    began: Micros,
    /// What each account begins with.
    initial: f64,
    accounts: HashMap<u64, Account>,
    admitted: BTreeSet<(u64, u64)>,
    refused: BTreeSet<(u64, u64)>,
    is_warned: bool,
    /// When its connections were counted anew last.
    recounted: Option<Micros>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    used: f64,
    at: Micros,
}

impl Meter {
    /// A meter that begins now, at this use.
    pub fn new(initial: f64, now: Micros) -> Self {
        Self {
            began: now,
            initial,
            accounts: HashMap::new(),
            admitted: BTreeSet::new(),
            refused: BTreeSet::new(),
            is_warned: false,
            recounted: None,
        }
    }

    /// How much is kept apart in it: accounts and connections.
    pub fn size(&self) -> usize {
        self.accounts.len() + self.admitted.len() + self.refused.len()
    }

    /// What this account has used by now.
    pub fn used(&mut self, account: u64, limit: &Limit, now: Micros) -> f64 {
        self.account(account, limit, now).used
    }

    /// Takes this much, if there is so much left.
    ///
    /// # Errors
    /// There is not; nothing is taken.
    pub fn take(
        &mut self,
        account: u64,
        much: f64,
        limit: &Limit,
        now: Micros,
    ) -> Result<(), Over> {
        let began = self.began;
        let account = self.account(account, limit, now);
        // Sums of parts of a token never come out exactly.
        if account.used + much > limit.most + 1e-6 {
            let missing = account.used + much - limit.most;
            return Err(Over {
                limit: *limit,
                restored_in: restored_in(limit, missing, began, now),
            });
        }
        account.used += much;
        Ok(())
    }

    /// Adds what was used without having been asked for.
    pub fn add(&mut self, account: u64, much: f64, limit: &Limit, now: Micros) {
        self.account(account, limit, now).used += much;
    }

    /// Whether this is the first time that use has reached this share of the limit.
    pub fn reaches(&mut self, used: f64, share: f64, limit: &Limit) -> bool {
        let reached = limit.most > 0.0 && used + 1e-6 >= share * limit.most;
        reached && !std::mem::replace(&mut self.is_warned, true)
    }

    /// The account as it is by now, what was given back taken off.
    fn account(&mut self, name: u64, limit: &Limit, now: Micros) -> &mut Account {
        let is_known = self.accounts.contains_key(&name);
        let name = if is_known || self.accounts.len() < ACCOUNTS_MAX {
            name
        } else {
            u64::MAX
        };
        let fresh = Account {
            used: self.initial,
            at: self.began,
        };
        let began = self.began;
        let account = self.accounts.entry(name).or_insert(fresh);
        match limit.refill {
            Refill::Total => {}
            Refill::Window(length) => {
                if window(length, began, account.at) != window(length, began, now) {
                    account.used = 0.0;
                }
            }
            Refill::Bucket(rate) => {
                let back = rate * now.since(account.at).as_secs_f64();
                account.used = (account.used - back).max(0.0);
            }
        }
        account.at = account.at.max(now);
        account
    }

    /// The quota comes into force anew, on all its dependencies at this one moment: their
    /// connections are told again. Those of a dependency that it no longer covers do not count.
    pub fn recount(&mut self, at: Micros) {
        if self.recounted.replace(at) != Some(at) {
            self.admitted.clear();
            self.refused.clear();
        }
    }

    /// A connection is new, with so many open at its dependency, itself included. Says whether
    /// there is room for it.
    pub fn connect(&mut self, (dependency, connection): (u64, u64), open: u64, most: f64) -> bool {
        let of = |set: &BTreeSet<(u64, u64)>| {
            set.iter().filter(|(known, _)| *known == dependency).count() as u64
        };
        let here = open.saturating_sub(1 + of(&self.refused));
        let elsewhere = self.admitted.len() as u64 - of(&self.admitted);
        let has_room = (here + elsewhere + 1) as f64 + self.initial <= most;
        let set = if has_room {
            &mut self.admitted
        } else {
            &mut self.refused
        };
        set.insert((dependency, connection));
        has_room
    }

    /// A connection was open before the quota. Says whether there is room for it; where it stays
    /// in any case, `keep`, it counts nevertheless.
    pub fn already_open(&mut self, connection: (u64, u64), keep: bool, most: f64) -> bool {
        if self.admitted.contains(&connection) {
            return true;
        }
        let has_room = (self.admitted.len() + 1) as f64 + self.initial <= most;
        if has_room || keep {
            self.admitted.insert(connection);
        }
        has_room || keep
    }

    /// A connection is over.
    pub fn close(&mut self, connection: (u64, u64)) {
        self.admitted.remove(&connection);
        self.refused.remove(&connection);
    }

    /// How many connections count, and what counted before them.
    pub fn connections(&self) -> f64 {
        self.admitted.len() as f64 + self.initial
    }
}

/// The number of the window in which a moment lies.
fn window(length: Duration, began: Micros, at: Micros) -> u128 {
    at.since(began).as_micros() / length.as_micros().max(1)
}

fn restored_in(limit: &Limit, missing: f64, began: Micros, now: Micros) -> Option<Duration> {
    match limit.refill {
        Refill::Total => None,
        Refill::Window(length) => {
            let into = now.since(began).as_micros() % length.as_micros().max(1);
            let into = Duration::from_micros(u64::try_from(into).unwrap_or(0));
            Some(length.saturating_sub(into))
        }
        Refill::Bucket(rate) => Duration::try_from_secs_f64(missing / rate).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Limit = Limit {
        most: 3.0,
        refill: Refill::Window(Duration::from_secs(10)),
    };
    const BUCKET: Limit = Limit {
        most: 3.0,
        refill: Refill::Bucket(2.0),
    };
    const TOTAL: Limit = Limit {
        most: 3.0,
        refill: Refill::Total,
    };

    fn taken(limit: &Limit, at: &[u64]) -> Vec<bool> {
        let mut meter = Meter::new(0.0, Micros::from_secs(100));
        at.iter()
            .map(|ms| {
                let now = Micros::from_secs(100) + Duration::from_millis(*ms);
                meter.take(1, 1.0, limit, now).is_ok()
            })
            .collect()
    }

    #[test]
    fn each_law_gives_back_in_its_own_way() {
        let five = [true, true, true, false, false];
        assert_eq!(taken(&TOTAL, &[0, 1, 2, 3, 99_000]), five);
        assert_eq!(taken(&WINDOW, &[0, 1, 2, 3, 9_999]), five);
        assert_eq!(
            taken(&WINDOW, &[0, 1, 2, 9_999, 10_000]),
            [true, true, true, false, true]
        );
        // Windows are fixed: they do not begin with the first use.
        let late = [9_000, 9_001, 9_002, 10_000, 10_001, 10_002, 10_003];
        let seen = [true, true, true, true, true, true, false];
        assert_eq!(taken(&WINDOW, &late), seen);
        let at = [0, 0, 0, 400, 500, 600, 9_000, 9_000, 9_000, 9_000];
        let seen = [
            true, true, true, false, true, false, true, true, true, false,
        ];
        assert_eq!(taken(&BUCKET, &at), seen);
    }

    #[test]
    fn a_refusal_says_when_something_is_given_back() {
        for (limit, after, restored) in [
            (TOTAL, 4_000, None),
            (WINDOW, 4_000, Some(Duration::from_secs(6))),
            (BUCKET, 0, Some(Duration::from_millis(500))),
        ] {
            let mut meter = Meter::new(3.0, Micros(0));
            let over = meter.take(7, 1.0, &limit, Micros::from_millis(after));
            assert_eq!(over.unwrap_err().restored_in, restored);
        }
    }

    #[test]
    fn accounts_are_apart_until_there_are_too_many() {
        let mut meter = Meter::new(2.0, Micros(0));
        for account in 0..ACCOUNTS_MAX as u64 {
            assert!(meter.take(account, 1.0, &TOTAL, Micros(0)).is_ok());
        }
        assert!(meter.take(0, 1.0, &TOTAL, Micros(0)).is_err());
        assert!(meter.take(1 << 40, 1.0, &TOTAL, Micros(0)).is_ok());
        assert!(meter.take(1 << 41, 1.0, &TOTAL, Micros(0)).is_err());
    }

    #[test]
    fn connections_count_those_that_are_open_at_all_dependencies() {
        let mut meter = Meter::new(1.0, Micros(0));
        assert!(meter.connect((1, 1), 1, 4.0));
        assert!(meter.connect((1, 2), 2, 4.0));
        assert!(meter.connect((2, 1), 1, 4.0));
        assert!(!meter.connect((2, 2), 2, 4.0));
        meter.close((1, 2));
        // The refused one still lingers, and takes nobody's place.
        assert!(meter.connect((2, 3), 3, 4.0));
        assert!(!meter.connect((1, 3), 2, 4.0));
    }

    #[test]
    fn of_connections_that_were_open_some_stay_or_all() {
        let mut meter = Meter::new(0.0, Micros(0));
        let stay: Vec<bool> = (0..4)
            .map(|n| meter.already_open((1, n), false, 2.0))
            .collect();
        assert_eq!(stay, [true, true, false, false]);
        assert!(
            meter.already_open((1, 1), false, 2.0),
            "asked again it still stays"
        );
        let mut meter = Meter::new(0.0, Micros(0));
        assert!((0..4).all(|n| meter.already_open((1, n), true, 2.0)));
        assert!(!meter.connect((1, 9), 5, 2.0));
    }

    proptest! {
        /// In no window of any length is more taken than the limit and what came back meanwhile.
        #[test]
        fn no_more_is_taken_than_there_is(
            apart in prop::collection::vec((0u64..2_000_000, 1u32..4), 1..200),
            which in 0usize..3,
        ) {
            let limit = [WINDOW, BUCKET, TOTAL][which];
            let mut meter = Meter::new(0.0, Micros(0));
            let (mut now, mut taken) = (Micros(0), Vec::new());
            for (apart, much) in apart {
                now = Micros(now.0 + apart);
                if meter.take(1, f64::from(much), &limit, now).is_ok() {
                    taken.push((now, f64::from(much)));
                }
                prop_assert!(meter.used(1, &limit, now) <= limit.most + 1e-6);
            }
            for (n, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0.0;
                for (to, much) in &taken[n..] {
                    sum += much;
                    let time = to.since(*from);
                    let back = match limit.refill {
                        Refill::Total => 0.0,
                        Refill::Bucket(rate) => rate * time.as_secs_f64(),
                        Refill::Window(length) => {
                            let windows = window(length, Micros(0), *to) - window(length, Micros(0), *from);
                            limit.most * windows as f64
                        }
                    };
                    prop_assert!(sum <= limit.most + back + 1e-3, "{sum} in {time:?}");
                }
            }
        }
    }
}
