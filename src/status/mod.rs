//! What a mount is doing: counters that every room may report to, and the socket that tells them.
//!
//! Reporting is cheap: an atomic for a request, a block or a piece of data, and for what has a name one
//! lock that is held for the copy of it, never over I/O. No room is asked anything here: who mounts
//! gives the socket a function that adds what only other rooms know.

mod board;
mod client;
mod line;
mod place;
mod report;
mod socket;
mod text;

pub use board::{Board, Counter};
pub use client::{AskError, Ending, ask, end};
pub use line::{Line, Reading};
pub use place::{folders, socket_of, sockets};
pub use report::{
    Behaviour, Connection, Connections, Efficiency, Ended, ErrorLine, Kept, Phase, Report, Server,
    Staged, Transfer,
};
pub use socket::{Answers, Socket};
pub use text::{bytes, summary};
