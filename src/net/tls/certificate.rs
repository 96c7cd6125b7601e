//! What a person is told about a certificate.

use std::cmp::Ordering;

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// The SHA-256 of the certificate's DER bytes, whatever they are.
pub(super) fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// As `openssl x509 -fingerprint -sha256` prints it.
pub(super) fn shown(fingerprint: &[u8; 32]) -> String {
    let mut text = String::with_capacity(95);
    for (n, byte) in fingerprint.iter().enumerate() {
        let colon = if n == 0 { "" } else { ":" };
        text.push_str(&format!("{colon}{byte:02X}"));
    }
    text
}

/// The subject, cut to what fits into a line.
pub(super) fn subject(der: &[u8]) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => {
            let subject = certificate.subject().to_string();
            let printable = subject.chars().filter(|c| !c.is_control());
            let short: String = printable.take(200).collect();
            if short.is_empty() {
                "(no name)".to_owned()
            } else {
                short
            }
        }
        Err(_) => "(unreadable)".to_owned(),
    }
}

/// X.509 version 1 or 2: they have no extensions, and so no names of hosts. Old NAS boxes and printers make them.
pub(super) fn is_ancient(der: &[u8]) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, certificate)| certificate.version() != X509Version::V3)
}

/// Whether it is not yet valid (less), valid, or not any more (greater).
pub(super) fn is_in_force(der: &[u8]) -> Option<Ordering> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let now = ASN1Time::now();
    let validity = certificate.validity();
    Some(if now < validity.not_before {
        Ordering::Less
    } else if now > validity.not_after {
        Ordering::Greater
    } else {
        Ordering::Equal
    })
}

/// The names that it is for.
pub(super) fn names(der: &[u8]) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for name in names.value.general_names.iter().take(8) {
        match name {
            GeneralName::DNSName(name) => found.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four: Result<[u8; 4], _> = (*bytes).try_into();
                let sixteen: Result<[u8; 16], _> = (*bytes).try_into();
                if let Ok(four) = four {
                    found.push(std::net::Ipv4Addr::from(four).to_string());
                } else if let Ok(sixteen) = sixteen {
                    found.push(std::net::Ipv6Addr::from(sixteen).to_string());
                }
            }
            _ => {}
        }
    }
    found
}
