//! Passwords that must not be seen: in the list of processes, in the log, in messages.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::ftp_server::FtpServer;
use crate::poll;
use crate::run::Ftpfs;

const SECRET: &str = "s3cr3t-p4ssw0rd";

#[test]
fn not_in_the_list_of_processes() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    for (args, source, shown) in [
        (
            vec![],
            format!("ftp://u:{SECRET}@{address}/dir"),
            format!("@{address}/dir"),
        ),
        (
            vec!["-o".into(), format!("ro,user=u:{SECRET},nosuid")],
            format!("ftp://{address}/"),
            ",nosuid".into(),
        ),
        (
            vec!["-o".into(), format!("ro,username=u:{SECRET},nosuid")],
            format!("ftp://{address}/"),
            ",nosuid".into(),
        ),
        (
            vec!["--username".into(), format!("u:{SECRET}")],
            format!("ftp://{address}/"),
            "--username".into(),
        ),
        (
            vec![format!("--user=u:{SECRET}")],
            format!("ftp://{address}/"),
            "--user=u:".into(),
        ),
        (
            vec![
                "-o".into(),
                format!("ro,proxy=socks5://u:{SECRET}@{address},nosuid"),
            ],
            format!("ftp://u:p@{address}/"),
            format!("@{address},nosuid"),
        ),
        (
            vec!["--proxy".into(), format!("http://u:{SECRET}@{address}")],
            format!("ftp://u:p@{address}/"),
            format!("@{address}"),
        ),
        (
            vec!["-o".into(), format!("ro,account={SECRET},nosuid")],
            format!("ftp://u:{SECRET}@{address}/"),
            ",nosuid".into(),
        ),
        (
            vec!["--account".into(), SECRET.into()],
            format!("ftp://u:{SECRET}@{address}/"),
            "--account".into(),
        ),
        (
            vec![format!("--account={SECRET}")],
            format!("ftp://u:{SECRET}@{address}/"),
            "--account=".into(),
        ),
        (
            vec!["--user".into(), format!("u:{SECRET}")],
            format!("ftp://{address}/"),
            "--user".into(),
        ),
    ] {
        let running = Ftpfs::new()
            .args(["-f", "-o", "connect_timeout=60,timeout=60"])
            .args(args)
            .mount(source)
            .start();
        let path = format!("/proc/{}/cmdline", running.pid());
        let read = || String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        poll::until(
            Duration::from_secs(20),
            "the password to be overwritten",
            || {
                let now = read();
                now.contains("ftpfs") && !now.contains(SECRET)
            },
        );
        let now = read();
        assert!(now.contains(&shown) && now.contains("***"), "{now:?}");
        assert!(!now.contains("s3c"), "{now:?}");
    }
}

#[test]
fn not_in_the_log_nor_in_messages() {
    let server = FtpServer::start("u", SECRET);
    for source in [
        format!("ftp://u:{SECRET}@{}/nowhere", server.address()),
        format!("ftp://x:{SECRET}@{}/", server.address()),
    ] {
        let done = Ftpfs::new()
            .args(["-d"])
            .env("RUST_LOG", "trace")
            .mount(source)
            .run();
        assert!(matches!(done.code, Some(3 | 6)), "{done:?}");
        assert!(
            done.stderr.contains("DEBUG") || done.stderr.contains("TRACE"),
            "no log: {done:?}"
        );
        assert!(
            !done.stderr.contains(SECRET) && !done.stdout.contains(SECRET),
            "{done:?}"
        );
    }
}

#[test]
fn not_in_complaints() {
    for args in [
        vec![format!("ftp://u:{SECRET}@h:x/"), "m".into()],
        vec![format!("ftp://u:{SECRET}@/"), "m".into()],
        vec![format!("u:{SECRET}@h"), "m".into()],
        vec![format!("ftp://u:{SECRET}/x@h/"), "m".into()],
        vec![format!("ftp://u:first@{SECRET}:/x@h:y/"), "m".into()],
        vec![format!("ftp:u:{SECRET}@h"), "m".into()],
        vec!["m".into(), format!("ftp://u:{SECRET}@h/")],
        vec!["h".into(), "m".into(), format!("ftp://u:{SECRET}@h/")],
        vec![
            "-o".into(),
            format!("user=u:first,{SECRET}"),
            "h".into(),
            "m".into(),
        ],
        vec![
            "-o".into(),
            format!("pass={SECRET}"),
            "h".into(),
            "m".into(),
        ],
        vec![format!("--password={SECRET}"), "h".into(), "m".into()],
        vec!["--password".into(), SECRET.into(), "h".into(), "m".into()],
        vec![
            "-o".into(),
            format!("username=u:first,{SECRET}"),
            "h".into(),
            "m".into(),
        ],
        vec![
            "-o".into(),
            format!("password=first,{SECRET}"),
            "h".into(),
            "m".into(),
        ],
        vec![format!("--proxy=h:{SECRET}@h"), "h".into(), "m".into()],
        vec![
            "-o".into(),
            format!("proxy=http://u:first,{SECRET}@h"),
            "h".into(),
            "m".into(),
        ],
    ] {
        let done = Ftpfs::new().args(&args).fails(1, &[]);
        assert!(!done.stderr.contains(SECRET), "{done:?}");
    }
}
