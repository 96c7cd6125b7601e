//! The job of a `FileReader`: it answers those who wait, and reads ahead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ReadaheadWindow;
use super::reader::{FileReader, ReadError, State, Waiter};
use super::stream::{READ_THROUGH, Stream};

/// Where somebody else waits for a session, a stream that has delivered this much gives its own up.
const QUANTUM: u64 = 1 << 20;

impl FileReader {
    pub(super) fn start_filling(self: &Arc<Self>, state: &mut State) {
        if !state.filling {
            state.filling = true;
            let reader = Arc::clone(self);
            self.context.workers.spawn(move || reader.fill());
        }
    }

    /// The job: serves waiters and reads ahead until there is nothing to do.
    fn fill(self: &Arc<Self>) {
        // If this job dies by a defect, waiters must not wait for it for ever.
        let _guard = FailOnUnwind(self);
        let mut stream = self.stream.lock();
        while let Some(goal) = self.next_goal(&mut stream) {
            if let Err(error) = self.fetch(&mut stream, goal) {
                self.fail_all(&error);
            }
        }
        stream.forget_last();
        drop(stream);
        // Who retired it meanwhile found the stream taken.
        if self.is_retired() {
            self.reclaim();
        }
    }

    /// Answers everyone who has all his bytes, and says which byte is wanted next.
    fn next_goal(self: &Arc<Self>, stream: &mut Stream) -> Option<u64> {
        let mut state = self.state.lock();
        let complete = self.take_complete(&mut state, Some(stream));
        if !complete.is_empty() {
            drop(state);
            let verdict = self.verdict(stream);
            self.answer(complete, &verdict);
            self.finish_at_end(stream);
            state = self.state.lock();
        }
        let contended = self.context.remote.is_contended();
        if contended {
            state.segments.give_up_parked();
        } else {
            self.look_at_pace(&mut state);
        }
        // Those whose bytes other streams fetch are served by them.
        let own = |waiter: &Waiter| {
            let need = stream.end_of_known(waiter.need());
            (!state.segments.cover(need)).then_some(need)
        };
        if let Some(first) = state.waiters.iter().find_map(own) {
            let near = first.saturating_sub(2 * READ_THROUGH)..=first;
            let needs = state.waiters.iter().filter_map(own);
            let goal = needs.filter(|need| near.contains(need)).min();
            if contended && stream.delivered >= QUANTUM {
                self.give_up(stream);
            }
            return goal.inspect(|goal| state.segments.begin_own(*goal));
        }
        let retired = self.is_retired();
        if !contended
            && !retired
            && !state.detached
            && let Some(gap) = self.next_gap(&mut state, stream)
        {
            state.segments.begin_own(gap);
            return Some(gap);
        }
        if state.waiters.is_empty() {
            state.segments.rest();
        }
        if contended || retired {
            self.give_up(stream);
        }
        state.filling = false;
        None
    }

    /// Those who wait and have all their bytes by now, or all that there are.
    pub(super) fn take_complete(&self, state: &mut State, stream: Option<&Stream>) -> Vec<Waiter> {
        let mut complete = Vec::new();
        let mut waiting = VecDeque::with_capacity(state.waiters.len());
        for mut waiter in std::mem::take(&mut state.waiters) {
            self.advance_locked(state, &mut waiter, stream);
            let at_end = state.end.is_some_and(|end| waiter.need() >= end);
            if waiter.missing() == 0 || at_end {
                complete.push(waiter);
            } else {
                waiting.push_back(waiter);
            }
        }
        state.waiters = waiting;
        complete
    }

    pub(super) fn answer(&self, complete: Vec<Waiter>, verdict: &Result<(), ReadError>) {
        self.delivered.fetch_or(verdict.is_ok(), Ordering::Relaxed);
        for waiter in complete {
            match verdict {
                Ok(()) => {
                    self.count_read(waiter.has());
                    waiter.answer();
                }
                Err(error) => waiter.fail(error.clone()),
            }
        }
    }

    /// The first byte that the window wants and memory does not have.
    fn next_gap(&self, state: &mut State, stream: &Stream) -> Option<u64> {
        let target = self.target(state);
        let mut at = state.fetched.max(state.window.front());
        while at < target {
            if let Some(end) = state.segments.end_of(at) {
                at = end;
                continue;
            }
            match self.known_length(at, Some(stream)) {
                0 => {
                    state.fetched = at;
                    return Some(at);
                }
                n => at += n,
            }
        }
        state.fetched = at;
        None
    }

    pub(super) fn known_length(&self, at: u64, stream: Option<&Stream>) -> u64 {
        if let Some(bytes) = stream.and_then(|stream| stream.bytes(at, usize::MAX)) {
            return bytes.len() as u64;
        }
        let block = self.context.blocks.get(self.content, at);
        block
            .and_then(|b| b.bytes(at, usize::MAX).map(|bytes| bytes.len() as u64))
            .unwrap_or(0)
    }

    fn fail_all(&self, error: &ReadError) {
        let waiters = std::mem::take(&mut self.state.lock().waiters);
        for waiter in waiters {
            waiter.fail(error.clone());
        }
        // Reading ahead has no one to tell; it is tried again when somebody waits.
        let mut state = self.state.lock();
        state.fetched = u64::MAX;
        let front = state.window.front();
        state.window = ReadaheadWindow::new(self.context.readahead);
        state.window.record(front, 0);
    }
}

struct FailOnUnwind<'a>(&'a FileReader);

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state.lock();
            state.filling = false;
            drop(std::mem::take(&mut state.waiters));
        }
    }
}
