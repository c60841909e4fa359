//! Questions on a terminal, each with its answer in brackets that an empty line takes.

use crate::cli::Failure;
use std::io::{BufRead, Read, Write};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;

/// How often a question is asked before it is given up.
const TRIES_MAX: usize = 5;

/// Somebody who can be asked.
pub struct Asker<R, W> {
    /// Where answers come from.
    pub input: R,
    /// Where questions go.
    pub output: W,
}

impl<R: BufRead, W: Write> Asker<R, W> {
    /// Asks until the answer can be read by `parse`.
    ///
    /// # Errors
    /// The input ended, or no answer was any good.
    pub fn ask<T>(
        &mut self,
        question: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        for _ in 0..TRIES_MAX {
            let brackets = if default.is_empty() {
                String::new()
            } else {
                format!(" [{default}]")
            };
            write!(self.output, "{question}{brackets}: ")?;
            self.output.flush()?;
            let Some(answer) = self.line()? else {
                writeln!(self.output)?;
                return Err(Failure::usage(
                    "the questions were broken off; nothing was written",
                    "--yes takes the answers in brackets",
                ));
            };
            let answer = if answer.is_empty() { default } else { &answer };
            match parse(answer) {
                Ok(value) => return Ok(value),
                Err(wrong) => writeln!(self.output, "  {wrong}")?,
            }
        }
        Err(Failure::usage(
            format!("no answer to “{question}”; nothing was written"),
            "each question has an option: `brownout init --help`",
        ))
    }

    /// A line without what surrounds it; `None` at the end of the input.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut bytes = Vec::new();
        let taken = (&mut self.input)
            .take(ANSWER_BYTES_MAX)
            .read_until(b'\n', &mut bytes)?;
        if taken == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(text.trim().to_owned()))
    }
}

/// Yes or no.
pub fn yes(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("y or n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(input: &str) -> (Result<u16, Failure>, String) {
        let mut output = Vec::new();
        let mut asker = Asker {
            input: input.as_bytes(),
            output: &mut output,
        };
        let answer = asker.ask("Which port?", "8080", |text| {
            text.parse().map_err(|_| "a number".to_owned())
        });
        (answer, String::from_utf8(output).unwrap())
    }

    #[test]
    fn an_empty_line_takes_what_stands_in_brackets() {
        let (answer, said) = asked("\n");
        assert_eq!(answer.unwrap(), 8080);
        assert_eq!(said, "Which port? [8080]: ");
    }

    #[test]
    fn a_bad_answer_is_asked_for_again() {
        let (answer, said) = asked("x\n 81 \n");
        assert_eq!(answer.unwrap(), 81);
        assert_eq!(said.matches("Which port?").count(), 2);
        assert!(said.contains("  a number\n"), "{said}");
    }

    #[test]
    fn an_end_of_the_input_breaks_it_off() {
        assert!(asked("").0.is_err());
        assert!(asked(&"x\n".repeat(9)).0.is_err());
    }
}
