//! Composition root: wires the rooms bottom-up and runs until unmounted.

use crate::fs::FsConfig;
use crate::ftp::LoginConfig;
use crate::fuse::SessionConfig;
use crate::pool::PoolConfig;

/// Everything that the command line decides: the sum of what the rooms want to know.
#[derive(Debug, Clone)]
pub struct MountConfig {
    /// How to log in.
    pub login: LoginConfig,
    /// Path of the URL, percent-decoded: relative to the login directory unless it begins with `/`.
    pub remote_path: Vec<u8>,
    /// Sessions.
    pub pool: PoolConfig,
    /// The file system.
    pub fs: FsConfig,
    /// The mount.
    pub session: SessionConfig,
    /// Mount first, connect at the first access.
    pub delay_connect: bool,
    /// Stay in the foreground.
    pub foreground: bool,
}
