//! An FTP server with one user, a folder, a file and a full disk, which remembers what it was told.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The content of the one file, `hello.txt`.
pub(crate) const HELLO: &[u8] = b"hello from the server\n";

/// Runs until dropped.
pub(crate) struct FtpServer {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    ended: Arc<AtomicBool>,
}

/// Who may log in; the home folder is `/home/u`, and `/home/u/sub` and `/abs` exist as well.
#[derive(Clone)]
struct Account {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl FtpServer {
    pub(crate) fn start(user: impl Into<Vec<u8>>, password: impl Into<Vec<u8>>) -> Self {
        let account = Account {
            user: user.into(),
            password: password.into(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            heard: Arc::default(),
            ended: Arc::default(),
        };
        let (heard, ended) = (Arc::clone(&server.heard), Arc::clone(&server.ended));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (heard, account) = (Arc::clone(&heard), account.clone());
                thread::spawn(move || {
                    // A client that goes away ends its conversation, and that is all.
                    drop(converse(&stream.unwrap(), &account, &heard));
                });
            }
        });
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Every argument of `command` so far.
    pub(crate) fn told(&self, command: &str) -> Vec<Vec<u8>> {
        let prefix = format!("{command} ");
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .filter_map(|line| line.strip_prefix(prefix.as_bytes()))
            .map(<[u8]>::to_vec)
            .collect()
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn converse(
    control: &TcpStream,
    account: &Account,
    heard: &Mutex<Vec<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut out = control;
    let mut input = BufReader::new(control);
    let mut user = Vec::new();
    let mut cwd = "/home/u".to_owned();
    let mut passive: Option<TcpListener> = None;
    let mut restart = 0;
    let mut logged_in = false;
    out.write_all(b"220 ready\r\n")?;
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        while line.ends_with(b"\n") || line.ends_with(b"\r") {
            line.pop();
        }
        heard.lock().unwrap().push(line.clone());
        let blank = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let verb = String::from_utf8_lossy(&line[..blank]).to_ascii_uppercase();
        let argument = line.get(blank + 1..).unwrap_or_default().to_vec();
        let text = String::from_utf8_lossy(&argument).into_owned();
        let reply = match verb.as_str() {
            "USER" => {
                user = argument;
                "331 password please".into()
            }
            "PASS" => {
                logged_in = user == account.user && argument == account.password;
                match logged_in {
                    true => "230 welcome".into(),
                    false => "530 Login incorrect.".into(),
                }
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            "FEAT" => "211-Features:\r\n EPSV\r\n MLST type*;size*;modify*;\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n UTF8\r\n211 End"
                .into(),
            _ if !logged_in => "530 log in first".into(),
            "SYST" => "215 UNIX Type: L8".into(),
            "TYPE" | "OPTS" | "NOOP" | "MODE" | "STRU" | "CLNT" => "200 fine".into(),
            "PWD" => format!("257 \"{cwd}\" is where you are"),
            "CWD" => {
                let path = absolute(&cwd, &text);
                match path.as_str() {
                    "/" | "/home" | "/home/u" | "/home/u/sub" | "/abs" => {
                        cwd = path;
                        "250 moved".into()
                    }
                    "/secret" => "550 Not now".into(),
                    _ => "550 Failed to change directory: No such file or directory".into(),
                }
            }
            "EPSV" => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let port = listener.local_addr()?.port();
                passive = Some(listener);
                format!("229 Entering Extended Passive Mode (|||{port}|)")
            }
            "SIZE" if text.ends_with("hello.txt") => format!("213 {}", HELLO.len()),
            "MDTM" if text.ends_with("hello.txt") => "213 20240102030405".into(),
            "REST" => {
                restart = text.parse().unwrap_or(0);
                "350 from there".into()
            }
            "STOR" | "APPE" => {
                let Some(listener) = passive.take() else {
                    out.write_all(b"425 EPSV first\r\n")?;
                    continue;
                };
                out.write_all(b"150 send it\r\n")?;
                let (mut data, _) = listener.accept()?;
                std::io::copy(&mut data, &mut std::io::sink())?;
                "452 no space left".into()
            }
            "MLSD" | "RETR" => {
                let Some(listener) = passive.take() else {
                    out.write_all(b"425 EPSV first\r\n")?;
                    continue;
                };
                out.write_all(b"150 here it comes\r\n")?;
                let (mut data, _) = listener.accept()?;
                if verb == "MLSD" {
                    let facts = format!("type=file;size={};modify=20240102030405; ", HELLO.len());
                    data.write_all(format!("{facts}hello.txt\r\n").as_bytes())?;
                } else {
                    data.write_all(HELLO.get(restart..).unwrap_or_default())?;
                    restart = 0;
                }
                drop(data);
                "226 that is all".into()
            }
            "SIZE" | "MDTM" => "550 no such file".into(),
            _ => "502 not here".into(),
        };
        out.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

fn absolute(cwd: &str, path: &str) -> String {
    let joined = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{cwd}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
