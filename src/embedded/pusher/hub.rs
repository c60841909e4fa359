//! Who is connected, who has subscribed to what, and how events reach them.
//!
//! Owns no socket: a session takes what it shall send out of its own bounded queue. One lock over
//! everything, never held across a wait, so that subscribers of a channel all see the same order.

use super::{
    App,
    message::{self, Member},
    webhooks::{Event, Webhooks},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::mpsc;

/// The most connections; further ones are closed with 4100.
const SOCKETS_MAX: usize = 10_000;

/// The most messages that wait for one connection; a slower one is closed.
const OUTBOX_MAX: usize = 1_024;

/// The most channels of one connection.
const CHANNELS_PER_SOCKET_MAX: usize = 1_000;

/// The most members of a presence channel, and the most bytes of what is known of one.
const MEMBERS_MAX: usize = 100;
const MEMBER_INFO_BYTES_MAX: usize = 1_024;
const MEMBER_ID_BYTES_MAX: usize = 128;

/// The longest name of a channel.
const CHANNEL_BYTES_MAX: usize = 164;

/// The longest name of an event.
pub(super) const EVENT_BYTES_MAX: usize = 200;

/// The most data of one event, in bytes.
pub(super) const DATA_BYTES_MAX: usize = 10 * 1024;

/// Everything that the sessions and the HTTP API share.
#[derive(Debug)]
pub(super) struct Hub {
    /// The app.
    pub(super) app: App,
    webhooks: Webhooks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    sockets: BTreeMap<String, Socket>,
    channels: BTreeMap<String, Channel>,
}

#[derive(Debug)]
struct Socket {
    outbox: mpsc::Sender<Arc<str>>,
    channels: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Channel {
    /// Connections, each with whom it stands for on a presence channel.
    subscribers: BTreeMap<String, Option<Member>>,
}

/// What the HTTP API tells of a channel.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occupancy {
    /// How many connections have subscribed.
    pub(super) subscriptions: usize,
    /// How many users are there, on presence channels.
    pub(super) users: usize,
}

impl Channel {
    fn users(&self) -> BTreeMap<&str, &Value> {
        let members = self.subscribers.values().flatten();
        members
            .map(|member| (member.id.as_str(), &member.info))
            .collect()
    }

    fn holds_user(&self, id: &str) -> bool {
        let mut members = self.subscribers.values().flatten();
        members.any(|member| member.id == id)
    }
}

impl State {
    /// Puts a message into the queues of a channel's subscribers. Whoever cannot keep up is let go.
    fn spread(&mut self, channel: &str, text: &str, except: Option<&str>) -> Vec<String> {
        let text: Arc<str> = text.into();
        let mut slow = Vec::new();
        let subscribers = self.channels.get(channel).map(|known| &known.subscribers);
        for socket in subscribers.into_iter().flat_map(BTreeMap::keys) {
            let Some(known) = self.sockets.get(socket) else {
                continue;
            };
            if except != Some(socket.as_str()) && known.outbox.try_send(Arc::clone(&text)).is_err()
            {
                slow.push(socket.clone());
            }
        }
        slow
    }

    fn tell(&self, socket: &str, text: &str) {
        if let Some(known) = self.sockets.get(socket) {
            // A full queue lets the connection go with the next event.
            let _ = known.outbox.try_send(text.into());
        }
    }
}

impl Hub {
    pub(super) fn new(app: App, webhooks: Webhooks) -> Self {
        Self {
            app,
            webhooks,
            state: Mutex::default(),
        }
    }

    /// Takes a connection in: its name, and the queue of what it shall be sent. `None`: too many.
    pub(super) fn join(&self) -> Option<(String, mpsc::Receiver<Arc<str>>)> {
        let mut state = self.state.lock();
        if state.sockets.len() >= SOCKETS_MAX {
            return None;
        }
        state.count += 1;
        let socket = format!("{}.{}", std::process::id(), state.count);
        let (outbox, queue) = mpsc::channel(OUTBOX_MAX);
        let entry = Socket {
            outbox,
            channels: BTreeSet::new(),
        };
        state.sockets.insert(socket.clone(), entry);
        Some((socket, queue))
    }

    /// Lets a connection go, from all its channels too.
    pub(super) fn leave(&self, socket: &str) {
        self.drop_sockets(&mut self.state.lock(), vec![socket.to_owned()]);
    }

    /// Lets connections go; members who leave may find others who cannot keep up.
    fn drop_sockets(&self, state: &mut State, mut leaving: Vec<String>) {
        while let Some(socket) = leaving.pop() {
            let Some(gone) = state.sockets.remove(&socket) else {
                continue;
            };
            for channel in gone.channels {
                leaving.extend(self.part(state, &socket, &channel));
            }
        }
    }

    /// Subscribes a connection. Its auth has been checked.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) fn subscribe(
        &self,
        socket: &str,
        channel: &str,
        member: Option<Member>,
    ) -> Result<(), String> {
        if !is_channel(channel) {
            return Err(format!("Invalid channel name: {channel:.200}"));
        }
        let mut state = self.state.lock();
        let Some(known) = state.sockets.get_mut(socket) else {
            return Ok(());
        };
        if known.channels.len() >= CHANNELS_PER_SOCKET_MAX {
            return Err("Too many channels on one connection".to_owned());
        }
        if !known.channels.insert(channel.to_owned()) {
            return Err(format!("Existing subscription to channel {channel}"));
        }
        let place = state.channels.entry(channel.to_owned()).or_default();
        if let Some(wrong) = member.as_ref().and_then(|member| refusal(place, member)) {
            let is_empty = place.subscribers.is_empty();
            if is_empty {
                state.channels.remove(channel);
            }
            if let Some(known) = state.sockets.get_mut(socket) {
                known.channels.remove(channel);
            }
            return Err(wrong);
        }
        let is_first = place.subscribers.is_empty();
        let newcomer = member
            .clone()
            .filter(|member| !place.holds_user(&member.id));
        let is_presence = member.is_some();
        place.subscribers.insert(socket.to_owned(), member);
        let data = if is_presence {
            let users = place.users();
            let ids: Vec<&str> = users.keys().copied().collect();
            json!({ "presence": { "count": ids.len(), "ids": ids, "hash": users } })
        } else {
            json!({})
        };
        let said = message::internal("subscription_succeeded", channel, &data);
        state.tell(socket, &said);
        if is_first {
            self.webhooks.send(Event::occupied(channel));
        }
        if let Some(member) = newcomer {
            let data = json!({ "user_id": member.id, "user_info": member.info });
            let said = message::internal("member_added", channel, &data);
            let slow = state.spread(channel, &said, Some(socket));
            self.webhooks.send(Event::member_added(channel, &member.id));
            self.drop_sockets(&mut state, slow);
        }
        Ok(())
    }

    /// Takes a connection off a channel.
    pub(super) fn unsubscribe(&self, socket: &str, channel: &str) {
        let mut state = self.state.lock();
        let known = state.sockets.get_mut(socket);
        if known.is_some_and(|known| known.channels.remove(channel)) {
            let slow = self.part(&mut state, socket, channel);
            self.drop_sockets(&mut state, slow);
        }
    }

    /// Takes a connection off a channel's list, and tells who must know.
    fn part(&self, state: &mut State, socket: &str, channel: &str) -> Vec<String> {
        let Some(place) = state.channels.get_mut(channel) else {
            return Vec::new();
        };
        let member = place.subscribers.remove(socket).flatten();
        let gone = member.filter(|member| !place.holds_user(&member.id));
        let is_empty = place.subscribers.is_empty();
        if is_empty {
            state.channels.remove(channel);
        }
        let mut slow = Vec::new();
        if let Some(member) = gone {
            let data = json!({ "user_id": member.id });
            let said = message::internal("member_removed", channel, &data);
            slow = state.spread(channel, &said, None);
            self.webhooks
                .send(Event::member_removed(channel, &member.id));
        }
        if is_empty {
            self.webhooks.send(Event::vacated(channel));
        }
        slow
    }

    /// Sends an event to a channel's subscribers, except the connection named.
    pub(super) fn publish(&self, channel: &str, name: &str, data: &str, except: Option<&str>) {
        let text = message::event(name, channel, &data.into(), None);
        let mut state = self.state.lock();
        let slow = state.spread(channel, &text, except);
        self.drop_sockets(&mut state, slow);
    }

    /// Passes a client's event to the channel's other subscribers.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) fn client_event(
        &self,
        socket: &str,
        channel: &str,
        name: &str,
        data: &Value,
    ) -> Result<(), String> {
        let mut state = self.state.lock();
        let place = state.channels.get(channel);
        let Some(member) = place.and_then(|place| place.subscribers.get(socket)) else {
            return Err(format!(
                "Client event rejected - not subscribed to {channel:.200}"
            ));
        };
        let user = member.as_ref().map(|member| member.id.clone());
        let text = message::event(name, channel, data, user.as_deref());
        let slow = state.spread(channel, &text, Some(socket));
        let event = Event::client_event(channel, name, data, socket, user.as_deref());
        self.webhooks.send(event);
        self.drop_sockets(&mut state, slow);
        Ok(())
    }

    /// The occupied channels whose names begin so.
    pub(super) fn channels(&self, prefix: &str) -> Vec<(String, Occupancy)> {
        let state = self.state.lock();
        let named = state.channels.iter();
        named
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, place)| (name.clone(), occupancy(place)))
            .collect()
    }

    /// How occupied a channel is.
    pub(super) fn occupancy(&self, channel: &str) -> Occupancy {
        let state = self.state.lock();
        state
            .channels
            .get(channel)
            .map(occupancy)
            .unwrap_or_default()
    }

    /// The users on a presence channel.
    pub(super) fn users(&self, channel: &str) -> Vec<String> {
        let state = self.state.lock();
        let place = state.channels.get(channel);
        let users = place.map(Channel::users).unwrap_or_default();
        users.into_keys().map(str::to_owned).collect()
    }
}

fn occupancy(place: &Channel) -> Occupancy {
    Occupancy {
        subscriptions: place.subscribers.len(),
        users: place.users().len(),
    }
}

/// Why a member is not let in.
fn refusal(place: &Channel, member: &Member) -> Option<String> {
    if member.id.len() > MEMBER_ID_BYTES_MAX {
        return Some("user_id is too long".to_owned());
    }
    if member.info.to_string().len() > MEMBER_INFO_BYTES_MAX {
        return Some("user_info is too large".to_owned());
    }
    let is_full = place.users().len() >= MEMBERS_MAX && !place.holds_user(&member.id);
    is_full.then(|| "Presence channel is over its limit of members".to_owned())
}

/// Whether a text can be the name of a channel.
pub(super) fn is_channel(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-=@,.;#".contains(c);
    (1..=CHANNEL_BYTES_MAX).contains(&name.len()) && name.chars().all(fits)
}
