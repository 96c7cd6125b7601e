//! A proxy between a client and a real FTP server that fails on command.
//!
//! It relays control and passive data connections (EPSV, PASV) on loopback. Clients speak in clear, or by AUTH TLS;
//! the server behind is always asked in clear. Faults are rules, set and lifted at any time:
//!
//! ```ignore
//! let proxy = Proxy::start(server.port());
//! let cut = proxy.on(Verb::Stor).once().cut_data_after(1000, How::Rst);
//! // … use `proxy.address()` …
//! assert_eq!(cut.hits(), 1);
//! proxy.heal();
//! ```
//!
//! One thread per proxy moves everything; it ends, with all connections, when the handle is dropped.

#![allow(
    clippy::unwrap_used,
    reason = "a proxy that fails by itself fails the test"
)]

mod chaos;
mod control;
mod data;
mod lines;
mod relay;
mod rule;
mod tls;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

#[allow(unused_imports, reason = "not every test binary names the type")]
pub use rule::Fault;
pub use rule::{Verb, When};
pub use wire::How;

use chaos::Chaos;
use relay::Relay;
use rule::Rule;

/// Until the proxy has carried out an order.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines that are kept for failure messages.
const MAX_LINES: usize = 5000;

/// What has gone through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Control connections so far.
    pub connections: usize,
    /// Control connections now.
    pub open: usize,
    /// The most control connections at a time.
    pub most_open: usize,
    /// Data connections so far.
    pub data_connections: usize,
    /// Bytes of data from the client.
    pub uploaded: u64,
    /// Bytes of data from the server.
    pub downloaded: u64,
    /// Faults of [`Proxy::random_faults`] so far.
    pub random_faults: usize,
    commands: BTreeMap<String, usize>,
}

impl Counts {
    /// Commands so far.
    pub fn commands(&self, verb: Verb) -> usize {
        let covered = self.commands.iter().filter(|(name, _)| verb.covers(name));
        covered.map(|(_, count)| count).sum()
    }
}

/// What the handle tells the thread.
#[derive(Clone, Debug)]
enum Order {
    Drop { how: How, idle_only: bool },
    Say { bytes: Vec<u8>, idle_only: bool },
    DropData(How),
    Close,
    Open,
}

#[derive(Default)]
struct State {
    rules: Vec<Arc<Rule>>,
    lifted: Vec<Arc<Rule>>,
    chaos: Option<Chaos>,
    frozen: bool,
    stop: bool,
    orders: Vec<Order>,
    /// How many orders were given, and carried out.
    given: usize,
    done: usize,
    /// How many connections the last order was about.
    touched: usize,
    counts: Counts,
    lines: VecDeque<String>,
}

/// How clients encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// After AUTH TLS.
    Explicit,
    /// After AUTH TLS, and no later version than TLS 1.2.
    Tls12,
    /// From the first byte on.
    Implicit,
}

struct Shared {
    encryption: Encryption,
    state: Mutex<State>,
    changed: Condvar,
    waker: UnixStream,
}

impl Shared {
    /// The thread looks at the state again.
    fn wake(&self) {
        // A full pipe wakes as well.
        _ = (&self.waker).write(&[1]);
    }

    fn note(&self, line: impl FnOnce() -> String) {
        let mut state = self.state.lock().unwrap();
        if state.lines.len() == MAX_LINES {
            state.lines.pop_front();
        }
        state.lines.push_back(line());
    }
}

