//! TLS on both sides: a throw-away authority whose certificates the system is made to trust, and
//! the configuration with which we trust the dependency.
//!
//! The provider is ring, named in this file alone (but for the reference systems) and never
//! installed as the process's default.

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{collections::BTreeMap, fmt, io, sync::Arc};

/// Names and addresses on every certificate.
const LOOPBACK: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// Certificates kept per front; at the bound all are forgotten and made anew when asked for.
const CERTIFICATES_MAX: usize = 64;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate authority that lives as long as the run. Its key never leaves the process.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A fresh authority, valid from yesterday for a month.
    ///
    /// # Errors
    /// The system's randomness failed.
    pub fn new() -> io::Result<Arc<Self>> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = dated(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Brownout throw-away authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let pem = params.self_signed(&key).map_err(io::Error::other)?.pem();
        Ok(Arc::new(Self {
            issuer: Issuer::new(params, key),
            pem,
        }))
    }

    /// The authority's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The system's roots and this authority, for variables such as `SSL_CERT_FILE` and
    /// `AWS_CA_BUNDLE`, which replace the trust store rather than add to it.
    pub fn bundle_pem(&self) -> String {
        let mut bundle = self.pem.clone();
        for root in rustls_native_certs::load_native_certs().certs {
            bundle.push_str(&pem_of(&root));
        }
        bundle
    }

    /// What a server shows with a certificate for these names and the loopback addresses.
    ///
    /// # Errors
    /// A name that no certificate can carry.
    pub fn server_config(&self, names: &[String], alpn: &[&[u8]]) -> io::Result<Arc<ServerConfig>> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = self.leaf(names, &key)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn leaf(&self, names: &[String], key: &KeyPair) -> io::Result<CertificateDer<'static>> {
        let mut all: Vec<String> = names.to_vec();
        for name in LOOPBACK {
            if !all.iter().any(|known| known == name) {
                all.push((*name).to_owned());
            }
        }
        let common = all[0].clone();
        let mut params = dated(all)?;
        params.distinguished_name.push(DnType::CommonName, common);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
            .signed_by(key, &self.issuer)
            .map(|certificate| certificate.der().clone())
            .map_err(io::Error::other)
    }
}

/// Parameters valid from yesterday (clocks differ) for a month, without rcgen's default name.
fn dated(names: Vec<String>) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let on = |days: i64| -> io::Result<_> {
        let date = today
            .checked_add(jiff::Span::new().days(days))
            .map_err(io::Error::other)?;
        let (year, month, day) = (date.year(), date.month(), date.day());
        Ok(rcgen::date_time_ymd(
            i32::from(year),
            month.unsigned_abs(),
            day.unsigned_abs(),
        ))
    };
    params.not_before = on(-1)?;
    params.not_after = on(30)?;
    Ok(params)
}

/// One certificate as PEM, in lines of 64 characters.
fn pem_of(certificate: &CertificateDer<'_>) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in certificate.chunks(48) {
        for three in line.chunks(3) {
            let bits = three
                .iter()
                .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - three.len()));
            for place in 0..4 {
                if place <= three.len() {
                    let at = bits >> (18 - 6 * place) & 63;
                    text.push(char::from(ALPHABET[at as usize]));
                } else {
                    text.push('=');
                }
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// How we trust a dependency: the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
/// honoured) and these certificates in PEM.
///
/// # Errors
/// A text that holds no readable certificate.
pub fn client_config(extra_roots_pem: &[&str]) -> io::Result<Arc<rustls::ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for pem in extra_roots_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots
                .add(certificate.map_err(io::Error::other)?)
                .map_err(io::Error::other)?;
            found = true;
        }
        if !found {
            return Err(io::Error::other("no certificate in the extra roots"));
        }
    }
    trusting(roots)
}

/// As [`client_config`] where TLS is spoken to the dependency. Elsewhere it trusts nobody: the system's
/// roots take longer to read than all else that a proxy does before it listens.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_if(speaks_tls: bool) -> io::Result<Arc<rustls::ClientConfig>> {
    if speaks_tls {
        client_config(&[])
    } else {
        trusting(RootCertStore::empty())
    }
}

/// Whom the proxies of one run trust towards their dependencies. The system's roots are read once, and
/// only where a dependency speaks TLS.
#[derive(Debug, Default)]
pub struct Trust {
    system: Option<Arc<rustls::ClientConfig>>,
    nobody: Option<Arc<rustls::ClientConfig>>,
}

