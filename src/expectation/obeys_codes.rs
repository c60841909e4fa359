//! `obeys-codes`: clients of Pusher Channels heed the code with which they are closed.
//!
//! Codes from 4000 to 4099 say not to connect again, 4100 to 4199 to wait a second, 4200 to 4299 to
//! come back at once. Nothing on the wire says which client a connection belongs to, so the file
//! says how many there are, and connects are counted against what they were allowed: each client
//! may connect once; when a connection ends, its client may connect again as the code says. A
//! connect that nobody was free to make is a breach, whoever made it. After codes from 4200 on as many
//! connects must follow as there were closes, whoever makes them. Only where fewer clients connect than
//! the file says, or others connect at that moment, can a breach go unnoticed.
//!
//! After [`OWN_ACCORD`] a client that was told to stay away may have been told otherwise, by its
//! user or its app; `silent_for` says so of another time.

use super::{Expectation, ExpectationDef, Judgement, Name, Names, names, wire};
use crate::{
    history::{Attempt, NOTED_LATE, View, Window},
    input::{About, Fields, Key, Problems, Shape},
    protocol::{
        Protocol,
        pusher::{Class, class_of},
    },
    units::{Micros, Rate, format_duration},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// So much too early is no disobedience: clocks and timers are no finer.
const EARLY_MAX: Duration = Duration::from_millis(50);

/// How long a client that was told to stay away must be seen to do so: longer than pusher-js waits
/// before it tries again on its own, which is 15 s.
const OWN_ACCORD: Duration = Duration::from_secs(20);

/// How soon "at once" is.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Connects a second and client that are no tight loop.
const RATE_MAX: f64 = 10.0;

pub(super) const DEF: ExpectationDef = ExpectationDef {
    name: "obeys-codes",
    summary: "clients of Pusher stay away, wait or come back as the close code tells them",
    about: About {
        text: "\
            Clients of Pusher Channels heed the code with which they are closed: 4000 to 4099 \
            say not to come back, 4100 to 4199 to wait a second, 4200 to 4299 to come back at \
            once. Nothing on the wire says which client a connection belongs to, so connects are \
            counted against what `clients` clients may do.",
        evidence: "Closes with a code, and connects after them, at the proxy.",
        doubt: "Fewer than `min_closes` connections were closed with such a code.",
        mistakes: &["\
                Where fewer clients connect than the file says a breach can go unnoticed: give the \
                true number."],
        related: &["quota", "back-off", "reconnect", "pusher"],
    },
    example: "[[expect]]\nid      = \"SNP-8\"\nthat    = \"clients heed the codes they are closed with\"\nkind    = \"obeys-codes\"\non      = \"realtime\"\nclients = 1\n",
    keys: &[
        Key::required(
            "on",
            Shape::Text,
            "the role or dependency, of the protocol pusher",
        ),
        Key::required(
            "clients",
            Shape::Integer(1, 100_000),
            "how many clients connect to it",
        ),
        Key::optional(
            "silent_for",
            Shape::Duration,
            "4000 to 4099: how long no client comes back (20s)",
        ),
        Key::optional(
            "at_once",
            Shape::Duration,
            "4200 to 4299: within which time somebody comes back (5s)",
        ),
        Key::optional(
            "at_most",
            Shape::Rate,
            "4200 to 4299: the most connects a second and client (10/s)",
        ),
        Key::optional(
            "min_closes",
            Shape::Integer(1, 1_000_000),
            "fewer connections closed with such a code show nothing (1)",
        ),
    ],
    parse,
};

/// See [`DEF`].
#[derive(Debug)]
struct ObeysCodes {
    on: Name,
    clients: u64,
    silent_for: Duration,
    at_once: Duration,
    per_second_max: f64,
    min_closes: u64,
}

fn parse(
    fields: &Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Box<dyn Expectation>> {
    let on = names::dependency_with_requests(fields, "on", names, problems);
    let clients = fields.integer("clients", problems);
    let silent_for = fields.duration("silent_for", problems);
    let at_once = fields.duration("at_once", problems);
    let at_most = fields.rate("at_most", problems);
    let min_closes = fields.integer("min_closes", problems).unwrap_or(1);
    let on = on?;
    let is_other = names.dependencies.iter().any(|(name, role, protocol)| {
        (*name == &*on || *role == Some(&*on)) && *protocol != Protocol::Pusher
    });
    if is_other {
        let message = format!("`{on}` is not of the protocol pusher, which has such codes");
        fields.problem(problems, "on", message, None);
        return None;
    }
    Some(Box::new(ObeysCodes {
        on,
        clients: clients?.unsigned_abs(),
        silent_for: silent_for.unwrap_or(OWN_ACCORD),
        at_once: at_once.unwrap_or(AT_ONCE),
        per_second_max: at_most.map_or(RATE_MAX, Rate::as_per_second),
        min_closes: min_closes.unsigned_abs(),
    }))
}

/// Something that happened to a connection.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A client connects.
    Connect,
    /// A connection that began at one moment ended at another; the code, where it had one of a class.
    End {
        began: Micros,
        at: Micros,
        code: Option<(u16, Class)>,
    },
}

/// What the events of a run show.
#[derive(Debug, Default)]
struct Seen {
    /// How many connections were closed with a code in the judged phases.
    closes: u64,
    /// Those of them that were not watched for long enough.
    untold: u64,
    /// Those after which somebody came back only if that is why there was a connect before the close was
    /// noted.
    unclear: u64,
    breaches: Vec<Breach>,
    /// When there were more connections than clients.
    crowd: Option<Micros>,
}

/// A breach of what a code says.
#[derive(Debug)]
struct Breach {
    at: Micros,
    what: String,
    /// Whether no busy machine brings it about.
    on_any_machine: bool,
}

/// What clients may do.
#[derive(Debug)]
struct Licences {
    /// How many may connect.
    free: u64,
    /// When others may connect again, and the code that keeps them.
    barred: BTreeMap<(Micros, u64), (u16, Micros)>,
    count: u64,
}

impl Licences {
    fn release(&mut self, now: Micros) {
        while let Some(first) = self.barred.first_entry()
            && first.key().0 <= now
        {
            first.remove();
            self.free += 1;
        }
    }

    fn bar(&mut self, until: Micros, code: u16, now: Micros) {
        self.count += 1;
        self.barred.insert((until, self.count), (code, now));
    }
}

impl ObeysCodes {
    fn see(&self, view: &View<'_>) -> Seen {
        let whole = Window::new(Micros(0), Micros(u64::MAX));
        let ended = view.history.end;
        let attempts = view.attempts_in(&self.on, whole);
        let events = events(view, &attempts);
        let mut seen = Seen::default();
        let mut licences = Licences {
            free: self.clients,
            barred: BTreeMap::new(),
            count: 0,
        };
        for (at, event) in &events {
            licences.release(*at);
            match event {
                Event::Connect => {
                    let is_late = is_freed_late(&events, *at);
                    self.connect(*at, is_late, &mut licences, &mut seen);
                }
                Event::End { at, code, .. } => {
                    let judged = view.contains(*at);
                    let Some((code, class)) = code else {
                        licences.free += 1;
                        continue;
                    };
                    let (until, watched) = self.until(*at, *class);
                    if until > *at {
                        licences.bar(until, *code, *at);
                    } else {
                        licences.free += 1;
                    }
                    if judged {
                        seen.closes += 1;
                        seen.untold += u64::from(watched > ended);
                    }
                }
            }
        }
        self.comes_back(view, &events, &mut seen);
        self.no_loop(view, &events, &mut seen);
        seen.breaches
            .retain(|one| view.contains(one.at) || self.follows(view, &events, one.at));
        seen.breaches.sort_by_key(|one| one.at);
        seen
    }

    /// Until when a client must not connect, and until when it must be watched.
    fn until(&self, at: Micros, class: Class) -> (Micros, Micros) {
        match class {
            Class::DoNotReconnect => (at + self.silent_for, at + self.silent_for),
            Class::BackOff => {
                let until = at + (Class::BACK_OFF_MIN - EARLY_MAX);
                (until, until)
            }
            Class::ReconnectAtOnce => (at, at + self.at_once),
            Class::Other => (at, at),
        }
    }

    /// A client connects. `is_freed_late`: another was free to do so, by a connection whose end was
    /// noted only after that, as may be on a busy machine.
    fn connect(&self, at: Micros, is_freed_late: bool, licences: &mut Licences, seen: &mut Seen) {
        if licences.free > 0 {
            licences.free -= 1;
        } else if let Some((_, (code, since))) = licences.barred.pop_first() {
            let pause = at.since(since);
            // That it was closed a busy machine notes late, but not so late.
            let least = match class_of(code) {
                Some(Class::DoNotReconnect) => self.silent_for,
                _ => Class::BACK_OFF_MIN / 2,
            };
            seen.breaches.push(Breach {
                at,
                what: format!("connected {} after {code}", format_duration(pause)),
                on_any_machine: pause < least && !is_freed_late,
            });
        } else if seen.crowd.is_none() {
            seen.crowd = Some(at);
        }
    }

    /// Whether a connection was closed with a code in the judged phases shortly before.
    fn follows(&self, view: &View<'_>, events: &[(Micros, Event)], at: Micros) -> bool {
        events.iter().any(|(closed, event)| {
            matches!(event, Event::End { code: Some(_), .. })
                && view.contains(*closed)
                && *closed <= at
                && at.since(*closed) <= self.silent_for.max(self.at_once)
        })
    }

    /// After 4200 to 4299 somebody comes back: as many as were told so, whoever they are. Each connect
    /// answers one close. On a busy machine a close may be noted only after the connect that answers it:
    /// where it takes such a one there is no breach, and it is not seen that there is none either.
    fn comes_back(&self, view: &View<'_>, events: &[(Micros, Event)], seen: &mut Seen) {
        let connects = events.iter().filter_map(|(at, event)| match event {
            Event::Connect => Some(*at),
            Event::End { .. } => None,
        });
        let connects: Vec<Micros> = connects.collect();
        let (mut spent, mut spent_early) = (BTreeSet::new(), BTreeSet::new());
        for (known, event) in events {
            let Event::End { began, at, code } = event else {
                continue;
            };
            let Some((code, Class::ReconnectAtOnce)) = code else {
                continue;
            };
            let until = *known + self.at_once;
            // No return is as early as the connection itself.
            let after = |at: Micros| Window::new(at.max(Micros(began.0 + 1)), until);
            let early = Micros(at.0.saturating_sub(Micros::from(NOTED_LATE).0));
            let back = take(&connects, after(*known), &mut spent);
            let may_be_back = take(&connects, after(early), &mut spent_early);
            if until > view.history.end || back {
                continue;
            }
            if may_be_back {
                seen.unclear += 1;
                continue;
            }
            let within = format_duration(self.at_once);
            let what = format!("nobody more came back within {within} after {code}");
            seen.breaches.push(Breach {
                at: *known,
                what,
                on_any_machine: false,
            });
        }
    }

    /// Coming back at once is no tight loop.
    fn no_loop(&self, view: &View<'_>, events: &[(Micros, Event)], seen: &mut Seen) {
        let told = |from: Micros, to: Micros| {
            events.iter().any(|(at, event)| {
                let is_told = matches!(
                    event,
                    Event::End {
                        code: Some((_, Class::ReconnectAtOnce)),
                        ..
                    }
                );
                is_told && from <= *at && *at < to
            })
        };
        let most = self.per_second_max * self.clients as f64;
        let connects = events.iter().filter_map(|(at, event)| {
            (matches!(event, Event::Connect) && view.contains(*at)).then_some(*at)
        });
        let on_any_machine = wire::is_storm(&connects.collect::<Vec<_>>(), most);
        for second in view.windows().into_iter().flat_map(Window::seconds) {
            let connects = events
                .iter()
                .filter(|(at, event)| matches!(event, Event::Connect) && second.contains(*at));
            let count = connects.count();
            if count as f64 > most && told(second.from, second.to) {
                let what = format!("{count} connects in one second after 4200 to 4299");
                seen.breaches.push(Breach {
                    at: second.from,
                    what,
                    on_any_machine,
                });
            }
        }
    }
}

/// Takes the first of these moments in the window that is not spent; whether there was one.
fn take(moments: &[Micros], window: Window, spent: &mut BTreeSet<usize>) -> bool {
    let from = moments.partition_point(|at| *at < window.from);
    let to = moments.partition_point(|at| *at <= window.to);
    let free = (from..to).find(|place| !spent.contains(place));
    free.is_some_and(|place| spent.insert(place))
}

/// Whether a connection after whose end a client may connect at once had ended when one did, and that
/// was noted only some time later.
fn is_freed_late(events: &[(Micros, Event)], connected: Micros) -> bool {
    let frees = |code: &Option<(u16, Class)>| {
        !matches!(code, Some((_, Class::DoNotReconnect | Class::BackOff)))
    };
    events.iter().any(|(_, event)| match event {
        Event::End { at, code, .. } => {
            frees(code) && connected < *at && *at <= connected + NOTED_LATE
        }
        Event::Connect => false,
    })
}

/// The code with which a connection was refused or closed, where it is of a class.
fn code_of(attempt: &Attempt) -> Option<(u16, Class)> {
    let code = attempt.code.as_deref()?.parse().ok()?;
    Some((code, class_of(code)?))
}

/// How a connection that was open was closed, if by a close frame, or by a code of a class that closes in
/// answer to a message.
fn close_of<'a>(connect: &Attempt, attempts: &[&'a Attempt]) -> Option<&'a Attempt> {
    let closes = |attempt: &Attempt| {
        let class = code_of(attempt).map(|(_, class)| class);
        &*attempt.operation == "Close"
            || &*attempt.operation != "Connect" && class.is_some_and(|class| class != Class::Other)
    };
    let own = attempts.iter().copied().filter(|attempt| {
        attempt.connection == connect.connection
            && attempt.dependency == connect.dependency
            && closes(attempt)
    });
    own.min_by_key(|attempt| attempt.ended)
}

