//! Which failures are answered by another attempt, on which session, and until when.

use std::time::{Duration, Instant};

use super::error::meaning;
use super::{ErrorKind, Remote, RemoteError};
use crate::ftp::FtpError;
use crate::pool::{Lease, Need};
use crate::workers::may_send;

/// Attempts at one operation.
const MAX_ATTEMPTS: u32 = 4;

/// Between the attempts of those who wait for ever.
const HARD_PAUSE: Duration = Duration::from_secs(1);

/// Longer than any wait, and short enough to be added to a moment.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What an attempt has to know of those before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// A former attempt was sent and its answer lost: the server may have done it.
    pub(super) unsure: bool,
}

impl Remote {
    /// Runs `operation` on a session, and again on another one if the session was lost under it.
    /// The operation has to be one that may be repeated, or to look at [`Attempt::unsure`].
    pub(super) fn repeat<T>(
        &self,
        name: &'static str,
        mut operation: impl FnMut(Lease, Attempt) -> Result<T, FtpError>,
    ) -> Result<T, RemoteError> {
        let limit = self.deadline();
        let need = match name {
            "RETR" | "STOR" | "APPE" | "LIST" => Need::Data,
            _ => Need::Command,
        };
        let mut attempt = Attempt { unsure: false };
        for number in 1.. {
            let mut lease = self.lease(need, limit)?;
            // A login takes a time of its own, and who has asked may have been told of a failure meanwhile.
            if Instant::now() >= limit || !may_send() {
                let message = format!("{name}: too late to be sent");
                return Err(RemoteError::found(ErrorKind::TimedOut, message));
            }
            lease.set_limit(Some(limit));
            let reused = lease.is_reused();
            let error = match operation(lease, attempt) {
                Ok(result) => {
                    self.count_progress();
                    return Ok(result);
                }
                Err(error) => error,
            };
            let away = error.is_session_lost() || error.is_timeout();
            let again = if self.hard && away {
                std::thread::sleep(HARD_PAUSE.min(HARD_PAUSE * (number - 1)));
                true
            } else {
                number < MAX_ATTEMPTS
                    && Instant::now() < limit
                    && deserves_another(&error, number, reused)
            };
            if !again {
                if away || number > 1 {
                    log::info!("{name}: {error}; attempt {number} failed, giving up");
                }
                return Err(error.into());
            }
            attempt.unsure |= away;
            log::info!("{name}: {error}; attempt {number} failed, trying on another session");
        }
        Err(RemoteError::from(FtpError::Broken { verb: name }))
    }

    /// A session, waited for no longer than `limit` and no longer than the timeout.
    pub(super) fn lease(&self, need: Need, limit: Instant) -> Result<Lease, RemoteError> {
        let patience = if self.hard {
            limit
        } else {
            limit.min(Instant::now() + self.timeout)
        };
        Ok(self.pool.lease(need, patience)?)
    }

    /// When an operation that begins now has to be over: one connection, one silence, one answer.
    pub fn deadline(&self) -> Instant {
        let allowed = self
            .connect_timeout
            .saturating_add(self.timeout)
            .saturating_add(self.timeout);
        let allowed = if self.hard { FOR_EVER } else { allowed };
        let now = Instant::now();
        now.checked_add(allowed)
            .unwrap_or_else(|| now + Duration::from_secs(86_400))
    }
}

fn deserves_another(error: &FtpError, number: u32, reused: bool) -> bool {
    if error.is_session_lost() {
        return true;
    }
    // A session that was silent for a while may have been forgotten by a box in between; a new
    // one that answers nothing will not get better.
    if error.is_timeout() {
        return number == 1 && reused;
    }
    // 425, 426, and the data connection that failed without a word: once more on a new one.
    // 450 and 451 without a reason say themselves that it may go better the next time.
    let vague = matches!(error.code(), Some(450 | 451))
        && matches!(meaning(error), ErrorKind::Busy | ErrorKind::Failed);
    number == 1 && (error.is_data_lost() || vague)
}
