//! The FTP protocol on one connection (RFC 959, 2389, 2428, 3659, 4217).

mod path;
mod error;
mod login;
pub mod listing;

pub use error::FtpError;
pub use login::{LoginConfig, Secret};
pub use path::{InvalidPath, RemotePath, check_name, printable};
