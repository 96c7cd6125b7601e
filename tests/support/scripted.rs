//! A server that does what the test says, line by line, data connections included.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No step of a script waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with one control connection.
pub type Script = Box<dyn FnOnce(&mut Conversation) + Send>;

/// A script from a closure.
pub fn script(steps: impl FnOnce(&mut Conversation) + Send + 'static) -> Script {
    Box::new(steps)
}

/// Serves one connection after the other with one script each, all at the same time.
pub struct Scripted {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<Vec<JoinHandle<()>>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Starts with a script for each connection in turn; further connections get 421.
    pub fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let accepting = {
            let (stop, lines) = (Arc::clone(&stop), Arc::clone(&lines));
            std::thread::spawn(move || accept_all(&listener, &stop, &lines, scripts))
        };
        Self {
            address,
            stop,
            accepting: Some(accepting),
            lines,
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All lines from all connections so far, each with the number of its connection: `1 USER me`.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many lines have this verb.
    pub fn count(&self, verb: &str) -> usize {
        let is_it = |l: &&String| l.split(' ').nth(1) == Some(verb);
        self.lines().iter().filter(is_it).count()
    }

    /// Waits until all scripts are over.
    ///
    /// # Panics
    /// With a script that panicked.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        let mut panics = Vec::new();
        for thread in accepting.join().unwrap() {
            panics.extend(thread.join().err());
        }
        if let Some(first) = panics.into_iter().next()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(first);
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The scripts may wait for a client that is no more.
            return;
        }
        self.end();
    }
}

fn accept_all(
    listener: &TcpListener,
    stop: &AtomicBool,
    lines: &Arc<Mutex<Vec<String>>>,
    scripts: Vec<Script>,
) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let mut scripts = scripts.into_iter();
    while !stop.load(Ordering::SeqCst) {
        let control = match listener.accept() {
            Ok((control, _)) => control,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            Err(e) => panic!("accept: {e}"),
        };
        control.set_nonblocking(false).unwrap();
        let steps = scripts
            .next()
            .unwrap_or_else(|| script(|c| c.send("421 Too many connections.")));
        let mut conversation = Conversation {
            control,
            number: threads.len() + 1,
            features: Vec::new(),
            received: Vec::new(),
            data: None,
            lines: Arc::clone(lines),
        };
        threads.push(std::thread::spawn(move || steps(&mut conversation)));
    }
    threads
}

