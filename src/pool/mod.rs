//! Logged-in sessions shared by all threads.

use std::time::Duration;

/// How many sessions, and for how long.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Never more control connections than this, at least 1.
    pub max_connections: usize,
    /// All unused sessions but one are closed after this.
    pub idle: Duration,
    /// The last unused session is closed after this.
    pub last_idle: Duration,
}

/// Something that can give sessions back which it holds only in the hope of using them.
pub trait Reclaim: Send + Sync {
    /// Gives back one session whose stream nobody waits for. Called without any lock of the pool
    /// by a thread that found no session; must not wait for the network or for other threads.
    /// Returns whether a session was (or is about to be) given back.
    fn reclaim(&self) -> bool;
}
