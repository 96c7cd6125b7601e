//! Transfers over TLS: handshakes that come late or never, and data that cannot leave.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ftpfs::ftp::{
    ActiveMode, Behind, FtpError, ListCommand, LoginConfig, Security, Session, Transfer,
};
use ftpfs::net::{AddressFamily, TlsClient, TlsSettings};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS12;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::path;

const TIME: Duration = Duration::from_secs(20);

/// So long the server holds back what the client waits for, unless that gives up before.
const A_WHILE: Duration = Duration::from_millis(300);

const LISTING: &[u8] = b"type=file; a\r\ntype=file; b\r\n";

/// TLS 1.2, and no session goes on: the server has the last word of each handshake.
fn tls() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// A control connection, seen from the server.
struct Control {
    stream: BufReader<StreamOwned<ServerConnection, TcpStream>>,
    passive: Option<TcpListener>,
    active: Option<SocketAddr>,
}

impl Control {
    fn send(&mut self, line: &str) {
        // The client may have gone: then the next step says so.
        drop(
            self.stream
                .get_mut()
                .write_all(format!("{line}\r\n").as_bytes()),
        );
    }

    /// The next command that is no preparation of a transfer; `None` at the end of the connection.
    fn command(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                // The client goes without close_notify.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return None,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("waiting for a command: {e}"),
            }
            let line = line.trim_end().to_owned();
            match line.split(' ').next().unwrap_or_default() {
                "USER" => self.send("331 password"),
                "PASS" => self.send("230 in"),
                "FEAT" => self.send("211 none"),
                "PWD" => self.send("257 \"/\""),
                "EPSV" => {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    // What does not fit is soon with the client.
                    let socket = socket2::SockRef::from(&listener);
                    socket.set_recv_buffer_size(4096).unwrap();
                    let port = listener.local_addr().unwrap().port();
                    self.passive = Some(listener);
                    self.send(&format!("229 Extended (|||{port}|)"));
                }
                "EPRT" => {
                    let port = line.split('|').nth(3).unwrap().parse().unwrap();
                    self.active = Some(SocketAddr::from(([127, 0, 0, 1], port)));
                    self.send("200 ok");
                }
                "OPTS" | "TYPE" | "NOOP" | "PBSZ" | "PROT" | "CWD" => self.send("200 ok"),
                "QUIT" => return None,
                _ => return Some(line),
            }
        }
    }

    /// The data connection. The client's last flight has come, and ours is not sent.
    fn data(&mut self) -> StreamOwned<ServerConnection, TcpStream> {
        let socket = match (self.passive.take(), self.active.take()) {
            (Some(listener), _) => listener.accept().unwrap().0,
            (None, to) => TcpStream::connect(to.unwrap()).unwrap(),
        };
        socket.set_read_timeout(Some(TIME)).unwrap();
        let mut data = StreamOwned::new(ServerConnection::new(tls()).unwrap(), socket);
        while data.conn.is_handshaking() {
            // Ours, but the last.
            data.conn.write_tls(&mut data.sock).unwrap();
            assert_ne!(data.conn.read_tls(&mut data.sock).unwrap(), 0);
            data.conn.process_new_packets().unwrap();
        }
        assert!(data.conn.wants_write(), "the last flight is the server's");
        data
    }
}

/// Sends what it has, and a good end.
fn give(mut data: StreamOwned<ServerConnection, TcpStream>, bytes: &[u8]) {
    data.write_all(bytes).unwrap();
    data.conn.send_close_notify();
    data.flush().unwrap();
}

/// A server for one session, which does this after the login.
struct Server {
    port: u16,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(steps: impl FnOnce(&mut Control) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(TIME)).unwrap();
            socket.write_all(b"220 ready\r\n").unwrap();
            let mut clear = String::new();
            // It says nothing behind AUTH before it is answered.
            BufReader::new(&socket).read_line(&mut clear).unwrap();
            assert_eq!(clear, "AUTH TLS\r\n");
            socket.write_all(b"234 go on\r\n").unwrap();
            let link = ServerConnection::new(tls()).unwrap();
            steps(&mut Control {
                stream: BufReader::new(StreamOwned::new(link, socket)),
                passive: None,
                active: None,
            });
        });
        Self { port, thread }
    }

    fn open(&self, active: bool) -> Session {
        let settings = TlsSettings {
            believes_all: true,
            ..TlsSettings::default()
        };
        let config = LoginConfig {
            host: "127.0.0.1".into(),
            route: ftpfs::net::Route::default(),
            obeys_pasv: false,
            port: self.port,
            user: b"me".to_vec(),
            password: ftpfs::ftp::Secret::new("secret"),
            family: AddressFamily::Any,
            security: Security::Required(Arc::new(TlsClient::new(&settings).unwrap())),
            utf8: true,
            account: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_millis(1500),
            active: active.then(ActiveMode::default),
        };
        Session::open(&config, &Arc::default()).unwrap()
    }

    fn finish(self) {
        self.thread.join().unwrap();
    }
}

