//! Names that a server takes and stores as other ones, without a word.

use super::profile::Ability;
use super::{ErrorKind, Remote, RemoteError};
use crate::ftp::RemotePath;

/// What a name may have that some servers do not keep.
struct Odd {
    ability: Ability,
    concerns: fn(&[u8]) -> bool,
    /// The ending of a name that shows it.
    ending: &'static [u8],
}

const ODD: [Odd; 6] = [
    // Pure-FTPd writes `_` for these two.
    odd(Ability::TrailingBlanks, ends_in_blank, b" "),
    odd(Ability::ControlCharacters, has_control, b"\x01x"),
    // inetutils takes this byte for Telnet's escape, and drops it.
    odd(Ability::Byte255, has_lone_255, b"\xffx"),
    // ftp-srv leaves them out.
    odd(Ability::Quotes, has_quote, b"\"x"),
    // ProFTPD reads these as commands of Telnet (RFC 854), of which nothing is left.
    odd(Ability::TelnetCommands, has_telnet_command, b"\xff\xff"),
    // libunftp and pyftpdlib write U+FFFD for what they cannot decode.
    odd(Ability::AnyBytes, is_not_utf8, b"\xe4x"),
];

const fn odd(ability: Ability, concerns: fn(&[u8]) -> bool, ending: &'static [u8]) -> Odd {
    Odd {
        ability,
        concerns,
        ending,
    }
}

impl Remote {
    /// Whether the server stores this name as it is; `None` if that has to be tried
    /// ([`Remote::try_name`]). Never waits.
    pub fn keeps_name(&self, name: &[u8]) -> Option<bool> {
        let concerned = || ODD.iter().filter(|odd| (odd.concerns)(name));
        if concerned().any(|odd| self.profile.lacks(odd.ability)) {
            return Some(false);
        }
        let proven = concerned().all(|odd| self.profile.is_proven(odd.ability));
        proven.then_some(true)
    }

    /// Tries what the server does with names of this sort, once, with a directory beside `free`, a temporary
    /// name that is not in use; whether it stores them as they are, as far as can be known.
    ///
    /// # Errors
    /// The connection.
    pub fn try_name(&self, name: &[u8], free: &RemotePath) -> Result<bool, RemoteError> {
        for odd in ODD.iter().filter(|odd| (odd.concerns)(name)) {
            if self.profile.is_proven(odd.ability) {
                continue;
            }
            match self.try_ending(free, odd.ending)? {
                Some(true) => self.profile.learn_proven(odd.ability),
                Some(false) => {
                    self.profile.learn_lack(odd.ability);
                    return Ok(false);
                }
                None => {}
            }
        }
        Ok(true)
    }

    /// Whether a directory with this ending of its name gets this name; `None` if it cannot be made, or is
    /// not found.
    fn try_ending(&self, free: &RemotePath, ending: &[u8]) -> Result<Option<bool>, RemoteError> {
        let Some(dir) = free.parent() else {
            return Ok(None);
        };
        let name = [free.name(), ending].concat();
        let Ok(path) = dir.join(&name) else {
            return Ok(None);
        };
        match self.make_directory(&path) {
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(error),
            // The operation itself will be told why.
            Err(_) => return Ok(None),
            Ok(()) => {}
        }
        let listing = self.list(&dir)?;
        let mut found = None;
        let ours = |name: &Vec<u8>| name.starts_with(free.name());
        for made in listing.entries.iter().map(|e| &e.name).filter(|n| ours(n)) {
            found = Some(*made == name);
            let made = dir.join(made).unwrap_or_else(|_| path.clone());
            if let Err(error) = self.remove_directory(&made) {
                log::warn!("{made}: was made to see what becomes of its name, and stays: {error}");
            }
        }
        log::info!("{path}: a name of this sort is kept: {found:?}");
        Ok(found)
    }
}

fn ends_in_blank(name: &[u8]) -> bool {
    name.ends_with(b" ")
}

fn has_control(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_control)
}

fn has_telnet_command(name: &[u8]) -> bool {
    name.ends_with(b"\xff")
        || name
            .windows(2)
            .any(|pair| pair[0] == 0xff && pair[1] >= 0xf0)
}

fn has_lone_255(name: &[u8]) -> bool {
    name.windows(2)
        .any(|pair| pair[0] == 0xff && pair[1] < 0xf0)
}

fn has_quote(name: &[u8]) -> bool {
    name.contains(&b'"')
}

fn is_not_utf8(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_is_of_its_own_sort_alone() {
        for odd in ODD {
            let name = [b".tmp-1", odd.ending].concat();
            assert!((odd.concerns)(&name), "{:?}", odd.ability);
            let others = ODD.iter().filter(|other| {
                let bytes = other.ability == Ability::AnyBytes;
                other.ability != odd.ability && !bytes && (other.concerns)(&name)
            });
            assert_eq!(others.count(), 0, "{:?}", odd.ability);
        }
    }

    #[test]
    fn ordinary_names_concern_nobody() {
        for name in ["file", " leading", "a b", "ümlaut", "-rf", "st*r", "日本"] {
            let concerned = ODD.iter().any(|odd| (odd.concerns)(name.as_bytes()));
            assert!(!concerned, "{name}");
        }
    }
}
