//! From the acceptance of a connection to the end of authentication.

use super::{Desk, Open, Over, cut_words, lost, make, meets_login, say, write};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied, CONNECT,
        mysql::{
            handshake::{
                Asked as Wanted, TLS, TLS_REQUEST_BYTES, asked, capabilities, offer, set_tls,
            },
            packet::{AUTH_BYTES_MAX, Broken, HEADER_BYTES, packet, short},
            recognise_command,
        },
    },
    proxy::{
        connection::{Alpn, ClientStream, Life, shake},
        decide::{Asked as _, Client, Held, Verdict, decide, hold},
        relay,
        statement::Statement,
        upstream::UpstreamStream,
    },
};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::watch,
};

/// A client that has nothing to say yet.
struct Silent<'a>(&'a Life);

impl Client for Silent<'_> {
    async fn gone(&mut self) {
        self.0.client_left().await;
    }

    async fn gone_spilling(&mut self) {
        self.0.client_left().await;
    }

    fn has_spilled(&self) -> bool {
        false
    }
}

/// A packet during authentication.
struct Packet {
    sequence: u8,
    payload: Vec<u8>,
}

impl Packet {
    fn bytes(&self, sequence: u8) -> Vec<u8> {
        packet(sequence, &self.payload)
    }
}

/// Reads one packet and no byte more.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if len > AUTH_BYTES_MAX {
        return Err(io::Error::other(Broken::TooLong.to_string()));
    }
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).await?;
    Ok(Packet {
        sequence: header[3],
        payload,
    })
}

/// Opens a connection at both ends.
pub(super) async fn open(desk: &Desk, client: ClientStream) -> Result<Open, Over> {
    let (shared, life) = (&desk.shared, &desk.life);
    let recognised = recognise_command(CONNECT);
    let statement = Statement::new(shared, life, desk.connection, recognised, shared.now());
    let mut opening = Opening {
        desk,
        faults: shared.switch.subscribe(),
        statement,
        client,
    };
    opening.run().await.map(|(upstream, wanted)| Open {
        client: opening.client,
        upstream,
        wanted,
    })
}

struct Opening<'a> {
    desk: &'a Desk,
    faults: watch::Receiver<Arc<FaultSet>>,
    statement: Statement,
    client: ClientStream,
}

