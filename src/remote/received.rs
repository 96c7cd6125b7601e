//! The bytes of a listing as they come, and their limits.

use crate::ftp::FtpError;

/// A listing beyond any of these is an error, not a shorter directory.
const MAX_ENTRIES: usize = 2_000_000;
const MAX_LINE: usize = 64 * 1024;
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// What of a listing has come so far.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    lines: usize,
    line: usize,
}

impl Received {
    /// Takes what one read gave.
    ///
    /// # Errors
    /// The listing is too large, or lasts too long.
    pub(super) fn take(&mut self, piece: &[u8], took_too_long: bool) -> Result<(), FtpError> {
        let too_large = |what, limit| Err(FtpError::TooLarge { what, limit });
        for line in piece.split_inclusive(|b| *b == b'\n') {
            self.line += line.len();
            if self.line > MAX_LINE {
                return too_large("a line of a listing", MAX_LINE);
            }
            if line.ends_with(b"\n") {
                self.line = 0;
                self.lines += 1;
            }
        }
        if self.lines > MAX_ENTRIES {
            return too_large("the number of directory entries", MAX_ENTRIES);
        }
        if self.bytes.len() + piece.len() > MAX_BYTES {
            return too_large("a listing", MAX_BYTES);
        }
        if took_too_long {
            return Err(FtpError::TransferBroke {
                verb: "LIST",
                source: std::io::Error::other("the listing does not end"),
            });
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// All that has come.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_listings_are_errors() {
        let mut received = Received::default();
        assert!(received.take(&[b'x'; MAX_LINE], false).is_ok());
        assert!(received.take(b"x", false).is_err());
        let mut received = Received::default();
        let lines = vec![b'\n'; MAX_ENTRIES];
        assert!(received.take(&lines, false).is_ok());
        assert!(received.take(b"\n", false).is_err());
        assert!(Received::default().take(b"a", true).is_err());
    }
}