/// Connects and ends of connections, in order.
fn events(view: &View<'_>, attempts: &[&Attempt]) -> Vec<(Micros, Event)> {
    let mut events = Vec::new();
    for connect in attempts.iter().filter(|one| &*one.operation == "Connect") {
        events.push((connect.began, Event::Connect));
        let is_open = connect.status == Some(101) && connect.code.is_none();
        let end = if !is_open {
            Some((connect.ended, code_of(connect)))
        } else if let Some(close) = close_of(connect, attempts) {
            Some((close.ended, code_of(close)))
        } else {
            let gone = view.history.connections.iter().find(|one| {
                one.connection == connect.connection && one.dependency == connect.dependency
            });
            gone.map(|gone| (gone.closed, None))
        };
        if let Some((at, code)) = end {
            // The client may know of it, and act upon it, a moment before it is noted.
            let known = Micros(at.0.saturating_sub(Micros::from(EARLY_MAX).0));
            let began = connect.began;
            events.push((known.max(began), Event::End { began, at, code }));
        }
    }
    // Sorting keeps the order of what is told of one moment: a connect before its own end.
    events.sort_by_key(|(at, _)| *at);
    events
}

impl Expectation for ObeysCodes {
    fn judge(&self, view: &View<'_>) -> Judgement {
        let seen = self.see(view);
        let (closes, told) = (seen.closes, seen.closes - seen.untold);
        let measured = match seen.breaches.len() {
            0 => format!("{closes} connections closed with a code, all heeded"),
            count => format!("{closes} connections closed with a code, {count} breaches"),
        };
        let judgement = Judgement::new(view.window(), closes, measured);
        let judgement = if let Some(at) = seen.crowd {
            judgement.inconclusive(format!(
                "more than {} clients connected at {:.1} s, so it cannot be told who did what",
                self.clients,
                at.as_secs_f64()
            ))
        } else if !seen.breaches.is_empty() {
            let breaches = format!("{} breaches of what codes say", seen.breaches.len());
            let on_any_machine = seen.breaches.iter().any(|one| one.on_any_machine);
            judgement.fail_however_busy(on_any_machine, breaches)
        } else if seen.unclear > 0 {
            judgement.inconclusive(format!(
                "after {} of {closes} closes somebody came back only if it was before the close was noted",
                seen.unclear
            ))
        } else if closes < self.min_closes {
            judgement.inconclusive(format!(
                "{closes} connections were closed with a code, at least {} are needed",
                self.min_closes
            ))
        } else if told < self.min_closes {
            judgement.inconclusive(format!(
                "the run ended too soon after {} of {closes} closes to see what clients did",
                seen.untold
            ))
        } else {
            judgement
        };
        judgement.with(seen.breaches.into_iter().map(|one| (one.at, one.what)))
    }

