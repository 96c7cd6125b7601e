//! From the kernel's words to those of `FtpFs`.

use std::time::UNIX_EPOCH;

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags, TimeOrNow};

use crate::fs::{DirEntry, TimeChange};

/// The permission bits that a new file is to have. The kernel has applied the umask unless it was
/// told not to; doing so twice does no harm.
pub(super) fn permissions(mode: u32, umask: u32) -> u32 {
    mode & !umask & 0o7777
}

/// mknod(2): no type bits mean a plain file too. FTP has no devices, pipes or sockets.
pub(super) fn is_plain_file(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG)
}

/// Whether an existing target is an error. An exchange cannot be made of FTP's commands: EINVAL,
/// at which callers fall back.
pub(super) fn no_replace(flags: RenameFlags) -> Result<bool, Errno> {
    if flags.is_empty() {
        Ok(false)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(true)
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn time_change(time: TimeOrNow) -> TimeChange {
    match time {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(time) => TimeChange::To(time),
    }
}

/// For `.` and `..`, of which the kernel takes number and type only, and no reference.
pub(super) fn bare_attributes(entry: &DirEntry<'_>) -> FileAttr {
    FileAttr {
        ino: INodeNo(entry.ino),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn permissions_lose_type_and_umask() {
        for (mode, umask, expected) in [
            (0o100_644, 0o022, 0o644),
            (0o100_666, 0o022, 0o644),
            (0o040_777, 0o077, 0o700),
            (0o104_755, 0, 0o4755),
        ] {
            assert_eq!(permissions(mode, umask), expected);
        }
    }

    #[test]
    fn only_plain_files_are_made() {
        for (kind, plain) in [
            (0, true),
            (libc::S_IFREG, true),
            (libc::S_IFIFO, false),
            (libc::S_IFSOCK, false),
            (libc::S_IFCHR, false),
            (libc::S_IFBLK, false),
            (libc::S_IFLNK, false),
        ] {
            assert_eq!(is_plain_file(kind | 0o600), plain, "{kind:o}");
        }
    }

    #[test]
    fn rename_flags() {
        use RenameFlags as F;
        for (flags, expected) in [
            (F::empty(), Ok(false)),
            (F::RENAME_NOREPLACE, Ok(true)),
            (F::RENAME_EXCHANGE, Err(libc::EINVAL)),
            (F::RENAME_WHITEOUT, Err(libc::EINVAL)),
            (F::RENAME_NOREPLACE | F::RENAME_WHITEOUT, Err(libc::EINVAL)),
            (F::from_bits_retain(1 << 20), Err(libc::EINVAL)),
        ] {
            assert_eq!(no_replace(flags).map_err(Errno::code), expected, "{flags}");
        }
    }

    #[test]
    fn times() {
        assert!(matches!(time_change(TimeOrNow::Now), TimeChange::Now));
        let moment = UNIX_EPOCH + Duration::from_secs(7);
        assert!(matches!(
            time_change(TimeOrNow::SpecificTime(moment)),
            TimeChange::To(time) if time == moment
        ));
    }
}
