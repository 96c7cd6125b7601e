//! Waiting for several connections at once, until somebody calls.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Connecting, Direction, Stream};

/// Something that is waited for.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// That bytes come.
    Bytes(&'a Stream),
    /// That it is made, or fails.
    Connection(&'a Connecting),
}

impl Source<'_> {
    fn poll_fd(&self) -> PollFd<'_> {
        match self {
            Source::Bytes(stream) => stream.poll_fd(Direction::Read),
            Source::Connection(connecting) => connecting.poll_fd(),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Source::Bytes(stream) => stream.is_ready(Direction::Read),
            Source::Connection(_) => false,
        }
    }
}

/// One thread waits ([`Waker::wait_any`]), others call it ([`Waker::wake`]).
#[derive(Debug)]
pub struct Waker {
    calls: UnixStream,
    called: UnixStream,
}

impl Waker {
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        let (calls, called) = UnixStream::pair()?;
        calls.set_nonblocking(true)?;
        called.set_nonblocking(true)?;
        Ok(Self { calls, called })
    }

    /// Ends the wait of [`Waker::wait_any`], the present one or the next.
    pub fn wake(&self) {
        // A full buffer holds enough calls.
        if let Err(e) = (&self.calls).write(&[0])
            && e.kind() != io::ErrorKind::WouldBlock
        {
            log::debug!("waking: {e}");
        }
    }

    /// Waits until one of `sources` is ready, somebody calls, or `patience` is over (`None`: no end).
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_any(&self, sources: &[Source<'_>], patience: Option<Duration>) -> io::Result<()> {
        let patience = if sources.iter().any(Source::is_ready) {
            Some(Duration::ZERO)
        } else {
            patience
        };
        let patience = patience.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut all: Vec<_> = sources.iter().map(Source::poll_fd).collect();
        all.push(PollFd::new(&self.called, PollFlags::IN));
        match poll(&mut all, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut calls = [0; 64];
        while let Ok(1..) = (&self.called).read(&mut calls) {}
        Ok(())
    }
}