    fn required(&self) -> String {
        format!(
            "no client of `{}` back within {} after 4000–4099 or 1s after 4100–4199; back within {} after 4200–4299, at most {}/s each",
            self.on,
            format_duration(self.silent_for),
            format_duration(self.at_once),
            self.per_second_max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, problems};
    use crate::{
        expectation::{Status, Verdict},
        history::sample::{Story, attempt},
    };

    const EXPECT: &str = "kind = \"obeys-codes\"\non = \"realtime\"\nclients = 1";

    /// Connects that began so many milliseconds after the start, each refused with this code, or
    /// none.
    fn story(connects: &[(u64, Option<&str>)]) -> Story {
        let connects = connects.iter().zip(1u64..).map(|((at, code), n)| {
            let one = attempt("realtime", *at, at + 10)
                .operation("Connect")
                .key("k")
                .status(101)
                .on_connection(n)
                .hit();
            match code {
                Some(code) => one.code(code),
                None => one,
            }
        });
        Story::new().healthy(0..60).attempts(connects)
    }

    #[track_caller]
    fn judged(connects: &[(u64, Option<&str>)], status: Status, said: &str) -> Verdict {
        let verdict = check(EXPECT, &story(connects));
        assert_eq!(verdict.status, status, "{verdict:?}");
        let text = format!("{verdict:?}");
        assert!(text.contains(said), "{said}: {text}");
        verdict
    }

    #[test]
    fn after_4000_to_4099_nobody_comes_back() {
        judged(&[(12_000, Some("4004"))], Status::Pass, "all heeded");
        judged(
            &[(12_000, Some("4004")), (13_000, None)],
            Status::Fail,
            "connected 990ms after 4004",
        );
        // Much later somebody may have pressed reload.
        judged(
            &[(12_000, Some("4004")), (40_000, None)],
            Status::Pass,
            "all heeded",
        );
    }

    #[test]
    fn after_4100_to_4199_a_second_passes() {
        let refused = [
            (12_000, Some("4100")),
            (13_012, Some("4100")),
            (14_030, None),
        ];
        judged(&refused, Status::Pass, "2 connections closed");
        judged(
            &[(12_000, Some("4100")), (12_510, None)],
            Status::Fail,
            "connected 500ms after 4100",
        );
    }

    #[test]
    fn after_4200_to_4299_somebody_comes_back_at_once_but_in_no_tight_loop() {
        judged(
            &[(12_000, Some("4200")), (12_020, None)],
            Status::Pass,
            "all heeded",
        );
        judged(
            &[(12_000, Some("4200")), (19_000, None)],
            Status::Fail,
            "nobody more came back within 5s",
        );
        let mut tight: Vec<(u64, Option<&str>)> =
            (0..40).map(|n| (12_000 + 20 * n, Some("4200"))).collect();
        tight.push((12_900, None));
        judged(&tight, Status::Fail, "connects in one second");
    }

    #[test]
    fn a_code_in_answer_to_a_message_closes_as_one_in_a_close_frame_does() {
        let told = |code: &str, back: u64| {
            let connects = story(&[(5_000, None), (back, None)]);
            let subscribe = attempt("realtime", 12_000, 12_010).operation("Subscribe");
            check(
                EXPECT,
                &connects.attempt(subscribe.on_connection(1).code(code).hit()),
            )
        };
        let early = told("4001", 13_000);
        assert_eq!(early.status, Status::Fail, "{early:?}");
        assert!(early.evidence[0].what.contains("after 4001"), "{early:?}");
        assert_eq!(told("4001", 40_000).status, Status::Pass);
        assert_eq!(told("4200", 12_100).status, Status::Pass);
        // From 4300 on the connection stays open, so that there are two where there is one client.
        assert_eq!(told("4301", 13_000).status, Status::Inconclusive);
    }

    #[test]
    fn as_many_come_back_after_4200_as_were_told_to() {
        let ten = EXPECT.replace("clients = 1", "clients = 10");
        let told = |back: u64| {
            let first = (0..10u64).map(|n| (5_000 + n, None));
            let again = (0..back).map(|n| (12_500 + 20 * n, None));
            let all: Vec<(u64, Option<&str>)> = first.chain(again).collect();
            let closes = (1..=10u64).map(|n| {
                let close = attempt("realtime", 12_000 + n, 12_000 + n).operation("Close");
                close.on_connection(n).code("4200").hit()
            });
            check(&ten, &story(&all).attempts(closes))
        };
        let verdict = told(10);
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
        for back in [9, 1, 0] {
            let verdict = told(back);
            assert_eq!(verdict.status, Status::Fail, "{back}: {verdict:?}");
            let breaches = format!("closed with a code, {} breaches", 10 - back);
            assert!(verdict.measured.ends_with(&breaches), "{verdict:?}");
        }
        let late = story(&[
            (12_000, Some("4200")),
            (16_000, Some("4200")),
            (18_000, None),
        ]);
        assert_eq!(check(EXPECT, &late).status, Status::Pass);
        let once = story(&[
            (12_000, Some("4200")),
            (12_100, Some("4200")),
            (18_000, None),
        ]);
        assert_eq!(check(EXPECT, &once).status, Status::Fail);
    }

    #[test]
    fn a_return_before_its_close_was_noted_is_no_breach_and_is_not_seen_either() {
        // There are fewer clients than may be, so that each may connect at any time.
        let many = EXPECT.replace("clients = 1", "clients = 20");
        let told = |back: u64, noted_late: u64| {
            let first = (0..10u64).map(|n| (5_000 + n, None));
            let again = (0..back).map(|n| (12_500 + 20 * n, None));
            let all: Vec<(u64, Option<&str>)> = first.chain(again).collect();
            let closes = (1..=10u64).map(|n| {
                let at = 12_480 + 20 * (n - 1) + noted_late;
                let close = attempt("realtime", at, at).operation("Close");
                close.on_connection(n).code("4200").hit()
            });
            check(&many, &story(&all).attempts(closes)).status
        };
        assert_eq!(told(10, 0), Status::Pass);
        assert_eq!(told(10, 200), Status::Inconclusive);
        for (back, noted_late) in [(9, 0), (9, 200), (0, 200), (10, 600)] {
            assert_eq!(told(back, noted_late), Status::Fail, "{back}, {noted_late}");
        }
    }

    #[test]
    fn whose_connection_was_noted_to_be_over_too_late_used_no_other_licence() {
        let two = EXPECT.replace("clients = 1", "clients = 2");
        let judged = |closed: u64| {
            let other = |at: u64, n: u64| {
                let one = attempt("realtime", at, at + 10).operation("Connect");
                one.key("k").status(101).on_connection(n)
            };
            // One is told to stay away; the other loses its connection and makes a new one.
            let mut story = Story::new()
                .healthy(0..60)
                .connection("realtime", 100, closed);
            let barred = other(14_000, 1).code("4004").hit();
            story = story.attempts([other(5_000, 100), barred, other(15_000, 3)]);
            check(&two, &story.missed(15, "ask", 60)).status
        };
        assert_eq!(judged(15_100), Status::Inconclusive);
        assert_eq!(judged(15_300), Status::Fail);
    }

    #[test]
    fn who_comes_back_against_a_code_does_so_on_a_busy_machine_too() {
        let busy = |connects: &[(u64, Option<&str>)]| {
            check(EXPECT, &story(connects).missed(15, "ask", 60)).status
        };
        let again = |code, at| [(12_000, Some(code)), (at, None)];
        assert_eq!(busy(&again("4004", 13_000)), Status::Fail);
        assert_eq!(busy(&again("4100", 12_510)), Status::Inconclusive);
        assert_eq!(busy(&again("4100", 12_500)), Status::Fail);
        // Too late, or too often for a moment.
        assert_eq!(busy(&again("4200", 19_000)), Status::Inconclusive);
        let tight = |count: u64| -> Vec<(u64, Option<&str>)> {
            (0..count)
                .map(|n| (12_000 + 20 * n, Some("4200")))
                .collect()
        };
        assert_eq!(busy(&tight(40)), Status::Inconclusive);
        assert_eq!(busy(&tight(450)), Status::Fail);
    }

    #[test]
    fn an_open_connection_that_is_closed_counts_too() {
        let close = attempt("realtime", 15_000, 15_000)
            .operation("Close")
            .on_connection(1)
            .code("4004")
            .hit();
        let open = story(&[(12_000, None)]).attempt(close);
        assert_eq!(check(EXPECT, &open).status, Status::Pass);
        let close = attempt("realtime", 15_000, 15_000)
            .operation("Close")
            .on_connection(1)
            .code("4004")
            .hit();
        let back = story(&[(12_000, None), (16_000, None)]).attempt(close);
        assert_eq!(check(EXPECT, &back).status, Status::Fail);
    }

    #[test]
    fn a_client_that_is_back_before_its_close_is_noted_is_no_second_client() {
        judged(
            &[
                (12_000, Some("4200")),
                (12_008, Some("4200")),
                (12_016, None),
            ],
            Status::Pass,
            "all heeded",
        );
    }

    #[test]
    fn what_cannot_be_told_is_inconclusive() {
        judged(
            &[(12_000, None)],
            Status::Inconclusive,
            "at least 1 are needed",
        );
        judged(
            &[(12_000, None), (13_000, Some("4004"))],
            Status::Inconclusive,
            "more than 1 clients",
        );
    }

    #[test]
    fn of_two_clients_one_may_come_while_the_other_stays_away() {
        let two = EXPECT.replace("clients = 1", "clients = 2");
        let refused = story(&[(12_000, Some("4004")), (13_000, Some("4004"))]);
        assert_eq!(check(&two, &refused).status, Status::Pass);
        let third = story(&[
            (12_000, Some("4004")),
            (13_000, Some("4004")),
            (14_000, None),
        ]);
        assert_eq!(check(&two, &third).status, Status::Fail);
    }

    #[test]
    fn other_protocols_have_no_such_codes() {
        let said = problems(&EXPECT.replace("realtime", "s3"));
        assert_eq!(
            said,
            ["`s3` is not of the protocol pusher, which has such codes"]
        );
    }
}
