//! EPLF, the "easily parsed list format" of publicfile and anonftpd (Bernstein).

use super::EntryKind;
use super::line::{self, Outcome, Told, number, octal_mode};
use super::time::epoch;

/// `+facts<TAB>name`: `r` for what can be retrieved, `/` for a directory, `s` size, `m` seconds since
/// 1970, `up` permissions.
pub(super) fn entry(text: &[u8]) -> Outcome {
    let Some(rest) = text.strip_prefix(b"+") else {
        return Outcome::NotMine;
    };
    let Some(tab) = rest.iter().position(|b| *b == b'\t') else {
        return Outcome::NotMine;
    };
    let mut kind = None;
    let mut told = Told::default();
    for fact in rest[..tab].split(|b| *b == b',') {
        match fact {
            b"/" => kind = Some(EntryKind::Directory),
            b"r" => kind = kind.or(Some(EntryKind::File)),
            [b's', size @ ..] => told.size = number(size),
            [b'm', time @ ..] => told.modified = number(time).and_then(epoch),
            [b'u', b'p', mode @ ..] => told.mode = octal_mode(mode),
            _ => {}
        }
    }
    match kind {
        Some(kind) => line::entry(&rest[tab + 1..], kind, told),
        None => Outcome::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_in_any_order() {
        let cases = [
            ("+s5,r,\tx", Some((EntryKind::File, Some(5), None))),
            ("+r,/,s5,\tx", Some((EntryKind::Directory, None, None))),
            (
                "+/,r,up2755\tx",
                Some((EntryKind::Directory, None, Some(0o2755))),
            ),
            (
                "+r,sx,up9,m99999999999999999999,\tx",
                Some((EntryKind::File, None, None)),
            ),
            ("+s5,\tx", None),
            ("+r,x", None),
        ];
        for (text, expected) in cases {
            let found = match entry(text.as_bytes()) {
                Outcome::Entry(e) => Some((e.kind, e.size, e.mode)),
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
