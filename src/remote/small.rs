//! A small file in one go: its version and its bytes, in one round trip on a session that is armed.

use std::sync::Arc;
use std::time::Instant;

use super::{ErrorKind, FileVersion, Remote, RemoteError, settle};
use crate::ftp::{FtpError, RemotePath, Settling, Transfer};
use crate::pool::Lease;

/// What a file is, and what is in it.
#[derive(Debug)]
pub struct SmallFile {
    /// As SIZE and MDTM said directly before the bytes were asked for.
    pub version: FileVersion,
    /// All its bytes, so many as SIZE said, to the end of the data connection; `None` if the file was larger or
    /// changed meanwhile.
    pub content: Option<Vec<u8>>,
    ending: Option<Settling<Lease>>,
}

impl SmallFile {
    /// Waits for the server's final reply, which can say nothing of the bytes any more.
    pub fn settle(&mut self) {
        if let Some(ending) = self.ending.take() {
            ending.settle();
        }
    }
}

impl Drop for SmallFile {
    fn drop(&mut self) {
        if let Some(ending) = self.ending.take() {
            settle::in_background(ending, ());
        }
    }
}

impl Remote {
    /// The version of `path`, and its content if it has at most `limit` bytes. `None` where the server does not take
    /// several commands at once: then this costs more than [`Remote::version`] alone.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, …
    pub fn small_file(
        self: &Arc<Self>,
        path: &RemotePath,
        limit: usize,
    ) -> Result<Option<SmallFile>, RemoteError> {
        self.repeat("RETR", |lease, _| {
            if !self.version_in_one_segment(&lease) {
                return Ok(None);
            }
            let mut transfer = Transfer::retrieve_checked(lease, path, 0)?;
            let Some(replies) = transfer.take_version() else {
                return Ok(None);
            };
            let version = self.told_version(path, replies)?;
            let size = usize::try_from(version.size).unwrap_or(usize::MAX);
            let content = if size <= limit {
                self.read_all(&mut transfer, size)?
            } else {
                None
            };
            if content.is_some() {
                transfer.prepare_next();
            }
            let ending = Some(transfer.abandon());
            Ok(Some(SmallFile {
                version,
                content,
                ending,
            }))
        })
    }

    /// `None` if there are more bytes or fewer, or they take too long.
    fn read_all(
        &self,
        transfer: &mut Transfer<Lease>,
        size: usize,
    ) -> Result<Option<Vec<u8>>, FtpError> {
        let began = Instant::now();
        // One more shows that there are more.
        let mut bytes = vec![0; size + 1];
        let mut filled = 0;
        while filled <= size && began.elapsed() <= self.timeout {
            match transfer.read(&mut bytes[filled..])? {
                0 => {
                    bytes.truncate(filled);
                    return Ok((filled == size).then_some(bytes));
                }
                count => filled += count,
            }
            self.count_progress();
        }
        Ok(None)
    }

    /// Whether an error of [`Remote::small_file`] says something of the file, rather than of this way to read it.
    pub fn is_final(error: &RemoteError) -> bool {
        matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::TimedOut | ErrorKind::Disconnected
        )
    }
}
