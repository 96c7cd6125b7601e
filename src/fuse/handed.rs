//! A mount that somebody else has made: `/dev/fd/N` as the mountpoint, N being its open `/dev/fuse`.
//!
//! This is how mount.fuse3(8) with `drop_privileges`, and container runtimes, let a program without rights serve a mount.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{major, minor};
use rustix::io::{FdFlags, fcntl_setfd};

/// The descriptor that `mountpoint` names.
pub fn handed_over(mountpoint: &Path) -> Option<RawFd> {
    let number = mountpoint.to_str()?.strip_prefix("/dev/fd/")?;
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| is_number)
}

/// Takes the descriptor over. To be called once for each.
pub(super) fn take(number: RawFd) -> io::Result<OwnedFd> {
    claim(number)?;
    #[expect(
        unsafe_code,
        reason = "an inherited descriptor has no owner in this process"
    )]
    // SAFETY: it is open, and who started the program handed it over to be taken here: nothing of ours keeps a
    // /dev/fuse open, so it belongs to nobody else.
    let device = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(device)
}

/// Keeps this descriptor from the programs that are started from here (`passcommand`): a copy in one that goes on
/// would hold the mount. A descriptor of something else than an open `/dev/fuse` is left alone.
///
/// # Errors
/// What it is not.
pub fn claim(number: RawFd) -> io::Result<()> {
    is_fuse(number)?;
    #[expect(
        unsafe_code,
        reason = "an inherited descriptor has no owner in this process"
    )]
    // SAFETY: it is open, and nothing of ours closes it before it is taken.
    let device = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(fcntl_setfd(device, FdFlags::CLOEXEC)?)
}

/// Whether this descriptor is open, and is `/dev/fuse`.
fn is_fuse(number: RawFd) -> io::Result<()> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    /// Documentation/admin-guide/devices.txt of the kernel: misc, `/dev/fuse`.
    const FUSE: (u32, u32) = (10, 229);
    let data = std::fs::metadata(format!("/proc/self/fd/{number}"))?;
    match data.file_type().is_char_device() && (major(data.rdev()), minor(data.rdev())) == FUSE {
        true => Ok(()),
        false => Err(io::Error::other("it is not /dev/fuse")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_descriptors() {
        for (path, number) in [
            ("/dev/fd/7", Some(7)),
            ("/dev/fd/", None),
            ("/dev/fd/-1", None),
            ("/dev/fd/+7", None),
            ("/dev/fd/7/x", None),
            ("/dev/fd/99999999999", None),
            ("/mnt", None),
        ] {
            assert_eq!(handed_over(Path::new(path)), number, "{path}");
        }
    }

    #[test]
    fn what_is_not_the_device_is_not_taken() {
        let file = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert_eq!(take(number).unwrap_err().to_string(), "it is not /dev/fuse");
        assert!(take(RawFd::MAX).is_err());
        // Still ours.
        assert!(file.metadata().is_ok());
    }
}
