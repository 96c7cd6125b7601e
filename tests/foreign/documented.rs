//! Servers that cannot be had here, played as their documents and their users describe them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::folder::url;
use crate::support::mounted::Mounted;
use crate::support::scripted::{Conversation, Script, Scripted, read_all, script};

/// More connections than any of these tests makes.
const CONNECTIONS: usize = 24;

/// A listing line of a name; without content it is a folder.
type Line = fn(&str, Option<&[u8]>) -> String;

/// What makes a server the one that it is.
#[derive(Clone, Copy)]
struct Manner {
    greeting: &'static str,
    /// `None`: FEAT is not known.
    features: Option<&'static [&'static str]>,
    home: &'static str,
    line: Line,
    /// The end of each line of LIST.
    line_end: &'static str,
    mlsd: Option<Line>,
    /// What LIST with something behind it is answered with, if that is not the listing.
    arguments: Option<&'static str>,
    knows_epsv: bool,
    knows_size_and_time: bool,
    /// The case of names does not matter.
    caseless: bool,
    missing: &'static str,
    exists: &'static str,
    done: &'static str,
    /// So many sessions, the others are turned away.
    sessions: usize,
}

const PLAIN: Manner = Manner {
    greeting: "220 ready",
    features: Some(&["SIZE", "MDTM", "REST STREAM", "EPSV"]),
    home: "257 \"/\"",
    line: unix,
    line_end: "\r\n",
    mlsd: None,
    arguments: None,
    knows_epsv: true,
    knows_size_and_time: true,
    caseless: false,
    missing: "550 No such file or directory",
    exists: "553 File exists",
    done: "250 done",
    sessions: CONNECTIONS,
};

const IIS: Manner = Manner {
    greeting: "220 Microsoft FTP Service",
    features: Some(&[
        "LANG EN*",
        "UTF8",
        "AUTH TLS;TLS-C;SSL;TLS-P;",
        "PBSZ",
        "PROT C;P;",
        "CCC",
        "HOST",
        "SIZE",
        "MDTM",
        "REST STREAM",
    ]),
    home: "257 \"/\" is current directory.",
    line: dos,
    caseless: true,
    missing: "550 The system cannot find the file specified. ",
    exists: "550 Cannot create a file when that file already exists. ",
    done: "250 command successful.",
    ..PLAIN
};

const FILEZILLA: Manner = Manner {
    greeting: "220-FileZilla Server 1.8.1\r\n220 Please visit https://filezilla-project.org/",
    features: Some(&[
        "MDTM",
        "REST STREAM",
        "SIZE",
        "MLST type*;size*;modify*;perms*;",
        "MLSD",
        "UTF8",
        "CLNT",
        "MFMT",
        "EPSV",
        "EPRT",
    ]),
    mlsd: Some(facts),
    arguments: Some("550 Couldn't open the file or directory"),
    missing: "550 Couldn't open the file or directory",
    ..PLAIN
};

const BUSYBOX: Manner = Manner {
    greeting: "220 Operation successful",
    features: Some(&["EPSV", "PASV", "REST STREAM", "MDTM", "SIZE"]),
    line_end: "\n",
    missing: "550 Error",
    exists: "553 Error",
    done: "250 Operation successful",
    ..PLAIN
};

const CAMERA: Manner = Manner {
    greeting: "220 FTP server ready",
    features: None,
    line: born_in_1970,
    arguments: Some("501 Invalid parameter"),
    knows_epsv: false,
    knows_size_and_time: false,
    missing: "550 File not found",
    sessions: 1,
    ..PLAIN
};

const MAINFRAME: Manner = Manner {
    greeting: "220-FTPD1 IBM FTP CS V2R4 at HOST\r\n220 Connection will close if idle for more than 5 minutes.",
    features: Some(&["UTF8", "LANG en*", "MDTM", "REST STREAM", "SIZE"]),
    home: "257 \"'ME.'\" is working directory.",
    missing: "550 Data set not found",
    ..PLAIN
};

