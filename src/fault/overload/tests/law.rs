//! Against queueing theory and the Universal Scalability Law; and what holds whatever comes.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The mean response in units of the service time, and the mean time in the queue, of arrivals at
/// this utilisation.
fn simulated(servers: u32, utilisation: f64, arrivals: u64) -> f64 {
    let service = ms(100);
    let mut model = model(plain(servers, Law::Exponential(service)));
    let interval = service.div_f64(f64::from(servers) * utilisation);
    let (mut arrival, mut work) = (
        Exponential::new("arrivals", interval),
        Exponential::new("work", service),
    );
    let mut at = 0.0;
    let (mut response, mut served) = (0.0, 0u64);
    let mut count = |ended: Vec<Ended>| {
        for one in ended {
            // The number of a ticket is the moment of its arrival.
            response += (one.at.0 - one.ticket.0) as f64;
            served += 1;
        }
    };
    for _ in 0..arrivals {
        at += arrival.draw();
        let now = Micros(at as u64);
        let work = Duration::from_nanos((work.draw() * 1e3) as u64);
        model.arrive(Ticket(now.0), work, now);
        count(model.take(now));
    }
    count(model.take(Micros(u64::MAX / 2)));
    assert_eq!(served, arrivals);
    response / served as f64 / (service.as_secs_f64() * 1e6)
}

/// Erlang's C: the probability of having to wait.
fn erlang_c(servers: u32, utilisation: f64) -> f64 {
    let offered = f64::from(servers) * utilisation;
    let mut blocked = 1.0;
    for n in 1..=servers {
        blocked = offered * blocked / (f64::from(n) + offered * blocked);
    }
    blocked / (1.0 - utilisation * (1.0 - blocked))
}

/// The mean response of M/M/c in units of the service time.
fn expected(servers: u32, utilisation: f64) -> f64 {
    1.0 + erlang_c(servers, utilisation) / (f64::from(servers) * (1.0 - utilisation))
}

const SERVERS: [u32; 5] = [1, 4, 10, 20, 50];

/// Mean response in service times, by utilisation and for each of [`SERVERS`], as published.
const TABLE: [(f64, [f64; 5]); 6] = [
    (0.50, [2.00, 1.09, 1.01, 1.00, 1.00]),
    (0.80, [5.00, 1.75, 1.20, 1.06, 1.01]),
    (0.90, [10.0, 2.97, 1.67, 1.28, 1.07]),
    (0.95, [20.0, 5.46, 2.65, 1.76, 1.25]),
    (0.98, [50.0, 13.0, 5.64, 3.24, 1.84]),
    (0.99, [100.0, 25.5, 10.6, 5.74, 2.83]),
];

/// Checks a column of the table. The mean of n arrivals scatters by about √(8/n)/(1−ρ) of itself,
/// which at 0.98 and more is above the tolerance for any n that a test can wait for. The numbers
/// drawn here are fixed and lie near their mean; that the model makes of any numbers exactly what
/// it should is shown customer by customer, below.
fn column(servers: u32) {
    let column = SERVERS.iter().position(|known| *known == servers).unwrap();
    for (utilisation, row) in TABLE {
        let published = row[column];
        let theory = expected(servers, utilisation);
        assert!(
            (theory / published - 1.0).abs() < 0.01,
            "{theory}, {published}"
        );
        let most = if utilisation > 0.985 { 3e6 } else { 1e6 };
        let arrivals = (8e3 / (1.0 - utilisation).powi(2)).clamp(2e5, most);
        let seen = simulated(servers, utilisation, arrivals as u64);
        assert!(
            (seen / theory - 1.0).abs() < 0.05,
            "{servers} servers at {utilisation}: {seen}, not {theory}"
        );
    }
}

#[test]
fn one_server_waits_as_theory_says() {
    column(1);
}

#[test]
fn four_servers_wait_as_theory_says() {
    column(4);
}

#[test]
fn ten_servers_wait_as_theory_says() {
    column(10);
}

#[test]
fn twenty_servers_wait_as_theory_says() {
    column(20);
}

