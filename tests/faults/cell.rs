//! One cell of the table: a mount of its own, one fault, one operation, and what must hold afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;

use crate::operation::{Calls, Operation, Seen, seed};
use crate::support::faulty::{Encryption, Proxy};
use crate::support::mounted::Mounted;
use crate::support::poll;
use crate::support::server::Server;
use crate::table::{Expect, Fault};
use crate::{Line, Site};

/// Short, because most cells wait for one of these.
const OPTIONS: &[&str] = &[
    "timeout=3",
    "connect_timeout=2",
    "max_conns=3",
    "cache_timeout=1",
    "verbose",
];

/// The longest that one system call may take: a connection and two silences.
const CALL: Duration = Duration::from_secs(2 + 2 * 3);
/// A close or fsync of what the server never acknowledges: at least a minute, then a look by another session.
const CALL_OF_FINAL: Duration = Duration::from_secs(60 + 2 + 2 * 3);
/// What a loaded machine may need besides.
const SLACK: Duration = Duration::from_secs(10);

/// Of a whole operation, which is made of some calls.
const LIMIT: Duration = CALL.saturating_mul(4);
const LIMIT_OF_FINAL: Duration = CALL_OF_FINAL.saturating_mul(4);
/// Until all works again once the fault is gone.
const RECOVERY: Duration = Duration::from_secs(30);

/// The first argument of the process that does an operation: then come its name and the folder.
const DO: &str = "--do";

/// Does one operation, if that is what this process is for: prints its error number, or 0, and how many
/// milliseconds the longest call of each name took.
pub(crate) fn helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != DO {
        return None;
    }
    let name = arguments.next()?;
    let operation = Operation::ALL.into_iter().find(|o| name == o.name())?;
    let mut calls = Calls::default();
    let result = operation.run(Path::new(&arguments.next()?), &mut calls);
    let errno = result.map_or_else(|e| e.raw_os_error().unwrap_or(-1), |()| 0);
    println!("{errno}");
    for (call, longest) in calls.0 {
        println!("{call} {}", longest.as_millis());
    }
    Some(ExitCode::SUCCESS)
}

/// Where a cell works.
pub(crate) struct Ground {
    /// Ends before the proxy does, for it may have something to send.
    mount: Option<Mounted>,
    pub(crate) proxy: Proxy,
    /// The folder on the server's disk.
    pub(crate) there: PathBuf,
    url: String,
    /// How the proxy is believed, where it encrypts.
    pin: Option<String>,
}

impl Ground {
    /// A folder called `name`, seeded, behind a proxy; not mounted yet.
    pub(crate) fn new(server: &Server, name: &str, line: Line) -> Ground {
        let there = server.at(name);
        seed(&there);
        give_to_owner_of(&server.root, &there);
        let proxy = match line {
            Line::Clear => Proxy::start(server.port()),
            Line::Tls => Proxy::start_encrypted(server.port(), Encryption::Explicit),
            Line::Tls12 => Proxy::start_encrypted(server.port(), Encryption::Tls12),
            Line::Implicit => Proxy::start_encrypted(server.port(), Encryption::Implicit),
        };
        let pin = proxy.pin();
        let url = proxy.url(&server.url_of(name));
        Ground {
            proxy,
            there,
            url,
            pin,
            mount: None,
        }
    }

    /// Mounts the folder, in bounded time.
    pub(crate) fn mount(&mut self) {
        self.mount_with(&[]);
    }

    /// Mounts it with these options besides.
    pub(crate) fn mount_with(&mut self, options: &[&str]) {
        self.mount = Some(Mounted::new(&self.url, &self.options(options)));
    }

    /// Mounts it with a home that outlives the mount.
    pub(crate) fn mount_at_home(&mut self, home: &Path, options: &[&str]) {
        let options = self.options(options);
        self.mount = Some(Mounted::at_home(home, &self.url, &options));
    }

    /// The option that makes a mount believe the proxy, where it encrypts.
    pub(crate) fn pin(&self) -> Option<&str> {
        self.pin.as_deref()
    }

