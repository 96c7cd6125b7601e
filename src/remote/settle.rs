//! Cleaning up after transfers that were given up, while nobody waits.

use crate::ftp::Settling;
use crate::pool::Lease;

/// Waits for the last reply on a thread of its own. Each holds a session, so there are never more
/// threads than connections.
pub(super) fn in_background(settling: Settling<Lease>) {
    let thread = std::thread::Builder::new()
        .name("ftpfs-settle".into())
        .spawn(move || settling.settle());
    if let Err(e) = thread {
        // The session went down with the closure, as broken.
        log::debug!("a session is given up: {e}");
    }
}
