//! Reading never panics, whatever the files say: any text, any part of a good file, any good file
//! with a part replaced. What it does not accept, it explains.

use brownout::{
    input::{Problems, Source, render},
    scenario::{from_texts, plan},
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn scenario() -> String {
    shipped("ada-2017-s3.toml")
}

fn system() -> String {
    shipped("systems/bot-platform-remedied.toml")
}

/// Reads both; there is a result exactly where nothing is an error, and then it can be planned.
fn check(scenario: &str, system: &str) -> bool {
    let mut problems = Problems::default();
    let read = from_texts(
        Source::new("scenario.toml", scenario),
        Source::new("system.toml", system),
        PathBuf::from("."),
        &mut problems,
    );
    assert_eq!(read.is_none(), problems.any_error());
    let shown = render(&problems.into_sorted(), false);
    match &read {
        Some((scenario, system)) => {
            assert!(!plan(scenario, system, 1.0).to_string().is_empty());
        }
        None => assert!(shown.contains("error: "), "{shown}"),
    }
    read.is_some()
}

/// Keeps an offset on a character's boundary.
fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at % (text.len() + 1))
}

/// Things to put in the place of others: each is right somewhere.
const SCRAPS: &[&str] = &[
    "",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    "\n",
    "[[",
    "0",
    "-1",
    "1.5",
    "nan",
    "true",
    "\"\"",
    "\"5s\"",
    "\"0s\"",
    "\"30%\"",
    "[]",
    "{}",
    "[1]",
    "{ a = 1 }",
    "2017-02-28",
    "\"{a}\"",
    "\"{{\"",
    "\"\\u0000\"",
    "\"instance:primary\"",
    "\"s3\"",
    "[[phase]]",
    "[system]",
    "kind",
    "x",
    "9223372036854775807",
    "0xff",
    "\"until steady, at most 60s\"",
    "ä",
    "\"\u{1b}[31m\"",
];

#[test]
fn the_shipped_files_are_good() {
    assert!(check(&scenario(), &system()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_text_is_read_or_explained(one in ".{0,200}", other in "(?s).{0,200}") {
        check(&one, &other);
    }

    #[test]
    fn any_part_of_a_good_file_is_read_or_explained(start in any::<usize>(), end in any::<usize>()) {
        let (scenario, system) = (scenario(), system());
        check(&scenario[..boundary(&scenario, end)], &system);
        check(&scenario, &system[..boundary(&system, end)]);
        check(&scenario[boundary(&scenario, start)..], &system);
        check(&scenario, &system[boundary(&system, start)..]);
    }

    #[test]
    fn a_good_file_with_lines_left_out_is_read_or_explained(
        left_out in proptest::collection::vec(any::<prop::sample::Index>(), 1..4)
    ) {
        let without = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            for index in &left_out {
                lines.remove(index.index(lines.len()));
            }
            lines.join("\n")
        };
        check(&without(&scenario()), &system());
        check(&scenario(), &without(&system()));
    }

    #[test]
    fn a_good_file_with_values_replaced_is_read_or_explained(
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..SCRAPS.len()), 1..4)
    ) {
        // Behind every `=` stands a value; up to the next comma or line it is replaced.
        let replaced = |mut text: String| {
            for (place, scrap) in &places {
                let values: Vec<usize> = text.match_indices("= ").map(|(at, _)| at + 2).collect();
                if values.is_empty() {
                    continue;
                }
                let start = values[place.index(values.len())];
                let length = text[start..].find([',', '\n']).unwrap_or(text.len() - start);
                text.replace_range(start..start + length, SCRAPS[*scrap]);
            }
            text
        };
        check(&replaced(scenario()), &system());
        check(&scenario(), &replaced(system()));
    }

    #[test]
    fn a_good_file_with_anything_inserted_is_read_or_explained(
        at in any::<usize>(), scrap in 0..SCRAPS.len()
    ) {
        let inserted = |mut text: String| {
            let at = boundary(&text, at);
            text.insert_str(at, SCRAPS[scrap]);
            text
        };
        check(&inserted(scenario()), &system());
        check(&scenario(), &inserted(system()));
    }
}
