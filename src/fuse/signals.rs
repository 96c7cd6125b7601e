//! Signals as events that the session waits for, beside the end of something else.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Those that end the process: the first asks politely.
const ENDING: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

fn handled() -> SigSet {
    let mut set = SigSet::empty();
    for signal in ENDING {
        set.add(signal);
    }
    set.add(Signal::SIGHUP);
    set.add(Signal::SIGUSR1);
    set
}

/// Keeps SIGINT, SIGTERM, SIGHUP and SIGUSR1 back for [`Mounted::run`](super::Mounted::run). To be called
/// before the process has a second thread: each inherits this from the one that starts it.
///
/// # Errors
/// None that Linux documents for a valid set of signals.
pub fn block_signals() -> io::Result<()> {
    Ok(handled().thread_block()?)
}

/// Waits for SIGINT or SIGTERM until the other end of `over` is closed; the signal's name. A signal
/// that comes later stays for [`Mounted::run`](super::Mounted::run).
///
/// # Errors
/// What the system says when it has no descriptor left.
pub fn signal_before(over: BorrowedFd<'_>) -> io::Result<Option<&'static str>> {
    let signals = Signals::new()?;
    loop {
        match signals.wait(over, None, None)? {
            Event::End(signal) => return Ok(Some(signal)),
            Event::Ended => return Ok(None),
            Event::Asked | Event::Told(_) | Event::Timeout => {}
        }
    }
}

/// What is told to who serves a mount, while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// SIGHUP, while the terminal is still there, or where there never was one.
    HangUp,
    /// SIGUSR1.
    Dump,
    /// The mount is being taken away; what is not stored yet will be.
    Ending,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The thing waited for has ended.
    Ended,
    /// SIGINT or SIGTERM, or the terminal has gone; by its name.
    End(&'static str),
    /// Somebody has asked for the end, without a signal.
    Asked,
    /// Something that ends nothing.
    Told(Told),
    /// Nothing.
    Timeout,
}

/// Where the blocked signals arrive.
pub(super) struct Signals {
    arrived: SignalFd,
    /// Who works at the terminal that this was started from wants it to end with that.
    ends_with_terminal: bool,
}

impl Signals {
    /// Blocks the signals in this thread, if that was not done before.
    ///
    /// # Errors
    /// What the system says when it has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        block_signals()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            arrived: SignalFd::with_flags(&handled(), flags)?,
            ends_with_terminal: has_terminal() && !ignores_hang_ups(),
        })
    }

    /// Waits for a signal, or until the other end of `ending` or of `asked` is closed, for `limit` at most.
    ///
    /// # Errors
    /// What poll(2) or read(2) says.
    pub(super) fn wait(
        &self,
        ending: BorrowedFd<'_>,
        asked: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> io::Result<Event> {
        let limit = match limit {
            None => PollTimeout::NONE,
            Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
        };
        loop {
            let mut watched = [
                PollFd::new(self.arrived.as_fd(), PollFlags::POLLIN),
                PollFd::new(ending, PollFlags::POLLIN),
                PollFd::new(asked.unwrap_or(ending), PollFlags::POLLIN),
            ];
            match poll(&mut watched, limit) {
                Ok(0) => return Ok(Event::Timeout),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ended = watched[1].any().unwrap_or(true);
            if ended {
                return Ok(Event::Ended);
            }
            if asked.is_some() && watched[2].any().unwrap_or(true) {
                return Ok(Event::Asked);
            }
            let Some(arrived) = self.arrived.read_signal()? else {
                continue;
            };
            let signal = i32::try_from(arrived.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok());
            match signal {
                Some(Signal::SIGHUP) if self.ends_with_terminal && !has_terminal() => {
                    return Ok(Event::End("SIGHUP"));
                }
                Some(Signal::SIGHUP) => return Ok(Event::Told(Told::HangUp)),
                Some(Signal::SIGUSR1) => return Ok(Event::Told(Told::Dump)),
                Some(signal) if ENDING.contains(&signal) => {
                    return Ok(Event::End(signal.as_str()));
                }
                _ => {}
            }
        }
    }
}

/// Whether this process has a controlling terminal: one that is closed is none (tty(4)).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Started by nohup(1). A signal that is blocked arrives all the same.
fn ignores_hang_ups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 << (Signal::SIGHUP as i32 - 1) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;
    use std::os::unix::net::UnixStream;

    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn signals_and_the_end_are_events() {
        let signals = Signals::new().unwrap();
        let (alive, ending) = UnixStream::pair().unwrap();
        let wait = |limit| signals.wait(ending.as_fd(), None, limit).unwrap();
        assert_eq!(wait(Some(Duration::ZERO)), Event::Timeout);
        for (signal, event) in [
            (Signal::SIGTERM, Event::End("SIGTERM")),
            (Signal::SIGINT, Event::End("SIGINT")),
            (Signal::SIGHUP, Event::Told(Told::HangUp)),
            (Signal::SIGUSR1, Event::Told(Told::Dump)),
        ] {
            raise(signal).unwrap();
            assert_eq!(wait(LONG), event);
        }
        let (shut, asked) = UnixStream::pair().unwrap();
        drop(shut);
        let asked = Some(asked.as_fd());
        let first = signals.wait(ending.as_fd(), asked, LONG).unwrap();
        assert_eq!(first, Event::Asked);
        drop(alive);
        assert_eq!(wait(LONG), Event::Ended);
    }
}