impl Opening<'_> {
    async fn run(&mut self) -> Result<(UpstreamStream, Wanted), Over> {
        let life = &self.desk.life;
        let mut silent = Silent(life);
        let verdict = decide(&mut self.statement, &mut self.faults, &mut silent).await;
        let (then, refusal) = match verdict {
            Verdict::Forward(then) => (then, None),
            Verdict::Reply(reply) if meets_login(&reply) => (None, Some(reply)),
            Verdict::Reply(reply) => return Err(self.refuse(&reply, 0, true).await),
            Verdict::Close(closing) => return Err(self.cut(closing).await),
            Verdict::GaveUp | Verdict::Spilled => return Err(self.gone()),
        };
        let mut upstream = self.connect().await?;
        let server = self.greet(&mut upstream).await?;
        let (mut answer, wanted) = self.answered().await?;
        if let Some(reply) = refusal {
            let sequence = answer.sequence.wrapping_add(1);
            return Err(self.refuse(&reply, sequence, false).await);
        }
        let is_tls = self.desk.shared.config.upstream.tls;
        if is_tls {
            upstream = self.secure(upstream, server, &answer.payload).await?;
        }
        set_tls(&mut answer.payload, is_tls);
        let shift = answer.sequence.wrapping_sub(1 + u8::from(is_tls));
        self.authenticate(&mut upstream, answer, shift, then)
            .await?;
        Ok((upstream, wanted))
    }

    async fn connect(&mut self) -> Result<UpstreamStream, Over> {
        let connecting = self.desk.shared.connect_upstream(None, Alpn::None);
        match connecting.await {
            Ok(upstream) => Ok(upstream),
            Err(error) => {
                self.statement.finish(AttemptEnd::UpstreamFailed);
                Err(Over::cut(relay::upstream_failure(&error), Closing::Reset))
            }
        }
    }

    /// Passes the server's greeting, and says what the server can.
    async fn greet(&mut self, upstream: &mut UpstreamStream) -> Result<u32, Over> {
        let mut greeting = tokio::select! {
            biased;
            greeting = read(upstream) => self.theirs(greeting)?,
            _ = self.desk.life.client_left() => return Err(self.gone()),
        };
        if greeting.payload.first() == Some(&0xff) {
            return Err(self.pass_error(&greeting, greeting.sequence).await);
        }
        let server = match capabilities(&greeting.payload) {
            Ok(server) => server,
            Err(broken) => return Err(self.upstream_broke(broken)),
        };
        let has_tls = self.desk.shared.config.tls.is_some();
        if let Err(broken) = offer(&mut greeting.payload, has_tls) {
            return Err(self.upstream_broke(broken));
        }
        self.tell(&greeting, greeting.sequence).await?;
        Ok(server)
    }

    /// The client's answer to the greeting, after TLS has begun where it wants that.
    async fn answered(&mut self) -> Result<(Packet, Wanted), Over> {
        let answer = self.ours().await?;
        let wanted = match asked(&answer.payload) {
            Ok(wanted) => wanted,
            Err(broken) => return Err(self.client_broke(broken)),
        };
        if !wanted.wants_tls {
            return Ok((answer, wanted));
        }
        self.begin_tls().await?;
        let answer = self.ours().await?;
        match asked(&answer.payload) {
            Ok(wanted) if !wanted.wants_tls => Ok((answer, wanted)),
            Ok(_) => Err(self.client_broke(Broken::Handshake)),
            Err(broken) => Err(self.client_broke(broken)),
        }
    }

    async fn begin_tls(&mut self) -> Result<(), Over> {
        let shared = &self.desk.shared;
        let Some(front) = &shared.config.tls else {
            return Err(self.client_broke(Broken::Handshake));
        };
        let Some(stream) = self.client.another() else {
            return Err(self.client_broke(Broken::Handshake));
        };
        let life = &self.desk.life;
        match shake(stream, front, || life.is_clear(), shared).await {
            Ok((client, _, _)) => {
                self.client = client;
                Ok(())
            }
            Err(error) => {
                self.statement.finish(AttemptEnd::GaveUp);
                let how = format!("TLS handshake failed: {error}");
                Err(Over::cut(how, Closing::Fin))
            }
        }
    }

    /// Begins TLS with the server.
    async fn secure(
        &mut self,
        mut upstream: UpstreamStream,
        server: u32,
        answer: &[u8],
    ) -> Result<UpstreamStream, Over> {
        if server & TLS == 0 {
            self.statement.finish(AttemptEnd::UpstreamFailed);
            return Err(Over::cut("upstream offers no TLS", Closing::Reset));
        }
        let mut request = answer[..TLS_REQUEST_BYTES].to_vec();
        set_tls(&mut request, true);
        let securing = async {
            write(&mut upstream, &packet(1, &request)).await?;
            self.desk.shared.secure_upstream(upstream).await
        };
        match securing.await {
            Ok(upstream) => Ok(upstream),
            Err(error) => {
                self.statement.finish(AttemptEnd::UpstreamFailed);
                let how = format!("TLS with the upstream failed: {error}");
                Err(Over::cut(how, Closing::Reset))
            }
        }
    }

    /// Passes packets until the server has let the client in or not. `shift`: how much higher
    /// the client counts.
    async fn authenticate(
        &mut self,
        upstream: &mut UpstreamStream,
        answer: Packet,
        shift: u8,
        then: Option<(Then, FaultId)>,
    ) -> Result<(), Over> {
        let mut said = answer;
        loop {
            let bytes = said.bytes(said.sequence.wrapping_sub(shift));
            if let Err(error) = write(upstream, &bytes).await {
                self.statement.finish(AttemptEnd::UpstreamFailed);
                return Err(Over::upstream_closed(Some(&error)));
            }
            self.statement.sent_whole();
            loop {
                let packet = tokio::select! {
                    biased;
                    packet = read(upstream) => self.theirs(packet)?,
                    _ = self.desk.life.client_left() => return Err(self.gone()),
                };
                let sequence = packet.sequence.wrapping_add(shift);
                match packet.payload.as_slice() {
                    [0, ..] => return self.let_in(&packet, sequence, then).await,
                    [0xff, ..] => return Err(self.pass_error(&packet, sequence).await),
                    // Fast authentication has succeeded: the server goes on.
                    [1, 3] => self.tell(&packet, sequence).await?,
                    _ => {
                        self.tell(&packet, sequence).await?;
                        break;
                    }
                }
            }
            said = self.ours().await?;
        }
    }

    /// The server lets the client in.
    async fn let_in(
        &mut self,
        packet: &Packet,
        sequence: u8,
        then: Option<(Then, FaultId)>,
    ) -> Result<(), Over> {
        self.statement.upstream_answered(Applied::Yes);
        match then {
            None => {}
            Some((Then::Reply(reply), _)) => {
                return Err(self.refuse(&reply, sequence, false).await);
            }
            Some((Then::Close(closing), _)) => return Err(self.cut(closing).await),
            Some((Then::Late(delay), fault)) => {
                let gone = gone(&self.desk.life);
                match hold(&mut self.faults, gone, &[fault], Some(delay)).await {
                    Held::ClientGone => return Err(self.gone()),
                    Held::Lifted => self.statement.released(),
                    Held::Elapsed => {}
                }
            }
            Some((Then::Lose, fault)) => {
                let gone = gone(&self.desk.life);
                let held = hold(&mut self.faults, gone, &[fault], None).await;
                return Err(match held {
                    Held::ClientGone => self.gone(),
                    _ => lost(&mut self.statement),
                });
            }
            Some((_, fault)) => self.statement.did_not_act(fault),
        }
        self.tell(packet, sequence).await?;
        self.statement.settle().await;
        self.statement.finish(AttemptEnd::Answered);
        Ok(())
    }

    /// Passes a refusal of the server's own.
    async fn pass_error(&mut self, packet: &Packet, sequence: u8) -> Over {
        if let Some(errno) = short(&packet.payload, 1) {
            self.statement.code(errno.to_string());
        }
        self.statement.upstream_answered(Applied::No);
        if let Err(over) = self.tell(packet, sequence).await {
            return over;
        }
        self.statement.settle().await;
        self.statement.finish(AttemptEnd::Answered);
        Over::cut("refused by upstream", Closing::Fin)
    }

    async fn refuse(&mut self, reply: &Reply, sequence: u8, is_greeting: bool) -> Over {
        let made = make(reply, sequence, is_greeting);
        match say(&made, &mut self.statement, &mut self.client).await {
            Ok(()) => Over::cut("refused by fault", Closing::Fin),
            Err(over) if over.closing.is_none() => over,
            Err(_) => Over::cut("refused by fault", Closing::Fin),
        }
    }

    async fn cut(&mut self, closing: Closing) -> Over {
        let (delay, closing) = closing.apart();
        if delay.is_some() {
            let gone = gone(&self.desk.life);
            if hold(&mut self.faults, gone, &[], delay).await == Held::ClientGone {
                return self.gone();
            }
        }
        self.statement.finish(AttemptEnd::Cut);
        Over::cut(cut_words(closing), closing)
    }

    async fn tell(&mut self, packet: &Packet, sequence: u8) -> Result<(), Over> {
        let bytes = packet.bytes(sequence);
        self.statement.add_down(bytes.len());
        match write(&mut self.client, &bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.gone()),
        }
    }

    /// A packet of the client's.
    async fn ours(&mut self) -> Result<Packet, Over> {
        match read(&mut self.client).await {
            Ok(packet) => {
                self.statement.add_up(HEADER_BYTES + packet.payload.len());
                Ok(packet)
            }
            Err(error) if error.kind() == io::ErrorKind::Other => {
                self.statement.finish(AttemptEnd::Cut);
                let how = format!("client broke the protocol: {error}");
                Err(Over::cut(how, Closing::Fin))
            }
            Err(_) => Err(self.gone()),
        }
    }

    /// A packet of the server's.
    fn theirs(&mut self, packet: io::Result<Packet>) -> Result<Packet, Over> {
        packet.map_err(|error| {
            self.statement.finish(AttemptEnd::UpstreamFailed);
            Over::upstream_closed(Some(&error))
        })
    }

    fn upstream_broke(&mut self, broken: Broken) -> Over {
        self.statement.finish(AttemptEnd::UpstreamFailed);
        Over::upstream_broke(broken)
    }

    fn client_broke(&mut self, broken: Broken) -> Over {
        self.statement.finish(AttemptEnd::Cut);
        Over::cut(format!("client broke the protocol: {broken}"), Closing::Fin)
    }

    fn gone(&mut self) -> Over {
        self.statement.gave_up();
        Over::client_gone()
    }
}

async fn gone(life: &Life) {
    life.client_left().await;
}
