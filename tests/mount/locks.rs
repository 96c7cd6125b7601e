//! flock(2) and fcntl(2) locks hold between the programs of this machine.

use std::env;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};

use crate::check::OrFail;
use crate::files::{has, put};
use crate::place::Place;
use crate::shell::{program, sh};

cases! {
    flock_excludes_another_handle.smoke(),
    flock_of_the_shell_excludes_another_process.smoke(),
    fcntl_locks_exclude_another_process.smoke(),
    parts_of_a_file_are_locked_apart,
    locks_are_of_one_mount.mounts_only(),
}

/// The first argument that makes this program try a lock instead of running tests.
const HELPER: &str = "--try-fcntl-lock";

fn whole_lock(kind: libc::c_int, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap(),
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

/// `--try-fcntl-lock PATH START LENGTH`: exit code 0 if another process could lock that, 1 if not.
pub(crate) fn helper() -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    if arguments.next()? != HELPER {
        return None;
    }
    let path = arguments.next()?;
    let start = arguments.next()?.parse().ok()?;
    let len = arguments.next()?.parse().ok()?;
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let lock = whole_lock(libc::F_WRLCK, start, len);
    Some(match fcntl(&file, FcntlArg::F_SETLK(&lock)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(Errno::EACCES | Errno::EAGAIN) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fcntl: {error}");
            ExitCode::from(2)
        }
    })
}

/// Whether another process gets the lock.
fn another_process_can_lock(path: &Path, start: i64, len: i64) -> bool {
    let status = Command::new(env::current_exe().or_fail("find this program"))
        .arg(HELPER)
        .arg(path)
        .args([start.to_string(), len.to_string()])
        .status()
        .or_fail("run the helper");
    match status.code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("the helper ended with {other:?}"),
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .or_fail("open")
}

fn flock_excludes_another_handle(place: &Place) {
    let path = place.here.join("file");
    put(&path, b"x");
    let held = Flock::lock(open(&path), FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| error)
        .or_fail("lock");
    for kind in [
        FlockArg::LockExclusiveNonblock,
        FlockArg::LockSharedNonblock,
    ] {
        match Flock::lock(open(&path), kind) {
            Ok(_) => panic!("expected EWOULDBLOCK, but the second handle got the lock"),
            Err((_, error)) => assert_eq!(error, Errno::EWOULDBLOCK, "the second handle"),
        }
    }
    drop(held);
    let shared = |_| {
        Flock::lock(open(&path), FlockArg::LockSharedNonblock)
            .map_err(|(_, error)| error)
            .or_fail("a shared lock")
    };
    let both: Vec<_> = (0..2).map(shared).collect();
    assert_eq!(both.len(), 2, "two shared locks at once");
}

fn flock_of_the_shell_excludes_another_process(place: &Place) {
    sh(
        &place.here,
        "exec 9> lock; flock -n 9; ! flock -n lock true; exec 9>&-; flock -n lock true",
    );
    let mut children: Vec<_> = (0..6)
        .map(|n| {
            let script = format!(
                "for n in 1 2 3 4 5; do flock lock sh -c 'n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count; echo {n} >> log'; done"
            );
            program(&place.here, "sh").args(["-ec", &script]).spawn().or_fail("spawn")
        })
        .collect();
    for child in &mut children {
        let status = child.wait().or_fail("wait");
        assert!(status.success(), "a counting shell: {status}");
    }
    has(&place.there.join("count"), b"30\n");
    assert_eq!(
        sh(&place.there, "wc -l < log").trim(),
        "30",
        "lines in the log"
    );
}

fn fcntl_locks_exclude_another_process(place: &Place) {
    let path = place.here.join("file");
    put(&path, &[0; 1000]);
    let file = open(&path);
    assert!(another_process_can_lock(&path, 0, 0), "nobody holds it");
    fcntl(&file, FcntlArg::F_SETLK(&whole_lock(libc::F_WRLCK, 0, 0))).or_fail("lock");
    assert!(!another_process_can_lock(&path, 0, 0), "we hold it");
    fcntl(&file, FcntlArg::F_SETLK(&whole_lock(libc::F_UNLCK, 0, 0))).or_fail("unlock");
    assert!(another_process_can_lock(&path, 0, 0), "we have let it go");
}

fn parts_of_a_file_are_locked_apart(place: &Place) {
    let path = place.here.join("file");
    put(&path, &[0; 1000]);
    let file = open(&path);
    fcntl(
        &file,
        FcntlArg::F_SETLK(&whole_lock(libc::F_WRLCK, 100, 50)),
    )
    .or_fail("lock");
    assert!(
        another_process_can_lock(&path, 0, 100),
        "before the locked part"
    );
    assert!(!another_process_can_lock(&path, 149, 10), "its last byte");
    assert!(another_process_can_lock(&path, 150, 100), "behind it");
    drop(file);
    assert!(another_process_can_lock(&path, 0, 0), "a close lets go");
}

/// FTP has no locks: another mount, here or on another machine, does not know of them.
fn locks_are_of_one_mount(place: &Place) {
    put(&place.here.join("file"), &[0; 1000]);
    let other = place.fresh_look();
    let (ours, theirs) = (
        open(&place.here.join("file")),
        open(&other.here.join("file")),
    );
    let lock =
        |file: File| Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error);
    let held = lock(ours).or_fail("lock");
    let theirs = lock(theirs).or_fail("the same lock in another mount");
    drop((held, theirs));
}
