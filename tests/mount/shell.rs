//! Programs as a user runs them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::check::OrFail;

/// A home folder without anybody's settings.
fn home() -> &'static Path {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().or_fail("make a home folder"))
        .path()
}

/// A program that will run in `dir`, in English, with no input and no settings of the user.
pub(crate) fn program(dir: &Path, name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("HOME", home())
        .env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().or_fail(&format!("run {command:?}"))
}

/// Runs it; it has to exit with 0. Gives its standard output.
#[track_caller]
pub(crate) fn succeeds(command: &mut Command) -> String {
    let out = output(command);
    assert!(
        out.status.success(),
        "{command:?}: expected exit code 0, found {}\nstdout: {}\nstderr: {}",
        out.status,
        shown(&out.stdout),
        shown(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a shell script that ends at its first failure; it has to exit with 0. Gives its standard output.
#[track_caller]
pub(crate) fn sh(dir: &Path, script: &str) -> String {
    succeeds(program(dir, "sh").args(["-ec", script]))
}

/// Runs a shell script; it has to fail. Gives what it said on standard error.
#[track_caller]
pub(crate) fn sh_fails(dir: &Path, script: &str) -> String {
    let out = output(program(dir, "sh").args(["-ec", script]));
    assert!(
        !out.status.success(),
        "sh: {script}: expected a failure, found exit code 0\nstdout: {}\nstderr: {}",
        shown(&out.stdout),
        shown(&out.stderr)
    );
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The end of what a program said.
fn shown(text: &[u8]) -> String {
    const ENOUGH: usize = 4000;
    let from = text.len().saturating_sub(ENOUGH);
    String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned()
}
