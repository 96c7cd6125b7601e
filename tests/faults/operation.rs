//! What programs do with a mount, each as one call that gives an error number or an exact success.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::faulty::Verb;

/// One operation of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Ls,
    Stat,
    CatSmall,
    CatLarge,
    CpInSmall,
    CpInLarge,
    Overwrite,
    Append,
    Mkdir,
    Rename,
    Unlink,
    Fsync,
    /// The mount itself comes about, or not.
    MountStart,
}

/// How much of an operation is to be seen on the server's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// The beginning of the new bytes.
    Part,
    All,
    /// What it must never be.
    Damage,
}

/// How long the longest system call of each name has taken.
#[derive(Debug, Default)]
pub(crate) struct Calls(pub(crate) BTreeMap<String, Duration>);

impl Calls {
    /// Makes a call and takes its time.
    fn time<T>(&mut self, name: &str, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = call();
        let longest = self.0.entry(name.to_owned()).or_default();
        *longest = began.elapsed().max(*longest);
        result
    }
}

pub(crate) const SMALL: usize = 3_000;
pub(crate) const LARGE: usize = 1_500_000;

/// Bytes that look random, always the same for a seed (a linear congruence modulo 2^64).
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

const LISTED: usize = 40;
/// The length of a record of a log.
const RECORD: usize = 100;

fn small() -> Vec<u8> {
    bytes(1, SMALL)
}
fn large() -> Vec<u8> {
    bytes(2, LARGE)
}
fn old() -> Vec<u8> {
    bytes(3, SMALL + 1000)
}
fn new() -> Vec<u8> {
    bytes(4, SMALL)
}
fn new_large() -> Vec<u8> {
    bytes(5, LARGE)
}

/// What every operation finds on the server.
pub(crate) fn seed(dir: &Path) {
    fs::create_dir_all(dir.join("many")).unwrap();
    for n in 0..LISTED {
        fs::write(dir.join(format!("many/file{n:02}")), n.to_string()).unwrap();
    }
    fs::write(dir.join("small"), small()).unwrap();
    fs::write(dir.join("large"), large()).unwrap();
    for name in ["victim", "log", "from", "gone"] {
        fs::write(dir.join(name), old()).unwrap();
    }
}

impl Operation {
    /// All of them.
    pub(crate) const ALL: [Self; 13] = [
        Self::Ls,
        Self::Stat,
        Self::CatSmall,
        Self::CatLarge,
        Self::CpInSmall,
        Self::CpInLarge,
        Self::Overwrite,
        Self::Append,
        Self::Mkdir,
        Self::Rename,
        Self::Unlink,
        Self::Fsync,
        Self::MountStart,
    ];

    /// As in the names of tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ls => "ls",
            Self::Stat => "stat",
            Self::CatSmall => "cat_small",
            Self::CatLarge => "cat_large",
            Self::CpInSmall => "cp_in_small",
            Self::CpInLarge => "cp_in_large",
            Self::Overwrite => "overwrite",
            Self::Append => "append",
            Self::Mkdir => "mkdir",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Fsync => "fsync",
            Self::MountStart => "mount_start",
        }
    }

    /// The command that faults strike at.
    pub(crate) fn verb(self) -> Verb {
        match self {
            Self::Ls | Self::Stat => Verb::Listing,
            Self::CatSmall | Self::CatLarge => Verb::Retr,
            Self::CpInSmall | Self::CpInLarge | Self::Overwrite | Self::Fsync => Verb::Stor,
            Self::Append => Verb::Appe,
            Self::Mkdir => Verb::Mkd,
            Self::Rename => Verb::Rnto,
            Self::Unlink => Verb::Dele,
            Self::MountStart => Verb::Pass,
        }
    }

    /// A place in the middle of the data that it moves.
    pub(crate) fn middle(self) -> u64 {
        match self {
            Self::Ls | Self::Stat => 201,
            Self::CatLarge | Self::CpInLarge => 700_001,
            _ => 1_001,
        }
    }

    /// Does it in `here`, which is on the mount, and notes the time of each call.
    ///
    /// # Panics
    /// When it seems to succeed with a wrong result.
    pub(crate) fn run(self, here: &Path, calls: &mut Calls) -> io::Result<()> {
        let create = |name: &str| File::create(here.join(name));
        match self {
            Self::Ls => list(&here.join("many"), calls),
            Self::Stat => {
                let found = calls.time("stat", || fs::metadata(here.join("small")))?;
                assert_eq!(found.size(), SMALL as u64, "size by stat");
                Ok(())
            }
            Self::CatSmall => read(&here.join("small"), &small(), calls),
            Self::CatLarge => read(&here.join("large"), &large(), calls),
            Self::CpInSmall => write(|| create("new"), &new(), false, calls),
            Self::CpInLarge => write(|| create("new"), &new_large(), false, calls),
            Self::Overwrite => write(|| create("victim"), &new(), false, calls),
            Self::Append => {
                let log = || OpenOptions::new().append(true).open(here.join("log"));
                write(log, &new(), false, calls)
            }
            Self::Mkdir => calls.time("mkdir", || fs::create_dir(here.join("dir"))),
            Self::Rename => calls.time("rename", || fs::rename(here.join("from"), here.join("to"))),
            Self::Unlink => calls.time("unlink", || fs::remove_file(here.join("gone"))),
            Self::Fsync => write(|| create("synced"), &new(), true, calls),
            Self::MountStart => Ok(()),
        }
    }

    /// What is to be seen of it in `there`, the folder on the server's disk.
    pub(crate) fn seen(self, there: &Path) -> Seen {
        let content = |name: &str| fs::read(there.join(name)).ok();
        match self {
            Self::Ls | Self::Stat | Self::CatSmall | Self::CatLarge | Self::MountStart => Seen::All,
            Self::CpInSmall => progress(content("new"), None, &new()),
            Self::CpInLarge => progress(content("new"), None, &new_large()),
            Self::Fsync => progress(content("synced"), None, &new()),
            Self::Overwrite => match content("victim") {
                Some(found) if found == new() => Seen::All,
                Some(found) if found == old() => Seen::Nothing,
                _ => Seen::Damage,
            },
            Self::Append => {
                let all = [old(), new()].concat();
                progress(content("log"), Some(&old()), &all)
            }
            Self::Mkdir => match there.join("dir").is_dir() {
                true => Seen::All,
                false => Seen::Nothing,
            },
            Self::Rename => match (content("from"), content("to")) {
                (Some(from), None) if from == old() => Seen::Nothing,
                (None, Some(to)) if to == old() => Seen::All,
                _ => Seen::Damage,
            },
            Self::Unlink => match content("gone") {
                None => Seen::All,
                Some(found) if found == old() => Seen::Nothing,
                Some(_) => Seen::Damage,
            },
        }
    }

    /// Whether it may be done again after a failure of which nobody knows how far it got.
    pub(crate) fn may_be_repeated(self) -> bool {
        self != Self::Append
    }
}

