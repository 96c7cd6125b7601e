//! A mount by the real program, undone on drop.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::poll;

/// Until the mount is there, or is gone; a loaded machine needs some of it, a healthy one milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Until the program has ended after its mount is gone: it may have files to send.
const END_LIMIT: Duration = Duration::from_secs(120);

/// A running `ftpfs -f` and its mountpoint.
#[derive(Debug)]
pub struct Mounted {
    child: Child,
    /// The mountpoint, the log and the program's home. `None` once left behind on purpose.
    place: Option<TempDir>,
    path: PathBuf,
    log: PathBuf,
    /// The exit code, once the program has ended.
    ended: Option<Option<i32>>,
}

/// Why a mount did not come about.
#[derive(Debug)]
pub struct Refused {
    /// The exit code of the program; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on standard output and standard error.
    pub log: String,
}

impl Mounted {
    /// Mounts `url`; each of `options` is given by `-o`.
    ///
    /// # Panics
    /// When the mount does not come about, with what the program said.
    #[track_caller]
    pub fn new(url: &str, options: &[&str]) -> Mounted {
        Mounted::try_new(url, options).unwrap_or_else(|refused| {
            panic!(
                "ftpfs {url} ended with {:?} before the mount was there:\n{}",
                refused.code, refused.log
            )
        })
    }

    /// Like [`Mounted::new`], for mounts that are to be refused.
    #[track_caller]
    pub fn try_new(url: &str, options: &[&str]) -> Result<Mounted, Refused> {
        Mounted::run(url, options, |_| {})
    }

    /// Like [`Mounted::new`], with a home of the caller's: what one mount keeps another finds.
    #[track_caller]
    pub fn at_home(home: &Path, url: &str, options: &[&str]) -> Mounted {
        let mounted = Mounted::run(url, options, |command| {
            command.env("HOME", home);
        });
        mounted.unwrap_or_else(|refused| panic!("{:?}: {}", refused.code, refused.log))
    }

    /// Like [`Mounted::try_new`]; `prepare` may add arguments and variables to the command.
    #[track_caller]
    pub fn run(
        url: &str,
        options: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Mounted, Refused> {
        let place = tempfile::Builder::new()
            .prefix("ftpfs-mount.")
            .tempdir()
            .expect("a temporary folder");
        // Resolved, because the kernel's list of mounts is.
        let top = place.path().canonicalize().expect("the temporary folder");
        let (path, log, home) = (top.join("mnt"), top.join("log"), top.join("home"));
        fs::create_dir(&path).expect("the mountpoint");
        fs::create_dir(top.join("run")).expect("the folder of sockets");
        fs::create_dir(&home).expect("the home");
        let out = File::create(&log).expect("the log");

        let mut command = Command::new(env!("CARGO_BIN_EXE_ftpfs"));
        command.arg("-f");
        for option in options {
            command.arg("-o").arg(option);
        }
        let trusts = ["cacert", "cert_sha256", "no_verify_peer"];
        let told = |option: &&str| trusts.iter().any(|name| option.starts_with(name));
        if !options.iter().any(told) {
            command.args(super::server::trusting(url));
        }
        command
            .arg(url)
            .arg(&path)
            // Nothing of the caller's: no netrc, no configuration, a journal of its own.
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", top.join("run"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("FTPFS_PASSWORD")
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("the log"))
            .stderr(out);
        prepare(&mut command);
        let child = command.spawn().expect("the program can be run");

        let mut mounted = Mounted {
            child,
            place: Some(place),
            path,
            log,
            ended: None,
        };
        let appeared = poll::becomes_true(LIMIT, || {
            is_mounted(&mounted.path) || mounted.has_ended(Duration::ZERO)
        });
        if let Some(code) = mounted.ended {
            return Err(Refused {
                code,
                log: mounted.log(),
            });
        }
        assert!(appeared, "no mount after {LIMIT:?}:\n{}", mounted.log());
        Ok(mounted)
    }

    /// The mountpoint.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the mountpoint.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    /// The home of the program, if it has one of its own: caches and journals are below it. It lives as long as the mount.
    pub fn home(&self) -> PathBuf {
        self.path.with_file_name("home")
    }

