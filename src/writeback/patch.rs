//! Which way a commit goes, and the way of a few ranges into a large file.

use std::time::{Duration, Instant, SystemTime};

use super::commit::{Arrived, Snapshot, Way};
use super::send::refuses_the_name;
use super::state::State;
use super::writer::{FileWriter, Stream};
use super::{NameUse, WriteError};
use crate::ftp::RemotePath;
use crate::remote::{FileVersion, RemoteError, Upload, UploadMode};

/// What a range costs beside its bytes: three round trips and a slow start, as bytes that a
/// whole upload would have sent in that time.
const RANGE_COST: u64 = 256 << 10;

/// How far the server's clock may be from ours.
pub(super) const SKEW: Duration = Duration::from_secs(120);

/// How long a range may take to arrive, as far as those can know who find that nobody heard of its end: so long, and
/// a second for so many bytes.
const LASTS: Duration = Duration::from_secs(120);
const BYTES_PER_SECOND: u64 = 1_000_000;

/// Ranges were patched and did not all arrive. What the server has then is ours in places, and of a time that nobody
/// was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patched {
    /// The time of the file before that.
    pub(super) before: Option<SystemTime>,
    /// When the first byte may have arrived.
    pub(super) since: SystemTime,
    /// When the last one had been sent.
    pub(super) until: SystemTime,
}

impl Patched {
    /// Whether that is what the server still has, as far as its time tells.
    pub(super) fn may_be(self, now: FileVersion) -> bool {
        let Some(time) = now.modified else {
            return true;
        };
        let as_before = FileVersion {
            modified: self.before,
            ..now
        };
        let late = |time: SystemTime| time.checked_add(SKEW);
        self.before.is_some() && as_before.agrees_with(now)
            || late(time).is_none_or(|time| time >= self.since)
                && late(self.until).is_none_or(|until| time <= until)
    }
}

impl State {
    /// The cheapest way that loses nothing.
    pub(super) fn way(&self) -> Way {
        if !self.is_content_dirty() {
            return Way::Attributes;
        }
        let Some(base) = self.base else {
            return Way::Whole;
        };
        let unchanged =
            !self.resized && !self.append_unsure && base.size > 0 && self.base_valid == base.size;
        if !unchanged || self.size < base.size {
            return Way::Whole;
        }
        if self.dirty.first() == Some(base.size) {
            return Way::Append;
        }
        let patch: u64 = self
            .dirty
            .iter()
            .map(|r| r.end - r.start + RANGE_COST)
            .sum();
        let missing = self.missing(0..self.size);
        let whole = self.size + missing.iter().map(|r| r.end - r.start).sum::<u64>();
        // Twice as cheap at least: patching in place is not atomic. Byte 0 cannot be patched: STOR
        // without an offset, or with `REST 0`, makes the file anew.
        let pays = patch.saturating_mul(2) <= whole;
        if pays && self.dirty.first() != Some(0) {
            Way::Patch
        } else {
            Way::Whole
        }
    }
}

impl FileWriter {
    /// Only the ranges that changed, each by REST and STOR. Where the server does not do that as it
    /// should, the whole file.
    pub(super) fn patch_dirty(
        &self,
        stream: &mut Stream,
        snapshot: &Snapshot,
    ) -> Result<Arrived, WriteError> {
        let remote = &self.context.remote;
        let Some(base) = snapshot.base else {
            return self.store_whole(stream, snapshot);
        };
        self.give_up(stream);
        let commit = |stream: &mut Stream, patches| {
            if patches {
                self.patch_ranges(snapshot, base)
            } else {
                self.store_whole(stream, snapshot)
            }
        };
        if let Some(known) = remote.patches_in_place() {
            return commit(stream, known);
        }
        let scratch = self.context.temporary.beside(&snapshot.path);
        self.context.journal.begins(&scratch, NameUse::Upload);
        let tried = remote.try_patching(&scratch);
        if let Err(error) = &tried {
            log::debug!("whether the server patches in place is unknown: {error}");
        }
        let refuses = |e: &RemoteError| e.refused_verb() == Some("STOR") && refuses_the_name(e);
        let not_made = tried.as_ref().is_err_and(refuses);
        std::thread::scope(|threads| {
            // It has gone when this returns: its folder may be removed next.
            let removing = std::thread::Builder::new()
                .name("ftpfs-scratch".into())
                .spawn_scoped(threads, || self.remove_scratch(&scratch, not_made));
            if let Err(e) = removing {
                log::debug!("no thread: {e}");
                self.remove_scratch(&scratch, not_made);
            }
            commit(stream, tried.unwrap_or(false))
        })
    }

    /// Nobody is told that it is left, where it was most likely never there.
    fn remove_scratch(&self, scratch: &RemotePath, not_made: bool) {
        if !not_made {
            self.context.remove(scratch);
            return;
        }
        if let Err(error) = self.context.remote.remove_file(scratch) {
            log::debug!("{scratch}: {error}");
        }
        self.context.journal.ends(scratch);
    }