fn size(content: Option<&[u8]>) -> usize {
    content.map_or(4096, <[u8]>::len)
}

fn unix(name: &str, content: Option<&[u8]>) -> String {
    let kind = if content.is_some() { '-' } else { 'd' };
    let size = size(content);
    format!("{kind}rwxr-xr-x    1 0        0        {size:>8} Jan 02  2020 {name}")
}

fn born_in_1970(name: &str, content: Option<&[u8]>) -> String {
    unix(name, content).replace("Jan 02  2020", "Jan 01  1970")
}

fn dos(name: &str, content: Option<&[u8]>) -> String {
    match content {
        Some(content) => format!("01-02-20  10:30AM {:>20} {name}", content.len()),
        None => format!("01-02-20  10:30AM       <DIR>          {name}"),
    }
}

fn facts(name: &str, content: Option<&[u8]>) -> String {
    match content {
        Some(content) => {
            let size = content.len();
            format!("type=file;size={size};modify=20200102103000.123;perms=awr; {name}")
        }
        None => format!("type=dir;modify=20200102103000.123;perms=cple; {name}"),
    }
}

/// Folders have no content.
type Tree = Arc<Mutex<BTreeMap<String, Option<Vec<u8>>>>>;

fn start(manner: Manner, tree: &Tree) -> Scripted {
    let open = Arc::new(Mutex::new(0));
    let scripts = (0..CONNECTIONS).map(|_| -> Script {
        let (tree, open) = (Arc::clone(tree), Arc::clone(&open));
        script(move |c| {
            *open.lock().unwrap() += 1;
            if *open.lock().unwrap() > manner.sessions {
                c.send("421 Too many users");
            } else {
                Session::new(manner, tree).serve(c);
            }
            *open.lock().unwrap() -= 1;
        })
    });
    Scripted::start(scripts.collect())
}

struct Session {
    manner: Manner,
    tree: Tree,
    cwd: String,
    renamed: Option<String>,
    offset: usize,
}

impl Session {
    fn new(manner: Manner, tree: Tree) -> Self {
        Self {
            manner,
            tree,
            cwd: "/".to_owned(),
            renamed: None,
            offset: 0,
        }
    }

    /// The path that the tree has for what a command names.
    fn path(&self, argument: &str) -> String {
        let whole = match argument.strip_prefix('/') {
            Some(_) => argument.to_owned(),
            None => format!("{}/{argument}", self.cwd),
        };
        let names: Vec<_> = whole.split('/').filter(|n| !n.is_empty()).collect();
        let path = format!("/{}", names.join("/"));
        let tree = self.tree.lock().unwrap();
        let same = |known: &&String| self.manner.caseless && known.eq_ignore_ascii_case(&path);
        tree.keys().find(same).cloned().unwrap_or(path)
    }

    fn children(&self, dir: &str, line: Line, end: &str) -> String {
        let below = format!("{}/", dir.trim_end_matches('/'));
        let mut lines = String::new();
        for (path, content) in self.tree.lock().unwrap().iter() {
            let Some(name) = path.strip_prefix(&below) else {
                continue;
            };
            if !name.is_empty() && !name.contains('/') {
                lines += &(line(name, content.as_deref()) + end);
            }
        }
        lines
    }

    fn serve(&mut self, c: &mut Conversation) {
        c.pretend(self.manner.features.unwrap_or_default());
        c.send(self.manner.greeting);
        while let Some(line) = c.line() {
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if verb == "QUIT" {
                return c.send("221 bye");
            }
            self.answer(c, verb, argument);
        }
    }

