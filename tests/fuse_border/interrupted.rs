//! Programs that wait for a server that has fallen silent, each in another operation, and the signals that end them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::support::mounted::Mounted;
use super::support::poll;
use super::support::server::Server;
use super::{LIMIT, ended, signal};

/// Who has not moved for so long after it began its call waits for the server: memory answers in microseconds.
const SETTLED: Duration = Duration::from_millis(500);

/// More than a mount reads ahead and the sockets hold.
const LARGE: u64 = 1 << 30;

const KEY: &[&str] = &["INT"];
const BOTH: &[&str] = &["INT", "KILL"];
const ALL: &[&str] = &["HUP", "INT", "QUIT", "TERM", "KILL"];

/// Which mount a program works in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    /// It knows what lies in the program's folder.
    Known,
    /// It does not.
    Cold,
    /// Nor does this one, and it never gives up by itself.
    Hard,
}

/// What a program does, in Perl.
struct Row {
    mount: In,
    /// What the log calls the operation that waits.
    operation: &'static str,
    /// While the server answers.
    before: &'static str,
    /// When it does not any more.
    then: &'static str,
    signals: &'static [&'static str],
}

const fn row(operation: &'static str, before: &'static str, then: &'static str) -> Row {
    Row {
        mount: In::Known,
        operation,
        before,
        then,
        signals: BOTH,
    }
}

const fn cold(mount: In, operation: &'static str, then: &'static str, by: &'static [&str]) -> Row {
    Row {
        mount,
        operation,
        before: "",
        then,
        signals: by,
    }
}

const WRITES: &str = "open F, '>', 'new'; syswrite F, 'text'";
const READS: &str = "open F, '<', 'large'; sysread F, $_, 65536";

const ROWS: &[Row] = &[
    cold(In::Cold, "lookup", "stat 'file'", ALL),
    cold(In::Cold, "opendir", "opendir D, '.'", BOTH),
    cold(In::Hard, "lookup", "stat 'file'", BOTH),
    cold(In::Hard, "opendir", "opendir D, '.'", KEY),
    row("open", "-e 'file'", "open F, '<', 'file'"),
    row("read", READS, "sysseek F, 800e6, 0; sysread F, $_, 65536"),
    row("read", READS, "1 while sysread F, $_, 65536"),
    row("create", "-e 'file'", "open F, '>', 'new'"),
    row("open", "-e 'file'", "open F, '>', 'file'"),
    // A signal that leaves a core is not pending any more while the file is closed at the end.
    Row {
        signals: &["INT", "QUIT", "KILL"],
        ..row("fsync", WRITES, "F->sync")
    },
    row("flush", WRITES, "close F"),
    row("setattr", "-e 'file'", "truncate 'file', 2"),
    row("setattr", "-e 'file'", "chmod 0600, 'file'"),
    row("rename", "-e 'file'", "rename 'file', 'renamed'"),
    row("unlink", "-e 'file'", "unlink 'file'"),
    row("mkdir", "-e 'file'", "mkdir 'made'"),
    row("rmdir", "-e 'empty'", "rmdir 'empty'"),
];

/// Says a line when it is ready, goes on when it is told to, and says another one then.
const PROGRAM: &str = r"
use IO::Handle;
$SIG{$_} = 'DEFAULT' for qw(HUP INT QUIT TERM);
my ($folder, $before, $then) = @ARGV;
chdir $folder or die qq($folder: $!);
eval $before; die $@ if $@;
syswrite STDOUT, qq(ready\n);
sysread STDIN, my $word, 1;
syswrite STDOUT, qq(begins\n);
eval $then;
die qq(it did not wait: $@ $!);
";

/// One of them.
pub(super) struct Program {
    row: &'static Row,
    signal: &'static str,
    child: Child,
    stdin: ChildStdin,
    /// The log of its mount.
    log: PathBuf,
    /// What it says.
    said: tempfile::NamedTempFile,
    /// How often it had gone to sleep when it was looked at, and since when that is so.
    asleep: Option<(u64, Instant)>,
}

