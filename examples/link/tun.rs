//! TUN devices and network namespaces.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// Bytes of the largest packet.
pub(crate) const MTU: usize = 1500;

/// Packets that the device holds for us: enough for the pauses of a busy machine.
const DEVICE_QUEUE: usize = 4000;

const DEVICE: &str = "link0";

/// Puts the calling thread into a new namespace, or the one that `ip netns` calls so. By the descriptor others can
/// get there.
pub(crate) fn enter(name: Option<&str>) -> io::Result<OwnedFd> {
    match name {
        Some(name) => setns(
            File::open(format!("/run/netns/{name}"))?,
            CloneFlags::CLONE_NEWNET,
        )?,
        None => unshare(CloneFlags::CLONE_NEWNET)?,
    }
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// A device; where it ends, its packets come to us.
pub(crate) struct Tun(File);

impl Tun {
    /// A new device in the namespace of the calling thread, with its addresses, up.
    pub(crate) fn open(own: &str, other: &str) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        attach(&file)?;
        // No packets but ours; and what one connection learned of the line is not handed to the next, which shall be
        // measured by itself.
        for (setting, value) in [
            ("ipv6/conf/all/disable_ipv6", "1"),
            ("ipv4/tcp_no_metrics_save", "1"),
        ] {
            if let Err(e) = fs::write(format!("/proc/sys/net/{setting}"), value) {
                eprintln!("link: {setting}: {e}");
            }
        }
        let queue = DEVICE_QUEUE.to_string();
        let mtu = MTU.to_string();
        ip(&["address", "add", own, "peer", other, "dev", DEVICE])?;
        ip(&[
            "link",
            "set",
            DEVICE,
            "mtu",
            &mtu,
            "txqueuelen",
            &queue,
            "up",
        ])?;
        ip(&["link", "set", "lo", "up"])?;
        Ok(Self(file))
    }

    /// The size of the next packet that was sent into the device, if there is one.
    pub(crate) fn receive(&mut self, packet: &mut [u8; MTU]) -> io::Result<Option<usize>> {
        match self.0.read(packet) {
            Ok(size) => Ok(Some(size)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lets a packet come out of the device.
    pub(crate) fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match self.0.write(packet) {
            // As any network does with a packet that nobody wants.
            Err(e)
                if e.kind() != io::ErrorKind::WouldBlock
                    && e.raw_os_error() != Some(libc::EINVAL) =>
            {
                Err(e)
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new("ip").arg("-4").args(arguments).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "ip {}: {status}",
            arguments.join(" ")
        )))
    }
}

/// Makes the descriptor a device, of packets without a header before them.
fn attach(file: &File) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(DEVICE.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    #[expect(unsafe_code, reason = "no crate here has a safe TUNSETIFF")]
    // SAFETY: the descriptor is open, and the request an ifreq, as TUNSETIFF reads it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
