//! Passwords.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{FtpError, LoginConfig, Secret, Session};
use ftpfs::net::AddressFamily;
use nix::errno::Errno;

use crate::support::mounted::{Mounted, Refused};
use crate::support::scripted::{Conversation, Scripted};
use crate::{always, serve};

/// With everything in it that has to be encoded in a URL.
const SECRET: &str = "s3 cr/t@:%pass\u{e4}";

fn encoded(upper: bool) -> String {
    SECRET.bytes().fold(String::new(), |mut text, byte| {
        let written = match upper {
            true => write!(text, "%{byte:02X}"),
            false => write!(text, "%{byte:02x}"),
        };
        written.unwrap();
        text
    })
}

/// In all forms in which somebody might read it.
#[track_caller]
fn does_not_show(what: &str, text: &str) {
    let bytes = format!("{:?}", SECRET.as_bytes());
    let forms = [
        SECRET,
        "s3 cr",
        "%pass",
        &encoded(false),
        &encoded(true),
        "s3%20cr",
        "%73%33",
        bytes.trim_matches(['[', ']']),
        "s3\\ cr",
    ];
    for form in forms {
        assert!(!text.contains(form), "{what} shows {form}:\n{text}");
    }
}

/// Everything below `dir`, names and contents.
fn everything(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        writeln!(text, "{}", path.display()).unwrap();
        if path.is_dir() {
            text += &everything(&path);
        } else {
            text += &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default());
        }
    }
    text
}

/// USER, and PASS answered like this; there is no encryption, if it is asked for.
fn log_in(c: &mut Conversation, answer: &str) {
    c.send("220 scripted");
    let mut line = c.line().unwrap();
    if line == "AUTH TLS" {
        c.send("502 no");
        line = c.line().unwrap();
    }
    assert_eq!(line, "USER me");
    c.send("331 password");
    assert_eq!(c.line().unwrap(), format!("PASS {SECRET}"));
    c.send(answer);
}

fn mount(server: &Scripted) -> Result<Mounted, Refused> {
    let url = format!("ftp://me:{}@127.0.0.1:{}/", encoded(false), server.port());
    Mounted::run(&url, &[], |command| {
        command.arg("-d").env("RUST_LOG", "trace");
    })
}

#[test]
fn a_password_is_in_no_log_file_list_or_error() {
    let server = Scripted::start(always(|c| {
        log_in(c, "230 in");
        c.pretend(&["MLST type*;size*;modify*;"]);
        serve(c, b"type=file;size=7;modify=20200101000000; file\r\n");
    }));
    let mount = mount(&server).unwrap();
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"content");
    fs::create_dir(mount.at("dir")).unwrap();
    fs::rename(mount.at("file"), mount.at("other")).unwrap();
    // What cannot be stored is kept, with a note of where it belongs.
    let file = fs::File::create(mount.at("full")).unwrap();
    file.write_all_at(b"kept", 0).unwrap();
    assert_eq!(nix::unistd::close(file), Err(Errno::ENOSPC));
    let (log, pid) = (mount.log(), mount.pid());
    assert!(
        log.contains("> PASS ***") && log.contains("> MKD /dir"),
        "{log}"
    );
    does_not_show("the log", &log);
    let kept = everything(&mount.home());
    assert!(kept.contains("kept") && kept.contains("full"), "{kept}");
    does_not_show("its home", &kept);
    for file in [
        "/proc/self/mountinfo",
        &format!("/proc/{pid}/cmdline"),
        &format!("/proc/{pid}/environ"),
    ] {
        let text = fs::read(file).unwrap();
        does_not_show(file, &String::from_utf8_lossy(&text));
    }
    drop(mount);
    server.finish();
}

#[test]
fn a_password_that_the_server_repeats_is_not_shown() {
    for answer in [
        format!("500 'PASS {SECRET}': command not understood."),
        format!("530-Not logged in:\r\n pass {SECRET}\r\n530 no"),
        format!("PASS {SECRET}"),
        format!("421 PASS {SECRET}?"),
    ] {
        let server = Scripted::start(always({
            let answer = answer.clone();
            move |c| {
                log_in(c, &answer);
                while c.line().is_some() {}
            }
        }));
        let Refused { code, log } = mount(&server).unwrap_err();
        assert!(code != Some(0), "{answer}: {code:?}");
        assert!(log.contains("PASS"), "{log}");
        does_not_show(&answer, &log);
        let config = LoginConfig {
            host: "127.0.0.1".into(),
            route: ftpfs::net::Route::default(),
            obeys_pasv: false,
            port: server.port(),
            user: b"me".to_vec(),
            password: Secret::new(SECRET),
            family: AddressFamily::Any,
            security: ftpfs::ftp::Security::Off,
            utf8: true,
            account: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            active: None,
        };
        let error: FtpError = Session::open(&config, &Arc::default()).unwrap_err();
        does_not_show(&answer, &format!("{error} {error:?} {config:?}"));
        server.finish();
    }
}

#[test]
fn no_password_before_the_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = LoginConfig {
        host: "127.0.0.1".into(),
        route: ftpfs::net::Route::default(),
        obeys_pasv: false,
        port: listener.local_addr().unwrap().port(),
        user: b"me".to_vec(),
        password: Secret::new(SECRET),
        family: AddressFamily::Any,
        security: ftpfs::ftp::Security::Off,
        utf8: true,
        account: None,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        active: None,
    };
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Session::open(&config, &Arc::default()).unwrap_err());
        let (mut stream, _) = listener.accept().unwrap();
        // A pause proves little; but whoever does not wait for the greeting sends at once.
        let pause = Some(Duration::from_millis(300));
        stream.set_read_timeout(pause).unwrap();
        let came = stream.read(&mut [0; 100]).map_err(|e| e.kind());
        assert_eq!(came, Err(ErrorKind::WouldBlock));
        stream.write_all(b"220 ready\r\n").unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(line, "USER me\r\n");
        // Nor before it is asked for.
        stream.write_all(b"530 nobody may\r\n").unwrap();
        let mut rest = String::new();
        let end = stream.read_to_string(&mut rest);
        assert!(end.is_ok() && !rest.contains("PASS"), "{rest}");
        assert_eq!(client.join().unwrap().code(), Some(530));
    });
}
