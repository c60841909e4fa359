//! The first line of a run's history as it is given out: it names the files of the run, and does not hold
//! their texts.
//!
//! Whoever may ask this server is not always whoever may read its files, and where in them a secret stands
//! nobody can know: in a comment, an argument, a body, a key of an innocent name. The file below `--runs`
//! is whole.

use crate::{history::Observation, scenario::FILE_BYTES_MAX};

/// The longest head of a history, in bytes: two files as JSON, in which a byte takes six at most, and
/// what else it says.
pub(super) const HEAD_BYTES_MAX: u64 = 13 * FILE_BYTES_MAX;

/// The first line of a history without the texts of its files. Nothing of what is no such line.
pub(super) fn without_texts(line: &[u8]) -> String {
    let Ok(Observation::Run(mut run)) = serde_json::from_slice(line) else {
        return String::new();
    };
    for (_, text) in [&mut run.scenario, &mut run.system] {
        text.clear();
    }
    super::line(&Observation::Run(run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::Story;

    #[test]
    fn nothing_that_stands_in_a_file_is_given_out_wherever_it_stands() {
        for planted in [
            "# password = \"hunter2\"",
            "[system]\ncommand = [\"./shop\", \"--password\", \"hunter2\"]",
            "[system]\ncommand = [\"./shop\", \"--token=hunter2\"]",
            "[system]\nenv = { KEY = \"hunter2\" }",
            "[load.buy]\nrequest = { path = \"/a?api_key=hunter2\" }",
            "[load.buy]\nrequest = { json = { api_key = \"hunter2\", pass = \"hunter2\" } }",
            "[dependency.db]\nupstream = \"postgres://app:hunt/er2:hunter2@db\"",
            "no TOML, hunter2",
        ] {
            let mut run = Story::new().history().run;
            run.scenario = ("outage.toml".to_owned(), planted.to_owned());
            run.system = ("brownout.toml".to_owned(), planted.to_owned());
            let line = serde_json::to_string(&Observation::Run(run)).expect("it is written");
            assert!(line.contains("hunter2"), "it is planted");
            let shown = without_texts(line.as_bytes());
            assert!(!shown.contains("hunt"), "{planted}: {shown}");
            assert!(
                shown.contains("outage.toml") && shown.contains("brownout.toml"),
                "{shown}"
            );
        }
    }

    #[test]
    fn of_what_is_no_head_nothing_is_shown() {
        assert_eq!(without_texts(b"hunter2"), "");
        assert_eq!(without_texts(b""), "");
    }
}
