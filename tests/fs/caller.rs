//! What the kernel is to the file system: it asks memory first, waits where it must, and counts references.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fuser::FileAttr;

use ftpfs::fs::{FsError, FtpFs, Looked, NewAttributes, NewSize, Wait};

/// The mount's root.
pub(crate) const ROOT: u64 = 1;

/// A read is answered within this, by bytes or by an error.
const LIMIT: Duration = Duration::from_secs(60);

/// The errno of what failed.
pub(crate) type Outcome<T> = Result<T, i32>;

pub(crate) struct Caller {
    pub(crate) fs: Arc<FtpFs>,
    references: Mutex<HashMap<u64, u64>>,
}

/// As the kernel border does: memory first.
fn patiently<T>(call: impl Fn(Wait) -> Result<T, FsError>) -> Outcome<T> {
    match call(Wait::No) {
        Err(error) if error.would_wait() => call(Wait::Yes),
        other => other,
    }
    .map_err(|error| error.errno())
}

impl Caller {
    pub(crate) fn new(fs: Arc<FtpFs>) -> Self {
        Self {
            fs,
            references: Mutex::default(),
        }
    }

    /// One more reference, for what an answer has counted; `None` for an absent name.
    fn count(&self, looked: &Looked) -> Option<FileAttr> {
        let ino = looked.attr.ino.0;
        if ino == 0 {
            return None;
        }
        *self.references.lock().unwrap().entry(ino).or_default() += 1;
        Some(looked.attr)
    }

    fn counted(&self, looked: &Looked) -> FileAttr {
        self.count(looked).expect("something that is there")
    }

    pub(crate) fn lookup(&self, parent: u64, name: &str) -> Outcome<Option<FileAttr>> {
        let looked = patiently(|wait| self.fs.lookup(parent, name.as_bytes(), wait))?;
        Ok(self.count(&looked))
    }

    /// The number of a path below the root; everything on the way must be there.
    #[track_caller]
    pub(crate) fn number(&self, path: &str) -> u64 {
        path.split('/').fold(ROOT, |parent, name| {
            let found = self.lookup(parent, name).unwrap();
            found
                .unwrap_or_else(|| panic!("{name} of {path} is not there"))
                .ino
                .0
        })
    }

    pub(crate) fn attributes(&self, ino: u64) -> Outcome<FileAttr> {
        patiently(|wait| self.fs.getattr(ino, None, wait)).map(|looked| looked.attr)
    }

    pub(crate) fn set(&self, ino: u64, new: NewAttributes) -> Outcome<FileAttr> {
        let looked = self.fs.setattr(ino, new).map_err(|e| e.errno())?;
        Ok(looked.attr)
    }

    /// By name.
    pub(crate) fn truncate(&self, ino: u64, size: u64) -> Outcome<FileAttr> {
        let size = Some(NewSize::ByName(size));
        self.set(
            ino,
            NewAttributes {
                size,
                ..NewAttributes::default()
            },
        )
    }

    /// Through a handle for writing.
    pub(crate) fn ftruncate(&self, ino: u64, size: u64) -> Outcome<FileAttr> {
        let new = NewAttributes {
            size: Some(NewSize::ByHandle(size)),
            ..NewAttributes::default()
        };
        self.set(ino, new)
    }

    pub(crate) fn create(
        &self,
        parent: u64,
        name: &str,
        mode: u32,
        flags: i32,
    ) -> Outcome<(FileAttr, u64)> {
        let created = self.fs.create(parent, name.as_bytes(), mode, flags);
        let (looked, opened) = created.map_err(|e| e.errno())?;
        Ok((self.counted(&looked), opened.handle))
    }

    pub(crate) fn open(&self, ino: u64, flags: i32) -> Outcome<u64> {
        patiently(|wait| self.fs.open(ino, flags, wait)).map(|opened| opened.handle)
    }

    pub(crate) fn read(&self, handle: u64, offset: u64, size: u32) -> Outcome<Vec<u8>> {
        let (tell, hear) = mpsc::channel();
        let done = Box::new(move |result: Result<&[u8], FsError>| {
            let result = result.map(<[u8]>::to_vec).map_err(|e| e.errno());
            drop(tell.send(result));
        });
        self.fs.read(handle, offset, size, done);
        hear.recv_timeout(LIMIT).expect("every read is answered")
    }

