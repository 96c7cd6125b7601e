//! A long line on one machine: two network namespaces, each with a TUN device, and between them exact delay, a rate, a
//! bounded queue and, if wanted, loss. For measurements where the kernel has no netem; needs root.
//!
//! `link [--delay 10ms] [--rate 200M] [--queue BYTES] [--loss 0.001] [--seed N] [--near NAME] [--far NAME]`: `--delay`
//! is one way, `--rate` bits per second of IP packets in each direction, `--loss` the share of packets that vanish.
//! The namespaces are new ones, or those that `ip netns` knows by the names. The near end is 10.77.0.1, the far end
//! 10.77.0.2; packets have 1500 bytes at most. Once the line is up, it prints where the namespaces are,
//! for `nsenter --net=PATH`:
//!
//! ```text
//! near=/proc/4711/fd/3 far=/proc/4711/fd/4
//! ```
//!
//! Then it reads lines: `control PORT` says where FTP servers at the far end listen; `count` is answered with what was
//! seen since the beginning (`traffic.rs`). It ends at the end of standard input, by a signal, or when its parent
//! dies; with it the devices go, and the namespaces when nobody is in them.

mod line;
mod traffic;
mod tun;

use std::io::{self, Read as _, Write as _};
use std::num::ParseIntError;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};

use line::{Line, Properties};
use traffic::Traffic;
use tun::{MTU, Tun};

/// The ends of the line.
const NEAR: &str = "10.77.0.1";
const FAR: &str = "10.77.0.2";

/// Between two looks at the devices when many packets are on the line: at 200 Mbit/s one comes each 60 µs, and waking up
/// costs more than moving it.
const BREATH: Duration = Duration::from_micros(150);

/// Many packets. With fewer, as in a dialogue of commands and replies, each is handled when it comes.
const MANY: usize = 48;

/// What waking up takes, about: a packet is handed on when it is due so soon.
const WAKING: Duration = Duration::from_micros(100);

/// Packets taken from one device before the other has its turn.
const BURST: usize = 64;

/// A line between two network namespaces, with delay and rate.
#[derive(Parser)]
struct Args {
    /// One way.
    #[arg(long, default_value = "10ms", value_parser = duration)]
    delay: Duration,
    /// Bits per second in each direction; `K`, `M`, `G` are powers of 1000.
    #[arg(long, default_value = "200M", value_parser = number)]
    rate: u64,
    /// Bytes that wait in each direction; what does not fit is dropped. Default: 1.25 times rate * round trip, at
    /// least 256 KiB.
    #[arg(long, value_parser = number)]
    queue: Option<u64>,
    /// Share of packets that vanish, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The same packets vanish with the same seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Namespace of the clients.
    #[arg(long)]
    near: Option<String>,
    /// Namespace of the servers.
    #[arg(long)]
    far: Option<String>,
}

fn number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|e: ParseIntError| e.to_string())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "too large".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, scale) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1e-3),
        None => (text.strip_suffix('s').ok_or("a number with ms or s")?, 1.0),
    };
    let seconds: f64 = digits.parse().map_err(|_| "a number with ms or s")?;
    Duration::try_from_secs_f64(seconds * scale).map_err(|e| e.to_string())
}

fn main() {
    if let Err(e) = run(&Args::parse()) {
        eprintln!("link: {e}");
        process::exit(1);
    }
}

fn run(args: &Args) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let properties = Properties {
        delay: args.delay,
        rate: args.rate.max(1),
        queue: args.queue.unwrap_or_else(|| queue(args)),
        loss: args.loss,
    };
    let (near_space, near) = end(args.near.as_deref(), NEAR, FAR)?;
    let (far_space, far) = end(args.far.as_deref(), FAR, NEAR)?;
    let pid = process::id();
    let mut out = io::stdout();
    writeln!(
        out,
        "near=/proc/{pid}/fd/{} far=/proc/{pid}/fd/{}",
        near_space.as_raw_fd(),
        far_space.as_raw_fd()
    )?;
    let mut emulator = Emulator {
        up: Line::new(properties, args.seed),
        down: Line::new(properties, !args.seed),
        near,
        far,
        traffic: Traffic::default(),
    };
    let mut orders = Vec::new();
    loop {
        if emulator.wait()? && !obey(&mut orders, &mut emulator, &mut out)? {
            return Ok(());
        }
        emulator.exchange()?;
    }
}

/// Enough for one flow to fill the line.
fn queue(args: &Args) -> u64 {
    let round_trip = 2.0 * args.delay.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a size in bytes of no great exactness; `as` saturates"
    )]
    let product = (round_trip * args.rate as f64 / 8.0 * 1.25) as u64;
    product.max(256 * 1024)
}

/// One end of the line. Only a thread can be in a namespace of its own; what it opened stays in there.
fn end(name: Option<&str>, own: &str, other: &str) -> io::Result<(OwnedFd, Tun)> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                let space = tun::enter(name)?;
                Ok((space, Tun::open(own, other)?))
            })
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a panic")))
    })
}

/// Reads and answers what has come on standard input; false at its end.
fn obey(orders: &mut Vec<u8>, emulator: &mut Emulator, out: &mut io::Stdout) -> io::Result<bool> {
    let mut chunk = [0; 256];
    let count = io::stdin().read(&mut chunk)?;
    orders.extend_from_slice(&chunk[..count]);
    while let Some(end) = orders.iter().position(|b| *b == b'\n') {
        let order = String::from_utf8_lossy(&orders[..end]).into_owned();
        orders.drain(..=end);
        match order.split_once(' ') {
            None if order == "count" => writeln!(
                out,
                "{} up_dropped={} down_dropped={}",
                emulator.traffic, emulator.up.dropped, emulator.down.dropped
            )?,
            Some(("control", port)) if port.parse::<u16>().is_ok() => {
                emulator.traffic.control = port.parse().unwrap_or(0);
                writeln!(out, "ok")?;
            }
            _ => writeln!(out, "error: control PORT or count")?,
        }
    }
    Ok(count > 0)
}

struct Emulator {
    /// From the near end to the far end.
    up: Line,
    down: Line,
    near: Tun,
    far: Tun,
    traffic: Traffic,
}

impl Emulator {
    /// Until a packet comes or is due, or an order comes: then true.
    fn wait(&self) -> io::Result<bool> {
        if self.up.len() + self.down.len() > MANY {
            thread::sleep(BREATH);
        }
        let next = match (self.up.next(), self.down.next()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let timeout = next.map(|due| {
            let left = due.saturating_duration_since(Instant::now() + WAKING);
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let stdin = io::stdin();
        let mut fds = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::from_borrowed_fd(self.near.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.far.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes what has come and hands on what is due.
    fn exchange(&mut self) -> io::Result<()> {
        let mut packet = [0; MTU];
        for _ in 0..BURST {
            let Some(size) = self.near.receive(&mut packet)? else {
                break;
            };
            self.traffic.up(&packet[..size]);
            self.up.send(&packet[..size], Instant::now());
        }
        for _ in 0..BURST {
            let Some(size) = self.far.receive(&mut packet)? else {
                break;
            };
            self.traffic.down(size);
            self.down.send(&packet[..size], Instant::now());
        }
        let now = Instant::now() + WAKING;
        while let Some(packet) = self.up.arrived(now) {
            self.far.send(packet)?;
        }
        while let Some(packet) = self.down.arrived(now) {
            self.near.send(packet)?;
        }
        Ok(())
    }
}
