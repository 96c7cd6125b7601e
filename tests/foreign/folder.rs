//! A scripted server with one folder, whose names are any bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::support::scripted::{Conversation, Script, Scripted, read_all, script};

/// More connections than any of these tests makes.
const CONNECTIONS: usize = 16;

/// What AVBL is answered, in bytes: whole blocks.
pub(crate) const FREE: u64 = 30_140_817 * 4096;

/// The files by their names, in which a byte that is no UTF-8 is written `\xe9`.
pub(crate) type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves these files, each with its name as its content; FEAT promises `features`.
pub(crate) fn folder(names: &[&str], features: &'static [&'static str]) -> (Scripted, Files) {
    let content = |name: &&str| ((*name).to_owned(), name.as_bytes().to_vec());
    let files: Files = Arc::new(Mutex::new(names.iter().map(content).collect()));
    let scripts = (0..CONNECTIONS).map(|_| -> Script {
        let files = Arc::clone(&files);
        script(move |c| {
            c.greet(features);
            serve(c, &files);
        })
    });
    (Scripted::start(scripts.collect()), Arc::clone(&files))
}

pub(crate) fn names(files: &Files) -> Vec<String> {
    files.lock().unwrap().keys().cloned().collect()
}

/// The address, below the root if `path` is not empty.
pub(crate) fn url(server: &Scripted, path: &str) -> String {
    format!("ftp://me:password@127.0.0.1:{}/{path}", server.port())
}

fn serve(c: &mut Conversation, files: &Files) {
    let mut old = String::new();
    while let Some(line) = c.command() {
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let name = argument.rsplit('/').next().unwrap_or_default().to_owned();
        let found = files.lock().unwrap().get(&name).cloned();
        match (verb, found) {
            ("LIST", _) => {
                let mut lines = Vec::new();
                for (name, content) in files.lock().unwrap().iter() {
                    let size = content.len();
                    let front = format!("-rw-r--r-- 1 u g {size} Jan  1  2020 ");
                    lines.extend([front.as_bytes(), &bytes(name), b"\r\n"].concat());
                }
                c.send_data(&lines);
                c.send("226 done");
            }
            ("STOR", _) => {
                c.send("150 go on");
                let content = read_all(&mut c.data());
                files.lock().unwrap().insert(name, content.unwrap());
                c.send("226 done");
            }
            ("RNTO", _) => {
                let mut files = files.lock().unwrap();
                let content = files.remove(&old).unwrap();
                files.insert(name, content);
                c.send("250 done");
            }
            ("AVBL", _) => c.send(&format!("213 {FREE}")),
            ("QUIT", _) => c.send("221 bye"),
            ("SIZE", Some(content)) => c.send(&format!("213 {}", content.len())),
            ("MDTM", Some(_)) => c.send("213 20200101000000"),
            ("RETR", Some(content)) => {
                c.send_data(&content);
                c.send("226 done");
            }
            ("RNFR", Some(_)) => {
                old = name;
                c.send("350 to what?");
            }
            ("DELE", Some(_)) => {
                files.lock().unwrap().remove(&name);
                c.send("250 done");
            }
            ("SIZE" | "MDTM" | "RETR" | "RNFR" | "DELE", None) => c.send("550 No such file"),
            _ => c.send("502 not known"),
        }
    }
}

/// The bytes of a name.
fn bytes(name: &str) -> Vec<u8> {
    let mut parts = name.split("\\x");
    let mut bytes: Vec<u8> = parts.next().unwrap().into();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    bytes
}
