//! Commands and their answers, one after the other.

use super::{
    Desk, Made, Open, Over, cut_words, lost, make, say,
    transaction::{Transaction, is_reading},
    write,
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied, Recognised,
        mysql::{
            Command, Leaves,
            answer::{Answer, Shape, Step},
            execute::{Bound, Type},
            packet::{FULL, HEADER_BYTES, Packet, packet},
            recognise, recognise_command,
        },
    },
    proxy::{
        Config,
        connection::{Arrival, ClientStream},
        decide::{Asked as _, Held, Verdict, decide, hold},
        inlet::{Inlet, ROOM_MAX, Waiting, gone},
        relay,
        statement::Statement,
        upstream::UpstreamStream,
    },
    scenario::{Capture, KeyFrom},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::watch,
    time::timeout,
};

/// Prepared statements that are known by their number; of further ones the kind is `EXECUTE`.
const PREPARED_MAX: usize = 10_000;

/// The number by which MariaDB's clients mean the statement that was prepared last.
const LAST_PREPARED: u32 = u32::MAX;

/// The kinds of statements of whose rows the server says how many they changed.
const CHANGING: [&str; 4] = ["INSERT", "REPLACE", "UPDATE", "DELETE"];

/// Those of them that change nothing where a row is as it was to be (`ON DUPLICATE KEY UPDATE`).
const HOLDING: [&str; 2] = ["INSERT", "UPDATE"];

/// The kinds of statements that no fault has carried out several times: the first ends a
/// transaction, the second asks the client for a file.
const NOT_REPEATED: [&str; 2] = ["COMMIT", "LOAD"];

/// The errors with which a procedure is not begun: no database, no such procedure, other arguments
/// than it has, no right to call it.
const NOT_BEGUN: [u16; 4] = [1046, 1305, 1318, 1370];

/// A prepared statement.
struct Prepared {
    recognised: Recognised,
    parameters: u16,
    /// The types of the parameters that are of interest here, since the execution that said them.
    types: Vec<Type>,
    /// Which of those parameters, from 1, came beforehand.
    long: BTreeSet<usize>,
}

/// One connection after authentication.
pub(super) struct Session<'a> {
    desk: &'a Desk,
    faults: watch::Receiver<Arc<FaultSet>>,
    client: Inlet<ReadHalf<ClientStream>>,
    to_client: WriteHalf<ClientStream>,
    upstream: Inlet<ReadHalf<UpstreamStream>>,
    to_upstream: WriteHalf<UpstreamStream>,
    deprecates_eof: bool,
    counts_found: bool,
    prepared: BTreeMap<u32, Prepared>,
    /// The parameters that keys and captures come from, up to this one.
    parameters_max: usize,
    last_prepared: Option<u32>,
    transaction: Transaction,
}

/// A command whose beginning is there.
struct Asked {
    command: Command,
    began: Arrival,
    /// The length of its first packet's payload.
    len: usize,
    /// The bytes of it that are there.
    here: usize,
}

/// What becomes of an answer.
enum Fate {
    Pass,
    Swallow(Then, FaultId),
    /// The client left while it was held back.
    Unheard,
}

/// How many rows a statement found and changed, where it is an `UPDATE` whose answer says both.
fn updated(answer: &Answer, statement: &Statement) -> Option<(u64, u64)> {
    answer
        .updated()
        .filter(|_| **statement.operation() == *"UPDATE")
}

impl<'a> Session<'a> {
    pub(super) fn new(desk: &'a Desk, open: Open) -> Self {
        let (client, to_client) = split(open.client);
        let (upstream, to_upstream) = split(open.upstream);
        Self {
            faults: desk.shared.switch.subscribe(),
            desk,
            client: Inlet::new(client),
            to_client,
            upstream: Inlet::new(upstream),
            to_upstream,
            deprecates_eof: open.wanted.deprecates_eof,
            counts_found: open.wanted.counts_found,
            prepared: BTreeMap::new(),
            parameters_max: parameters_max(&desk.shared.config),
            last_prepared: None,
            transaction: Transaction::default(),
        }
    }

    /// Carries commands until the connection is over; `None`: until bytes are to pass unread.
    pub(super) async fn run(&mut self) -> Option<Over> {
        loop {
            let done = match self.next().await {
                Ok(asked) => {
                    self.desk.shared.room().await;
                    self.one(asked).await
                }
                Err(over) => Err(over),
            };
            match done {
                Ok(true) => {}
                Ok(false) => return None,
                Err(over) => return Some(over),
            }
        }
    }

