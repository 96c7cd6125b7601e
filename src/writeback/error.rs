//! Why written data is not where it should be.

use std::io;
use std::sync::Arc;

use crate::remote::{ErrorKind, RemoteError};

/// Why written data could not be staged, read back or committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The server, or the way to it.
    #[error(transparent)]
    Remote(Arc<RemoteError>),
    /// The local disk for staged data.
    #[error("local copy of written data: {0}")]
    Local(Arc<io::Error>),
    /// The file is being deleted or replaced, so what was on its way was given up.
    #[error("the file is being deleted or replaced")]
    Doomed,
    /// The file on the server is no longer the one that was opened and partly changed.
    #[error("the file changed on the server while it was being edited; it was not overwritten")]
    Conflict,
}

impl From<RemoteError> for WriteError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(Arc::new(error))
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Local(Arc::new(error))
    }
}

impl WriteError {
    /// The file on the server is another one than was expected.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Conflict => true,
            Self::Remote(error) => error.kind() == ErrorKind::Changed,
            _ => false,
        }
    }

    /// Nobody said how the upload of a whole content ended: more of it may arrive.
    pub(super) fn leaves_in_doubt(&self) -> bool {
        match self {
            Self::Remote(error) => error.kind().is_transient() && !error.is_end_of("STOR"),
            _ => false,
        }
    }
}
