//! Both variants against an S3 that answers and one that hangs: what they do differently must show
//! without Brownout. Third parties are out of reach here: the forward proxy's port is closed.

use super::*;
use crate::{
    embedded::{self, Embedded},
    history::Recorder,
    reference::{
        Variant,
        web::{Endpoint, Patience, ask},
    },
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};

/// Anything that does not happen within this time counts as never.
const NEVER: Duration = Duration::from_secs(20);

/// Longer than a healthy system takes for any of it, shorter than any time-out of boto 2.
const SOON: Duration = Duration::from_secs(3);

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn s3() -> Embedded {
    let options = embedded::Options {
        listen: ANYWHERE,
        buckets: vec!["assets".to_owned(), "components".to_owned()],
        ..embedded::Options::default()
    };
    embedded::start("s3", options, Recorder::channel(16).0).unwrap()
}

/// An S3 behind a door that can be shut: what is said through it is then held, and nothing comes
/// back.
struct Door {
    address: SocketAddr,
    shut: tokio::sync::watch::Sender<bool>,
}

impl Door {
    async fn before(s3: SocketAddr) -> Self {
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shut, is_shut) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut is_shut = is_shut.clone();
                tokio::spawn(async move {
                    is_shut.wait_for(|shut| !shut).await.unwrap();
                    let mut server = TcpStream::connect(s3).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, shut }
    }
}

async fn platform(variant: Variant, s3: SocketAddr, second: SocketAddr) -> Platform {
    let setup = PlatformSetup {
        variant,
        s3: format!("http://{s3}"),
        second: Some(format!("http://{second}")).filter(|_| variant == Variant::Remedied),
        keys: (
            embedded::ACCESS_KEY.to_owned(),
            embedded::SECRET_KEY.to_owned(),
        ),
        pager: "http://127.0.0.1:1".to_owned(),
        proxy: Some("http://127.0.0.1:1".to_owned()),
    };
    let platform = Platform::start(ANYWHERE, setup).unwrap();
    time::timeout(NEVER, async {
        while send(&platform, Method::GET, "/readyz")
            .await
            .unwrap()
            .status()
            != StatusCode::OK
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it deploys");
    platform
}

/// The answer, unless none came soon.
async fn send(platform: &Platform, method: Method, path: &str) -> Option<Response<Bytes>> {
    let endpoint = Endpoint::parse(&format!("http://{}", platform.address())).unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Full::default())
        .unwrap();
    let patience = Patience {
        connect: SOON,
        answer: SOON,
    };
    ask(&endpoint, request, patience).await.ok()
}

fn header<'a>(answer: &'a Option<Response<Bytes>>, name: &str) -> &'a str {
    let answer = answer.as_ref().expect("an answer");
    answer.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn as_it_was_the_page_and_every_component_hang_with_s3() {
    let store = s3();
    let door = Door::before(store.address()).await;
    let platform = platform(Variant::AsItWas, door.address, store.address()).await;
    assert_eq!(
        header(
            &send(&platform, Method::GET, "/assets/chat.css").await,
            "x-origin"
        ),
        "primary"
    );
    let component = send(&platform, Method::POST, "/bots/31/messages").await;
    assert_eq!(header(&component, "x-answered-by"), "component");
    door.shut.send_replace(true);
    let (asset, component, flow) = tokio::join!(
        send(&platform, Method::GET, "/assets/chat.css"),
        send(&platform, Method::POST, "/bots/31/messages"),
        send(&platform, Method::POST, "/bots/1/messages"),
    );
    assert!(asset.is_none() && component.is_none());
    assert_eq!(header(&flow, "x-answered-by"), "flow");
}

#[tokio::test]
async fn remedied_the_second_origin_and_the_fallback_answer_while_s3_hangs() {
    let (store, other) = (s3(), s3());
    let door = Door::before(store.address()).await;
    let platform = platform(Variant::Remedied, door.address, other.address()).await;
    let asset = send(&platform, Method::GET, "/assets/chat.css").await;
    assert_eq!(header(&asset, "x-origin"), "primary");
    door.shut.send_replace(true);
    let (asset, component) = tokio::join!(
        send(&platform, Method::GET, "/assets/chat.css"),
        send(&platform, Method::POST, "/bots/31/messages"),
    );
    assert_eq!(header(&asset, "x-origin"), "second");
    assert_eq!(header(&component, "x-answered-by"), "fallback");
    door.shut.send_replace(false);
    time::timeout(NEVER, async {
        loop {
            let component = send(&platform, Method::POST, "/bots/31/messages").await;
            if header(&component, "x-answered-by") == "component" {
                break;
            }
        }
    })
    .await
    .expect("components come back by themselves");
}
