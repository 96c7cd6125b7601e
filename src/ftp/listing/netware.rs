//! Novell NetWare.

use super::EntryKind;
use super::line::{self, Outcome, Told, unpadded};
use super::time::Clock;
use super::unix::columns;

/// `d [R----F--] owner  size  date  name`: the columns of `ls` behind rights of its own, the name
/// padded.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((kind, rest)) = rights(text) else {
        return Outcome::NotMine;
    };
    let Some(columns) = columns(rest) else {
        return Outcome::Bad;
    };
    let told = Told {
        size: columns.size,
        modified: columns.stamp.and_then(|stamp| clock.modified(&stamp)),
        ..Told::default()
    };
    line::entry(unpadded(columns.name), kind, told)
}

fn rights(text: &[u8]) -> Option<(EntryKind, &[u8])> {
    let (kind, rest) = match text {
        [b'd', b' ', b'[', rest @ ..] => (EntryKind::Directory, rest),
        [b'-', b' ', b'[', rest @ ..] => (EntryKind::File, rest),
        _ => return None,
    };
    let (rights, rest) = rest.split_at_checked(8)?;
    let letters = rights.iter().all(|b| b.is_ascii_uppercase() || *b == b'-');
    rest.strip_prefix(b"]")
        .filter(|_| letters)
        .map(|rest| (kind, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_in_brackets() {
        assert!(rights(b"d [RWCEAFMS] x").is_some());
        for text in [
            "d [RWCEAFM] x",
            "l [RWCEAFMS] x",
            "d [rwceafms] x",
            "d [",
            "- [--------",
        ] {
            assert!(rights(text.as_bytes()).is_none(), "{text}");
        }
    }
}