impl Program {
    fn start(
        (row, signal): (&'static Row, &'static str),
        folder: &Path,
        mount: &Mounted,
    ) -> Program {
        let said = tempfile::NamedTempFile::new().expect("a temporary file");
        // QUIT leaves a core otherwise, where the tests run.
        let mut child = Command::new("sh")
            .args(["-c", r#"ulimit -c 0; exec "$@""#, "sh"])
            .args(["perl", "-e", PROGRAM])
            .arg(folder)
            .args([row.before, row.then])
            .stdin(Stdio::piped())
            .stdout(said.reopen().expect("the file"))
            .spawn()
            .expect("the program can be run");
        Program {
            row,
            signal,
            stdin: child.stdin.take().expect("a pipe"),
            child,
            log: mount.log_path().to_owned(),
            said,
            asleep: None,
        }
    }

    fn has_said(&self, words: &str) -> bool {
        fs::read_to_string(self.said.path()).is_ok_and(|said| said.ends_with(words))
    }

    /// It sleeps, and has not moved for a while.
    fn is_stuck(&mut self) -> bool {
        if !self.has_said("begins\n") {
            return false;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
        };
        let sleeps = field("State:").is_some_and(|state| state.starts_with(['S', 'D']));
        let times = field("voluntary_ctxt_switches:").and_then(|times| times.parse().ok());
        let now = times.filter(|_| sleeps);
        if now.is_none() || now != self.asleep.map(|(times, _)| times) {
            self.asleep = now.map(|times| (times, Instant::now()));
        }
        self.asleep
            .is_some_and(|(_, since)| since.elapsed() >= SETTLED)
    }

    /// What is wrong with its end, if anything.
    fn complaint(&self, status: Option<ExitStatus>) -> Option<String> {
        let Some(status) = status else {
            return Some("waits on".to_owned());
        };
        let by = status
            .signal()
            .and_then(|n| nix::sys::signal::Signal::try_from(n).ok());
        if by.is_none_or(|by| by.as_str() != format!("SIG{}", self.signal)) {
            return Some(format!("ended by {status}"));
        }
        // Not while it was on its way to the operation.
        let end = format!(": EINTR: process {} was told to stop", self.child.id());
        let begin = format!(" {} /", self.row.operation);
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let told = log
            .lines()
            .any(|line| line.ends_with(&end) && line.contains(&begin));
        (!told).then(|| format!("its {} was not ended", self.row.operation))
    }

    fn shown(&self) -> String {
        format!(
            "{} ({}), {}",
            self.row.then, self.row.operation, self.signal
        )
    }
}

fn folder(number: usize, signal: &str) -> String {
    format!("{number}-{signal}")
}

fn each() -> impl Iterator<Item = (&'static Row, &'static str, String)> {
    ROWS.iter().enumerate().flat_map(|(number, row)| {
        row.signals
            .iter()
            .map(move |signal| (row, *signal, folder(number, signal)))
    })
}

/// A folder for each program: the kernel lets one at a time change what lies in one.
pub(super) fn lay_out(server: &Server) {
    for (_, _, folder) in each() {
        let folder = server.at(folder);
        fs::create_dir_all(folder.join("empty")).expect("a folder");
        fs::write(folder.join("file"), b"text").expect("a file");
        let large = File::create(folder.join("large")).expect("a file");
        large.set_len(LARGE).expect("a hole");
    }
    server.hand_over();
}

/// All programs, each at its place, about to make its call.
pub(super) fn start_all(mount: &Mounted, cold: &Mounted, hard: &Mounted) -> Vec<Program> {
    let programs: Vec<_> = each()
        .map(|(row, signal, folder)| {
            let mount = match row.mount {
                In::Known => mount,
                In::Cold => cold,
                In::Hard => hard,
            };
            Program::start((row, signal), &mount.at(folder), mount)
        })
        .collect();
    for program in &programs {
        poll::until(LIMIT, &program.shown(), || program.has_said("ready\n"));
    }
    programs
}

/// They make their calls, of which none comes back.
pub(super) fn all_wait(programs: &mut [Program]) {
    for program in &mut *programs {
        program.stdin.write_all(b"\n").expect("it listens");
    }
    let mut moving = Vec::new();
    poll::becomes_true(LIMIT, || {
        let moves = programs
            .iter_mut()
            .filter_map(|p| (!p.is_stuck()).then(|| p.shown()));
        moving = moves.collect();
        moving.is_empty()
    });
    assert!(moving.is_empty(), "these do not wait: {moving:#?}");
}

/// Each gets its signal, and dies of it.
pub(super) fn all_are_ended(programs: &mut [Program]) {
    for program in &*programs {
        signal(program.child.id(), program.signal);
    }
    let mut complaints = Vec::new();
    poll::becomes_true(LIMIT, || {
        complaints.clear();
        for program in &mut *programs {
            let status = program.child.try_wait().expect("a child of ours");
            let complaint = program.complaint(status);
            complaints.extend(complaint.map(|text| format!("{}: {text}", program.shown())));
        }
        complaints.is_empty()
    });
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Which of them have happened, once the mounts have gone. Only what a session had sent when its program was told to stop
/// may have; files that were written do not count.
pub(super) fn happened(server: &Server) -> Vec<String> {
    let is_done = |(row, _, folder): &(&Row, &str, String)| {
        let at = |name: &str| server.at(folder).join(name);
        let file = || fs::metadata(at("file")).expect("a file");
        match row.then {
            _ if row.before == WRITES => false,
            "open F, '>', 'new'" => at("new").exists(),
            "open F, '>', 'file'" => file().len() == 0,
            "truncate 'file', 2" => file().len() == 2,
            "chmod 0600, 'file'" => file().permissions().mode() & 0o777 == 0o600,
            "rename 'file', 'renamed'" => at("renamed").exists(),
            "unlink 'file'" => !at("file").exists(),
            "mkdir 'made'" => at("made").exists(),
            "rmdir 'empty'" => !at("empty").exists(),
            _ => false,
        }
    };
    let shown = |(row, signal, _): (&Row, &str, String)| format!("{}, {signal}", row.then);
    each().filter(is_done).map(shown).collect()
}

/// Whatever became of the operations: mounts and server agree on it, files that were written have arrived, and
/// who comes next is served.
pub(super) fn nothing_is_left(server: &Server, mounts: &[&Mounted]) {
    for (row, _, folder) in each().filter(|(row, ..)| row.before == WRITES) {
        poll::until(LIMIT, row.operation, || {
            fs::read(server.at(&folder).join("new")).is_ok_and(|text| text == b"text")
        });
    }
    for mount in mounts {
        poll::until(LIMIT, "mount and server agree", || {
            let mut diff = Command::new("diff")
                .args(["-r", "-x", "large"])
                .args([server.root.as_path(), mount.path()])
                .spawn()
                .expect("diff can be run");
            ended(&mut diff).success()
        });
        for (_, _, folder) in each().filter(|(row, ..)| row.before == READS) {
            let path = |top: &Path| top.join(&folder).join("large");
            let mut cmp = Command::new("cmp")
                .args(["-n", "1000000"])
                .args([path(&server.root), path(mount.path())])
                .spawn()
                .expect("cmp can be run");
            assert!(ended(&mut cmp).success(), "{folder}");
        }
    }
}
