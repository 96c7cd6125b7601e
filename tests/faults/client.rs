//! The smallest FTP client: what the proxy does is seen here without ftpfs.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// A session.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects, and nothing else.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream: BufReader::new(stream),
        }
    }

    /// Connects and logs in.
    #[track_caller]
    pub(crate) fn login(address: SocketAddr, server: &Server) -> Client {
        let mut client = Client::connect(address);
        client.expect("220");
        client.asks(&format!("USER {}", server.user()), "331");
        client.asks(&format!("PASS {}", server.password()), "230");
        client.asks("TYPE I", "200");
        client
    }

    /// Sends a line.
    pub(crate) fn send(&mut self, line: &str) {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next line, without its end. The connection's end is an error.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// A line that begins so.
    #[track_caller]
    pub(crate) fn expect(&mut self, code: &str) -> String {
        let line = self.line().expect(code);
        assert!(line.starts_with(code), "expected {code}, found {line:?}");
        line
    }

    /// Sends a line, and expects one that begins so.
    #[track_caller]
    pub(crate) fn asks(&mut self, line: &str, code: &str) -> String {
        self.send(line);
        self.expect(code)
    }

    /// The connection without the client.
    pub(crate) fn raw(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Nothing has come, and nothing comes in this time. A pause proves little: the caller makes sure
    /// that it would have come.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        assert!(self.stream.buffer().is_empty());
        nothing_comes(self.stream.get_mut());
    }

    /// The connection has ended, and how.
    #[track_caller]
    pub(crate) fn is_ended_by(&mut self) -> io::ErrorKind {
        self.line().expect_err("the end").kind()
    }

    /// A data connection by EPSV.
    #[track_caller]
    pub(crate) fn epsv(&mut self) -> TcpStream {
        let reply = self.asks("EPSV", "229");
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        self.data(port)
    }

    /// Host and port of the answer to PASV.
    #[track_caller]
    pub(crate) fn pasv(&mut self) -> (String, u16) {
        let reply = self.asks("PASV", "227");
        let numbers = reply.split(['(', ')']).nth(1).unwrap();
        let numbers: Vec<&str> = numbers.split(',').collect();
        let port = |n: usize| numbers[n].parse::<u16>().unwrap();
        (numbers[..4].join("."), port(4) * 256 + port(5))
    }

    /// A data connection.
    pub(crate) fn data(&self, port: u16) -> TcpStream {
        let host = self.stream.get_ref().peer_addr().unwrap().ip();
        let data = TcpStream::connect((host, port)).unwrap();
        data.set_read_timeout(Some(PATIENCE)).unwrap();
        data
    }

    /// What a RETR or LIST gives, how the data ended, and the final reply.
    #[track_caller]
    pub(crate) fn fetch(&mut self, command: &str) -> (Vec<u8>, io::Result<()>, String) {
        let mut data = self.epsv();
        self.asks(command, "150");
        let mut bytes = Vec::new();
        let ended = data.read_to_end(&mut bytes).map(drop);
        drop(data);
        (bytes, ended, self.line().unwrap())
    }

    /// Stores a file as far as it goes; the final reply.
    #[track_caller]
    pub(crate) fn store(&mut self, path: &str, bytes: &[u8]) -> String {
        let mut data = self.epsv();
        self.asks(&format!("STOR {path}"), "150");
        // It may be cut on the way: the reply tells.
        _ = data.write_all(bytes);
        drop(data);
        self.line().unwrap()
    }
}

/// Nothing has come, and nothing comes in a moment.
#[track_caller]
pub(crate) fn nothing_comes(stream: &mut TcpStream) {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let came = loop {
        match stream.read(&mut [0]).map_err(|e| e.kind()) {
            Err(io::ErrorKind::Interrupted) => {}
            came => break came,
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(came, Err(io::ErrorKind::WouldBlock));
}
