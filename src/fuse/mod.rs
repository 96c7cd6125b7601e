//! The kernel border: the only room that sees requests and replies.
//!
//! A callback never waits. What memory can answer is answered there; the rest moves with its reply
//! to a worker (`dispatch`), under the eyes of a watchdog that bounds the wait and sees when the caller
//! gives up. `session` makes the mount and takes it away.

mod adapter;
mod answer;
mod caller;
mod codepage;
mod decode;
mod dispatch;
mod error;
mod forget;
mod found;
mod handed;
mod lately;
mod naming;
mod options;
mod report;
mod session;
mod signals;
mod slot;
mod unmount;
mod watchdog;

use std::path::PathBuf;
use std::time::Duration;

pub use codepage::Codepage;
pub use error::MountError;
pub use forget::KernelCaches;
pub use found::{Found, mounted_at, unmount, unmount_command};
pub use handed::{claim, handed_over};
pub use session::{EndReason, Ended, Ender, Mounted, mount};
pub use signals::{Told, block_signals, signal_before};

/// How the mount looks to the kernel and to mount(8).
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// An existing directory, absolute; or `/dev/fd/N`, the open `/dev/fuse` of a mount that is there.
    pub mountpoint: PathBuf,
    /// What mount(8) shows as the source: the URL without a password.
    pub source: String,
    /// Users other than the one who mounts may use it.
    pub allow_other: bool,
    /// Root may use it too.
    pub allow_root: bool,
    /// The encoding of the names on the server.
    pub codepage: Codepage,
    /// Mounted read-only.
    pub read_only: bool,
    /// Further flags for the kernel (nosuid, noexec, noatime, …), as typed.
    pub flags: Vec<String>,
    /// `connect_timeout + 2 * timeout`: one metadata operation or one READ takes at most this.
    pub operation_timeout: Duration,
    /// No progress for this long ends a FLUSH or FSYNC.
    pub timeout: Duration,
    /// Neither of the two ends a request: only signals do.
    pub hard: bool,
}
