//! Logged-in sessions shared by all threads: never more than allowed, given out in turn.

mod lease;
mod ahead;
mod idle;
mod outage;
mod queue;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use crate::ftp::{Experience, FtpError, LoginConfig, Readiness, Session};
use ahead::Ahead;
use idle::{Idle, start_reaper};
pub use lease::Lease;
use outage::Outage;
use queue::Step;

/// How many sessions, and for how long.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Never more control connections than this, at least 1.
    pub max_connections: usize,
    /// All unused sessions but one are closed after this.
    pub idle: Duration,
    /// The last unused session is closed after this.
    pub last_idle: Duration,
    /// So long a server that is away may only be restarting; then whoever asks is told at once.
    pub patience: Duration,
    /// Whoever asks waits for a server that is away, until his own deadline.
    pub hard: bool,
    /// Unused sessions get a data connection before it is needed, and further sessions are opened where
    /// transfers find none that has one.
    pub ahead: bool,
}

/// What a session is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Commands and their replies.
    Command,
    /// A transfer.
    Data,
}

/// Something that can give sessions back which it holds only in the hope of using them.
pub trait Reclaim: Send + Sync {
    /// Gives back one session whose stream nobody waits for. Called without any lock of the pool
    /// by a thread that found no session; must not wait for the network or for other threads.
    /// Returns whether a session was (or is about to be) given back.
    fn reclaim(&self) -> bool;
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Connecting or logging in failed.
    #[error(transparent)]
    Login(FtpError),
    /// The password was refused before; trying again by ourselves could lock the account.
    #[error("not logging in again after: {0}")]
    RefusedBefore(String),
    /// The server gives us no more sessions, and ours were all in use for too long.
    #[error("the server allows no more than {allowed} connections, and all are in use")]
    ServerFull {
        /// How many it allows us.
        allowed: usize,
    },
    /// All sessions were in use for too long.
    #[error("timed out after {} s waiting for one of {allowed} connections", .after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// How many there may be.
        allowed: usize,
    },
    /// Nobody answers, and for a while already; the text is that of the last attempt.
    #[error("the server is away: {0}")]
    Down(String),
    /// The pool has been closed.
    #[error("the connection to the server has been closed")]
    Closed,
}

/// How many sessions there are, for the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolCounts {
    /// Logged in or about to be.
    pub live: usize,
    /// Of these, unused.
    pub idle: usize,
    /// Never more than this now; the server may have taught us less than what was configured.
    pub allowed: usize,
}

/// So often a login is begun anew whose connection was lost in the middle.
const LOST_LOGINS: u32 = 2;

/// The sessions of one server.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    /// Dropped with the pool: this ends the reaper.
    _reaper: Option<Sender<()>>,
}

struct Shared {
    login: LoginConfig,
    config: PoolConfig,
    experience: Arc<Experience>,
    reclaimer: Mutex<Option<Weak<dyn Reclaim>>>,
    /// Held for moments only: never over I/O, a destructor of a session, or a call out.
    state: Mutex<State>,
    /// A session came back, went away, or may now be made.
    changed: Condvar,
}

struct State {
    /// Longest unused first.
    idle: Vec<Idle>,
    ahead: Ahead,
    /// Idle, being prepared, leased, or logging in.
    live: usize,
    allowed: usize,
    /// By [`boottime`](crate::net::boottime): when `allowed` may grow by one again.
    raise_at: Option<Duration>,
    /// Who waits, in turn.
    queue: std::collections::VecDeque<u64>,
    next_ticket: u64,
    refused: Option<String>,
    outage: Option<Outage>,
    /// There was a session once.
    seen: bool,
    closed: bool,
}

