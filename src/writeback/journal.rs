//! `Journal`: what must outlive the process, so that what could not be stored is not gone.
//!
//! In a folder of the place: for each file that the server did not take its bytes (`.data`) and a note
//! (`.kept`), and for each process the temporary names that it has on the server (`.names`). The bytes are synced
//! before the note, and the note appears at once: a crash leaves all of it or nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, linkat};

use super::in_use::{NameUse, NamesInUse, remove};
use super::place::{Earlier, Kept, Place, private_file};
use super::sidecar::Sidecar;
use super::staging::StagedContent;
use super::{ByteRanges, JournalConfig, JournalError, Left};
use crate::ftp::RemotePath;
use crate::shell;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Where no journal can be had, nothing is kept, and all else is as ever.
#[derive(Debug)]
pub struct Journal {
    place: Option<Place>,
    /// The arguments of `ftpfs --recover`.
    arguments: Vec<String>,
    /// Tells the files of this process from those of others.
    process: String,
    next: AtomicU64,
    /// What this process keeps; held over local disk only, and taken by workers only.
    own: Mutex<BTreeMap<RemotePath, Kept>>,
    pub(super) earlier: Earlier,
    names: Option<NamesInUse>,
    /// False while what is kept is being stored: a failure changes nothing then.
    keeps: bool,
}

impl Journal {
    /// The journal of a mount.
    ///
    /// # Errors
    /// `Busy` while the files of the place are being recovered; the local disk.
    pub fn open(config: &JournalConfig) -> Result<Arc<Self>, JournalError> {
        Self::with(config, false).map(Arc::new)
    }

    /// For recovery: as long as it lives nobody else opens it, and nothing more is kept.
    ///
    /// # Errors
    /// `Busy` while a mount of the place lives; the local disk.
    pub fn open_alone(config: &JournalConfig) -> Result<Arc<Self>, JournalError> {
        Self::with(config, true).map(Arc::new)
    }

    /// No journal: what the server does not take is lost with the process.
    pub fn none() -> Arc<Self> {
        Arc::new(Self {
            place: None,
            arguments: Vec::new(),
            process: String::new(),
            next: AtomicU64::new(0),
            own: Mutex::default(),
            earlier: Earlier::default(),
            names: None,
            keeps: false,
        })
    }

    fn with(config: &JournalConfig, alone: bool) -> Result<Self, JournalError> {
        let (place, earlier) = Place::open(config, alone)?;
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let process = format!("{}.{}", std::process::id(), clock.as_secs());
        let names = NamesInUse::new(place.directory.join(format!("{process}.names")));
        Ok(Self {
            place: Some(place),
            arguments: [&config.options[..], std::slice::from_ref(&config.url)].concat(),
            process,
            next: AtomicU64::new(1),
            own: Mutex::default(),
            earlier,
            names: Some(names),
            keeps: !alone,
        })
    }

    /// What earlier mounts of the place could not store, the newest first.
    pub fn earlier(&self) -> &[Kept] {
        &self.earlier.kept
    }

    /// What this mount could not store so far.
    pub fn own(&self) -> Vec<Kept> {
        self.own.lock().values().cloned().collect()
    }

    /// Whether this mount keeps something under this name.
    pub(super) fn keeps(&self, path: &RemotePath) -> bool {
        self.own.lock().contains_key(path)
    }

    /// What brings to the server what is kept, for a shell.
    pub fn command(&self) -> String {
        let words = self.arguments.iter().map(|word| shell::word(word));
        let arguments: Vec<_> = words.collect();
        format!("ftpfs --recover {}", arguments.join(" "))
    }

    /// Ends it: what nobody needs any more is removed.
    pub fn close(&self) {
        self.names.iter().for_each(NamesInUse::close);
        self.place.iter().for_each(Place::leave);
    }

    /// A temporary name is about to be used on the server.
    pub fn begins(&self, name: &RemotePath, used: NameUse) {
        if let Some(names) = &self.names {
            names.begin(name, used);
        }
    }

