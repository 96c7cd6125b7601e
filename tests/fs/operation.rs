//! The operations of a random sequence, and how likely each is.

use proptest::prelude::*;

use ftpfs::fs::UploadPolicy;

use crate::model::{Flags, Place};

/// Names of the two directories.
pub(crate) const DIRECTORIES: [&str; 2] = ["a", "b"];

/// Names in each of them.
pub(crate) const NAMES: [&str; 3] = ["x", "y", "z"];

/// Handles that may be open at a time.
pub(crate) const SLOTS: usize = 4;

/// A block of the cache, a read of the kernel, and what fits into staging memory.
const BLOCK: usize = 128 << 10;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Open {
        slot: usize,
        place: Place,
        flags: Flags,
        mode: u32,
    },
    /// Without `flush` as if the flush had been interrupted: the release commits.
    Close {
        slot: usize,
        flush: bool,
    },
    Read {
        slot: usize,
        at: usize,
        length: usize,
    },
    Write {
        slot: usize,
        at: usize,
        length: usize,
    },
    /// Truncates the file of a handle.
    Resize {
        slot: usize,
        size: usize,
    },
    Truncate {
        place: Place,
        size: usize,
    },
    Sync {
        slot: usize,
    },
    /// A close of one of two descriptors of the same open.
    Flush {
        slot: usize,
        still_open: bool,
    },
    Unlink {
        place: Place,
    },
    Mkdir {
        place: Place,
        mode: u32,
    },
    Rmdir {
        place: Place,
    },
    RmdirFull {
        directory: usize,
    },
    Rename {
        from: Place,
        to: Place,
        no_replace: bool,
    },
    SetTime {
        place: Place,
        seconds: u64,
    },
    SetMode {
        place: Place,
        mode: u32,
    },
    Look {
        place: Place,
    },
    List {
        directory: usize,
    },
    Forget,
    DropCaches,
    /// Somebody else changes the server, while nothing is open.
    Behind {
        place: Place,
        change: Change,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Overwrite(usize),
    Remove,
    MakeDirectory,
}

/// One sequence and what it runs in.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) policy: UploadPolicy,
    /// Listings are believed for ever, or asked for each time.
    pub(crate) cached: bool,
    /// Sizes of what the server has at the beginning.
    pub(crate) present: Vec<(Place, usize)>,
    pub(crate) operations: Vec<Operation>,
}

pub(crate) fn sequence(length: usize) -> impl Strategy<Value = Sequence> {
    let policy = prop_oneof![
        3 => Just(UploadPolicy::Auto),
        1 => Just(UploadPolicy::Atomic),
        1 => Just(UploadPolicy::InPlace),
    ];
    (
        policy,
        prop::bool::weighted(0.7),
        prop::collection::vec((place(), border()), 0..5),
        prop::collection::vec(operation(), 1..length),
    )
        .prop_map(|(policy, cached, present, operations)| Sequence {
            policy,
            cached,
            present,
            operations,
        })
}

fn place() -> impl Strategy<Value = Place> {
    let any = (0..DIRECTORIES.len(), 0..NAMES.len());
    any.prop_map(|(directory, name)| Place { directory, name })
}

/// Sizes and offsets around the borders of blocks.
fn border() -> impl Strategy<Value = usize> {
    let near = (
        prop::sample::select(vec![0, BLOCK, 2 * BLOCK, 4 * BLOCK]),
        0_usize..5,
    )
        .prop_map(|(border, beside)| (border + beside).saturating_sub(2));
    prop_oneof![
        4 => near,
        1 => 0_usize..100,
        1 => 0..5 * BLOCK,
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 1_usize..20,
        2 => 4000_usize..9000,
        2 => (BLOCK - 1)..(BLOCK + 2),
        1 => (2 * BLOCK - 1)..(3 * BLOCK),
    ]
}

fn mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o644, 0o600, 0o755, 0o640])
}

fn flags() -> impl Strategy<Value = Flags> {
    (
        prop::sample::select(vec![
            (true, false),
            (false, true),
            (true, true),
            (true, true),
        ]),
        prop::bool::weighted(0.5),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |((reads, writes), create, exclusive, truncate, append)| Flags {
                reads,
                writes,
                create,
                exclusive: create && exclusive,
                truncate: truncate && writes,
                append: append && writes,
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    let slot = || 0..SLOTS;
    let change = prop_oneof![
        2 => border().prop_map(Change::Overwrite),
        1 => Just(Change::Remove),
        1 => Just(Change::MakeDirectory),
    ];
    prop_oneof![
        20 => (slot(), place(), flags(), mode())
            .prop_map(|(slot, place, flags, mode)| Operation::Open { slot, place, flags, mode }),
        10 => (slot(), prop::bool::weighted(0.8))
            .prop_map(|(slot, flush)| Operation::Close { slot, flush }),
        14 => (slot(), border(), length())
            .prop_map(|(slot, at, length)| Operation::Read { slot, at, length }),
        18 => (slot(), border(), length())
            .prop_map(|(slot, at, length)| Operation::Write { slot, at, length }),
        6 => (slot(), border()).prop_map(|(slot, size)| Operation::Resize { slot, size }),
        3 => (place(), border()).prop_map(|(place, size)| Operation::Truncate { place, size }),
        5 => slot().prop_map(|slot| Operation::Sync { slot }),
        2 => (slot(), any::<bool>())
            .prop_map(|(slot, still_open)| Operation::Flush { slot, still_open }),
        5 => place().prop_map(|place| Operation::Unlink { place }),
        2 => (place(), mode()).prop_map(|(place, mode)| Operation::Mkdir { place, mode }),
        2 => place().prop_map(|place| Operation::Rmdir { place }),
        1 => (0..DIRECTORIES.len()).prop_map(|directory| Operation::RmdirFull { directory }),
        8 => (place(), place(), prop::bool::weighted(0.15))
            .prop_map(|(from, to, no_replace)| Operation::Rename { from, to, no_replace }),
        3 => (place(), 1_500_000_000_u64..1_600_000_000)
            .prop_map(|(place, seconds)| Operation::SetTime { place, seconds }),
        3 => (place(), mode()).prop_map(|(place, mode)| Operation::SetMode { place, mode }),
        5 => place().prop_map(|place| Operation::Look { place }),
        3 => (0..DIRECTORIES.len()).prop_map(|directory| Operation::List { directory }),
        1 => Just(Operation::Forget),
        2 => Just(Operation::DropCaches),
        3 => (place(), change).prop_map(|(place, change)| Operation::Behind { place, change }),
    ]
}