#[test]
fn fifty_servers_wait_as_theory_says() {
    column(50);
}

/// Kiefer and Wolfowitz: each customer takes the server that is free first.
#[test]
fn every_customer_waits_exactly_as_the_recursion_says() {
    for (servers, utilisation) in [(1, 0.99), (4, 0.95), (20, 0.99), (4, 1.2)] {
        let service = ms(100);
        let mut model = model(plain(servers, Law::Constant(service)));
        let interval = service.div_f64(f64::from(servers) * utilisation);
        let (mut arrival, mut work) = (
            Exponential::new("arrivals", interval),
            Exponential::new("work", service),
        );
        let mut free = vec![0.0; servers as usize];
        let (mut at, mut recursion) = (0.0, BTreeMap::new());
        let mut ended = Vec::new();
        for n in 0..20_000 {
            at += arrival.draw();
            let now = Micros(at as u64);
            let work = Duration::from_nanos((work.draw() * 1e3) as u64);
            free.sort_unstable_by(f64::total_cmp);
            let begins = free[0].max(now.0 as f64);
            free[0] = begins + work.as_nanos() as f64 / 1e3;
            recursion.insert(Ticket(n), free[0]);
            model.arrive(Ticket(n), work, now);
            ended.extend(model.take(now));
        }
        ended.extend(model.take(Micros(u64::MAX / 2)));
        assert_eq!(ended.len(), recursion.len());
        for one in ended {
            let apart = one.at.0 as f64 - recursion[&one.ticket];
            assert!((-0.01..1.01).contains(&apart), "{one:?}: {apart}");
        }
    }
}

#[test]
fn above_the_capacity_the_wait_grows_by_the_excess_each_second() {
    // 100 requests a second can be served, 150 come: after t seconds the wait is t/2.
    let mut model = model(plain(2, Law::Constant(ms(20))));
    let mut longest = Duration::ZERO;
    for n in 0..1500 {
        let now = Micros(n * 1_000_000 / 150);
        model.arrive(Ticket(n), ms(20), now);
    }
    for one in model.take(Micros::from_secs(100)) {
        if let Fate::Served { waited, .. } = one.how {
            longest = longest.max(waited);
        }
    }
    assert!((4.9..5.1).contains(&longest.as_secs_f64()), "{longest:?}");
}

/// A database as measured and fitted by B. Schwartz, and its published throughput and response in
/// milliseconds at N clients that never pause.
#[test]
fn throughput_follows_the_universal_scalability_law() {
    for (clients, throughput, response) in [
        (1, 996.0, 1.0),
        (10, 7602.0, 1.3),
        (20, 11064.0, 1.8),
        (35, 12342.0, 2.8),
        (50, 11872.0, 4.2),
        (100, 8843.0, 11.3),
        (200, 5393.0, 37.0),
        (400, 2963.0, 135.0),
    ] {
        let work = Duration::from_secs_f64(1.0 / 995.6);
        let mut model = model(Capacity {
            contention: 0.02672,
            coherency: 7.69e-4,
            ..plain(1000, Law::Constant(work))
        });
        for n in 0..clients {
            model.arrive(Ticket(n), work, Micros(n));
        }
        let rounds = 20;
        let (mut served, mut last) = (0, Micros(0));
        while served < clients * rounds {
            last = model.next().unwrap();
            for one in model.take(last) {
                served += 1;
                model.arrive(one.ticket, work, last);
            }
        }
        let seconds = last.as_secs_f64();
        let seen = served as f64 / seconds;
        assert!(
            (seen / throughput - 1.0).abs() < 0.01,
            "{clients}: {seen}, not {throughput}"
        );
        let seen = 1e3 * seconds * clients as f64 / served as f64;
        assert!(
            (seen / response - 1.0).abs() < 0.05,
            "{clients}: {seen} ms, not {response}"
        );
    }
}

