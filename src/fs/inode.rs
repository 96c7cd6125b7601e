//! `InodeTable`: numbers of files for the life of the mount, and where each file is now.

use std::collections::HashMap;

use crate::cache::ContentId;
use crate::ftp::RemotePath;
use crate::ftp::listing::EntryKind;
use crate::remote::FileVersion;

/// The number of the mount's root (FUSE_ROOT_ID).
pub(super) const ROOT: u64 = 1;

/// Numbers and names. A number is never used again; it follows its file through renames, and a file
/// that was deleted or replaced keeps its number without a name.
#[derive(Debug)]
pub(super) struct InodeTable {
    root: RemotePath,
    inodes: HashMap<u64, Inode>,
    by_name: HashMap<u64, HashMap<Vec<u8>, u64>>,
    next: u64,
}

#[derive(Debug)]
struct Inode {
    /// `None` for the root and for what has no name any more.
    place: Option<(u64, Vec<u8>)>,
    kind: EntryKind,
    /// References of the kernel: one for each successful lookup, mkdir, create, …
    lookups: u64,
    /// Open files and directory snapshots.
    pins: u64,
    /// Without a name: where it was when a rename put another file there.
    lost: Option<(u64, Vec<u8>)>,
    /// Which cached blocks are this file's, and of which version.
    content: Option<(ContentId, FileVersion)>,
}

impl InodeTable {
    pub(super) fn new(root: RemotePath) -> Self {
        let inode = Inode {
            place: None,
            kind: EntryKind::Directory,
            lookups: 1,
            pins: 0,
            lost: None,
            content: None,
        };
        Self {
            root,
            inodes: HashMap::from([(ROOT, inode)]),
            by_name: HashMap::new(),
            next: ROOT + 1,
        }
    }

