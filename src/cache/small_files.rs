//! `SmallFiles`: small files read one after the other, in the order of the listing, are fetched ahead.
//!
//! `cat *`, `grep -r`, `tar` and `cp -r` do that. Each file costs its round trips however small it is, but they can be
//! spent on all sessions at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::ftp::RemotePath;
use crate::remote::{FileVersion, Remote};
use crate::workers::Workers;

/// Larger ones are worth a stream of their own. Bytes.
pub const SMALL: usize = 128 << 10;

/// What was fetched is shown as the present for this long.
const FRESH: Duration = Duration::from_secs(1);

/// Bytes fetched and not yet opened.
const MAX_BYTES: usize = 4 << 20;

/// A reader who leaves out a few files is still one.
const NEAR: usize = 8;

/// Two steps may be chance.
const STEPS: u32 = 2;

/// So many files are fetched ahead at first, and at most.
const FIRST: usize = 4;
const MOST: usize = 32;

/// After wrong guesses nothing is fetched ahead for this long.
const PAUSE: Duration = Duration::from_secs(30);

/// Directories in which somebody may be reading.
const MAX_WALKS: usize = 8;

/// What was fetched of a file.
#[derive(Debug)]
pub struct Fetched {
    /// As the server told it directly before the bytes.
    pub version: FileVersion,
    /// All of them.
    pub content: Vec<u8>,
    /// What the asker gave with the plan.
    pub moment: u64,
    asked: Instant,
}

/// What is known of a file that is opened.
#[derive(Debug)]
pub enum Ahead {
    /// It was not fetched.
    Unknown,
    /// It is on its way.
    Underway,
    /// It is here.
    Here(Fetched),
}

/// Small files fetched before they are opened.
#[derive(Debug)]
pub struct SmallFiles {
    remote: Arc<Remote>,
    workers: Arc<Workers>,
    fresh: Duration,
    /// Held for moments, never over the network.
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while it is on its way.
    held: HashMap<RemotePath, Option<Fetched>>,
    plan: VecDeque<(RemotePath, u64)>,
    running: usize,
    walks: VecDeque<Walk>,
    /// How often the guess was right, and wrong.
    used: usize,
    unused: usize,
    paused: Option<Instant>,
}

/// Somebody who opens small files of one directory.
#[derive(Debug)]
struct Walk {
    dir: RemotePath,
    /// The names behind the last one opened.
    near: Vec<Vec<u8>>,
    steps: u32,
    depth: usize,
    last: Instant,
    /// From one open to the next, lately.
    pace: Duration,
}

impl SmallFiles {
    /// Nothing is fetched yet. Nothing older than `max_age` is ever shown.
    pub fn new(remote: Arc<Remote>, workers: Arc<Workers>, max_age: Duration) -> Arc<Self> {
        Arc::new(Self {
            remote,
            workers,
            fresh: FRESH.min(max_age),
            state: Mutex::default(),
            arrived: Condvar::new(),
        })
    }

    /// Takes what was fetched of `path`. Does not wait.
    pub fn take(&self, path: &RemotePath) -> Ahead {
        let taken = self.state.lock().take(path, self.fresh);
        self.count(&taken);
        taken
    }

    fn count(&self, taken: &Ahead) {
        if matches!(taken, Ahead::Here(_)) {
            self.remote.board().files_ahead_used.one();
        }
    }

