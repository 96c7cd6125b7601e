//! `BlockCache`: blocks of files, bounded in bytes, the least recently used go first.

use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::buffer::{Buffer, Buffers};

/// Bytes of a block: one read of the kernel, so that most reads are answered from one block
/// without a copy.
pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;
/// The same, as a length.
pub(super) const BLOCK_BYTES: usize = 128 << 10;

/// What a block takes at least, with its place in the map.
const LEAST_COST: u64 = 512;

/// One content of one file. A file that changes gets a new one, so that blocks of two contents can
/// never be mixed; blocks of the old one are no longer asked for and leave in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentId(pub u64);

/// Bytes of a block that are known: `data` begins `start` bytes behind the beginning of the block.
#[derive(Debug)]
pub(super) struct Block {
    start: u64,
    data: Buffer,
}

impl Block {
    /// `offset` is where `data` begins in the file; it must not reach into the next block.
    fn new(offset: u64, data: Buffer) -> Self {
        debug_assert!(offset % BLOCK + data.len() as u64 <= BLOCK);
        Self {
            start: offset % BLOCK,
            data,
        }
    }

    /// Bytes of memory: a million tiny files are not cheap.
    fn cost(&self) -> u64 {
        (self.data.memory() as u64).max(LEAST_COST)
    }

    fn range(&self, index: u64) -> Range<u64> {
        let start = index * BLOCK + self.start;
        start..start + self.data.len() as u64
    }

    /// Bytes from `offset` on, at most `length`; `None` if the block does not have the first of them.
    pub(super) fn bytes(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let range = self.range(offset / BLOCK);
        if !range.contains(&offset) {
            return None;
        }
        let from = usize::try_from(offset - range.start).ok()?;
        let to = self.data.len().min(from.saturating_add(length));
        Some(&self.data[from..to])
    }
}

/// Blocks of all files of a mount.
#[derive(Debug)]
pub struct BlockCache {
    capacity: u64,
    buffers: Arc<Buffers>,
    /// Guards the map and the sum of its bytes; held for a look-up or an insertion only.
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    blocks: LruCache<(ContentId, u64), Arc<Block>>,
    bytes: u64,
}

impl BlockCache {
    /// Keeps at most `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            buffers: Arc::default(),
            held: Mutex::new(Held {
                blocks: LruCache::unbounded(),
                bytes: 0,
            }),
        }
    }

    /// Memory for the next block, or a part of it.
    pub(super) fn buffer(&self, length: u64) -> Buffer {
        self.buffers.take(usize::try_from(length).unwrap_or(0))
    }

    /// The block that holds the byte at `offset`, if that byte is known.
    pub(super) fn get(&self, content: ContentId, offset: u64) -> Option<Arc<Block>> {
        let mut held = self.held.lock();
        let block = held.blocks.get(&(content, offset / BLOCK))?;
        block
            .range(offset / BLOCK)
            .contains(&offset)
            .then(|| Arc::clone(block))
    }

    /// Whether the byte at `offset` is known.
    pub fn holds(&self, content: ContentId, offset: u64) -> bool {
        self.get(content, offset).is_some()
    }

    /// Keeps `data`, which begins at `offset` and stays within one block; joined with what is known
    /// of the block if it touches that, else in its place. What is kept is also the answer: there may be no room
    /// for it.
    pub(super) fn insert(
        &self,
        content: ContentId,
        offset: u64,
        data: impl Into<Buffer>,
    ) -> Arc<Block> {
        let mut block = Block::new(offset, data.into().kept());
        if block.data.is_empty() {
            return Arc::new(block);
        }
        let key = (content, offset / BLOCK);
        let mut held = self.held.lock();
        if let Some(old) = held.blocks.pop(&key) {
            held.bytes -= old.cost();
            block = join(&old, block);
        }
        held.bytes += block.cost();
        let block = Arc::new(block);
        held.blocks.put(key, Arc::clone(&block));
        let mut gone = Vec::new();
        while held.bytes > self.capacity {
            let Some((_, oldest)) = held.blocks.pop_lru() else {
                break;
            };
            held.bytes -= oldest.cost();
            gone.push(oldest);
        }
        drop(held);
        drop(gone);
        block
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut held = self.held.lock();
        held.bytes = 0;
        let blocks = std::mem::replace(&mut held.blocks, LruCache::unbounded());
        drop(held);
        drop(blocks);
    }

    /// Bytes held, as they are counted.
    pub fn bytes(&self) -> u64 {
        self.held.lock().bytes
    }
}

