//! What the fuzz targets in `fuzz` try without end, tried for a moment: samples of every kind of input,
//! changed by a generator that always draws the same.

mod properties;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Changed samples per property.
const ROUNDS: usize = 20_000;

/// Longer samples are cut: a change in a short one is likelier to matter.
const LONGEST: usize = 2000;

/// What means something to one reader or another.
const TOKENS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "  ",
    "\t",
    ";",
    "; ",
    ":",
    "/",
    "//",
    "/../",
    "..",
    ".",
    "\"",
    "\"\"",
    "@",
    "%",
    "%00",
    "%0d%0a",
    "%2F",
    "%40",
    "[",
    "]",
    "[::1]",
    "(",
    ")",
    "(|||",
    "|)",
    "|",
    ",",
    "255",
    "256",
    "65536",
    "-1",
    "+",
    "99999999999999999999",
    "220 ",
    "220-",
    "421 ",
    "229 ",
    "ftp://",
    "ftpfs#",
    "curlftpfs#",
    ";type=a",
    "type=",
    "type=file;",
    "type=dir;",
    "type=OS.unix=slink:",
    "size=",
    "modify=",
    "UNIX.mode=",
    "perm=",
    "20240229235960",
    "drwxr-xr-x",
    "lrwxrwxrwx",
    " -> ",
    " -> /etc/passwd",
    "<DIR>",
    "total 1",
    "Feb 29",
    "Jan  1  1970",
    "00:00",
    "12:00AM",
    ".DIR;1",
    "Directory X:[Y]",
    "月",
    "年",
    "\u{202e}",
    "\x1b[2J",
    "\u{85}",
    "\u{feff}",
];

/// A generator of numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A place in `bytes`, and one not far behind it.
    fn part(&mut self, bytes: &[u8], most: usize) -> (usize, usize) {
        let from = self.below(bytes.len() + 1);
        let to = from + self.below(most);
        (from, to.min(bytes.len()))
    }
}

fn changed(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.one_of(samples).clone();
    if bytes.len() > LONGEST {
        let from = random.below(bytes.len() - LONGEST);
        bytes = bytes[from..from + LONGEST].to_vec();
    }
    for _ in 0..=random.below(8) {
        let (from, to) = random.part(&bytes, 30);
        match random.below(7) {
            0 if from < to => bytes[from] ^= 1 << random.below(8),
            1 if from < to => bytes[from] = random.next().to_be_bytes()[0],
            2 => {
                bytes.drain(from..to);
            }
            3 => {
                let part = bytes[from..to].to_vec();
                bytes.splice(from..from, part);
            }
            4 => {
                let other = random.one_of(samples);
                let (start, end) = random.part(other, 80);
                bytes.splice(from..to, other[start..end].iter().copied());
            }
            5 if random.below(20) == 0 => bytes.truncate(from),
            _ => {
                let token = random.one_of(TOKENS);
                bytes.splice(from..from, token.bytes());
            }
        }
    }
    bytes
}

/// The samples for one property, as a fuzzer gets them: all files of its folder.
fn samples(name: &str) -> Vec<Vec<u8>> {
    let folder = match name {
        "list" | "mlsd" => "listings",
        other => other,
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a sample").path())
        .filter(|path| path.extension().is_none_or(|e| e == "txt"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a sample"))
        .collect()
}

fn holds(name: &str) {
    let (_, property) = properties::ALL
        .into_iter()
        .find(|(other, _)| *other == name)
        .expect("a property");
    let samples = samples(name);
    assert!(samples.len() > 5, "{} samples", samples.len());
    let mut random = Random(0x0f7b_f500);
    let fresh = (0..ROUNDS).map(|_| changed(&mut random, &samples));
    for input in samples.iter().cloned().chain(fresh) {
        if catch_unwind(|| property(&input)).is_err() {
            panic!("found by: {}", input.escape_ascii());
        }
    }
}

#[test]
fn replies() {
    holds("reply");
}

#[test]
fn listings_by_mlsd() {
    holds("mlsd");
}

#[test]
fn listings_by_list() {
    holds("list");
}

#[test]
fn answers_to_epsv_and_pasv() {
    holds("passive");
}

#[test]
fn answers_to_pwd() {
    holds("pwd");
}

#[test]
fn sources() {
    holds("url");
}
