//! Who answers a request: the callback at once from memory, or a worker that may wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuser::{Errno, ReplyData, ReplyEmpty, ReplyWrite};

use super::SessionConfig;
use super::answer::{Answer, Done};
use super::caller;
use super::codepage::Codepage;
use super::lately::Lately;
use super::report::Report;
use super::slot::{Call, Claim, Refuse};
use super::watchdog::{GivenUp, Limit, Senses, Watchdog};
use crate::fs::{FsError, FtpFs, Wait};
use crate::workers::{Workers, for_asker};

/// What the kernel's requests are answered with and by.
pub(super) struct Dispatch {
    fs: Arc<FtpFs>,
    workers: Arc<Workers>,
    watchdog: Watchdog,
    report: Arc<Report>,
    lately: Arc<Lately>,
    mountpoint: Arc<Path>,
    codepage: Codepage,
    /// Bound of one metadata operation or READ.
    operation_timeout: Duration,
    /// Bound of a FLUSH or FSYNC whose upload does not get on.
    timeout: Duration,
    closing: AtomicBool,
}

impl Dispatch {
    /// `mountpoint` is canonical: as the kernel shows it.
    ///
    /// # Errors
    /// What the system says when it refuses the watchdog's thread.
    pub(super) fn new(
        fs: Arc<FtpFs>,
        workers: Arc<Workers>,
        mountpoint: &Path,
        config: &SessionConfig,
    ) -> std::io::Result<Self> {
        let report = Arc::new(Report::new(Arc::clone(&fs)));
        let asked = Arc::clone(&fs);
        let told = Arc::clone(&report);
        let lately = Arc::<Lately>::default();
        let noted = Arc::clone(&lately);
        let watchdog = Watchdog::start(Senses {
            progress: Box::new(move |call| asked.progress_of(call.ino, &call.name)),
            give_up: Box::new(move |request, why| {
                let call = request.call();
                if let GivenUp::Overdue(_) = why {
                    // Before the kernel can ask again.
                    noted.failed(call, request.since(), why.errno());
                }
                if request.refuse(why.errno()) {
                    told.gave_up(call, why);
                } else {
                    noted.forget(call);
                }
            }),
        })?;
        let limit = |limit| if config.hard { Duration::MAX } else { limit };
        Ok(Self {
            fs,
            workers,
            watchdog,
            report,
            lately,
            mountpoint: mountpoint.into(),
            codepage: config.codepage,
            operation_timeout: limit(config.operation_timeout),
            timeout: limit(config.timeout),
            closing: AtomicBool::new(false),
        })
    }

    /// The file system.
    pub(super) fn fs(&self) -> &Arc<FtpFs> {
        &self.fs
    }

    /// A number that changes with every request, and requests in flight: whether anybody still
    /// works with the mount.
    pub(super) fn activity(&self) -> (u64, bool) {
        (self.fs.board().requests.get(), self.watchdog.is_busy())
    }

    /// From now on nothing more is taken in: what needs the server, and every write, is ENOTCONN.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Answers from memory if that is possible, else on a worker.
    pub(super) fn ask<A: Answer>(
        self: &Arc<Self>,
        call: Call,
        reply: A::Reply,
        question: impl Fn(&Arc<FtpFs>, &Call, Wait) -> Result<A, FsError> + Send + 'static,
    ) {
        let limit = Limit::Total(self.operation_timeout);
        self.ask_within(limit, call, reply, question);
    }

    fn ask_within<A: Answer>(
        self: &Arc<Self>,
        limit: Limit,
        call: Call,
        reply: A::Reply,
        question: impl Fn(&Arc<FtpFs>, &Call, Wait) -> Result<A, FsError> + Send + 'static,
    ) {
        self.count();
        match catch_unwind(AssertUnwindSafe(|| question(&self.fs, &call, Wait::No))) {
            Ok(Ok(answer)) => answer.give(reply),
            Ok(Err(error)) if error.would_wait() => {
                self.hand_over(limit, call, reply, move |fs, call| {
                    question(fs, call, Wait::Yes)
                });
            }
            Ok(Err(error)) => reply.refuse(self.report.failed(&call, &error)),
            Err(_) => reply.refuse(self.report.defect(&call)),
        }
    }

    /// Does what may wait on a worker.
    pub(super) fn work<A: Answer>(
        self: &Arc<Self>,
        call: Call,
        reply: A::Reply,
        job: impl FnOnce(&Arc<FtpFs>, &Call) -> Result<A, FsError> + Send + 'static,
    ) {
        self.count();
        self.hand_over(Limit::Total(self.operation_timeout), call, reply, job);
    }

    /// As [`Dispatch::work`], for what may have to upload a file first: it goes on as long as that gets on.
    pub(super) fn work_after_upload<A: Answer>(
        self: &Arc<Self>,
        call: Call,
        reply: A::Reply,
        job: impl FnOnce(&Arc<FtpFs>, &Call) -> Result<A, FsError> + Send + 'static,
    ) {
        self.count();
        self.hand_over(Limit::Stalled(self.operation_timeout), call, reply, job);
    }

