//! Content, and writing it so that no error is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::check::{OrFail, same_bytes};

/// `len` bytes that look random, always the same for a seed.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut all = Vec::with_capacity(len + 8);
    while all.len() < len {
        all.extend_from_slice(&dice.next().to_le_bytes());
    }
    all.truncate(len);
    all
}

/// Numbers that look random, always the same for a seed (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// From a seed; 0 is one like any other.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}

/// Closes a file and tells what close(2) said: dropping it would hide a lost write.
pub(crate) fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// Makes or replaces a file: open, write, close, each checked.
pub(crate) fn try_put(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    close(file)
}

/// Makes or replaces a file.
#[track_caller]
pub(crate) fn put(path: &Path, content: &[u8]) {
    try_put(path, content).or_fail(&format!("write {}", path.display()));
}

/// Writes at the end of a file.
#[track_caller]
pub(crate) fn append(path: &Path, content: &[u8]) {
    let what = format!("append to {}", path.display());
    let mut file = OpenOptions::new().append(true).open(path).or_fail(&what);
    file.write_all(content).or_fail(&what);
    close(file).or_fail(&what);
}

/// All of a file.
#[track_caller]
pub(crate) fn get(path: &Path) -> Vec<u8> {
    fs::read(path).or_fail(&format!("read {}", path.display()))
}

/// All that an open file has from where it stands.
#[track_caller]
pub(crate) fn rest(mut file: &File) -> Vec<u8> {
    let mut all = Vec::new();
    file.read_to_end(&mut all).or_fail("read to the end");
    all
}

/// Fails unless the file has exactly this content.
#[track_caller]
pub(crate) fn has(path: &Path, expected: &[u8]) {
    same_bytes(&path.display().to_string(), &get(path), expected);
}

/// Fails unless the name is absent.
#[track_caller]
pub(crate) fn absent(path: &Path) {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => panic!(
            "{}: expected it to be absent, found {other:?}",
            path.display()
        ),
    }
}
