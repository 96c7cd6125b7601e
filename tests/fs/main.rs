//! The file system without the kernel: `FtpFs` called directly, over real servers and scripted ones.
//!
//! `sequences` compares random operations with a model of POSIX that knows nothing of the code; the other
//! topics are exact. The servers are those of `tests/mount`: `FTPFS_TEST_ALL=1` and
//! `FTPFS_TEST_SERVERS` choose. `FTPFS_TEST_CASES=500` makes more sequences, `FTPFS_TEST_SEED=7` others.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../support/mod.rs"]
mod support;

mod caller;
mod site;

mod machine;
mod model;
mod operation;
mod sequences;

mod conflicts;
mod directories;
mod end;
mod handles;
mod numbers;
mod policies;
mod unlinked;
mod waiting;
