//! Whether the server is who it says it is.

use std::cmp::Ordering;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::TlsSettingsError;
use super::certificate::{fingerprint, is_ancient, is_in_force, names, shown, subject};

/// What makes a certificate a good one.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// Issued by somebody who is believed, for this name, and in force.
    Issued {
        verifier: Arc<WebPkiServerVerifier>,
        /// Certificates that the user has named, by their SHA-256: one of these may be the server's own.
        named: Arc<[[u8; 32]]>,
    },
    /// Nobody is believed.
    Nobody,
    /// This one and no other.
    Pin([u8; 32]),
    /// Any.
    All,
}

impl Trust {
    pub(super) fn issued_by(
        roots: RootCertStore,
        named: Vec<[u8; 32]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsSettingsError> {
        if roots.is_empty() {
            return Ok(Self::Nobody);
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|e| TlsSettingsError::NoRoots(e.to_string()))?;
        Ok(Self::Issued {
            verifier,
            named: named.into(),
        })
    }
}

/// Judges the certificate of one server, and keeps the words for the person who has to decide.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    /// Why the last certificate was not believed.
    refusal: Mutex<Option<String>>,
    /// Of the last certificate that was.
    believed: Mutex<Option<[u8; 32]>>,
}

impl Verifier {
    pub(super) fn new(trust: Trust, provider: Arc<CryptoProvider>) -> Self {
        Self {
            trust,
            provider,
            refusal: Mutex::default(),
            believed: Mutex::default(),
        }
    }

    /// The words about a certificate that was not believed.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().take()
    }

    /// SHA-256 of the server's certificate.
    pub(super) fn believed(&self) -> Option<[u8; 32]> {
        *self.believed.lock()
    }

    fn judge(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        match &self.trust {
            Trust::All => Ok(()),
            Trust::Pin(pin) if fingerprint(end) == *pin => Ok(()),
            Trust::Pin(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Trust::Nobody => Err(CertificateError::UnknownIssuer.into()),
            Trust::Issued { verifier, named } => {
                if named.contains(&fingerprint(end)) {
                    return judge_named(end, name);
                }
                verifier
                    .verify_server_cert(end, between, name, ocsp, now)
                    .map(drop)
            }
        }
    }

    fn explain(&self, end: &CertificateDer<'_>, name: &ServerName<'_>, why: &Error) -> String {
        let print = shown(&fingerprint(end));
        let who = subject(end);
        if matches!(self.trust, Trust::Pin(_)) {
            return format!(
                "the server's certificate is another one than cert_sha256 tells: {who}, SHA-256 {print}"
            );
        }
        let reason = match why {
            _ if is_ancient(end) => {
                "it is an X.509 version 1 certificate, which says for no host that it is its".into()
            }
            Error::InvalidCertificate(error) => reason(error, end, name),
            other => other.to_string(),
        };
        format!(
            "the server's certificate is not trusted: {reason}; it is {who}, SHA-256 {print}; \
             to trust this certificate and no other: -o cert_sha256={}; to go on without encryption: ftp:// and -o tls=off",
            print.replace(':', "")
        )
    }
}

/// A certificate that stands for itself is its own issuer, which the library does not accept at the end of a chain:
/// what is left to be seen is whether it is for this name, and in force.
fn judge_named(end: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    match is_in_force(end) {
        Some(Ordering::Equal) => {}
        Some(Ordering::Less) => return Err(CertificateError::NotValidYet.into()),
        Some(Ordering::Greater) => return Err(CertificateError::Expired.into()),
        None => return Err(CertificateError::BadEncoding.into()),
    }
    verify_server_name(&ParsedCertificate::try_from(end)?, name)
}

fn reason(error: &CertificateError, end: &CertificateDer<'_>, name: &ServerName<'_>) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer | E::BadSignature => "nobody whom this machine believes has issued it (a self-signed one, or cacert=FILE is missing)".into(),
        E::Expired | E::ExpiredContext { .. } => "it has expired".into(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet (is the clock right?)".into(),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            let names = names(end);
            let for_whom = if names.is_empty() {
                "no name".to_owned()
            } else {
                names.join(", ")
            };
            format!("it is for {for_whom}, not for {}", name.to_str())
        }
        E::Revoked => "it was revoked".into(),
        // webpki's words for a certificate that has signed itself.
        E::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it is self-signed".into()
        }
        other => format!("{other:?}"),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.judge(end, between, name, ocsp, now) {
            Ok(()) => {
                *self.believed.lock() = Some(fingerprint(end));
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => {
                *self.refusal.lock() = Some(self.explain(end, name, &error));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
            .inspect_err(|_| self.note_ancient(certificate))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
            .inspect_err(|_| self.note_ancient(certificate))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Verifier {
    /// Of a pinned version 1 certificate not even the key can be read by the library.
    fn note_ancient(&self, certificate: &CertificateDer<'_>) {
        if is_ancient(certificate) {
            *self.refusal.lock() = Some(format!(
                "the server's certificate ({}) is an X.509 version 1 certificate, which cannot be used for TLS any more; \
                 give the server a new one, or go on without encryption: ftp:// and -o tls=off",
                subject(certificate)
            ));
        }
    }
}