    /// Passes bytes both ways from now on.
    pub(super) async fn hand_over(self) {
        let (client, client_rest) = self.client.into_parts();
        let (upstream, upstream_rest) = self.upstream.into_parts();
        let (mut to_client, mut to_upstream) = (self.to_client, self.to_upstream);
        let passing = async {
            write(&mut to_client, &upstream_rest).await?;
            write(&mut to_upstream, &client_rest).await
        };
        let life = &self.desk.life;
        if let Err(error) = passing.await {
            life.ended(format!("broke off: {error}"));
            return life.close(Closing::Reset);
        }
        let client = client.unsplit(to_client);
        let upstream = upstream.unsplit(to_upstream);
        relay::pass(client, upstream, life, &self.desk.shared).await;
    }

    /// Reads what the client still sends, and throws it away, until it closes.
    pub(super) async fn drain(&mut self) {
        loop {
            self.client.consume(self.client.bytes().len());
            if !matches!(self.client.fill().await, Ok(1..)) {
                return;
            }
        }
    }

    /// Waits for the next command.
    async fn next(&mut self) -> Result<Asked, Over> {
        let mut began = self.desk.life.arrival();
        loop {
            // Each command begins with a packet of number 0 that says something.
            if let Some(header) = self.client.bytes().get(..HEADER_BYTES)
                && (header[3] != 0 || header[..3] == [0; 3])
            {
                return Err(self.refuse(began).await);
            }
            if let Some(packet) = Packet::begin(self.client.bytes())
                && (packet.is_whole() || !self.client.has_room())
            {
                return Ok(Asked {
                    command: Command::of(packet.payload),
                    began,
                    len: packet.len,
                    here: packet.payload.len(),
                });
            }
            let was_empty = self.client.bytes().is_empty();
            tokio::select! {
                biased;
                read = self.client.fill() => match read {
                    Ok(1..) if was_empty => began = self.desk.life.arrival(),
                    Ok(1..) => {}
                    _ => {
                        self.cut_off(began);
                        return Err(Over::client_gone());
                    }
                },
                read = self.upstream.fill() => match read {
                    Ok(1..) => self.unasked().await?,
                    Ok(0) => return Err(Over::upstream_closed(None)),
                    Err(error) => return Err(Over::upstream_closed(Some(&error))),
                },
            }
        }
    }

    /// Records the command of which only the beginning came, as a fault cut the connection behind
    /// it.
    fn cut_off(&self, began: Arrival) {
        if !self.desk.life.is_cut() || self.client.bytes().is_empty() {
            return;
        }
        let payload = self.client.bytes().get(HEADER_BYTES..).unwrap_or_default();
        let asked = Asked {
            command: Command::of(payload),
            began,
            len: payload.len(),
            here: payload.len(),
        };
        let recognised = if payload.is_empty() {
            recognise_command("COMMAND")
        } else {
            match self.recognised(&asked) {
                Some(recognised) => recognised,
                // Nobody waits for an answer.
                None => return,
            }
        };
        let mut statement = self.statement(recognised, began);
        statement.add_up(self.client.bytes().len());
        statement.finish(AttemptEnd::GaveUp);
    }

    /// A server may say why it closes a connection that is idle.
    async fn unasked(&mut self) -> Result<(), Over> {
        let written = write(&mut self.to_client, self.upstream.bytes()).await;
        self.upstream.consume(self.upstream.bytes().len());
        written.map_err(|_| Over::client_gone())
    }

    /// Refuses what is no command, as a server does, and closes.
    async fn refuse(&mut self, began: Arrival) -> Over {
        let mut statement = self.statement(recognise_command("malformed"), began);
        statement.code("1156");
        let bytes = packet(1, b"\xff\x84\x04#08S01Got packets out of order");
        statement.add_down(bytes.len());
        // The connection is closed either way.
        let _ = write(&mut self.to_client, &bytes).await;
        statement.finish(AttemptEnd::Answered);
        Over::cut("refused: packets out of order", Closing::Fin)
    }

    fn statement(&self, recognised: Recognised, began: Arrival) -> Statement {
        let Desk {
            shared,
            life,
            connection,
        } = self.desk;
        Statement::new(shared, life, *connection, recognised, began)
    }

