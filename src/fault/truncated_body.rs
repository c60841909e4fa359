//! `truncated-body`: the answer's head, with its true Content-Length, and some of its body come;
//! then the connection ends.

use super::{Acts, Behaviour, Closing, Context, Decision, End, FaultDef, Group, Then, keys};
use crate::{
    input::{About, Key, Shape},
    protocol::{Call, Protocol},
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "truncated-body",
    group: Group::Message,
    summary: "head and some of the body, then the connection ends",
    about: About {
        text: "\
            The answer's head with its true Content-Length and some of the body come; then the \
            connection ends. A client must notice that it has half of an answer, and many have \
            stored half of a file instead.",
        evidence: "Each answer that was cut is an act.",
        doubt: "",
        mistakes: &["\
                With HTTP's chunked coding the last chunk is missing; some clients do not mind, and \
                that is the finding."],
        related: &["stalled-body", "truncate", "converged"],
    },
    example: "[[phase.fault]]\nkind = \"truncated-body\"\non = \"object-store\"\nafter_bytes = \"3B\"\nhow = \"reset\"\n",
    example_protocol: Protocol::S3,
    keys: &[
        Key::optional(
            "after_bytes",
            Shape::Bytes,
            "bytes of the body that come first (0B)",
        ),
        keys::HOW,
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::bodies,
    parse: |fields, _, _, problems| {
        Some(Box::new(TruncatedBody {
            after: keys::bytes(fields, "after_bytes", problems),
            closing: keys::closing(fields, problems),
        }))
    },
};

#[derive(Debug)]
struct TruncatedBody {
    after: u64,
    closing: Closing,
}

impl Behaviour for TruncatedBody {
    fn request(&self, _: &Call, _: &Context) -> Option<Decision> {
        Some(Decision::end(End::Forward(Then::TruncateBody {
            after: self.after,
            closing: self.closing,
        })))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    fn end(keys: &str, method: &str) -> Option<End> {
        let text =
            format!("kind = 'truncated-body'\non = 'x'\nwhen = {{ method = 'GET' }}\n{keys}");
        let set = sample::set(&text, Http);
        set.request(&sample::call(Http, method, "/a"), Micros(0))
            .end
    }

    #[test]
    fn the_body_ends_early_with_fin_or_rst() {
        let cut = |after, closing| Some(End::Forward(Then::TruncateBody { after, closing }));
        assert_eq!(end("", "GET"), cut(0, Closing::Fin));
        let reset = cut(3, Closing::Reset);
        assert_eq!(end("after_bytes = '3B'\nhow = 'reset'", "GET"), reset);
    }

    #[test]
    fn other_requests_pass_and_tcp_has_no_bodies() {
        assert_eq!(end("", "PUT"), None);
        assert!(sample::read(DEF.example, S3).is_ok());
        assert!(sample::read(DEF.example, Tcp).is_err());
    }
}
