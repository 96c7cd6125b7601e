//! A large file from a server that limits each connection: several of them fetch it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::errno::Errno;

use crate::check::{OrFail, Over, same_bytes};
use crate::files::{bytes, get, has, put};
use crate::place::Place;
use crate::support::mounted::Mounted;
use crate::support::server::{Brand, Server};

cases! {
    a_throttled_file_comes_by_several_streams.mounts_only().uncompared(),
    others_get_sessions_while_segments_are_fetched.mounts_only().uncompared(),
    a_file_that_is_replaced_meanwhile_is_not_mixed.mounts_only().uncompared(),
    a_file_that_is_deleted_meanwhile_is_not_mixed.mounts_only().uncompared(),
    one_connection_remains_one_stream.mounts_only().uncompared(),
}

/// Long enough that a trial is worth it, at a megabyte per second.
const BIG: usize = 24_000_123;

/// What the log says when a second stream has been tried.
const TRIED: &str = "2 streams bring";

/// A server that gives each connection a megabyte per second; none where the brand has no such setting.
fn throttled(place: &Place) -> Option<Server> {
    let brand = place.site.server().brand;
    let limit = match brand {
        Brand::Vsftpd => "local_max_rate=1000000",
        Brand::Proftpd => "TransferRate RETR 1000",
        _ => return None,
    };
    let server = Server::start_with(brand, &[("FTPFS_SERVER_ARGS", limit)]);
    put(&server.at("big"), &bytes(1, BIG));
    put(&server.at("other"), &bytes(2, BIG));
    server.hand_over();
    Some(server)
}

fn mount(server: &Server, connections: usize) -> Mounted {
    let connections = format!("max_conns={connections}");
    Mounted::new(&server.url, &["verbose", "readahead=4M", &connections])
}

/// Reads on until a second stream was tried, and says how far that is.
fn reads_until_tried(file: &mut File, mount: &Mounted, expected: &[u8]) -> usize {
    let mut at = 0;
    let mut piece = vec![0; 250_000];
    while !mount.log().contains(TRIED) {
        assert!(at + piece.len() <= expected.len(), "{}", mount.log());
        file.read_exact(&mut piece).or_fail("read");
        same_bytes("the piece", &piece, &expected[at..at + piece.len()]);
        at += piece.len();
    }
    at
}

fn a_throttled_file_comes_by_several_streams(place: &Place) {
    let Some(server) = throttled(place) else {
        return;
    };
    let mount = mount(&server, 6);
    has(&mount.at("big"), &bytes(1, BIG));
    let log = mount.log();
    assert!(log.contains(TRIED), "{log}");
    // What was learned is of use for the next file.
    has(&mount.at("other"), &bytes(2, BIG));
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

fn one_connection_remains_one_stream(place: &Place) {
    let Some(server) = throttled(place) else {
        return;
    };
    let mount = mount(&server, 1);
    let mut file = File::open(mount.at("big")).or_fail("open");
    let mut front = vec![0; 6_000_000];
    file.read_exact(&mut front).or_fail("read");
    same_bytes("the front", &front, &bytes(1, BIG)[..front.len()]);
    drop(file);
    let log = mount.log();
    assert!(!log.contains(" streams "), "{log}");
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

fn others_get_sessions_while_segments_are_fetched(place: &Place) {
    let Some(server) = throttled(place) else {
        return;
    };
    let mount = mount(&server, 3);
    let here = mount.path();
    let over = AtomicBool::new(false);
    let rounds: Vec<usize> = thread::scope(|scope| {
        let others: Vec<_> = (0..3)
            .map(|n| {
                let over = &over;
                // At least once each, and as often as it goes.
                scope.spawn(move || {
                    let mut rounds = 0;
                    while rounds == 0 || !over.load(Ordering::SeqCst) {
                        work_beside(here, &format!("dir{n}"));
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        {
            let _over = Over(&over);
            has(&here.join("big"), &bytes(1, BIG));
        }
        others.into_iter().map(|o| o.join().unwrap()).collect()
    });
    assert!(rounds.iter().all(|rounds| *rounds > 1), "{rounds:?}");
    // Beside nobody else it is tried.
    has_anew(&mount);
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

fn work_beside(here: &Path, name: &str) {
    let dir = here.join(name);
    fs::create_dir(&dir).or_fail("mkdir");
    put(&dir.join("file"), b"content");
    assert_eq!(get(&dir.join("file")), b"content");
    fs::remove_file(dir.join("file")).or_fail("unlink");
    fs::remove_dir(&dir).or_fail("rmdir");
}

/// Reads a file by several streams, with others at work as soon as there are several.
fn has_anew(mount: &Mounted) {
    let expected = bytes(2, BIG);
    let mut file = File::open(mount.at("other")).or_fail("open");
    let at = reads_until_tried(&mut file, mount, &expected);
    thread::scope(|scope| {
        for n in 0..4 {
            let here = mount.path();
            scope.spawn(move || work_beside(here, &format!("beside{n}")));
        }
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).or_fail("read the rest");
        same_bytes("the rest", &rest, &expected[at..]);
    });
}

/// Reads to the end, or to an error, in pieces.
fn rest_of(file: &mut File) -> (Vec<u8>, io::Result<()>) {
    let mut rest = Vec::new();
    let mut piece = vec![0; 100_000];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return (rest, Ok(())),
            Ok(count) => rest.extend_from_slice(&piece[..count]),
            Err(error) => return (rest, Err(error)),
        }
    }
}

fn a_file_that_is_replaced_meanwhile_is_not_mixed(place: &Place) {
    let Some(server) = throttled(place) else {
        return;
    };
    let mount = mount(&server, 6);
    let expected = bytes(1, BIG);
    let mut file = File::open(mount.at("big")).or_fail("open");
    let at = reads_until_tried(&mut file, &mount, &expected);
    // As long as before; its time tells it apart.
    put(&server.at("new"), &bytes(9, BIG));
    server.hand_over();
    fs::rename(server.at("new"), server.at("big")).or_fail("rename on the server");
    let (rest, end) = rest_of(&mut file);
    same_bytes("what was read", &rest, &expected[at..at + rest.len()]);
    match end {
        // A stream that was there before has the old file open on the server.
        Ok(()) => assert_eq!(at + rest.len(), BIG),
        Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::ESTALE as i32)),
    }
    drop(file);
    has(&mount.at("big"), &bytes(9, BIG));
    assert_eq!(mount.unmount(), Some(0), "exit code");
}

fn a_file_that_is_deleted_meanwhile_is_not_mixed(place: &Place) {
    let Some(server) = throttled(place) else {
        return;
    };
    let mount = mount(&server, 6);
    let expected = bytes(1, BIG);
    let mut file = File::open(mount.at("big")).or_fail("open");
    let at = reads_until_tried(&mut file, &mount, &expected);
    fs::remove_file(mount.at("big")).or_fail("unlink");
    let (rest, end) = rest_of(&mut file);
    same_bytes("what was read", &rest, &expected[at..at + rest.len()]);
    match end {
        // Streams go on that were there before.
        Ok(()) => assert_eq!(at + rest.len(), BIG),
        // One was just about to begin.
        Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::ESTALE as i32)),
    }
    drop(file);
    assert_eq!(mount.unmount(), Some(0), "exit code");
}
