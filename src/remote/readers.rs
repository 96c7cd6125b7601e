//! What takes in a listing, by itself: for tests and fuzz targets.

use super::received::Received;
use crate::ftp::FtpError;

/// The listing whose bytes come in these pieces.
///
/// # Errors
/// [`FtpError::TooLarge`].
pub fn listing<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, FtpError> {
    let mut received = Received::default();
    for piece in pieces {
        received.take(piece, false)?;
    }
    Ok(received.into_bytes())
}
