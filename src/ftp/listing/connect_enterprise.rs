//! Sterling CONNECT:Enterprise: batches in a mailbox.

use super::EntryKind;
use super::line::{self, Outcome, Told, word};
use super::time::Clock;
use super::unix::columns;

/// `-C--E-----FTP B owner  number  size date name`: the columns of `ls` behind status flags.
pub(super) fn entry(text: &[u8], clock: &Clock) -> Outcome {
    let Some((_, rest)) = word(text).filter(|(flags, _)| are_flags(flags)) else {
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
    line::entry(columns.name, EntryKind::File, told)
}

/// Ten status letters or dashes, the first a dash, then the protocol.
fn are_flags(flags: &[u8]) -> bool {
    flags.len() == 13
        && flags[0] == b'-'
        && flags[..10]
            .iter()
            .all(|b| b.is_ascii_uppercase() || *b == b'-')
        && flags[10..].iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_strangers() {
        assert!(are_flags(b"-C--E-----FTP"));
        for text in ["-rw-r--r--FTP", "-C--E-----ft", "AC--E-----FTP", ""] {
            assert!(!are_flags(text.as_bytes()), "{text}");
        }
    }
}
