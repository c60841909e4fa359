use super::*;
use crate::{
    control::toxiproxy::{Line, Placed, toxics::KINDS},
    seed::Seed,
};
use proptest::prelude::*;
use std::time::Duration;

/// A chain and the time that it is given.
struct Bed {
    chain: Chain,
    began: Instant,
    now: Instant,
    line: Line,
}

/// A toxic as a client asks for it.
fn toxic(id: u64, said: &str) -> Arc<Placed> {
    let said = format!("{{\"name\":\"t{id}\",{said}}}");
    let asked = Placed::read(said.as_bytes(), ("proxy", id, Seed(7)));
    Arc::new(asked.expect("it is right"))
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Bed {
    fn of(toxics: &[&str]) -> Self {
        let began = Instant::now();
        let mut bed = Self {
            chain: Chain::new(LinkNumber(1)),
            began,
            now: began,
            line: Line::default(),
        };
        for (id, said) in (1..).zip(toxics) {
            bed.line.toxics.push(toxic(id, said));
        }
        bed.set();
        bed
    }

    fn set(&mut self) {
        self.chain.set(&self.line, self.now);
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.began + Duration::from_millis(ms);
        self
    }

    fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let content = Content::Bytes(Bytes::copy_from_slice(bytes));
        self.chain.push(content, self.now);
        self
    }

    fn end(&mut self) -> &mut Self {
        self.chain.push(Content::End(Ending::Half), self.now);
        self
    }

    /// Everything that has come out by now.
    fn out(&mut self) -> Vec<Content> {
        let mut all = Vec::new();
        loop {
            self.chain.advance(self.now);
            let Some(front) = self.chain.front().cloned() else {
                return all;
            };
            self.chain.sent(match &front {
                Content::Bytes(bytes) => bytes.len(),
                Content::End(_) => 0,
            });
            all.push(front);
        }
    }

    /// The same in words: the bytes as text, `.` for the end, `x` for closed, `!` for reset.
    fn said(&mut self) -> String {
        let word = |content| match content {
            Content::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Content::End(Ending::Half) => ".".to_owned(),
            Content::End(Ending::Close) => "x".to_owned(),
            Content::End(Ending::Reset) => "!".to_owned(),
        };
        let words: Vec<String> = self.out().into_iter().map(word).collect();
        words.join("|")
    }

    /// When it wants to be asked again, in milliseconds from the start.
    fn wakes(&mut self) -> Option<u128> {
        let at = self.chain.advance(self.now)?;
        Some(at.duration_since(self.began).as_millis())
    }
}

#[test]
fn without_toxics_everything_passes_at_once() {
    let mut bed = Bed::of(&[]);
    assert_eq!(bed.push(b"one").push(b"two").end().said(), "one|two|.");
    assert_eq!(bed.wakes(), None);
    assert_eq!(bed.chain.room(), 0, "nothing follows an end");
}

