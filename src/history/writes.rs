//! What reached the store: every write of a run by what its caller was told and by what was done.
//!
//! Three witnesses, each with an account of its own. A *ledger* knows of each id whether it was
//! acknowledged and whether it is there. A *load* that reads back what it wrote knows the same of
//! each operation. Of a *dependency* the proxy knows what it sent on and what was answered, for each
//! write of the system: the attempts of a call are one write where the client's id, or the values
//! captured of them, say so; elsewhere every request is one.
//!
//! | told | done | the write is |
//! |---|---|---|
//! | acknowledged | present | [`WriteFate::Kept`] |
//! | acknowledged | absent | [`WriteFate::Lost`] |
//! | not acknowledged | present | [`WriteFate::Recovered`] |
//! | not acknowledged | absent | [`WriteFate::Absent`] |
//! | either | more often than asked for | [`WriteFate::Doubled`] |
//! | either | not known | [`WriteFate::Indeterminate`] |
//!
//! Acknowledged is within a transaction what its end was acknowledged: what a `COMMIT` did whose
//! answer never came is present, and its caller cannot know. What then does the same is another
//! attempt at the same write.
//!
//! Present means, on the wire, carried out: what is deleted later was there. A statement of a
//! database, or a command of Redis, that was acknowledged and not carried out was rolled back: it is
//! absent, and nothing was lost. *More often than asked
//! for* is said on the wire only of operations that add ([`crate::protocol::Protocol::adds`]), and
//! of those that name no key of their own by which a server of HTTP may know a repetition again.
//!
//! Each write belongs to one fault window: of the fault that acted on it, else of one that was in
//! force while it was in flight, the first to come into force; or to none.

use super::{
    Account, Attempt, Entry, Fate, LogicalCall, Operation, Outcome, View,
    call::{GAP_MAX, Likeness, likeness},
};
use crate::{
    protocol::{Applied, Protocol},
    scenario::{Dependency, Load},
    units::Micros,
};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// The most examples of one fate in one window.
pub const EXAMPLES_MAX: usize = 3;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteFate {
    /// Acknowledged and present.
    Kept,
    /// Acknowledged and not there.
    Lost,
    /// Not acknowledged, and present.
    Recovered,
    /// Not acknowledged, and not there.
    Absent,
    /// There more often than it was asked for.
    Doubled,
    /// Nobody knows.
    Indeterminate,
}

impl WriteFate {
    /// All of them, in the order shown.
    pub const ALL: [Self; 6] = [
        Self::Kept,
        Self::Lost,
        Self::Recovered,
        Self::Absent,
        Self::Doubled,
        Self::Indeterminate,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kept => "acknowledged, present",
            Self::Lost => "acknowledged, lost",
            Self::Recovered => "unacknowledged, present",
            Self::Absent => "unacknowledged, absent",
            Self::Doubled => "doubled",
            Self::Indeterminate => "indeterminate",
        }
    }
}

/// Who knows of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// A ledger.
    Ledger,
    /// A load that reads back what it wrote.
    ReadBack,
    /// The proxy in front of a dependency.
    Wire,
}

/// One write, for evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteExample {
    /// The id, or what was asked of what.
    pub what: String,
    /// What became of it.
    pub fate: WriteFate,
    /// When it was first asked for.
    pub at: Micros,
}

/// The writes of one fault window, or of none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteWindow {
    /// The window, as a place in the history's faults; `None`: in flight while none was in force.
    pub fault: Option<usize>,
    /// How many met each fate, in the order of [`WriteFate::ALL`].
    pub counts: [u64; 6],
    /// When each was first asked for, and what became of it.
    pub moments: Vec<(Micros, WriteFate)>,
    /// The first few of each fate but the first.
    pub examples: Vec<WriteExample>,
}

