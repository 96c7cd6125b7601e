//! `OpenFile`: one for each inode in use, whatever number of handles it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use super::unsaved::Unsaved;
use crate::cache::FileReader;
use crate::ftp::listing::{Entry, Modified, Precision};
use crate::remote::FileVersion;
use crate::writeback::FileWriter;

/// Open files by inode, and handles.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) by_inode: HashMap<u64, Arc<OpenFile>>,
    pub(super) handles: HashMap<u64, Arc<Handle>>,
    pub(super) unsaved: Vec<Unsaved>,
}

/// What open(2) gave to a program.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) file: Arc<OpenFile>,
    pub(super) writable: bool,
    /// `O_APPEND`: the kernel's idea of the end may be stale, so its offsets are ignored.
    pub(super) append: bool,
    /// Alone, or inside `OpenFile::state`.
    opened: Mutex<OpenedContent>,
    /// How often the file had begun to be written at the open.
    epoch: u64,
}

/// The content that was there at the open; nothing while the file was being written.
#[derive(Debug, Clone)]
struct OpenedContent {
    reader: Option<Arc<FileReader>>,
    version: Option<FileVersion>,
}

/// A file that is open, or whose last commit is still under way.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) ino: u64,
    /// Guards what the file is; held for moments, never over the network.
    pub(super) state: Mutex<OpenState>,
}

#[derive(Debug)]
pub(super) struct OpenState {
    /// Attributes as they were at the open and as our own changes made them: those of an open file never
    /// change by themselves.
    pub(super) entry: Entry,
    /// What the server had at the open or after our last commit; `None` if it does not tell sizes.
    pub(super) version: Option<FileVersion>,
    /// When the server said so.
    pub(super) seen: Option<Instant>,
    pub(super) handles: u32,
    pub(super) writable: u32,
    pub(super) reader: Option<Arc<FileReader>>,
    pub(super) writer: Option<Arc<FileWriter>>,
    /// How often we began to write it: what a handle knew before is of no use any more.
    pub(super) epoch: u64,
    /// About to be deleted or replaced through this mount: what its handles may want is kept.
    pub(super) leaving: bool,
    /// Handles may have seen bytes of it that no present reader has given out.
    pub(super) shown: bool,
    /// Deleted or replaced through this mount while it was open.
    pub(super) nameless: bool,
}

impl Files {
    /// Every reader of a file: its handles may have opened it at different times.
    pub(super) fn readers(&self, file: &Arc<OpenFile>) -> Vec<Arc<FileReader>> {
        let handles = self.handles.values().filter(|h| Arc::ptr_eq(&h.file, file));
        let state = file.state.lock();
        let own = handles.filter_map(|handle| handle.own_reader(&state));
        let mut readers: Vec<Arc<FileReader>> = own.chain(state.reader.clone()).collect();
        readers.sort_by_key(|reader| reader.content().0);
        readers.dedup_by_key(|reader| reader.content());
        readers
    }
}

impl Handle {
    /// Counted in the file's state, which the caller has locked.
    pub(super) fn new(file: &Arc<OpenFile>, state: &mut OpenState, flags: i32) -> Self {
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        state.handles += 1;
        state.writable += u32::from(writable);
        let append = flags & libc::O_APPEND != 0;
        // While it is being written, its content is nobody else's.
        let (reader, version) = match state.writer {
            Some(_) => (None, None),
            None => (state.reader.clone(), state.version),
        };
        let epoch = state.epoch;
        Self {
            file: Arc::clone(file),
            writable,
            append,
            opened: Mutex::new(OpenedContent { reader, version }),
            epoch,
        }
    }

    /// The reader of the content that this handle has opened, unless we have written the file since.
    pub(super) fn own_reader(&self, state: &OpenState) -> Option<Arc<FileReader>> {
        self.reader().filter(|_| self.epoch == state.epoch)
    }

    /// The reader of the content that this handle has opened.
    pub(super) fn reader(&self) -> Option<Arc<FileReader>> {
        self.opened.lock().reader.clone()
    }

    /// What the handle has opened was never seen; it is this content now.
    pub(super) fn reopened(&self, reader: &Arc<FileReader>) {
        *self.opened.lock() = OpenedContent {
            reader: Some(Arc::clone(reader)),
            version: reader.version(),
        };
    }

    /// Whether somebody else changed the file after this handle was opened, as a later open found out.
    pub(super) fn is_stale(&self, state: &OpenState) -> bool {
        self.epoch == state.epoch
            && match (self.opened.lock().version, state.version) {
                (Some(opened), Some(now)) => !opened.agrees_with(now),
                _ => false,
            }
    }
}

impl OpenFile {
    /// All bytes of the file, as they came with this version.
    pub(super) fn offer(&self, version: FileVersion, whole: Vec<u8>) {
        let reader = self.state.lock().reader.clone();
        if let Some(reader) = reader {
            reader.offer(version, whole);
        }
    }

    pub(super) fn new(ino: u64, entry: Entry, version: Option<FileVersion>) -> Arc<Self> {
        let state = OpenState {
            entry,
            version,
            seen: None,
            handles: 0,
            writable: 0,
            reader: None,
            writer: None,
            epoch: 0,
            leaving: false,
            shown: false,
            nameless: false,
        };
        Arc::new(Self {
            ino,
            state: Mutex::new(state),
        })
    }

    /// The entry as programs are to see it now.
    pub(super) fn entry(&self) -> Entry {
        self.state.lock().shown()
    }

    pub(super) fn writer(&self) -> Option<Arc<FileWriter>> {
        self.state.lock().writer.clone()
    }

    pub(super) fn reader(&self) -> Option<Arc<FileReader>> {
        self.state.lock().reader.clone()
    }
}

impl OpenState {
    /// Nobody who has it open for writing will commit what the server lacks.
    pub(super) fn is_unfinished(&self) -> bool {
        let dirty = |writer: &Arc<FileWriter>| writer.is_dirty();
        self.writable == 0 && self.writer.as_ref().is_some_and(dirty)
    }

    pub(super) fn shown(&self) -> Entry {
        let mut entry = self.entry.clone();
        if let Some(writer) = &self.writer {
            entry.size = Some(writer.size());
            if writer.is_touched() || writer.is_dirty() {
                entry.modified = Some(exact(writer.modified()));
            }
            entry.mode = writer.mode().or(entry.mode);
        }
        entry
    }
}

/// A time that we know to be true.
pub(super) fn exact(time: SystemTime) -> Modified {
    Modified {
        time,
        precision: Precision::Subsecond,
    }
}
