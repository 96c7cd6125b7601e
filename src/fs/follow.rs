//! `follow_symlinks`: a link is shown as what it leads to.
//!
//! A link to a file gets that file's own number, as a hard link would, so that a change goes to the file and the
//! link stays. A link to a folder is a folder of its own for the kernel, which knows no two names of one.

use super::inode::{InodeTable, ROOT};
use super::link::contained;
use super::{FsError, FtpFs, Wait};
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind};

/// Links in a row, as many as Linux follows at least.
const MOST_HOPS: usize = 8;

impl FtpFs {
    /// The number and the attributes of an entry of `dir`, whose number is `parent`, where links are followed: of what
    /// a link leads to, unless that is nothing, or outside of the mount. `keep` sees the number before it can be dropped.
    ///
    /// # Errors
    /// `WouldWait`.
    pub(super) fn numbered(
        &self,
        parent: u64,
        dir: &RemotePath,
        entry: Entry,
        wait: Wait,
        keep: impl FnOnce(&mut InodeTable, u64),
    ) -> Result<(u64, Entry), FsError> {
        let led = self.led_to(dir, &entry, wait)?;
        let mut inodes = self.inodes.lock();
        let (ino, entry) = match led {
            Some((path, found)) if found.kind == EntryKind::File => {
                let name = entry.name;
                (self.number_of(&mut inodes, &path), Entry { name, ..found })
            }
            Some((_, found)) => {
                let name = entry.name;
                let ino = inodes.number(parent, &name, found.kind);
                (ino, Entry { name, ..found })
            }
            None => (inodes.number(parent, &entry.name, entry.kind), entry),
        };
        keep(&mut inodes, ino);
        drop(inodes);
        // A file that is open is what our handles made it.
        let open = self.open_file(ino).map(|file| file.entry());
        let name = entry.name.clone();
        let entry = open.map_or(entry, |open| Entry { name, ..open });
        Ok((ino, entry))
    }

    /// What a link in `dir` leads to, and where that is; `None` for what is no link, is not to be followed, or leads
    /// nowhere.
    ///
    /// # Errors
    /// `WouldWait`.
    pub(super) fn led_to(
        &self,
        dir: &RemotePath,
        entry: &Entry,
        wait: Wait,
    ) -> Result<Option<(RemotePath, Entry)>, FsError> {
        if !self.config.follow_symlinks || entry.kind != EntryKind::Symlink {
            return Ok(None);
        }
        let Ok(mut path) = dir.join(&entry.name) else {
            return Ok(None);
        };
        let mut entry = entry.clone();
        for _ in 0..MOST_HOPS {
            let target = match (entry.target.take(), wait) {
                (Some(target), _) => target,
                (None, Wait::No) => return Err(FsError::WouldWait),
                (None, Wait::Yes) => match self.remote.link_target(&path) {
                    Ok(target) => target,
                    Err(_) => return Ok(None),
                },
            };
            let shown = contained(&self.root, &path, &target);
            let from = path.parent();
            let Some(next) = from.zip(shown).and_then(|(dir, to)| dir.resolve(&to).ok()) else {
                return Ok(None);
            };
            if next == self.root {
                return Ok(Some((next, super::attr::root_entry(self.mounted))));
            }
            let Some(dir) = next.parent() else {
                return Ok(None);
            };
            let look = |entries: &crate::cache::Entries, _| {
                entries.get(next.name()).map(|found| found.entry.clone())
            };
            let found = match self.listed(&dir, wait, look) {
                Ok(Some(found)) => found,
                Err(FsError::WouldWait) => return Err(FsError::WouldWait),
                Ok(None) | Err(_) => return Ok(None),
            };
            if found.kind != EntryKind::Symlink {
                return Ok(Some((next, found)));
            }
            (path, entry) = (next, found);
        }
        Ok(None)
    }

    /// The number of a file by its path, which is below the mounted folder.
    fn number_of(&self, inodes: &mut InodeTable, path: &RemotePath) -> u64 {
        let root = self.root.as_bytes().split(|b| *b == b'/');
        let deep = root.filter(|name| !name.is_empty()).count();
        let names = path.as_bytes().split(|b| *b == b'/');
        let mut names = names.filter(|name| !name.is_empty()).skip(deep).peekable();
        let mut at = ROOT;
        while let Some(name) = names.next() {
            let kind = match names.peek() {
                Some(_) => EntryKind::Directory,
                None => EntryKind::File,
            };
            at = inodes.number(at, name, kind);
        }
        at
    }
}
