//! Where the answer to a command ends, packet by packet.

use super::packet::{Broken, FULL, number, short};

/// A transaction is open.
pub const IN_TRANSACTION: u16 = 1;
/// Another result follows.
const MORE_RESULTS: u16 = 8;

/// What kind of answer a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// None.
    Nothing,
    /// One packet, whatever it says.
    Single,
    /// One packet: OK, EOF or an error.
    Ok,
    /// Results: OK, an error, or rows; several of them.
    Results,
    /// Packets up to an EOF: rows that are fetched, columns of a table.
    UpToEof,
    /// A prepared statement.
    Prepared,
}

/// What is to be done after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More packets follow.
    GoesOn,
    /// The client now sends a file.
    WantsFile,
    /// The answer is over.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Single,
    Ok,
    Result,
    Columns {
        left: u64,
    },
    ColumnsEnd,
    Rows,
    Prepared,
    /// Definitions of parameters and columns, each with its end.
    Definitions {
        parameters: u16,
        columns: u16,
    },
}

/// Follows one answer.
#[derive(Debug)]
pub struct Answer {
    expects: Expects,
    deprecates_eof: bool,
    /// The last packet's payload goes on in the next.
    goes_on: bool,
    error: Option<u16>,
    status: Option<u16>,
    affected: Option<u64>,
    updated: Option<(u64, u64)>,
    prepared: Option<(u32, u16)>,
    /// A whole result has come, and another follows.
    has_result: bool,
}

impl Answer {
    /// The answer of this shape, which is not [`Shape::Nothing`].
    pub fn new(shape: Shape, deprecates_eof: bool) -> Self {
        Self {
            expects: match shape {
                Shape::Nothing | Shape::Single => Expects::Single,
                Shape::Ok => Expects::Ok,
                Shape::Results => Expects::Result,
                Shape::UpToEof => Expects::Rows,
                Shape::Prepared => Expects::Prepared,
            },
            deprecates_eof,
            goes_on: false,
            error: None,
            status: None,
            affected: None,
            updated: None,
            prepared: None,
            has_result: false,
        }
    }

    /// The number of the error that ended it.
    pub fn error(&self) -> Option<u16> {
        self.error
    }

    /// Whether something was carried out, of a text of several statements or a procedure, before the
    /// error that ended it.
    pub fn failed_halfway(&self) -> bool {
        self.error.is_some() && self.has_result
    }

    /// Whether it left a transaction open, where it says so.
    pub fn is_in_transaction(&self) -> Option<bool> {
        self.status.map(|status| status & IN_TRANSACTION != 0)
    }

    /// How many rows it says were affected, those of several statements added up. Rows that were
    /// read are not counted.
    pub fn affected(&self) -> Option<u64> {
        self.affected
    }

    /// How many rows an `UPDATE` found, and how many of them it changed, where the answer is that to
    /// one and says so in its words: whatever [`Answer::affected`] counts, which is up to the client.
    pub fn updated(&self) -> Option<(u64, u64)> {
        self.updated
    }

    /// The number of the statement that was prepared, and of its parameters.
    pub fn prepared(&self) -> Option<(u32, u16)> {
        self.prepared
    }

    /// Takes the next packet, of `len` bytes of which the first are `head`.
    ///
    /// # Errors
    /// The packet does not fit.
    pub fn packet(&mut self, len: usize, head: &[u8]) -> Result<Step, Broken> {
        let was_going_on = std::mem::replace(&mut self.goes_on, len == FULL);
        if was_going_on {
            return Ok(Step::GoesOn);
        }
        if let Some(definitions) = self.definitions() {
            return Ok(definitions);
        }
        let Some(first) = head.first() else {
            // Only a row may be empty: one without columns.
            return match self.expects {
                Expects::Rows => Ok(Step::GoesOn),
                _ => Err(Broken::Empty),
            };
        };
        if *first == 0xff && self.expects != Expects::Single {
            self.error = short(head, 1);
            return Ok(Step::Over);
        }
        match self.expects {
            Expects::Single => Ok(Step::Over),
            Expects::Ok => match first {
                0 => Ok(self.over_ok(len, head)),
                0xfe => Ok(self.over_eof(len, head)),
                other => Err(Broken::Answer(*other)),
            },
            Expects::Result => self.result(*first, len, head),
            Expects::ColumnsEnd => {
                self.expects = Expects::Rows;
                match first {
                    // A cursor is open: its rows are fetched.
                    0xfe if has_cursor(head) => Ok(self.over_eof(len, head)),
                    0xfe => Ok(Step::GoesOn),
                    other => Err(Broken::Answer(*other)),
                }
            }
            Expects::Rows => match first {
                0xfe if self.is_end(len) => Ok(self.over_eof(len, head)),
                _ => Ok(Step::GoesOn),
            },
            Expects::Prepared => self.prepare(*first, head),
            Expects::Columns { .. } | Expects::Definitions { .. } => Ok(Step::GoesOn),
        }
    }