    /// All options of a mount.
    pub(crate) fn options<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut options = OPTIONS.to_vec();
        options.extend(self.pin());
        options.extend(more);
        options
    }

    /// The mount, from now on the caller's.
    pub(crate) fn take_mount(&mut self) -> Mounted {
        self.mount.take().unwrap()
    }

    /// The address of the folder behind the proxy.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What a mount says to those who have something to recover, as far as the host.
    pub(crate) fn recovery(&self) -> String {
        let (scheme, _) = self.url.split_once("//").unwrap();
        let pin = self
            .pin()
            .map(|pin| format!("--{} ", pin.replacen('=', " ", 1)));
        format!("ftpfs --recover {}{scheme}//", pin.unwrap_or_default())
    }

    pub(crate) fn mounted(&self) -> &Mounted {
        self.mount.as_ref().unwrap()
    }

    /// Mounting as an operation: a refusal is an error number.
    fn try_mount(&mut self) -> io::Result<()> {
        match Mounted::try_new(&self.url, &self.options(&[])) {
            Ok(mount) => {
                self.mount = Some(mount);
                Ok(())
            }
            Err(refused) => {
                let errno = match refused.code {
                    Some(3) => Errno::EACCES,
                    Some(4) => Errno::EPROTO,
                    Some(5) => Errno::EIO,
                    other => panic!("the mount ended with {other:?}:\n{}", refused.log),
                };
                Err(errno.into())
            }
        }
    }

    /// Runs the operation in a process of its own, and fails if it takes longer than `limit`. (A thread
    /// of ours would have its files inherited by every program that another test starts.)
    pub(crate) fn run(&self, operation: Operation, limit: Duration) -> io::Result<()> {
        self.run_timed(operation, limit).0
    }

    /// The same, with how long its calls took.
    fn run_timed(&self, operation: Operation, limit: Duration) -> (io::Result<()>, Calls) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(DO)
            .arg(operation.name())
            .arg(self.mounted().path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ended = poll::becomes_true(limit, || child.try_wait().unwrap().is_some());
        if !ended {
            child.kill().unwrap();
            let ended = poll::becomes_true(limit, || child.try_wait().unwrap().is_some());
            let how = if ended { "" } else { ", even when killed" };
            panic!("{} takes more than {limit:?}{how}", operation.name());
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let (errno, calls) = said.split_once('\n').unwrap_or_default();
        let result = match (output.status.success(), errno.parse()) {
            (true, Ok(0)) => Ok(()),
            (true, Ok(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
        };
        let calls = calls.lines().map(|line| {
            let (call, longest) = line.split_once(' ').unwrap();
            (
                call.to_owned(),
                Duration::from_millis(longest.parse().unwrap()),
            )
        });
        (result, Calls(calls.collect()))
    }

    /// The operation succeeds once the fault is gone.
    pub(crate) fn recover(&self, operation: Operation) {
        if !operation.may_be_repeated() {
            return;
        }
        let mut last = None;
        let recovered = poll::becomes_true(RECOVERY, || {
            let repeated = self.run(operation, LIMIT);
            let has_been_done = match &repeated {
                Err(e) if operation == Operation::Mkdir => e.kind() == io::ErrorKind::AlreadyExists,
                Err(e) if matches!(operation, Operation::Unlink | Operation::Rename) => {
                    e.kind() == io::ErrorKind::NotFound
                }
                _ => false,
            };
            let done =
                repeated.is_ok() || has_been_done && operation.seen(&self.there) == Seen::All;
            last = Some(repeated);
            done
        });
        assert!(recovered, "the fault is gone, and still: {last:?}");
    }

    /// Mount and server agree, the mount ends, and nothing of it is left. Returns its exit code.
    pub(crate) fn ends_clean(&mut self) -> Option<i32> {
        poll::until(RECOVERY, "a new folder can be made", || {
            let dir = self.mounted().at("afterwards");
            dir.is_dir() || fs::create_dir(dir).is_ok()
        });
        let mut differences = String::new();
        let same = poll::becomes_true(RECOVERY, || {
            differences = difference(self.mounted().path(), &self.there);
            differences.is_empty()
        });
        assert!(same, "mount and server differ: {differences}");
        let code = self.mount.take().unwrap().unmount();
        let left: Vec<_> = tree(&self.there)
            .into_keys()
            .filter(|path| path.contains(".ftpfs-"))
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        code
    }

    /// Why a cell failed: what was said last.
    pub(crate) fn last_words(&self) -> String {
        let tail = |lines: Vec<String>| {
            let from = lines.len().saturating_sub(60);
            lines[from..].join("\n    ")
        };
        let log = self.mount.as_ref().map(Mounted::log).unwrap_or_default();
        format!(
            "  on the wire:\n    {}\n  the mount's log:\n    {}",
            tail(self.proxy.lines()),
            tail(log.lines().map(str::to_owned).collect())
        )
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What hangs would keep the mount from ending.
        self.proxy.heal();
    }
}

/// Runs one cell.
pub(crate) fn run(site: &Site, fault: &Fault, operation: Operation, expect: Expect) {
    let name = format!("{}-{}", fault.name, operation.name());
    let mut ground = site.ground(&name);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        steps(&mut ground, fault, operation, expect);
    }));
    if let Err(panic) = outcome {
        eprintln!("{name}:\n{}", ground.last_words());
        ground.proxy.heal();
        std::panic::resume_unwind(panic);
    }
}