impl Pool {
    /// No session is opened yet.
    pub fn new(login: LoginConfig, config: PoolConfig) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                idle: Vec::new(),
                ahead: Ahead::default(),
                live: 0,
                allowed: config.max_connections.max(1),
                raise_at: None,
                queue: std::collections::VecDeque::new(),
                next_ticket: 0,
                refused: None,
                outage: None,
                seen: false,
                closed: false,
            }),
            login,
            config,
            experience: Arc::default(),
            reclaimer: Mutex::new(None),
            changed: Condvar::new(),
        });
        let reaper = start_reaper(&shared);
        if shared.config.ahead {
            shared.work_ahead();
        }
        Self {
            shared,
            _reaper: reaper,
        }
    }

    /// Whom to ask for a session when all are in use.
    pub fn set_reclaimer(&self, reclaimer: Weak<dyn Reclaim>) {
        *self.shared.reclaimer.lock() = Some(reclaimer);
    }

    /// What the sessions tell each other.
    pub fn experience(&self) -> &Arc<Experience> {
        &self.shared.experience
    }

    /// A session: an unused one that still lives, else a new one, else the next that comes back.
    /// Those who wait are served in turn, until `deadline` at the latest; a login that has begun
    /// has its own time.
    ///
    /// # Errors
    /// All of [`PoolError`].
    pub fn lease(&self, need: Need, deadline: Instant) -> Result<Lease, PoolError> {
        let mut first_in_line = false;
        let mut lost_logins = 0;
        let patience = deadline.min(Instant::now() + queue::FULL_PATIENCE);
        loop {
            match self.shared.next_step(need, first_in_line, deadline)? {
                Step::Take(idle) => {
                    if let Some(session) = self.shared.still_good(idle) {
                        let unready = need == Need::Data && session.readiness() != Readiness::Armed;
                        if !self.shared.probe_ahead() && unready {
                            self.shared.open_ahead();
                        }
                        return Ok(Lease::new(session, Arc::clone(&self.shared), true));
                    }
                }
                Step::LogIn(place) => {
                    let began = Instant::now();
                    match Session::open(&self.shared.login, &self.shared.experience) {
                        Ok(mut session) => {
                            if self.shared.config.ahead {
                                session.keep_armed();
                            }
                            place.taken();
                            self.shared.state.lock().seen = true;
                            self.shared.probe_ahead();
                            return Ok(Lease::new(session, Arc::clone(&self.shared), false));
                        }
                        Err(error) => {
                            drop(place);
                            let lost = matches!(error, FtpError::Disconnected { .. })
                                && !error.is_too_many_connections();
                            if lost && lost_logins < LOST_LOGINS {
                                lost_logins += 1;
                                log::info!("{error}; login {lost_logins} failed, trying another");
                            } else if !self.shared.is_away(began, &error) {
                                self.shared.login_failed(error, patience)?;
                            }
                        }
                    }
                }
            }
            first_in_line = true;
        }
    }

    /// Lets the password be tried again after it was refused (the user has said so).
    pub fn forgive(&self) {
        self.shared.state.lock().refused = None;
    }

    /// How many sessions there are.
    pub fn counts(&self) -> PoolCounts {
        let state = self.shared.state.lock();
        PoolCounts {
            live: state.live,
            idle: state.idle.len() + state.ahead.count(),
            allowed: state.allowed,
        }
    }

    /// What the last attempt to reach the server failed with, while it is away.
    pub fn away(&self) -> Option<String> {
        let state = self.shared.state.lock();
        state.outage.as_ref().map(|outage| outage.said.clone())
    }

    /// Whether somebody waits for a session and none is to be had.
    pub fn is_contended(&self) -> bool {
        let state = self.shared.state.lock();
        !state.queue.is_empty()
            && state.idle.is_empty()
            && state.ahead.count() == 0
            && state.live >= state.allowed
    }

    /// Asks those who hold sessions in vain to give one back.
    pub fn reclaim(&self) {
        self.shared.reclaim();
    }

    /// Logs the unused sessions out, and each other one when it comes back. No session is given
    /// out any more.
    pub fn close(&self) {
        let unused = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            let mut unused = state.ahead.stop();
            unused.extend(state.idle.drain(..).map(|idle| idle.session));
            state.live -= unused.len();
            unused
        };
        self.shared.changed.notify_all();
        for mut session in unused {
            session.quit();
        }
    }
}

#[cfg(test)]
impl Pool {
    /// For what needs no server; nobody is there.
    fn for_tests(max_connections: usize, hard: bool) -> Self {
        let second = Duration::from_secs(1);
        let login = LoginConfig {
            host: "127.0.0.1".into(),
            route: crate::net::Route::default(),
            obeys_pasv: false,
            port: 1,
            user: b"me".to_vec(),
            password: crate::ftp::Secret::default(),
            family: crate::net::AddressFamily::Any,
            security: crate::ftp::Security::Off,
            utf8: true,
            account: None,
            connect_timeout: second,
            timeout: second,
            active: None,
        };
        let config = PoolConfig {
            max_connections,
            idle: 60 * second,
            last_idle: 60 * second,
            patience: 5 * second,
            hard,
            ahead: false,
        };
        Self::new(login, config)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("host", &self.login.host)
            .finish_non_exhaustive()
    }
}
