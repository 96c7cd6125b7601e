//! `StagingFile`: the local copy of a file being changed; the truth until the server has it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Up to this many bytes a file is staged in memory: most files are smaller, and a local file
/// costs two system calls and an inode.
const MEMORY_PER_FILE: u64 = 128 << 10;

/// Memory for all small staged files together; beyond it the next ones go to disk at once.
const MEMORY_IN_ALL: u64 = 16 << 20;

/// Where staged bytes live: shared by all staging files of a mount.
#[derive(Debug)]
pub struct StagingArea {
    directory: PathBuf,
    in_memory: AtomicU64,
}

impl StagingArea {
    /// Uses `directory`, which is made (mode 0700) when the first larger file is staged.
    pub fn new(directory: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            directory,
            in_memory: AtomicU64::new(0),
        })
    }

    /// A file without a name: it vanishes with the process.
    fn file(&self) -> io::Result<File> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        tempfile::tempfile_in(&self.directory)
    }

    /// Where larger files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn reserve_memory(&self) -> bool {
        let reserved = self.in_memory.fetch_add(MEMORY_PER_FILE, Ordering::Relaxed);
        if reserved + MEMORY_PER_FILE > MEMORY_IN_ALL {
            self.in_memory.fetch_sub(MEMORY_PER_FILE, Ordering::Relaxed);
            return false;
        }
        true
    }
}

/// Bytes at offsets; what was never written reads as zeros.
#[derive(Debug)]
pub(super) struct StagingFile {
    area: Arc<StagingArea>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Holds a reservation of `MEMORY_PER_FILE` in the area.
    Memory(Vec<u8>),
    /// Shared so that an upload reads it while the program writes on.
    Disk(Arc<File>),
}

impl StagingFile {
    /// An empty file.
    ///
    /// # Errors
    /// The local disk refuses a file.
    pub(super) fn new(area: &Arc<StagingArea>) -> io::Result<Self> {
        let content = if area.reserve_memory() {
            Content::Memory(Vec::new())
        } else {
            Content::Disk(Arc::new(area.file()?))
        };
        Ok(Self {
            area: Arc::clone(area),
            content,
        })
    }

    /// A file that is there already.
    pub(super) fn existing(area: &Arc<StagingArea>, file: File) -> Self {
        Self {
            area: Arc::clone(area),
            content: Content::Disk(Arc::new(file)),
        }
    }

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// The local disk is full or fails.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        if end > MEMORY_PER_FILE {
            self.move_to_disk()?;
        }
        match &mut self.content {
            Content::Disk(file) => file.write_all_at(data, offset),
            Content::Memory(bytes) => {
                let (start, end) = (index(offset), index(end));
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
                Ok(())
            }
        }
    }

    /// Cuts the file; behind `size` only zeros are left.
    ///
    /// # Errors
    /// The local disk fails.
    pub(super) fn truncate(&mut self, size: u64) -> io::Result<()> {
        match &mut self.content {
            Content::Memory(bytes) => bytes.truncate(index(size.min(bytes.len() as u64))),
            Content::Disk(file) => {
                if file.metadata()?.len() > size {
                    file.set_len(size)?;
                }
            }
        }
        Ok(())
    }

    /// A view for reading, which stays valid without the lock that guards this file. Bytes in
    /// `offset..offset + length` are as they are now, or newer.
    pub(super) fn view(&self, offset: u64, length: usize) -> StagedBytes {
        match &self.content {
            Content::Disk(file) => StagedBytes::Disk {
                file: Arc::clone(file),
                offset,
                length,
            },
            Content::Memory(bytes) => {
                let mut copy = vec![0; length];
                let start = index(offset.min(bytes.len() as u64));
                let end = index(offset.saturating_add(length as u64).min(bytes.len() as u64));
                copy[..end - start].copy_from_slice(&bytes[start..end]);
                StagedBytes::Memory(copy)
            }
        }
    }

    /// All of it, for who has to read it without the lock that guards this file. What is written from now on
    /// is seen in a file on disk, and not in one in memory.
    pub(super) fn content(&self) -> StagedContent {
        match &self.content {
            Content::Memory(bytes) => StagedContent::Memory(bytes.clone()),
            Content::Disk(file) => StagedContent::Disk(Arc::clone(file)),
        }
    }

    fn move_to_disk(&mut self) -> io::Result<()> {
        if let Content::Memory(bytes) = &self.content {
            let file = self.area.file()?;
            file.write_all_at(bytes, 0)?;
            self.release_memory();
            self.content = Content::Disk(Arc::new(file));
        }
        Ok(())
    }

    fn release_memory(&self) {
        if matches!(self.content, Content::Memory(_)) {
            self.area
                .in_memory
                .fetch_sub(MEMORY_PER_FILE, Ordering::Relaxed);
        }
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        self.release_memory();
    }
}

