//! Text laid out for a terminal of fixed width: wrapping, indenting, and taking the sting out of
//! what the system under test said.

/// The columns that every report for the terminal fits into.
pub const WIDTH: usize = 80;

/// Lines of at most `width` characters, the first beginning with `first` and the rest indented as
/// far. A word that is longer than a line is cut.
pub fn wrap(first: &str, text: &str, width: usize) -> String {
    let indent = first.chars().count();
    let room = width.saturating_sub(indent).max(8);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        lines.extend(fold(paragraph, room));
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    let mut out = String::new();
    for (nth, line) in lines.iter().enumerate() {
        let lead = if nth == 0 {
            first.to_owned()
        } else {
            " ".repeat(indent)
        };
        out.push_str(format!("{lead}{line}").trim_end());
        out.push('\n');
    }
    out
}

/// One paragraph broken at its spaces.
fn fold(paragraph: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in paragraph
        .split_whitespace()
        .flat_map(|word| cut(word, room))
    {
        let used = line.chars().count();
        if used > 0 && used + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        } else if used > 0 {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

/// A word in pieces that fit.
fn cut(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters
        .chunks(room)
        .map(|piece| piece.iter().collect())
        .collect()
}

/// What the system said, without anything that would steer the terminal: escape sequences and
/// control characters are dropped. Line ends stay, tabs become spaces.
pub fn harmless(text: &str) -> String {
    anstream::adapter::strip_str(text)
        .to_string()
        .replace('\t', "    ")
        .replace(|letter: char| letter.is_control() && letter != '\n', "")
}

/// The text with every line behind `indent`, as it stands and unwrapped.
pub fn indented(indent: &str, text: &str) -> String {
    text.lines()
        .map(|line| format!("{indent}{line}").trim_end().to_owned() + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_broken_at_spaces_and_long_words_are_cut() {
        assert_eq!(
            wrap("because  ", "three of three calls took longer", 24),
            "because  three of three\n         calls took\n         longer\n"
        );
        assert_eq!(wrap("  ", "aaaaaaaaaaaaa", 12), "  aaaaaaaaaa\n  aaa\n");
        assert_eq!(wrap("x ", "", 12), "x\n");
    }

    #[test]
    fn what_the_system_said_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("\u{1b}[31mred\u{1b}[0m\tand \u{7}bell\u{9b}\r\n"),
            "red    and bell\n"
        );
    }
}
