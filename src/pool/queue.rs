//! Whose turn it is, and what he gets: an unused session, the right to log in, or a wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::idle::Idle;
use super::{Need, PoolError, Shared, State};
use crate::ftp::{FtpError, Readiness, Session};
use crate::net::boottime;

/// How often those who hold sessions in vain are asked again while somebody waits.
const RECLAIM_AGAIN: Duration = Duration::from_millis(200);
/// A server that refused another session is asked for it again after this.
const RAISE_AFTER: Duration = Duration::from_secs(120);
/// Without any session, and the server full: it may not have noticed yet that our last one ended.
pub(super) const FULL_PATIENCE: Duration = Duration::from_secs(5);
const FULL_PAUSE: Duration = Duration::from_millis(300);

/// What to do next.
pub(super) enum Step {
    /// Look whether this one is still good.
    Take(Box<Idle>),
    /// Open a session; it is already counted.
    LogIn(Place),
}

/// The right to one more session: given back on drop, unless a session has taken it.
pub(super) struct Place(Option<Arc<Shared>>);

impl Place {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Some(Arc::clone(shared)))
    }

    /// A session lives in it now, and gives it back when it ends.
    pub(super) fn taken(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.one_less();
        }
    }
}

/// A place in the queue, left on drop.
struct Turn<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.queue.retain(|t| *t != self.ticket);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl State {
    /// An unused session: for data one that has its data connection, for a command one that has none.
    pub(super) fn best_for(&mut self, need: Need) -> Option<Idle> {
        let rank = |idle: &Idle| match (need, idle.session.readiness()) {
            (Need::Data, readiness) => readiness as u8,
            (Need::Command, Readiness::Bare) => 2,
            (Need::Command, Readiness::Armed) => 1,
            (Need::Command, Readiness::Underway) => 0,
        };
        let at = (0..self.idle.len()).max_by_key(|at| rank(&self.idle[*at]))?;
        Some(self.idle.remove(at))
    }

    /// One more session may be tried again, up to `most`, if the server's last refusal is long enough ago at `now`.
    fn raise_if_due(&mut self, most: usize, now: Duration) {
        if self.allowed < most.max(1) && self.raise_at.is_some_and(|at| now >= at) {
            self.allowed += 1;
            self.raise_at = Some(now + RAISE_AFTER);
        }
    }
}

