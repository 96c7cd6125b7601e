//! Mounts that come about: in the background, usable when the command returns, and gone when asked.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::ftp_server::{FtpServer, HELLO};
use crate::poll;
use crate::run::Ftpfs;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The line of the mount in `/proc/self/mounts`.
pub(crate) fn mount_line(mountpoint: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let here = mountpoint.to_str().unwrap();
    table
        .lines()
        .find(|line| line.split(' ').nth(1) == Some(here))
        .map(str::to_owned)
}

/// Unmounts when dropped, so that a failed test leaves nothing behind.
pub(crate) struct Unmount(pub(crate) std::path::PathBuf);

impl Unmount {
    pub(crate) fn now(&self) -> bool {
        let status = Command::new("fusermount3").arg("-u").arg(&self.0).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Unmount {
    fn drop(&mut self) {
        if mount_line(&self.0).is_some() {
            drop(
                Command::new("fusermount3")
                    .args(["-u", "-z"])
                    .arg(&self.0)
                    .status(),
            );
        }
    }
}

/// Processes whose command line names this mountpoint.
fn processes(mountpoint: &Path) -> Vec<u32> {
    let here = mountpoint.to_str().unwrap();
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let number: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line.contains("ftpfs") && line.contains(here)).then_some(number)
    });
    numbers.collect()
}

