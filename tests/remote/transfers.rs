//! `Download` and `Upload`: resumed, refused, confirmed, given up.

use std::io::{ErrorKind as IoKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ftpfs::remote::{Download, ErrorKind, FileVersion, Remote, RemoteError, Upload, UploadMode};

use crate::support::poll;
use crate::support::scripted::{Conversation, Script, Scripted, read_all, reset, script};
use crate::{path, remote};

const STAMP: &str = "20240102030405";

fn version(size: u64) -> FileVersion {
    FileVersion {
        size,
        modified: Some(UNIX_EPOCH + Duration::from_secs(1_704_164_645)),
    }
}

fn on(connections: usize, scripts: Vec<Script>, check: impl FnOnce(&Arc<Remote>)) {
    let server = Scripted::start(scripts);
    let remote = remote(&server, connections);
    check(&remote);
    remote.close();
    server.finish();
}

fn read(
    remote: &Arc<Remote>,
    offset: u64,
    expected: Option<FileVersion>,
) -> Result<Vec<u8>, RemoteError> {
    let mut download = Download::open(remote, &path("/f"), offset, expected)?;
    let mut all = Vec::new();
    let mut buf = [0; 7];
    loop {
        match download.read(&mut buf)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buf[..count]),
        }
    }
}

/// Sends these bytes, then RST, then 426.
fn cut_after(c: &mut Conversation, bytes: &[u8]) {
    c.send("150 coming");
    let mut data = c.data();
    data.write_all(bytes).unwrap();
    // FIN, so that what was sent arrives; a reset could overtake it.
    drop(data);
    c.send("426 cut");
}

#[test]
fn a_cut_download_goes_on_at_the_same_byte() {
    let first = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        cut_after(c, b"0123");
        // The session is still good.
        c.version("/f", 10, STAMP);
        c.answer("REST 4", "350 ok");
        c.expect("RETR /f");
        c.send("150 coming");
        let mut data = c.data();
        data.write_all(b"45").unwrap();
        // Now everything is lost.
    });
    let second = script(|c| {
        c.greet(&[]);
        c.version("/f", 10, STAMP);
        c.answer("REST 6", "350 ok");
        c.expect("RETR /f");
        c.send_data(b"6789");
        c.send("226 done");
        c.until_the_end();
    });
    on(1, vec![first, second], |remote| {
        let all = read(remote, 0, Some(version(10))).unwrap();
        assert_eq!(all, b"0123456789");
    });
}

#[test]
fn a_final_2xx_for_half_a_file_is_not_its_end() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"0123");
        c.send("226 done");
        c.version("/f", 10, STAMP);
        c.answer("REST 4", "350 ok");
        c.expect("RETR /f");
        c.send_data(b"456789");
        c.send("226 done");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let all = read(remote, 0, Some(version(10))).unwrap();
        assert_eq!(all, b"0123456789");
    });
}

#[test]
fn another_file_is_never_mixed_in() {
    for (size, stamp) in [(11, STAMP), (10, "20240102030406")] {
        let steps = script(move |c| {
            c.greet(&[]);
            c.expect("RETR /f");
            cut_after(c, b"0123");
            c.version("/f", size, stamp);
            c.until_the_end();
        });
        on(1, vec![steps], |remote| {
            let error = read(remote, 0, Some(version(10))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Changed);
        });
    }
}

#[test]
fn a_longer_file_is_another_one() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"0123456789x");
        c.send("226 done");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let error = read(remote, 0, Some(version(10))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed);
    });
}

#[test]
fn bytes_behind_the_end_are_noticed_however_they_come() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"0123456789");
        c.send("226 done");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let mut download = Download::open(remote, &path("/f"), 0, Some(version(4))).unwrap();
        let mut read = 0;
        while read < 4 {
            read += download.read(&mut [0; 100]).unwrap();
        }
        let error = download.check_end().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed);
    });
}

#[test]
fn a_file_of_unknown_size_ends_where_the_server_says() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"all");
        c.send("226 done");
        c.expect("RETR /f");
        cut_after(c, b"ha");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        assert_eq!(read(remote, 0, None).unwrap(), b"all");
        // Nobody can tell whether what would follow belongs to it.
        let error = read(remote, 0, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn a_server_that_cuts_for_ever_is_left() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        cut_after(c, b"01");
        for _ in 0..3 {
            c.version("/f", 10, STAMP);
            c.answer("REST 2", "350 ok");
            c.expect("RETR /f");
            cut_after(c, b"");
        }
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let error = read(remote, 0, Some(version(10))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn a_refusal_after_150_is_a_refusal() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"");
        c.send("550 File not found");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let error = read(remote, 0, Some(version(10))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn stopping_gives_the_session_back() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send("150 coming");
        let mut data = c.data();
        data.write_all(b"0123").unwrap();
        drop(read_all(&mut data));
        c.send("426 stopped");
        c.answer("MKD /d", "257 made");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let mut download = Download::open(remote, &path("/f"), 0, None).unwrap();
        assert!(download.read(&mut [0; 2]).unwrap() > 0);
        download.abandon();
        remote.make_directory(&path("/d")).unwrap();
    });
}

fn upload(remote: &Arc<Remote>, mode: UploadMode, data: &[u8]) -> Result<FileVersion, RemoteError> {
    let mut upload = Upload::open(remote, &path("/f"), mode)?;
    upload.write(data)?;
    upload.finish()
}

fn take(c: &mut Conversation, command: &str) -> Vec<u8> {
    c.expect(command);
    c.send("150 go on");
    read_all(&mut c.data()).unwrap()
}

