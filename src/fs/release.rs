//! The end of an open file: the last descriptor goes, and what is dirty is brought to the server.

use std::sync::Arc;

use super::FtpFs;
use super::open_file::OpenFile;

impl FtpFs {
    /// The last descriptor is gone. Never waits; what is still dirty is committed by a worker.
    pub fn release(self: &Arc<Self>, handle: u64) {
        let Some(handle) = self.files.lock().handles.remove(&handle) else {
            return;
        };
        let file = Arc::clone(&handle.file);
        let unfinished = {
            let mut state = file.state.lock();
            state.handles = state.handles.saturating_sub(1);
            if handle.writable {
                state.writable = state.writable.saturating_sub(1);
            }
            state.is_unfinished()
        };
        if unfinished && self.writes_back() {
            self.pending.queue(&file);
        } else if unfinished {
            let fs = Arc::clone(self);
            self.workers.spawn(move || fs.finish(&file));
        } else {
            self.retire(&file);
        }
    }

    /// A job: commits what nobody has open for writing any more.
    fn finish(&self, file: &Arc<OpenFile>) {
        loop {
            if let Err(error) = self.commit(file) {
                self.keep_unsaved(file, &error);
            }
            // Something was changed by name (truncate) while the commit was under way.
            if !file.state.lock().is_unfinished() {
                break;
            }
        }
        self.retire(file);
    }

    /// Lets go of a writer that is no longer wanted, and of the file after its last handle.
    pub(super) fn retire(&self, file: &Arc<OpenFile>) {
        let mut files = self.files.lock();
        let mut state = file.state.lock();
        let clean = state
            .writer
            .as_ref()
            .is_some_and(|writer| !writer.is_dirty());
        let mut gone = Vec::new();
        // What a nameless file holds is nowhere else.
        let only_copy = state.leaving && state.handles > 0;
        if state.writable == 0 && clean && !only_copy {
            state.entry = state.shown();
            gone.extend(state.writer.take());
        }
        let last = state.handles == 0 && state.writer.is_none();
        if last
            && files
                .by_inode
                .get(&file.ino)
                .is_some_and(|known| Arc::ptr_eq(known, file))
        {
            files.by_inode.remove(&file.ino);
            drop(state);
            drop(files);
            self.inodes.lock().unpin(file.ino);
            if let Some(reader) = file.reader() {
                reader.reclaim();
            }
        }
    }
}
