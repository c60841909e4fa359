//! `error-in-200`: the status says 200 and the body says error, as S3 may do for CopyObject,
//! UploadPartCopy and CompleteMultipartUpload, and as many an API does always.

use super::{
    Acts, Behaviour, Context, Decision, FaultDef, Group, Reply,
    keys::{self, Applies},
    reply,
};
use crate::{
    input::{About, Fields, Key, Problems, Shape},
    protocol::{Call, Protocol},
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "error-in-200",
    group: Group::Message,
    summary: "status 200 with an error in its body",
    about: About {
        text: "\
            The status says 200 and the body says error: S3 may do so for CopyObject and \
            CompleteMultipartUpload, and many an interface does it always. Whoever looks at the \
            status alone takes a failure for a success and loses data without a trace.",
        evidence: "Each request that was answered so is an act.",
        doubt: "",
        mistakes: &["\
                On http the body is yours to give; take one that the real interface sends."],
        related: &["error", "empty-reply", "nothing-lost"],
    },
    example: "[[phase.fault]]\nkind  = \"error-in-200\"\non    = \"object-store\"\nwhen  = { operation = \"CompleteMultipartUpload\" }\nerror = \"InternalError\"\n",
    example_protocol: Protocol::S3,
    keys: &[
        Key::optional("error", Shape::Text, "s3: the error's code (InternalError)"),
        Key::optional("body", Shape::Text, "http: the body that says error"),
        Key::optional("headers", Shape::TextMap, "headers added to the answer"),
        keys::APPLIED,
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::bodies,
    parse: |fields, protocol, _, problems| {
        let applies = Applies::parse(fields, problems);
        let reply = match protocol {
            Protocol::S3 => s3(fields, problems),
            _ => http(fields, problems),
        };
        Some(Box::new(ErrorIn200 {
            reply: reply?,
            applies,
        }))
    },
};

fn s3(fields: &Fields<'_>, problems: &mut Problems) -> Option<Reply> {
    if fields.has("body") {
        let hint = "write the code: error = \"InternalError\"".to_owned();
        fields.problem(problems, "body", "an S3 error brings its own body", hint);
    }
    let code = if fields.has("error") {
        reply::code(fields, problems)
    } else {
        Some("InternalError".to_owned())
    };
    Some(Reply::S3 {
        code: code?,
        status: None,
        headers: reply::headers(fields, problems),
        in_200: true,
        close: None,
    })
}

fn http(fields: &Fields<'_>, problems: &mut Problems) -> Option<Reply> {
    if fields.has("error") {
        let message = "only the protocol s3 knows errors by code";
        let hint = "write the body that says error: body = \"{…}\"".to_owned();
        fields.problem(problems, "error", message, hint);
    } else if !fields.has("body") {
        let message = format!("{} has no `body`", fields.name());
        let hint = "write the body that says error: body = \"{…}\"".to_owned();
        problems.error(fields.source, fields.span.clone(), message, hint);
    }
    Some(Reply::Http {
        status: 200,
        reason: "OK".to_owned(),
        headers: reply::headers(fields, problems),
        body: fields.text("body", problems)?.value.into(),
        close: false,
        chunked: false,
    })
}

#[derive(Debug)]
struct ErrorIn200 {
    reply: Reply,
    applies: Applies,
}

impl Behaviour for ErrorIn200 {
    fn request(&self, _: &Call, context: &Context) -> Option<Decision> {
        Some(self.applies.decide(self.reply.clone(), context))
    }

    fn acts(&self) -> Acts {
        Acts::REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::End;
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    #[test]
    fn s3_says_its_code_in_200_to_requests_that_match_only() {
        let set = sample::set(DEF.example, S3);
        let complete = sample::call(S3, "POST", "/a/b?uploadId=1");
        let Some(End::Reply(reply)) = set.request(&complete, Micros(0)).end else {
            panic!()
        };
        assert!(matches!(&reply, Reply::S3 { code, in_200: true, .. } if code == "InternalError"));
        let put = sample::call(S3, "PUT", "/a/b");
        assert!(set.request(&put, Micros(0)).is_pass());
    }

    #[test]
    fn http_says_what_the_author_wrote() {
        let set = sample::set(
            "kind = 'error-in-200'\non = 'x'\nbody = '{\"ok\":false}'",
            Http,
        );
        let Some(End::Reply(Reply::Http { status, body, .. })) =
            set.request(&sample::call(Http, "GET", "/"), Micros(0)).end
        else {
            panic!()
        };
        assert_eq!((status, &body[..]), (200, &b"{\"ok\":false}"[..]));
    }

    #[test]
    fn each_protocol_needs_its_own_words() {
        for (keys, protocol) in [
            ("", Http),
            ("error = 'SlowDown'", Http),
            ("body = 'x'", S3),
            ("error = 'Slow'", S3),
            ("body = 'x'", Tcp),
        ] {
            let text = format!("kind = 'error-in-200'\non = 'x'\n{keys}");
            assert_eq!(
                sample::read(&text, protocol).unwrap_err().len(),
                1,
                "{keys}"
            );
        }
    }
}