impl WriteWindow {
    fn add(&mut self, example: WriteExample) {
        self.counts[example.fate as usize] += 1;
        self.moments.push((example.at, example.fate));
        let known = self.examples.iter();
        let same = known.filter(|one| one.fate == example.fate).count();
        if example.fate != WriteFate::Kept && same < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    /// How many met this fate.
    pub fn count(&self, fate: WriteFate) -> u64 {
        self.counts[fate as usize]
    }

    /// How many writes there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The writes that one witness knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteAccount {
    /// The witness.
    pub witness: Witness,
    /// The name of the ledger, load or dependency.
    pub name: String,
    /// Windows with a write in them, by when the fault came into force; last those in none.
    pub windows: Vec<WriteWindow>,
}

impl WriteAccount {
    /// How many writes met this fate in all.
    pub fn count(&self, fate: WriteFate) -> u64 {
        self.windows.iter().map(|one| one.count(fate)).sum()
    }
}

/// A write on its way into an account.
struct Seen {
    example: WriteExample,
    until: Micros,
    /// The faults that acted on it.
    acted: Vec<crate::fault::FaultId>,
}

impl<'a> View<'a> {
    /// The accounts of all witnesses that saw a write while a fault was in force: ledgers first, then
    /// loads that read back and have no ledger, then dependencies.
    pub fn writes(&self) -> Vec<WriteAccount> {
        let ledgers = self.system.ledgers.iter().map(|ledger| {
            let account = Account::of(self, ledger);
            let seen = account
                .entries
                .iter()
                .filter_map(|one| entry(&account, one));
            self.account_of(Witness::Ledger, &ledger.name, seen.collect())
        });
        let has_ledger = |load: &Load| self.system.ledgers.iter().any(|one| one.load == load.name);
        let loads = self.system.loads.iter();
        let loads = loads.filter(|load| load.follow.is_some() && !has_ledger(load));
        let loads = loads.map(|load| {
            let operations = self.history.operations_of(&load.name).iter();
            let seen = operations.map(read_back).collect();
            self.account_of(Witness::ReadBack, &load.name, seen)
        });
        let dependencies = self.system.dependencies.iter();
        let dependencies = dependencies.map(|dependency| {
            let seen = self.on_the_wire(dependency);
            self.account_of(Witness::Wire, &dependency.name, seen)
        });
        let all = ledgers.chain(loads).chain(dependencies);
        all.filter(|one| one.windows.iter().any(|window| window.fault.is_some()))
            .collect()
    }

    fn account_of(&self, witness: Witness, name: &str, mut seen: Vec<Seen>) -> WriteAccount {
        seen.sort_by_key(|one| one.example.at);
        let mut windows: BTreeMap<usize, WriteWindow> = BTreeMap::new();
        for write in seen {
            let fault = self.window_of(&write);
            let window = windows.entry(fault.unwrap_or(usize::MAX)).or_default();
            window.fault = fault;
            window.add(write.example);
        }
        let mut windows: Vec<WriteWindow> = windows.into_values().collect();
        let spans = &self.history.faults;
        windows.sort_by_key(|one| one.fault.map_or(Micros(u64::MAX), |at| spans[at].armed));
        WriteAccount {
            witness,
            name: name.to_owned(),
            windows,
        }
    }

    fn window_of(&self, write: &Seen) -> Option<usize> {
        let (from, until) = (write.example.at, write.until);
        let spans = self.history.faults.iter().enumerate();
        let mut in_force: Vec<_> = spans
            .filter(|(_, span)| span.armed <= until && from < span.lifted)
            .collect();
        in_force.sort_by_key(|(_, span)| (!write.acted.contains(&span.fault), span.armed));
        in_force.first().map(|(at, _)| *at)
    }