    /// The whole file, by an open of its own.
    pub(crate) fn content(&self, ino: u64) -> Outcome<Vec<u8>> {
        let handle = self.open(ino, libc::O_RDONLY)?;
        let all = self.rest(handle);
        self.close(handle)?;
        all
    }

    /// The whole file, by a handle.
    pub(crate) fn rest(&self, handle: u64) -> Outcome<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = self.read(handle, all.len() as u64, 128 << 10)?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
        }
    }

    #[track_caller]
    pub(crate) fn write(&self, handle: u64, offset: u64, data: &[u8]) -> Outcome<()> {
        let written = self.fs.write(handle, offset, data).map_err(|e| e.errno())?;
        assert_eq!(written as usize, data.len(), "all or nothing is staged");
        Ok(())
    }

    pub(crate) fn flush(&self, handle: u64) -> Outcome<()> {
        self.flush_with(handle, false)
    }

    /// With `still_open` the calling process has another descriptor of the same file.
    pub(crate) fn flush_with(&self, handle: u64, still_open: bool) -> Outcome<()> {
        patiently(|wait| self.fs.flush(handle, &|_| still_open, wait))
    }

    pub(crate) fn fsync(&self, handle: u64) -> Outcome<()> {
        self.fs.fsync(handle).map_err(|e| e.errno())
    }

    /// close(2).
    pub(crate) fn close(&self, handle: u64) -> Outcome<()> {
        let flushed = self.flush(handle);
        self.fs.release(handle);
        flushed
    }

    pub(crate) fn unlink(&self, parent: u64, name: &str) -> Outcome<()> {
        let removed = self.fs.unlink(parent, name.as_bytes());
        removed.map_err(|e| e.errno())
    }

    pub(crate) fn mkdir(&self, parent: u64, name: &str, mode: u32) -> Outcome<FileAttr> {
        let made = self.fs.mkdir(parent, name.as_bytes(), mode);
        made.map(|looked| self.counted(&looked))
            .map_err(|e| e.errno())
    }

    pub(crate) fn rmdir(&self, parent: u64, name: &str) -> Outcome<()> {
        let removed = self.fs.rmdir(parent, name.as_bytes());
        removed.map_err(|e| e.errno())
    }

    pub(crate) fn rename(&self, from: (u64, &str), to: (u64, &str)) -> Outcome<()> {
        self.rename_with(from, to, false)
    }

    pub(crate) fn rename_with(
        &self,
        from: (u64, &str),
        to: (u64, &str),
        no_replace: bool,
    ) -> Outcome<()> {
        let (name, new_name) = (from.1.as_bytes(), to.1.as_bytes());
        let renamed = self.fs.rename((from.0, name), (to.0, new_name), no_replace);
        renamed.map_err(|e| e.errno())
    }

    /// A directory as `ls -l` sees it, without `.` and `..`.
    pub(crate) fn list(&self, ino: u64) -> Outcome<Vec<(String, FileAttr)>> {
        let handle = patiently(|wait| self.fs.opendir(ino, wait))?;
        let mut entries = Vec::new();
        patiently(|wait| self.fs.may_read_dir_plus(handle, wait))?;
        let listed = self.fs.read_dir_plus(handle, 0, &mut |entry| {
            if let Some(looked) = &entry.looked {
                let name = String::from_utf8(entry.name.to_vec()).unwrap();
                assert_eq!(entry.ino, looked.attr.ino.0, "one number for {name}");
                assert_eq!(entry.kind, looked.attr.kind, "one kind of {name}");
                entries.push((name, self.counted(looked)));
            }
            true
        });
        self.fs.releasedir(handle);
        listed.map_err(|e| e.errno())?;
        Ok(entries)
    }

    /// How many references of a number are held.
    pub(crate) fn holds(&self, ino: u64) -> bool {
        self.references.lock().unwrap().contains_key(&ino)
    }

    /// Gives every reference back, and says of which numbers.
    pub(crate) fn forget_all(&self) -> Vec<u64> {
        let references = std::mem::take(&mut *self.references.lock().unwrap());
        for (ino, count) in &references {
            self.fs.forget(*ino, *count);
        }
        references.into_keys().collect()
    }
}
