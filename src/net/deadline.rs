//! `Deadline`: until when something is waited for, and what it is.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

/// A moment after which waiting is an error, with the words for that error.
#[derive(Debug, Clone)]
pub struct Deadline {
    at: Instant,
    allowed: Duration,
    waiting_for: Cow<'static, str>,
}

/// Something did not happen in time. It travels inside an [`io::Error`] of kind
/// [`io::ErrorKind::TimedOut`]; an error of that kind without it comes from the kernel, which gave
/// a connection up.
#[derive(Debug, Clone, thiserror::Error)]
#[error("timed out after {} waiting for {waiting_for}", seconds(*.after))]
pub struct TimedOut {
    after: Duration,
    waiting_for: Cow<'static, str>,
}

fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 || time.as_secs() >= 10 {
        format!("{} s", time.as_secs())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

impl Deadline {
    /// `allowed` from now; `waiting_for` completes "timed out after 30 s waiting for …".
    pub fn after(allowed: Duration, waiting_for: impl Into<Cow<'static, str>>) -> Self {
        let now = Instant::now();
        // A duration too large for the clock is as good as a day.
        let at = now
            .checked_add(allowed)
            .unwrap_or_else(|| now + Duration::from_secs(86_400));
        Self {
            at,
            allowed,
            waiting_for: waiting_for.into(),
        }
    }

    /// The same, but never later than `limit`.
    #[must_use]
    pub fn not_after(mut self, limit: Option<Instant>) -> Self {
        if let Some(limit) = limit.filter(|l| *l < self.at) {
            self.allowed = self.allowed.saturating_sub(self.at - limit);
            self.at = limit;
        }
        self
    }

    /// The same, for something else.
    #[must_use]
    pub(super) fn waiting_for(self, what: impl Into<Cow<'static, str>>) -> Self {
        let waiting_for = what.into();
        Self {
            waiting_for,
            ..self
        }
    }

    /// An earlier deadline for a part of the work: `share` of what remains.
    #[must_use]
    pub fn share(&self, parts: u32) -> Self {
        let left = self.at.saturating_duration_since(Instant::now()) / parts.max(1);
        Self::after(left, self.waiting_for.clone())
    }

    /// What is left.
    ///
    /// # Errors
    /// [`TimedOut`], once nothing is left.
    pub fn remaining(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.expired());
        }
        Ok(left)
    }

    /// The error for this deadline.
    pub fn expired(&self) -> io::Error {
        let error = TimedOut {
            after: self.allowed,
            waiting_for: self.waiting_for.clone(),
        };
        io::Error::new(io::ErrorKind::TimedOut, error)
    }
}

impl TimedOut {
    /// The time-out inside `error`, if one of our deadlines made it.
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_waited_for() {
        let deadline = Deadline::after(Duration::from_secs(30), "the reply to EPSV");
        assert!(deadline.remaining().unwrap() > Duration::from_secs(20));
        let error = deadline.expired();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            error.to_string(),
            "timed out after 30 s waiting for the reply to EPSV"
        );
        assert!(TimedOut::from_io(&error).is_some());
    }

    #[test]
    fn ends_when_the_limit_comes_first() {
        let limit = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(30), "x").not_after(Some(limit));
        assert!(deadline.remaining().is_err());
    }

    #[test]
    fn the_kernels_own_timeout_is_not_ours() {
        let error = io::Error::from(io::ErrorKind::TimedOut);
        assert!(TimedOut::from_io(&error).is_none());
    }
}