#[test]
fn other_tenants_take_their_part_of_the_capacity() {
    // 40 a second of ours and 40 of others' on one server of 100: M/M/1 at 0.8 means 50 ms.
    let mut model = model(Capacity {
        other_load: Rate::per_second(40.0),
        ..plain(1, Law::Exponential(ms(10)))
    });
    let (mut arrival, mut work) = (
        Exponential::new("arrivals", ms(25)),
        Exponential::new("work", ms(10)),
    );
    let (mut at, mut response, count) = (0.0, 0.0, 300_000);
    for _ in 0..count {
        at += arrival.draw();
        let now = Micros(at as u64);
        let work = Duration::from_nanos((work.draw() * 1e3) as u64);
        model.arrive(Ticket(now.0), work, now);
        for one in model.take(now) {
            response += (one.at.0 - one.ticket.0) as f64 / f64::from(count);
        }
    }
    assert!((response / 50e3 - 1.0).abs() < 0.05, "{response}");
    let sample = model.sample(Micros(at as u64));
    assert!((sample.utilisation - 0.8).abs() < 0.02, "{sample:?}");
    assert!(
        (sample.arrived as f64 / 600e3 - 1.0).abs() < 0.02,
        "{sample:?}"
    );
}

/// How each ticket ended and when, in milliseconds.
fn ends(ended: &[Ended]) -> Vec<(u64, u64, Fate)> {
    ended
        .iter()
        .map(|one| (one.ticket.0, one.at.0 / 1000, one.how))
        .collect()
}

fn served(waited: u64) -> Fate {
    Fate::Served {
        waited: ms(waited),
        slowed: false,
    }
}

fn three_at_once(capacity: Capacity) -> Model {
    let mut model = model(capacity);
    for n in 1..=3 {
        let waits = model.arrive(Ticket(n), ms(10), Micros(0));
        assert_eq!(waits, n > 1);
    }
    model
}

#[test]
fn who_came_first_or_last_is_served_next() {
    let fifo = plain(1, Law::Constant(ms(10)));
    let seen = ends(&three_at_once(fifo.clone()).take(Micros::from_secs(1)));
    assert_eq!(
        seen,
        [(1, 10, served(0)), (2, 20, served(10)), (3, 30, served(20))]
    );
    let lifo = Capacity {
        order: Order::Lifo,
        ..fifo
    };
    let seen = ends(&three_at_once(lifo).take(Micros::from_secs(1)));
    assert_eq!(
        seen,
        [(1, 10, served(0)), (3, 20, served(10)), (2, 30, served(20))]
    );
}

#[test]
fn what_comes_too_late_is_refused_when_its_turn_comes() {
    let mut model = three_at_once(Capacity {
        deadline: Some(ms(15)),
        ..plain(1, Law::Constant(ms(10)))
    });
    let seen = ends(&model.take(Micros::from_secs(1)));
    assert_eq!(
        seen,
        [
            (1, 10, served(0)),
            (2, 20, served(10)),
            (3, 20, Fate::Expired)
        ]
    );
}

#[test]
fn dead_work_is_served_unless_it_is_cancelled() {
    for (cancel, third) in [(false, 30), (true, 20)] {
        let mut model = three_at_once(Capacity {
            cancel,
            ..plain(1, Law::Constant(ms(10)))
        });
        model.leave(Ticket(2), Micros::from_millis(5));
        let ended = ends(&model.take(Micros::from_secs(1)));
        assert_eq!(ended.len(), 3);
        assert!(ended.contains(&(3, third, served(third - 10))), "{ended:?}");
        assert_eq!(
            ended.iter().any(|(_, _, how)| *how == Fate::Cancelled),
            cancel
        );
    }
}

#[test]
fn who_is_cancelled_in_service_frees_the_server() {
    let mut model = three_at_once(Capacity {
        cancel: true,
        ..plain(1, Law::Constant(ms(10)))
    });
    model.leave(Ticket(1), Micros::from_millis(4));
    let ended = ends(&model.take(Micros::from_secs(1)));
    assert_eq!(
        ended,
        [
            (1, 4, Fate::Cancelled),
            (2, 14, served(4)),
            (3, 24, served(14))
        ]
    );
}

