//! Opens of small files: version and content come together, and those of the next files before they are opened.

use std::ops::Bound;

use super::{FsError, FtpFs, Wait};
use crate::cache::{Ahead, Entries, Remembered, SMALL, SmallFiles};
use crate::ftp::RemotePath;
use crate::ftp::listing::EntryKind;
use crate::remote::{FileVersion, Remote};

/// What an open for reading has learned.
pub(super) struct Present {
    /// What the file is now, as far as the server tells.
    pub(super) version: Option<FileVersion>,
    /// All its bytes, if it is small.
    pub(super) content: Option<Vec<u8>>,
}

impl FtpFs {
    /// What the file is now; for a small one together with its content, in the same round trip.
    pub(super) fn present(
        &self,
        ino: u64,
        path: &RemotePath,
        found: &Remembered,
        wait: Wait,
    ) -> Result<Present, FsError> {
        if wait == Wait::No {
            return Err(FsError::WouldWait);
        }
        if !is_small(found) {
            return self.version_alone(path, found, wait);
        }
        if let Some(present) = self.fetched_ahead(path) {
            return Ok(present);
        }
        if self.has_blocks(ino) {
            return self.version_alone(path, found, wait);
        }
        match self.remote.small_file(path, SMALL) {
            Ok(Some(mut file)) => Ok(Present {
                version: Some(file.version),
                content: file.content.take(),
            }),
            Ok(None) => self.version_alone(path, found, wait),
            Err(error) if Remote::is_final(&error) => Err(self.unopened(error, path)),
            Err(error) => {
                log::debug!("{path}: {error}; asking for its version alone");
                self.version_alone(path, found, wait)
            }
        }
    }

    /// Files are perhaps being read one after the other.
    pub(super) fn was_opened(&self, path: &RemotePath, found: &Remembered) {
        let Some(dir) = path.parent().filter(|_| is_small(found)) else {
            return;
        };
        let behind = |entries: &Entries, _| -> Vec<RemotePath> {
            let from = (Bound::Excluded(path.name().to_vec()), Bound::Unbounded);
            let small = entries.range(from).filter(|(_, entry)| is_small(entry));
            let paths = small.filter_map(|(name, _)| dir.join(name).ok());
            paths.take(SmallFiles::most()).collect()
        };
        if let Ok(behind) = self.listed(&dir, Wait::No, behind) {
            self.small_files.opened(path, &behind, self.moves.now());
        }
    }

    fn version_alone(
        &self,
        path: &RemotePath,
        found: &Remembered,
        wait: Wait,
    ) -> Result<Present, FsError> {
        Ok(Present {
            version: self.current_version(path, found, wait)?,
            content: None,
        })
    }

    fn fetched_ahead(&self, path: &RemotePath) -> Option<Present> {
        let fetched = match self.small_files.take(path) {
            Ahead::Here(fetched) => fetched,
            Ahead::Unknown => return None,
            Ahead::Underway => {
                let deadline = self.remote.deadline();
                self.small_files.take_arrived(path, deadline)?
            }
        };
        // Our own changes since.
        if self.moves.touched_since(fetched.moment, path) {
            return None;
        }
        Some(Present {
            version: Some(fetched.version),
            content: Some(fetched.content),
        })
    }

    fn has_blocks(&self, ino: u64) -> bool {
        let content = self.inodes.lock().content(ino);
        content.is_some_and(|(content, _)| self.reading.blocks.holds(content, 0))
    }
}

fn is_small(found: &Remembered) -> bool {
    let size = found.entry.size.and_then(|size| usize::try_from(size).ok());
    found.entry.kind == EntryKind::File && size.is_some_and(|size| (1..=SMALL).contains(&size))
}
