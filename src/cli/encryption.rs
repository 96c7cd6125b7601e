//! From the options about TLS to what the client needs.

use std::path::Path;
use std::sync::Arc;

use super::settings::{Settings, Tls};
use super::url::Scheme;
use crate::ftp::{Security, printable};
use crate::mount::{Failure, Status};
use crate::net::{Identity, Roots, TlsClient, TlsSettings, TlsSettingsError};

/// A file of certificates is not larger than this.
const MAX_FILE: u64 = 4 << 20;

/// # Errors
/// Options that contradict each other, and files that cannot be read or hold nothing of use.
pub(super) fn security(scheme: Scheme, settings: &Settings) -> Result<Security, Failure> {
    let wanted = match (scheme, settings.tls) {
        (Scheme::Ftp, Tls::Off) => return Ok(Security::Off),
        (_, Tls::Off) => {
            return Err(Failure::usage(
                "tls=off contradicts an address that begins with ftps:// or ftpes://",
            ));
        }
        (Scheme::Ftp, Tls::Auto) => Security::Offered,
        (Scheme::Ftp, Tls::Require) | (Scheme::Ftpes, _) => Security::Required,
        (Scheme::Ftps, _) => Security::Implicit,
    };
    Ok(wanted(Arc::new(client(settings)?)))
}

fn client(settings: &Settings) -> Result<TlsClient, Failure> {
    let identity = match (&settings.cert, &settings.key) {
        (Some(cert), key) => Some(Identity {
            certificates: read(cert)?,
            // Both may be in one file.
            key: read(key.as_ref().unwrap_or(cert))?,
        }),
        (None, Some(_)) => {
            return Err(Failure::usage(
                "option key: there is no cert= that it is for",
            ));
        }
        (None, None) => None,
    };
    let roots = match &settings.cacert {
        Some(path) => Roots::Pem(read(path)?),
        None => Roots::System,
    };
    if settings.no_verify_peer && settings.cert_sha256.is_none() {
        log::warn!(
            "no_verify_peer: whoever answers is believed to be the server, and gets the password \
             (cert_sha256= trusts one certificate alone)"
        );
    }
    TlsClient::new(&TlsSettings {
        roots,
        pin: settings.cert_sha256,
        believes_all: settings.no_verify_peer,
        identity,
    })
    .map_err(|error| match (&error, &settings.cacert, &settings.cert) {
        (TlsSettingsError::NoRoots(_), Some(file), _)
        | (TlsSettingsError::Identity(_), _, Some(file)) => {
            Failure::usage(format!("{}: {error}", name(file)))
        }
        _ => Failure::new(Status::Tls, error.to_string()),
    })
}

fn name(file: &Path) -> String {
    printable(file.as_os_str().as_encoded_bytes())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let refused = |why: String| Failure::usage(format!("{}: {why}", name(path)));
    let size = std::fs::metadata(path)
        .map_err(|e| refused(e.to_string()))?
        .len();
    if size > MAX_FILE {
        return Err(refused("too large for certificates".into()));
    }
    std::fs::read(path).map_err(|e| refused(e.to_string()))
}
