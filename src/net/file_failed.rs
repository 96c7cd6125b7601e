//! `FileFailed`: it was the local file that failed, not the line.

use std::io;

/// An error of reading the file whose bytes were to be sent.
#[derive(Debug, thiserror::Error)]
#[error("the local file cannot be read: {0}")]
pub struct FileFailed(io::Error);

impl FileFailed {
    pub(super) fn of(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self(error))
    }

    /// Whether it was the file.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}
