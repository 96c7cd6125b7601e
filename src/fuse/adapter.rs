//! `FuseAdapter`: each request of the kernel decoded, asked of `FtpFs`, and answered.
//!
//! ENOSYS is an answer for the life of the mount: the kernel never asks again. So it is given only
//! where that is wanted, never for what a server happens not to know.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{
    Attributes, Created, Done, EntriesPlus, Entry, OpenDirectory, OpenFile, Target,
};
use super::codepage::Codepage;
use super::decode::{is_plain_file, no_replace, permissions, time_change};
use super::dispatch::Dispatch;
use super::naming::Naming;
use super::slot::Call;
use crate::fs::{DirEntry, NewAttributes, NewSize};

/// The most the kernel takes (`fs.fuse.max_pages_limit` of 256 pages); also bounds a READ.
const MAX_WRITE: u32 = 1 << 20;

/// Requests that the kernel sends without a process that waits, readahead above all. Its 16 leave
/// concurrent readers with half their speed and odd request sizes.
const MAX_BACKGROUND: u16 = 64;

/// Unit of statfs, in bytes.
const STATFS_UNIT: u32 = 4096;

/// Longest name, in bytes: what POSIX file systems have; the server has the last word.
const NAME_MAX: u32 = 255;

/// What the kernel calls.
pub(super) struct FuseAdapter {
    dispatch: Arc<Dispatch>,
    codepage: Codepage,
    naming: Naming,
    /// Dropped with the adapter when the last event loop has ended: the other end sees it close.
    _alive: UnixStream,
}

impl FuseAdapter {
    /// The other end of `alive` reads end-of-file when the kernel has let go.
    pub(super) fn new(dispatch: Arc<Dispatch>, codepage: Codepage, alive: UnixStream) -> Self {
        Self {
            naming: Naming::new(codepage, Arc::clone(&dispatch)),
            dispatch,
            codepage,
            _alive: alive,
        }
    }
}

/// The value, or the errno as the answer.
macro_rules! or_refuse {
    ($reply:ident, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(errno) => return $reply.error(errno),
        }
    };
}

/// Operations that the kernel is to do itself, or without, from the first refusal on.
macro_rules! not_again {
    ($($operation:ident($($argument:ty),+; $reply:ty);)+) => {
        $(fn $operation(&self, _: &Request, $(_: $argument,)+ reply: $reply) {
            reply.error(Errno::ENOSYS);
        })+
    };
}