    fn hand_over<A: Answer>(
        self: &Arc<Self>,
        limit: Limit,
        call: Call,
        reply: A::Reply,
        job: impl FnOnce(&Arc<FtpFs>, &Call) -> Result<A, FsError> + Send + 'static,
    ) {
        if self.is_closing() {
            return reply.refuse(Errno::ENOTCONN);
        }
        let claim = Claim::new(call, reply);
        self.watchdog.watch(claim.pending(), limit);
        let this = Arc::clone(self);
        self.workers.spawn(move || this.run(&claim, job));
    }

    /// The job of a worker. A panic ends in `Workers`; the claim, dropped on the way, answers EIO.
    fn run<A: Answer>(
        &self,
        claim: &Claim<A::Reply>,
        job: impl FnOnce(&Arc<FtpFs>, &Call) -> Result<A, FsError>,
    ) {
        // The caller was told that it failed: then it must not happen later.
        if !claim.is_waiting() {
            return;
        }
        let pending = claim.pending();
        match for_asker(move || pending.is_waiting(), || job(&self.fs, claim.call())) {
            Ok(answer) => match claim.take() {
                Some(reply) => answer.give(reply),
                None => answer.take_back(&self.fs),
            },
            Err(error) => {
                let errno = self.report.failed(claim.call(), &error);
                if let Some(reply) = claim.take() {
                    reply.refuse(errno);
                }
            }
        }
    }

    /// Reads; memory answers inside this call.
    pub(super) fn read(
        self: &Arc<Self>,
        call: Call,
        reply: ReplyData,
        handle: u64,
        offset: u64,
        size: u32,
    ) {
        self.count();
        if let Some(errno) = self.lately.answer(&call) {
            return reply.error(errno);
        }
        let claim = Claim::new(call, reply);
        let pending = claim.pending();
        let (report, lately) = (Arc::clone(&self.report), Arc::clone(&self.lately));
        let done = Box::new(move |read: Result<&[u8], FsError>| match read {
            Ok(bytes) => {
                if let Some(reply) = claim.take() {
                    reply.data(bytes);
                }
            }
            Err(error) => {
                let errno = report.failed(claim.call(), &error);
                lately.failed(claim.call(), claim.pending().since(), errno);
                if let Some(reply) = claim.take() {
                    reply.refuse(errno);
                }
            }
        });
        let read = || self.fs.read(handle, offset, size, done);
        if catch_unwind(AssertUnwindSafe(read)).is_err() {
            // `done` went with it, and answered EIO.
            self.report.defect(pending.call());
        } else if pending.is_waiting() {
            self.watchdog
                .watch(pending, Limit::Total(self.operation_timeout));
        }
    }

    /// Writes, inside this call: the bytes are the kernel's own buffer, and are staged from there.
    pub(super) fn write(
        &self,
        call: &Call,
        reply: ReplyWrite,
        handle: u64,
        offset: u64,
        data: &[u8],
    ) {
        self.count();
        if self.is_closing() {
            return reply.refuse(Errno::ENOTCONN);
        }
        match self.now(call, |fs| fs.write(handle, offset, data)) {
            Ok(written) => reply.written(written),
            Err(errno) => reply.refuse(errno),
        }
    }

    /// Does what never waits, inside this call; the errno of a failure is logged.
    pub(super) fn now<T>(
        &self,
        call: &Call,
        action: impl FnOnce(&Arc<FtpFs>) -> Result<T, FsError>,
    ) -> Result<T, Errno> {
        match catch_unwind(AssertUnwindSafe(|| action(&self.fs))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.report.failed(call, &error)),
            Err(_) => Err(self.report.defect(call)),
        }
    }

    /// Logs a failure that was found before anybody was asked; the errno to answer.
    pub(super) fn failed(&self, call: &Call, error: &FsError) -> Errno {
        self.report.failed(call, error)
    }

    /// close(2): the wait ends with the caller's patience or without progress, the commit does not.
    pub(super) fn flush(self: &Arc<Self>, call: Call, reply: ReplyEmpty, handle: u64) {
        let (mountpoint, codepage) = (Arc::clone(&self.mountpoint), self.codepage);
        self.ask_within(
            Limit::Stalled(self.timeout),
            call,
            reply,
            move |fs, call, wait| {
                let still_open = |path: &[u8]| {
                    let path = codepage.path_shown(path);
                    caller::has_open(call.caller, &caller::path_below(&mountpoint, &path))
                };
                fs.flush(handle, &still_open, wait).map(|()| Done)
            },
        );
    }

    /// fsync(2), bounded like close.
    pub(super) fn fsync(self: &Arc<Self>, call: Call, reply: ReplyEmpty, handle: u64) {
        self.count();
        let limit = Limit::Stalled(self.timeout);
        self.hand_over(limit, call, reply, move |fs, _| {
            fs.fsync(handle).map(|()| Done)
        });
    }

    fn count(&self) {
        self.fs.board().requests.one();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
