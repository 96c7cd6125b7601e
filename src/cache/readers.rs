//! The memory for blocks, by itself: for benches.

use super::{BlockCache, ContentId};

/// Keeps `data`, which begins at `offset` and stays within one block.
pub fn keep(cache: &BlockCache, content: ContentId, offset: u64, data: Vec<u8>) {
    cache.insert(content, offset, data);
}

/// How many bytes from `offset` on, at most `length`, one block answers; `None` if the first is not
/// known.
pub fn known(cache: &BlockCache, content: ContentId, offset: u64, length: usize) -> Option<usize> {
    let block = cache.get(content, offset)?;
    block.bytes(offset, length).map(<[u8]>::len)
}