impl Filesystem for FuseAdapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in [
            // Names in one directory are looked up side by side: each may be a round trip.
            InitFlags::FUSE_PARALLEL_DIROPS,
            // A listing brings the attributes of all its entries.
            InitFlags::FUSE_DO_READDIRPLUS,
            // A changed mtime or size drops the pages.
            InitFlags::FUSE_AUTO_INVAL_DATA,
            // O_TRUNC comes with OPEN, so that opening and replacing is one operation.
            InitFlags::FUSE_ATOMIC_O_TRUNC,
        ] {
            if let Err(missing) = config.add_capabilities(capability) {
                log::info!("this kernel does not offer {missing:?}");
            }
        }
        let limits = [
            config.set_max_write(MAX_WRITE).map(drop).err(),
            config
                .set_max_background(MAX_BACKGROUND)
                .err()
                .map(u32::from),
            config
                .set_congestion_threshold(MAX_BACKGROUND)
                .err()
                .map(u32::from),
        ];
        for nearest in limits.into_iter().flatten() {
            log::info!("the kernel allows a limit of {nearest} only");
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let call = or_refuse!(reply, self.naming.known("lookup", request, parent, name));
        self.dispatch.ask(call, reply, |fs, call, wait| {
            fs.lookup(call.ino, &call.name, wait).map(Entry)
        });
    }

    fn forget(&self, request: &Request, ino: INodeNo, count: u64) {
        let call = Call::on("forget", request, ino.0);
        // There is no reply; a defect is logged.
        let _logged = self.dispatch.now(&call, |fs| {
            fs.forget(ino.0, count);
            Ok(())
        });
    }

    fn getattr(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let call = Call::on("getattr", request, ino.0);
        let handle = handle.map(|handle| handle.0);
        self.dispatch.ask(call, reply, move |fs, call, wait| {
            fs.getattr(call.ino, handle, wait).map(Attributes)
        });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let new = NewAttributes {
            mode,
            uid,
            gid,
            size: size.map(|size| NewSize::of(size, handle.is_some())),
            accessed: atime.map(time_change),
            modified: mtime.map(time_change),
        };
        let call = Call::on("setattr", request, ino.0);
        self.dispatch
            .work_after_upload(call, reply, move |fs, call| {
                fs.setattr(call.ino, new).map(Attributes)
            });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let call = Call::on("readlink", request, ino.0);
        let codepage = self.codepage;
        self.dispatch.ask(call, reply, move |fs, call, wait| {
            let target = fs.readlink(call.ino, wait)?;
            Ok(Target(codepage.path_shown(&target).into_owned()))
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        if !is_plain_file(mode) {
            return reply.error(Errno::EPERM);
        }
        let call = or_refuse!(reply, self.naming.new_name("mknod", request, parent, name));
        self.dispatch.work(call, reply, move |fs, call| {
            fs.mknod(call.ino, &call.name, permissions(mode, umask))
                .map(Entry)
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let call = or_refuse!(reply, self.naming.new_name("mkdir", request, parent, name));
        self.dispatch.work(call, reply, move |fs, call| {
            fs.mkdir(call.ino, &call.name, permissions(mode, umask))
                .map(Entry)
        });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let call = or_refuse!(
            reply,
            self.naming.new_name("symlink", request, parent, name)
        );
        let target = or_refuse!(reply, self.naming.target(&call, target.as_os_str()));
        self.dispatch.work(call, reply, move |fs, call| {
            fs.symlink(call.ino, &call.name, &target).map(Entry)
        });
    }

    /// FTP has no second names.
    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let call = or_refuse!(reply, self.naming.known("unlink", request, parent, name));
        self.dispatch.work(call, reply, |fs, call| {
            fs.unlink(call.ino, &call.name).map(|()| Done)
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let call = or_refuse!(reply, self.naming.known("rmdir", request, parent, name));
        self.dispatch.work(call, reply, |fs, call| {
            fs.rmdir(call.ino, &call.name).map(|()| Done)
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let no_replace = match no_replace(flags) {
            Ok(no_replace) => no_replace,
            Err(errno) => return reply.error(errno),
        };
        let call = or_refuse!(reply, self.naming.known("rename", request, parent, name));
        let new_name = or_refuse!(reply, self.naming.also_new(&call, new_name));
        self.dispatch
            .work_after_upload(call, reply, move |fs, call| {
                let to = (new_parent.0, &*new_name);
                fs.rename((call.ino, &call.name), to, no_replace)
                    .map(|()| Done)
            });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let call = Call::on("open", request, ino.0);
        self.dispatch.ask(call, reply, move |fs, call, wait| {
            fs.open(call.ino, flags.0, wait).map(OpenFile)
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let call = or_refuse!(reply, self.naming.new_name("create", request, parent, name));
        self.dispatch.work(call, reply, move |fs, call| {
            fs.create(call.ino, &call.name, permissions(mode, umask), flags)
                .map(|(looked, opened)| Created(looked, opened))
        });
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let call = Call::on("read", request, ino.0);
        self.dispatch.read(call, reply, handle.0, offset, size);
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let call = Call::on("write", request, ino.0);
        self.dispatch.write(&call, reply, handle.0, offset, data);
    }

    fn flush(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        let call = Call::on("flush", request, ino.0);
        self.dispatch.flush(call, reply, handle.0);
    }

    fn fsync(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let call = Call::on("fsync", request, ino.0);
        self.dispatch.fsync(call, reply, handle.0);
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let call = Call::on("release", request, ino.0);
        match self.dispatch.now(&call, |fs| {
            fs.release(handle.0);
            Ok(())
        }) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let call = Call::on("opendir", request, ino.0);
        self.dispatch.ask(call, reply, |fs, call, wait| {
            fs.opendir(call.ino, wait).map(OpenDirectory)
        });
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let call = Call::on("readdir", request, ino.0);
        let mut take = |entry: &DirEntry<'_>| {
            let name = self.codepage.shown(entry.name);
            let name = OsStr::from_bytes(&name);
            !reply.add(INodeNo(entry.ino), entry.next_offset, entry.kind, name)
        };
        match self
            .dispatch
            .now(&call, |fs| fs.read_dir(handle.0, offset, &mut take))
        {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let call = Call::on("readdirplus", request, ino.0);
        let (dispatch, codepage) = (Arc::clone(&self.dispatch), self.codepage);
        self.dispatch.ask(call, reply, move |fs, call, wait| {
            fs.may_read_dir_plus(handle.0, wait)?;
            Ok(EntriesPlus {
                dispatch: Arc::clone(&dispatch),
                call: call.clone(),
                codepage,
                handle: handle.0,
                offset,
            })
        });
    }

    fn releasedir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        let call = Call::on("releasedir", request, ino.0);
        match self.dispatch.now(&call, |fs| {
            fs.releasedir(handle.0);
            Ok(())
        }) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let call = Call::on("statfs", request, ino.0);
        match self.dispatch.now(&call, |fs| Ok(fs.statfs())) {
            Ok(space) => {
                let total = space.total / u64::from(STATFS_UNIT);
                let free = space.free / u64::from(STATFS_UNIT);
                // FTP counts no inodes: 0 of 0 is what df shows as unknown.
                reply.statfs(total, free, free, 0, 0, STATFS_UNIT, NAME_MAX, STATFS_UNIT);
            }
            Err(errno) => reply.error(errno),
        }
    }

    not_again! {
        // Without this the kernel asks for `security.capability` before every write.
        getxattr(INodeNo, &OsStr, u32; ReplyXattr);
        setxattr(INodeNo, &OsStr, &[u8], i32, u32; ReplyEmpty);
        listxattr(INodeNo, u32; ReplyXattr);
        removexattr(INodeNo, &OsStr; ReplyEmpty);
        // The kernel checks by the mode (`default_permissions`).
        access(INodeNo, AccessFlags; ReplyEmpty);
        // The server is changed before mkdir, unlink and rename return: there is nothing to sync.
        fsyncdir(INodeNo, FileHandle, bool; ReplyEmpty);
        // Locks hold among the processes of this machine: the kernel keeps them.
        getlk(INodeNo, FileHandle, LockOwner, u64, u64, i32, u32; ReplyLock);
        setlk(INodeNo, FileHandle, LockOwner, u64, u64, i32, u32, bool; ReplyEmpty);
        bmap(INodeNo, u32, u64; ReplyBmap);
        ioctl(INodeNo, FileHandle, IoctlFlags, u32, &[u8], u32; ReplyIoctl);
        poll(INodeNo, FileHandle, PollNotifier, PollEvents, PollFlags; ReplyPoll);
        // The kernel answers EOPNOTSUPP, and libc falls back to writing.
        fallocate(INodeNo, FileHandle, u64, u64, i32; ReplyEmpty);
        // The kernel answers SEEK_DATA and SEEK_HOLE as for a file without holes.
        lseek(INodeNo, FileHandle, i64, i32; ReplyLseek);
        // The kernel copies through its page cache.
        copy_file_range(
            INodeNo, FileHandle, u64, INodeNo, FileHandle, u64, u64, CopyFileRangeFlags;
            ReplyWrite
        );
    }
}