    /// What faults and histories see of a command; `None` where it has no answer.
    fn recognised(&self, asked: &Asked) -> Option<Recognised> {
        let payload = &self.client.bytes()[HEADER_BYTES..HEADER_BYTES + asked.here];
        let text = &payload[1.min(payload.len())..];
        Some(match asked.command {
            Command::Query => recognise(text),
            Command::Prepare => Recognised {
                operation: "PREPARE".into(),
                ..recognise(text)
            },
            Command::Execute(id) => self
                .known(id)
                .map_or_else(|| recognise_command("EXECUTE"), Clone::clone),
            Command::Fetch(id) => Recognised {
                operation: "FETCH".into(),
                ..self.known(id).cloned().unwrap_or_default()
            },
            Command::ChangeUser => recognise_command("CHANGE_USER"),
            Command::Other(name, _) => recognise_command(name),
            Command::Reset(_) => recognise_command("COMMAND"),
            Command::Quit | Command::Close(_) | Command::LongData(..) | Command::Dump => {
                return None;
            }
        })
    }

    fn known(&self, id: u32) -> Option<&Recognised> {
        let prepared = self.prepared.get(&self.number(id)?)?;
        Some(&prepared.recognised)
    }

    /// The number that the server has given to the statement which a client means so.
    fn number(&self, id: u32) -> Option<u32> {
        if id == LAST_PREPARED {
            self.last_prepared
        } else {
            Some(id)
        }
    }

    /// Reads the bound parameters that keys and captures come from, and notes their types.
    fn bound(&mut self, asked: &Asked) -> BTreeMap<usize, String> {
        let Command::Execute(id) = asked.command else {
            return BTreeMap::new();
        };
        let number = self.number(id).filter(|_| self.parameters_max > 0);
        let prepared = number.and_then(|number| self.prepared.get_mut(&number));
        let Some(prepared) = prepared else {
            return BTreeMap::new();
        };
        let payload = &self.client.bytes()[HEADER_BYTES..HEADER_BYTES + asked.here];
        let long = std::mem::take(&mut prepared.long);
        let Some(bound) = Bound::read(payload, prepared.parameters) else {
            return BTreeMap::new();
        };
        if let Some(types) = bound.types(self.parameters_max) {
            prepared.types = types;
        }
        let value = |nth| bound.parameter(nth, &prepared.types, |nth| long.contains(&nth));
        let values = (1..=self.parameters_max).filter_map(|nth| Some((nth, value(nth)?)));
        values.collect()
    }

    /// Follows a command that is not answered, or asks nothing of the data.
    fn note(&mut self, command: Command) {
        match command {
            Command::Close(id) => drop(self.prepared.remove(&id)),
            Command::LongData(id, parameter) => {
                let nth = usize::from(parameter) + 1;
                let prepared = self.number(id).and_then(|id| self.prepared.get_mut(&id));
                if let Some(prepared) = prepared.filter(|_| nth <= self.parameters_max) {
                    prepared.long.insert(nth);
                }
            }
            Command::Reset(id) => {
                let prepared = self.number(id).and_then(|id| self.prepared.get_mut(&id));
                if let Some(prepared) = prepared {
                    prepared.long.clear();
                }
            }
            _ => {}
        }
    }

    /// Decides about one command, and does it. False if bytes are to pass unread from now on.
    async fn one(&mut self, asked: Asked) -> Result<bool, Over> {
        self.note(asked.command);
        let Some(mut recognised) = self.recognised(&asked) else {
            if asked.command == Command::Dump {
                return Ok(false);
            }
            self.send(asked.len, None).await?;
            return Ok(true);
        };
        let kept = (asked.command == Command::Prepare).then(|| recognised.clone());
        let bound = self.bound(&asked);
        let config = &self.desk.shared.config;
        if let Some(KeyFrom::Parameter(nth)) = config.key
            && let Some(key) = bound.get(&nth)
        {
            recognised.key = key.as_str().into();
        }
        let mut statement = self.statement(recognised, asked.began);
        statement.capture(captured(config, &bound));
        let verdict = self.decide(&asked, &mut statement).await;
        let then = match verdict {
            Verdict::Forward(then) => then,
            Verdict::Reply(reply) => {
                let sequence = self.skip(asked.len, &mut statement).await?;
                self.reply(&reply, sequence, statement).await?;
                return Ok(true);
            }
            Verdict::Close(closing) => return Err(self.cut(closing, &mut statement).await),
            Verdict::GaveUp => {
                statement.gave_up();
                return Err(Over::client_gone());
            }
            Verdict::Spilled => {
                statement.finish(AttemptEnd::Unfinished);
                let how = "released after more than was kept";
                return Err(Over::cut(how, Closing::Fin));
            }
        };
        self.transaction.begins(&statement);
        let then = self.repeat(&asked, then, &mut statement).await?;
        self.send(asked.len, Some(&mut statement)).await?;
        statement.sent_whole();
        if asked.command == Command::ChangeUser {
            self.change_user(&mut statement).await?;
            statement.settle().await;
            statement.finish(AttemptEnd::Answered);
            return Ok(true);
        }
        let answered = self
            .answer(asked.command.shape(), &mut statement, then)
            .await;
        let (answer, sequence, fate) = self.settled(answered, &mut statement)?;
        self.follow(asked.command, &answer, kept);
        match fate {
            Fate::Pass => {}
            Fate::Swallow(then, fault) => {
                return self
                    .swallowed(then, fault, sequence, statement, &answer)
                    .await;
            }
            Fate::Unheard => return Err(self.unheard(statement, &answer)),
        }
        statement.settle().await;
        self.transaction
            .answered(statement, answer.error(), answer.is_in_transaction());
        Ok(true)
    }

