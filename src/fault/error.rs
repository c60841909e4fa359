//! `error`: the dependency answers with an error of its protocol: one of S3's by its code, an HTTP
//! status with a body of the author's, or the page of a load balancer.

use super::{
    Acts, Behaviour, Context, Decision, FaultDef, Group, Reply,
    keys::{self, Applies},
    reply,
};
use crate::{
    input::{Key, Shape},
    protocol::{Call, Protocol},
};

/// The entry of `list faults`.
pub(super) const DEF: FaultDef = FaultDef {
    name: "error",
    group: Group::Message,
    summary: "an error answer: S3's code, or an HTTP status with its body",
    example: "[[phase.fault]]\nkind    = \"error\"\non      = \"object-store\"\nerror   = \"InternalError\"\napplied = \"maybe\"\n",
    example_protocol: Protocol::S3,
    keys: &[
        Key::optional(
            "error",
            Shape::Text,
            "s3: an error code (InternalError, SlowDown …); http: the page of a platform (heroku, nginx-502 …)",
        ),
        Key::optional(
            "status",
            Shape::Integer(200, 599),
            "the HTTP status; with S3's code, in place of the code's own",
        ),
        Key::optional("body", Shape::Text, "the body, where the error brings none"),
        Key::optional("headers", Shape::TextMap, "headers added to the answer"),
        Key::optional("reason", Shape::Text, "the reason phrase of HTTP/1.1"),
        Key::optional(
            "retry_after",
            Shape::Duration,
            "http: Retry-After in seconds; s3: x-amz-retry-after in milliseconds",
        ),
        keys::APPLIED,
        Key::optional(
            "close",
            Shape::Bool,
            "whether the connection is closed after it; s3: as S3 does for the code",
        ),
    ],
    refuses: &[],
    ramps: &[],
    carried_by: keys::messages,
    parse: |fields, protocol, _, problems| {
        let applies = Applies::parse(fields, problems);
        let reply = reply::parse(fields, protocol, problems)?;
        Some(Box::new(Error { reply, applies }))
    },
};

#[derive(Debug)]
struct Error {
    reply: Reply,
    applies: Applies,
}

impl Behaviour for Error {
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
    use crate::fault::{End, Then};
    use crate::{fault::sample, units::Micros};
    use Protocol::{Http, S3, Tcp};

    const NOW: Micros = Micros(0);

    fn s3_reply(code: &str) -> Reply {
        Reply::S3 {
            code: code.to_owned(),
            status: None,
            headers: Vec::new(),
            in_200: false,
            close: None,
        }
    }

