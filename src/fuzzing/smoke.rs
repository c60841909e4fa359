//! Every target with its corpus, whole and mutilated, in a bounded number of rounds.

use super::{INPUT_BYTES_MAX, TARGETS};
use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many mutilated inputs each target gets; fewer where they take long.
const ROUNDS: usize = 400;

/// How long one target is fed at most.
const WITHIN: Duration = Duration::from_secs(2);

/// What often stands at the seams of what is read.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"$-1\r\n",
    b"*1\r\n",
    b"-1",
    b"0",
    b"65536",
    b"4294967295",
    b"9223372036854775808",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"=",
    b"\n[[",
    b"\xe2\x82\xac",
    b"1e999",
    b"99999999999s",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).expect("each target has a corpus");
    let mut files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    files.sort();
    if target == "scenario" {
        // With its system behind it, as a file of the corpus would have it.
        for name in ["ada-2017-s3", "batch-2025-database"] {
            files.push(root.join("scenarios").join(format!("{name}.toml")));
        }
    }
    let read = |file: &PathBuf| fs::read(file).expect("an input can be read");
    files.iter().map(read).collect()
}

/// An input as it might come from somebody else's hands: parts doubled, left out, put elsewhere,
/// bits and words changed.
fn mutilated(input: &[u8], other: &[u8], random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..24)).min(bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => {
                let word = WORDS.choose(random).expect("there are words");
                drop(bytes.splice(at..end, word.iter().copied()));
            }
            4 => {
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

#[test]
fn no_target_is_shaken_by_its_corpus_whole_or_mutilated() {
    for target in TARGETS {
        let corpus = corpus(target.name);
        assert!(!corpus.is_empty(), "{}: its corpus is empty", target.name);
        let mut random = ChaCha8Rng::seed_from_u64(20170228);
        let began = Instant::now();
        let mutilations = (0..ROUNDS).map(|round| {
            let other = corpus.choose(&mut random).expect("there is one");
            mutilated(&corpus[round % corpus.len()], other, &mut random)
        });
        let mutilations: Vec<Vec<u8>> = mutilations.collect();
        for (nth, input) in corpus.iter().chain(&mutilations).enumerate() {
            if nth >= corpus.len() && began.elapsed() > WITHIN {
                break;
            }
            let held = catch_unwind(|| target.run(input));
            assert!(
                held.is_ok(),
                "{}, input {nth}: \"{}\"",
                target.name,
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn a_target_that_is_shaken_is_noticed() {
    let shaken = super::target("shaken", |bytes| assert!(bytes.len() < 3, "too long"));
    assert!(catch_unwind(|| shaken.run(b"abc")).is_err());
    assert!(catch_unwind(|| shaken.run(b"ab")).is_ok());
}

#[test]
fn the_fuzzer_has_a_program_for_each_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("fuzz/ is there");
    for target in TARGETS {
        let name = target.name;
        let program = root.join(format!("fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(&program).unwrap_or_default();
        assert!(program.contains(&format!("feed(\"{name}\"")), "{name}");
        assert!(
            manifest.contains(&format!("fuzz_targets/{name}.rs")),
            "{name}"
        );
    }
    let programs = fs::read_dir(root.join("fuzz_targets")).expect("it has programs");
    assert_eq!(programs.count(), TARGETS.len());
}