    fn answer(&mut self, c: &mut Conversation, verb: &str, argument: &str) {
        let manner = self.manner;
        let path = self.path(argument);
        let found = self.tree.lock().unwrap().get(&path).cloned();
        let is_dir = path == "/" || found == Some(None);
        match (verb, &found) {
            ("USER", _) => c.send("331 password"),
            ("PASS", _) => c.send("230 in"),
            ("TYPE" | "NOOP", _) => c.send("200 ok"),
            ("PWD", _) => c.send(manner.home),
            ("FEAT", _) if manner.features.is_some() => {
                let lines = manner.features.unwrap_or_default();
                let lines: String = lines.iter().map(|line| format!(" {line}\r\n")).collect();
                c.send(&format!("211-Features:\r\n{lines}211 End"));
            }
            ("OPTS", _) if manner.features.is_some() => c.send("200 ok"),
            ("CWD", _) if is_dir => {
                self.cwd = path;
                c.send(manner.done);
            }
            ("EPSV", _) if manner.knows_epsv => {
                let port = c.listen();
                c.send(&format!("229 Extended (|||{port}|)"));
            }
            ("PASV", _) => {
                let port = c.listen();
                c.send(&format!("227 ok (127,0,0,1,{},{})", port >> 8, port & 255));
            }
            ("LIST", _) if !argument.is_empty() && manner.arguments.is_some() => {
                c.send(manner.arguments.unwrap());
            }
            ("LIST", _) => {
                let lines = self.children(&self.cwd, manner.line, manner.line_end);
                c.send_data(lines.as_bytes());
                c.send("226 done");
            }
            ("MLSD", _) if manner.mlsd.is_some() && is_dir => {
                let dir = if argument.is_empty() {
                    &self.cwd
                } else {
                    &path
                };
                let lines = self.children(dir, manner.mlsd.unwrap(), "\r\n");
                c.send_data(lines.as_bytes());
                c.send("226 done");
            }
            ("SIZE", Some(Some(content))) if manner.knows_size_and_time => {
                c.send(&format!("213 {}", content.len()));
            }
            ("MDTM", Some(Some(_))) if manner.knows_size_and_time => c.send("213 20200102103000"),
            ("REST", _) => {
                self.offset = argument.parse().unwrap();
                c.send("350 go on");
            }
            ("RETR", Some(Some(content))) => {
                c.send_data(&content[std::mem::take(&mut self.offset)..]);
                c.send("226 done");
            }
            ("STOR", _) => {
                c.send("150 go on");
                let content = read_all(&mut c.data()).unwrap_or_else(|(_, part)| part);
                self.tree.lock().unwrap().insert(path, Some(content));
                c.send("226 done");
            }
            ("RNFR", Some(_)) => {
                self.renamed = Some(path);
                c.send("350 to what?");
            }
            ("RNTO", _) => {
                let from = self.renamed.take().unwrap();
                if found.is_some() && path != from {
                    return c.send(manner.exists);
                }
                let mut tree = self.tree.lock().unwrap();
                let content = tree.remove(&from).unwrap();
                tree.insert(format!("/{}", argument.trim_start_matches('/')), content);
                c.send(manner.done);
            }
            ("MKD", None) => {
                self.tree.lock().unwrap().insert(path, None);
                c.send("257 made");
            }
            ("MKD", Some(_)) => c.send(manner.exists),
            ("DELE", Some(Some(_))) | ("RMD", Some(None)) => {
                self.tree.lock().unwrap().remove(&path);
                c.send(manner.done);
            }
            ("SIZE" | "MDTM", _) if !manner.knows_size_and_time => c.send("500 unknown command"),
            ("CWD" | "MLSD" | "SIZE" | "MDTM" | "RETR" | "RNFR" | "DELE" | "RMD", _) => {
                c.send(manner.missing);
            }
            _ => c.send("500 unknown command"),
        }
    }
}

/// A file of 3,000 bytes, and one in a folder.
fn tree(top: &str) -> Tree {
    let mut tree = BTreeMap::new();
    for (path, content) in [
        ("file.bin", Some(vec![7; 3000])),
        ("folder", None),
        ("folder/inner.txt", Some(b"inner".to_vec())),
    ] {
        tree.insert(format!("{top}/{path}"), content);
    }
    Arc::new(Mutex::new(tree))
}

fn content(tree: &Tree, path: &str) -> Option<Vec<u8>> {
    tree.lock().unwrap().get(path).cloned().flatten()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| name(e.unwrap()))
        .collect();
    names.sort();
    names
}

