//! Called by mount(8), under the names that it looks for, and from lines of fstab.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::ftp_server::FtpServer;
use crate::run::Ftpfs;

/// Nobody listens here.
const NOBODY: &str = "ftp://127.0.0.1:1/";

fn called(name: &str) -> Ftpfs {
    let mut ftpfs = Ftpfs::new();
    ftpfs.command.arg0(name);
    ftpfs
}

#[test]
fn messages_begin_with_the_name_of_the_link() {
    for (name, shown, code) in [
        ("/usr/bin/curlftpfs", "curlftpfs: ", 5),
        ("/sbin/mount.ftpfs", "mount.ftpfs: ", 32),
        ("/sbin/mount.fuse.ftpfs", "mount.fuse.ftpfs: ", 32),
        ("anything", "ftpfs: ", 5),
    ] {
        let done = called(name).mount(NOBODY).run();
        assert_eq!(done.code, Some(code), "{name}: {done:?}");
        let last = done.stderr.lines().last().unwrap();
        assert!(last.starts_with(shown), "{name}: {done:?}");
        assert!(last.contains("127.0.0.1:1"), "{name}: {done:?}");
    }
}

#[test]
fn command_lines_of_mount() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (line, code, part) in [
        (&[NOBODY, folder, "-o", "rw"][..], 32, "127.0.0.1:1"),
        (
            &[
                NOBODY,
                folder,
                "-n",
                "-v",
                "-t",
                "fuse.ftpfs",
                "-orw,noexec,nosuid,user,_netdev",
            ],
            32,
            "127.0.0.1:1",
        ),
        (&[NOBODY, folder, "-f", "-o", "rw"], 0, ""),
        (
            &[NOBODY, folder, "-f", "-o", "qwrtzp"],
            1,
            "unknown option qwrtzp",
        ),
        (&[NOBODY, folder, "-sf", "-o", "qwrtzp"], 0, ""),
        (&["http://h/", folder, "-f"], 1, "not an ftp://"),
        (&[NOBODY], 1, "a source and a folder are needed"),
        (&[NOBODY, folder, "--ro"], 1, "only short options"),
        (&[NOBODY, "/nonexistent"], 2, "there is no such folder"),
        (
            &[NOBODY, folder, "-N", "/nonexistent"],
            2,
            "cannot mount there",
        ),
    ] {
        let done = called("mount.ftpfs").args(line).run();
        assert_eq!(done.code, Some(code), "{line:?}: {done:?}");
        assert!(done.stderr.contains(part), "{line:?}: {done:?}");
    }
}

#[test]
fn a_descriptor_that_is_no_mount() {
    for (place, part) in [
        (
            "/dev/fd/0",
            "/dev/fd/0: no mount was handed over: it is not /dev/fuse",
        ),
        (
            "/dev/fd/77",
            "/dev/fd/77: no mount was handed over: No such file",
        ),
    ] {
        Ftpfs::new().args([NOBODY, place]).fails(2, &[part]);
    }
}

/// What runs in a mount name space of its own, where /sbin has our links.
fn in_own_mounts(script: &str) {
    let server = FtpServer::start("u", "s3cret");
    let folder = tempfile::Builder::new()
        .prefix("ftpfs-cli.")
        .tempdir()
        .unwrap();
    let path = folder.path().canonicalize().unwrap();
    let file = path.join("script");
    fs::write(&file, script).unwrap();
    let done = Command::new("timeout")
        .args(["100", "unshare", "--mount", "sh"])
        .arg(&file)
        .arg(env!("CARGO_BIN_EXE_ftpfs"))
        .arg(server.address())
        .arg(&path)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_STATE_HOME")
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&done.stdout), said(&done.stderr));
    assert!(done.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("done\n"), "{stdout}\n{stderr}");
    assert!(!stdout.contains("s3cret") && !stderr.contains("s3cret"));
}

#[test]
fn mount_and_umount_and_lines_of_fstab() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tried: a mount name space with an /sbin of our own is for root");
        return;
    }
    in_own_mounts(include_str!("by_mount.sh"));
}
