//! Threads that may wait: whatever needs the network runs here, never in a kernel callback.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

/// Something to do that may wait for the server.
pub type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of named threads and one queue.
///
/// A job may wait for a session or a socket, never for another job: then the number of threads is
/// a matter of speed, not of deadlock. The queue holds at most what the kernel has asked for
/// (its `max_background`) and one job for each open file.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Workers {
    /// Starts `count` threads named `ftpfs-worker-N`.
    ///
    /// # Errors
    /// What the system says when it refuses a thread.
    pub fn start(count: usize) -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
        });
        let workers = Self {
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        for number in 0..count {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("ftpfs-worker-{number}"))
                .spawn(move || shared.run())?;
            workers.threads.lock().push(thread);
        }
        Ok(Arc::new(workers))
    }

    /// Queues `job`; after [`Workers::close`] it is dropped instead.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue.lock();
        if !queue.closed {
            queue.jobs.push_back(Box::new(job));
            drop(queue);
            self.shared.wake.notify_one();
        }
    }

    /// Drops what is queued and ends the threads as soon as their present jobs are done.
    pub fn close(&self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        let unstarted = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(unstarted);
        self.shared.wake.notify_all();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(job) = self.next() {
            // A panic must not take the thread with it, nor the data of all the other files. The
            // job's reply is dropped while unwinding, which answers EIO.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                log::error!("a request failed by a defect of ftpfs; it was answered with EIO");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }
}

type StillWaits = Rc<dyn Fn() -> bool>;

thread_local! {
    /// Says whether the program for which this thread works still waits.
    static ASKER: RefCell<Option<StillWaits>> = const { RefCell::new(None) };
    /// What is sent now is for that program alone.
    static FOR_ASKER: Cell<bool> = const { Cell::new(false) };
}

/// Does `job` for a program that may be told of a failure before the job is done; `still_waits` says whether it has not
/// been.
pub fn for_asker<R>(still_waits: impl Fn() -> bool + 'static, job: impl FnOnce() -> R) -> R {
    struct Reset(Option<StillWaits>);
    impl Drop for Reset {
        fn drop(&mut self) {
            ASKER.set(self.0.take());
        }
    }
    let _reset = Reset(ASKER.replace(Some(Rc::new(still_waits))));
    job()
}

/// Whether the program for which this thread works still waits; true where it works for none in particular.
pub fn is_asked() -> bool {
    let asker = ASKER.with_borrow(Clone::clone);
    asker.is_none_or(|still_waits| still_waits())
}

/// What `send` has not sent when the program is told of a failure is not sent any more: what has failed does not
/// happen later.
pub fn only_if_asked<R>(send: impl FnOnce() -> R) -> R {
    within(true, send)
}

/// Within [`only_if_asked`]: what has begun is brought to its end.
pub fn regardless<R>(send: impl FnOnce() -> R) -> R {
    within(false, send)
}

fn within<R>(for_asker: bool, send: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            FOR_ASKER.set(self.0);
        }
    }
    let _reset = Reset(FOR_ASKER.replace(for_asker));
    send()
}

/// Whether a command may leave now.
pub fn may_send() -> bool {
    !FOR_ASKER.get() || is_asked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn runs_jobs_and_survives_a_panic() {
        let workers = Workers::start(1).unwrap();
        let (done, finished) = mpsc::channel();
        workers.spawn(|| panic!("a defect"));
        workers.spawn(move || done.send(1).unwrap());
        assert_eq!(finished.recv_timeout(Duration::from_secs(10)), Ok(1));
    }

    #[test]
    fn drops_jobs_after_close() {
        let workers = Workers::start(1).unwrap();
        workers.close();
        let (done, finished) = mpsc::channel::<()>();
        workers.spawn(move || done.send(()).unwrap());
        assert_eq!(
            finished.recv_timeout(Duration::from_secs(10)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