/// Staged bytes on their way to a reader or to the server.
#[derive(Debug)]
pub enum StagedBytes {
    /// Copied from memory.
    Memory(Vec<u8>),
    /// Still to be read from the local disk.
    Disk {
        /// The staging file.
        file: Arc<File>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: usize,
    },
}

impl StagedBytes {
    /// The bytes; behind the end of the local file they are zeros.
    ///
    /// # Errors
    /// The local disk fails.
    pub fn read(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes)?;
        Ok(bytes)
    }

    /// As [`StagedBytes::read`], in memory that is used again.
    ///
    /// # Errors
    /// The local disk fails.
    pub fn read_into(self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let (file, offset, length) = match self {
            Self::Memory(copy) => {
                *bytes = copy;
                return Ok(());
            }
            Self::Disk {
                file,
                offset,
                length,
            } => (file, offset, length),
        };
        bytes.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes[filled..].fill(0);
        Ok(())
    }
}

/// A staging file at a moment.
#[derive(Debug)]
pub(super) enum StagedContent {
    /// Copied from memory.
    Memory(Vec<u8>),
    /// The file itself.
    Disk(Arc<File>),
}

impl StagedContent {
    /// As read(2): 0 at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Disk(file) => file.read_at(buffer, offset),
            Self::Memory(bytes) => {
                let rest = bytes.get(index(offset)..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

/// Offsets of a file in memory are at most `MEMORY_PER_FILE`.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &StagingFile, offset: u64, length: usize) -> Vec<u8> {
        file.view(offset, length).read().unwrap()
    }

    #[test]
    fn holes_are_zeros_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let area = StagingArea::new(dir.path().join("staging"));
        for first in [0, MEMORY_PER_FILE * 2] {
            let mut file = StagingFile::new(&area).unwrap();
            file.write(first, b"x").unwrap();
            file.write(8, b"abc").unwrap();
            file.truncate(10).unwrap();
            file.write(12, b"z").unwrap();
            assert_eq!(
                read(&file, 7, 8),
                b"\0ab\0\0z\0\0",
                "first write at {first}"
            );
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let area = StagingArea::new(dir.path().to_owned());
        let count = MEMORY_IN_ALL / MEMORY_PER_FILE;
        let mut files: Vec<_> = (0..=count)
            .map(|_| StagingFile::new(&area).unwrap())
            .collect();
        assert!(matches!(files.pop().unwrap().content, Content::Disk(_)));
        files[0].write(MEMORY_PER_FILE, b"large").unwrap();
        assert!(matches!(
            StagingFile::new(&area).unwrap().content,
            Content::Memory(_)
        ));
        drop(files);
        assert_eq!(area.in_memory.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn moving_to_disk_keeps_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let area = StagingArea::new(dir.path().to_owned());
        let mut file = StagingFile::new(&area).unwrap();
        file.write(0, b"front").unwrap();
        file.write(MEMORY_PER_FILE, b"back").unwrap();
        assert_eq!(read(&file, 0, 5), b"front");
        assert_eq!(read(&file, MEMORY_PER_FILE - 1, 6), b"\0back\0");
    }
}
