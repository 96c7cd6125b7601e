//! `Settling`: what is left to do on a session whose transfer was given up.

use std::ops::DerefMut;
use std::time::Duration;

use super::Session;

/// A session whose transfer was given up, and which still owes one reply.
#[derive(Debug)]
pub struct Settling<S: DerefMut<Target = Session>> {
    pub(super) session: Option<S>,
    pub(super) verb: &'static str,
    pub(super) answered: bool,
}

impl<S: DerefMut<Target = Session>> Settling<S> {
    /// Waits for the last reply, a second or four round trips. Dropped afterwards, the session is
    /// free again, or broken if nothing came (ftp-srv never answers).
    pub fn settle(mut self) {
        let verb = self.verb;
        let Some(mut session) = self.session.take() else {
            return;
        };
        if self.answered {
            return;
        }
        let round_trip = session.control().round_trip().unwrap_or_default();
        let bound = Duration::from_secs(1).max(4 * round_trip);
        session.control_mut().take_last_reply(verb, bound);
    }
}

impl<S: DerefMut<Target = Session>> Drop for Settling<S> {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.mark_broken();
        }
    }
}
