//! The codes with which a Channels server closes a WebSocket, and what they tell clients to do.

use std::time::Duration;

/// What a code tells the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 4000–4099: connecting again unchanged is of no use.
    DoNotReconnect,
    /// 4100–4199: connect again after a second or more.
    BackOff,
    /// 4200–4299: connect again at once.
    ReconnectAtOnce,
    /// 4300–4399: something else was refused; the connection may stay.
    Other,
}

impl Class {
    /// The least wait that 4100–4199 demand.
    pub const BACK_OFF_MIN: Duration = Duration::from_secs(1);
}

/// The class of a code; `None` for codes that are WebSocket's own or nobody's.
pub fn class_of(code: u16) -> Option<Class> {
    Some(match code {
        4000..=4099 => Class::DoNotReconnect,
        4100..=4199 => Class::BackOff,
        4200..=4299 => Class::ReconnectAtOnce,
        4300..=4399 => Class::Other,
        _ => return None,
    })
}

/// A code with its text.
#[derive(Debug, PartialEq, Eq)]
pub struct CodeDef {
    /// The code.
    pub code: u16,
    /// The text that goes with it.
    pub text: &'static str,
}

/// Every code that the documentation names, with its text.
#[rustfmt::skip]
pub const CODES: &[CodeDef] = &[
    CodeDef { code: 4000, text: "Application only accepts SSL connections, reconnect using wss://" },
    CodeDef { code: 4001, text: "Application does not exist" },
    CodeDef { code: 4003, text: "Application disabled" },
    CodeDef { code: 4004, text: "Application is over connection quota" },
    CodeDef { code: 4005, text: "Path not found" },
    CodeDef { code: 4006, text: "Invalid version string format" },
    CodeDef { code: 4007, text: "Unsupported protocol version" },
    CodeDef { code: 4008, text: "No protocol version supplied" },
    CodeDef { code: 4009, text: "Connection is unauthorized" },
    CodeDef { code: 4100, text: "Over capacity" },
    CodeDef { code: 4200, text: "Generic reconnect immediately" },
    CodeDef { code: 4201, text: "Pong reply not received" },
    CodeDef { code: 4202, text: "Closed after inactivity" },
    CodeDef { code: 4301, text: "Client event rejected due to rate limit" },
    CodeDef { code: 4302, text: "Watchlist limit reached" },
];

/// The entry of this code.
pub fn find_code(code: u16) -> Option<&'static CodeDef> {
    CODES.iter().find(|def| def.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_class_and_a_text_that_fits_a_close_frame() {
        for def in CODES {
            assert!(class_of(def.code).is_some(), "{}", def.code);
            assert!(def.text.len() <= crate::protocol::websocket::REASON_BYTES_MAX);
            assert_eq!(find_code(def.code), Some(def));
        }
        assert_eq!(find_code(4002), None);
    }

    #[test]
    fn classes_are_those_of_the_documentation() {
        for (code, class) in [
            (3999, None),
            (4000, Some(Class::DoNotReconnect)),
            (4099, Some(Class::DoNotReconnect)),
            (4100, Some(Class::BackOff)),
            (4199, Some(Class::BackOff)),
            (4200, Some(Class::ReconnectAtOnce)),
            (4299, Some(Class::ReconnectAtOnce)),
            (4300, Some(Class::Other)),
            (4400, None),
            (1006, None),
        ] {
            assert_eq!(class_of(code), class, "{code}");
        }
    }
}
