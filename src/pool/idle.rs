//! Closing sessions that nobody has used for a while.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::{PoolConfig, Shared, State};
use crate::ftp::Session;
use crate::net::boottime;

/// An unused session.
pub(super) struct Idle {
    pub(super) session: Session,
    /// By [`boottime`].
    pub(super) since: Duration,
}

/// Starts the thread `ftpfs-idle`; it ends when the returned end of the channel is dropped.
pub(super) fn start_reaper(shared: &Arc<Shared>) -> Option<Sender<()>> {
    let (alive, ended) = bounded::<()>(0);
    let weak: Weak<Shared> = Arc::downgrade(shared);
    let soonest = shared.config.idle.min(shared.config.last_idle);
    let step = (soonest / 4).clamp(Duration::from_millis(20), Duration::from_secs(10));
    let thread = std::thread::Builder::new()
        .name("ftpfs-idle".into())
        .spawn(move || {
            while ended.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
                let Some(shared) = weak.upgrade() else {
                    return;
                };
                shared.reap();
            }
        });
    match thread {
        Ok(_) => Some(alive),
        Err(e) => {
            log::warn!("unused connections will stay open: {e}");
            None
        }
    }
}

impl Shared {
    fn reap(&self) {
        let now = boottime();
        let closed = too_old(&mut self.state.lock(), &self.config, now);
        if closed.is_empty() {
            return;
        }
        log::debug!("closing {} unused sessions", closed.len());
        for mut session in closed {
            session.quit();
            drop(session);
            self.one_less();
        }
    }
}

/// Takes out the sessions that have ended, and those unused for too long.
fn too_old(state: &mut State, config: &PoolConfig, now: Duration) -> Vec<Session> {
    let mut closed = Vec::new();
    let mut at = 0;
    while at < state.idle.len() {
        let unused = &state.idle[at];
        let age = now.saturating_sub(unused.since);
        let limit = if state.idle.len() > 1 {
            config.idle
        } else {
            config.last_idle
        };
        if age > limit || !unused.session.is_alive() {
            closed.push(state.idle.remove(at).session);
        } else {
            at += 1;
        }
    }
    closed
}