/// Both parts of one block, if they touch; else the new part.
fn join(old: &Block, new: Block) -> Block {
    let (old_end, new_end) = (
        old.start + old.data.len() as u64,
        new.start + new.data.len() as u64,
    );
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    if old.start <= new.start && old_end >= new.start {
        let mut data = old.data[..at(new.start - old.start)].to_vec();
        data.extend_from_slice(&new.data);
        if old_end > new_end {
            data.extend_from_slice(&old.data[at(new_end - old.start)..]);
        }
        return Block {
            start: old.start,
            data: data.into(),
        };
    }
    if new.start <= old.start && new_end >= old.start {
        let mut data = new.data.to_vec();
        if old_end > new_end {
            data.extend_from_slice(&old.data[at(new_end - old.start)..]);
        }
        return Block {
            start: new.start,
            data: data.into(),
        };
    }
    new
}

#[cfg(test)]
#[allow(
    clippy::type_complexity,
    reason = "a table is a tuple of what a case needs"
)]
mod tests {
    use super::*;

    const A: ContentId = ContentId(1);

    fn known(cache: &BlockCache, offset: u64, length: usize) -> Option<Vec<u8>> {
        cache
            .get(A, offset)?
            .bytes(offset, length)
            .map(<[u8]>::to_vec)
    }

    #[test]
    fn parts_of_a_block_are_joined_where_they_touch() {
        let cases: [(u64, &[u8], u64, &[u8], u64, &[u8]); 5] = [
            (0, b"abc", 3, b"def", 0, b"abcdef"),
            (3, b"def", 0, b"abc", 0, b"abcdef"),
            (0, b"abcdef", 2, b"XY", 0, b"abXYef"),
            (2, b"cd", 0, b"abcdef", 0, b"abcdef"),
            (0, b"ab", 100, b"xy", 100, b"xy"),
        ];
        for (first_at, first, second_at, second, at, expected) in cases {
            let cache = BlockCache::new(1 << 20);
            cache.insert(A, first_at, first.to_vec());
            cache.insert(A, second_at, second.to_vec());
            assert_eq!(known(&cache, at, 100).as_deref(), Some(expected));
        }
    }

    #[test]
    fn only_known_bytes_are_given() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(A, BLOCK + 10, b"abc".to_vec());
        assert_eq!(known(&cache, BLOCK + 11, 10).as_deref(), Some(&b"bc"[..]));
        for offset in [0, BLOCK, BLOCK + 9, BLOCK + 13] {
            assert_eq!(known(&cache, offset, 1), None, "{offset}");
        }
        assert!(cache.get(ContentId(2), BLOCK + 11).is_none());
    }

    #[test]
    fn tiny_blocks_are_not_free() {
        let cache = BlockCache::new(10 * LEAST_COST);
        for index in 0..100 {
            cache.insert(A, index * BLOCK, vec![1]);
        }
        let kept = (0..100).filter(|i| cache.get(A, i * BLOCK).is_some());
        assert_eq!(kept.count(), 10);
    }

    #[test]
    fn the_oldest_blocks_leave_when_it_is_full() {
        let cache = BlockCache::new(3 * BLOCK);
        for index in 0..4 {
            cache.insert(A, index * BLOCK, vec![0; BLOCK_BYTES]);
            assert!(cache.get(A, 0).is_some(), "block 0 was just used");
        }
        assert_eq!(cache.bytes(), 3 * BLOCK);
        assert!(cache.get(A, BLOCK).is_none());
        cache.clear();
        assert_eq!(cache.bytes(), 0);
        assert!(cache.get(A, 0).is_none());
    }
}
