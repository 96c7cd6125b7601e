//! The block cache: what one read of the kernel costs when memory answers it, and one block that comes.

#![allow(missing_docs, reason = "the macros of criterion make public functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ftpfs::cache::readers::{keep, known};
use ftpfs::cache::{BlockCache, ContentId};

/// Bytes of a read of the kernel, and of a block.
const READ: usize = 128 << 10;
const BLOCKS: u64 = 512;

fn blocks(c: &mut Criterion) {
    let capacity = BLOCKS * READ as u64;
    let content = ContentId(1);
    let cache = BlockCache::new(capacity);
    for n in 0..BLOCKS {
        keep(&cache, content, n * READ as u64, vec![0; READ]);
    }
    assert_eq!(cache.bytes(), capacity, "the cache is full");
    assert_eq!(known(&cache, content, 0, READ), Some(READ));

    let mut group = c.benchmark_group("block cache");
    group.throughput(Throughput::Elements(1));
    let mut at = 0;
    group.bench_function("hit", |b| {
        b.iter(|| {
            at = (at + 37 * READ as u64) % capacity;
            known(&cache, content, at, READ)
        });
    });
    group.bench_function("miss", |b| {
        b.iter(|| known(&cache, ContentId(2), 0, READ));
    });
    let mut next = 0;
    group.bench_function("a block comes, the oldest goes", |b| {
        b.iter_batched(
            || vec![0; READ],
            |data| {
                next += READ as u64;
                keep(&cache, ContentId(3), next, data);
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("a block comes in 32 pieces", |b| {
        let piece = READ / 32;
        b.iter_batched(
            || vec![vec![0; piece]; 32],
            |pieces| {
                next += READ as u64;
                for (n, data) in pieces.into_iter().enumerate() {
                    keep(&cache, ContentId(4), next + (n * piece) as u64, data);
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