fn progress(found: Option<Vec<u8>>, before: Option<&[u8]>, after: &[u8]) -> Seen {
    match found {
        found if found.as_deref() == before => Seen::Nothing,
        Some(found) if found == after => Seen::All,
        Some(found) if after.starts_with(&found) && found.starts_with(before.unwrap_or(b"")) => {
            Seen::Part
        }
        _ => Seen::Damage,
    }
}

fn list(dir: &Path, calls: &mut Calls) -> io::Result<()> {
    let mut found = BTreeSet::new();
    let mut entries = calls.time("opendir", || fs::read_dir(dir))?;
    while let Some(entry) = calls.time("readdir", || entries.next()) {
        found.insert(entry?.file_name());
    }
    calls.time("closedir", || drop(entries));
    let expected: BTreeSet<OsString> = (0..LISTED).map(|n| format!("file{n:02}").into()).collect();
    assert!(found == expected, "listed: {found:?}");
    Ok(())
}

/// Compares also what came before an error.
fn read(path: &Path, expected: &[u8], calls: &mut Calls) -> io::Result<()> {
    let mut file = calls.time("open", || File::open(path))?;
    let mut found = Vec::new();
    let mut piece = vec![0; 100_000];
    loop {
        match calls.time("read", || file.read(&mut piece)) {
            Ok(0) => break,
            Ok(count) => found.extend_from_slice(&piece[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                assert!(expected.starts_with(&found), "wrong bytes before {e}");
                return Err(e);
            }
        }
    }
    calls.time("close", || drop(file));
    assert!(
        found == expected,
        "wrong bytes: {} instead of {}",
        found.len(),
        expected.len()
    );
    Ok(())
}

/// The first error, if any: of opening, writing, fsync where that is asked for, or of close(2).
fn write(
    open: impl FnOnce() -> io::Result<File>,
    content: &[u8],
    sync: bool,
    calls: &mut Calls,
) -> io::Result<()> {
    let mut file = calls.time("open", open)?;
    // The kernel takes all of it in one call.
    let written = calls.time("write", || file.write_all(content));
    let written = written.and_then(|()| match sync {
        true => calls.time("fsync", || file.sync_all()),
        false => Ok(()),
    });
    let closed = calls.time("close", || nix::unistd::close(file));
    written.and(closed.map_err(io::Error::from))
}

/// Its length and all its bytes follow from the first eight.
pub(crate) fn document(n: usize, round: u64) -> Vec<u8> {
    let seed = (round << 8) + n as u64;
    let length = usize::try_from(seed.wrapping_mul(7919) % 90_000).unwrap() + 8;
    let mut content = seed.to_be_bytes().to_vec();
    content.extend(bytes(seed, length));
    content
}

/// Whether it is one that somebody has written.
pub(crate) fn is_document(found: &[u8]) -> bool {
    let Some(seed) = found.first_chunk() else {
        return false;
    };
    let seed = u64::from_be_bytes(*seed);
    let (n, round) = (usize::try_from(seed & 0xff).unwrap(), seed >> 8);
    document(n, round) == found
}

/// A record of a log, whose bytes follow from the first eight.
pub(crate) fn record(n: usize, round: u64) -> Vec<u8> {
    let seed = (round << 8) + n as u64;
    let mut record = seed.to_be_bytes().to_vec();
    record.extend(bytes(seed, RECORD - 8));
    record
}

/// Whole records, in the order in which they were written.
pub(crate) fn is_log(found: &[u8]) -> bool {
    let mut last = None;
    found.chunks(RECORD).all(|chunk| {
        let Some(seed) = chunk.first_chunk() else {
            return false;
        };
        let seed = u64::from_be_bytes(*seed);
        let later = last.replace(seed).is_none_or(|last| last < seed);
        let (n, round) = (usize::try_from(seed & 0xff).unwrap(), seed >> 8);
        later && record(n, round) == chunk
    })
}

/// What helps to find out how wrong bytes came about: where a record does not begin as one, and zeros.
pub(crate) fn oddity(found: &[u8]) -> String {
    let mut records = found.chunks(RECORD);
    let odd = records.position(|chunk| !is_log(chunk)).map(|n| n * RECORD);
    let runs = found.chunk_by(|a, b| (*a == 0) == (*b == 0));
    let mut at = 0;
    let mut zeros = Vec::new();
    for run in runs {
        if run[0] == 0 && run.len() > 16 {
            zeros.push((at, run.len()));
        }
        at += run.len();
    }
    format!("from byte {odd:?} on if it is a log; zeros (where, how many): {zeros:?}")
}