/// An address on loopback that no other proxy of this process has, nor, very likely, one of another process.
fn own_host() -> Ipv4Addr {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // 127.0.x.y is left to the servers.
    let process = std::process::id() % 200 + 1;
    Ipv4Addr::new(127, u8::try_from(process).unwrap(), high, low)
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// In front of the server at `port` of 127.0.0.1, at an address of its own: ports that the connections of one
    /// proxy leave in TIME_WAIT are free for all others.
    pub fn start(port: u16) -> Proxy {
        Self::start_one(port, Encryption::None)
    }

    /// As [`Proxy::start`], for clients that encrypt (AUTH TLS, PROT P). As on vsftpd the handshake of a data
    /// connection follows the 1xx, and one that does not go on with a session of its control connection is answered
    /// by 522. [`Proxy::pin`] names the certificate.
    pub fn start_encrypted(port: u16, encryption: Encryption) -> Proxy {
        Self::start_one(port, encryption)
    }

    fn start_one(port: u16, encryption: Encryption) -> Proxy {
        // Keeps the port ours while the door is closed: nobody else may get it meanwhile.
        let place = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        place.set_reuse_address(true).unwrap();
        let any = SocketAddr::from((own_host(), 0));
        place.bind(&any.into()).unwrap();
        let address = place.local_addr().unwrap().as_socket().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        let (waker, woken) = UnixStream::pair().unwrap();
        waker.set_nonblocking(true).unwrap();
        woken.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            encryption,
            state: Mutex::default(),
            changed: Condvar::new(),
            waker,
        });
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let relay = Relay::new(place, listener, server, woken, Arc::clone(&shared)).unwrap();
        let thread = std::thread::Builder::new()
            .name("faulty".to_owned())
            .spawn(move || relay.run())
            .unwrap();
        Proxy {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// What clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The option of a mount that believes the certificate, where there is one.
    pub fn pin(&self) -> Option<String> {
        let encrypted = self.shared.encryption != Encryption::None;
        encrypted.then(|| format!("cert_sha256={}", tls::fingerprint()))
    }

    /// `url`, an address of the server, with the port of the proxy.
    pub fn url(&self, url: &str) -> String {
        let (front, rest) = url
            .rsplit_once("127.0.0.1:")
            .expect("an address on loopback");
        let path = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let url = format!("{front}{}{path}", self.address);
        let scheme = match self.shared.encryption {
            Encryption::None => return url,
            Encryption::Explicit | Encryption::Tls12 => "ftpes://",
            Encryption::Implicit => "ftps://",
        };
        url.replacen("ftp://", scheme, 1)
    }

    /// Begins a rule: always, until lifted, unless the next words limit it.
    pub fn on(&self, verb: Verb) -> When<'_> {
        When {
            proxy: self,
            verb,
            path: None,
            skip: 0,
            left: usize::MAX,
        }
    }

    /// Each command fails with this probability in one way or another: connections drop before, in and
    /// after commands, data is cut, transient refusals are given. The same seed draws the same faults
    /// for the same commands.
    pub fn random_faults(&self, seed: u64, rate: f64) {
        self.shared.state.lock().unwrap().chaos = Some(Chaos::new(seed, rate));
    }

    /// Lifts all faults: rules, random ones, a freeze, a closed door.
    pub fn heal(&self) {
        {
            let mut state = self.shared.state.lock().unwrap();
            let mut rules = std::mem::take(&mut state.rules);
            rules.iter().for_each(|rule| rule.lift());
            state.lifted.append(&mut rules);
            state.chaos = None;
            state.frozen = false;
        }
        self.order(Order::Open);
    }

    /// Nothing moves any more, in old connections and new ones, which are made and hear nothing: as when
    /// the machine of the server hangs.
    pub fn freeze(&self) {
        self.set_frozen(true);
    }

    /// Everything goes on where it stopped.
    pub fn thaw(&self) {
        self.set_frozen(false);
    }

    /// Drops all control connections over which no command is under way. Returns how many.
    pub fn drop_idle(&self, how: How) -> usize {
        let idle_only = true;
        self.order(Order::Drop { how, idle_only })
    }

    /// Drops all control connections. Returns how many.
    pub fn drop_all(&self, how: How) -> usize {
        let idle_only = false;
        self.order(Order::Drop { how, idle_only })
    }

    /// Drops all data connections. Returns how many.
    pub fn drop_data(&self, how: How) -> usize {
        self.order(Order::DropData(how))
    }

    /// Sends a line that nobody asked for over all idle control connections; after 421 they end.
    /// Returns how many.
    pub fn say_idle(&self, line: &str) -> usize {
        self.say_bytes_idle(format!("{line}\r\n").as_bytes())
    }

    /// As `say_idle`, with bytes that need be no reply.
    pub fn say_bytes_idle(&self, bytes: &[u8]) -> usize {
        self.order(Order::Say {
            bytes: bytes.to_vec(),
            idle_only: true,
        })
    }

    /// Sends a line over all control connections, into the middle of whatever they do. Returns how many.
    pub fn say_all(&self, line: &str) -> usize {
        self.order(Order::Say {
            bytes: format!("{line}\r\n").into_bytes(),
            idle_only: false,
        })
    }

    /// The server is gone: all connections are torn, new ones refused. Returns how many were open.
    pub fn go_down(&self) -> usize {
        self.order(Order::Close)
    }

    /// The server is back, at the same port.
    pub fn come_up(&self) {
        self.order(Order::Open);
    }

    /// Whether rules were set and none has ever happened: then a test has shown nothing.
    pub fn is_spared(&self) -> bool {
        let state = self.shared.state.lock().unwrap();
        let mut rules = state.rules.iter().chain(&state.lifted);
        let mut any = false;
        let struck = rules.any(|rule| {
            any = true;
            rule.has_hit()
        });
        any && !struck
    }

    /// What has gone through.
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().unwrap().counts.clone()
    }

    /// What was said, and which faults happened: `3 > SIZE /a`, `3 < 213 5`, `3 ! DropBefore(Rst)`. No
    /// passwords; the last five thousand lines.
    pub fn lines(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().lines.clone().into()
    }

    fn set_frozen(&self, frozen: bool) {
        self.shared.state.lock().unwrap().frozen = frozen;
        self.shared.wake();
    }

    #[track_caller]
    fn order(&self, order: Order) -> usize {
        let mut state = self.shared.state.lock().unwrap();
        state.orders.push(order);
        state.given += 1;
        let ticket = state.given;
        self.shared.wake();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.done < ticket)
            .unwrap();
        assert!(!waited.timed_out(), "the proxy does nothing");
        state.touched
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.stop = true;
        }
        self.shared.wake();
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the proxy panicked"
        );
    }
}
