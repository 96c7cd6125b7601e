//! A server that goes away and comes back, or falls silent.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::cell::{Ground, give_to_owner_of};
use crate::operation::{LARGE, Operation, SMALL, Seen, bytes};
use crate::special::names;
use crate::support::faulty::{Fault, Proxy, Verb};
use crate::support::poll;

const LIMIT: Duration = Duration::from_secs(60);

const AWAY: &str = "the server is away";

fn log_says(ground: &Ground, what: &str) {
    poll::until(LIMIT, what, || ground.mounted().log().contains(what));
}

/// It only restarts: whatever is under way goes on when it is back.
pub(crate) fn a_restart_is_not_noticed(ground: &mut Ground) {
    ground.mount_with(&["connect_timeout=30"]);
    ground.proxy.go_down();
    thread::scope(|scope| {
        for operation in [
            Operation::CatLarge,
            Operation::Overwrite,
            Operation::Mkdir,
            Operation::CpInSmall,
        ] {
            let ground = &*ground;
            scope.spawn(move || {
                let result = ground.run(operation, LIMIT);
                assert!(result.is_ok(), "{}: {result:?}", operation.name());
                assert_eq!(operation.seen(&ground.there), Seen::All);
            });
        }
        log_says(ground, AWAY);
        ground.proxy.come_up();
    });
    assert_eq!(ground.ends_clean(), Some(0));
}