impl Shared {
    /// Waits for its turn and for a session or the right to open one.
    pub(super) fn next_step(
        self: &Arc<Self>,
        need: Need,
        first_in_line: bool,
        deadline: Instant,
    ) -> Result<Step, PoolError> {
        let began = Instant::now();
        // Declared before the lock's guard: it locks again when it is dropped.
        let turn = self.take_ticket(first_in_line);
        let mut ask_again = began;
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(PoolError::Closed);
            }
            if state.queue.front() == Some(&turn.ticket) {
                if let Some(idle) = state.best_for(need) {
                    return Ok(Step::Take(Box::new(idle)));
                }
                if let Some(said) = &state.refused {
                    return Err(PoolError::RefusedBefore(said.clone()));
                }
                state.raise_if_due(self.config.max_connections, boottime());
                // Those that are being prepared come back at once.
                let coming = state.ahead.count() >= state.queue.len();
                if state.live < state.allowed && state.outage.is_none() && !coming {
                    state.live += 1;
                    return Ok(Step::LogIn(Place::new(self)));
                }
            }
            let now = Instant::now();
            if let Some(outage) = &state.outage
                && state.live == 0
                && (now >= deadline || !self.config.hard && now >= outage.until)
            {
                return Err(outage.error());
            }
            if now >= deadline {
                let allowed = state.allowed;
                return Err(if allowed < self.config.max_connections {
                    PoolError::ServerFull { allowed }
                } else {
                    let after = now - began;
                    PoolError::TimedOut { after, allowed }
                });
            }
            if now >= ask_again {
                ask_again = now + RECLAIM_AGAIN;
                MutexGuard::unlocked(&mut state, || self.reclaim());
            } else {
                state.ahead.ask_back();
                self.changed.wait_until(&mut state, deadline.min(ask_again));
            }
        }
    }

    /// The session, if the server has not ended it and it is not too old.
    pub(super) fn still_good(&self, idle: Box<Idle>) -> Option<Session> {
        let mut session = idle.session;
        let age = boottime().saturating_sub(idle.since);
        if age <= self.config.last_idle && session.is_alive() {
            return Some(session);
        }
        log::debug!("an unused session has died after {} s", age.as_secs());
        session.quit();
        drop(session);
        self.one_less();
        None
    }

    /// Decides what follows from a failed login: wait and try again, or give up.
    pub(super) fn login_failed(&self, error: FtpError, patience: Instant) -> Result<(), PoolError> {
        let mut state = self.state.lock();
        let others = state.live;
        if error.is_too_many_connections() && others > 0 {
            state.allowed = others;
            state.raise_at = Some(boottime() + RAISE_AFTER);
            drop(state);
            log::info!("{error}: going on with {others} connections");
            self.changed.notify_all();
            return Ok(());
        }
        if error.is_too_many_connections() && Instant::now() + FULL_PAUSE < patience {
            log::debug!("{error}: trying again");
            self.changed.wait_for(&mut state, FULL_PAUSE);
            return Ok(());
        }
        if error.is_wrong_password() {
            state.refused = Some(error.to_string());
        }
        drop(state);
        self.changed.notify_all();
        Err(PoolError::Login(error))
    }

    /// The server has refused one that is still counted.
    pub(super) fn allow_fewer(&self, state: &mut State) {
        state.allowed = state.live - 1;
        state.raise_at = Some(boottime() + RAISE_AFTER);
        log::info!("going on with {} connections", state.allowed);
    }

    /// A session has gone; its place is free.
    pub(super) fn one_less(&self) {
        self.state.lock().live -= 1;
        self.changed.notify_all();
    }

    fn take_ticket(&self, first_in_line: bool) -> Turn<'_> {
        let mut state = self.state.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        if first_in_line {
            state.queue.push_front(ticket);
        } else {
            state.queue.push_back(ticket);
        }
        Turn {
            shared: self,
            ticket,
        }
    }

    pub(super) fn reclaim(&self) {
        let reclaimer = self.reclaimer.lock().clone();
        if let Some(reclaimer) = reclaimer.and_then(|weak| weak.upgrade()) {
            reclaimer.reclaim();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    #[test]
    fn a_lowered_limit_rises_by_one_at_a_time() {
        let pool = Pool::for_tests(3, false);
        let mut state = pool.shared.state.lock();
        let before = boottime();
        for live in [3, 2] {
            state.live = live;
            pool.shared.allow_fewer(&mut state);
        }
        assert_eq!(state.allowed, 1);
        let then = boottime() + RAISE_AFTER;
        let just_before = before + RAISE_AFTER - Duration::from_millis(1);
        for (now, allowed) in [
            (just_before, 1),
            (then, 2),
            (then, 2),
            (then + RAISE_AFTER / 2, 2),
            (then + RAISE_AFTER, 3),
            (then + 3 * RAISE_AFTER, 3),
        ] {
            state.raise_if_due(3, now);
            assert_eq!(state.allowed, allowed, "{now:?}, {then:?}");
        }
    }

    #[test]
    fn who_waits_for_a_session_gets_the_place_that_may_be_tried_again() {
        let pool = Pool::for_tests(2, false);
        let shared = &pool.shared;
        {
            let mut state = shared.state.lock();
            state.live = 2;
            shared.allow_fewer(&mut state);
            state.live = 1;
        }
        let next = || shared.next_step(Need::Command, false, Instant::now());
        assert!(matches!(next(), Err(PoolError::ServerFull { allowed: 1 })));
        shared.state.lock().raise_at = Some(boottime());
        assert!(matches!(next(), Ok(Step::LogIn(_))));
        assert_eq!(pool.counts().allowed, 2);
        // A refusal lowers it anew, and the time begins again.
        let full = FtpError::Refused {
            verb: "PASS",
            reply: crate::ftp::Reply::for_tests(530, "Too many users"),
        };
        shared.login_failed(full, Instant::now()).unwrap();
        assert!(matches!(next(), Err(PoolError::ServerFull { allowed: 1 })));
    }
}