    /// Takes a packet of definitions, if that is what comes.
    fn definitions(&mut self) -> Option<Step> {
        match &mut self.expects {
            Expects::Columns { left } => {
                *left -= 1;
                if *left == 0 {
                    self.expects = if self.deprecates_eof {
                        Expects::Rows
                    } else {
                        Expects::ColumnsEnd
                    };
                }
                Some(Step::GoesOn)
            }
            Expects::Definitions {
                parameters,
                columns,
            } => {
                if *parameters > 0 {
                    *parameters -= 1;
                } else {
                    *columns = columns.saturating_sub(1);
                }
                Some(if *parameters == 0 && *columns == 0 {
                    Step::Over
                } else {
                    Step::GoesOn
                })
            }
            _ => None,
        }
    }

    fn result(&mut self, first: u8, len: usize, head: &[u8]) -> Result<Step, Broken> {
        match first {
            0 => Ok(self.over_ok(len, head)),
            0xfb => Ok(Step::WantsFile),
            _ => {
                let columns = number(head).map(|(columns, _)| columns);
                // A result without columns is an OK packet.
                let columns = columns.filter(|columns| *columns > 0);
                let columns = columns.ok_or(Broken::Answer(first))?;
                self.expects = Expects::Columns { left: columns };
                Ok(Step::GoesOn)
            }
        }
    }

    fn prepare(&mut self, first: u8, head: &[u8]) -> Result<Step, Broken> {
        if first != 0 {
            return Err(Broken::Answer(first));
        }
        let wrong = Broken::Answer(first);
        let id = super::packet::long(head, 1).ok_or(wrong)?;
        let columns = short(head, 5).ok_or(wrong)?;
        let parameters = short(head, 7).ok_or(wrong)?;
        self.prepared = Some((id, parameters));
        let end = u16::from(!self.deprecates_eof);
        let with_end = |count: u16| {
            if count > 0 {
                count.saturating_add(end)
            } else {
                0
            }
        };
        self.expects = Expects::Definitions {
            parameters: with_end(parameters),
            columns: with_end(columns),
        };
        Ok(if parameters == 0 && columns == 0 {
            Step::Over
        } else {
            Step::GoesOn
        })
    }

    /// Whether a packet of this length that begins with 0xfe ends rows.
    fn is_end(&self, len: usize) -> bool {
        if self.deprecates_eof {
            len < FULL
        } else {
            len < 9
        }
    }

    /// After an OK packet that is no end of rows.
    fn over_ok(&mut self, len: usize, head: &[u8]) -> Step {
        if let Some((rows, _)) = number(&head[1..]) {
            self.affected = Some(self.affected.unwrap_or(0).saturating_add(rows));
        }
        let is_first = !self.has_result;
        let step = self.over(head);
        // Of several statements the words may be those of another kind.
        let is_only = is_first && step == Step::Over;
        self.updated = updated(len, head).filter(|_| is_only);
        step
    }

    /// After an OK packet.
    fn over(&mut self, head: &[u8]) -> Step {
        let status = number(&head[1..])
            .and_then(|(_, rest)| number(rest))
            .and_then(|(_, rest)| short(rest, 0));
        self.after(status)
    }

    /// After an EOF packet, or the OK packet that stands for one.
    fn over_eof(&mut self, len: usize, head: &[u8]) -> Step {
        if len > 5 {
            return self.over(head);
        }
        self.after(short(head, 3))
    }

    fn after(&mut self, status: Option<u16>) -> Step {
        self.status = status.or(self.status);
        if status.is_some_and(|status| status & MORE_RESULTS != 0) {
            self.expects = Expects::Result;
            self.has_result = true;
            return Step::GoesOn;
        }
        Step::Over
    }
}

