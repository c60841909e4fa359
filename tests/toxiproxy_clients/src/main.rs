//! Does with two clients of Toxiproxy, as they are, what their documentation shows; says which is done.
//!
//! ```text
//! toxiproxy-clients API_PORT ECHO_PORT
//! ```

use noxious_client::{StreamDirection, Toxic, ToxicKind};
use std::{
    error::Error,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};
use toxiproxy_rust::proxy::ProxyPack;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let ports: Vec<u16> = std::env::args()
        .skip(1)
        .map(|port| port.parse())
        .collect::<Result<_, _>>()?;
    let [api, echo] = ports[..] else {
        return Err("two ports".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(noxious(api, echo))?;
    println!("noxious-client");
    drop(runtime);
    toxiproxy_rust(api, echo)?;
    println!("toxiproxy_rust");
    Ok(())
}

/// Sends a word through a proxy, and says what came back, and after how long.
fn round_trip(listen: &str) -> std::io::Result<(String, Duration)> {
    let mut stream = TcpStream::connect(listen)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let began = Instant::now();
    stream.write_all(b"hello")?;
    let mut back = [0; 16];
    let read = stream.read(&mut back)?;
    Ok((
        String::from_utf8_lossy(&back[..read]).into_owned(),
        began.elapsed(),
    ))
}

fn is_echoed(listen: &str) -> bool {
    round_trip(listen).is_ok_and(|(back, _)| back == "hello")
}

async fn noxious(api: u16, echo: u16) -> Done {
    let client = noxious_client::Client::new(&format!("127.0.0.1:{api}"));
    let upstream = format!("127.0.0.1:{echo}");
    assert!(client.proxies().await?.is_empty());
    client
        .create_proxy("echo", "127.0.0.1:0", &upstream)
        .await?;
    // The address is known only to who asks for the proxy again.
    let mut proxy = client.proxy("echo").await?;
    let listen = proxy.config.listen.clone();
    assert!(proxy.is_enabled() && is_echoed(&listen));

    let taken = client.create_proxy("echo", "127.0.0.1:0", &upstream).await;
    assert_eq!(
        taken.unwrap_err().to_string(),
        "API error: 409: proxy already exists"
    );
    let none = client.proxy("none").await;
    assert_eq!(
        none.unwrap_err().to_string(),
        "API error: 404: proxy not found"
    );

    proxy.disable().await?;
    assert!(!is_echoed(&listen));
    proxy.enable().await?;
    assert!(is_echoed(&listen));

    for (at, direction) in [StreamDirection::Upstream, StreamDirection::Downstream]
        .into_iter()
        .enumerate()
    {
        let toxic = Toxic {
            kind: ToxicKind::Latency {
                latency: 200,
                jitter: 0,
            },
            name: format!("slow {at}"),
            toxicity: 1.0,
            direction,
        };
        let made = proxy.add_toxic(&toxic).await?;
        assert_eq!((made.kind, made.direction), (toxic.kind, direction));
        let again = proxy.add_toxic(&toxic).await;
        assert_eq!(
            again.unwrap_err().to_string(),
            "API error: 409: toxic already exists"
        );
    }
    assert!(round_trip(&listen)?.1 >= Duration::from_millis(400));
    let kind = ToxicKind::Latency {
        latency: 0,
        jitter: 0,
    };
    let changed = proxy
        .update_toxic("slow 0", 1.0, kind, StreamDirection::Upstream)
        .await?;
    assert_eq!(
        (changed.kind, changed.direction),
        (kind, StreamDirection::Upstream)
    );
    assert_eq!(proxy.toxics().await?.len(), 2);
    proxy.remove_toxic("slow 1").await?;
    assert!(round_trip(&listen)?.1 < Duration::from_millis(400));
    proxy.remove_toxic("slow 0").await?;
    assert!(proxy.toxics().await?.is_empty());

    for kind in [
        ToxicKind::Timeout { timeout: 10 },
        ToxicKind::Bandwidth { rate: 100 },
        ToxicKind::SlowClose { delay: 10 },
        ToxicKind::Slicer {
            average_size: 10,
            size_variation: 2,
            delay: 1,
        },
        ToxicKind::LimitData { bytes: 1 << 20 },
    ] {
        let name = "one".to_owned();
        let toxic = Toxic {
            kind,
            name,
            toxicity: 1.0,
            direction: StreamDirection::Downstream,
        };
        assert_eq!(proxy.add_toxic(&toxic).await?.kind, kind);
        proxy.remove_toxic("one").await?;
    }
    // It cannot read the `attributes: {}` of a toxic that has none, which Toxiproxy sends too: the toxic
    // is there all the same, and can be removed.
    let noop = Toxic {
        kind: ToxicKind::Noop,
        name: "noop".to_owned(),
        toxicity: 1.0,
        direction: StreamDirection::Downstream,
    };
    assert!(proxy.add_toxic(&noop).await.is_err() && is_echoed(&listen));
    proxy.remove_toxic("noop").await?;
    assert!(proxy.toxics().await?.is_empty());
    proxy.disable().await?;
    client.reset_state().await?;
    assert!(is_echoed(&listen));

    // It wants an array from /populate, where Toxiproxy answers an object: the proxies are made, and it
    // cannot read so, there as here.
    let mut config = client.proxy("echo").await?.config;
    config.name = "populated".to_owned();
    config.listen = "127.0.0.1:0".to_owned();
    assert!(client.populate(&[config]).await.is_err());
    let made = client.proxies().await?;
    assert!(is_echoed(&made["populated"].config.listen));
    for (_, proxy) in made {
        proxy.delete().await?;
    }
    assert!(client.proxies().await?.is_empty());
    Ok(())
}

fn toxiproxy_rust(api: u16, echo: u16) -> Done {
    let client = toxiproxy_rust::client::Client::new(("127.0.0.1", api));
    assert!(client.is_running() && client.version()?.contains("2."));
    let upstream = format!("127.0.0.1:{echo}");
    let packs = ["one", "two"]
        .map(|name| ProxyPack::new(name.to_owned(), "127.0.0.1:0".to_owned(), upstream.clone()));
    let made = client.populate(packs.into())?;
    assert_eq!(made.len(), 2);
    assert_eq!(client.all()?.len(), 2);
    let listen = made[0].proxy_pack.listen.clone();
    assert!(is_echoed(&listen));

    let proxy = client.find_proxy("one")?;
    proxy.with_down(|| assert!(!is_echoed(&listen)))?;
    assert!(is_echoed(&listen));
    proxy
        .with_latency("downstream".to_owned(), 200, 0, 1.0)
        .with_bandwidth("upstream".to_owned(), 1_000, 1.0)
        .with_slow_close("upstream".to_owned(), 10, 1.0)
        .with_slicer("downstream".to_owned(), 64, 0, 0, 1.0)
        .with_limit_data("downstream".to_owned(), 1 << 20, 1.0)
        .apply(|| {
            assert_eq!(proxy.toxics().map(|toxics| toxics.len()), Ok(5));
            let (back, took) = round_trip(&listen).expect("an answer");
            assert!(back == "hello" && took >= Duration::from_millis(200));
        })?;
    assert!(proxy.toxics()?.is_empty());
    proxy
        .with_timeout("downstream".to_owned(), 50, 1.0)
        .apply(|| {
            assert!(!is_echoed(&listen));
        })?;
    proxy.disable()?;
    assert!(client.find_and_reset_proxy("one")?.toxics()?.is_empty());
    assert!(is_echoed(&listen));
    proxy.disable()?;
    client.reset()?;
    assert!(is_echoed(&listen));
    for (_, proxy) in client.all()? {
        proxy.delete()?;
    }
    assert!(client.all()?.is_empty() && client.find_proxy("one").is_err());
    Ok(())
}