#[test]
fn latency_counts_from_each_arrival() {
    let mut bed = Bed::of(&[r#""type":"latency","attributes":{"latency":100}"#]);
    bed.at(0).push(b"a");
    bed.at(60).push(b"b").end();
    assert_eq!(bed.said(), "");
    assert_eq!(bed.wakes(), Some(100));
    assert_eq!(bed.at(100).said(), "a");
    assert_eq!(bed.wakes(), Some(160));
    assert_eq!(bed.at(160).said(), "b|.");
}

#[test]
fn latencies_add_up_however_late_they_are_asked() {
    let latency = r#""type":"latency","attributes":{"latency":100}"#;
    let mut bed = Bed::of(&[latency, latency]);
    bed.at(0).push(b"a");
    bed.at(40).push(b"b");
    assert_eq!(bed.at(150).said(), "");
    assert_eq!(bed.wakes(), Some(200));
    assert_eq!(bed.at(200).said(), "a");
    assert_eq!(bed.at(240).said(), "b");
}

#[test]
fn jitter_stays_within_its_bounds_and_keeps_the_order() {
    let mut bed = Bed::of(&[r#""type":"latency","attributes":{"latency":100,"jitter":50}"#]);
    let mut left = Vec::new();
    for chunk in 0..200_u64 {
        bed.at(chunk * 200).push(b"x");
        let mut at = chunk * 200;
        while bed.said().is_empty() {
            at += 1;
            bed.at(at);
        }
        left.push(at - chunk * 200);
    }
    let (least, most) = (left.iter().min(), left.iter().max());
    assert!(
        least >= Some(&50) && most <= Some(&151),
        "{least:?} {most:?}"
    );
    assert!(least < Some(&60) && most > Some(&140), "{least:?} {most:?}");
}

#[test]
fn odd_latencies_are_none_or_very_long() {
    for said in [
        r#""latency":-5,"jitter":-7"#,
        r#""latency":-9223372036854775808,"jitter":-9223372036854775808"#,
    ] {
        let mut bed = Bed::of(&[&format!(r#""type":"latency","attributes":{{{said}}}"#)]);
        assert_eq!(bed.push(b"a").said(), "a", "{said}");
    }
    let most = i64::MAX;
    let mut bed = Bed::of(&[&format!(
        r#""type":"latency","attributes":{{"latency":{most},"jitter":{most}}}"#
    )]);
    assert_eq!(bed.push(b"a").at(1_000_000).said(), "");
}

#[test]
fn what_waits_in_a_removed_toxic_goes_on_at_once() {
    let mut bed = Bed::of(&[
        r#""type":"latency","attributes":{"latency":1000}"#,
        r#""type":"latency","attributes":{"latency":10}"#,
    ]);
    bed.push(b"a").push(b"b").end();
    bed.line.toxics.remove(0);
    bed.set();
    assert_eq!(bed.said(), "");
    assert_eq!(bed.at(10).said(), "a|b|.");
}

#[test]
fn what_is_changed_holds_for_what_waits() {
    let mut bed = Bed::of(&[r#""type":"latency","attributes":{"latency":1000}"#]);
    assert_eq!(bed.push(b"a").said(), "");
    bed.line.toxics[0] = toxic(1, r#""type":"latency","attributes":{"latency":200}"#);
    bed.set();
    assert_eq!(bed.at(199).said(), "");
    assert_eq!(bed.at(200).said(), "a");
}

#[test]
fn bandwidth_lets_through_so_much_in_a_tenth_of_a_second() {
    let mut bed = Bed::of(&[r#""type":"bandwidth","attributes":{"rate":100}"#]);
    bed.push(&[b'x'; 25_000]).end();
    let mut passed = Vec::new();
    for at in [99, 100, 199, 200, 249, 250] {
        let bytes = |content: &Content| match content {
            Content::Bytes(bytes) => bytes.len(),
            Content::End(_) => 1_000_000,
        };
        passed.push(bed.at(at).out().iter().map(bytes).sum::<usize>());
    }
    assert_eq!(passed, [0, 10_000, 0, 10_000, 0, 1_005_000]);
}

#[test]
fn a_bandwidth_of_nothing_holds_everything_until_it_is_more() {
    for rate in [0, -5] {
        let said = |rate: i64| format!(r#""type":"bandwidth","attributes":{{"rate":{rate}}}"#);
        let mut bed = Bed::of(&[&said(rate)]);
        bed.push(b"abc").end();
        assert_eq!((bed.at(10_000).said(), bed.wakes()), (String::new(), None));
        bed.line.toxics[0] = toxic(1, &said(1));
        bed.set();
        assert_eq!(bed.at(10_002).said(), "");
        assert_eq!(bed.at(10_003).said(), "abc|.");
    }
}

#[test]
fn slow_close_delays_the_end_alone() {
    let mut bed = Bed::of(&[r#""type":"slow_close","attributes":{"delay":50}"#]);
    assert_eq!(bed.push(b"a").end().said(), "a");
    assert_eq!(bed.at(49).said(), "");
    assert_eq!(bed.at(50).said(), ".");
}

#[test]
fn timeout_swallows_and_closes_so_long_after_the_last() {
    let mut bed = Bed::of(&[r#""type":"timeout","attributes":{"timeout":100}"#]);
    assert_eq!(bed.at(60).push(b"a").said(), "");
    assert_eq!(bed.wakes(), Some(160));
    assert_eq!(bed.at(159).said(), "");
    assert_eq!(bed.at(160).said(), "x");
    assert_eq!(bed.chain.room(), 0);
}

#[test]
fn a_timeout_of_zero_waits_for_its_removal_which_closes() {
    let mut bed = Bed::of(&[
        r#""type":"timeout","attributes":{"timeout":0}"#,
        r#""type":"latency","attributes":{"latency":20}"#,
    ]);
    assert_eq!(bed.push(b"a").at(100_000).said(), "");
    bed.line.toxics.remove(0);
    bed.set();
    assert_eq!(bed.said(), "x");
    let mut gone = Bed::of(&[r#""type":"timeout""#]);
    assert_eq!(gone.end().said(), "x", "whose sender leaves is closed");
}

#[test]
fn a_toxic_without_toxicity_does_nothing_at_all() {
    let never = r#""toxicity":0,"attributes":{"timeout":0,"bytes":0,"delay":9}"#;
    for kind in [
        "timeout",
        "reset_peer",
        "limit_data",
        "bandwidth",
        "slow_close",
    ] {
        let mut bed = Bed::of(&[&format!(r#""type":"{kind}",{never}"#)]);
        assert_eq!(bed.push(b"a").said(), "a", "{kind}");
        bed.line.toxics.clear();
        bed.set();
        assert_eq!(bed.end().said(), ".", "{kind}");
    }
}

#[test]
fn reset_peer_counts_from_the_first_that_is_sent() {
    let said = r#""type":"reset_peer","attributes":{"timeout":100}"#;
    let mut bed = Bed::of(&[said]);
    assert_eq!(bed.at(50).said(), "");
    bed.push(b"a");
    assert_eq!((bed.said(), bed.wakes()), (String::new(), Some(150)));
    bed.at(120).push(b"b");
    assert_eq!(bed.at(150).said(), "!");
    let mut lifted = Bed::of(&[said]);
    lifted.push(b"a").said();
    lifted.line.toxics.clear();
    lifted.set();
    assert_eq!(lifted.said(), "a");
}

#[test]
fn limit_data_passes_exactly_so_many_bytes() {
    let said = |bytes: u64| format!(r#""type":"limit_data","attributes":{{"bytes":{bytes}}}"#);
    let mut bed = Bed::of(&[&said(5)]);
    assert_eq!(bed.push(b"abc").said(), "abc");
    bed.line.toxics[0] = toxic(1, &said(4));
    bed.set();
    assert_eq!(bed.push(b"defg").said(), "d|x", "what passed before counts");
    let mut exact = Bed::of(&[&said(3)]);
    assert_eq!(exact.push(b"abc").said(), "abc|x");
    let mut none = Bed::of(&[&said(0)]);
    assert_eq!(none.said(), "");
    assert_eq!(none.push(b"a").said(), "x");
}

#[test]
fn slices_are_about_as_large_as_asked_for_and_lose_nothing() {
    let said = r#""type":"slicer","attributes":{"average_size":64,"size_variation":32,"delay":0}"#;
    let mut bed = Bed::of(&[said]);
    let bytes: Vec<u8> = (0..20_000_u32).map(|byte| byte as u8).collect();
    bed.push(&bytes);
    let mut whole = Vec::new();
    let mut sizes = Vec::new();
    for content in bed.out() {
        if let Content::Bytes(slice) = content {
            sizes.push(slice.len());
            whole.extend_from_slice(&slice);
        }
    }
    assert_eq!(whole, bytes);
    assert!(sizes.iter().all(|size| *size <= 96), "{sizes:?}");
    let mean = bytes.len() / sizes.len();
    assert!((32..=96).contains(&mean), "{mean}");
}

#[test]
fn odd_slices_break_nothing() {
    for (average, variation) in [
        (0, 0),
        (0, 10),
        (-5, -5),
        (1, i64::MAX),
        (i64::MAX, i64::MAX),
        (10, 1_000),
        (1_000, 1_000),
    ] {
        let mut bed = Bed::of(&[&format!(
            r#""type":"slicer","attributes":{{"average_size":{average},"size_variation":{variation}}}"#
        )]);
        bed.push(&[7; 5_000]).end();
        let out = bed.out();
        let bytes = out.iter().map(|content| match content {
            Content::Bytes(slice) => slice.len(),
            Content::End(_) => 0,
        });
        assert_eq!(bytes.sum::<usize>(), 5_000, "{average} {variation}");
        assert_eq!(out.last(), Some(&Content::End(Ending::Half)));
    }
}

#[test]
fn slices_are_so_far_apart_on_average_however_coarse_the_timer() {
    let said = r#""type":"slicer","attributes":{"average_size":1,"delay":100}"#;
    let mut bed = Bed::of(&[said]);
    bed.push(&[b'x'; 100]);
    let mut passed = Vec::new();
    for at in [0, 1, 5, 9, 10] {
        passed.push(bed.at(at).out().len());
    }
    // The first at once, then ten in each millisecond.
    assert_eq!(passed, [1, 10, 40, 40, 9]);
}

#[test]
fn packets_are_lost_about_as_often_as_asked_for() {
    let lost = |said: &str| {
        let mut bed = Bed::of(&[&format!(r#""type":"packet_loss",{said}"#)]);
        let through = (0..10_000).filter(|_| !bed.push(b"x").said().is_empty());
        10_000 - through.count()
    };
    let by_default = lost(r#""attributes":{}"#);
    assert!((800..1_200).contains(&by_default), "{by_default}");
    assert_eq!(lost(r#""attributes":{"loss_rate":7.5}"#), 10_000);
    assert_eq!(lost(r#""attributes":{"loss_rate":-1}"#), 0);
    // A lost one in ten begins a row that goes on with 0.6: its mean length is 2.5.
    let in_rows = lost(r#""attributes":{"loss_rate":0.1,"correlation":0.5}"#);
    assert!((1_700..2_300).contains(&in_rows), "{in_rows}");
}

#[test]
fn what_is_held_has_a_bound_and_a_full_toxic_holds_up_what_is_before_it() {
    let mut bed = Bed::of(&[r#""type":"bandwidth","attributes":{"rate":0}"#]);
    let mut taken = 0;
    while bed.chain.room() > 0 {
        let bytes = vec![0; bed.chain.room().min(4096)];
        taken += bytes.len();
        bed.push(&bytes);
    }
    assert!((60_000..=HOLD_BYTES).contains(&taken), "{taken}");
    assert!(bed.chain.cost() <= HOLD_BYTES);
    // Behind a latency that is over, what the bandwidth has no room for stays.
    let mut bed = Bed::of(&[
        r#""type":"latency","attributes":{"latency":1}"#,
        r#""type":"bandwidth","attributes":{"rate":0}"#,
    ]);
    for _ in 0..100 {
        bed.push(&[0; 4096]);
    }
    assert_eq!(bed.at(50).said(), "");
    let held = bed.chain.stages[1].queue.cost;
    assert!(held <= HOLD_BYTES + 4096 + ENTRY_BYTES, "{held}");
    assert!(bed.chain.cost() > 100 * 4096, "nothing is lost");
}

#[test]
fn the_seed_decides_on_which_connections_a_toxic_acts() {
    let hit = |toxicity: f64, seed: u64| -> Vec<u64> {
        let said = format!(r#"{{"type":"timeout","toxicity":{toxicity}}}"#);
        let placed = Placed::read(said.as_bytes(), ("proxy", 1, Seed(seed))).expect("right");
        (0..1_000).filter(|link| placed.acts_on(*link)).collect()
    };
    let third = hit(0.3, 1);
    assert!((250..350).contains(&third.len()), "{}", third.len());
    assert_eq!(third, hit(0.3, 1));
    assert_ne!(third, hit(0.3, 2));
    let half = hit(0.5, 1);
    assert!(
        third.iter().all(|link| half.contains(link)),
        "more takes in more"
    );
    assert_eq!(hit(80.0, 1).len(), 1_000);
    assert_eq!(hit(0.0, 1).len(), 0);
}

/// Toxics that lose nothing.
const HARMLESS: &[&str] = &[
    r#""type":"noop""#,
    r#""type":"latency","attributes":{"latency":30,"jitter":20}"#,
    r#""type":"bandwidth","attributes":{"rate":20}"#,
    r#""type":"slicer","attributes":{"average_size":5,"size_variation":3,"delay":700}"#,
    r#""type":"slow_close","attributes":{"delay":40}"#,
    r#""type":"latency","toxicity":0.5,"attributes":{"latency":15}"#,
];

#[derive(Debug, Clone)]
enum Act {
    Push(usize),
    Wait(u64),
    Add(usize),
    Remove(usize),
    Change(usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(
        prop_oneof![
            (1usize..300).prop_map(Act::Push),
            (0u64..60).prop_map(Act::Wait),
            (0..HARMLESS.len()).prop_map(Act::Add),
            any::<usize>().prop_map(Act::Remove),
            (any::<usize>(), 0..HARMLESS.len()).prop_map(|(at, to)| Act::Change(at, to)),
        ],
        0..60,
    )
}

proptest! {
    #[test]
    fn whatever_is_added_changed_and_removed_every_byte_comes_out_once_and_in_order(
        acts in acts(),
    ) {
        let mut bed = Bed::of(&[]);
        let (mut pushed, mut out, mut at, mut ids) = (Vec::new(), Vec::new(), 0, 0);
        let mut take = |bed: &mut Bed| {
            for content in bed.out() {
                match content {
                    Content::Bytes(bytes) => out.extend_from_slice(&bytes),
                    Content::End(_) => panic!("nobody ended it"),
                }
            }
        };
        for act in acts {
            match act {
                Act::Push(count) => {
                    let bytes: Vec<u8> = (pushed.len()..).take(count).map(|byte| byte as u8).collect();
                    bed.push(&bytes);
                    pushed.extend(bytes);
                }
                Act::Wait(ms) => {
                    at += ms;
                    bed.at(at);
                }
                Act::Add(which) => {
                    ids += 1;
                    bed.line.toxics.push(toxic(ids, HARMLESS[which]));
                    bed.set();
                }
                Act::Remove(which) if !bed.line.toxics.is_empty() => {
                    bed.line.toxics.remove(which % bed.line.toxics.len());
                    bed.set();
                }
                Act::Change(which, to) if !bed.line.toxics.is_empty() => {
                    let which = which % bed.line.toxics.len();
                    // Of its own kind, as the API has it.
                    let old = Arc::clone(&bed.line.toxics[which]);
                    let new = toxic(old.id, HARMLESS[to]);
                    if new.kind.name == old.kind.name {
                        bed.line.toxics[which] = new;
                    }
                    bed.set();
                }
                Act::Remove(_) | Act::Change(..) => {}
            }
            take(&mut bed);
        }
        bed.line.toxics.clear();
        bed.set();
        take(&mut bed);
        prop_assert_eq!(out, pushed);
        prop_assert_eq!(bed.chain.cost(), 0);
    }
}

/// Numbers that somebody may type, the odd ones often.
fn numbers() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(-1),
        Just(i64::MIN),
        Just(i64::MAX),
        -10i64..10,
        any::<i64>(),
    ]
}

proptest! {
    #[test]
    fn no_attributes_break_anything(
        kind in 0..KINDS.len(),
        numbers in prop::collection::vec(numbers(), 3),
        toxicity in any::<f32>().prop_filter("JSON has no others", |number| number.is_finite()),
    ) {
        let kind = KINDS[kind];
        let each = kind.fields.iter().zip(&numbers);
        let said: Vec<String> = each.map(|(field, number)| format!("\"{}\":{number}", field.name)).collect();
        let said = format!(
            r#""type":"{}","toxicity":{toxicity:?},"attributes":{{{}}}"#,
            kind.name,
            said.join(",")
        );
        let mut bed = Bed::of(&[&said]);
        for at in 0..50 {
            bed.at(at * 1_000).push(&[0; 700]);
            bed.out();
            let wake = bed.chain.advance(bed.now);
            prop_assert!(wake.is_none_or(|wake| wake > bed.now), "{said}");
        }
        bed.line.toxics[0] = toxic(1, &format!(r#""type":"{}""#, kind.name));
        bed.set();
        bed.out();
        bed.line.toxics.clear();
        bed.set();
        bed.out();
        prop_assert_eq!(bed.chain.cost(), 0, "{}", said);
    }
}

#[test]
fn a_chain_asks_for_nothing_while_nothing_can_happen() {
    let mut bed = Bed::of(HARMLESS);
    assert_eq!(bed.at(1_000).wakes(), None);
    bed.push(b"a");
    let mut asked = 0;
    while let Some(at) = bed.chain.advance(bed.now) {
        assert!(at > bed.now, "it would be asked again and again");
        bed.now = at;
        asked += 1;
    }
    assert!(asked < 20, "{asked}");
    assert_eq!(bed.said(), "a");
    assert!(bed.now < bed.began + ms(1_200));
}
