//! `Lease`: a borrowed session; it returns itself, or is discarded if broken.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Shared;
use crate::ftp::Session;

/// A session that nobody else uses until this is dropped.
#[derive(Debug)]
pub struct Lease {
    /// Some until dropped.
    session: Option<Session>,
    shared: Arc<Shared>,
    reused: bool,
}

const HELD: &str = "a lease holds its session until it is dropped";

impl Lease {
    pub(super) fn new(session: Session, shared: Arc<Shared>, reused: bool) -> Self {
        Self {
            session: Some(session),
            shared,
            reused,
        }
    }

    /// Whether the session was used before: if so, it may have died unnoticed, and a failure at
    /// its first command says nothing about the server.
    pub fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect(HELD)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect(HELD)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        session.set_limit(None);
        let mut state = self.shared.state.lock();
        if session.is_in_step() && !state.closed && state.live <= state.allowed {
            state.keep(session);
            drop(state);
        } else {
            drop(state);
            // Its place is free when it has ended: else there would be one too many for a moment.
            session.quit();
            drop(session);
            self.shared.state.lock().live -= 1;
        }
        self.shared.changed.notify_all();
    }
}
