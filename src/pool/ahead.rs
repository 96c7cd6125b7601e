//! Work ahead of need, on a thread of its own: sessions that come back get their next data connection,
//! and another session is opened where transfers find none that is ready.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::idle::Idle;
use super::queue::Place;
use super::{Need, Shared, State};
use crate::ftp::{FtpError, Session};
use crate::net::{Waker, boottime};

/// After a session could not be opened ahead, so long none is tried.
const PAUSE: Duration = Duration::from_secs(30);
/// A server that takes longer than this with a data connection is left in peace.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The system could not wait: it will not be asked again at once.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Sessions on their way to a data connection. They are lent to this thread, and given back at once when somebody
/// waits for one.
#[derive(Default)]
pub(super) struct Ahead {
    /// For the thread to take.
    given: Vec<Session>,
    /// With the thread.
    held: usize,
    /// A session is being opened, or was in vain and is not to be tried before this.
    opening: bool,
    not_before: Option<Instant>,
    waker: Option<Arc<Waker>>,
}

impl Ahead {
    pub(super) fn count(&self) -> usize {
        self.given.len() + self.held
    }

    /// Calls the thread: there is something new for it.
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// Asks for what the thread holds, if it holds anything. Without that condition whoever waits and the
    /// thread would wake each other without end.
    pub(super) fn ask_back(&self) {
        if self.count() > 0 {
            self.wake();
        }
    }

    pub(super) fn stop(&mut self) -> Vec<Session> {
        self.wake();
        self.waker = None;
        std::mem::take(&mut self.given)
    }
}

impl State {
    /// Whether somebody waits whom no unused session is left for.
    fn has_more_wishes_than_sessions(&self) -> bool {
        self.queue.len() > self.idle.len()
    }

    /// Takes a session that came back: it is prepared for the next transfer if it is to be, and somebody can.
    pub(super) fn keep(&mut self, session: Session) {
        let may_wait = !self.has_more_wishes_than_sessions();
        if session.wants_arming() && self.ahead.waker.is_some() && may_wait {
            self.ahead.given.push(session);
            self.ahead.wake();
        } else {
            let since = boottime();
            self.idle.push(Idle { session, since });
        }
    }
}

impl Shared {
    /// Starts the thread `ftpfs-ahead`; it ends when the pool is closed.
    pub(super) fn work_ahead(self: &Arc<Self>) {
        let waker = match Waker::new() {
            Ok(waker) => Arc::new(waker),
            Err(e) => return log::warn!("transfers will begin slowly: {e}"),
        };
        let weak = Arc::downgrade(self);
        let called = Arc::clone(&waker);
        let thread = std::thread::Builder::new()
            .name("ftpfs-ahead".into())
            .spawn(move || arm_all(&weak, &called));
        match thread {
            Ok(_) => self.state.lock().ahead.waker = Some(waker),
            Err(e) => log::warn!("transfers will begin slowly: {e}"),
        }
    }

    /// Opens another session in the background, if the server allows one, for transfers that would else wait for a
    /// data connection each.
    pub(super) fn open_ahead(self: &Arc<Self>) {
        let place = {
            let mut state = self.state.lock();
            let waits = state.ahead.not_before.is_some_and(|at| Instant::now() < at);
            let away = state.outage.is_some() || state.refused.is_some();
            if state.ahead.waker.is_none()
                || state.ahead.opening
                || waits
                || away
                || state.closed
                || state.live >= state.allowed
            {
                return;
            }
            state.ahead.opening = true;
            state.live += 1;
            Place::new(self)
        };
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("ftpfs-login".into())
            .spawn(move || shared.open_one(place));
        if let Err(e) = thread {
            // The place went down with the closure.
            log::debug!("no session ahead: {e}");
            self.state.lock().ahead.opening = false;
        }
    }

    /// Where nobody knows yet whether the server takes several commands at once, an unused session finds out in the
    /// background. Returns whether one does.
    pub(super) fn probe_ahead(self: &Arc<Self>) -> bool {
        if self.experience.pipelining().is_some() {
            return false;
        }
        let idle = {
            let mut state = self.state.lock();
            if state.ahead.waker.is_none() || state.ahead.opening || state.closed {
                return false;
            }
            let Some(idle) = state.best_for(Need::Command) else {
                return false;
            };
            state.ahead.opening = true;
            idle
        };
        let place = Place::new(self);
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("ftpfs-login".into())
            .spawn(move || shared.probe_one(Box::new(idle), place));
        if let Err(e) = thread {
            log::debug!("no look ahead: {e}");
            self.state.lock().ahead.opening = false;
        }
        true
    }