    /// Sends copies of a command before itself where a fault wants that: what then is to be done to
    /// its own answer. A command of which not all is there, and one that cannot be done twice, is
    /// left alone.
    async fn repeat(
        &mut self,
        asked: &Asked,
        then: Option<(Then, FaultId)>,
        statement: &mut Statement,
    ) -> Result<Option<(Then, FaultId)>, Over> {
        let (times, then, fault) = match then {
            Some((Then::Repeat { times, then }, fault)) => (times, then, fault),
            other => return Ok(other),
        };
        let can_be_repeated = matches!(asked.command, Command::Query | Command::Execute(_))
            && !NOT_REPEATED.contains(&&**statement.operation());
        let len = HEADER_BYTES + asked.len;
        let Some(bytes) = self.client.bytes().get(..len) else {
            statement.did_not_act(fault);
            return Ok(None);
        };
        if !can_be_repeated || asked.len == FULL {
            statement.did_not_act(fault);
            return Ok(None);
        }
        let bytes = bytes.to_vec();
        for _ in 0..times {
            let copied = self.copy(&bytes, asked.command.shape(), statement).await;
            let (answer, rows) = match copied {
                Ok(copied) => copied,
                Err(Ended::Client) => {
                    statement.gave_up();
                    return Err(Over::client_gone());
                }
                Err(Ended::Upstream(over)) => {
                    statement.finish(AttemptEnd::UpstreamFailed);
                    return Err(over);
                }
            };
            let in_transaction = answer.is_in_transaction() == Some(true);
            statement.copy_answered(answer.error().is_none(), rows, in_transaction);
        }
        Ok(Some((*then, fault)))
    }

    /// Sends a copy of a command, and throws its answer away: what it said, and the rows that were
    /// changed.
    async fn copy(
        &mut self,
        bytes: &[u8],
        shape: Shape,
        statement: &mut Statement,
    ) -> Result<(Answer, Option<u64>), Ended> {
        let sending = async {
            self.to_upstream.write_all(bytes).await?;
            statement.copy_sent();
            self.to_upstream.flush().await
        };
        let sent = sending.await;
        sent.map_err(|error| Ended::Upstream(Over::upstream_closed(Some(&error))))?;
        let mut answer = Answer::new(shape, self.deprecates_eof);
        loop {
            let Some(packet) = Packet::begin(self.upstream.bytes()) else {
                self.fill(statement).await?;
                continue;
            };
            let (len, size) = (packet.len, packet.bytes());
            let step = answer
                .packet(len, packet.payload)
                .map_err(|broken| Ended::Upstream(Over::upstream_broke(broken)))?;
            self.drop_bytes(size, statement).await?;
            match step {
                Step::GoesOn => {}
                Step::Over => break,
                Step::WantsFile => {
                    let how = "upstream wants a file for a statement of no file";
                    return Err(Ended::Upstream(Over::cut(how, Closing::Reset)));
                }
            }
        }
        let rows = answer.affected();
        let rows = rows.filter(|_| CHANGING.contains(&&**statement.operation()));
        let changed = updated(&answer, statement).map(|(_, changed)| changed);
        let rows = changed.or(rows);
        Ok((answer, rows))
    }

    async fn decide(&mut self, asked: &Asked, statement: &mut Statement) -> Verdict {
        self.client
            .set_room_max(self.desk.shared.config.limits.held_bytes);
        let mut waiting = Waiting {
            inlet: &mut self.client,
            keep: HEADER_BYTES + asked.here,
        };
        let verdict = decide(statement, &mut self.faults, &mut waiting).await;
        self.client.set_room_max(ROOM_MAX);
        verdict
    }

