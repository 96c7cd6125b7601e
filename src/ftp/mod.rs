//! The FTP protocol on one connection (RFC 959, 2389, 2428, 3659, 4217).
//!
//! `command`, `reply` and `control` are RFC 959 sections 4.1, 4.2 and 5.4; `login` and `features` add
//! RFC 2389; `security` is RFC 4217; `data` is RFC 2428; `session`, `stamp` and `listing` are RFC 3659.

mod path;
mod error;
mod command;
mod reason;
mod reply;
mod control;
mod lines;
mod features;
mod experience;
mod security;
mod login;
mod stamp;
mod session;
mod umask;
mod argument;
mod batch;
mod walk;
mod follow;
mod data;
mod active;
mod arming;
mod protected;
mod restart;
mod transfer;
mod sending;
mod settling;
mod stored;
#[doc(hidden)]
pub mod readers;
pub mod listing;

pub use active::{ActiveMode, OwnAddress};
pub use arming::Readiness;
pub use command::ListCommand;
pub use error::FtpError;
pub use experience::Experience;
pub use features::Features;
pub use follow::LeadsTo;
pub use login::{LoginConfig, Secret};
pub use path::{InvalidPath, RemotePath, check_name, printable};
pub use reply::{Reply, ReplyClass};
pub use security::Security;
pub use session::Session;
pub use settling::Settling;
pub use stored::{AT_ONCE, Answers, Behind, Ending, TimeCommand};
pub use transfer::{Transfer, VersionReplies};

use command::Command;
