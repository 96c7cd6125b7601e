//! A request in flight: its reply is given once, by whoever takes it first.

use std::sync::Arc;
use std::time::Instant;

use fuser::{
    Errno, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request,
};
use parking_lot::Mutex;

/// What is asked, of what, and by whom: for jobs, log lines and the watchdog.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The operation's name in POSIX.
    pub(super) operation: &'static str,
    /// The inode asked about; for an operation on a name, the directory that holds it.
    pub(super) ino: u64,
    /// The name in that directory; empty if the operation names none.
    pub(super) name: Box<[u8]>,
    /// Thread id of the caller; 0 if the kernel asks by itself.
    pub(super) caller: u32,
}

impl Call {
    /// A call about an inode.
    pub(super) fn on(operation: &'static str, request: &Request, ino: u64) -> Self {
        Self::named(operation, request, ino, b"")
    }

    /// A call about a name in a directory.
    pub(super) fn named(
        operation: &'static str,
        request: &Request,
        parent: u64,
        name: &[u8],
    ) -> Self {
        Self {
            operation,
            ino: parent,
            name: name.into(),
            caller: request.pid(),
        }
    }
}

/// A reply that can say no.
pub(super) trait Refuse: Send + 'static {
    /// Answers with an error.
    fn refuse(self, errno: Errno);
}

macro_rules! refuse_by_error {
    ($($reply:ty),+) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })+
    };
}

refuse_by_error!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyOpen,
    ReplyWrite
);

/// The watchdog's end of a request in flight.
pub(super) trait Pending: Send + Sync {
    /// What was asked.
    fn call(&self) -> &Call;
    /// When it came in.
    fn since(&self) -> Instant;
    /// Nobody has answered yet.
    fn is_waiting(&self) -> bool;
    /// Answers with an error, unless somebody was faster: then false.
    fn refuse(&self, errno: Errno) -> bool;
}

#[derive(Debug)]
struct Slot<R> {
    call: Call,
    since: Instant,
    reply: Mutex<Option<R>>,
}

impl<R: Refuse> Slot<R> {
    fn take(&self) -> Option<R> {
        // Taken under the lock, used outside it: sending a reply is a system call.
        self.reply.lock().take()
    }
}

impl<R: Refuse> Pending for Slot<R> {
    fn call(&self) -> &Call {
        &self.call
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn is_waiting(&self) -> bool {
        self.reply.lock().is_some()
    }

    fn refuse(&self, errno: Errno) -> bool {
        let reply = self.take();
        let waited = reply.is_some();
        if let Some(reply) = reply {
            reply.refuse(errno);
        }
        waited
    }
}

/// The working end of a request in flight. Dropped unanswered (a job that was never run, or one
/// that panicked) it answers EIO.
#[derive(Debug)]
pub(super) struct Claim<R: Refuse> {
    slot: Arc<Slot<R>>,
}

impl<R: Refuse> Claim<R> {
    /// Puts the reply where both ends can take it.
    pub(super) fn new(call: Call, reply: R) -> Self {
        let slot = Slot {
            call,
            since: Instant::now(),
            reply: Mutex::new(Some(reply)),
        };
        Self {
            slot: Arc::new(slot),
        }
    }

    /// The end for the watchdog.
    pub(super) fn pending(&self) -> Arc<dyn Pending> {
        Arc::<Slot<R>>::clone(&self.slot)
    }

    /// What was asked.
    pub(super) fn call(&self) -> &Call {
        &self.slot.call
    }

    /// Nobody has answered yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.slot.is_waiting()
    }

    /// The reply, unless the watchdog has answered.
    pub(super) fn take(&self) -> Option<R> {
        self.slot.take()
    }
}

impl<R: Refuse> Drop for Claim<R> {
    fn drop(&mut self) {
        self.slot.refuse(Errno::EIO);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Tells a channel which error it was refused with.
    #[derive(Debug)]
    pub(in crate::fuse) struct Told(pub(in crate::fuse) Sender<i32>);

    impl Refuse for Told {
        fn refuse(self, errno: Errno) {
            self.0.send(errno.code()).ok();
        }
    }

    pub(in crate::fuse) fn call(operation: &'static str, caller: u32) -> Call {
        Call {
            operation,
            ino: 1,
            name: Box::default(),
            caller,
        }
    }

    #[test]
    fn a_reply_is_given_once() {
        let (tell, told) = channel();
        let claim = Claim::new(call("lookup", 0), Told(tell));
        let pending = claim.pending();
        assert!(claim.is_waiting());
        assert!(pending.refuse(Errno::ETIMEDOUT));
        assert!(!pending.refuse(Errno::EINTR));
        assert!(claim.take().is_none());
        drop(claim);
        assert_eq!(told.iter().next(), Some(libc::ETIMEDOUT));
        drop(pending);
        assert_eq!(told.iter().next(), None);
    }

    #[test]
    fn the_worker_that_takes_it_leaves_nothing_to_the_watchdog() {
        let (tell, told) = channel();
        let claim = Claim::new(call("lookup", 0), Told(tell));
        let pending = claim.pending();
        drop(claim.take());
        assert!(!pending.is_waiting());
        assert!(!pending.refuse(Errno::EINTR));
        assert_eq!(told.iter().next(), None);
    }

    #[test]
    fn a_job_that_never_ran_answers_eio() {
        let (tell, told) = channel();
        drop(Claim::new(call("lookup", 0), Told(tell)));
        assert_eq!(told.iter().collect::<Vec<_>>(), [libc::EIO]);
    }
}
