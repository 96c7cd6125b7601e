//! Mounts of other processes, as the kernel's table tells them.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::unmount::{unescape, unmount_by_helper};
use crate::shell;

/// What is mounted on top at some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What mount(8) shows as the source.
    pub source: String,
    /// The user who mounted it, of a FUSE mount.
    pub owner: Option<u32>,
    /// The number of its device: each mount of FUSE that is there has one of its own.
    pub device: String,
    kind: String,
}

impl Found {
    /// Whether it is one of ftpfs.
    pub fn is_ours(&self) -> bool {
        self.kind == "fuse.ftpfs"
    }
}

/// The mount at exactly this path, which is absolute and without links. It is not asked anything itself.
pub fn mounted_at(mountpoint: &Path) -> Option<Found> {
    found(&fs::read("/proc/self/mountinfo").ok()?, mountpoint)
}

/// Fields of mountinfo (proc_pid_mountinfo(5)): the fifth is the place; behind a field `-` come type, source
/// and options.
fn found(mountinfo: &[u8], mountpoint: &Path) -> Option<Found> {
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let here = |line: &&[u8]| {
        let place = line.split(|byte| *byte == b' ').nth(4);
        place.is_some_and(|place| unescape(place) == mountpoint.as_os_str().as_encoded_bytes())
    };
    let line = mountinfo.split(|byte| *byte == b'\n').rfind(here)?;
    let device = text(line.split(|byte| *byte == b' ').nth(2)?);
    let mut behind = line
        .split(|byte| *byte == b' ')
        .skip_while(|field| *field != b"-")
        .skip(1);
    let kind = text(behind.next()?);
    let source = text(behind.next()?);
    let options = text(behind.next().unwrap_or_default());
    let owner = options
        .split(',')
        .find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(Found {
        source,
        owner,
        device,
        kind,
    })
}

/// What the user of this process runs to take the mount at this path away.
pub fn unmount_command(mountpoint: &Path) -> String {
    let program = match rustix::process::geteuid().is_root() {
        true => "umount",
        false => "fusermount3 -u",
    };
    format!("{program} {}", shell::path(mountpoint))
}

/// Unmounts what is at this path, unless it is in use.
///
/// # Errors
/// What the system or fusermount3 says.
pub fn unmount(mountpoint: &Path) -> io::Result<()> {
    match umount2(mountpoint, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => unmount_by_helper(mountpoint, &["-u"]),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_on_top_is_found() {
        let table = br"40 22 0:40 / /mnt/a\040b rw,nosuid shared:1 - fuse.ftpfs ftp://h/a\040b rw,user_id=7,group_id=0
41 22 0:41 / /mnt/x rw - fuse.ftpfs ftp://one/ rw
42 22 0:42 / /mnt/x rw - ext4 /dev/x rw
";
        let at = |place: &str| found(table, Path::new(place));
        let ours = at("/mnt/a b").unwrap();
        assert_eq!((ours.source.as_str(), ours.owner), ("ftp://h/a b", Some(7)));
        assert!(ours.is_ours() && !at("/mnt/x").unwrap().is_ours());
        assert_eq!(at("/mnt"), None);
    }
}