#[test]
fn an_upload_is_believed_only_with_its_size() {
    for (size, expected) in [(5, None), (4, Some(ErrorKind::Incomplete))] {
        let steps = script(move |c| {
            c.greet(&[]);
            assert_eq!(take(c, "STOR /f"), b"12345");
            c.send("226 stored");
            c.version("/f", size, STAMP);
            c.until_the_end();
        });
        on(1, vec![steps], |remote| {
            let result = upload(remote, UploadMode::Store, b"12345");
            match expected {
                None => assert_eq!(result.unwrap(), version(5)),
                Some(kind) => assert_eq!(result.unwrap_err().kind(), kind),
            }
        });
    }
}

#[test]
fn a_lost_226_is_settled_by_the_size() {
    for (size, expected) in [(5, None), (0, Some(ErrorKind::Incomplete))] {
        let first = script(|c| {
            c.greet(&[]);
            take(c, "STOR /f");
        });
        let second = script(move |c| {
            c.greet(&[]);
            while let Some(line) = c.command() {
                match &line[..] {
                    "SIZE /f" => c.send(&format!("213 {size}")),
                    "MDTM /f" => c.send(&format!("213 {STAMP}")),
                    _ => c.send("221 bye"),
                }
            }
        });
        on(1, vec![first, second], |remote| {
            let result = upload(remote, UploadMode::Store, b"12345");
            match expected {
                None => assert_eq!(result.unwrap(), version(5)),
                Some(kind) => assert_eq!(result.unwrap_err().kind(), kind),
            }
        });
    }
}

#[test]
fn appending_adds_up_or_is_not_asked_for_again() {
    let steps = script(|c| {
        c.greet(&[]);
        assert_eq!(take(c, "APPE /f"), b"45");
        c.send("226 stored");
        c.version("/f", 6, STAMP);
        c.answer("APPE /f", "451 /f: Append/Restart not permitted, try again");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let mode = UploadMode::Append { size: 4 };
        upload(remote, mode, b"45").unwrap();
        for _ in 0..2 {
            let error = upload(remote, mode, b"45").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    });
}

#[test]
fn a_full_disk_is_no_space_at_once() {
    let steps = script(|c| {
        c.greet(&[]);
        c.expect("STOR /f");
        c.send("150 go on");
        reset(c.data());
        c.send("552 Disk full");
        c.expect("STOR /f");
        c.send("552 Disk quota exceeded");
        c.until_the_end();
    });
    on(1, vec![steps], |remote| {
        let big = vec![0; 8 << 20];
        let error = upload(remote, UploadMode::Store, &big).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        let error = upload(remote, UploadMode::Store, b"1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Quota);
    });
}

#[test]
fn an_upload_given_up_is_never_taken_for_whole() {
    let steps = || {
        script(|c| {
            c.greet(&[]);
            for _ in 0..2 {
                c.expect("STOR /f");
                c.send("150 go on");
                let (end, _) = read_all(&mut c.data()).unwrap_err();
                assert_eq!(end, IoKind::ConnectionReset);
                c.send("426 cut");
            }
            c.until_the_end();
        })
    };
    on(1, vec![steps()], |remote| {
        for abandon in [true, false] {
            let mut upload = Upload::open(remote, &path("/f"), UploadMode::Store).unwrap();
            upload.write(b"half").unwrap();
            if abandon {
                upload.abandon();
            } else {
                drop(upload);
            }
        }
        let limit = Duration::from_secs(10);
        poll::until(limit, "the session comes back", || {
            remote.connections().idle == 1
        });
    });
}

fn nothing_more_for_a_while(c: &Conversation, command: &str) {
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let lines = c.lines_so_far();
        let times = lines.iter().filter(|line| line.ends_with(command)).count();
        assert_eq!(times, 1, "{command} while the server is still at it");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The server may still be storing what it had received of the one given up, over the new one's bytes.
#[test]
fn an_upload_waits_until_one_given_up_has_ended_on_the_server() {
    let serve = || {
        script(|c| {
            c.greet(&[]);
            while let Some(line) = c.command() {
                match line.split(' ').next() {
                    Some("STOR") => {
                        c.send("150 go on");
                        let stored = read_all(&mut c.data()).is_ok();
                        if !stored {
                            nothing_more_for_a_while(c, &line);
                        }
                        c.send(if stored { "226 stored" } else { "426 cut" });
                    }
                    Some("SIZE") => c.send("213 3"),
                    Some("MDTM") => c.send(&format!("213 {STAMP}")),
                    _ => return c.send("221 bye"),
                }
            }
        })
    };
    on(2, vec![serve(), serve()], |remote| {
        let mut half = Upload::open(remote, &path("/f"), UploadMode::Store).unwrap();
        half.write(b"half").unwrap();
        half.abandon();
        // Another file has nothing to wait for.
        let mut other = Upload::open(remote, &path("/g"), UploadMode::Store).unwrap();
        other.write(b"new").unwrap();
        other.finish().unwrap();
        upload(remote, UploadMode::Store, b"new").unwrap();
    });
}

#[test]
fn a_stale_session_is_replaced_before_the_first_byte() {
    let stale = script(|c| {
        c.greet(&[]);
        c.answer("MKD /d", "257 made");
        // A box in between has forgotten the connection: the next command is answered by RST.
        c.expect("STOR /f");
    });
    let fresh = script(|c| {
        c.greet(&[]);
        assert_eq!(take(c, "STOR /f"), b"1");
        c.send("226 stored");
        c.version("/f", 1, STAMP);
        c.until_the_end();
    });
    on(1, vec![stale, fresh], |remote| {
        remote.make_directory(&path("/d")).unwrap();
        upload(remote, UploadMode::Store, b"1").unwrap();
    });
}
