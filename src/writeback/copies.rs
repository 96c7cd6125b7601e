//! The copies that this process keeps of files, and how the staged bytes become one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, linkat};

use super::ByteRanges;
use super::place::{Kept, private_file};
use super::sidecar::Replaces;
use super::staging::StagedContent;
use crate::ftp::RemotePath;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// The copies under each name, the oldest first. There is more than one where a later one is no newer content but a
/// change of what the server has.
pub(super) type Copies = BTreeMap<RemotePath, Vec<Own>>;

/// A copy of this process.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) kept: Kept,
    /// Its note is on the disk. Until then its files concern only who is writing them.
    pub(super) noted: bool,
}

impl Own {
    pub(super) fn on_disk(&self) -> Option<Kept> {
        self.noted.then(|| self.kept.clone())
    }

    /// It is in no list any more. What is still being written is removed by who writes it.
    pub(super) fn remove(&self) {
        if self.noted {
            self.kept.remove();
        }
    }
}

/// The copy with this note. It is searched for where it is not at `path`: it may have been moved.
pub(super) fn find<'a>(own: &'a mut Copies, path: &RemotePath, note: &Path) -> Option<&'a mut Own> {
    let is_it = |own: &Own| own.kept.note == note;
    let is_here = |copies: &Vec<Own>| copies.iter().any(is_it);
    let path = match own.get(path).is_some_and(is_here) {
        true => path.clone(),
        false => own.iter().find(|(_, copies)| is_here(copies))?.0.clone(),
    };
    own.get_mut(&path)?.iter_mut().find(|own| is_it(own))
}

/// The note of a copy is on the disk: takes out what that replaces, which is `before`, its own of an earlier time, or
/// all that is older.
pub(super) fn now_noted(own: &mut Copies, kept: &Kept, before: Option<&Kept>) -> Vec<Own> {
    let Some(copies) = own.get_mut(&kept.sidecar.path) else {
        return Vec::new();
    };
    let Some(at) = copies.iter().position(|own| own.kept.note == kept.note) else {
        return Vec::new();
    };
    copies[at].noted = true;
    if kept.sidecar.replaces == Replaces::Everything {
        return copies.drain(..at).collect();
    }
    let is_before = |own: &Own| before.is_some_and(|before| before.note == own.kept.note);
    let replaced = copies[..at].iter().position(is_before);
    replaced.map(|at| copies.remove(at)).into_iter().collect()
}

/// Takes a copy out that could not be kept.
pub(super) fn take(own: &mut Copies, kept: &Kept) {
    let Some(found) = find(own, &kept.sidecar.path, &kept.note) else {
        return;
    };
    let path = found.kept.sidecar.path.clone();
    if let Some(copies) = own.get_mut(&path) {
        copies.retain(|own| own.kept.note != kept.note);
        if copies.is_empty() {
            own.remove(&path);
        }
    }
}

/// Brings the bytes to where they outlive the process. A nameless file gets a name, in the journal or, if
/// that is another disk, where it is; what cannot have one is copied.
pub(super) fn save(
    kept: &mut Kept,
    content: &StagedContent,
    staging: &Path,
    is_new: bool,
) -> io::Result<()> {
    let size = kept.sidecar.size;
    if !is_new && matches!(content, StagedContent::Memory(_)) {
        return Ok(());
    }
    if let StagedContent::Disk(file) = content {
        if file.metadata()?.len() < size {
            file.set_len(size)?;
        }
        let named = !is_new || link(file, &kept.copy()).is_ok() || {
            let name = kept.note.with_extension("data");
            let name = name.file_name().unwrap_or_default().to_string_lossy();
            let there = staging.join(format!("kept-{name}"));
            let linked = link(file, &there).is_ok();
            kept.sidecar.data = linked.then_some(there);
            linked
        };
        if named {
            file.sync_all()?;
            return match &kept.sidecar.data {
                Some(_) if is_new => File::open(staging)?.sync_all(),
                _ => Ok(()),
            };
        }
    }
    let copy = private_file(&kept.copy(), true)?;
    copy_ranges(content, &kept.sidecar.staged, &copy)?;
    copy.set_len(size)?;
    copy.sync_all()
}

/// Gives a nameless file a name (open(2), `O_TMPFILE`).
fn link(file: &File, name: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, descriptor, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Whether what is kept is the content itself, or equal to it.
pub(super) fn is_the_same(content: &StagedContent, size: u64, copy: &Path) -> bool {
    match content {
        StagedContent::Disk(file) => match (file.metadata(), std::fs::metadata(copy)) {
            (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
            _ => false,
        },
        StagedContent::Memory(bytes) => {
            bytes.len() as u64 == size && std::fs::read(copy).is_ok_and(|kept| kept == *bytes)
        }
    }
}

fn copy_ranges(content: &StagedContent, ranges: &ByteRanges, to: &File) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    for range in ranges.iter() {
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end - at).map_or(PIECE, |n| n.min(PIECE));
            let count = content.read_at(&mut buffer[..length], at)?;
            if count == 0 {
                // Behind the end there are zeros.
                break;
            }
            to.write_all_at(&buffer[..count], at)?;
            at += count as u64;
        }
    }
    Ok(())
}