/// What an OK packet of this length says in words of an `UPDATE`: the rows that it found, and of these
/// those that it changed. `Rows matched: 1  Changed: 0  Warnings: 0` is said in the server's language, and
/// in all of them in this order.
fn updated(len: usize, head: &[u8]) -> Option<(u64, u64)> {
    let (affected, rest) = number(head.get(1..)?)?;
    let (_, rest) = number(rest)?;
    // Behind its status and its warnings.
    let (length, text) = number(rest.get(4..)?)?;
    let length = usize::try_from(length).ok()?;
    let is_within = head.len() - text.len() + length <= len;
    let text = text.get(..length).filter(|_| is_within)?;
    let numbers = text.split(|byte| !byte.is_ascii_digit());
    let numbers = numbers.filter(|digits| !digits.is_empty());
    let mut numbers = numbers.map(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
    let (found, changed) = (numbers.next()??, numbers.next()??);
    let is_one = numbers.next().is_some() && numbers.next().is_none();
    let fits = changed <= found && (affected == found || affected == changed);
    (is_one && fits).then_some((found, changed))
}

/// `SERVER_STATUS_CURSOR_EXISTS` in an EOF packet.
fn has_cursor(head: &[u8]) -> bool {
    short(head, 3).is_some_and(|status| status & 0x40 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"\0\x01\0\x02\0\0\0";
    const OK_MORE: &[u8] = b"\0\x01\0\x0a\0\0\0";
    const OK_OPEN: &[u8] = b"\0\x01\0\x03\0\0\0";
    const EOF: &[u8] = b"\xfe\0\0\x02\0";
    const EOF_MORE: &[u8] = b"\xfe\0\0\x0a\0";
    const EOF_CURSOR: &[u8] = b"\xfe\0\0\x42\0";
    const OK_AS_EOF: &[u8] = b"\xfe\0\0\x03\0\0\0";
    const ERROR: &[u8] = b"\xff\xbd\x04#40001Deadlock";
    const COLUMN: &[u8] = b"\x03def";

    /// After which packet the answer is over, and what it said.
    fn follow(shape: Shape, deprecates_eof: bool, packets: &[&[u8]]) -> Answer {
        let mut answer = Answer::new(shape, deprecates_eof);
        for (nth, packet) in packets.iter().enumerate() {
            let step = answer.packet(packet.len(), packet).expect("it fits");
            let is_last = nth + 1 == packets.len();
            assert_eq!(step == Step::Over, is_last, "packet {nth} of {packets:?}");
        }
        answer
    }

    #[test]
    fn answers_end_where_they_end() {
        for (shape, deprecates, packets) in [
            (Shape::Results, false, &[OK][..]),
            (Shape::Results, false, &[ERROR]),
            (
                Shape::Results,
                false,
                &[b"\x02", COLUMN, COLUMN, EOF, b"\x01a\xfb", b"\xfb\xfb", EOF],
            ),
            (
                Shape::Results,
                true,
                &[b"\x01", COLUMN, b"\x01a", OK_AS_EOF],
            ),
            (Shape::Results, false, &[b"\x01", COLUMN, EOF, ERROR]),
            (
                Shape::Results,
                false,
                &[OK_MORE, b"\x01", COLUMN, EOF, EOF_MORE, OK],
            ),
            (Shape::Results, false, &[b"\x01", COLUMN, EOF_CURSOR]),
            (Shape::Results, true, &[b"\x01", COLUMN, EOF_CURSOR]),
            (
                Shape::Results,
                false,
                &[b"\x01", COLUMN, EOF, b"", b"\xfelong enough", EOF],
            ),
            (Shape::UpToEof, false, &[COLUMN, COLUMN, EOF]),
            (Shape::Ok, false, &[EOF]),
            (Shape::Single, false, &[b"Uptime: 1"]),
            (
                Shape::Prepared,
                false,
                &[
                    b"\0\x01\0\0\0\x01\0\x02\0\0\0\0",
                    COLUMN,
                    COLUMN,
                    EOF,
                    COLUMN,
                    EOF,
                ],
            ),
            (
                Shape::Prepared,
                true,
                &[b"\0\x01\0\0\0\x01\0\x02\0\0\0\0", COLUMN, COLUMN, COLUMN],
            ),
            (Shape::Prepared, false, &[b"\0\x01\0\0\0\0\0\0\0\0\0\0"]),
            (Shape::Prepared, false, &[ERROR]),
        ] {
            follow(shape, deprecates, packets);
        }
    }

    #[test]
    fn errors_transactions_and_prepared_statements_are_told() {
        assert_eq!(follow(Shape::Results, false, &[ERROR]).error(), Some(1213));
        for (packets, halfway) in [
            (&[ERROR][..], false),
            (&[b"\x01", COLUMN, EOF, ERROR], false),
            (&[OK_MORE, ERROR], true),
            (&[b"\x01", COLUMN, EOF, EOF_MORE, ERROR], true),
            (&[OK_MORE, OK], false),
        ] {
            let answer = follow(Shape::Results, false, packets);
            assert_eq!(answer.failed_halfway(), halfway, "{packets:?}");
        }
        let open = follow(Shape::Results, false, &[OK_OPEN]);
        assert_eq!((open.error(), open.is_in_transaction()), (None, Some(true)));
        let open = follow(Shape::Results, true, &[b"\x01", COLUMN, OK_AS_EOF]);
        assert_eq!(open.is_in_transaction(), Some(true));
        let prepared = follow(
            Shape::Prepared,
            true,
            &[b"\0\x07\0\0\0\0\0\x01\0\0\0\0", COLUMN],
        );
        assert_eq!(prepared.prepared(), Some((7, 1)));
    }

    #[test]
    fn affected_rows_add_up_and_rows_that_were_read_are_none() {
        let affected = |packets| follow(Shape::Results, true, packets).affected();
        assert_eq!(affected(&[OK]), Some(1));
        assert_eq!(affected(&[b"\0\0\0\x02\0\0\0"]), Some(0));
        assert_eq!(affected(&[b"\0\xfc\x10\x27\0\x02\0\0\0"]), Some(10_000));
        assert_eq!(affected(&[OK_MORE, OK]), Some(2));
        assert_eq!(affected(&[b"\x01", COLUMN, b"\x01a", OK_AS_EOF]), None);
        assert_eq!(affected(&[ERROR]), None);
    }

    #[test]
    fn what_an_update_found_and_changed_is_told_whatever_the_client_has_counted() {
        let ok = |affected: u8, status: u8, text: &str| {
            let mut packet = vec![0, affected, 0, status, 0, 0, 0, text.len() as u8];
            packet.extend_from_slice(text.as_bytes());
            packet
        };
        let told = |packets: &[Vec<u8>]| {
            let packets: Vec<&[u8]> = packets.iter().map(|one| &**one).collect();
            follow(Shape::Results, true, &packets).updated()
        };
        let same = "Rows matched: 1  Changed: 0  Warnings: 0";
        for affected in [0, 1] {
            assert_eq!(told(&[ok(affected, 2, same)]), Some((1, 0)));
        }
        let german = "Datensätze gefunden: 23  Geändert: 7  Warnungen: 1";
        assert_eq!(told(&[ok(7, 2, german)]), Some((23, 7)));
        // Other words, others' numbers, a text that is not all here, several statements, none.
        for packets in [
            &[ok(3, 2, "Records: 3  Duplicates: 0  Warnings: 0; 4")][..],
            &[ok(2, 2, same)],
            &[ok(0, 2, "Rows matched: 1  Changed: 0")],
            &[ok(0, 10, same), ok(0, 2, same)],
            &[ok(0, 2, "")],
            &[OK.to_vec()],
        ] {
            assert_eq!(told(packets), None, "{packets:?}");
        }
        let mut cut = ok(0, 2, same);
        cut.truncate(20);
        assert_eq!(told(&[cut]), None);
    }

    #[test]
    fn a_file_is_asked_for_and_then_the_answer_goes_on() {
        let mut answer = Answer::new(Shape::Results, false);
        assert_eq!(answer.packet(9, b"\xfbname.csv"), Ok(Step::WantsFile));
        assert_eq!(answer.packet(OK.len(), OK), Ok(Step::Over));
    }

    #[test]
    fn a_row_may_be_longer_than_a_packet() {
        let mut answer = Answer::new(Shape::Results, true);
        for packet in [&b"\x01"[..], COLUMN] {
            assert_eq!(answer.packet(packet.len(), packet), Ok(Step::GoesOn));
        }
        // A value of 16 MiB has a length that begins like an end.
        assert_eq!(
            answer.packet(FULL, b"\xfe\0\0\0\x01\0\0\0\0"),
            Ok(Step::GoesOn)
        );
        assert_eq!(answer.packet(9, b"\xffthe rest"), Ok(Step::GoesOn));
        assert_eq!(answer.packet(OK_AS_EOF.len(), OK_AS_EOF), Ok(Step::Over));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (shape, packet) in [
            (Shape::Ok, &b"\x05hello"[..]),
            (Shape::Prepared, b"\x01"),
            (Shape::Prepared, b"\0\x01"),
            (Shape::Results, b""),
            (Shape::Results, b"\xfc"),
            (Shape::Results, b"\xfc\0\0"),
        ] {
            let mut answer = Answer::new(shape, false);
            assert!(answer.packet(packet.len(), packet).is_err(), "{packet:?}");
        }
    }
}
