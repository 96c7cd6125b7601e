//! Where links lead, by what a server answers about them.

use ftpfs::ftp::LeadsTo;

use crate::support::scripted::{Conversation, Scripted, script};
use crate::{open, path};

/// A server with a few links; SIZE of a directory is answered, as bftpd does.
fn serve(c: &mut Conversation) {
    c.greet(&[]);
    let mut place = "/";
    while let Some(line) = c.line() {
        let entered = match line.as_str() {
            "CWD /" | "CWD /dir/round" => Some("/"),
            "CWD /dir" => Some("/dir"),
            "CWD /dir/to-dir" => Some("/other"),
            "CWD /dir/itself" => Some("/dir/itself"),
            _ => None,
        };
        match line.as_str() {
            _ if entered.is_some() => {
                place = entered.unwrap();
                c.send("250 done");
            }
            "PWD" => c.send(&format!("257 \"{place}\"")),
            "SIZE /dir/to-dir" | "SIZE /dir/round" | "SIZE /dir/itself" => c.send("213 4096"),
            "SIZE /dir/to-file" => c.send("213 12"),
            login if login.starts_with("USER") => c.send("331 password"),
            login if login.starts_with("PASS") => c.send("230 in"),
            "TYPE I" => c.send("200 ok"),
            _ => c.send("550 no"),
        }
    }
}

#[test]
fn a_directory_whose_size_is_told_is_a_directory() {
    for together in [true, false] {
        let server = Scripted::start(vec![script(serve)]);
        let mut session = open(&server).unwrap();
        let links = ["to-file", "to-dir", "round", "itself", "nothing"];
        let links = links.map(|name| path(&format!("/dir/{name}")));
        let found = session.follow(&path("/dir"), &links, together).unwrap();
        let file = LeadsTo::File {
            size: 12,
            modified: None,
        };
        let nothing = || LeadsTo::Nothing;
        let expected = [file, LeadsTo::Directory, nothing(), nothing(), nothing()];
        assert_eq!(found, expected);
        drop(session);
        server.finish();
    }
}
