//! The bytes of an upload: what `Transfer` sends.

use std::fs::File;
use std::io;
use std::ops::DerefMut;

use super::{FtpError, Session, Transfer};
use crate::net::{Direction, FileFailed, Stream};

impl<S: DerefMut<Target = Session>> Transfer<S> {
    /// Sends all of `bytes`; each stretch without progress has its own time.
    ///
    /// # Errors
    /// The server's reason if it gave one, within two seconds of the break; else what broke.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), FtpError> {
        while !bytes.is_empty() {
            let count = self.send(|data| data.try_write(bytes))?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Whether [`Transfer::send_file`] costs less than reading the file.
    pub fn takes_files(&self) -> bool {
        self.data.as_ref().is_some_and(Stream::takes_files)
    }

    /// Sends bytes of a file, at most `count`: as many as the line takes at a time, 0 at the end
    /// of the file.
    ///
    /// # Errors
    /// As [`Transfer::write_all`].
    pub fn send_file(&mut self, file: &File, offset: u64, count: usize) -> Result<usize, FtpError> {
        self.send(|data| data.try_send_file(file, offset, count))
    }

    /// As much as the line takes at a time.
    fn send(
        &mut self,
        mut attempt: impl FnMut(&mut Stream) -> io::Result<Option<usize>>,
    ) -> Result<usize, FtpError> {
        let deadline = self.progress();
        loop {
            let Some(data) = &mut self.data else {
                return Err(FtpError::Broken { verb: self.verb });
            };
            match attempt(data) {
                Ok(Some(count)) => {
                    self.moved += count as u64;
                    self.line().inspect(|line| line.sent(count));
                    return Ok(count);
                }
                Ok(None) => self.wait(Direction::Write, &deadline)?,
                // Nothing is wrong with the line, which is to end with RST: what was sent is not the file.
                Err(e) if FileFailed::is(&e) => return Err(FtpError::System(e)),
                Err(e) => return Err(self.reason_for(e)),
            }
        }
    }
}