impl Trust {
    /// What a proxy trusts whose dependency speaks TLS, or does not.
    ///
    /// # Errors
    /// As [`client_config`].
    pub fn towards(&mut self, speaks_tls: bool) -> io::Result<Arc<rustls::ClientConfig>> {
        let known = if speaks_tls {
            &mut self.system
        } else {
            &mut self.nobody
        };
        if let Some(config) = known {
            return Ok(Arc::clone(config));
        }
        Ok(Arc::clone(known.insert(client_config_if(speaks_tls)?)))
    }
}

fn trusting(roots: RootCertStore) -> io::Result<Arc<rustls::ClientConfig>> {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whether a client behind a [`Front`] may do without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// It may not.
    Refused,
    /// It may: what it speaks is seen from its first byte.
    Accepted,
    /// It may, and clients that know the address are told so.
    Preferred,
}

/// TLS towards the system: a certificate for whatever name the client asks for.
#[derive(Debug)]
pub struct Front {
    authority: Arc<Authority>,
    names: Vec<String>,
    plain: Plain,
    configs: Mutex<BTreeMap<(String, FrontAlpn), Arc<ServerConfig>>>,
}

impl Front {
    /// A front whose certificates carry these names beside the one asked for.
    pub fn new(authority: Arc<Authority>, names: Vec<String>) -> Self {
        Self {
            authority,
            names,
            plain: Plain::Refused,
            configs: Mutex::new(BTreeMap::new()),
        }
    }

    /// A front through which clients may also pass without TLS.
    pub fn beside(self, plain: Plain) -> Self {
        Self { plain, ..self }
    }

    pub(super) fn plain(&self) -> Plain {
        self.plain
    }

    /// What to show to a client that asks for `name`, with the protocols that the dependency
    /// speaks.
    pub(super) fn config(
        &self,
        name: Option<&str>,
        alpn: FrontAlpn,
    ) -> io::Result<Arc<ServerConfig>> {
        let key = (name.unwrap_or_default().to_owned(), alpn);
        if let Some(config) = self.configs.lock().get(&key) {
            return Ok(Arc::clone(config));
        }
        let mut names = self.names.clone();
        if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
            names.insert(0, name.to_owned());
        }
        let config = self.authority.server_config(&names, alpn.names())?;
        let mut configs = self.configs.lock();
        if configs.len() >= CERTIFICATES_MAX {
            configs.clear();
        }
        configs.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

/// What ALPN offers to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FrontAlpn {
    /// Nothing: not HTTP.
    None,
    /// `http/1.1` alone.
    Http1,
    /// `h2`, then `http/1.1`.
    Http2,
}

impl FrontAlpn {
    fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::None => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2", b"http/1.1"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_read_once_and_only_for_those_who_speak_tls() {
        let mut trust = Trust::default();
        let nobody = trust.towards(false).expect("a configuration");
        assert!(trust.system.is_none(), "nobody has asked for the roots");
        let system = trust.towards(true).expect("a configuration");
        assert!(Arc::ptr_eq(&system, &trust.towards(true).expect("known")));
        assert!(Arc::ptr_eq(&nobody, &trust.towards(false).expect("known")));
        assert!(!Arc::ptr_eq(&system, &nobody));
    }

    #[test]
    fn a_bundle_holds_our_authority_and_reads_back() {
        let authority = Authority::new().expect("an authority");
        let bundle = authority.bundle_pem();
        assert!(bundle.starts_with(authority.certificate_pem()));
        let system = rustls_native_certs::load_native_certs().certs;
        let read: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes())
            .collect::<Result<_, _>>()
            .expect("readable");
        assert_eq!(read.len(), system.len() + 1);
        assert_eq!(read[1..], system[..]);
    }

    #[test]
    fn any_length_of_certificate_is_written_as_readable_pem() {
        for length in 1..150 {
            let certificate = CertificateDer::from(vec![0xa5; length]);
            let text = pem_of(&certificate);
            let read = CertificateDer::from_pem_slice(text.as_bytes()).expect("readable");
            assert_eq!(read, certificate);
            assert!(text.lines().all(|line| line.len() <= 64));
        }
    }

    #[test]
    fn extra_roots_without_a_certificate_are_refused() {
        assert!(client_config(&["not a certificate"]).is_err());
    }

    #[test]
    fn a_front_keeps_the_certificate_of_a_name_and_a_bounded_number_of_them() {
        let authority = Authority::new().expect("an authority");
        let front = Front::new(authority, Vec::new());
        let one = front
            .config(Some("a.example"), FrontAlpn::None)
            .expect("made");
        let again = front
            .config(Some("a.example"), FrontAlpn::None)
            .expect("kept");
        assert!(Arc::ptr_eq(&one, &again));
        for nth in 0..=CERTIFICATES_MAX {
            let name = format!("{nth}.example");
            front.config(Some(&name), FrontAlpn::None).expect("made");
        }
        assert!(front.configs.lock().len() <= CERTIFICATES_MAX);
    }
}
