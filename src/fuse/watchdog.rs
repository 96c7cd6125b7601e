//! Bounds every wait: the deadline of a request, and the caller who gives up.
//!
//! fuser refuses FUSE_INTERRUPT before a file system can see it, and then the kernel lets nobody,
//! not even SIGKILL, end a wait for our reply. So we look ourselves whether the caller has been
//! told to stop.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fuser::Errno;
use parking_lot::{Condvar, Mutex};

use super::caller;
use super::slot::{Call, Pending};

/// How often callers and deadlines are looked at while something is pending: what a person who
/// presses Ctrl-C does not notice.
const TICK: Duration = Duration::from_millis(100);

/// Younger requests are not looked at: nearly all are answered before, and a look costs some 30 µs.
const GRACE: Duration = Duration::from_millis(200);

/// When a request has waited long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// So long after it came in.
    Total(Duration),
    /// So long after the upload of the file last got on; a commit takes as long as the file is large.
    Stalled(Duration),
}

/// Why a request was answered with an error over the head of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// The limit has passed: ETIMEDOUT.
    Overdue(Limit),
    /// The caller was told to stop, or is gone: EINTR.
    Interrupted,
}

impl GivenUp {
    /// What the caller is told.
    pub(super) fn errno(self) -> Errno {
        match self {
            Self::Overdue(_) => Errno::ETIMEDOUT,
            Self::Interrupted => Errno::EINTR,
        }
    }
}

/// Refuses a request.
pub(super) type GiveUp = Box<dyn Fn(&dyn Pending, GivenUp) + Send>;

/// What the watchdog knows of the rest.
pub(super) struct Senses {
    /// A number that changes whenever what the request waits for gets on.
    pub(super) progress: Box<dyn Fn(&Call) -> u64 + Send>,
    pub(super) give_up: GiveUp,
}

/// The thread that watches, and its list.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    list: Mutex<List>,
    wake: Condvar,
}

#[derive(Default)]
struct List {
    /// Registered since the last look.
    fresh: Vec<Watched>,
    /// How many were unanswered at the last look.
    old: usize,
    /// The thread waits without an end: it must be woken.
    asleep: bool,
    closed: bool,
}

struct Watched {
    request: Arc<dyn Pending>,
    limit: Limit,
    /// The progress last seen, and when: for [`Limit::Stalled`].
    moved: Option<(u64, Instant)>,
}

impl Watchdog {
    /// Starts the thread `ftpfs-watchdog`; it ends when the watchdog is dropped.
    ///
    /// # Errors
    /// What the system says when it refuses a thread.
    pub(super) fn start(senses: Senses) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watching = Arc::clone(&shared);
        let _detached: JoinHandle<()> = std::thread::Builder::new()
            .name("ftpfs-watchdog".to_owned())
            .spawn(move || watching.run(&senses))?;
        Ok(Self { shared })
    }

    /// Watches a request until it is answered.
    pub(super) fn watch(&self, request: Arc<dyn Pending>, limit: Limit) {
        let mut list = self.shared.list.lock();
        list.fresh.push(Watched {
            request,
            limit,
            moved: None,
        });
        if std::mem::take(&mut list.asleep) {
            drop(list);
            self.shared.wake.notify_one();
        }
    }

    /// Requests were waiting at the last look, or have come since.
    pub(super) fn is_busy(&self) -> bool {
        let list = self.shared.list.lock();
        list.old > 0 || !list.fresh.is_empty()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.list.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn run(&self, senses: &Senses) {
        let mut watched = Vec::new();
        while self.next_tick(&mut watched) {
            let mut look = || check(&mut watched, Instant::now(), senses, caller::gave_up);
            if catch_unwind(AssertUnwindSafe(&mut look)).is_err() {
                log::error!("the watchdog failed by a defect of ftpfs; it goes on");
            }
        }
    }

    /// Waits for the next look and takes over the fresh ones; false at the end.
    fn next_tick(&self, watched: &mut Vec<Watched>) -> bool {
        let mut list = self.list.lock();
        list.old = watched.len();
        if watched.is_empty() {
            while list.fresh.is_empty() && !list.closed {
                list.asleep = true;
                self.wake.wait(&mut list);
            }
            list.asleep = false;
        }
        if !list.closed {
            self.wake.wait_for(&mut list, TICK);
        }
        watched.append(&mut list.fresh);
        list.old = watched.len();
        !list.closed
    }
}

/// One look at all requests: answered ones leave the list, overdue and abandoned ones are refused.
/// `gave_up(thread, committing)` says whether a caller has been told to stop.
fn check(
    watched: &mut Vec<Watched>,
    now: Instant,
    senses: &Senses,
    gave_up: impl Fn(u32, bool) -> bool,
) {
    let mut asked = HashMap::new();
    watched.retain_mut(|one| {
        if !one.request.is_waiting() {
            return false;
        }
        let request = Arc::clone(&one.request);
        let call = request.call();
        let age = now.saturating_duration_since(one.request.since());
        let committing = matches!(one.limit, Limit::Stalled(_));
        let verdict = if one.overdue(now, age, || (senses.progress)(call)) {
            GivenUp::Overdue(one.limit)
        } else if call.caller != 0
            && age >= GRACE
            && *asked
                .entry((call.caller, committing))
                .or_insert_with(|| gave_up(call.caller, committing))
        {
            GivenUp::Interrupted
        } else {
            return true;
        };
        (senses.give_up)(&*request, verdict);
        false
    });
}