    /// `ftpfs` as whoever has mounted this would type it.
    pub fn ftpfs(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ftpfs"));
        command
            .args(arguments)
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.path.with_file_name("run"))
            .stdin(Stdio::null());
        command
    }

    /// What the program has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Where that is; the file goes with the mount.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The process that serves the mount.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Unmounts by `fusermount3 -u` and waits for the program's end: its exit code, `None` when a
    /// signal ended it.
    ///
    /// # Panics
    /// When the mount stays busy, or the program does not end.
    #[track_caller]
    pub fn unmount(mut self) -> Option<i32> {
        self.end_by(|path| {
            fusermount(&["-u"], path);
        })
    }

    /// Sends a signal, such as `TERM`, and waits for the program's end: its exit code.
    ///
    /// # Panics
    /// When the program does not end, or leaves its mount behind.
    #[track_caller]
    pub fn end_by_signal(mut self, signal: &str) -> Option<i32> {
        let sent = self.send(signal);
        assert!(sent, "the program has ended before:\n{}", self.log());
        self.end_by(|_| {})
    }

    /// Sends a signal to the program; false if it has ended.
    pub fn send(&self, signal: &str) -> bool {
        Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    #[track_caller]
    fn end_by(&mut self, mut try_to_end: impl FnMut(&Path)) -> Option<i32> {
        let path = self.path.clone();
        let gone = poll::becomes_true(LIMIT, || {
            try_to_end(&path);
            !is_mounted(&path) || self.has_ended(Duration::ZERO)
        });
        assert!(gone, "still mounted after {LIMIT:?}:\n{}", self.log());
        assert!(
            self.has_ended(END_LIMIT),
            "unmounted, and runs on after {END_LIMIT:?}:\n{}",
            self.log()
        );
        assert!(!is_mounted(&path), "ended without unmounting");
        let code = self.ended.flatten();
        if code != Some(0) {
            // Whoever did not expect it wants to know why.
            eprintln!("{} ended with {code:?}:\n{}", path.display(), self.log());
        }
        code
    }

    /// Whether the program ends within `limit`; reaps it.
    pub fn has_ended(&mut self, limit: Duration) -> bool {
        if self.ended.is_none() {
            let child = &mut self.child;
            let ended = &mut self.ended;
            poll::becomes_true(limit, || {
                if let Ok(Some(status)) = child.try_wait() {
                    *ended = Some(status.code());
                }
                ended.is_some()
            });
        }
        self.ended.is_some()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = self.path.clone();
        if is_mounted(&path) {
            poll::becomes_true(Duration::from_secs(5), || {
                fusermount(&["-u"], &path);
                !is_mounted(&path)
            });
        }
        let patience = if std::thread::panicking() {
            Duration::from_secs(10)
        } else {
            END_LIMIT
        };
        let in_time = !is_mounted(&path) && self.has_ended(patience);
        if !in_time && self.ended.is_none() {
            // Dead or alive, nobody may wait for it any more.
            let killed = self.child.kill().and_then(|()| self.child.wait());
            self.ended = Some(killed.ok().and_then(|status| status.code()));
        }
        if is_mounted(&path) {
            fusermount(&["-u", "-z"], &path);
        }
        if is_mounted(&path) {
            // Cleaning up would remove the server's files through the mount.
            if let Some(place) = self.place.take() {
                eprintln!("left behind: {}", place.keep().display());
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of the mount {}\n{}---", path.display(), self.log());
        } else {
            assert!(in_time, "the mount had to be killed:\n{}", self.log());
        }
    }
}

fn fusermount(arguments: &[&str], path: &Path) -> bool {
    Command::new("fusermount3")
        .args(arguments)
        .arg("--")
        .arg(path)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a file system is mounted at exactly `path`. Asks the kernel's list, never the path: a stat
/// of a mount that hangs would hang.
pub fn is_mounted(path: &Path) -> bool {
    let list = fs::read("/proc/self/mountinfo").expect("/proc/self/mountinfo");
    list.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .any(|place| unescaped(place).as_bytes() == path.as_os_str().as_bytes())
}

/// The kernel writes blank, tab, line feed and backslash as three octal digits (proc(5)).
fn unescaped(text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|d| str::from_utf8(d).ok());
        let octal = digits.and_then(|d| u8::from_str_radix(d, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}