#[test]
fn in_the_background_and_usable_when_the_command_returns() {
    let server = FtpServer::start("u", "s3cret");
    let ftpfs = Ftpfs::new();
    let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
    let unmount = Unmount(mountpoint.clone());
    let running = ftpfs
        .args(["-o", "noexec,nosuid,_netdev,x-systemd.automount"])
        .mount(format!("ftp://u:s3cret@{}/sub", server.address()))
        .start();
    // Its home holds the mountpoint, and has to live on.
    let home = running.home.path().to_owned();
    let parent = running.pid();
    poll::until(LIMIT, "the command to return", || {
        fs::read_to_string(format!("/proc/{parent}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    assert_eq!(running.stderr(), "");
    let line = mount_line(&mountpoint).unwrap();
    let source = format!("ftp://u@{}/sub", server.address());
    assert!(line.starts_with(&format!("{source} ")), "{line}");
    assert!(
        line.contains(" fuse.ftpfs ") && line.contains("noexec"),
        "{line}"
    );
    assert_eq!(fs::read(mountpoint.join("hello.txt")).unwrap(), HELLO);

    let serving = processes(&mountpoint);
    let [daemon] = serving
        .iter()
        .copied()
        .filter(|pid| *pid != parent)
        .collect::<Vec<_>>()[..]
    else {
        panic!("not one process: {serving:?}");
    };
    assert_eq!(
        fs::read_link(format!("/proc/{daemon}/cwd")).unwrap(),
        Path::new("/")
    );
    assert_eq!(
        fs::read_link(format!("/proc/{daemon}/fd/2")).unwrap(),
        Path::new("/dev/null")
    );
    let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    let session = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(session, daemon.to_string(), "a session of its own");

    assert!(unmount.now());
    poll::until(LIMIT, "the process to end", || {
        processes(&mountpoint).iter().all(|pid| *pid == parent)
    });
    assert!(mount_line(&mountpoint).is_none());
    assert!(home.exists());
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn in_the_foreground_until_a_signal() {
    let server = FtpServer::start("u", "p");
    let ftpfs = Ftpfs::new();
    let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
    let _unmount = Unmount(mountpoint.clone());
    let running = ftpfs
        .args(["-f"])
        .mount(format!("ftp://u:p@{}/", server.address()))
        .start();
    poll::until(LIMIT, "the mount", || mount_line(&mountpoint).is_some());
    drop(Command::new("kill").arg(running.pid().to_string()).status());
    let done = running.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(mount_line(&mountpoint).is_none());
}

#[test]
fn an_absolute_path() {
    let server = FtpServer::start("u", "p");
    for source in [
        format!("ftp://u:p@{}//abs", server.address()),
        format!("ftp://u:p@{}/%2Fabs", server.address()),
    ] {
        let ftpfs = Ftpfs::new();
        let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
        let unmount = Unmount(mountpoint.clone());
        let running = ftpfs.args(["-f"]).mount(source).start();
        poll::until(LIMIT, "the mount", || mount_line(&mountpoint).is_some());
        assert_eq!(fs::read(mountpoint.join("hello.txt")).unwrap(), HELLO);
        poll::until(LIMIT, "the unmount", || unmount.now());
        assert_eq!(running.end().code, Some(0));
    }
}

#[test]
fn a_mount_that_is_there_already_or_that_crashed() {
    let server = FtpServer::start("u", "p");
    let source = format!("ftp://u:p@{}/", server.address());
    let ftpfs = Ftpfs::new();
    let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
    let unmount = Unmount(mountpoint.clone());
    let running = ftpfs.args(["-f"]).mount(&source).start();
    poll::until(LIMIT, "the mount", || mount_line(&mountpoint).is_some());
    Ftpfs::new()
        .args([source.as_ref(), mountpoint.as_os_str()])
        .fails(2, &["is mounted here already", "fusermount3 -u"]);

    drop(
        Command::new("kill")
            .args(["-9", &running.pid().to_string()])
            .status(),
    );
    // Its home, which holds the mountpoint, goes only after the mount.
    let fallen = poll::becomes_true(LIMIT, || {
        fs::metadata(&mountpoint).is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN))
    });
    assert!(fallen, "the mount survives its process");
    Ftpfs::new()
        .args([source.as_ref(), mountpoint.as_os_str()])
        .fails(2, &["a crashed FUSE mount is still there; run: "]);
    assert!(unmount.now());
    drop(running);
}

#[test]
fn what_could_not_be_stored_is_told_at_the_end() {
    let server = FtpServer::start("u", "p");
    let ftpfs = Ftpfs::new();
    let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
    let _unmount = Unmount(mountpoint.clone());
    let running = ftpfs
        .args(["-f", "-q", "-o", "timeout=3"])
        .mount(format!("ftp://u:p@{}/", server.address()))
        .start();
    poll::until(LIMIT, "the mount", || mount_line(&mountpoint).is_some());
    let mut file = fs::File::create(mountpoint.join("report.txt")).unwrap();
    file.write_all(b"nowhere to go").unwrap();
    drop(Command::new("kill").arg(running.pid().to_string()).status());
    let done = running.end();
    assert_eq!(done.code, Some(7), "{done:?}");
    let last = done.stderr.lines().last().unwrap();
    for part in [
        "ftpfs: unmounted, but ",
        "/report.txt could not be stored",
        "452 no space left",
    ] {
        assert!(last.contains(part), "no {part:?} in {done:?}");
    }
}

#[test]
fn a_background_mount_logs_to_a_file() {
    let server = FtpServer::start("u", "s3cret");
    let ftpfs = Ftpfs::new();
    let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
    let unmount = Unmount(mountpoint.clone());
    let log = ftpfs.home.path().join("log");
    let option = format!("log_file={}", log.display());
    let running = ftpfs
        .args(["-v", "-o", &option])
        .mount(format!("ftp://u:s3cret@{}/", server.address()))
        .start();
    let read = || fs::read_to_string(&log).unwrap_or_default();
    poll::until(LIMIT, "a line of the mount", || {
        read().contains("mounted ftp://u@127.0.0.1")
    });
    poll::until(LIMIT, "the unmount", || unmount.now());
    poll::until(LIMIT, "a line of its end", || read().contains("unmounted "));
    assert!(!read().contains("s3cret"), "{}", read());
    assert_eq!(running.stderr(), "");
}

#[test]
fn a_delayed_connection_mounts_without_a_server() {
    let ftpfs = Ftpfs::new().args(["-o", "delay_connect"]);
    let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
    let unmount = Unmount(mountpoint.clone());
    // Nobody listens here.
    let running = ftpfs.mount("ftp://127.0.0.1:1//").start();
    poll::until(LIMIT, "the mount", || mount_line(&mountpoint).is_some());
    assert!(fs::metadata(&mountpoint).unwrap().is_dir());
    assert!(fs::read_dir(&mountpoint).is_err());
    poll::until(LIMIT, "the unmount", || unmount.now());
    assert_eq!(running.end().code, Some(0));
}
