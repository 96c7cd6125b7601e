//! `TemporaryNames`: the names of files that exist on the server only until a commit is done.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ftp::RemotePath;

/// Makes names `.ftpfs-<8 hex digits of the mount>-<number>`: short, without blanks, not
/// beginning with `-`, the same length whatever the file's name is.
#[derive(Debug)]
pub struct TemporaryNames {
    prefix: String,
    next: AtomicU32,
}

impl TemporaryNames {
    /// `mount` tells this mount from others of the same server.
    pub fn new(mount: u32) -> Self {
        // Not from 0: another mount of the same place must not use the same names at the same time.
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first = clock.subsec_nanos() ^ std::process::id().rotate_left(16);
        Self {
            prefix: format!(".ftpfs-{mount:08x}-"),
            next: AtomicU32::new(first),
        }
    }

    /// A new name in the directory of `path`; the root has no sibling and gives itself.
    pub fn beside(&self, path: &RemotePath) -> RemotePath {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", self.prefix);
        let sibling = path.parent().and_then(|dir| dir.join(name.as_bytes()).ok());
        sibling.unwrap_or_else(|| path.clone())
    }

    /// Whether `name` is one of these, of this mount, or begins with one.
    pub fn is_ours(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix.as_bytes())
            .is_some_and(|n| n.first().is_some_and(u8::is_ascii_digit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_and_differ() {
        let names = TemporaryNames::new(0xab);
        let file = RemotePath::parse(b"/d/some file").unwrap();
        let (a, b) = (names.beside(&file), names.beside(&file));
        assert_ne!(a, b);
        assert!(a.as_bytes().starts_with(b"/d/.ftpfs-000000ab-"), "{a}");
        assert!(names.is_ours(a.name()) && names.is_ours(&[a.name(), b" "].concat()));
        for other in [
            &b".ftpfs-000000ab-"[..],
            b".ftpfs-000000ac-1",
            b".ftpfs-000000ab-x",
            b"a",
        ] {
            assert!(!names.is_ours(other), "{other:?}");
        }
    }
}
