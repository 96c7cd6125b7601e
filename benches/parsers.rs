//! Parsing the listings of large directories: 10,000 entries, as vsftpd and ProFTPD send them.

#![allow(missing_docs, reason = "the macros of criterion make public functions")]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ftpfs::ftp::listing::{ListingClock, ListingFormat, parse};

const ENTRIES: usize = 10_000;

fn mlsd() -> String {
    let line = |n| {
        let (hour, minute, second) = (n / 3600, n / 60 % 60, n % 60);
        format!(
            "modify=20260304{hour:02}{minute:02}{second:02};perm=adfrw;size={};type=file;unique=FE03U{n:X};\
             UNIX.group=100;UNIX.groupname=users;UNIX.mode=0644;UNIX.owner=1000;UNIX.ownername=user; \
             file-{n:05}.txt\r\n",
            n * 7919
        )
    };
    (0..ENTRIES).map(line).collect()
}

fn list() -> String {
    let line = |n| {
        let (day, minute, size) = (1 + n % 28, n % 60, n * 7919);
        format!(
            "-rw-r--r--    1 1000     1000     {size:>8} Mar {day:>2} 10:{minute:02} file-{n:05}.txt\r\n"
        )
    };
    (0..ENTRIES).map(line).collect()
}

fn parsers(c: &mut Criterion) {
    let clock = ListingClock {
        // April 2026.
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_775_000_000),
        utc_offset: 0,
    };
    let mut group = c.benchmark_group("parse 10,000 entries");
    for (name, format, text) in [
        ("MLSD", ListingFormat::Mlsd, mlsd()),
        ("LIST", ListingFormat::List, list()),
    ] {
        let listing = parse(format, text.as_bytes(), clock);
        assert_eq!(listing.entries.len(), ENTRIES, "{name}: entries");
        assert!(
            listing.entries.iter().all(|e| e.modified.is_some()),
            "{name}: times"
        );
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| parse(format, black_box(text.as_bytes()), clock));
        });
    }
    group.finish();
}

criterion_group!(benches, parsers);
criterion_main!(benches);
