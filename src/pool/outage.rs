//! A server that is away: one probe looks for its return, and who asks meanwhile is told soon.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use log::Level;

use super::{PoolError, Shared};
use crate::ftp::{FtpError, Session};

/// The first attempt of the probe comes after this, each following one after twice the time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// So many attempts are in an ordinary log.
const TOLD: u32 = 5;

/// Nobody could connect, and nobody but the probe tries.
pub(super) struct Outage {
    /// Until then callers wait for the server, which may only be restarting; later ones fail at once.
    pub(super) until: Instant,
    /// What the last attempt failed with.
    pub(super) said: String,
}

impl Outage {
    pub(super) fn error(&self) -> PoolError {
        PoolError::Down(self.said.clone())
    }
}

impl Shared {
    /// Takes note of a login begun at `began` that failed without an answer of the server. Returns whether
    /// the caller is to wait for its return.
    pub(super) fn is_away(self: &Arc<Self>, began: Instant, error: &FtpError) -> bool {
        self.is_away_for(began, error, Self::start_probe)
    }

    /// The same; `starts` is what starts the probe, and tells whether it runs.
    fn is_away_for(
        self: &Arc<Self>,
        began: Instant,
        error: &FtpError,
        starts: impl FnOnce(&Arc<Self>) -> bool,
    ) -> bool {
        // One that is full, or says anything else, is there.
        let answers = error.reply().is_some() || error.is_too_many_connections();
        let unreachable = matches!(error, FtpError::Unreachable { .. });
        let silent = (error.is_timeout() || error.is_session_lost()) && !answers;
        let mut state = self.state.lock();
        // A server on which sessions live is there, however long it takes for a new one.
        if !unreachable && (!silent || state.live > 0) || state.closed {
            return false;
        }
        // Whoever has never seen the server wants to know at once why not.
        let patience = if state.seen {
            self.config.patience
        } else {
            Duration::ZERO
        };
        let said = error.to_string();
        if let Some(outage) = &mut state.outage {
            outage.said = said;
        } else if !starts(self) {
            // Nobody would ever end this outage: callers go on trying by themselves.
            let waits = state.seen && self.config.hard;
            drop(state);
            if waits {
                std::thread::sleep(FIRST_PAUSE);
            }
            return waits;
        } else {
            let level = if state.seen {
                Level::Warn
            } else {
                Level::Debug
            };
            log::log!(level, "the server is away: {said}; looking for its return");
            let until = began + patience;
            state.outage = Some(Outage { until, said });
        }
        let until = state.outage.as_ref().map(|outage| outage.until);
        state.seen && (self.config.hard || until.is_some_and(|until| Instant::now() < until))
    }

    /// Starts the thread `ftpfs-probe`; it ends with the outage, or the pool. Returns whether it runs.
    fn start_probe(self: &Arc<Self>) -> bool {
        let weak = Arc::downgrade(self);
        let probe = std::thread::Builder::new()
            .name("ftpfs-probe".into())
            .spawn(move || probe(&weak));
        if let Err(error) = &probe {
            log::warn!("the server is away, and nobody looks for its return: {error}");
        }
        probe.is_ok()
    }

    /// An attempt of the probe; whether the outage is over.
    fn has_returned(&self, number: u32, pause: Duration) -> bool {
        let attempt = Session::open(&self.login, &self.experience);
        let mut state = self.state.lock();
        match attempt {
            Ok(mut session) if !state.closed => {
                log::info!("the server is back");
                if self.config.ahead {
                    session.keep_armed();
                }
                state.live += 1;
                state.seen = true;
                state.keep(session);
            }
            Ok(_) => {}
            Err(error) if error.is_wrong_password() => state.refused = Some(error.to_string()),
            // It answers: what it says is for the next one who asks.
            Err(error) if error.reply().is_some() => log::info!("the server is back: {error}"),
            Err(error) => {
                let level = if number <= TOLD {
                    Level::Info
                } else {
                    Level::Debug
                };
                let pause = pause.as_millis();
                log::log!(
                    level,
                    "the server is still away: {error}; attempt {number}, the next in {pause} ms"
                );
                if let Some(outage) = &mut state.outage {
                    outage.said = error.to_string();
                }
                return state.closed;
            }
        }
        state.outage = None;
        drop(state);
        self.changed.notify_all();
        true
    }
}

fn probe(weak: &Weak<Shared>) {
    let mut pause = FIRST_PAUSE;
    for number in 1.. {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        match weak.upgrade() {
            Some(shared) if !shared.has_returned(number, pause) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    fn refused() -> FtpError {
        FtpError::Unreachable {
            host: "127.0.0.1:1".into(),
            source: std::io::ErrorKind::ConnectionRefused.into(),
        }
    }

    #[test]
    fn without_a_probe_there_is_no_outage_and_callers_try_by_themselves() {
        for (seen, hard, waits) in [
            (false, false, false),
            (true, false, false),
            (false, true, false),
            (true, true, true),
        ] {
            let pool = Pool::for_tests(1, hard);
            let shared = &pool.shared;
            shared.state.lock().seen = seen;
            let is_away = shared.is_away_for(Instant::now(), &refused(), |_| false);
            assert_eq!(is_away, waits, "seen: {seen}, hard: {hard}");
            assert_eq!(pool.away(), None);
            // The next one who fails may have more luck with it.
            assert_eq!(
                shared.is_away_for(Instant::now(), &refused(), |_| true),
                seen
            );
            assert!(pool.away().is_some());
        }
    }

    #[test]
    fn one_probe_is_enough() {
        let pool = Pool::for_tests(1, false);
        let started = std::cell::Cell::new(0);
        for _ in 0..3 {
            pool.shared.is_away_for(Instant::now(), &refused(), |_| {
                started.set(started.get() + 1);
                true
            });
        }
        assert_eq!(started.get(), 1);
    }
}
