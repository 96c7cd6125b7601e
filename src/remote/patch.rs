//! Whether the server changes a file in place: tried on a file of our own, never believed.

use super::profile::Ability;
use super::{Remote, RemoteError, settle};
use crate::ftp::{FtpError, RemotePath, Transfer};

/// What is stored first, and what it has to be after two bytes were stored at offset 2.
const BEFORE: &[u8] = b"01234567";
const PATCH: &[u8] = b"ab";
const AFTER: &[u8] = b"01ab4567";

impl Remote {
    /// Whether REST and STOR change the middle of a file and leave what lies behind: some servers cut
    /// the file there (Pure-FTPd, FileZilla Server), fill the front with zeros (ftp-srv, uftpd)
    /// or refuse (ProFTPD as shipped). `None` as long as nobody has tried.
    pub fn patches_in_place(&self) -> Option<bool> {
        if self.profile.lacks(Ability::Patch) {
            return Some(false);
        }
        self.profile.is_proven(Ability::Patch).then_some(true)
    }

    /// Finds that out on the file `scratch`, which is made, and left to the caller to be removed.
    ///
    /// # Errors
    /// A failure on the way is no answer and learns nothing; a refused STOR has made nothing.
    pub fn try_patching(&self, scratch: &RemotePath) -> Result<bool, RemoteError> {
        let patches = self.try_patch(scratch)?;
        if patches {
            self.profile.learn_proven(Ability::Patch);
        } else {
            self.profile.learn_lack(Ability::Patch);
        }
        Ok(patches)
    }

    fn try_patch(&self, scratch: &RemotePath) -> Result<bool, RemoteError> {
        self.store_at(scratch, 0, BEFORE)?;
        match self.store_at(scratch, 2, PATCH) {
            Ok(()) => {}
            Err(error) if error.kind().is_server_down() => return Err(error),
            Err(_) => return Ok(false),
        }
        self.holds_after(scratch)
    }

    fn store_at(&self, path: &RemotePath, offset: u64, bytes: &[u8]) -> Result<(), RemoteError> {
        self.repeat("STOR", |lease, _| {
            let all_at_once = offset == 0 && self.takes_all_at_once(bytes.len() as u64);
            let transfer = if all_at_once {
                Transfer::store_all(lease, path, bytes)?
            } else {
                let mut transfer = Transfer::store(lease, path, offset)?;
                transfer.write_all(bytes)?;
                transfer
            };
            transfer.finish(self.timeout).map(|_| ())
        })
    }

    /// Whether the file is what it has to be. If not, only the server's final word makes that an answer.
    fn holds_after(&self, path: &RemotePath) -> Result<bool, RemoteError> {
        self.repeat("RETR", |lease, _| {
            let mut transfer = Transfer::retrieve(lease, path, 0)?;
            let mut bytes = Vec::new();
            let mut buf = [0; 64];
            loop {
                match transfer.read(&mut buf)? {
                    0 => break,
                    n if bytes.len() + n > 2 * BEFORE.len() => {
                        return Err(FtpError::TooLarge {
                            what: "a probe",
                            limit: 2 * BEFORE.len(),
                        });
                    }
                    n => bytes.extend_from_slice(&buf[..n]),
                }
            }
            if bytes == AFTER {
                transfer.prepare_next();
                settle::in_background(transfer.abandon(), ());
                return Ok(true);
            }
            transfer.finish(self.timeout).map(|_| false)
        })
    }
}