#[test]
fn a_scale_up_reaches_those_in_service_and_those_who_wait() {
    let normal = plain(1, Law::Constant(ms(10)));
    let mut model = three_at_once(normal.clone());
    let scaled = Capacity {
        scale: 2.0,
        ..normal.clone()
    };
    model.change(Arc::new(scaled), Micros::from_millis(4));
    let ended = ends(&model.take(Micros::from_secs(1)));
    assert_eq!(
        ended,
        [(1, 7, served(0)), (2, 12, served(7)), (3, 17, served(12))]
    );
    let mut model = three_at_once(normal.clone());
    model.change(
        Arc::new(plain(3, Law::Constant(ms(10)))),
        Micros::from_millis(4),
    );
    let ended = ends(&model.take(Micros::from_secs(1)));
    assert_eq!(
        ended,
        [(1, 10, served(0)), (2, 14, served(4)), (3, 14, served(4))]
    );
    let mut model = three_at_once(normal.clone());
    let stalled = Capacity {
        scale: 0.0,
        ..normal.clone()
    };
    model.change(Arc::new(stalled), Micros::from_millis(4));
    assert_eq!(model.next(), None);
    assert!(model.take(Micros::from_secs(9)).is_empty());
    model.change(Arc::new(normal), Micros::from_secs(10));
    assert_eq!(
        ends(&model.take(Micros::from_secs(11)))[0],
        (1, 10_006, served(0))
    );
}

#[test]
fn who_shares_the_servers_is_slowed_by_the_others() {
    let mut model = model(Capacity {
        contention: 0.5,
        ..plain(2, Law::Constant(ms(10)))
    });
    model.arrive(Ticket(1), ms(10), Micros(0));
    model.arrive(Ticket(2), ms(10), Micros::from_millis(9));
    let ended = model.take(Micros::from_secs(1));
    // Both proceed at two thirds of the speed while there are two of them.
    let fate = |slowed| Fate::Served {
        waited: Duration::ZERO,
        slowed,
    };
    assert_eq!((ended[0].at, ended[0].how), (Micros(10_500), fate(false)));
    assert_eq!((ended[1].at, ended[1].how), (Micros(19_500), fate(false)));
    model.arrive(Ticket(3), ms(10), Micros::from_secs(2));
    model.arrive(Ticket(4), ms(10), Micros::from_secs(2));
    let ended = model.take(Micros::from_secs(3));
    assert_eq!((ended[0].at, ended[0].how), (Micros(2_015_000), fate(true)));
}

/// Something that happens to a model.
#[derive(Debug, Clone)]
enum Event {
    Arrive(u64),
    Leave(usize),
    Change(usize),
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let event = prop_oneof![
        6 => (0u64..30_000).prop_map(Event::Arrive),
        2 => (0usize..200).prop_map(Event::Leave),
        1 => (0usize..3).prop_map(Event::Change),
    ];
    (0u64..9_000, event)
}

fn any_capacity() -> impl Strategy<Value = Capacity> {
    let bound = prop_oneof![
        Just(Bound::Unbounded),
        (0usize..6).prop_map(Bound::Requests),
        (0u64..50).prop_map(|time| Bound::Work(ms(time))),
    ];
    let order = prop_oneof![Just(Order::Fifo), Just(Order::Lifo)];
    let rest = (
        any::<bool>(),
        prop::option::of(1u64..40),
        prop::option::of(1f64..300.0),
    );
    (
        1u32..5,
        0.1f64..3.0,
        0f64..0.3,
        0f64..0.1,
        bound,
        order,
        rest,
    )
        .prop_map(
            |(servers, scale, contention, coherency, bound, order, (cancel, deadline, other))| {
                Capacity {
                    scale,
                    contention,
                    coherency,
                    bound,
                    order,
                    cancel,
                    deadline: deadline.map(ms),
                    other_load: other.and_then(Rate::per_second),
                    ..plain(servers, Law::Exponential(ms(8)))
                }
            },
        )
}

