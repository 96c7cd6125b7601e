//! The program as a user meets it: messages, exit status, and passwords that are never shown.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

#[path = "../support/poll.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared; each test binary uses its own part"
)]
mod poll;
mod ftp_server;
mod run;

mod by_mount;
mod login;
mod mounted;
mod mountpoint;
mod names;
mod network;
mod secrets;
mod terminal;
mod usage;