#[track_caller]
fn is_read(mount: &Mounted) {
    assert_eq!(names(mount.path()), ["file.bin", "folder"]);
    assert_eq!(names(&mount.at("folder")), ["inner.txt"]);
    assert!(mount.at("folder").is_dir());
    assert_eq!(fs::metadata(mount.at("file.bin")).unwrap().len(), 3000);
    assert_eq!(fs::read(mount.at("file.bin")).unwrap(), [7; 3000]);
    assert_eq!(fs::read(mount.at("folder/inner.txt")).unwrap(), b"inner");
    assert!(fs::metadata(mount.at("missing")).is_err());
}

/// What people do on every server.
#[track_caller]
fn is_worked_in(mount: &Mounted, tree: &Tree, top: &str) {
    let at = |path: &str| content(tree, &format!("{top}/{path}"));
    fs::write(mount.at("new.txt"), "one").unwrap();
    assert_eq!(at("new.txt").unwrap(), b"one");
    fs::write(mount.at("new.txt"), "another").unwrap();
    assert_eq!(at("new.txt").unwrap(), b"another");
    fs::write(mount.at("part"), "replaces").unwrap();
    fs::rename(mount.at("part"), mount.at("new.txt")).unwrap();
    assert_eq!(at("new.txt").unwrap(), b"replaces");
    fs::create_dir(mount.at("made")).unwrap();
    fs::rename(mount.at("new.txt"), mount.at("made/moved")).unwrap();
    assert_eq!(at("made/moved").unwrap(), b"replaces");
    fs::remove_file(mount.at("made/moved")).unwrap();
    fs::remove_dir(mount.at("made")).unwrap();
    assert_eq!(names(mount.path()), ["file.bin", "folder"]);
    assert_eq!(tree.lock().unwrap().len(), 3, "nothing is left behind");
}

fn works(manner: Manner) {
    let tree = tree("");
    let server = start(manner, &tree);
    let mount = Mounted::new(&url(&server, ""), &["timeout=10"]);
    is_read(&mount);
    is_worked_in(&mount, &tree, "");
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
}

#[test]
fn iis_with_dos_listings_and_renames_that_replace_nothing() {
    works(IIS);
}

#[test]
fn filezilla_to_which_options_of_list_are_paths() {
    works(FILEZILLA);
}

#[test]
fn busybox_that_gives_no_reasons() {
    works(BUSYBOX);
}

/// No FEAT, SIZE, MDTM and EPSV, one session, a bare LIST alone, and a clock that was never set.
#[test]
fn a_camera_that_knows_the_least() {
    let tree = tree("");
    let server = start(CAMERA, &tree);
    let mount = Mounted::new(&url(&server, ""), &["timeout=10"]);
    is_read(&mount);
    let mut start = [0; 10];
    let mut file = fs::File::open(mount.at("file.bin")).unwrap();
    file.read_exact(&mut start).unwrap();
    assert_eq!(start, [7; 10]);
    drop(file);
    fs::write(mount.at("folder/new"), "stored").unwrap();
    assert_eq!(content(&tree, "/folder/new").unwrap(), b"stored");
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
}

/// The login leads to data sets, which are no folders; what is mounted is a folder of its Unix side.
#[test]
fn a_mainframe_by_its_unix_side() {
    let tree = tree("/u/me");
    tree.lock().unwrap().insert("/u".into(), None);
    tree.lock().unwrap().insert("/u/me".into(), None);
    let server = start(MAINFRAME, &tree);
    let mount = Mounted::new(&url(&server, "/u/me"), &["timeout=10"]);
    is_read(&mount);
    assert_eq!(mount.unmount(), Some(0));
    let refused = Mounted::try_new(&url(&server, ""), &[])
        .map(drop)
        .unwrap_err();
    let said = "unexpected answer: 257 \"'ME.'\" is working directory.";
    assert!(refused.log.contains(said), "{}", refused.log);
    assert!(refused.log.contains("ftp://HOST//DIR"), "{}", refused.log);
    server.finish();
}
