//! `account=`, through the program.

use std::fs;

use crate::folder::url;
use crate::support::mounted::Mounted;
use crate::support::scripted::{Scripted, script};

const ACCOUNT: &str = "s3cret acc0unt";

fn server() -> Scripted {
    let one = || {
        script(|c| {
            c.send("220 ready");
            while let Some(line) = c.line() {
                match line.split(' ').next().unwrap_or_default() {
                    "USER" => c.send("331 password"),
                    "PASS" => c.send("332 account, please"),
                    "ACCT" => {
                        c.send("230 in");
                        while let Some(line) = c.command() {
                            match line.split(' ').next().unwrap_or_default() {
                                "LIST" => {
                                    c.send_data(b"");
                                    c.send("226 done");
                                }
                                _ => c.send("502 not known"),
                            }
                        }
                    }
                    _ => c.send("502 not known"),
                }
            }
        })
    };
    Scripted::start((0..8).map(|_| one()).collect())
}

#[test]
fn a_mount_with_an_account_does_not_show_it() {
    let server = server();
    let option = format!("account={ACCOUNT}");
    let mount = Mounted::run(&url(&server, ""), &[&option], |command| {
        command.arg("-d").env("RUST_LOG", "trace");
    });
    let mount = mount.unwrap();
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
    let log = mount.log();
    assert!(log.contains("> ACCT ***"), "{log}");
    assert!(!log.contains(ACCOUNT), "{log}");
    assert_eq!(mount.unmount(), Some(0));
    assert!(server.lines().contains(&format!("1 ACCT {ACCOUNT}")));
    server.finish();
}

#[test]
fn without_one_the_message_names_the_option() {
    let server = server();
    let refused = Mounted::try_new(&url(&server, ""), &[]).unwrap_err();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.log.contains("wants an account"), "{refused:?}");
    assert!(refused.log.contains("account=TEXT"), "{refused:?}");
    server.finish();
}
