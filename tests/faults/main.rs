//! What ftpfs does when the server or the line fails: each operation under each fault, on real mounts of
//! a real server behind a proxy that fails on command; and the tests of that proxy.

#![allow(
    clippy::print_stdout,
    reason = "how the process of an operation answers"
)]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod cell;
mod client;
mod kept;
mod operation;
mod outage;
mod proxy;
mod segments;
mod special;
mod stress;
mod table;
mod walks;
mod writeback;

#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::Arguments;

use support::server::{Brand, Server};

/// Most of them wait for a deadline most of the time.
const THREADS: usize = 16;

/// The server of all tests, started by the first that wants it. Each works in a folder of its own.
#[derive(Default)]
struct Site {
    server: OnceLock<Server>,
}

impl Site {
    fn server(&self) -> &Server {
        self.server.get_or_init(|| {
            // All sessions of all tests come from one address; the default is 50 of these.
            Server::start_with(Brand::Vsftpd, &[("FTPFS_SERVER_ARGS", "max_per_ip=0")])
        })
    }
}

fn main() -> ExitCode {
    if let Some(code) = cell::helper().or_else(kept::helper).or_else(stress::helper) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let site = Arc::new(Site::default());
    let mut trials = proxy::trials(&site);
    trials.extend(special::trials(&site));
    trials.extend(kept::trials(&site));
    trials.extend(writeback::trials(&site));
    trials.extend(walks::trials(&site));
    trials.extend(segments::trials(&site));
    trials.extend(table::trials(&site));
    libtest_mimic::run(&arguments, trials).exit_code()
}
