//! Byte ranges: what is dirty in a file that is written in order, or all over.

#![allow(missing_docs, reason = "the macros of criterion make public functions")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ftpfs::writeback::ByteRanges;

const WRITES: u64 = 10_000;
const PAGE: u64 = 4096;

/// Every other page of a file, in an order that jumps about.
fn scattered() -> ByteRanges {
    let mut ranges = ByteRanges::default();
    for n in 0..WRITES {
        let page = n * 7919 % WRITES * 2;
        ranges.insert(page * PAGE..(page + 1) * PAGE);
    }
    ranges
}

fn ranges(c: &mut Criterion) {
    let holes = scattered();
    let whole = 2 * WRITES * PAGE;
    assert_eq!(holes.iter().count() as u64, WRITES, "no two touch");
    assert_eq!(holes.missing(0..whole).len() as u64, WRITES);

    let mut group = c.benchmark_group("byte ranges");
    group.throughput(Throughput::Elements(WRITES));
    group.bench_function("10,000 writes in order", |b| {
        b.iter(|| {
            let mut ranges = ByteRanges::default();
            for n in 0..WRITES {
                ranges.insert(n * PAGE..(n + 1) * PAGE);
            }
            ranges
        });
    });
    group.bench_function("10,000 writes all over", |b| b.iter(scattered));
    group.bench_function("what is missing between 10,000", |b| {
        b.iter(|| holes.missing(0..black_box(whole)));
    });
    group.throughput(Throughput::Elements(1));
    let mut at = 0;
    group.bench_function("is this read there", |b| {
        b.iter(|| {
            at = (at + 7919 * PAGE) % whole;
            holes.missing(at..at + 2 * PAGE)
        });
    });
    group.finish();
}

criterion_group!(benches, ranges);
criterion_main!(benches);