impl Watched {
    /// Whether the limit has passed.
    fn overdue(&mut self, now: Instant, age: Duration, progress: impl FnOnce() -> u64) -> bool {
        match self.limit {
            Limit::Total(limit) => age >= limit,
            Limit::Stalled(limit) => {
                let progress = progress();
                match self.moved {
                    Some((seen, at)) if seen == progress => {
                        now.saturating_duration_since(at) >= limit
                    }
                    _ => {
                        self.moved = Some((progress, now));
                        false
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::Claim;
    use super::super::slot::tests::{Told, call};
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    const SECOND: Duration = Duration::from_secs(1);

    fn refuse(request: &dyn Pending, why: GivenUp) {
        request.refuse(why.errno());
    }

    fn deaf() -> Senses {
        Senses {
            progress: Box::new(|_| 0),
            give_up: Box::new(refuse),
        }
    }

    fn watched(claim: &Claim<Told>, limit: Limit) -> Watched {
        Watched {
            request: claim.pending(),
            limit,
            moved: None,
        }
    }

    fn request(caller: u32) -> (Claim<Told>, Receiver<i32>) {
        let (tell, told) = channel();
        (Claim::new(call("read", caller), Told(tell)), told)
    }

    #[test]
    fn refuses_at_the_deadline_and_not_before() {
        let (claim, told) = request(0);
        let mut list = vec![watched(&claim, Limit::Total(10 * SECOND))];
        let start = list[0].request.since();
        check(&mut list, start + 9 * SECOND, &deaf(), |_, _| true);
        assert!(claim.is_waiting());
        check(&mut list, start + 10 * SECOND, &deaf(), |_, _| true);
        assert_eq!(told.try_recv(), Ok(libc::ETIMEDOUT));
        assert!(list.is_empty());
    }

    #[test]
    fn a_commit_lasts_as_long_as_bytes_move() {
        let (claim, told) = request(0);
        let moved = Arc::new(AtomicU64::new(7));
        let seen = Arc::clone(&moved);
        let senses = Senses {
            progress: Box::new(move |_| seen.load(Ordering::Relaxed)),
            give_up: Box::new(refuse),
        };
        let mut list = vec![watched(&claim, Limit::Stalled(10 * SECOND))];
        let start = list[0].request.since();
        for second in 0..100 {
            moved.fetch_add(1, Ordering::Relaxed);
            check(&mut list, start + second * SECOND, &senses, |_, _| false);
        }
        check(&mut list, start + 108 * SECOND, &senses, |_, _| false);
        assert!(claim.is_waiting());
        check(&mut list, start + 109 * SECOND, &senses, |_, _| false);
        assert_eq!(told.try_recv(), Ok(libc::ETIMEDOUT));
    }

    #[test]
    fn asks_about_a_caller_only_when_the_request_is_old_and_once_each() {
        let (young, _young_told) = request(5);
        let (one, one_told) = request(5);
        let (other, other_told) = request(5);
        let (kernel, _kernel_told) = request(0);
        let limit = Limit::Total(100 * SECOND);
        let asked = std::cell::Cell::new(0);
        let ask = |thread, committing| {
            assert_eq!((thread, committing), (5, false));
            asked.set(asked.get() + 1);
            true
        };
        let mut list = vec![watched(&young, limit)];
        let start = list[0].request.since();
        check(&mut list, start, &deaf(), ask);
        assert_eq!(asked.get(), 0);
        let mut list = vec![
            watched(&one, limit),
            watched(&other, limit),
            watched(&kernel, limit),
        ];
        check(&mut list, start + 2 * SECOND, &deaf(), ask);
        assert_eq!(asked.get(), 1);
        assert_eq!(one_told.try_recv(), Ok(libc::EINTR));
        assert_eq!(other_told.try_recv(), Ok(libc::EINTR));
        assert_eq!(list.len(), 1);
        assert!(kernel.is_waiting());
    }

    #[test]
    fn the_thread_answers_and_tells() {
        let (tell, told) = channel();
        let watchdog = Watchdog::start(Senses {
            progress: Box::new(|_| 0),
            give_up: Box::new(move |request, why| {
                refuse(request, why);
                tell.send((request.call().operation, why)).unwrap();
            }),
        })
        .unwrap();
        for _ in 0..2 {
            let (claim, errno) = request(0);
            watchdog.watch(claim.pending(), Limit::Total(Duration::ZERO));
            assert_eq!(errno.recv_timeout(20 * SECOND), Ok(libc::ETIMEDOUT));
            assert_eq!(
                told.recv_timeout(20 * SECOND),
                Ok(("read", GivenUp::Overdue(Limit::Total(Duration::ZERO))))
            );
        }
    }

    #[test]
    fn a_caller_that_is_gone_is_answered() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        let watchdog = Watchdog::start(deaf()).unwrap();
        let (claim, errno) = request(gone);
        watchdog.watch(claim.pending(), Limit::Total(100 * SECOND));
        assert_eq!(errno.recv_timeout(20 * SECOND), Ok(libc::EINTR));
        drop(claim);
    }
}