    /// Notes what an answer says of the session.
    fn follow(&mut self, command: Command, answer: &Answer, kept: Option<Recognised>) {
        if let (Some((id, parameters)), Some(mut recognised)) = (answer.prepared(), kept)
            && self.prepared.len() < PREPARED_MAX
        {
            recognised.operation = recognise(recognised.text.as_bytes()).operation;
            let prepared = Prepared {
                recognised,
                parameters,
                types: Vec::new(),
                long: BTreeSet::new(),
            };
            self.prepared.insert(id, prepared);
            self.last_prepared = Some(id);
        }
        if command == Command::Other("RESET_CONNECTION", Shape::Ok) && answer.error().is_none() {
            self.prepared.clear();
            self.transaction.taken_back();
        }
    }

    /// Sends on a command whose first packet has this length.
    async fn send(
        &mut self,
        len: usize,
        mut statement: Option<&mut Statement>,
    ) -> Result<(), Over> {
        let (mut left, mut goes_on) = (HEADER_BYTES + len, len == FULL);
        loop {
            let here = self.client.bytes().len().min(left);
            if here > 0 {
                let sent = write(&mut self.to_upstream, &self.client.bytes()[..here]).await;
                self.client.consume(here);
                left -= here;
                if let Some(statement) = &mut statement {
                    statement.add_up(here);
                }
                if let Err(error) = sent {
                    if let Some(statement) = &mut statement {
                        statement.finish(AttemptEnd::UpstreamFailed);
                    }
                    return Err(Over::upstream_closed(Some(&error)));
                }
            }
            if left == 0 {
                if !goes_on {
                    return Ok(());
                }
                (left, goes_on) = self.next_packet(&mut statement).await?;
            } else if self.client.bytes().is_empty() {
                self.more(&mut statement).await?;
            }
        }
    }

    /// Throws a command away whose first packet has this length. The sequence number of its
    /// answer.
    async fn skip(&mut self, len: usize, statement: &mut Statement) -> Result<u8, Over> {
        let mut statement = Some(statement);
        let (mut left, mut goes_on) = (HEADER_BYTES + len, len == FULL);
        let mut sequence = 1u8;
        loop {
            let here = self.client.bytes().len().min(left);
            self.client.consume(here);
            left -= here;
            if let Some(statement) = &mut statement {
                statement.add_up(here);
            }
            if left == 0 {
                if !goes_on {
                    return Ok(sequence);
                }
                (left, goes_on) = self.next_packet(&mut statement).await?;
                sequence = sequence.wrapping_add(1);
            } else if self.client.bytes().is_empty() {
                self.more(&mut statement).await?;
            }
        }
    }

    /// The next packet of the client's, its header being there: its bytes, and whether its
    /// payload goes on.
    async fn next_packet(
        &mut self,
        statement: &mut Option<&mut Statement>,
    ) -> Result<(usize, bool), Over> {
        loop {
            if let Some(header) = self.client.bytes().get(..HEADER_BYTES) {
                let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
                return Ok((HEADER_BYTES + len, len == FULL));
            }
            self.more(statement).await?;
        }
    }

    async fn more(&mut self, statement: &mut Option<&mut Statement>) -> Result<(), Over> {
        if matches!(self.client.fill().await, Ok(1..)) {
            return Ok(());
        }
        if let Some(statement) = statement {
            statement.gave_up();
        }
        Err(Over::client_gone())
    }

    /// Passes an answer, or throws it away: what it said, the sequence number of the first packet
    /// that was thrown away, in whose place another answer comes, and what is to be done.
    async fn answer(
        &mut self,
        shape: Shape,
        statement: &mut Statement,
        then: Option<(Then, FaultId)>,
    ) -> Result<(Answer, u8, Fate), Ended> {
        let mut answer = Answer::new(shape, self.deprecates_eof);
        let mut fate = None;
        let mut then = then;
        let (mut taken, mut sequence) = (0, None);
        loop {
            let Some(packet) = Packet::begin(&self.upstream.bytes()[taken..]) else {
                self.tell(&mut taken).await?;
                self.fill(statement).await?;
                continue;
            };
            let (len, size, number) = (packet.len, packet.bytes(), packet.sequence);
            let step = answer
                .packet(len, packet.payload)
                .map_err(|broken| Ended::Upstream(Over::upstream_broke(broken)))?;
            if fate.is_none() {
                let decided = self.fate(then.take(), statement).await;
                if step == Step::Over && matches!(decided, Err(Ended::Client)) {
                    // What it says is known, though nobody hears it.
                    return Ok((answer, number, Fate::Unheard));
                }
                fate = Some(decided?);
            }
            let passes = matches!(fate, Some(Fate::Pass)) || step == Step::WantsFile;
            if passes {
                self.pass(size, &mut taken, statement).await?;
            } else {
                self.tell(&mut taken).await?;
                self.drop_bytes(size, statement).await?;
                sequence.get_or_insert(number);
            }
            match step {
                Step::GoesOn => {}
                Step::WantsFile => {
                    self.tell(&mut taken).await?;
                    self.file(statement).await?;
                }
                Step::Over => {
                    self.tell(&mut taken).await?;
                    let fate = fate.unwrap_or(Fate::Pass);
                    return Ok((answer, sequence.unwrap_or(number), fate));
                }
            }
        }
    }

