//! Requests to who receives spans: one at a time, on a connection for each.

use crate::{
    dial,
    proxy::{UpstreamAddress, tls::client_config},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// How often a batch is tried that may be taken later.
const ATTEMPTS: u32 = 3;

/// How long is waited before the second attempt; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(500);

/// How many bytes of an answer are read, to see how many spans were refused.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Who receives spans.
pub(super) struct Receiver {
    address: UpstreamAddress,
    uri: Uri,
    headers: Vec<(String, String)>,
    limit: Duration,
    tls: Arc<rustls::ClientConfig>,
}

/// Why a batch was not taken.
enum Refused {
    /// It may be later.
    ForNow(String),
    ForEver(String),
}

impl Receiver {
    pub(super) fn new(
        endpoint: String,
        headers: Vec<(String, String)>,
        limit: Duration,
    ) -> io::Result<Self> {
        let uri: Uri = endpoint.parse().map_err(io::Error::other)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = uri.scheme_str() == Some("https");
        let address = UpstreamAddress {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
        };
        Ok(Self {
            address,
            uri,
            headers,
            limit,
            tls: client_config(&[])?,
        })
    }

    /// Sends a batch, more than once where it may help; else says why it was not taken.
    pub(super) async fn take(&self, body: Vec<u8>) -> Result<(), String> {
        let body = Bytes::from(body);
        let mut pause = PAUSE;
        for attempt in 1.. {
            let posted = timeout(self.limit, self.post(body.clone())).await;
            let posted = posted.unwrap_or_else(|_| Err(Refused::ForNow("no answer".to_owned())));
            match posted {
                Ok(()) => return Ok(()),
                Err(Refused::ForNow(_)) if attempt < ATTEMPTS => sleep(pause).await,
                Err(Refused::ForNow(why) | Refused::ForEver(why)) => {
                    return Err(format!("{}: {why}", self.address));
                }
            }
            pause *= 2;
        }
        Ok(())
    }

    async fn post(&self, body: Bytes) -> Result<(), Refused> {
        let for_now = |error: io::Error| Refused::ForNow(error.to_string());
        let to = (self.address.host.as_str(), self.address.port);
        let tcp = dial::connect(to).await.map_err(for_now)?;
        if !self.address.tls {
            return self.post_over(tcp, body).await;
        }
        let name = ServerName::try_from(self.address.host.clone())
            .map_err(|error| Refused::ForEver(error.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, tcp).await.map_err(for_now)?;
        self.post_over(stream, body).await
    }

    async fn post_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        body: Bytes,
    ) -> Result<(), Refused> {
        let for_now = |error: hyper::Error| Refused::ForNow(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(for_now)?;
        // It ends as the sender is dropped; what went wrong the sender is told.
        tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header("host", authority)
            .header("content-type", "application/json")
            .header(
                "user-agent",
                concat!("brownout/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Refused::ForEver(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(for_now)?;
        taken(answer).await
    }
}

/// Whether what was sent was taken, all of it.
async fn taken(answer: hyper::Response<Incoming>) -> Result<(), Refused> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    match status.as_u16() {
        200..300 => {
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let part = &said["partialSuccess"];
            let refused = &part["rejectedSpans"];
            // Whole numbers are texts in the JSON of protocol buffers, and not everybody knows.
            let count = refused.as_u64();
            let count = count
                .or_else(|| refused.as_str()?.parse().ok())
                .unwrap_or(0);
            if count == 0 {
                return Ok(());
            }
            let why = part["errorMessage"].as_str().unwrap_or("no reason given");
            Err(Refused::ForEver(format!("it refused {count} spans: {why}")))
        }
        429 | 502 | 503 | 504 => Err(Refused::ForNow(format!("status {status}"))),
        _ => Err(Refused::ForEver(format!("status {status}"))),
    }
}
