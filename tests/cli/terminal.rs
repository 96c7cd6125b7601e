//! Asking for a password at a terminal: no echo, and Ctrl-C ends it with the terminal as it was.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::ftp_server::FtpServer;
use crate::mounted::{LIMIT, Unmount, mount_line};
use crate::poll;
use crate::run::Ftpfs;

/// A terminal with the program on it.
struct Terminal {
    screen: File,
    /// Keeps the terminal alive when the program has ended.
    line: File,
    shown: Vec<u8>,
    child: std::process::Child,
    _home: tempfile::TempDir,
}

impl Terminal {
    fn start(ftpfs: Ftpfs) -> Self {
        let screen: OwnedFd =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let line = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let (mut command, home) = (ftpfs.command, ftpfs.home);
        let copy = || Stdio::from(line.try_clone().unwrap());
        command.stdin(copy()).stdout(copy()).stderr(copy());
        #[expect(unsafe_code, reason = "only a child can take a terminal as its own")]
        // SAFETY: setsid(2) and ioctl(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(std::io::stdin().as_raw_fd(), libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        rustix::io::ioctl_fionbio(screen.as_fd(), true).unwrap();
        Self {
            screen: File::from(screen),
            line,
            shown: Vec::new(),
            child,
            _home: home,
        }
    }

    fn shown(&mut self) -> String {
        let mut buffer = [0; 1024];
        loop {
            match self.screen.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.shown.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    /// Waits for the question, and until the terminal has stopped to echo.
    fn wait_for_question(&mut self, question: &str) {
        poll::until(Duration::from_secs(20), question, || {
            self.shown().contains(question) && !self.echoes()
        });
    }

    fn end(&mut self) -> Option<i32> {
        poll::until(Duration::from_secs(60), "the program to end", || {
            self.shown();
            self.child.try_wait().unwrap().is_some()
        });
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_password_is_asked_for_without_echo() {
    let server = FtpServer::start("u", "typed p\u{e4}ss");
    let mut terminal =
        Terminal::start(Ftpfs::new().mount(format!("ftp://u@{}/nowhere", server.address())));
    terminal.wait_for_question("Password of u on 127.0.0.1: ");
    terminal
        .screen
        .write_all("typed p\u{e4}ss\n".as_bytes())
        .unwrap();
    assert_eq!(terminal.end(), Some(6), "{}", terminal.shown());
    assert!(!terminal.shown().contains("typed"), "{}", terminal.shown());
    assert!(terminal.echoes());
    assert_eq!(server.told("PASS"), ["typed p\u{e4}ss".as_bytes()]);
}

#[test]
fn ctrl_c_ends_the_question() {
    let mut terminal = Terminal::start(Ftpfs::new().mount("ftp://u@127.0.0.1:1/"));
    terminal.wait_for_question("Password of u on 127.0.0.1: ");
    terminal.screen.write_all(b"half\x03").unwrap();
    assert_eq!(terminal.end(), Some(130), "{}", terminal.shown());
    assert!(
        terminal.shown().contains("ftpfs: interrupted"),
        "{}",
        terminal.shown()
    );
    assert!(terminal.echoes());
}

#[test]
fn a_mount_in_the_foreground_ends_with_its_terminal() {
    const FTPFS: &str = env!("CARGO_BIN_EXE_ftpfs");
    for (command, ends) in [([FTPFS].as_slice(), true), (&["nohup", FTPFS], false)] {
        let server = FtpServer::start("u", "p");
        let mut ftpfs = Ftpfs::by(command);
        let mountpoint = ftpfs.mountpoint().canonicalize().unwrap();
        let unmount = Unmount(mountpoint.clone());
        let log = ftpfs.home.path().join("log");
        ftpfs.command.current_dir(ftpfs.home.path());
        let option = format!("log_file={}", log.display());
        let ftpfs = ftpfs
            .args(["-f", "-v", "-o", &option])
            .mount(format!("ftp://u:p@{}/", server.address()));
        let mut terminal = Terminal::start(ftpfs);
        poll::until(LIMIT, "the mount", || mount_line(&mountpoint).is_some());
        drop(std::mem::replace(
            &mut terminal.screen,
            File::open("/dev/null").unwrap(),
        ));
        if ends {
            assert_eq!(terminal.end(), Some(0));
            assert_eq!(mount_line(&mountpoint), None);
        } else {
            poll::until(LIMIT, "the signal to be heard", || {
                fs::read_to_string(&log).is_ok_and(|log| log.contains("SIGHUP"))
            });
            assert!(unmount.now(), "it is still there");
            assert_eq!(terminal.end(), Some(0));
        }
    }
}

#[test]
fn nobody_named_is_not_asked() {
    let server = FtpServer::start("anonymous", "anonymous@");
    let mut terminal =
        Terminal::start(Ftpfs::new().mount(format!("ftp://{}/nowhere", server.address())));
    assert_eq!(terminal.end(), Some(6), "{}", terminal.shown());
    assert!(
        !terminal.shown().contains("Password"),
        "{}",
        terminal.shown()
    );
}