    /// What becomes of the answer that begins now.
    async fn fate(
        &mut self,
        then: Option<(Then, FaultId)>,
        statement: &mut Statement,
    ) -> Result<Fate, Ended> {
        match then {
            None => Ok(Fate::Pass),
            Some((Then::Late(delay), fault)) => {
                // An answer is there to act on.
                statement.upstream_answered(Applied::Unknown);
                let gone = gone(&mut self.client);
                match hold(&mut self.faults, gone, &[fault], Some(delay)).await {
                    Held::ClientGone => return Err(Ended::Client),
                    Held::Lifted => statement.released(),
                    Held::Elapsed => {}
                }
                Ok(Fate::Pass)
            }
            Some((then @ (Then::Reply(_) | Then::Lose | Then::Close(_)), fault)) => {
                Ok(Fate::Swallow(then, fault))
            }
            Some((_, fault)) => {
                // No file asks for it: only answers of HTTP have bodies.
                statement.did_not_act(fault);
                Ok(Fate::Pass)
            }
        }
    }

    /// Ends a statement whose answer did not come to its end, and notes what it said otherwise.
    fn settled(
        &self,
        answered: Result<(Answer, u8, Fate), Ended>,
        statement: &mut Statement,
    ) -> Result<(Answer, u8, Fate), Over> {
        match answered {
            Ok((answer, sequence, fate)) => {
                match answer.error() {
                    Some(errno) => {
                        statement.upstream_answered(failed(&answer, errno, statement));
                        if !matches!(fate, Fate::Unheard) {
                            statement.code(errno.to_string());
                        }
                    }
                    None => statement.upstream_answered(Applied::Yes),
                }
                // Of any other statement the server says that it affected none.
                if let Some(rows) = answer.affected()
                    && CHANGING.contains(&&**statement.operation())
                {
                    let updated = updated(&answer, statement);
                    statement.changed(updated.map_or(rows, |(_, changed)| changed));
                    match updated {
                        Some((0, _)) => {}
                        Some(_) => statement.held(),
                        // Nor does it find a row where it deletes none or puts one in its place.
                        None if self.counts_found => {}
                        None if HOLDING.contains(&&**statement.operation()) => {
                            statement.perhaps_held();
                        }
                        None => {}
                    }
                }
                Ok((answer, sequence, fate))
            }
            Err(Ended::Client) => {
                statement.gave_up();
                Err(Over::client_gone())
            }
            Err(Ended::Upstream(over)) => {
                statement.finish(AttemptEnd::UpstreamFailed);
                Err(over)
            }
        }
    }

    /// Lets a packet of this size go to the client; what is not there yet as it comes.
    async fn pass(
        &mut self,
        size: usize,
        taken: &mut usize,
        statement: &mut Statement,
    ) -> Result<(), Ended> {
        statement.add_down(size);
        let mut left = size;
        loop {
            let here = (self.upstream.bytes().len() - *taken).min(left);
            *taken += here;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.tell(taken).await?;
            self.fill(statement).await?;
        }
    }

