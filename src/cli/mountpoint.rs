//! Whether something can be mounted here: each hindrance with its own message, before connecting.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::settings::Settings;
use crate::ftp::printable;
use crate::fuse::{claim, handed_over, unmount_command};
use crate::mount::{Failure, Status};
use crate::shell;

/// Checks the mountpoint and what FUSE needs; the answer is the absolute path. `/dev/fd/N` stays as it is.
///
/// # Errors
/// [`Status::System`], with what to do.
pub(super) fn check(typed: &Path, settings: &Settings) -> Result<PathBuf, Failure> {
    if let Some(number) = handed_over(typed) {
        // Somebody else has mounted it, and with all rights that this takes.
        let fits = claim(number).map(|()| typed.to_owned());
        return fits.map_err(|error| {
            let shown = printable(typed.as_os_str().as_encoded_bytes());
            Failure::system(format!(
                "{shown}: no mount was handed over: {error} (it has to be the open /dev/fuse of a mount that is there)"
            ))
        });
    }
    let path = directory(typed)?;
    if !settings.nonempty {
        not_in_use(&path)?;
    }
    let root = rustix::process::geteuid().is_root();
    device(root)?;
    if !root && settings.allow_other && !others_are_allowed() {
        return Err(Failure::system(
            "allow_other is for root, unless /etc/fuse.conf has a line user_allow_other; ask an administrator to add it",
        ));
    }
    Ok(path)
}

fn directory(typed: &Path) -> Result<PathBuf, Failure> {
    let shown = printable(typed.as_os_str().as_encoded_bytes());
    let fail = |why: String| Err(Failure::system(format!("{shown}: {why}")));
    let found = fs::canonicalize(typed).and_then(|path| Ok((fs::metadata(&path)?, path)));
    match found {
        Ok((data, path)) if data.is_dir() => Ok(path),
        Ok(_) => fail("not a folder; only a folder can be a mountpoint".into()),
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => fail(format!(
            "a crashed FUSE mount is still there; run: {}",
            unmount_command(typed)
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fail(format!(
            "there is no such folder; run: mkdir -p {}",
            shell::path(typed)
        )),
        Err(error) => fail(format!("cannot be a mountpoint: {error}")),
    }
}

fn not_in_use(path: &Path) -> Result<(), Failure> {
    let shown = printable(path.as_os_str().as_encoded_bytes());
    if let Some(source) = mounted_fuse(path) {
        // Another user may have chosen it.
        let source = printable(source.as_bytes());
        return Err(Failure::system(format!(
            "{shown}: {source} is mounted here already; run: fusermount3 -u {} (or add -o nonempty to mount over it)",
            shell::path(path)
        )));
    }
    // A folder that cannot be listed is left to the kernel to judge.
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::system(format!(
            "{shown}: the folder is not empty; choose an empty one (or add -o nonempty to hide what is in it)"
        )));
    }
    Ok(())
}

/// The source of the FUSE file system that is mounted exactly here.
fn mounted_fuse(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let here = path.to_str()?;
    let line = table.lines().rev().find(|line| {
        line.split(' ')
            .nth(4)
            .is_some_and(|mounted| unescaped(mounted) == here)
    })?;
    // Behind " - ": type, source, options (proc_pid_mountinfo(5)).
    let mut behind = line.split_once(" - ")?.1.split(' ');
    let kind = behind.next()?;
    let source = behind.next()?;
    (kind == "fuse" || kind.starts_with("fuse.")).then(|| unescaped(source))
}

/// Blank, tab, line feed and backslash stand as `\040` and so on in mountinfo.
fn unescaped(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(field.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

fn device(root: bool) -> Result<(), Failure> {
    let fail = |why: &str| Err(Failure::system(why));
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return fail(
                "/dev/fuse: not allowed to open it; run: sudo chmod 666 /dev/fuse (in a container: --device /dev/fuse --cap-add SYS_ADMIN)",
            );
        }
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)
            ) =>
        {
            return fail(
                "/dev/fuse is missing: this system has no FUSE; run: sudo modprobe fuse (in a container: --device /dev/fuse --cap-add SYS_ADMIN)",
            );
        }
        Err(error) => {
            return Err(Failure::new(Status::System, format!("/dev/fuse: {error}")));
        }
    }
    if !root && fusermount().is_none() {
        return fail(
            "fusermount3 is missing, and only root can mount without it; run: sudo apt install fuse3 (or your system's package of that name)",
        );
    }
    Ok(())
}

/// Where fuser looks for it as well: $FUSERMOUNT_PATH, PATH, and the usual folders.
fn fusermount() -> Option<PathBuf> {
    if let Some(named) = env::var_os("FUSERMOUNT_PATH") {
        return Some(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(usual)
        .flat_map(|folder| ["fusermount3", "fusermount"].map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

fn others_are_allowed() -> bool {
    fs::read_to_string("/etc/fuse.conf")
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "user_allow_other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_unescaped() {
        assert_eq!(unescaped("/mnt/a\\040b\\134c"), "/mnt/a b\\c");
        assert_eq!(mounted_fuse(Path::new("/proc")), None);
        assert_eq!(mounted_fuse(Path::new("/nonexistent")), None);
    }
}
