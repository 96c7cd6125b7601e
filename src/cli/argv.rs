//! Removes passwords from the command line that ps(1) shows.

use std::ops::Range;

/// A text of the command line, and which of its bytes are a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) text: Vec<u8>,
    pub(super) password: Range<usize>,
}

impl Spot {
    /// `account=TEXT`, with `=` or NUL in front of the text.
    pub(super) fn of_account(text: Vec<u8>) -> Self {
        let front = text.iter().position(|b| matches!(b, b'=' | 0));
        let password = front.map_or(text.len(), |at| at + 1)..text.len();
        Self { text, password }
    }

    /// `user=NAME:PASSWORD` or `NAME:PASSWORD`.
    pub(super) fn of_login(text: Vec<u8>) -> Self {
        let name = text
            .iter()
            .position(|b| *b == b':')
            .map_or(text.len(), |at| at + 1);
        let password = name..text.len();
        Self { text, password }
    }

    /// `SCHEME://USER:PASSWORD@HOST`, whatever stands before and behind it. `None` without a password.
    pub(super) fn of_proxy(text: Vec<u8>) -> Option<Self> {
        let login = text.windows(3).position(|w| w == b"://")? + 3;
        let end = text.iter().rposition(|b| *b == b'@')?;
        let colon = text.get(login..end)?.iter().position(|b| *b == b':')?;
        let password = login + colon + 1..end;
        Some(Self { text, password })
    }
}

/// Overwrites the passwords in the memory that `/proc/PID/cmdline` and ps(1) show. Between the start
/// of the program and this call they can be seen; a password in a file or typed at the prompt never is.
pub(super) fn scrub(spots: &[Spot]) {
    if spots.is_empty() {
        return;
    }
    if let Err(error) = linux::overwrite(spots) {
        log::warn!("the password stays visible in the list of processes: {error}");
    }
}

/// Overwrites each password that stands in `arguments`, which are separated by NUL bytes.
fn scrub_in(arguments: &mut [u8], spots: &[Spot]) {
    // All are found before the first is overwritten: one may be the beginning of another.
    let places = |spot: &Spot| -> Vec<Range<usize>> {
        arguments
            .windows(spot.text.len().max(1))
            .enumerate()
            .filter(|(_, window)| *window == spot.text)
            .map(|(at, _)| at + spot.password.start..at + spot.password.end)
            .collect()
    };
    let places: Vec<_> = spots.iter().flat_map(places).collect();
    for place in places {
        arguments[place].fill(b'*');
    }
}

mod linux {
    use std::io;

    use super::{Spot, scrub_in};

    /// Fields of `/proc/self/stat` that say where the kernel put the arguments, counted from the
    /// field behind the name (proc_pid_stat(5): `arg_start` 48, `arg_end` 49, the name being 2).
    const ARG_START: usize = 48 - 3;

    pub(super) fn overwrite(spots: &[Spot]) -> io::Result<()> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let area =
            area(&stat).ok_or_else(|| io::Error::other("/proc/self/stat is not as expected"))?;
        // The area must be what /proc shows, or it is not to be written to.
        let shown = std::fs::read("/proc/self/cmdline")?;
        if shown.len() != area.len() {
            return Err(io::Error::other(
                "the arguments are not where the kernel says",
            ));
        }
        #[expect(
            unsafe_code,
            reason = "no library call gives write access to the arguments"
        )]
        // SAFETY: the kernel says that these addresses hold the arguments of this process: a part of
        // its stack, mapped readable and writable for its whole life. No Rust reference points
        // there: `std::env::args_os` copies, and its copies are made on each call. This runs before
        // any other thread exists.
        let arguments = unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut(area.start),
                area.len(),
            )
        };
        if arguments != shown {
            return Err(io::Error::other(
                "the arguments are not where the kernel says",
            ));
        }
        scrub_in(arguments, spots);
        Ok(())
    }

    fn area(stat: &str) -> Option<std::ops::Range<usize>> {
        // The name, in parentheses, may hold blanks and parentheses itself.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split_ascii_whitespace().skip(ARG_START);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        (start != 0 && start < end).then_some(start..end)
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn the_area_is_that_of_the_arguments() {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
            let shown = std::fs::read("/proc/self/cmdline").unwrap();
            assert_eq!(super::area(&stat).unwrap().len(), shown.len());
            assert_eq!(super::area("1 (a) b) R 2"), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passwords_are_overwritten() {
        let mut area =
            b"ftpfs\0ftp://u:pw@h/pw\0-oro,user=pw:pw,account=pw,x\0--account\0pw\0pw\0".to_vec();
        let spots = [
            Spot {
                text: b"ftp://u:pw@h/pw".to_vec(),
                password: 8..10,
            },
            Spot::of_login(b"user=pw:pw".to_vec()),
            Spot::of_account(b"account=pw".to_vec()),
            Spot::of_account(b"--account\0pw".to_vec()),
        ];
        scrub_in(&mut area, &spots);
        let expected = b"ftpfs\0ftp://u:**@h/pw\0-oro,user=pw:**,account=**,x\0--account\0**\0pw\0";
        assert_eq!(area, expected);
    }

    #[test]
    fn a_password_that_begins_as_another_hides_none() {
        let mut area = b"-ouser=u:S\0-ouser=u:S3CRET\0-ouser=u:S3,ro\0".to_vec();
        let logins = ["user=u:S", "user=u:S3CRET", "user=u:S3"];
        scrub_in(&mut area, &logins.map(|text| Spot::of_login(text.into())));
        assert_eq!(area, b"-ouser=u:*\0-ouser=u:******\0-ouser=u:**,ro\0");
    }

    #[test]
    fn passwords_of_proxies() {
        for (text, shown) in [
            ("socks5://u:pw@h:1080", Some("socks5://u:**@h:1080")),
            ("proxy=http://u:p@w:@h/", Some("proxy=http://u:****@h/")),
            ("proxy=\"http://u:p,w@h\"", Some("proxy=\"http://u:***@h\"")),
            ("http://u@h:3128", None),
            ("http://h:3128", None),
            ("u:pw@h", None),
            ("@://", None),
        ] {
            let spot = Spot::of_proxy(text.into());
            assert_eq!(spot.is_some(), shown.is_some(), "{text}");
            let mut area = text.as_bytes().to_vec();
            scrub_in(&mut area, spot.as_slice());
            assert_eq!(area, shown.unwrap_or(text).as_bytes());
        }
    }
}
