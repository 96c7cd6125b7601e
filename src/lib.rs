//! ftpfs: an FTP server mounted as a folder.
//!
//! The rooms from the top down; a room names only rooms below it (`tests/architecture.rs`):
//! `cli` reads what the user typed, `mount` wires everything and runs it, `fuse` is the kernel border,
//! `fs` the file system without the kernel, `cache` and `writeback` what we remember and what the server
//! does not have yet, `remote` the server as one reliable object, `pool` its sessions, `ftp` the
//! protocol on one connection, `net` bytes and sockets. The three on top are for Linux alone.
//! `daemon`, `logging`, `memory`, `shell`, `status` and `workers` are leaves.

#[cfg(target_os = "linux")]
pub mod cli;
#[cfg(target_os = "linux")]
pub mod mount;
pub mod daemon;
pub mod logging;
#[cfg(target_os = "linux")]
pub mod fuse;
pub mod fs;
pub mod cache;
pub mod writeback;
pub mod remote;
pub mod pool;
pub mod ftp;
pub mod net;
pub mod memory;
pub mod shell;
pub mod status;
pub mod workers;
