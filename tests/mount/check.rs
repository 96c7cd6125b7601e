//! Comparisons whose messages show what was expected and what was found.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// Fails unless the bytes agree; shows lengths and the first difference, never the whole.
#[track_caller]
pub(crate) fn same_bytes(what: &str, found: &[u8], expected: &[u8]) {
    if let Some(difference) = difference(found, expected) {
        panic!("{what}: {difference}");
    }
}

/// Where two contents part, as a sentence.
pub(crate) fn difference(found: &[u8], expected: &[u8]) -> Option<String> {
    if found == expected {
        return None;
    }
    let at = found
        .iter()
        .zip(expected)
        .take_while(|(f, e)| f == e)
        .count();
    let show = |bytes: &[u8]| {
        let end = bytes.len().min(at + 16);
        bytes
            .get(at..end)
            .unwrap_or_default()
            .escape_ascii()
            .to_string()
    };
    Some(format!(
        "expected {} bytes, found {}; from byte {at} on expected \"{}\", found \"{}\"",
        expected.len(),
        found.len(),
        show(expected),
        show(found)
    ))
}

/// Fails unless the call failed with exactly this error.
#[track_caller]
pub(crate) fn fails<T: Debug>(what: &str, result: io::Result<T>, expected: Errno) {
    match result {
        Ok(value) => panic!("{what}: expected {expected}, but it succeeded with {value:?}"),
        Err(error) => {
            let found = error.raw_os_error().map(Errno::from_raw);
            assert!(
                found == Some(expected),
                "{what}: expected {expected}, found {error:?}"
            );
        }
    }
}

/// Fails unless the call failed with one of these errors.
#[track_caller]
pub(crate) fn fails_one_of<T: Debug>(what: &str, result: io::Result<T>, expected: &[Errno]) {
    match result {
        Ok(value) => {
            panic!("{what}: expected one of {expected:?}, but it succeeded with {value:?}")
        }
        Err(error) => {
            let found = error.raw_os_error().map(Errno::from_raw);
            assert!(
                found.is_some_and(|found| expected.contains(&found)),
                "{what}: expected one of {expected:?}, found {error:?}"
            );
        }
    }
}

/// The value, or a failure that names what was tried.
pub(crate) trait OrFail<T> {
    /// Panics with `what` and the error.
    fn or_fail(self, what: &str) -> T;
}

impl<T, E: Debug> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

/// Names in a folder.
#[track_caller]
pub(crate) fn names(dir: &Path) -> BTreeSet<OsString> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).or_fail(&format!("list {}", dir.display())) {
        let name = entry
            .or_fail(&format!("list {}", dir.display()))
            .file_name();
        assert!(
            found.insert(name.clone()),
            "{}: {name:?} is listed twice",
            dir.display()
        );
    }
    found
}

/// Fails unless the folder holds exactly these names.
#[track_caller]
pub(crate) fn holds<N: Into<OsString>>(dir: &Path, expected: impl IntoIterator<Item = N>) {
    let expected: BTreeSet<OsString> = expected.into_iter().map(Into::into).collect();
    let found = names(dir);
    let missing: Vec<_> = expected.difference(&found).take(10).collect();
    let surplus: Vec<_> = found.difference(&expected).take(10).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{}: expected {} names, found {}; missing {missing:?}, surplus {surplus:?}",
        dir.display(),
        expected.len(),
        found.len()
    );
}

/// Tries until it succeeds, or fails with the last reason once `limit` has passed.
#[track_caller]
pub(crate) fn eventually(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<(), String>,
) {
    let start = Instant::now();
    loop {
        let Err(reason) = attempt() else { return };
        assert!(
            start.elapsed() < limit,
            "{what}: still not so after {limit:?}: {reason}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// `Ok` if it holds, else the reason: for [`eventually`].
pub(crate) fn holding(is_so: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(reason()) }
}

/// Tells the other threads of a case that the work is over, also when it has failed.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
