//! Runs the program in a clean environment, without a terminal, and not for ever.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::poll;

/// Any run in these tests ends within seconds; a loaded machine may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A command line in the making. Home is an empty folder, and `mnt` in it an empty mountpoint.
pub(crate) struct Ftpfs {
    pub(crate) command: Command,
    pub(crate) home: TempDir,
    input: Vec<u8>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Done {
    /// Exit status; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    pub(crate) home: TempDir,
}

impl Ftpfs {
    pub(crate) fn new() -> Self {
        Self::by(&[env!("CARGO_BIN_EXE_ftpfs")])
    }

    /// By another program, which is given what follows.
    pub(crate) fn by(command: &[&str]) -> Self {
        let (program, arguments) = command.split_first().unwrap();
        let home = tempfile::Builder::new()
            .prefix("ftpfs-cli.")
            .tempdir()
            .unwrap();
        fs::create_dir(home.path().join("mnt")).unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("FTPFS_PASSWORD")
            .env_remove("RUST_LOG");
        Self {
            command,
            home,
            input: Vec::new(),
        }
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds the source and the empty mountpoint.
    pub(crate) fn mount(mut self, source: impl AsRef<OsStr>) -> Self {
        let mountpoint = self.mountpoint();
        self.command.arg(source).arg(mountpoint);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// A file in the home folder.
    pub(crate) fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.home.path().join(name);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path);
        file.unwrap().write_all(content).unwrap();
        self
    }

    /// Starts it without a controlling terminal; output goes to files.
    pub(crate) fn start(mut self) -> Running {
        let output = |name| File::create(self.home.path().join(name)).unwrap();
        let input = self.home.path().join("stdin");
        fs::write(&input, &self.input).unwrap();
        #[expect(
            unsafe_code,
            reason = "a child without a terminal can only be made here"
        )]
        // SAFETY: setsid(2) may be called between fork and exec.
        unsafe {
            self.command.pre_exec(|| {
                libc::setsid();
                Ok(())
            });
        }
        self.command
            .stdin(Stdio::from(File::open(input).unwrap()))
            .stdout(output("stdout"))
            .stderr(output("stderr"));
        Running {
            child: self.command.spawn().unwrap(),
            home: self.home,
        }
    }

    #[track_caller]
    pub(crate) fn run(self) -> Done {
        self.start().end()
    }

    /// Runs it, and expects this exit status and one line with these parts on standard error.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Done {
        let done = self.run();
        assert_eq!(done.code, Some(code), "{done:?}");
        let lines: Vec<&str> = done
            .stderr
            .lines()
            .filter(|l| !l.starts_with("ftpfs: warning: "))
            .collect();
        assert_eq!(lines.len(), 1, "not one line: {done:?}");
        assert!(lines[0].starts_with("ftpfs: "), "{done:?}");
        for part in parts {
            assert!(lines[0].contains(part), "no {part:?} in {done:?}");
        }
        assert_eq!(done.stdout, "", "{done:?}");
        done
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.home.path().join(name)).unwrap()).into_owned()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Done {
        let child = &mut self.child;
        let ended = poll::becomes_true(LIMIT, || child.try_wait().unwrap().is_some());
        assert!(
            ended,
            "still running after {LIMIT:?}: {}",
            self.read("stderr")
        );
        let code = self.child.wait().unwrap().code();
        Done {
            code,
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only does something if a test gave up on it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