/// The bytes of a listing that ended well.
fn list(session: &mut Session) -> Result<Vec<u8>, FtpError> {
    let mut transfer = Transfer::list(session, ListCommand::Mlsd, &path("/d"))?;
    let (mut all, mut buf) = (Vec::new(), [0; 1000]);
    loop {
        match transfer.read(&mut buf)? {
            0 => break,
            count => all.extend_from_slice(&buf[..count]),
        }
    }
    transfer.finish(TIME)?;
    Ok(all)
}

/// What is said of the listing, before the client has seen the end of the handshake.
const WORDS: [&[&str]; 3] = [
    &["150 coming", "226 done"],
    &["150 coming\r\n226 done"],
    &["226 done"],
];

/// Waits until the client is through, or seems to wait.
fn hold(through: &Receiver<()>, time: Duration) {
    let held = through.recv_timeout(time);
    assert!(!matches!(held, Err(RecvTimeoutError::Disconnected)));
}

#[test]
fn the_final_reply_may_overtake_the_handshake() {
    for active in [false, true] {
        for words in WORDS {
            let (is_through, through) = channel();
            let server = Server::start(move |c| {
                assert_eq!(c.command().as_deref(), Some("MLSD /d"));
                let (last, before) = words.split_last().unwrap();
                before.iter().for_each(|line| c.send(line));
                let data = c.data();
                c.send(last);
                hold(&through, A_WHILE);
                give(data, LISTING);
                assert_eq!(c.command(), None);
            });
            let mut session = server.open(active);
            let listing = list(&mut session);
            is_through.send(()).unwrap();
            assert_eq!(listing.unwrap(), LISTING, "{words:?}, active: {active}");
            assert!(session.is_alive());
            drop(session);
            server.finish();
        }
    }
}

#[test]
fn a_handshake_without_an_end_is_no_empty_listing() {
    for active in [false, true] {
        for words in WORDS {
            for is_cut in [false, true] {
                let (is_through, through) = channel();
                let server = Server::start(move |c| {
                    assert_eq!(c.command().as_deref(), Some("MLSD /d"));
                    let (last, before) = words.split_last().unwrap();
                    before.iter().for_each(|line| c.send(line));
                    let data = c.data();
                    c.send(last);
                    if is_cut {
                        drop(data);
                    } else {
                        hold(&through, TIME);
                    }
                    assert_eq!(c.command(), None);
                });
                let mut session = server.open(active);
                let listing = list(&mut session);
                drop(session);
                is_through.send(()).ok();
                let error = listing.unwrap_err();
                assert!(
                    matches!(error, FtpError::TransferBroke { verb: "MLSD", .. }),
                    "{words:?}, active: {active}: {error}"
                );
                server.finish();
            }
        }
    }
}

/// What the server says of an upload of which a part never leaves the client.
fn stuck_upload(
    said: &'static [&'static str],
    finish: impl FnOnce(Transfer<&mut Session>) -> Result<(), FtpError>,
) -> FtpError {
    let (is_stuck, stuck) = channel();
    let (is_reset, reset) = channel();
    let server = Server::start(move |c| {
        assert_eq!(c.command().as_deref(), Some("STOR /f"));
        c.send("150 go on");
        let mut data = c.data();
        data.flush().unwrap();
        stuck.recv_timeout(TIME).unwrap();
        socket2::SockRef::from(&data.sock)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(data);
        is_reset.send(()).unwrap();
        said.iter().for_each(|line| c.send(line));
        while c.command().is_some() {}
    });
    let mut session = server.open(false);
    let mut transfer = Transfer::store(&mut session, &path("/f"), 0).unwrap();
    // As much as is encrypted at a time: all of a piece is taken, or nothing.
    let piece = vec![0; 64 << 10];
    while transfer.write_all(&piece).is_ok() {}
    is_stuck.send(()).unwrap();
    // Before that the kernel might still take the rest.
    reset.recv_timeout(TIME).unwrap();
    let error = finish(transfer).unwrap_err();
    drop(session);
    server.finish();
    error
}

#[test]
fn what_never_left_is_not_stored() {
    fn plainly(transfer: Transfer<&mut Session>) -> Result<(), FtpError> {
        transfer.finish(TIME).map(drop)
    }
    fn and_ask(transfer: Transfer<&mut Session>) -> Result<(), FtpError> {
        let asked = transfer.finish_and_ask(&path("/f"), Behind::default(), TIME);
        asked.map(drop)
    }
    for stored in [
        stuck_upload(&["226 stored"], plainly),
        stuck_upload(&["226 stored", "213 5"], and_ask),
        stuck_upload(&["213 5", "226 stored"], and_ask),
    ] {
        let is_broken = matches!(stored, FtpError::TransferBroke { verb: "STOR", .. });
        assert!(is_broken, "{stored}");
    }
    // Its own words are the better reason.
    for refused in [
        stuck_upload(&["452 disk full"], plainly),
        stuck_upload(&["452 disk full", "213 5"], and_ask),
    ] {
        assert_eq!(refused.code(), Some(452), "{refused}");
    }
}