    /// Forgets what was fetched, and what is to be.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.plan.clear();
        state.held.retain(|_, held| held.is_none());
    }

    /// As [`SmallFiles::take`]; waits for one that is on its way, until `deadline`.
    pub fn take_arrived(&self, path: &RemotePath, deadline: Instant) -> Option<Fetched> {
        let mut state = self.state.lock();
        loop {
            let taken = state.take(path, self.fresh);
            self.count(&taken);
            match taken {
                Ahead::Here(fetched) => return Some(fetched),
                Ahead::Unknown => return None,
                Ahead::Underway => {
                    if self.arrived.wait_until(&mut state, deadline).timed_out() {
                        return None;
                    }
                }
            }
        }
    }

    /// A small file was opened; `behind` are those that follow in its directory, as far as [`SmallFiles::most`].
    /// If files are being read in this order, some of them are fetched now. `moment` comes back with them.
    pub fn opened(self: &Arc<Self>, path: &RemotePath, behind: &[RemotePath], moment: u64) {
        let Some(dir) = path.parent() else { return };
        let connections = self.remote.connections().allowed;
        let mut state = self.state.lock();
        let depth = state.step(dir, path.name(), behind, self.fresh);
        state.forget_the_old(self.fresh);
        if depth == 0 || connections < 2 || self.fresh.is_zero() || state.is_paused() {
            return;
        }
        let mut planned = 0;
        for next in behind.iter().take(depth) {
            if !state.held.contains_key(next) && !state.plan.iter().any(|(path, _)| path == next) {
                state.plan.push_back((next.clone(), moment));
                planned += 1;
            }
        }
        for _ in 0..planned.min(connections.saturating_sub(state.running)) {
            state.running += 1;
            let files = Arc::clone(self);
            self.workers.spawn(move || files.fetch());
        }
    }

    /// How many names behind an opened one are of use.
    pub const fn most() -> usize {
        MOST
    }

    /// The job: fetches what is planned, until nothing is, or others wait for a session.
    fn fetch(&self) {
        // Declared before the lock's guard: it locks again when it is dropped.
        let _end = RunsNoMore(self);
        let mut state = self.state.lock();
        loop {
            if self.remote.is_contended() || state.bytes() > MAX_BYTES {
                state.plan.clear();
            }
            let Some((path, moment)) = state.plan.pop_front() else {
                break;
            };
            state.held.insert(path.clone(), None);
            let asked = Instant::now();
            let found = MutexGuard::unlocked(&mut state, || {
                self.remote.small_file(&path, SMALL).inspect_err(|error| {
                    log::debug!("{path}: not fetched ahead: {error}");
                })
            });
            let mut found = found.ok().flatten();
            let content = found.as_mut().and_then(|file| file.content.take());
            match (&found, content) {
                (Some(file), Some(content)) => {
                    let version = file.version;
                    let fetched = Fetched {
                        version,
                        content,
                        moment,
                        asked,
                    };
                    state.held.insert(path, Some(fetched));
                    self.remote.board().files_ahead.one();
                }
                _ => {
                    state.held.remove(&path);
                }
            }
            self.arrived.notify_all();
            // The session is busy until then anyway.
            MutexGuard::unlocked(&mut state, || {
                if let Some(file) = &mut found {
                    file.settle();
                }
            });
        }
    }
}

struct RunsNoMore<'a>(&'a SmallFiles);

impl Drop for RunsNoMore<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.running -= 1;
        if state.running == 0 {
            // Also those of a job that died by a defect.
            state.held.retain(|_, held| held.is_some());
        }
        self.0.arrived.notify_all();
    }
}

impl State {
    fn take(&mut self, path: &RemotePath, fresh: Duration) -> Ahead {
        // What no job has begun is not waited for.
        self.plan.retain(|(planned, _)| planned != path);
        match self.held.get(path) {
            None => Ahead::Unknown,
            Some(None) => Ahead::Underway,
            Some(Some(_)) => match self.held.remove(path).flatten() {
                Some(fetched) if fetched.asked.elapsed() <= fresh => {
                    self.used += 1;
                    Ahead::Here(fetched)
                }
                _ => {
                    self.unused += 1;
                    Ahead::Unknown
                }
            },
        }
    }

    /// How many files are to be ahead of this one.
    fn step(
        &mut self,
        dir: RemotePath,
        name: &[u8],
        behind: &[RemotePath],
        fresh: Duration,
    ) -> usize {
        let near = || behind.iter().take(NEAR).map(|path| path.name().to_vec());
        if let Some(at) = self.walks.iter().position(|walk| walk.dir == dir)
            && let Some(mut walk) = self.walks.remove(at)
        {
            if walk.near.iter().any(|known| known == name) {
                walk.steps = walk.steps.saturating_add(1);
                walk.pace = (walk.pace * 3 + walk.last.elapsed()) / 4;
                if walk.steps >= STEPS {
                    walk.depth = (walk.depth * 2).clamp(FIRST, MOST);
                }
            } else {
                (walk.steps, walk.depth) = (0, 0);
            }
            walk.last = Instant::now();
            walk.near = near().collect();
            // What lies too long would be fetched in vain.
            let in_time = fresh.as_micros() / 2 / walk.pace.as_micros().max(1);
            let depth = walk.depth.min(usize::try_from(in_time).unwrap_or(MOST));
            self.walks.push_back(walk);
            return depth;
        }
        if self.walks.len() >= MAX_WALKS {
            self.walks.pop_front();
        }
        self.walks.push_back(Walk {
            dir,
            near: near().collect(),
            steps: 0,
            depth: 0,
            last: Instant::now(),
            pace: Duration::ZERO,
        });
        0
    }

    fn forget_the_old(&mut self, fresh: Duration) {
        let before = self.held.len();
        self.held.retain(|_, held| {
            held.as_ref()
                .is_none_or(|fetched| fetched.asked.elapsed() <= fresh)
        });
        self.unused += before - self.held.len();
        // Nine of ten have to be right, once there is something to judge by.
        if self.unused > MOST && self.unused * 10 > self.used {
            log::debug!("files are read in another order than expected");
            self.paused = Some(Instant::now() + PAUSE);
            (self.used, self.unused) = (0, 0);
        }
    }

    fn is_paused(&self) -> bool {
        self.paused.is_some_and(|until| Instant::now() < until)
    }

    fn bytes(&self) -> usize {
        let held = self.held.values().flatten();
        held.map(|fetched| fetched.content.len()).sum()
    }
}
