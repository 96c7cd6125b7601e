//! `MountError`: why there is no mount, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no mount, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no such path.
    #[error("{0} does not exist; make it with: mkdir -p {0}")]
    NoMountpoint(PathBuf),
    /// Only a directory can show a directory.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// The process that served a mount there was killed.
    #[error("a crashed FUSE mount is still at {0}; remove it with: fusermount3 -u {0}")]
    DeadMount(PathBuf),
    /// The mountpoint cannot be looked at.
    #[error("cannot use {0} as a mountpoint: {1}")]
    Mountpoint(PathBuf, #[source] io::Error),
    /// The kernel has no FUSE, or its device is not here.
    #[error(
        "/dev/fuse is missing; load the kernel module with: modprobe fuse \
         (a container needs: --device /dev/fuse --cap-add SYS_ADMIN)"
    )]
    NoDevice,
    /// The device is closed to this user.
    #[error("/dev/fuse cannot be opened: {0}; its mode should be 0666: chmod 666 /dev/fuse")]
    Device(#[source] io::Error),
    /// What was handed over as `/dev/fd/N` cannot be served.
    #[error(
        "{0}: nothing is mounted with it: {1} (it has to be the open /dev/fuse of a mount that is there)"
    )]
    HandedOver(PathBuf, #[source] io::Error),
    /// Users mount by a helper program.
    #[error("fusermount3 was not found; install the package fuse3, or mount as root")]
    NoHelper,
    /// The administrator decides whether users may let others in.
    #[error("allow_other and allow_root need the line user_allow_other in /etc/fuse.conf, or root")]
    AllowOther,
    /// The system forbids it, in its own words.
    #[error(
        "not allowed to mount on {0}: {1}; a user must own the mountpoint and be able to write to it"
    )]
    Denied(PathBuf, String),
    /// No descriptor or thread left.
    #[error("cannot start: {0}")]
    Resources(#[source] io::Error),
    /// Anything else, in the system's own words.
    #[error("cannot mount on {0}: {1}")]
    Other(PathBuf, String),
}

impl MountError {
    /// What the system says of a mountpoint when it is looked at.
    pub(super) fn of_mountpoint(mountpoint: &Path, error: io::Error) -> Self {
        let mountpoint = mountpoint.to_owned();
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::NoMountpoint(mountpoint),
            Some(libc::ENOTDIR) => Self::NotADirectory(mountpoint),
            Some(libc::ENOTCONN) => Self::DeadMount(mountpoint),
            _ => Self::Mountpoint(mountpoint, error),
        }
    }

    /// What the system says of `/dev/fuse` when it is opened.
    pub(super) fn of_device(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Self::NoDevice,
            _ => Self::Device(error),
        }
    }

    /// What fuser says of a mount, once mountpoint and device are known to be good.
    pub(super) fn of_fuser(mountpoint: &Path, error: &io::Error) -> Self {
        let mountpoint = mountpoint.to_owned();
        let text = error.to_string();
        let text = text
            .trim()
            .trim_start_matches("fusermount3: ")
            .trim_start_matches("fusermount: ")
            .to_owned();
        if text.contains("user_allow_other") {
            return Self::AllowOther;
        }
        match error.kind() {
            // The only thing left to be missing.
            io::ErrorKind::NotFound => Self::NoHelper,
            io::ErrorKind::PermissionDenied => Self::Denied(mountpoint, text),
            _ if text.contains("Operation not permitted")
                || text.contains("ermission denied")
                || text.contains("no write access") =>
            {
                Self::Denied(mountpoint, text)
            }
            _ => Self::Other(mountpoint, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_and_what_to_do() {
        let mountpoint = Path::new("/mnt/x");
        let os = io::Error::from_raw_os_error;
        let said = |text: &str| io::Error::other(text.to_owned());
        for (error, expected) in [
            (
                MountError::of_mountpoint(mountpoint, os(libc::ENOENT)),
                "mkdir -p /mnt/x",
            ),
            (
                MountError::of_mountpoint(mountpoint, os(libc::ENOTCONN)),
                "fusermount3 -u /mnt/x",
            ),
            (
                MountError::of_mountpoint(mountpoint, os(libc::EACCES)),
                "Permission denied",
            ),
            (MountError::of_device(os(libc::ENOENT)), "modprobe fuse"),
            (MountError::of_device(os(libc::EACCES)), "chmod 666"),
            (
                MountError::of_fuser(mountpoint, &os(libc::ENOENT)),
                "package fuse3",
            ),
            (
                MountError::of_fuser(
                    mountpoint,
                    &io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n",
                    ),
                ),
                "need the line user_allow_other",
            ),
            (
                MountError::of_fuser(
                    mountpoint,
                    &said("fusermount3: user has no write access to mountpoint /mnt/x\n"),
                ),
                "not allowed to mount on /mnt/x: user has no write access to mountpoint /mnt/x; a user",
            ),
            (
                MountError::of_fuser(mountpoint, &said("fusermount3: mount failed: odd\n")),
                "cannot mount on /mnt/x: mount failed: odd",
            ),
        ] {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