    /// Throws away a packet of this size.
    async fn drop_bytes(&mut self, size: usize, statement: &Statement) -> Result<(), Ended> {
        let mut left = size;
        loop {
            let here = self.upstream.bytes().len().min(left);
            self.upstream.consume(here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.fill(statement).await?;
        }
    }

    /// Writes what goes to the client.
    async fn tell(&mut self, taken: &mut usize) -> Result<(), Ended> {
        let taken = std::mem::take(taken);
        if taken == 0 {
            return Ok(());
        }
        let written = write(&mut self.to_client, &self.upstream.bytes()[..taken]).await;
        self.upstream.consume(taken);
        written.map_err(|_| Ended::Client)
    }

    /// Reads more of an answer, and notices when the client goes away meanwhile.
    async fn fill(&mut self, _: &Statement) -> Result<(), Ended> {
        tokio::select! {
            biased;
            read = self.upstream.fill() => match read {
                Ok(1..) => Ok(()),
                Ok(0) => Err(Ended::Upstream(Over::upstream_closed(None))),
                Err(error) => Err(Ended::Upstream(Over::upstream_closed(Some(&error)))),
            },
            () = gone(&mut self.client) => Err(Ended::Client),
        }
    }

    /// Passes the file that the client was asked for, up to the empty packet behind it.
    async fn file(&mut self, statement: &mut Statement) -> Result<(), Ended> {
        loop {
            let mut none = None;
            let next = self.next_packet(&mut none).await;
            let (size, _) = next.map_err(|_| Ended::Client)?;
            let mut left = size;
            while left > 0 {
                if self.client.bytes().is_empty() && !matches!(self.client.fill().await, Ok(1..)) {
                    return Err(Ended::Client);
                }
                let here = self.client.bytes().len().min(left);
                let sent = write(&mut self.to_upstream, &self.client.bytes()[..here]).await;
                self.client.consume(here);
                statement.add_up(here);
                left -= here;
                sent.map_err(|error| Ended::Upstream(Over::upstream_closed(Some(&error))))?;
            }
            if size == HEADER_BYTES {
                return Ok(());
            }
        }
    }

    /// `COM_CHANGE_USER`: authentication anew, packet by packet.
    async fn change_user(&mut self, statement: &mut Statement) -> Result<(), Over> {
        loop {
            let first = match self.whole(statement).await {
                Ok(first) => first,
                Err(ended) => return self.settled(Err(ended), statement).map(|_| ()),
            };
            match first {
                [0, ..] => {
                    statement.upstream_answered(Applied::Yes);
                    self.prepared.clear();
                    self.transaction.taken_back();
                    return Ok(());
                }
                [0xff, low, high] => {
                    statement.upstream_answered(Applied::No);
                    statement.code(u16::from_le_bytes([low, high]).to_string());
                    return Ok(());
                }
                [1, 3, _] => {}
                _ => {
                    let mut some = Some(&mut *statement);
                    let (size, _) = self.next_packet(&mut some).await?;
                    self.send(size - HEADER_BYTES, some).await?;
                }
            }
        }
    }

    /// Passes one packet of the server's, and says how its payload begins.
    async fn whole(&mut self, statement: &mut Statement) -> Result<[u8; 3], Ended> {
        loop {
            if let Some(packet) = Packet::begin(self.upstream.bytes()) {
                let mut first = [0; 3];
                let len = packet.payload.len().min(3);
                first[..len].copy_from_slice(&packet.payload[..len]);
                let (size, mut taken) = (packet.bytes(), 0);
                self.pass(size, &mut taken, statement).await?;
                self.tell(&mut taken).await?;
                return Ok(first);
            }
            self.fill(statement).await?;
        }
    }

    /// The server has carried out a statement whose answer was thrown away.
    async fn swallowed(
        &mut self,
        then: Then,
        fault: FaultId,
        sequence: u8,
        mut statement: Statement,
        answer: &Answer,
    ) -> Result<bool, Over> {
        let (error, is_open) = (answer.error(), answer.is_in_transaction());
        self.transaction.follows(&statement, error, is_open);
        if self.transaction.is_open() && statement.is_applied() {
            // The client, who is told otherwise, may still take it back.
            statement.upstream_answered(Applied::Unknown);
        }
        let done = self.instead(then, fault, sequence, statement).await;
        self.transaction.is_untold();
        done.map(|()| true)
    }

    /// The server has carried out a statement, and its client left before it heard of it. What is in
    /// an open transaction is taken back with the session.
    fn unheard(&mut self, mut statement: Statement, answer: &Answer) -> Over {
        let (error, is_open) = (answer.error(), answer.is_in_transaction());
        self.transaction.follows(&statement, error, is_open);
        if self.transaction.is_open() && statement.is_applied() && !is_reading(&statement) {
            statement.upstream_answered(Applied::No);
        }
        self.transaction.is_untold();
        statement.gave_up();
        Over::client_gone()
    }

    /// Does what is done in place of an answer that was thrown away.
    async fn instead(
        &mut self,
        then: Then,
        fault: FaultId,
        sequence: u8,
        mut statement: Statement,
    ) -> Result<(), Over> {
        match then {
            Then::Reply(reply) => self.reply(&reply, sequence, statement).await,
            Then::Close(closing) => Err(self.cut(closing, &mut statement).await),
            _ => {
                let gone = gone(&mut self.client);
                Err(match hold(&mut self.faults, gone, &[fault], None).await {
                    Held::ClientGone => {
                        statement.gave_up();
                        Over::client_gone()
                    }
                    _ => lost(&mut statement),
                })
            }
        }
    }

    /// Answers in the server's stead.
    async fn reply(
        &mut self,
        reply: &Reply,
        sequence: u8,
        mut statement: Statement,
    ) -> Result<(), Over> {
        let made = make(reply, sequence, false);
        match self.undo(&made).await {
            Ok(()) => {}
            Err(Ended::Client) => {
                statement.gave_up();
                return Err(Over::client_gone());
            }
            Err(Ended::Upstream(over)) => {
                statement.finish(AttemptEnd::UpstreamFailed);
                return Err(over);
            }
        }
        say(&made, &mut statement, &mut self.to_client).await
    }

    /// Rolls back at the server what the client is told was rolled back. Waits no longer than it
    /// may, and not for a client that has gone: the server rolls back when its session ends.
    async fn undo(&mut self, made: &Made) -> Result<(), Ended> {
        let ends = made
            .def
            .is_some_and(|def| def.leaves == Leaves::NoTransaction);
        if !ends || !self.transaction.is_open() {
            return Ok(());
        }
        let limit = self.desk.shared.config.limits.undo;
        let answer = Answer::new(Shape::Results, self.deprecates_eof);
        let rolling = roll_back(&mut self.upstream, &mut self.to_upstream, answer);
        tokio::select! {
            biased;
            rolled = timeout(limit, rolling) => rolled.unwrap_or_else(|_| {
                let how = "upstream did not roll back in time";
                Err(Over::cut(how, Closing::Reset))
            }).map_err(Ended::Upstream)?,
            () = gone(&mut self.client) => return Err(Ended::Client),
        }
        self.transaction.taken_back();
        Ok(())
    }

    /// Cuts the connection as a fault wants it, after its time where it has one.
    async fn cut(&mut self, closing: Closing, statement: &mut Statement) -> Over {
        let (delay, closing) = closing.apart();
        if delay.is_some() {
            let gone = gone(&mut self.client);
            if hold(&mut self.faults, gone, &[], delay).await == Held::ClientGone {
                statement.gave_up();
                return Over::client_gone();
            }
        }
        statement.finish(AttemptEnd::Cut);
        Over::cut(cut_words(closing), closing)
    }
}

/// What a statement did that was answered with an error. What came before the error in a text of
/// several statements stays, and so does what a procedure did before it, of which only that it was
/// never begun is told.
fn failed(answer: &Answer, errno: u16, statement: &Statement) -> Applied {
    let is_begun = **statement.operation() == *"CALL" && !NOT_BEGUN.contains(&errno);
    if answer.failed_halfway() || is_begun {
        Applied::Unknown
    } else {
        Applied::No
    }
}

/// Sends a `ROLLBACK` of ours, and waits for its answer.
async fn roll_back(
    upstream: &mut Inlet<ReadHalf<UpstreamStream>>,
    to_upstream: &mut WriteHalf<UpstreamStream>,
    mut answer: Answer,
) -> Result<(), Over> {
    let closed = |error: &io::Error| Over::upstream_closed(Some(error));
    write(to_upstream, &packet(0, b"\x03ROLLBACK"))
        .await
        .map_err(|error| closed(&error))?;
    loop {
        if let Some(packet) = Packet::begin(upstream.bytes())
            && packet.is_whole()
        {
            let size = packet.bytes();
            let step = answer.packet(packet.len, packet.payload);
            upstream.consume(size);
            match step {
                Ok(Step::Over) if answer.error().is_none() => return Ok(()),
                Ok(Step::GoesOn) => continue,
                Ok(_) => return Err(Over::cut("upstream did not roll back", Closing::Reset)),
                Err(broken) => return Err(Over::upstream_broke(broken)),
            }
        }
        match upstream.fill().await {
            Ok(1..) => {}
            Ok(0) => return Err(Over::upstream_closed(None)),
            Err(error) => return Err(closed(&error)),
        }
    }
}

/// The last bound parameter that a key or a capture comes from; 0 where none does.
fn parameters_max(config: &Config) -> usize {
    let captured = config.capture.values().filter_map(|capture| match capture {
        Capture::Parameter(nth) => Some(*nth),
        _ => None,
    });
    let key = match config.key {
        Some(KeyFrom::Parameter(nth)) => Some(nth),
        _ => None,
    };
    captured.chain(key).max().unwrap_or(0)
}

/// What the dependency's captures keep of bound parameters.
fn captured(config: &Config, bound: &BTreeMap<usize, String>) -> Vec<(String, String)> {
    let values = config.capture.iter().filter_map(|(name, capture)| {
        let Capture::Parameter(nth) = capture else {
            return None;
        };
        Some((name.clone(), bound.get(nth)?.clone()))
    });
    values.collect()
}

/// Why an answer did not come to its end.
enum Ended {
    Client,
    Upstream(Over),
}
