//! SOCKS5 and HTTP proxies: real relays to real servers, which remember whom they were asked for.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A name that no resolver but these proxies knows (RFC 6761): this machine.
pub const HIDDEN: &str = "behind-the-proxy.invalid";

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// RFC 1928.
    Socks5,
    /// CONNECT.
    Http,
}

/// What it does with those who ask.
pub type Answers = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Who asks for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Host and port, as asked.
    pub host: String,
    /// Likewise.
    pub port: u16,
    /// `USER:PASSWORD`, or the same in base64 for HTTP.
    pub login: Option<String>,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The connection.
    Relay,
    /// Nothing, for ever.
    Silence,
    /// These bytes again and again.
    Endless(&'static [u8]),
    /// These bytes, and the end.
    Says(&'static [u8]),
    /// SOCKS5: the login is wrong.
    WrongLogin,
}

/// A running proxy; it lives as long as the test.
pub struct ProxyServer {
    speaks: Speaks,
    port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl ProxyServer {
    /// One that connects whoever asks.
    pub fn start(speaks: Speaks) -> Self {
        Self::that(speaks, |_| Answer::Relay)
    }

    /// One that does what `answers` says.
    pub fn that(
        speaks: Speaks,
        answers: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (notes, answers): (_, Answers) = (Arc::clone(&asked), Arc::new(answers));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (notes, answers) = (Arc::clone(&notes), Arc::clone(&answers));
                thread::spawn(move || {
                    // A client that goes away in the middle is no failure of the proxy.
                    drop(serve(speaks, client, &notes, &answers));
                });
            }
        });
        Self {
            speaks,
            port,
            asked,
        }
    }

    /// `proxy=` with its address.
    pub fn option(&self) -> String {
        self.option_for("")
    }

    /// The same with `USER:PASSWORD@`.
    pub fn option_for(&self, login: &str) -> String {
        let scheme = match self.speaks {
            Speaks::Socks5 => "socks5",
            Speaks::Http => "http",
        };
        format!("proxy={scheme}://{login}127.0.0.1:{}", self.port)
    }

    /// Whatever was asked so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    speaks: Speaks,
    mut client: TcpStream,
    notes: &Mutex<Vec<Request>>,
    answers: &Answers,
) -> io::Result<()> {
    let request = match speaks {
        Speaks::Socks5 => socks(&mut client, answers)?,
        Speaks::Http => http(&mut client)?,
    };
    notes.lock().unwrap().push(request.clone());
    match answers(&request) {
        Answer::Relay => {}
        Answer::Silence => {
            client.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        Answer::Endless(bytes) => loop {
            client.write_all(bytes)?;
        },
        Answer::Says(bytes) => return client.write_all(bytes),
        Answer::WrongLogin => return client.write_all(b"\x01\x01"),
    }
    let host = match &request.host[..] {
        HIDDEN => "127.0.0.1",
        host => host,
    };
    let server = TcpStream::connect((host, request.port))?;
    client.write_all(match speaks {
        Speaks::Socks5 => b"\x05\0\0\x01\0\0\0\0\0\0",
        Speaks::Http => b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n",
    })?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || relay(from, to));
    relay(server, client);
    drop(up.join());
    Ok(())
}

fn socks(client: &mut TcpStream, answers: &Answers) -> io::Result<Request> {
    let [_, methods] = take(client)?;
    let mut offered = vec![0; methods.into()];
    client.read_exact(&mut offered)?;
    let mut login = None;
    if offered.contains(&2) {
        client.write_all(b"\x05\x02")?;
        let [_, length] = take(client)?;
        let user = text(client, length)?;
        let [length] = take(client)?;
        let password = text(client, length)?;
        login = Some(format!("{user}:{password}"));
        let asks = Request {
            host: String::new(),
            port: 0,
            login: login.clone(),
        };
        if answers(&asks) == Answer::WrongLogin {
            return Ok(asks);
        }
        client.write_all(b"\x01\0")?;
    } else {
        client.write_all(b"\x05\0")?;
    }
    let [version, command, _, kind] = take(client)?;
    assert_eq!((version, command), (5, 1));
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from(take::<4>(client)?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from(take::<16>(client)?)).to_string(),
        3 => {
            let [length] = take(client)?;
            text(client, length)?
        }
        other => panic!("an address of kind {other}"),
    };
    let port = u16::from_be_bytes(take(client)?);
    Ok(Request { host, port, login })
}

fn http(client: &mut TcpStream) -> io::Result<Request> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.extend(take::<1>(client)?);
    }
    let header = String::from_utf8(header).unwrap();
    let to = header.split(' ').nth(1).unwrap();
    assert_eq!(
        header.lines().next().unwrap(),
        format!("CONNECT {to} HTTP/1.1")
    );
    assert_eq!(header.lines().nth(1).unwrap(), format!("Host: {to}"));
    let (host, port) = to.rsplit_once(':').unwrap();
    let login = header
        .lines()
        .find_map(|line| line.strip_prefix("Proxy-Authorization: Basic "));
    Ok(Request {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().unwrap(),
        login: login.map(str::to_owned),
    })
}

fn take<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(client: &mut TcpStream, length: u8) -> io::Result<String> {
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap())
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    // Broken off on one side is ended on the other.
    let end = match io::copy(&mut from, &mut to) {
        Ok(_) => Shutdown::Write,
        Err(_) => Shutdown::Both,
    };
    drop(to.shutdown(end));
}