    /// All numbers that the kernel may know.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.inodes.keys().copied().collect()
    }

    /// Where the file is; `None` if it has no name any more.
    pub(super) fn path(&self, ino: u64) -> Option<RemotePath> {
        let mut names = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let (parent, name) = self.inodes.get(&at)?.place.as_ref()?;
            names.push(name);
            at = *parent;
        }
        names
            .iter()
            .rev()
            .try_fold(self.root.clone(), |path, name| path.join(name).ok())
    }

    /// The file that is now where `ino` was when the kernel looked it up: itself, unless a rename has put
    /// another one there.
    pub(super) fn present(&mut self, ino: u64) -> u64 {
        let Some(inode) = self.inodes.get(&ino) else {
            return ino;
        };
        let kind = inode.kind;
        let (None, Some((parent, name))) = (&inode.place, inode.lost.clone()) else {
            return ino;
        };
        let found = self.find(parent, &name).and_then(|ino| self.kind(ino));
        if found.is_none_or(|found| found == kind) {
            self.number(parent, &name, kind)
        } else {
            ino
        }
    }

    /// The directory and name of a file.
    pub(super) fn place(&self, ino: u64) -> Option<(u64, Vec<u8>)> {
        self.inodes.get(&ino)?.place.clone()
    }

    pub(super) fn kind(&self, ino: u64) -> Option<EntryKind> {
        Some(self.inodes.get(&ino)?.kind)
    }

    /// The number of `name` in `parent` if it has one.
    pub(super) fn find(&self, parent: u64, name: &[u8]) -> Option<u64> {
        self.by_name.get(&parent)?.get(name).copied()
    }

    /// The number of `name` in `parent`. What has become of another kind behind our back is another file.
    pub(super) fn number(&mut self, parent: u64, name: &[u8], kind: EntryKind) -> u64 {
        if let Some(ino) = self.find(parent, name) {
            if self.kind(ino) == Some(kind) {
                return ino;
            }
            self.detach(ino);
        }
        let ino = self.next;
        self.next += 1;
        let place = Some((parent, name.to_vec()));
        self.inodes.insert(
            ino,
            Inode {
                place,
                kind,
                lookups: 0,
                pins: 0,
                lost: None,
                content: None,
            },
        );
        self.by_name
            .entry(parent)
            .or_default()
            .insert(name.to_vec(), ino);
        ino
    }

    /// The kernel took a reference.
    pub(super) fn remember(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups += 1;
        }
    }

    /// The kernel gave references back.
    pub(super) fn forget(&mut self, ino: u64, count: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups = inode.lookups.saturating_sub(count);
            self.drop_unused(ino);
        }
    }

    /// The number must stay while something of it is open.
    pub(super) fn pin(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.pins += 1;
        }
    }

    pub(super) fn unpin(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.pins = inode.pins.saturating_sub(1);
            self.drop_unused(ino);
        }
    }

    /// The name is gone; the number lives on while it is in use.
    pub(super) fn detach(&mut self, ino: u64) {
        let place = self
            .inodes
            .get_mut(&ino)
            .and_then(|inode| inode.place.take());
        if let Some((parent, name)) = place {
            self.unname(parent, &name);
            self.drop_unused(ino);
            self.drop_unused(parent);
        }
    }

    /// The file has another name now; what had that name is detached.
    pub(super) fn rename(&mut self, ino: u64, parent: u64, name: &[u8]) {
        if let Some(replaced) = self.find(parent, name)
            && replaced != ino
        {
            self.detach(replaced);
            if let Some(inode) = self.inodes.get_mut(&replaced) {
                inode.lost = Some((parent, name.to_vec()));
            }
        }
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return;
        };
        let old = inode.place.replace((parent, name.to_vec()));
        if let Some((old_parent, old_name)) = old {
            self.unname(old_parent, &old_name);
            self.by_name
                .entry(parent)
                .or_default()
                .insert(name.to_vec(), ino);
            self.drop_unused(old_parent);
        } else {
            self.by_name
                .entry(parent)
                .or_default()
                .insert(name.to_vec(), ino);
        }
    }

    pub(super) fn content(&self, ino: u64) -> Option<(ContentId, FileVersion)> {
        self.inodes.get(&ino)?.content
    }

    pub(super) fn set_content(&mut self, ino: u64, content: Option<(ContentId, FileVersion)>) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.content = content;
        }
    }

    fn unname(&mut self, parent: u64, name: &[u8]) {
        if let Some(names) = self.by_name.get_mut(&parent) {
            names.remove(name);
            if names.is_empty() {
                self.by_name.remove(&parent);
            }
        }
    }

    /// An inode goes when neither the kernel, nor an open file, nor an entry below it needs it; then its
    /// directory may go too.
    fn drop_unused(&mut self, ino: u64) {
        let mut at = ino;
        while at != ROOT {
            let Some(inode) = self.inodes.get(&at) else {
                return;
            };
            if inode.lookups > 0 || inode.pins > 0 || self.by_name.contains_key(&at) {
                return;
            }
            let Some(inode) = self.inodes.remove(&at) else {
                return;
            };
            let Some((parent, name)) = inode.place else {
                return;
            };
            self.unname(parent, &name);
            at = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> InodeTable {
        InodeTable::new(RemotePath::parse(b"/home").unwrap())
    }

    fn path(table: &InodeTable, ino: u64) -> Option<String> {
        table.path(ino).map(|p| p.to_string())
    }

    #[test]
    fn numbers_follow_a_renamed_tree() {
        let mut table = table();
        let a = table.number(ROOT, b"a", EntryKind::Directory);
        let file = table.number(a, b"f", EntryKind::File);
        table.remember(a);
        table.remember(file);
        assert_eq!(path(&table, file).as_deref(), Some("/home/a/f"));
        table.rename(a, ROOT, b"b");
        assert_eq!(path(&table, file).as_deref(), Some("/home/b/f"));
        assert_eq!(table.find(ROOT, b"a"), None);
        assert_eq!(table.number(ROOT, b"b", EntryKind::Directory), a);
    }

    #[test]
    fn a_replaced_file_keeps_its_number_without_a_name() {
        let mut table = table();
        let (old, new) = (
            table.number(ROOT, b"f", EntryKind::File),
            table.number(ROOT, b"t", EntryKind::File),
        );
        table.remember(old);
        table.remember(new);
        table.rename(new, ROOT, b"f");
        assert_eq!(
            (path(&table, old), table.find(ROOT, b"f")),
            (None, Some(new))
        );
        assert_eq!((table.present(old), table.present(new)), (new, new));
        table.forget(old, 1);
        assert_eq!(table.kind(old), None);
    }

    #[test]
    fn another_kind_is_another_number() {
        let mut table = table();
        let file = table.number(ROOT, b"x", EntryKind::File);
        table.remember(file);
        let directory = table.number(ROOT, b"x", EntryKind::Directory);
        assert_ne!(file, directory);
        assert_eq!(path(&table, file), None);
    }

    #[test]
    fn nothing_is_left_when_everything_was_forgotten() {
        let mut table = table();
        let a = table.number(ROOT, b"a", EntryKind::Directory);
        let b = table.number(a, b"b", EntryKind::Directory);
        let file = table.number(b, b"f", EntryKind::File);
        for ino in [a, b, file, file] {
            table.remember(ino);
        }
        table.pin(file);
        table.forget(a, 1);
        table.forget(b, 1);
        table.forget(file, 2);
        assert_eq!(path(&table, file).as_deref(), Some("/home/a/b/f"));
        table.unpin(file);
        assert_eq!(table.inodes.len(), 1);
        assert!(table.by_name.is_empty());
    }
}
