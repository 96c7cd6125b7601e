//! TLS (RFC 4217) with rustls: how certificates are judged, and what a connection needs to begin.
//!
//! Servers demand that a data connection resumes the session of *its* control connection (vsftpd with
//! `require_ssl_reuse`, ProFTPD, FileZilla Server), so each control connection has a store of sessions of its
//! own, shared with its data connections and with nothing else.

mod certificate;
mod link;
mod verifier;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use certificate::fingerprint;
pub(super) use link::Link;
pub use link::{Established, TlsVersion};
use verifier::{Trust, Verifier};

/// Names of servers that one control connection has sessions with: its own, and as an address.
const SESSIONS: usize = 4;

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Those that this machine trusts.
    #[default]
    System,
    /// Those in this PEM text, and no others.
    Pem(Vec<u8>),
}

/// Certificate and key of the client, each a PEM text.
#[derive(Clone)]
pub struct Identity {
    /// The client's certificate, and those between it and its root.
    pub certificates: Vec<u8>,
    /// Its private key, not encrypted.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

/// How servers are judged, and what they are shown.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Believed issuers.
    pub roots: Roots,
    /// The SHA-256 of the one certificate (its DER bytes) that is believed, whoever issued it and whatever it says.
    pub pin: Option<[u8; 32]>,
    /// Any certificate is believed.
    pub believes_all: bool,
    /// For servers that ask for one.
    pub identity: Option<Identity>,
}

/// What of [`TlsSettings`] is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    /// No certificate that can be believed.
    #[error("no certificates are trusted: {0}")]
    NoRoots(String),
    /// `cert` or `key`.
    #[error("the client certificate is of no use: {0}")]
    Identity(String),
    /// Of the library.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// The client's side of TLS, made once.
pub struct TlsClient {
    provider: Arc<CryptoProvider>,
    /// Read when a server shows the first certificate: most servers have none.
    trust: OnceLock<Trust>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// What of them is of no use.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsSettingsError> {
        let provider = Arc::new(ring::default_provider());
        let trust = OnceLock::new();
        let known = if let Some(pin) = settings.pin {
            Some(Trust::Pin(pin))
        } else if settings.believes_all {
            Some(Trust::All)
        } else if matches!(settings.roots, Roots::Pem(_)) {
            let (store, named) = roots(&settings.roots)?;
            Some(Trust::issued_by(store, named, &provider)?)
        } else {
            None
        };
        known.into_iter().for_each(|known| {
            trust.get_or_init(|| known);
        });
        let identity = settings.identity.as_ref().map(read_identity).transpose()?;
        Ok(Self {
            provider,
            trust,
            identity,
        })
    }

    fn trust(&self) -> io::Result<Trust> {
        if let Some(trust) = self.trust.get() {
            return Ok(trust.clone());
        }
        let (store, _) = roots(&Roots::System).map_err(io::Error::other)?;
        let trust =
            Trust::issued_by(store, Vec::new(), &self.provider).map_err(io::Error::other)?;
        Ok(self.trust.get_or_init(|| trust).clone())
    }

    /// For one control connection to `host` and its data connections. `only_12`: no TLS 1.3.
    ///
    /// # Errors
    /// `host` is no name that a certificate can be for.
    pub fn context(&self, host: &str, only_12: bool) -> io::Result<TlsContext> {
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            // A name in a URL may end with a dot, one in a certificate never does.
            Err(_) => ServerName::try_from(host.trim_end_matches('.').to_owned())
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?,
        };
        let versions: &[&SupportedProtocolVersion] = if only_12 {
            &[&TLS12]
        } else {
            &[&TLS13, &TLS12]
        };
        let verifier = Arc::new(Verifier::new(self.trust()?, Arc::clone(&self.provider)));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(io::Error::other)?,
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(TlsContext {
            config: Arc::new(config),
            verifier,
            name,
        })
    }
}

/// What one control connection and its data connections share.
#[derive(Clone)]
pub struct TlsContext {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    name: ServerName<'static>,
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Who is believed, and the SHA-256 of each certificate that the user has named.
fn roots(wanted: &Roots) -> Result<(RootCertStore, Vec<[u8; 32]>), TlsSettingsError> {
    let mut store = RootCertStore::empty();
    let certificates = match wanted {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                log::debug!("certificates of this machine: {error}");
            }
            found.certs
        }
        Roots::Pem(text) => CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| TlsSettingsError::NoRoots(e.to_string()))?,
    };
    let named = match wanted {
        Roots::System => Vec::new(),
        Roots::Pem(_) => certificates.iter().map(|der| fingerprint(der)).collect(),
    };
    let (good, bad) = store.add_parsable_certificates(certificates);
    log::debug!("{good} trusted certificates, {bad} that cannot be read");
    match (wanted, good) {
        // No server is believed then, and its error says how to go on.
        (Roots::Pem(_), 0) => Err(TlsSettingsError::NoRoots(
            "the file holds none in PEM form (-----BEGIN CERTIFICATE-----)".to_owned(),
        )),
        _ => Ok((store, named)),
    }
}

fn read_identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsSettingsError> {
    let refused = |e: String| TlsSettingsError::Identity(e);
    let chain = CertificateDer::pem_slice_iter(&identity.certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| refused(e.to_string()))?;
    if chain.is_empty() {
        return Err(refused("the file of `cert` holds no certificate".into()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&identity.key).map_err(|e| refused(format!("key: {e}")))?;
    Ok((chain, key))
}
