//! A server that goes away and comes back.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::cell::Ground;
use crate::operation::{Operation, SMALL, Seen};
use crate::support::faulty::Verb;
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
    let wchan = format!("/proc/{}/wchan", impatient.id());
    poll::until(LIMIT, "it waits for the server", || {
        fs::read_to_string(&wchan).is_ok_and(|function| function == "request_wait_answer")
    });
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