/// Once it is known to be away nobody but the probe tries, memory still answers, and all works again
/// without anybody's help.
pub(crate) fn who_asks_while_it_is_away_is_told_at_once(ground: &mut Ground) {
    ground.mount_with(&["cache_timeout=600"]);
    let here = ground.mounted().path().to_path_buf();
    let listed = || fs::read_dir(&here).map(Iterator::count);
    let before = listed().unwrap();
    ground.proxy.go_down();
    let error = ground.run(Operation::Mkdir, LIMIT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    // Who connects now hears nothing.
    ground.proxy.on(Verb::Connect).stall();
    ground.proxy.come_up();
    let connections = || ground.proxy.counts().connections;
    let by_then = connections();
    poll::until(LIMIT, "the probe connects", || connections() > by_then);
    for _ in 0..50 {
        let error = fs::create_dir(here.join("not now")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    }
    assert_eq!(listed().unwrap(), before, "from memory");
    let tried = connections() - by_then;
    assert!(tried < 10, "{tried} connections for 50 operations");
    ground.proxy.heal();
    poll::until(LIMIT, "the mount heals by itself", || {
        fs::create_dir(here.join("now")).is_ok()
    });
    log_says(ground, "the server is back");
    assert_eq!(ground.ends_clean(), Some(0));
}

/// `hard`: nothing fails, however long it takes, and a signal still ends who waits.
pub(crate) fn hard_waits_until_it_is_back(ground: &mut Ground) {
    ground.mount_with(&["hard"]);
    let here = ground.mounted().path().to_path_buf();
    ground.proxy.go_down();
    let mut impatient = Command::new("cat")
        .arg(here.join("large"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Else one of the others may hold the directory in the kernel, and nothing ends a wait for that.
    poll::until(LIMIT, "it waits for the server", || waits(&impatient));
    thread::scope(|scope| {
        let ground = &*ground;
        let working = [Operation::Overwrite, Operation::CatSmall].map(|operation| {
            scope.spawn(move || -> io::Result<()> { ground.run(operation, 2 * LIMIT) })
        });
        log_says(ground, AWAY);
        impatient.kill().unwrap();
        poll::until(LIMIT, "who was killed is gone", || {
            impatient.try_wait().unwrap().is_some()
        });
        // Longer than soft operations would wait: until what they give up with is in the log.
        let tries = || ground.mounted().log().matches("still away").count();
        poll::until(LIMIT, "the probe has tried in vain", || tries() >= 3);
        assert!(working.iter().all(|work| !work.is_finished()), "they wait");
        ground.proxy.come_up();
        for work in working {
            work.join().unwrap().unwrap();
        }
    });
    assert_eq!(fs::read(here.join("small")).unwrap().len(), SMALL);
    assert_eq!(Operation::Overwrite.seen(&ground.there), Seen::All);
    assert_eq!(ground.ends_clean(), Some(0));
}

/// Whether a program waits for the answer of a mount, or for bytes of a file on it.
pub(crate) fn waits(program: &Child) -> bool {
    let wchan = fs::read_to_string(format!("/proc/{}/wchan", program.id()));
    wchan.is_ok_and(|wchan| wchan == "request_wait_answer" || wchan.starts_with("folio_wait"))
}

/// Programs that want what nobody has yet.
#[derive(Default)]
struct Asking(Vec<Child>);

impl Asking {
    /// `program` with this argument.
    fn ask(&mut self, program: &str, path: &Path) {
        let mut command = Command::new(program);
        command.stdout(Stdio::null()).stdin(Stdio::null());
        self.0.push(command.arg(path).spawn().unwrap());
    }

    /// Opens a file, and reads it when it is told to go on.
    fn open(&mut self, path: &Path) {
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "exec 3<\"$1\"; echo; read line; exec cat <&3 >/dev/null",
            ])
            .arg("sh")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = shell.stdout.take().unwrap();
        self.0.push(shell);
        BufReader::new(said).read_line(&mut String::new()).unwrap();
    }

    fn go_on(&mut self) {
        for stdin in self
            .0
            .iter_mut()
            .filter_map(|program| program.stdin.as_mut())
        {
            stdin.write_all(b"\n").unwrap();
        }
    }

    /// All of them wait, and none has got anything.
    fn hangs(&self) -> bool {
        self.0.iter().all(waits)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        for program in &mut self.0 {
            drop(program.kill());
            drop(program.wait());
        }
    }
}

/// Also while every session and every worker waits for a server that says nothing.
pub(crate) fn memory_answers_while_nothing_moves(ground: &mut Ground) {
    // The mount has three sessions and ten workers.
    const EACH: usize = 7;
    for n in 0..EACH {
        for folder in ["looked", "listed"].map(|name| ground.there.join(format!("{name}{n}"))) {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "").unwrap();
            give_to_owner_of(&ground.there, &folder);
        }
        fs::write(ground.there.join(format!("opened{n}")), bytes(2, LARGE)).unwrap();
        fs::write(ground.there.join(format!("read{n}")), bytes(2, LARGE)).unwrap();
    }
    // Whoever waits does so for longer than this test takes.
    ground.mount_with(&["cache_timeout=600", "timeout=60", "connect_timeout=60"]);
    let here = ground.mounted().path();
    let before = names(here).unwrap();
    // An open asks the server whether it is still the same file; a file that is open need not.
    let open = File::open(here.join("small")).unwrap();
    let mut first = vec![0; SMALL];
    open.read_exact_at(&mut first, 0).unwrap();
    fs::metadata(here.join("large")).unwrap();

    let mut asking = Asking::default();
    for n in 0..EACH {
        asking.open(&here.join(format!("read{n}")));
    }
    ground.proxy.freeze();
    asking.go_on();
    for n in 0..EACH {
        asking.ask("stat", &here.join(format!("looked{n}/file")));
        asking.ask("ls", &here.join(format!("listed{n}")));
        asking.ask("cat", &here.join(format!("opened{n}")));
    }
    poll::until(LIMIT, "all wait for the server", || asking.hangs());

    assert_eq!(names(here).unwrap(), before);
    // The kernel has no copy of it any more, and has to ask the mount.
    posix_fadvise(&open, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    let mut again = vec![0; SMALL];
    open.read_exact_at(&mut again, 0).unwrap();
    assert!(again == first);
    let length = |name: &str| fs::metadata(here.join(name)).map(|found| found.len());
    assert_eq!(length("large").unwrap(), LARGE as u64, "looked at before");
    assert_eq!(length("victim").unwrap(), SMALL as u64 + 1000, "listed");
    let absent = length("absent").unwrap_err();
    assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    nix::sys::statvfs::statvfs(here).unwrap();
    // So nothing of this has waited for what these wait for.
    assert!(asking.hangs(), "all still wait for the server");

    ground.proxy.thaw();
    for program in &mut asking.0 {
        let mut status = None;
        poll::until(LIMIT, "who has waited gets an answer", || {
            status = program.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{program:?}: {status:?}");
    }
}

/// What is not among the random faults, because a time limit has to end it: a command that nobody answers, or a
/// transfer whose final reply does not come. The seed draws which.
pub(crate) fn fall_silent(proxy: &Proxy, seed: u64) -> Fault {
    let drawn = bytes(seed, 8);
    let pick = |nth: usize, count: usize| usize::from(drawn[nth]) % count;
    let commands = [
        Verb::Any,
        Verb::Retr,
        Verb::Upload,
        Verb::Size,
        Verb::Rnto,
        Verb::Dele,
        Verb::Mkd,
        Verb::Rmd,
    ];
    let on = |verb| proxy.on(verb).after(pick(4, 10)).once();
    match seed {
        // It takes a minute, so it comes but once.
        1 => on(Verb::Upload).swallow_final(),
        _ if pick(5, 3) == 0 => on([Verb::Retr, Verb::Listing][pick(6, 2)]).swallow_final(),
        _ => on(commands[pick(7, commands.len())]).stall(),
    }
}

/// A retry is one line of the log, with command, reply, number of the attempt, and what follows; a failure is one
/// with the call, its path and error, command and reply.
pub(crate) fn retries_and_failures_are_told(ground: &mut Ground) {
    const FAREWELL: &str = "421 Service not available.";
    const UNREACHED: &str = "425 Cannot open data connection.";
    const FULL: &str = "452 No space left on device.";
    const RETRY: &[&str] = &["INFO", "attempt 1 failed", "trying on another session"];
    ground.mount();
    let told = |reply: &str| {
        let log = ground.mounted().log();
        let lines = log.lines().filter(|line| line.contains(reply));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let says = |line: &str, words: &[&str]| {
        let missing: Vec<_> = words.iter().filter(|word| !line.contains(**word)).collect();
        assert!(missing.is_empty(), "without {missing:?}: {line}");
    };

    // First, since nothing of the file is remembered yet.
    let refusal = ground.proxy.on(Verb::Retr).answer(UNREACHED);
    let error = ground.run(Operation::CatLarge, LIMIT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    let lines = told(UNREACHED);
    // The kernel asks once more for what it did not get.
    assert_eq!(
        lines.len() % 3,
        0,
        "a retry, its end, and a failure: {lines:?}"
    );
    for lines in lines.chunks(3) {
        says(&lines[0], &["RETR"]);
        says(&lines[0], RETRY);
        says(
            &lines[1],
            &["INFO", "RETR", "attempt 2 failed", "giving up"],
        );
        says(&lines[2], &["WARN", "read /", "/large", "EIO", "RETR"]);
    }
    refusal.lift();

    for (times, operation, command) in [
        (1, Operation::CatLarge, "RETR"),
        (2, Operation::Mkdir, "MKD"),
    ] {
        ground.proxy.on(operation.verb()).once().answer(FAREWELL);
        ground.run(operation, LIMIT).unwrap();
        let lines = told(FAREWELL);
        assert_eq!(lines.len(), times, "one for each: {lines:?}");
        says(&lines[times - 1], &[command]);
        says(&lines[times - 1], RETRY);
    }

    ground.proxy.on(Verb::Stor).answer(FULL);
    let error = ground.run(Operation::Overwrite, LIMIT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let lines = told(FULL);
    assert_eq!(lines.len(), 1, "nobody tries again: {lines:?}");
    says(&lines[0], &["WARN", "open /", "/victim", "ENOSPC", "STOR"]);
}