    fn reply(keys: &str, protocol: Protocol) -> Reply {
        let set = sample::set(&format!("kind = 'error'\non = 'x'\n{keys}"), protocol);
        match set.request(&sample::call(protocol, "GET", "/a/b"), NOW).end {
            Some(End::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn problems(keys: &str, protocol: Protocol) -> Vec<String> {
        sample::read(&format!("kind = 'error'\non = 'x'\n{keys}"), protocol).unwrap_err()
    }

    #[test]
    fn requests_that_match_get_the_code_and_others_pass() {
        let text = "kind = 'error'\non = 'x'\nerror = 'SlowDown'\nwhen = { key = 'models/*' }";
        let set = sample::set(text, S3);
        let hit = set.request(&sample::call(S3, "PUT", "/models/1"), NOW);
        assert_eq!(hit.end, Some(End::Reply(s3_reply("SlowDown"))));
        let passed = set.request(&sample::call(S3, "PUT", "/logs/1"), NOW);
        assert!(passed.is_pass());
        assert_eq!(set.faults()[0].hits(), 1);
    }

    #[test]
    fn applied_says_whether_the_dependency_sees_the_request() {
        let ends = |applied: &str| -> Vec<End> {
            let keys = format!("error = 'InternalError'\napplied = '{applied}'");
            let set = sample::set(&format!("kind = 'error'\non = 'x'\n{keys}"), S3);
            let calls = sample::calls(S3, "PUT", "/a/b", 200);
            let decisions = calls.iter().map(|call| set.request(call, NOW));
            decisions.map(|decision| decision.end.unwrap()).collect()
        };
        let before = End::Reply(s3_reply("InternalError"));
        let after = End::Forward(Then::Reply(s3_reply("InternalError")));
        assert!(ends("no").iter().all(|end| *end == before));
        assert!(ends("yes").iter().all(|end| *end == after));
        let maybe = ends("maybe");
        let applied = maybe.iter().filter(|end| **end == after).count();
        assert!((70..130).contains(&applied), "{applied}");
        assert_eq!(maybe, ends("maybe"));
    }

    #[test]
    fn retry_after_is_told_in_the_words_of_the_protocol() {
        let Reply::S3 { headers, .. } = reply("error = 'SlowDown'\nretry_after = '1500ms'", S3)
        else {
            panic!()
        };
        assert_eq!(headers, [("x-amz-retry-after".into(), "1500".into())]);
        let Reply::Http { headers, .. } = reply("status = 503\nretry_after = '1500ms'", Http)
        else {
            panic!()
        };
        assert_eq!(headers, [("Retry-After".into(), "2".into())]);
    }

    #[test]
    fn a_status_comes_with_the_authors_body_headers_and_reason() {
        let keys = "status = 429\nbody = '{}'\nreason = 'Enough'\nclose = true\nheaders = { x-why = 'quota' }";
        let expected = Reply::Http {
            status: 429,
            reason: "Enough".to_owned(),
            headers: vec![("x-why".to_owned(), "quota".to_owned())],
            body: "{}".into(),
            close: true,
            chunked: false,
        };
        assert_eq!(reply(keys, Http), expected);
        assert_eq!(reply(keys, S3), expected);
    }

    #[test]
    fn the_pages_of_platforms_have_their_true_lengths() {
        for (name, status, len) in [
            ("nginx-502", 502, 157),
            ("nginx-504", 504, 167),
            ("haproxy-502", 502, 107),
            ("haproxy-503", 503, 107),
            ("haproxy-504", 504, 92),
        ] {
            match reply(&format!("error = '{name}'"), Http) {
                Reply::Http {
                    status: seen, body, ..
                } => assert_eq!((seen, body.len()), (status, len), "{name}"),
                other => panic!("{other:?}"),
            }
        }
        let Reply::Http { status, body, .. } = reply("error = 'heroku'", Http) else {
            panic!()
        };
        assert_eq!(status, 503);
        assert!(body.starts_with(b"<!DOCTYPE html>"));
    }

    #[test]
    fn an_unknown_code_gets_a_did_you_mean() {
        let said = problems("error = 'InternalEror'", S3);
        assert_eq!(
            said,
            ["S3 has no error `InternalEror` (did you mean `InternalError`?)"]
        );
        let said = problems("error = 'ngnix-502'", Http);
        assert_eq!(
            said,
            ["no page `ngnix-502` is known (did you mean `nginx-502`?)"]
        );
    }

    #[test]
    fn what_does_not_fit_together_is_a_problem() {
        for (keys, protocol, said) in [
            ("", S3, "neither `error` nor `status`"),
            ("", Http, "neither `error` nor `status`"),
            ("error = 'SlowDown'\nbody = 'x'", S3, "brings its own body"),
            (
                "error = 'SlowDown'\nreason = 'x'",
                S3,
                "brings its own reason",
            ),
            (
                "status = 503\nheaders = { 'a b' = 'x' }",
                Http,
                "no header name",
            ),
            (
                "status = 503\nheaders = { a = \"x\\ny\" }",
                Http,
                "no header value",
            ),
            (
                "status = 503\nheaders = { Content-Length = '9' }",
                Http,
                "framing",
            ),
            (
                "status = 503\nreason = \"a\\r\\nb\"",
                Http,
                "no reason phrase",
            ),
            ("status = 204\nbody = 'x'", Http, "carries no body"),
            ("status = 99", Http, "from 200 to 599"),
            (
                "error = 'InternalError'",
                Tcp,
                "cannot act on the protocol tcp",
            ),
        ] {
            let seen = problems(keys, protocol);
            assert!(seen[0].contains(said), "{keys}: {seen:?}");
        }
    }
}
