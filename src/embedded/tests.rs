//! The servers over real sockets, with the requests a client of the field would send.

use super::*;
use crate::history::Observation;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rusty_s3::{Bucket, Credentials as Signer, S3Action, UrlStyle};
use std::time::Duration;
use tokio::net::TcpStream;

const SIGNED_FOR: Duration = Duration::from_secs(60);

/// An answer: status, ETag, and the body as text.
struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn send(
    address: SocketAddr,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// A client of the bucket `models` on an embedded server.
struct Client {
    server: Embedded,
    bucket: Bucket,
    signer: Signer,
}

impl Client {
    fn start() -> Self {
        Self::with_secret(SECRET_KEY)
    }

    fn with_secret(secret: &str) -> Self {
        let (recorder, _) = Recorder::channel(16);
        let options = Options {
            buckets: vec!["models".to_owned()],
            ..Options::default()
        };
        let server = start("s3", options, recorder).unwrap();
        let endpoint = format!("http://{}", server.address()).parse().unwrap();
        Self {
            server,
            bucket: Bucket::new(endpoint, UrlStyle::Path, "models", "us-east-1").unwrap(),
            signer: Signer::new(ACCESS_KEY, secret),
        }
    }

    async fn sign_and_send<'a>(
        &self,
        action: impl S3Action<'a>,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let url = action.sign(SIGNED_FOR);
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        send(self.server.address(), method, &target, headers, body).await
    }

    async fn put(&self, key: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut action = self.bucket.put_object(Some(&self.signer), key);
        for (name, value) in headers {
            action
                .headers_mut()
                .insert((*name).to_owned(), (*value).to_owned());
        }
        self.sign_and_send(action, Method::PUT, headers, body).await
    }

    async fn get(&self, key: &str, headers: &[(&str, &str)]) -> Answer {
        let action = self.bucket.get_object(Some(&self.signer), key);
        self.sign_and_send(action, Method::GET, headers, "").await
    }

    async fn head(&self, key: &str) -> Answer {
        let action = self.bucket.head_object(Some(&self.signer), key);
        self.sign_and_send(action, Method::HEAD, &[], "").await
    }

    async fn delete(&self, key: &str) -> Answer {
        let action = self.bucket.delete_object(Some(&self.signer), key);
        self.sign_and_send(action, Method::DELETE, &[], "").await
    }

    async fn list(&self, prefix: &str, token: Option<&str>) -> (Vec<String>, Option<String>) {
        let mut action = self.bucket.list_objects_v2(Some(&self.signer));
        action.with_prefix(prefix.to_owned());
        action.with_max_keys(2);
        if let Some(token) = token {
            action.with_continuation_token(token.to_owned());
        }
        let answer = self.sign_and_send(action, Method::GET, &[], "").await;
        let page = rusty_s3::actions::ListObjectsV2::parse_response(answer.text()).unwrap();
        let keys = page
            .contents
            .into_iter()
            .map(|object| object.key.to_string());
        (keys.collect(), page.next_continuation_token)
    }
}

#[tokio::test]
async fn what_was_put_is_got_with_its_metadata_until_it_is_deleted() {
    let client = Client::start();
    let put = client
        .put("bots/7.json", &[("x-amz-meta-version", "3")], "learned")
        .await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    let got = client.get("bots/7.json", &[]).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "learned"));
    assert_eq!(got.header("x-amz-meta-version"), "3");
    assert_eq!(got.header("content-length"), "7");
    assert_eq!(got.header("etag"), put.header("etag"));
    let head = client.head("bots/7.json").await;
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), "7");
    assert_eq!(client.delete("bots/7.json").await.status, 204);
    let gone = client.get("bots/7.json", &[]).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(gone.text().contains("<Code>NoSuchKey</Code>"));
}