    fn on_the_wire(&self, dependency: &Dependency) -> Vec<Seen> {
        let protocol = dependency.protocol;
        let attempts = self.history.attempts_of(&dependency.name);
        let mut seen = Vec::new();
        let mut tied: Vec<(&LogicalCall, Vec<&Attempt>)> = Vec::new();
        // Of each likeness those of whose end nobody told, by when that was known.
        let mut untold: HashMap<Likeness<'_>, VecDeque<(Micros, usize)>> = HashMap::new();
        for call in self.history.calls_of(&dependency.name) {
            let own = call.attempts.iter().map(|index| &attempts[*index as usize]);
            let own: Vec<&Attempt> = own.filter(|one| protocol.writes(&one.operation)).collect();
            let is_one = own
                .iter()
                .any(|one| call.by_sdk_id || !one.captured.is_empty());
            let (Some(first), Some(last), true) = (own.first(), own.last(), is_one) else {
                seen.extend(own.iter().filter_map(|one| write(protocol, call, &[one])));
                continue;
            };
            let (began, alike, is_untold) = (first.began, likeness(first), last.untold.is_some());
            // What comes after a transaction whose end nobody told of is another try at it.
            let open = untold.entry(alike).or_default();
            while open
                .front()
                .is_some_and(|(until, _)| *until + GAP_MAX < began)
            {
                open.pop_front();
            }
            let place = open.iter().position(|(until, at)| {
                let is_after = *until <= began && began <= *until + GAP_MAX;
                is_after && !tied[*at].1.iter().any(|one| of_one_end(one, first))
            });
            let before = place.and_then(|place| open.remove(place));
            let at = match before {
                Some((_, at)) => {
                    tied[at].1.extend(own);
                    at
                }
                None => {
                    tied.push((call, own));
                    tied.len() - 1
                }
            };
            if is_untold {
                open.push_back((waited_until(&tied[at].1), at));
            }
        }
        let tied = tied.iter();
        seen.extend(tied.filter_map(|(call, own)| write(protocol, call, own)));
        seen
    }
}

/// When the caller of these had been told of all of them, or no longer could be.
fn waited_until(attempts: &[&Attempt]) -> Micros {
    let waited = attempts.iter().map(|one| one.waited_for_until());
    waited.max().unwrap_or_default()
}

/// Whether two statements are of one transaction of whose end nobody was told: asked for twice, and
/// neither is another try at the other.
fn of_one_end(one: &Attempt, other: &Attempt) -> bool {
    one.connection == other.connection && one.untold.is_some() && one.untold == other.untold
}

/// What a ledger says of an id; nothing of one that nobody asked for.
fn entry(account: &Account<'_>, entry: &Entry<'_>) -> Option<Seen> {
    let operation = entry.operation()?;
    let is_settled = account.unsettled.is_empty() && entry.open() == 0;
    let most = entry.delivered.len() + entry.maybe;
    let may_be_doubled = entry.maybe > 0 && most > entry.unrefused.max(1);
    let fate = match entry.fate {
        _ if entry.extra > 0 => WriteFate::Doubled,
        Fate::Delivered | Fate::Recovered if may_be_doubled => WriteFate::Indeterminate,
        Fate::Delivered => WriteFate::Kept,
        Fate::Lost | Fate::Dropped => WriteFate::Lost,
        Fate::Recovered | Fate::Contradicted => WriteFate::Recovered,
        Fate::Indeterminate | Fate::Refused if is_settled => WriteFate::Absent,
        _ => WriteFate::Indeterminate,
    };
    Some(Seen {
        example: WriteExample {
            what: entry.id.chars().take(100).collect(),
            fate,
            at: operation.began,
        },
        until: operation.first_answer(),
        acted: Vec::new(),
    })
}

/// What a load says of an operation that it read back.
fn read_back(operation: &Operation) -> Seen {
    // An answer to the last look that shows something else; any other says nothing.
    let shows_another = matches!(operation.status, Some(200..300 | 404 | 410));
    let fate = match operation.outcome {
        Outcome::Ok | Outcome::Degraded => WriteFate::Kept,
        Outcome::Failed if operation.accepted.is_some() && shows_another => WriteFate::Lost,
        _ => WriteFate::Indeterminate,
    };
    let mut what = format!("#{} {}", operation.nth, operation.request);
    for value in operation.captured.values().take(1) {
        what = format!("{value} ({what})");
    }
    Seen {
        example: WriteExample {
            what: what.chars().take(100).collect(),
            fate,
            at: operation.began,
        },
        until: operation.ended,
        acted: Vec::new(),
    }
}

/// What the wire says of one write of the system's.
fn write(protocol: Protocol, call: &LogicalCall, attempts: &[&Attempt]) -> Option<Seen> {
    let first = attempts.first()?;
    let last = attempts.iter().map(|one| one.waited_for_until()).max()?;
    let done = |one: &&&Attempt| one.applied == Applied::Yes && one.rows != Some(0);
    let times: u64 = attempts
        .iter()
        .filter(done)
        .map(|one| 1 + u64::from(one.repeated))
        .sum();
    let maybe = |one: &&Attempt| {
        u64::from(one.applied == Applied::Unknown) + u64::from(one.repeated_unknown)
    };
    let maybe: u64 = attempts.iter().map(maybe).sum();
    let is_carried_out = attempts.iter().any(|one| one.applied == Applied::Yes);
    let is_unknown = attempts.iter().any(|one| one.applied == Applied::Unknown);
    let is_told = attempts.iter().any(|one| one.acknowledged());
    let may_be_known_again = protocol == Protocol::Http && call.by_sdk_id;
    // What they acknowledged and did not carry out, the client took back.
    let has_rollback = matches!(
        protocol,
        Protocol::Mysql | Protocol::Postgres | Protocol::Redis
    );
    let may_double = protocol.adds(&first.operation) && !may_be_known_again;
    let fate = if may_double && times > 1 {
        WriteFate::Doubled
    } else if may_double && times + maybe > 1 {
        WriteFate::Indeterminate
    } else {
        match (is_told, is_carried_out) {
            (true, true) => WriteFate::Kept,
            (false, true) => WriteFate::Recovered,
            _ if is_unknown => WriteFate::Indeterminate,
            (true, false) if has_rollback => WriteFate::Absent,
            (true, false) => WriteFate::Lost,
            (false, false) => WriteFate::Absent,
        }
    };
    let mut what = format!("{} {}", first.operation, first.key);
    for (name, value) in first.captured.iter().take(1) {
        what.push_str(&format!(" {name}={value}"));
    }
    let mut acted = Vec::new();
    for fault in attempts.iter().flat_map(|one| &one.faults) {
        if !acted.contains(fault) {
            acted.push(*fault);
        }
    }
    Some(Seen {
        example: WriteExample {
            what: what.chars().take(100).collect(),
            fate,
            at: first.began,
        },
        until: last,
        acted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::{self, AttemptBuilder, Story, attempt};
    use WriteFate::{Absent, Doubled, Indeterminate, Kept, Lost, Recovered};

    fn accounts(story: &Story) -> Vec<WriteAccount> {
        let (history, scenario) = (story.history(), sample::scenario());
        View::new(&history, &scenario, &sample::system()).writes()
    }

    fn wire(story: &Story, name: &str) -> WriteAccount {
        let mut all = accounts(story).into_iter();
        let found = all.find(|one| one.witness == Witness::Wire && one.name == name);
        found.expect("the dependency has an account")
    }

    /// The fate of one write at a dependency in the outage.
    fn fate(attempts: impl IntoIterator<Item = AttemptBuilder>) -> Vec<WriteFate> {
        let story = Story::new().healthy(0..60).attempts(attempts);
        let account = wire(&story, "pager");
        let all = WriteFate::ALL.into_iter();
        all.filter(|fate| account.count(*fate) > 0).collect()
    }

    fn post(began: u64) -> AttemptBuilder {
        let post = attempt("pager", began, began + 100).operation("POST");
        post.key("/charges").captured("order", "7")
    }

    fn lost(began: u64) -> AttemptBuilder {
        post(began).gave_up().applied(Applied::Yes)
    }

    #[test]
    fn what_was_told_and_what_was_done_make_the_fate() {
        let absent = || post(25_000).gave_up().applied(Applied::No);
        let unknown = || post(25_000).gave_up().applied(Applied::Unknown);
        for (attempts, expected) in [
            (vec![post(25_000)], Kept),
            (vec![post(25_000).applied(Applied::No)], Lost),
            (vec![lost(25_000)], Recovered),
            (vec![absent()], Absent),
            (vec![unknown()], Indeterminate),
            (vec![post(25_000).status(503)], Absent),
            (
                vec![post(25_000).status(503).applied(Applied::Yes)],
                Recovered,
            ),
            (vec![absent(), post(26_000)], Kept),
            (vec![lost(25_000), post(26_000)], Doubled),
            (vec![lost(25_000), lost(26_000)], Doubled),
            (vec![lost(25_000).repeated(1)], Doubled),
            (vec![lost(25_000).repeated_unknown(1)], Indeterminate),
            (vec![post(25_000).repeated_unknown(1)], Indeterminate),
            (vec![lost(25_000).repeated(1).repeated_unknown(1)], Doubled),
            (vec![unknown(), post(26_000)], Indeterminate),
            (vec![lost(25_000), post(26_000).rows(0)], Kept),
            (
                vec![lost(25_000).sdk("k", 1), post(26_000).sdk("k", 2)],
                Kept,
            ),
        ] {
            let shown = format!("{attempts:?}");
            assert_eq!(fate(attempts), [expected], "{shown}");
        }
    }

    #[test]
    fn what_a_database_rolled_back_is_absent_and_not_lost() {
        let insert = post(25_000).operation("INSERT").applied(Applied::No).done();
        for (protocol, expected) in [
            (Protocol::Http, Lost),
            (Protocol::Mysql, Absent),
            (Protocol::Postgres, Absent),
            (Protocol::Redis, Absent),
        ] {
            let story = Story::new().attempt(post(25_000));
            let history = story.history();
            let call = history.calls_of("pager").first().expect("a call");
            let seen = write(protocol, call, &[&insert]).expect("a write");
            assert_eq!(seen.example.fate, expected, "{protocol}");
        }
    }

    #[test]
    fn what_a_lost_commit_did_is_recovered_and_what_is_done_again_doubled() {
        let lost = || post(25_000).untold(27_000);
        for (attempts, expected) in [
            (vec![lost()], vec![Recovered]),
            (vec![lost(), post(28_000)], vec![Doubled]),
            (
                vec![lost(), post(28_000).untold(29_000), post(29_500)],
                vec![Doubled],
            ),
            (vec![lost(), post(28_000).rows(0)], vec![Kept]),
            (vec![lost(), post(28_000).applied(Applied::No)], vec![Kept]),
            (vec![lost().applied(Applied::Unknown)], vec![Indeterminate]),
            (
                vec![lost().applied(Applied::Unknown), post(28_000)],
                vec![Indeterminate],
            ),
            (
                vec![lost(), post(28_000).captured("order", "8")],
                vec![Kept, Recovered],
            ),
            // One that did not wait for the other is no retry of it, nor does it stand for one.
            (vec![lost(), post(26_000)], vec![Kept, Recovered]),
            (
                vec![lost(), post(26_000), post(28_000)],
                vec![Kept, Doubled],
            ),
        ] {
            let shown = format!("{attempts:?}");
            assert_eq!(fate(attempts), expected, "{shown}");
        }
    }

    #[test]
    fn two_lines_of_a_lost_transaction_are_two_writes_and_each_is_done_again() {
        let line = |began, connection| post(began).on_connection(connection);
        let first = || [25_000, 25_010].map(|began| line(began, 1).untold(27_000));
        let counts = |attempts: Vec<AttemptBuilder>| {
            let story = Story::new().healthy(0..60).attempts(attempts);
            let account = wire(&story, "pager");
            [Kept, Recovered, Doubled].map(|fate| account.count(fate))
        };
        assert_eq!(counts(first().into()), [0, 2, 0]);
        let again = [28_000, 28_010].map(|began| line(began, 2));
        assert_eq!(counts([first(), again].concat()), [0, 0, 2]);
        // The second try is lost as well, and there is a third.
        let lost = || [28_000, 28_010].map(|began| line(began, 2).untold(29_000));
        let third = [30_000, 30_010].map(|began| line(began, 3));
        assert_eq!(counts([first(), lost(), third].concat()), [0, 0, 2]);
        // The last statement of a transaction may be asked for as its end is lost.
        let last = || {
            vec![
                line(25_000, 1).untold(27_000),
                line(27_000, 1).untold(27_000),
            ]
        };
        assert_eq!(counts(last()), [0, 2, 0]);
    }

    #[test]
    fn requests_that_nothing_ties_together_are_writes_of_their_own() {
        let plain = |began| attempt("pager", began, began + 100).operation("POST");
        let seen = fate([plain(25_000).gave_up().applied(Applied::Yes), plain(26_000)]);
        assert_eq!(seen, [Kept, Recovered]);
        // What replaces has its effect once, however often it is sent.
        let put = |began| post(began).operation("PUT");
        let seen = fate([put(25_000).gave_up().applied(Applied::Yes), put(26_000)]);
        assert_eq!(seen, [Kept]);
    }

    #[test]
    fn reads_are_no_writes_and_a_run_without_writes_under_a_fault_has_no_account() {
        let read = attempt("pager", 25_000, 25_100).operation("GET");
        let before = post(5_000);
        let story = Story::new().healthy(0..60).attempts([read, before]);
        assert_eq!(accounts(&story), []);
    }

    #[test]
    fn each_write_belongs_to_the_window_in_which_it_was_in_flight() {
        let story = Story::new().healthy(0..60).attempts([
            post(5_000),
            attempt("pager", 19_000, 21_000).operation("POST"),
            lost(25_000).hit(),
            post(55_000).captured("order", "9"),
        ]);
        let account = wire(&story, "pager");
        let totals = account.windows.iter();
        let seen: Vec<(Option<usize>, u64)> = totals.map(|one| (one.fault, one.total())).collect();
        assert_eq!(seen, [(Some(0), 2), (None, 2)]);
        let example = &account.windows[0].examples[0];
        assert_eq!(example.what, "POST /charges order=7");
        assert_eq!(example.fate, Recovered);
        assert_eq!(example.at, Micros::from_millis(25_000));
    }

    #[test]
    fn examples_are_the_first_few_of_each_fate_but_of_what_went_well() {
        let orders = (0..9).map(|nth| lost(25_000 + nth).captured("order", &nth.to_string()));
        let well = (0..9).map(|nth| post(26_000 + nth).captured("order", &format!("w{nth}")));
        let account = wire(
            &Story::new().healthy(0..60).attempts(orders.chain(well)),
            "pager",
        );
        let window = &account.windows[0];
        assert_eq!((window.count(Recovered), window.count(Kept)), (9, 9));
        assert_eq!(window.examples.len(), EXAMPLES_MAX);
    }

    #[test]
    fn a_ledger_knows_of_each_id_what_became_of_it() {
        let work = |story: Story, id: u64| {
            let name = id.to_string();
            let story = story.work(id * 1_000, &name, Outcome::Ok);
            match id {
                25 => story,
                26 => story.delivery(26_200, &name).delivery(26_300, &name),
                _ => story.delivery(id * 1_000 + 200, &name),
            }
        };
        let story = (0..40).fold(Story::new().load("ask", 0..60, 20, Outcome::Ok, 20), work);
        let copied = attempt("s3", 32_190, 32_200).captured("id", "copied");
        let story = story
            .work(32_000, "copied", Outcome::Ok)
            .attempt(copied.repeated_unknown(1))
            .work(30_500, "maybe", Outcome::Indeterminate)
            .work(31_500, "came", Outcome::Indeterminate)
            .delivery(31_700, "came")
            .watched(60_000);
        let all = accounts(&story);
        let account = all
            .iter()
            .find(|one| one.name == "work")
            .expect("the ledger");
        assert_eq!(account.witness, Witness::Ledger);
        let counts = WriteFate::ALL.map(|fate| account.count(fate));
        assert_eq!(counts, [38, 1, 1, 1, 1, 1]);
        let lost = account.windows[0].examples.iter();
        let lost: Vec<&str> = lost
            .filter(|one| one.fate == Lost)
            .map(|one| &*one.what)
            .collect();
        assert_eq!(lost, ["25"]);
    }
}