    fn patch_ranges(&self, snapshot: &Snapshot, base: FileVersion) -> Result<Arrived, WriteError> {
        let remote = &self.context.remote;
        let mut version = base;
        let mut untouched = true;
        let began = SystemTime::now();
        let mut noted: Option<Instant> = None;
        for range in snapshot.dirty.iter() {
            let mode = UploadMode::Patch {
                offset: range.start,
                size: version.size,
            };
            let opened = if std::mem::take(&mut untouched) {
                Ok(self.open_onto(&snapshot.path, mode, base)?)
            } else {
                Upload::open(remote, &snapshot.path, mode).map_err(WriteError::from)
            };
            if let Ok(upload) = &opened {
                *self.progress.lock() = upload.progress();
            }
            let outcome = opened.and_then(|mut upload| {
                if noted.is_none_or(|noted| noted.elapsed() > LASTS / 2) {
                    let bytes = range.end - range.start;
                    if let Err(error) = self.may_be_patched(began, bytes) {
                        upload.end_untouched();
                        return Err(error);
                    }
                    noted = Some(Instant::now());
                }
                self.send_range(&mut upload, range)?;
                Ok(upload.finish()?)
            });
            match outcome {
                Ok(patched) => version = patched,
                // The local disk did not take the note.
                Err(error) if noted.is_none() => return Err(error),
                Err(error) => return Err(self.after_failed_patch(snapshot, began, error)),
            }
        }
        Ok(Arrived::in_place(version))
    }

    /// Ranges are about to arrive, and with the first byte the file has another time.
    fn may_be_patched(&self, began: SystemTime, bytes: u64) -> Result<(), WriteError> {
        let noted = self.note_before(|sidecar| {
            let Some(base) = &mut sidecar.base else {
                return;
            };
            let earlier = sidecar.patched;
            sidecar.patched = Some(Patched {
                before: earlier.map_or(base.modified, |earlier| earlier.before),
                since: earlier.map_or(began, |earlier| earlier.since),
                until: SystemTime::now() + LASTS + Duration::from_secs(bytes / BYTES_PER_SECOND),
            });
            base.modified = None;
        });
        noted.map(drop)
    }

    /// The file is old in places and new in others, by our own hand: its time tells nothing any more.
    /// All that is new is staged and dirty, so the next commit makes it whole again.
    fn after_failed_patch(
        &self,
        snapshot: &Snapshot,
        began: SystemTime,
        error: WriteError,
    ) -> WriteError {
        {
            let mut state = self.state.lock();
            let earlier = state.patched;
            state.patched = Some(Patched {
                before: match earlier {
                    Some(earlier) => earlier.before,
                    None => snapshot.base.and_then(|base| base.modified),
                },
                since: earlier.map_or(began, |earlier| earlier.since),
                until: SystemTime::now(),
            });
        }
        let before = snapshot.base_valid;
        match self.context.remote.version(&snapshot.path) {
            Ok(now) if (before..=snapshot.size).contains(&now.size) => {
                self.state.lock().base = Some(FileVersion {
                    modified: None,
                    ..now
                });
            }
            Ok(now) => log::warn!(
                "{}: {error}; the server has {} bytes instead of at least {before}",
                snapshot.path,
                now.size
            ),
            Err(lost) => {
                log::info!(
                    "{}: {error}; what the server has now is unknown: {lost}",
                    snapshot.path
                );
                if let Some(base) = &mut self.state.lock().base {
                    base.modified = None;
                }
            }
        }
        error
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "sets of one range are meant"
)]
pub(super) mod tests {
    use super::*;
    use crate::writeback::ByteRanges;
    use crate::writeback::staging::{StagingArea, StagingFile};

    const M: u64 = 1 << 20;

    pub(in crate::writeback) fn state(base: u64, dirty: &[std::ops::Range<u64>]) -> State {
        let area = StagingArea::new(std::env::temp_dir());
        let mut ranges = ByteRanges::default();
        dirty.iter().for_each(|r| ranges.insert(r.clone()));
        let size = ranges.iter().map(|r| r.end).max().unwrap_or(0).max(base);
        State {
            path: RemotePath::root(),
            staging: StagingFile::new(&area).unwrap(),
            staged: ranges.clone(),
            dirty: ranges,
            committing: false,
            resized: false,
            size,
            base: Some(FileVersion {
                size: base,
                modified: None,
            }),
            is_link: false,
            exists: true,
            base_valid: base,
            touched: true,
            supersedes_kept: false,
            seen_free: None,
            begun_in_place: false,
            replaced: None,
            in_doubt: false,
            noted_whole: false,
            seen_there: None,
            conflicted: false,
            discarded: false,
            sent: 0,
            append_unsure: false,
            patched: None,
            guarded: false,
            spoiled: false,
            chasing: false,
            chased_in_vain: false,
            modified: SystemTime::now(),
            set_modified: None,
            mode: None,
            mode_pending: false,
        }
    }

    #[test]
    fn the_way_follows_from_what_is_dirty() {
        let cases: [(u64, &[std::ops::Range<u64>], Way); 8] = [
            (10, &[10..20], Way::Append),
            (64 * M, &[64 * M..64 * M + 1], Way::Append),
            (10, &[9..20], Way::Whole),
            (64 * M, &[M..M + 4096], Way::Patch),
            (64 * M, &[1..2, 64 * M - 1..64 * M + 5], Way::Patch),
            (64 * M, &[0..1, M..M + 1], Way::Whole),
            (64 * M, &[0..60 * M], Way::Whole),
            (0, &[0..5], Way::Whole),
        ];
        for (base, dirty, expected) in cases {
            assert_eq!(
                state(base, dirty).way(),
                expected,
                "{base} bytes, dirty {dirty:?}"
            );
        }
        let mut unsure = state(64 * M, &[64 * M..64 * M + 1]);
        unsure.append_unsure = true;
        assert_eq!(unsure.way(), Way::Whole, "APPE is not repeated");
        let mut cut = state(64 * M, &[M..M + 4096]);
        (cut.base_valid, cut.resized) = (M, true);
        assert_eq!(cut.way(), Way::Whole);
        let mut new = state(64 * M, &[M..M + 4096]);
        new.base = None;
        assert_eq!(new.way(), Way::Whole);
    }
}