#[tokio::test]
async fn a_range_and_a_condition_are_honoured() {
    let client = Client::start();
    let put = client.put("a", &[], "hello world").await;
    let part = client.get("a", &[("range", "bytes=6-8")]).await;
    assert_eq!(
        (part.status, part.text()),
        (StatusCode::PARTIAL_CONTENT, "wor")
    );
    assert_eq!(part.header("content-range"), "bytes 6-8/11");
    let beyond = client.get("a", &[("range", "bytes=11-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let same = client
        .get("a", &[("if-none-match", put.header("etag"))])
        .await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    let taken = client.put("a", &[("if-none-match", "*")], "other").await;
    assert_eq!(taken.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(client.get("a", &[]).await.text(), "hello world");
}

#[tokio::test]
async fn a_listing_comes_in_pages_that_join() {
    let client = Client::start();
    for key in ["bots/1", "bots/2", "bots/3", "other"] {
        client.put(key, &[], key.to_owned()).await;
    }
    let (first, token) = client.list("bots/", None).await;
    assert_eq!(first, ["bots/1", "bots/2"]);
    let (rest, end) = client.list("bots/", token.as_deref()).await;
    assert_eq!((rest, end), (vec!["bots/3".to_owned()], None));
}

#[tokio::test]
async fn parts_join_to_the_object_in_the_order_of_their_numbers() {
    let client = Client::start();
    let create = client
        .bucket
        .create_multipart_upload(Some(&client.signer), "big");
    let answer = client.sign_and_send(create, Method::POST, &[], "").await;
    let upload = rusty_s3::actions::CreateMultipartUpload::parse_response(answer.text()).unwrap();
    let bodies = [vec![b'a'; 5 * 1024 * 1024], vec![b'b'; 1000]];
    let mut etags = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        let action =
            client
                .bucket
                .upload_part(Some(&client.signer), "big", number, upload.upload_id());
        let answer = client
            .sign_and_send(action, Method::PUT, &[], body.clone())
            .await;
        etags.push(answer.header("etag").to_owned());
    }
    let complete = client.bucket.complete_multipart_upload(
        Some(&client.signer),
        "big",
        upload.upload_id(),
        etags.iter().map(String::as_str),
    );
    let document = complete.clone().body();
    let done = client
        .sign_and_send(complete, Method::POST, &[], document)
        .await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let got = client.get("big", &[]).await;
    assert_eq!(got.body, bodies.concat());
    assert!(got.header("etag").ends_with("-2\""));
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_the_words_of_s3() {
    let client = Client::with_secret("not the secret");
    let put = client.put("a", &[], "x").await;
    assert_eq!(put.status, StatusCode::FORBIDDEN);
    assert!(put.text().contains("<Code>SignatureDoesNotMatch</Code>"));
}

#[tokio::test]
async fn an_unknown_access_key_is_refused_in_the_words_of_s3() {
    let mut client = Client::start();
    client.signer = Signer::new("somebody else", SECRET_KEY);
    let put = client.put("a", &[], "x").await;
    assert_eq!(put.status, StatusCode::FORBIDDEN);
    assert!(put.text().contains("<Code>InvalidAccessKeyId</Code>"));
}

#[tokio::test]
async fn a_full_bucket_is_not_deleted() {
    let client = Client::start();
    client.put("a", &[], "x").await;
    let delete = || client.bucket.delete_bucket(&client.signer);
    let refused = client
        .sign_and_send(delete(), Method::DELETE, &[], "")
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text().contains("<Code>BucketNotEmpty</Code>"));
    client.delete("a").await;
    let deleted = client
        .sign_and_send(delete(), Method::DELETE, &[], "")
        .await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_checksum_that_does_not_match_stores_nothing() {
    let client = Client::start();
    client.put("a", &[], "before").await;
    let wrong = client
        .put("a", &[("x-amz-checksum-crc32", "AAAAAA==")], "after")
        .await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text().contains("<Code>BadDigest</Code>"));
    assert_eq!(client.get("a", &[]).await.text(), "before");
}

#[tokio::test]
async fn of_many_writers_of_one_key_one_wins_whole() {
    let client = Client::start();
    let writes = (0..32).map(|writer: usize| {
        let client = &client;
        async move {
            let body = writer.to_string().repeat(10_000);
            let version = writer.to_string();
            let headers = [("x-amz-meta-version", version.as_str())];
            client.put("a", &headers, body).await.status
        }
    });
    let statuses = futures_util::future::join_all(writes).await;
    assert!(statuses.iter().all(StatusCode::is_success));
    let got = client.get("a", &[]).await;
    assert_eq!(got.text(), got.header("x-amz-meta-version").repeat(10_000));
}

#[tokio::test]
async fn the_bucket_may_stand_in_the_host_name() {
    let (recorder, _) = Recorder::channel(16);
    let options = Options {
        buckets: vec!["models".to_owned()],
        virtual_host: Some("s3.test".to_owned()),
        ..Options::default()
    };
    let server = start("s3", options, recorder).unwrap();
    let port = server.address().port();
    let signer = Signer::new(ACCESS_KEY, SECRET_KEY);
    for (style, host) in [
        (UrlStyle::VirtualHost, format!("models.s3.test:{port}")),
        (UrlStyle::Path, format!("localhost:{port}")),
    ] {
        let endpoint = match style {
            UrlStyle::VirtualHost => format!("http://s3.test:{port}"),
            UrlStyle::Path => format!("http://localhost:{port}"),
        };
        let bucket = Bucket::new(endpoint.parse().unwrap(), style, "models", "us-east-1").unwrap();
        let url = bucket.put_object(Some(&signer), "a").sign(SIGNED_FOR);
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::put(target)
            .header("host", &host)
            .body(Full::new(Bytes::from_static(b"x")))
            .unwrap();
        let status = sender.send_request(request).await.unwrap().status();
        assert_eq!(status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let client = Client::start();
    let stream = TcpStream::connect(client.server.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let url = client
        .bucket
        .put_object(Some(&client.signer), "a")
        .sign(SIGNED_FOR);
    let request = Request::put(url.as_str())
        .body(Full::new(Bytes::from_static(b"over h2")))
        .unwrap();
    let status = sender.send_request(request).await.unwrap().status();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(client.get("a", &[]).await.text(), "over h2");
}

#[tokio::test]
async fn a_sink_records_what_it_is_sent_and_not_the_query() {
    let (recorder, mut observations) = Recorder::channel(16);
    let options = Options {
        dependency: Arc::from("pager"),
        ..Options::default()
    };
    let sink = start("sink", options, recorder).unwrap();
    let alert = r#"{"dependency":"s3"}"#;
    let answer = send(
        sink.address(),
        Method::POST,
        "/alerts?token=secret",
        &[],
        alert,
    )
    .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let look = send(sink.address(), Method::GET, "/", &[], "").await;
    assert_eq!(look.status, StatusCode::OK);
    let Some(Observation::Message(message)) = observations.recv().await else {
        panic!("no message was recorded");
    };
    assert_eq!(&*message.dependency, "pager");
    assert_eq!(message.request, "POST /alerts");
    assert_eq!(message.body, alert);
}

#[tokio::test]
async fn a_sink_keeps_the_beginning_of_a_long_message() {
    let (recorder, mut observations) = Recorder::channel(16);
    let sink = start("sink", Options::default(), recorder).unwrap();
    let body = "x".repeat(100_000);
    let answer = send(sink.address(), Method::POST, "/", &[], body).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let Some(Observation::Message(message)) = observations.recv().await else {
        panic!("no message was recorded");
    };
    assert_eq!(message.body, "x".repeat(4096));
    assert!(message.cut);
}

#[tokio::test]
async fn a_sink_says_of_a_message_whether_all_of_it_is_kept() {
    for (body, keeps_secrets, kept, is_whole) in [
        (&br#"{"on":"s3"}"#[..], false, r#"{"on":"s3"}"#, true),
        (br#"{"token":"s3"}"#, false, r#"{"token":"***"}"#, false),
        (br#"{"token":"s3"}"#, true, r#"{"token":"s3"}"#, true),
        (b"B\xfccher", true, "B\u{fffd}cher", false),
    ] {
        let (recorder, mut observations) = Recorder::channel(16);
        let options = Options {
            keeps_secrets,
            ..Options::default()
        };
        let sink = start("sink", options, recorder).unwrap();
        send(sink.address(), Method::POST, "/", &[], body).await;
        let Some(Observation::Message(message)) = observations.recv().await else {
            panic!("no message was recorded");
        };
        assert_eq!((&*message.body, !message.cut), (kept, is_whole));
    }
}

#[tokio::test]
async fn a_sink_says_of_a_message_whether_it_took_it() {
    let answer = |status| {
        let body = String::new();
        Some(sink::Answer { status, body })
    };
    for (answer, bytes, status, taken) in [
        (None, 10, 204, true),
        (None, 2_000_000, 413, false),
        (answer(201), 10, 201, true),
        (answer(201), 2_000_000, 413, false),
        (answer(503), 10, 503, false),
    ] {
        let (recorder, mut observations) = Recorder::channel(16);
        let options = Options {
            answer,
            ..Options::default()
        };
        let sink = start("sink", options, recorder).unwrap();
        let said = send(sink.address(), Method::POST, "/", &[], "x".repeat(bytes)).await;
        assert_eq!(said.status.as_u16(), status);
        let Some(Observation::Message(message)) = observations.recv().await else {
            panic!("no message was recorded");
        };
        assert_eq!(message.taken, taken, "{status} to {bytes} bytes");
    }
}

#[tokio::test]
async fn a_stopped_server_frees_its_port_though_a_client_lingers() {
    let client = Client::start();
    let address = client.server.address();
    let _idle = TcpStream::connect(address).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), client.server.stop())
        .await
        .expect("stopping is bounded");
    std::net::TcpListener::bind(address).expect("the port is free");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let (recorder, _) = Recorder::channel(16);
    let unknown = start("ftp", Options::default(), recorder.clone()).unwrap_err();
    assert!(unknown.to_string().contains("`ftp`"), "{unknown}");
    let options = Options {
        buckets: vec!["X".to_owned()],
        ..Options::default()
    };
    let bad_name = start("s3", options, recorder.clone()).unwrap_err();
    assert!(bad_name.to_string().contains("`X`"), "{bad_name}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        listen: taken.local_addr().unwrap(),
        ..Options::default()
    };
    let taken = start("sink", options, recorder).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
}
