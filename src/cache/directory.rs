//! `Directory`: what is known of one directory, and who is asking.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::listing::{Entries, Remembered};
use crate::remote::{ErrorKind, RemoteError};

/// A directory of the server. Threads that want its listing at the same time share one request.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Guards one directory's entries; never held over the network.
    pub(super) state: Mutex<State>,
    /// A request has ended.
    pub(super) loaded: Condvar,
}

/// What is known of a directory.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) known: Option<Known>,
    /// The directory inside where somebody went last.
    pub(super) onward: Option<Vec<u8>>,
    /// Present while a thread asks the server: our own changes since it began.
    pub(super) loading: Option<Vec<Change>>,
    /// How many requests have ended, and how the last one did.
    pub(super) requests: u64,
    pub(super) failure: Option<Arc<RemoteError>>,
}

/// A listing.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) entries: Entries,
    /// When the server was asked.
    pub(super) asked: Instant,
    /// The same by the wall clock.
    pub(super) fetched: SystemTime,
    /// Nobody has looked at it: it was listed on a guess.
    pub(super) ahead: bool,
    /// The server has contradicted it since.
    pub(super) expired: bool,
}

/// One of our own changes to a directory, after the server has confirmed it.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Box<Remembered>),
    /// Of an entry that is known.
    Edit(Vec<u8>, Edit),
    Remove(Vec<u8>),
}

/// What makes an entry what it is now.
#[derive(Clone)]
pub(super) struct Edit(pub(super) Arc<dyn Fn(&mut Remembered) + Send + Sync>);

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edit")
    }
}

impl Known {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Change {
    fn apply(self, entries: &mut Entries) {
        match self {
            Self::Put(remembered) => {
                entries.insert(remembered.entry.name.clone(), *remembered);
            }
            Self::Edit(name, Edit(edit)) => {
                entries
                    .get_mut(&name)
                    .into_iter()
                    .for_each(|found| edit(found));
            }
            Self::Remove(name) => {
                entries.remove(&name);
            }
        }
    }
}

/// A listing as it is remembered, and when the server was asked.
pub(super) type Loaded = (Entries, SystemTime);

impl State {
    pub(super) fn is_unlisted(&self, max_age: Duration) -> bool {
        let fresh = |known: &Known| !known.expired && known.asked.elapsed() <= max_age;
        self.loading.is_none() && !self.known.as_ref().is_some_and(fresh)
    }
}

impl Directory {
    /// One that was just made.
    pub(super) fn empty() -> Self {
        let known = Known {
            entries: Entries::new(),
            asked: Instant::now(),
            fetched: SystemTime::now(),
            ahead: false,
            expired: false,
        };
        let state = State {
            known: Some(known),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            loaded: Condvar::new(),
        }
    }

    /// Our own change. Whether a name came or went, as far as the names are known.
    pub(super) fn change(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        if let Some(log) = &mut state.loading {
            log.push(change.clone());
        }
        let Some(known) = &mut state.known else {
            return false;
        };
        let names = known.entries.len();
        change.apply(&mut known.entries);
        known.entries.len() != names
    }

    /// Whether nothing is known of it that is at most `max_age` old, and nobody is asking.
    pub(super) fn is_unlisted(&self, max_age: Duration) -> bool {
        self.state.lock().is_unlisted(max_age)
    }

    /// Whoever gets true asks the server now.
    pub(super) fn claim(&self, max_age: Duration) -> bool {
        let mut state = self.state.lock();
        let free = state.is_unlisted(max_age);
        if free {
            state.loading = Some(Vec::new());
        }
        free
    }

    /// The answer of the server is here: whoever waits for it may go on.
    pub(super) fn arrived(
        &self,
        outcome: Result<Loaded, RemoteError>,
        asked: Instant,
        ahead: bool,
    ) {
        let mut state = self.state.lock();
        let changes = state.loading.take().unwrap_or_default();
        state.requests += 1;
        match outcome {
            Ok((mut entries, fetched)) => {
                changes
                    .into_iter()
                    .for_each(|change| change.apply(&mut entries));
                state.known = Some(Known {
                    entries,
                    asked,
                    fetched,
                    ahead,
                    expired: false,
                });
                state.failure = None;
            }
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    state.known = None;
                }
                state.failure = Some(Arc::new(error));
            }
        }
        self.loaded.notify_all();
    }
}

/// Loading that ends without an answer, by a defect or because a guess was not answered, must not leave
/// the others waiting for ever: they ask themselves.
pub(super) struct EndLoading<'a>(pub(super) &'a Directory);

impl Drop for EndLoading<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.loading = None;
        state.failure = None;
        state.requests += 1;
        self.0.loaded.notify_all();
    }
}
