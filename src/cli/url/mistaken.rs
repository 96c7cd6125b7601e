//! Addresses that can be read, and hardly mean what was read.

use std::net::IpAddr;

use super::{Scheme, is_url};

const SLASH_IN_PASSWORD: &str = "a / in a user's name or password is written %2F, and : is %3A, @ is %40, % is %25: ftp://USER:PASSWORD@HOST/PATH";

/// Whether a folder stands where the source belongs, and the source where the folder does.
pub(in super::super) fn are_swapped(source: &[u8], mountpoint: &[u8]) -> bool {
    // No name of a host begins so.
    let is_path = |text: &[u8]| matches!(text.first(), Some(b'/' | b'.' | b'~'));
    let front = mountpoint.split(|b| *b == b'/').next().unwrap_or_default();
    let is_short = !is_path(mountpoint) && front.iter().any(|b| matches!(b, b':' | b'@'));
    !is_url(source) && is_url(mountpoint) || is_path(source) && is_short
}

/// Refuses `ftp:/host` and `ftp:host`. As scp takes it, `ftp` would be the host.
pub(super) fn two_slashes(text: &[u8], bare_is_url: bool) -> Result<(), String> {
    let Some(colon) = text.iter().position(|b| *b == b':') else {
        return Ok(());
    };
    let behind = &text[colon + 1..];
    let front = behind.split(|b| *b == b'/').next().unwrap_or_default();
    // In a bare URL it may be a password, of the user `ftp`.
    let is_host = !bare_is_url && looks_like_host(front);
    match Scheme::named(&text[..colon]) {
        Some(scheme) if is_host || behind.starts_with(b"/") => {
            let name = scheme.name();
            Err(format!(
                "{name}:// has two slashes: {name}://[USER[:PASSWORD]@]HOST/PATH (a host that is called {name}: ftp://{name}/PATH)"
            ))
        }
        _ => Ok(()),
    }
}

/// Whether this is hardly a folder: it has a user, a port or a domain, or is an IP address.
fn looks_like_host(text: &[u8]) -> bool {
    let ends_with_port = text.iter().rposition(|b| *b == b':').is_some_and(|colon| {
        let digits = &text[colon + 1..];
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    });
    let has_domain = text.contains(&b'.') && !text.starts_with(b".");
    let is_address = std::str::from_utf8(text).is_ok_and(|text| {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        bare.unwrap_or(text).parse::<IpAddr>().is_ok()
    });
    text.contains(&b'@') || ends_with_port || has_domain || is_address
}

/// Refuses what cannot be the whole of `[user:password@]host[:port]`, if it may be the front of it.
pub(super) fn slash_in_password(authority: &[u8]) -> Result<(), String> {
    match authority.contains(&b':') && !authority.starts_with(b"[") {
        true => Err(SLASH_IN_PASSWORD.into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_and_mountpoint_change_places() {
        for (source, mountpoint, expected) in [
            ("/home/me/web", "ftp://h/", true),
            ("web", "ftps://h", true),
            ("/mnt", "ftpfs#ftp://h", true),
            ("~/web", "me@h:dir", true),
            ("./web", "h:", true),
            ("ftp://h/", "/mnt", false),
            ("h", "m", false),
            ("h:", "./a:b", false),
            ("/h", "m", false),
            ("ftp://h/", "ftp://h/", false),
        ] {
            let found = are_swapped(source.as_bytes(), mountpoint.as_bytes());
            assert_eq!(found, expected, "{source} {mountpoint}");
        }
    }
}
