//! `Wait::No`: what memory can answer is answered, the rest is `WouldWait`; the network is never touched
//! and nothing is changed. A commit that is under way is waited for.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftpfs::fs::{FsError, Wait};

use crate::caller::{Caller, ROOT};
use crate::machine::{assert_bytes, bytes};
use crate::site::{Options, on_each, scripted};
use crate::support::poll;
use crate::support::scripted::{Conversation, Script, Scripted, read_all, script};

const LIMIT: Duration = Duration::from_secs(30);

#[track_caller]
fn would_wait<T>(result: Result<T, FsError>) {
    match result {
        Err(error) => assert!(error.would_wait(), "{error}"),
        Ok(_) => panic!("answered by memory that cannot know"),
    }
}

#[test]
fn memory_answers_without_a_server_and_the_rest_would_wait() {
    on_each(|site| {
        let folder = site.folder(Options::default());
        let caller = &folder.caller;
        for directory in ["d", "unknown"] {
            folder.put_directory(directory);
        }
        for (name, size) in [("f", 300_000), ("dirty", 1000), ("closed", 1000)] {
            folder.put(name, &bytes(1, size));
        }
        let [d, unknown, f, closed] = ["d", "unknown", "f", "closed"].map(|n| caller.number(n));
        caller.list(d).unwrap();
        let reader = caller.open(f, libc::O_RDONLY).unwrap();
        assert_bytes(caller.rest(reader), &bytes(1, 300_000));
        let dirty = caller.number("dirty");
        let writer = caller.open(dirty, libc::O_RDWR).unwrap();
        caller.write(writer, 10, b"staged").unwrap();
        let remote = &site.remote;
        // From now on whatever needs the server fails at once.
        remote.close();
        let progress = remote.progress();

        // What memory knows.
        let fs = &caller.fs;
        assert_eq!(fs.getattr(ROOT, None, Wait::No).unwrap().attr.ino.0, ROOT);
        assert_eq!(fs.getattr(f, None, Wait::No).unwrap().attr.size, 300_000);
        assert_eq!(
            fs.lookup(ROOT, b"closed", Wait::No).unwrap().attr.ino.0,
            closed
        );
        assert_eq!(fs.lookup(ROOT, b"absent", Wait::No).unwrap().attr.ino.0, 0);
        assert_eq!(fs.lookup(d, b"absent", Wait::No).unwrap().attr.ino.0, 0);
        let listed = fs.opendir(ROOT, Wait::No).unwrap();
        fs.releasedir(listed);
        assert!(fs.statfs().free > 0);
        assert_eq!(
            caller.read(reader, 200_000, 50).unwrap(),
            &bytes(1, 300_000)[200_000..200_050]
        );
        assert_eq!(caller.read(writer, 10, 6).unwrap(), b"staged");
        fs.flush(reader, &|_| false, Wait::No).unwrap();
        let second = fs.open(dirty, libc::O_RDWR, Wait::No).unwrap().handle;
        caller.write(second, 16, b", more").unwrap();
        assert_eq!(caller.read(writer, 10, 12).unwrap(), b"staged, more");
        assert_eq!(fs.getattr(dirty, None, Wait::No).unwrap().attr.size, 1000);

        // What only the server knows, or has to be told.
        would_wait(fs.lookup(unknown, b"x", Wait::No));
        would_wait(fs.opendir(unknown, Wait::No));
        would_wait(fs.open(closed, libc::O_WRONLY | libc::O_TRUNC, Wait::No));
        would_wait(fs.flush(writer, &|_| false, Wait::No));
        fs.drop_caches();
        would_wait(fs.lookup(ROOT, b"closed", Wait::No));
        would_wait(fs.getattr(closed, None, Wait::No));
        would_wait(fs.open(closed, libc::O_RDONLY, Wait::No));
        assert_eq!(remote.progress(), progress, "nobody asked the server");

        // Nothing was changed by asking, and nothing is lost by failing.
        assert_eq!(caller.attributes(closed), Err(libc::EIO));
        assert_eq!(caller.fsync(writer), Err(libc::EIO));
        assert_eq!(caller.read(writer, 10, 12).unwrap(), b"staged, more");
        assert_eq!(folder.stored("closed"), bytes(1, 1000));
        assert_eq!(folder.stored("dirty"), bytes(1, 1000));
        for handle in [reader, writer, second] {
            fs.release(handle);
        }
        let failed = fs.drain(Duration::from_secs(60)).failed;
        assert_eq!(failed.len(), 1, "{failed:?}");
    });
}

/// Serves the file `f`, of 5 bytes, and holds the final reply to its first upload until told.
fn slow_to_confirm(go_on: Receiver<()>) -> Vec<Script> {
    let go_on = Arc::new(Mutex::new(Some(go_on)));
    let serving = || {
        let go_on = Arc::clone(&go_on);
        script(move |c| serve(c, &go_on))
    };
    (0..4).map(|_| serving()).collect()
}

fn serve(c: &mut Conversation, go_on: &Mutex<Option<Receiver<()>>>) {
    let facts = "type=file;size=5;modify=20200101000000;UNIX.mode=0644;";
    c.greet(&[
        "MLST type*;size*;modify*;UNIX.mode*;",
        "SIZE",
        "MDTM",
        "REST STREAM",
    ]);
    loop {
        let Some(line) = c.command() else { return };
        match line.split(' ').next() {
            Some("MLSD") => {
                c.send_data(format!("{facts} f\r\n").as_bytes());
                c.send("226 done");
            }
            Some("SIZE") => c.send("213 5"),
            Some("MDTM") => c.send("213 20200101000000"),
            Some("REST") => c.send("350 from there"),
            Some("RETR") => {
                // The first byte is known already.
                c.send_data(b"1234");
                c.send("226 done");
            }
            Some("STOR") => {
                c.send("150 go");
                let mut data = c.data();
                assert_eq!(read_all(&mut data).unwrap(), b"X1234");
                let go_on = go_on.lock().unwrap().take();
                if let Some(go_on) = go_on {
                    go_on.recv_timeout(LIMIT).unwrap();
                }
                c.send("226 stored");
            }
            Some("RNFR") => c.send("350 and?"),
            Some("RNTO" | "SITE") => c.send("250 ok"),
            Some("QUIT") => return c.send("221 bye"),
            _ => c.send("500 what?"),
        }
    }
}

#[test]
fn a_close_during_the_commit_of_another_handle_waits_for_it() {
    let (confirm, go_on) = mpsc::channel();
    let server = Scripted::start(slow_to_confirm(go_on));
    let caller: Caller = scripted(&server, Options::default());
    let number = caller.number("f");
    let first = caller.open(number, libc::O_RDWR).unwrap();
    let second = caller.open(number, libc::O_RDWR).unwrap();
    caller.write(first, 0, b"X").unwrap();
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| caller.fsync(second));
        poll::until(LIMIT, "the upload began", || server.count("STOR") == 1);
        // The server has not said yet that it has the data: 0 would be a lie.
        would_wait(caller.fs.flush(first, &|_| false, Wait::No));
        caller.fs.release(first);
        assert_eq!(
            caller.read(second, 0, 5).unwrap(),
            b"X1234",
            "staged bytes are kept"
        );
        confirm.send(()).unwrap();
        assert_eq!(syncing.join().unwrap(), Ok(()));
    });
    caller.close(second).unwrap();
    assert_eq!(server.count("STOR"), 1, "once is enough");
    drop(caller);
}