proptest! {
    /// Whatever comes, every arrival ends exactly once, no moment lies in the future or before the
    /// arrival, no queue is longer than it may be, and no server idles while somebody waits.
    #[test]
    fn every_arrival_ends_exactly_once(
        capacities in prop::collection::vec(any_capacity(), 3),
        events in prop::collection::vec(event(), 1..200),
    ) {
        let mut model = model(capacities[0].clone());
        let (mut now, mut arrived, mut ended) = (Micros(0), Vec::new(), BTreeSet::new());
        let mut check = |model: &mut Model, now: Micros, arrived: &[Micros]| {
            for one in model.take(now) {
                prop_assert!(one.at <= now, "{one:?} at {now:?}");
                prop_assert!(one.at >= arrived[one.ticket.0 as usize]);
                prop_assert!(ended.insert(one.ticket), "{one:?} ended twice");
            }
            let servers = model.capacity().servers as usize;
            prop_assert!(model.waiting() == 0 || model.serving() >= servers);
            Ok(())
        };
        for (apart, event) in events {
            now = Micros(now.0 + apart);
            let before = model.waiting();
            match event {
                Event::Arrive(work) => {
                    let ticket = Ticket(arrived.len() as u64);
                    arrived.push(now);
                    model.arrive(ticket, Duration::from_micros(work), now);
                    if let Bound::Requests(limit) = model.capacity().bound {
                        // A queue that was longer when the bound changed only gets shorter.
                        prop_assert!(model.waiting() <= limit.max(before));
                    }
                }
                Event::Leave(ticket) => model.leave(Ticket(ticket as u64), now),
                Event::Change(index) => model.change(Arc::new(capacities[index].clone()), now),
            }
            check(&mut model, now, &arrived)?;
        }
        let alone = Capacity { other_load: None, ..capacities[0].clone() };
        model.change(Arc::new(alone), now);
        check(&mut model, Micros(now.0 + 3_600_000_000), &arrived)?;
        prop_assert_eq!(ended.len(), arrived.len());
        prop_assert_eq!((model.waiting(), model.serving()), (0, 0));
    }

    /// First in, first out: nobody begins before who came earlier. With one server, nobody ends.
    #[test]
    fn who_came_first_ends_first(
        events in prop::collection::vec((0u64..9_000, 1u64..30_000), 1..100),
    ) {
        let mut model = model(plain(1, Law::Constant(ms(1))));
        let mut now = Micros(0);
        for (n, (apart, work)) in events.iter().enumerate() {
            now = Micros(now.0 + apart);
            model.arrive(Ticket(n as u64), Duration::from_micros(*work), now);
        }
        let ended = model.take(Micros(now.0 + 3_600_000_000));
        let order: Vec<u64> = ended.iter().map(|one| one.ticket.0).collect();
        let expected: Vec<u64> = (0..events.len() as u64).collect();
        prop_assert_eq!(order, expected);
    }

    /// When the owner looks does not change what happens: asked at every event, or once at the end.
    #[test]
    fn a_slow_owner_bends_nothing(
        capacity in any_capacity(),
        arrivals in prop::collection::vec((0u64..9_000, 0u64..30_000), 1..60),
    ) {
        let run = |is_eager: bool| {
            let mut model = model(capacity.clone());
            let (mut now, mut ended) = (Micros(0), Vec::new());
            for (n, (apart, work)) in arrivals.iter().enumerate() {
                now = Micros(now.0 + apart);
                while is_eager && let Some(next) = model.next().filter(|next| *next < now) {
                    ended.extend(model.take(next));
                }
                model.arrive(Ticket(n as u64), Duration::from_micros(*work), now);
            }
            ended.extend(model.take(Micros(now.0 + 1_000_000)));
            ended.iter().map(|one| (one.ticket, one.at)).collect::<Vec<_>>()
        };
        let (eager, lazy) = (run(true), run(false));
        prop_assert_eq!(eager.len(), lazy.len());
        for (one, other) in eager.iter().zip(&lazy) {
            prop_assert_eq!(one.0, other.0);
            // Rounding may differ in the last digit.
            prop_assert!(one.1.0.abs_diff(other.1.0) <= 1);
        }
    }
}