fn steps(ground: &mut Ground, fault: &Fault, operation: Operation, expect: Expect) {
    let limit = match fault.is_about_final_reply {
        true => LIMIT_OF_FINAL,
        false => LIMIT,
    };
    let starts = operation == Operation::MountStart;
    if !starts {
        ground.mount();
    }
    (fault.strike)(&ground.proxy, operation);
    let (result, calls) = match starts {
        true => (ground.try_mount(), Calls::default()),
        false => ground.run_timed(operation, limit),
    };
    are_bounded(&calls, fault);
    judge(ground, operation, expect, &result);
    // The last reply may come after the program has all that it wants.
    poll::until(LIMIT, "the fault happens", || !ground.proxy.is_spared());

    ground.proxy.heal();
    if fault.needs_forgiveness && !starts {
        assert!(ground.mounted().send("HUP"));
    }
    if starts && result.is_err() {
        ground.mount();
    } else if result.is_err() {
        ground.recover(operation);
    }
    let failed = result.is_err();
    let code = ground.ends_clean();
    // After a failed close its copy may still be reported at the end.
    assert!(
        code == Some(0) || failed && code == Some(7),
        "exit code {code:?}"
    );
    let seen = operation.seen(&ground.there);
    let allowed: &[Seen] = match operation.may_be_repeated() || !failed {
        true => &[Seen::All],
        false => &[Seen::All, Seen::Part, Seen::Nothing],
    };
    assert!(
        allowed.contains(&seen),
        "at the end the server has {seen:?}"
    );
}

/// No single call takes longer than the README promises.
fn are_bounded(calls: &Calls, fault: &Fault) {
    for (call, longest) in &calls.0 {
        let stores = matches!(call.as_str(), "close" | "fsync");
        let bound = match stores && fault.is_about_final_reply {
            true => CALL_OF_FINAL,
            false => CALL,
        };
        assert!(
            *longest <= bound + SLACK,
            "one {call} takes {longest:?}, instead of {bound:?} at most"
        );
    }
}

/// The result is one of those expected, and the server has nothing that it must not have.
fn judge(ground: &Ground, operation: Operation, expect: Expect, result: &io::Result<()>) {
    let seen = operation.seen(&ground.there);
    let (done, errors) = match expect {
        Expect::Done => (true, &[][..]),
        Expect::Fails(errors) => (false, errors),
        Expect::Either(errors) => (true, errors),
    };
    match result {
        Ok(()) => {
            assert!(done, "it succeeds, instead of one of {errors:?}");
            assert_eq!(seen, Seen::All, "it succeeds");
        }
        Err(error) => {
            let errno = error.raw_os_error().map(Errno::from_raw);
            assert!(
                errno.is_some_and(|errno| errors.contains(&errno)),
                "{error:?}, instead of one of {errors:?}{}",
                if done { " or success" } else { "" }
            );
            // What close could not store may be tried once more by the release, in place.
            let whole =
                poll::becomes_true(RECOVERY, || operation.seen(&ground.there) != Seen::Damage);
            assert!(whole, "damage after {error}");
        }
    }
}

/// Paths and contents; a directory has none.
fn tree(top: &Path) -> BTreeMap<String, io::Result<Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![top.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let name = |path: &Path| path.strip_prefix(top).unwrap().display().to_string();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) => {
                found.insert(name(&dir), Err(e));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                found.insert(name(&path), Ok(None));
                dirs.push(path);
            } else {
                found.insert(name(&path), fs::read(&path).map(Some));
            }
        }
    }
    found
}

/// What the mount shows and the server has not, or the other way round; nothing if they agree.
fn difference(here: &Path, there: &Path) -> String {
    let (here, there) = (tree(here), tree(there));
    let mut said = Vec::new();
    for (path, content) in &there {
        let same = match (here.get(path), content) {
            (Some(Ok(shown)), Ok(stored)) => shown == stored,
            _ => false,
        };
        if !same {
            let shown = here.get(path).map(|shown| match shown {
                Ok(shown) => format!("{:?} bytes", shown.as_ref().map(Vec::len)),
                Err(e) => e.to_string(),
            });
            said.push(format!("{path} is shown as {shown:?}"));
        }
    }
    said.extend(
        here.keys()
            .filter(|path| !there.contains_key(*path))
            .map(|path| format!("{path} is not there")),
    );
    said.join(", ")
}

/// The server's user may change it.
pub(crate) fn give_to_owner_of(model: &Path, path: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::metadata(model).unwrap();
    if owner.uid() == nix::unistd::geteuid().as_raw() {
        return;
    }
    let mut paths = vec![path.to_path_buf()];
    while let Some(path) = paths.pop() {
        std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        if path.is_dir() {
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}