/// One control connection, seen from the server.
pub struct Conversation {
    control: TcpStream,
    number: usize,
    features: Vec<&'static str>,
    received: Vec<u8>,
    data: Option<TcpListener>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Conversation {
    /// Greets, and from now on promises these to FEAT.
    pub fn greet(&mut self, features: &[&'static str]) {
        self.pretend(features);
        self.send("220 scripted");
    }

    /// From now on promises these to FEAT.
    pub fn pretend(&mut self, features: &[&'static str]) {
        self.features = features.to_vec();
    }

    /// Where the connection comes from.
    pub fn peer(&self) -> SocketAddr {
        self.control.peer_addr().unwrap()
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.send_raw(format!("{line}\r\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        // The client may have gone: then the next step of the script says so.
        drop(self.control.write_all(bytes));
    }

    /// Bytes that come next, whatever they are; none at the end of the connection.
    pub fn some_bytes(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let count = self.control.read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    /// The next line, whatever it is; `None` at the end of the connection.
    pub fn line(&mut self) -> Option<String> {
        let line = read_line(&mut self.control, &mut self.received)?;
        let mut lines = self.lines.lock().unwrap();
        lines.push(format!("{} {line}", self.number));
        Some(line)
    }

    /// The next command that a login does not consist of; those, EPSV, NOOP and CWD, are answered
    /// as every server would.
    pub fn command(&mut self) -> Option<String> {
        loop {
            let line = self.line()?;
            let verb = line.split(' ').next().unwrap_or_default();
            match verb {
                "AUTH" => self.send("502 no TLS"),
                "USER" => self.send("331 password"),
                "PASS" => self.send("230 in"),
                "OPTS" | "TYPE" | "NOOP" => self.send("200 ok"),
                "CWD" => self.send("250 ok"),
                "PWD" => self.send("257 \"/\""),
                "FEAT" => {
                    let features = self.features.clone();
                    self.send("211-Features:");
                    for feature in features {
                        self.send(&format!(" {feature}"));
                    }
                    self.send("211 End");
                }
                "EPSV" => {
                    let port = self.listen();
                    self.send(&format!("229 Extended (|||{port}|)"));
                }
                _ => return Some(line),
            }
        }
    }

    /// Waits for this command, answering the usual ones before it.
    #[track_caller]
    pub fn expect(&mut self, command: &str) {
        assert_eq!(self.command().as_deref(), Some(command));
    }

    /// `expect`, then an answer.
    #[track_caller]
    pub fn answer(&mut self, command: &str, line: &str) {
        self.expect(command);
        self.send(line);
    }

    /// Waits for QUIT or the end of the connection, answering the usual commands before it.
    #[track_caller]
    pub fn until_the_end(&mut self) {
        match self.command().as_deref() {
            None => {}
            Some("QUIT") => self.send("221 bye"),
            Some(other) => panic!("the end was expected instead of {other}"),
        }
    }

    /// Answers the next command, a CWD, with 550.
    #[track_caller]
    pub fn refuse_cwd(&mut self) {
        let line = self.line();
        assert!(line.is_some_and(|l| l.starts_with("CWD ")));
        self.send("550 No such file or directory");
    }

    /// Opens a port for a data connection.
    pub fn listen(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        self.data = Some(listener);
        port
    }

    /// Closes that port again.
    pub fn forget_data(&mut self) {
        self.data = None;
    }

    /// The lines of all connections so far.
    pub fn lines_so_far(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The data connection that was asked for.
    pub fn data(&mut self) -> TcpStream {
        let listener = self.data.take().expect("a data connection was asked for");
        listener.set_nonblocking(true).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((data, _)) => {
                    data.set_nonblocking(false).unwrap();
                    data.set_read_timeout(Some(PATIENCE)).unwrap();
                    return data;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(e) => panic!("no data connection: {e}"),
            }
        }
    }

    /// Answers a transfer command with 150, these bytes, and a clean end of the data.
    pub fn send_data(&mut self, bytes: &[u8]) {
        self.send("150 here it comes");
        let mut data = self.data();
        data.write_all(bytes).unwrap();
    }

    /// Answers SIZE and MDTM of a file.
    pub fn version(&mut self, path: &str, size: u64, time: &str) {
        self.answer(&format!("SIZE {path}"), &format!("213 {size}"));
        self.answer(&format!("MDTM {path}"), &format!("213 {time}"));
    }
}

fn read_line(control: &mut TcpStream, received: &mut Vec<u8>) -> Option<String> {
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        if let Some(end) = received.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = received.drain(..end + 2).collect();
            return Some(readable(&line[..end]));
        }
        let mut buf = [0; 4096];
        match control.read(&mut buf) {
            Ok(0) => return None,
            Ok(count) => received.extend_from_slice(&buf[..count]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
            Err(e) => panic!("waiting for a command: {e}"),
        }
    }
}

/// As text, with each byte that is no UTF-8 as `\xe9`.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Everything until a clean end; `Err` is how it ended otherwise, with what had come.
pub fn read_all(data: &mut TcpStream) -> Result<Vec<u8>, (ErrorKind, Vec<u8>)> {
    let mut all = Vec::new();
    match data.read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(e) => Err((e.kind(), all)),
    }
}

/// Ends a connection with RST.
pub fn reset(data: TcpStream) {
    let socket = socket2::Socket::from(data);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}
