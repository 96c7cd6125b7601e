//! Bytes to and from a socket: connecting, reading and writing, each with a deadline.

mod deadline;
mod clock;
mod connect;
mod route;
mod proxy;
mod stream;
mod file_failed;
mod listen;
mod many;
mod tls;

pub use clock::boottime;
pub use connect::{Connecting, connect, resolve};
pub use deadline::{Deadline, TimedOut};
pub use file_failed::FileFailed;
pub use listen::{Listener, interface_addresses};
pub use many::{Source, Waker};
pub use proxy::{Proxy, ProxyProtocol};
pub use route::{Origin, Route};
pub use stream::{Direction, Probe, Ready, Stream, wait_either};
pub use tls::{
    Established, Identity, Roots, TlsClient, TlsContext, TlsSettings, TlsSettingsError, TlsVersion,
};

/// Which addresses of a host may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    /// Whatever the resolver gives, in its order.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}
