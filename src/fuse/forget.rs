//! Telling the kernel that what it remembers is to be asked anew.

use std::fmt;
use std::sync::Arc;

use fuser::{INodeNo, Notifier};

use crate::fs::FtpFs;

/// What the kernel remembers of the mount.
pub struct KernelCaches {
    notifier: Notifier,
    fs: Arc<FtpFs>,
}

impl fmt::Debug for KernelCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelCaches")
    }
}

impl KernelCaches {
    pub(super) fn new(notifier: Notifier, fs: Arc<FtpFs>) -> Self {
        Self { notifier, fs }
    }

    /// Lets the kernel forget the attributes and pages of all files. Names go by themselves, when their time
    /// is over: forgetting that of a folder would take the folder away from programs that are in it. Does not wait:
    /// the kernel may hold a page until we have answered a read of it.
    pub fn forget(&self) {
        let (notifier, numbers) = (self.notifier.clone(), self.fs.known_numbers());
        let thread = std::thread::Builder::new()
            .name("ftpfs-forget".into())
            .spawn(move || {
                for ino in numbers {
                    // From the first byte to the last. One that the kernel does not know is no error.
                    if let Err(error) = notifier.inval_inode(INodeNo(ino), 0, 0) {
                        log::debug!("the kernel keeps what it knows of inode {ino}: {error}");
                    }
                }
            });
        if let Err(error) = thread {
            log::warn!("the kernel goes on with what it remembers: {error}");
        }
    }
}
