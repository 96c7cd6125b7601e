//! `FtpError`: what happened on the wire.

/// What happened on the wire; what it means is for `remote` to say.
#[derive(Debug, thiserror::Error)]
pub enum FtpError {
    /// The socket failed or ended.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
