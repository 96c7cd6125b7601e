//! Taking our mount away, and never another one that stands in its place.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;

/// A mount as `/proc/self/mountinfo` tells it from all others (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountId {
    /// Where it is mounted.
    mountpoint: PathBuf,
    /// The kernel's number of this mount.
    mount: u64,
    /// `major:minor` of its file system.
    device: String,
}

impl MountId {
    /// The mount on top at `mountpoint`, a canonical path; `None` if there is none. Nothing is asked
    /// of the mount itself.
    ///
    /// # Errors
    /// What the system says when `/proc` cannot be read.
    pub(super) fn at(mountpoint: &Path) -> io::Result<Option<Self>> {
        Ok(mounts_at(&fs::read("/proc/self/mountinfo")?, mountpoint).last())
    }

    /// Its connection has ended, and yet it is still there. To be asked when the connection has
    /// ended: from then on a new mount may have all our numbers, but it is not dead.
    pub(super) fn is_dead(&self) -> bool {
        self.place().is_ok_and(|place| place == Place::OnTop)
            && statvfs(&self.mountpoint).err() == Some(Errno::ENOTCONN)
    }

    fn place(&self) -> io::Result<Place> {
        Ok(place(&fs::read("/proc/self/mountinfo")?, self))
    }

    /// Unmounts it; if it is in use, out of sight at once and in fact when the last user has gone.
    /// When it is gone already, nothing is done. Its connection must not have ended, or it must be
    /// dead: else a new mount could have its numbers.
    ///
    /// # Errors
    /// What the system or fusermount3 says; nothing can be done if another mount hides it.
    pub(super) fn unmount(&self) -> io::Result<()> {
        match self.place()? {
            Place::OnTop => {}
            Place::Hidden => return Err(io::Error::other("another mount is above it")),
            Place::Gone => return Ok(()),
        }
        let path = self.mountpoint.as_path();
        let direct = umount2(path, MntFlags::UMOUNT_NOFOLLOW).or_else(|error| match error {
            Errno::EBUSY => umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW),
            other => Err(other),
        });
        match direct {
            Ok(()) => Ok(()),
            Err(Errno::EPERM) => unmount_by_helper(path, &["-u", "-z"]),
            // Somebody was faster.
            Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The setuid helper may do for a user what umount(2) refuses.
pub(super) fn unmount_by_helper(mountpoint: &Path, how: &[&str]) -> io::Result<()> {
    let mut problem = io::Error::from(io::ErrorKind::NotFound);
    for helper in helpers() {
        let run = Command::new(&helper)
            .args(how)
            .arg("--")
            .arg(mountpoint)
            .stdin(Stdio::null())
            .output();
        match run {
            Ok(done) if done.status.success() => return Ok(()),
            Ok(done) => {
                let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                return Err(io::Error::other(said));
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// Where fusermount3 may be. Services often run without a PATH.
fn helpers() -> impl Iterator<Item = OsString> {
    let given = std::env::var_os("FUSERMOUNT_PATH");
    let usual = [
        "fusermount3",
        "fusermount",
        "/usr/bin/fusermount3",
        "/bin/fusermount3",
        "/sbin/fusermount3",
    ];
    given.into_iter().chain(usual.map(OsString::from))
}

/// Where a mount is found.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// At its mountpoint, to be seen.
    OnTop,
    /// At its mountpoint, under another one.
    Hidden,
    /// Not at its mountpoint.
    Gone,
}

fn place(mountinfo: &[u8], wanted: &MountId) -> Place {
    let mut place = Place::Gone;
    for mount in mounts_at(mountinfo, &wanted.mountpoint) {
        if mount == *wanted {
            place = Place::OnTop;
        } else if place == Place::OnTop {
            place = Place::Hidden;
        }
    }
    place
}

/// The mounts at one path, the one on top last.
fn mounts_at(mountinfo: &[u8], mountpoint: &Path) -> impl Iterator<Item = MountId> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let mount = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            let device = str::from_utf8(fields.nth(1)?).ok()?.to_owned();
            let path = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
            Some(MountId {
                mountpoint: path,
                mount,
                device,
            })
        })
        .filter(move |entry| entry.mountpoint == mountpoint)
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = br"22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:40 / /mnt/a\040b\134c rw,nosuid - fuse.ftpfs ftp://host/ rw,user_id=0
41 22 0:41 / /mnt/x rw - fuse.ftpfs ftp://one/ rw
42 22 0:42 /sub /mnt/x rw shared:7 master:1 - fuse.ftpfs ftp://two/ rw
broken
43 22
";

    fn mount(path: &str) -> Option<(u64, String)> {
        mounts_at(MOUNTINFO, Path::new(path))
            .last()
            .map(|found| (found.mount, found.device))
    }

    #[test]
    fn finds_the_mount_on_top() {
        assert_eq!(mount("/"), Some((22, "0:21".to_owned())));
        assert_eq!(mount(r"/mnt/a b\c"), Some((40, "0:40".to_owned())));
        assert_eq!(mount("/mnt/x"), Some((42, "0:42".to_owned())));
        assert_eq!(mount("/mnt"), None);
    }

    #[test]
    fn a_hidden_mount_is_not_taken_for_the_one_above() {
        let id = |path: &str, mount, device: &str| MountId {
            mountpoint: PathBuf::from(path),
            mount,
            device: device.to_owned(),
        };
        for (mount, expected) in [
            (id("/mnt/x", 42, "0:42"), Place::OnTop),
            (id("/mnt/x", 41, "0:41"), Place::Hidden),
            (id("/mnt/x", 42, "0:41"), Place::Gone),
            (id("/", 42, "0:42"), Place::Gone),
            (id("/mnt", 42, "0:42"), Place::Gone),
        ] {
            assert_eq!(place(MOUNTINFO, &mount), expected, "{mount:?}");
        }
    }

    #[test]
    fn unescapes_octal_and_leaves_the_rest() {
        for (escaped, plain) in [
            (r"a\011b", "a\tb"),
            (r"\134\012", "\\\n"),
            (r"\9", r"\9"),
            (r"\77", r"\77"),
            (r"\999", r"\999"),
            ("", ""),
        ] {
            assert_eq!(unescape(escaped.as_bytes()), plain.as_bytes());
        }
    }

    #[test]
    fn a_mount_of_somebody_else_is_left_alone() {
        let root = MountId::at(Path::new("/")).unwrap().unwrap();
        let proc = MountId::at(Path::new("/proc")).unwrap().unwrap();
        assert_eq!(proc.place().unwrap(), Place::OnTop);
        assert!(!proc.is_dead());
        let stranger = MountId {
            mount: root.mount,
            ..proc.clone()
        };
        assert!(!stranger.is_dead());
        stranger.unmount().unwrap();
        assert_eq!(MountId::at(Path::new("/proc")).unwrap(), Some(proc));
    }
}
