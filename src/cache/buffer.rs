//! `Buffer`: memory of a block that is used again for another one. The system maps, clears and unmaps fresh
//! memory page by page, which takes longer than the bytes themselves need.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

use super::block::BLOCK_BYTES;

/// So many unused ones are kept: what one reader, its cache being full, gives back and takes.
const SPARE: usize = 16;

/// Unused buffers of one block each.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Taken alone, for a moment.
    spare: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    /// `length` bytes, at most a block's; what they hold is left of somebody else, or zeros.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let spare = self.spare.lock().pop();
        let bytes = spare.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice());
        Buffer {
            length: length.min(bytes.len()),
            bytes,
            home: Some(Arc::clone(self)),
        }
    }
}

/// Bytes of a block, or of a part of it.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
    /// Where the memory goes afterwards.
    home: Option<Arc<Buffers>>,
}

impl Buffer {
    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// For keeping: a few bytes do not hold the memory of many.
    pub(super) fn kept(self) -> Self {
        if self.home.is_some() && self.length < self.bytes.len() / 2 {
            Self::from(self.to_vec())
        } else {
            self
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            length: bytes.len(),
            bytes: bytes.into_boxed_slice(),
            home: None,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let mut spare = home.spare.lock();
            if spare.len() < SPARE {
                spare.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_no_more_than_some_is_kept() {
        let buffers = Arc::new(Buffers::default());
        let all: Vec<_> = (0..2 * SPARE).map(|_| buffers.take(BLOCK_BYTES)).collect();
        drop(all);
        assert_eq!(buffers.spare.lock().len(), SPARE);
        let mut one = buffers.take(10);
        assert_eq!((one.len(), buffers.spare.lock().len()), (10, SPARE - 1));
        one.truncate(3);
        one.copy_from_slice(b"abc");
        let kept = one.kept();
        assert_eq!(
            (&kept[..], buffers.spare.lock().len()),
            (&b"abc"[..], SPARE)
        );
    }
}