    /// The place is that of the session.
    fn probe_one(&self, idle: Box<Idle>, place: Place) {
        let probed = self.still_good(idle).map(|mut session| {
            let well = session.probe_pipelining();
            (session, well)
        });
        let mut state = self.state.lock();
        state.ahead.opening = false;
        match probed {
            // It has given its place back itself.
            None => place.taken(),
            Some((session, true)) if !state.closed => {
                place.taken();
                state.keep(session);
            }
            Some((mut session, _)) => {
                drop(state);
                session.quit();
                drop(session);
                drop(place);
                return;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn open_one(&self, place: Place) {
        let opened = self.open_probed();
        let mut state = self.state.lock();
        state.ahead.opening = false;
        match opened {
            Ok(session) if !state.closed && state.live <= state.allowed => {
                place.taken();
                state.keep(session);
                drop(state);
                self.changed.notify_all();
            }
            Ok(session) => {
                drop(state);
                drop(session);
                drop(place);
            }
            Err(error) => {
                log::info!("no further session: {error}");
                state.ahead.not_before = Some(Instant::now() + PAUSE);
                if error.is_too_many_connections() && state.live > 1 {
                    self.allow_fewer(&mut state);
                }
                drop(state);
                drop(place);
            }
        }
    }

    /// A new session; the first of these shows whether the server takes several commands at once.
    fn open_probed(&self) -> Result<Session, FtpError> {
        let mut session = Session::open(&self.login, &self.experience)?;
        if self.experience.pipelining().is_none() && !session.probe_pipelining() {
            // It has one place, and ends before another one takes that.
            drop(session);
            session = Session::open(&self.login, &self.experience)?;
        }
        session.keep_armed();
        Ok(session)
    }

    /// Takes what was given, and gives back what is ready or wanted. `None` when the pool is closed.
    fn exchange(&self, mine: &mut Vec<Lent>) -> Option<()> {
        let mut dead = Vec::new();
        let mut state = self.state.lock();
        let now = Instant::now();
        let given = std::mem::take(&mut state.ahead.given);
        mine.extend(given.into_iter().map(|session| Lent {
            session,
            stage: Stage::Taken,
            until: now + MAX_TIME,
        }));
        let wanted = state.has_more_wishes_than_sessions();
        let closed = state.closed;
        let unused_before = state.idle.len();
        for mut lent in std::mem::take(mine) {
            if now >= lent.until {
                lent.session.mark_broken();
            }
            if !lent.session.is_in_step() || closed {
                dead.push(lent.session);
            } else if lent.stage == Stage::Done || wanted {
                let since = boottime();
                let session = lent.session;
                state.idle.push(Idle { session, since });
            } else {
                mine.push(lent);
            }
        }
        state.ahead.held = mine.len();
        let gave_back = state.idle.len() > unused_before;
        drop(state);
        if gave_back || closed {
            self.changed.notify_all();
        }
        for mut session in dead {
            session.quit();
            // Its place is free when it has ended: else there would be one too many for a moment.
            drop(session);
            self.one_less();
        }
        (!closed).then_some(())
    }
}

struct Lent {
    session: Session,
    stage: Stage,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not looked at yet: what it awaits may have come, with the reply to another command.
    Taken,
    Waiting,
    /// Nothing is left to be done.
    Done,
}

fn arm_all(pool: &Weak<Shared>, waker: &Waker) {
    let mut mine: Vec<Lent> = Vec::new();
    loop {
        let Some(shared) = pool.upgrade() else { return };
        for lent in &mut mine {
            lent.stage = if lent.session.arm() {
                Stage::Done
            } else {
                Stage::Waiting
            };
        }
        if shared.exchange(&mut mine).is_none() {
            return;
        }
        drop(shared);
        if mine.iter().any(|lent| lent.stage == Stage::Taken) {
            continue;
        }
        let sources: Vec<_> = mine
            .iter()
            .filter_map(|lent| lent.session.awaits())
            .collect();
        let patience = mine.iter().map(|lent| lent.until).min();
        let patience = patience.map(|until| until.saturating_duration_since(Instant::now()));
        if let Err(e) = waker.wait_any(&sources, patience) {
            log::warn!("waiting for data connections: {e}");
            std::thread::sleep(AFTER_FAILURE);
        }
    }
}