    /// A temporary name is not on the server any more.
    pub fn ends(&self, name: &RemotePath) {
        if let Some(names) = &self.names {
            names.end(name);
        }
    }

    /// Keeps a file that the server did not take; what was kept of it before goes. The answer is the local
    /// file that has the bytes, and whether it is another one than before; `None` if there is no journal.
    pub(super) fn keep(
        &self,
        mut sidecar: Sidecar,
        content: &StagedContent,
        staging: &Path,
    ) -> io::Result<Option<(PathBuf, bool)>> {
        let Some(place) = self.place.as_ref().filter(|_| self.keeps) else {
            return Ok(None);
        };
        let mut own = self.own.lock();
        let before = own.get(&sidecar.path);
        let note = match before.filter(|before| is_the_same(content, sidecar.size, &before.copy()))
        {
            Some(before) => {
                sidecar.data.clone_from(&before.sidecar.data);
                before.note.clone()
            }
            None => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                place.note(&format!("{}-{number}", self.process))
            }
        };
        let is_new = before.is_none_or(|before| before.note != note);
        let mut kept = Kept { sidecar, note };
        let saved = save(&mut kept, content, staging, is_new)
            .and_then(|()| place.write_note(&kept.note, &kept.sidecar));
        if let Err(error) = saved {
            if is_new {
                kept.remove();
            }
            return Err(error);
        }
        let copy = kept.copy();
        let replaced = own.insert(kept.sidecar.path.clone(), kept);
        if let Some(replaced) = replaced.filter(|_| is_new) {
            replaced.remove();
        }
        Ok(Some((copy, is_new)))
    }

    /// The server has another content under this name now, or none: what was kept of it goes.
    pub fn forget(&self, path: &RemotePath) {
        let mut own = self.own.lock();
        if let Some(gone) = own.remove(path) {
            log::info!("{path}: the copy that was kept of it is not needed any more");
            gone.remove();
            self.sync();
        }
    }

    /// What is at or below `from` is at `to` now, and what was there is gone.
    pub fn moved(&self, from: &RemotePath, to: &RemotePath) {
        let mut own = self.own.lock();
        if own.is_empty() {
            return;
        }
        let all = std::mem::take(&mut *own);
        for (path, mut kept) in all {
            match path.moved(from, to) {
                Some(path) => {
                    kept.sidecar.path = path.clone();
                    self.rewrite(&kept);
                    own.insert(path, kept);
                }
                None if path.starts_with(to) => kept.remove(),
                None => {
                    // What has moved here is newer.
                    own.entry(path).or_insert(kept);
                }
            }
        }
        self.sync();
    }

    /// What the server had after the failure.
    pub(super) fn learn_left(&self, path: &RemotePath, left: Left) {
        if let Some(kept) = self.own.lock().get_mut(path)
            && kept.sidecar.left != left
        {
            kept.sidecar.left = left;
            self.rewrite(kept);
        }
    }

    /// The server has it now.
    pub fn recovered(&self, kept: &Kept) {
        kept.remove();
        self.sync();
    }

    fn rewrite(&self, kept: &Kept) {
        if let Some(place) = &self.place
            && let Err(error) = place.write_note(&kept.note, &kept.sidecar)
        {
            log::error!("{}: {error}", kept.note.display());
        }
    }

    fn sync(&self) {
        if let Some(place) = &self.place
            && let Err(error) = place.sync()
        {
            log::warn!("{}: {error}", place.directory.display());
        }
    }

    /// The lists of names that earlier processes left are done with.
    pub(super) fn names_are_clean(&self) {
        self.earlier.lists.iter().for_each(|list| remove(list));
    }
}

/// Brings the bytes to where they outlive the process. A nameless file gets a name, in the journal or, if
/// that is another disk, where it is; what cannot have one is copied.
fn save(kept: &mut Kept, content: &StagedContent, staging: &Path, is_new: bool) -> io::Result<()> {
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
                Some(_) => File::open(staging)?.sync_all(),
                None => Ok(()),
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
fn is_the_same(content: &StagedContent, size: u64, copy: &Path) -> bool {
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
