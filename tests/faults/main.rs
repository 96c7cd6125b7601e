//! What ftpfs does when the server or the line fails: each operation under each fault, on real mounts of
//! a real server behind a proxy that fails on command; and the tests of that proxy. Those that begin with
//! `tls::` encrypt what is between mount and proxy; all of them run with `FTPFS_TEST_ALL=1`.

#![allow(
    clippy::print_stdout,
    reason = "how the process of an operation answers"
)]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod cell;
mod client;
mod copies;
mod encrypted;
mod given_up;
mod kept;
mod operation;
mod outage;
mod proxy;
mod recovery;
mod segments;
mod special;
mod stress;
mod table;
mod unknown;
mod walks;
mod writeback;

#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

use cell::Ground;
use operation::Operation;
use support::descriptors;
use support::server::{Brand, Server};
use table::Fault;

/// Most of them wait for a deadline most of the time.
const THREADS: usize = 16;

/// How mounts talk to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Clear,
    /// AUTH TLS, as a server that insists on it.
    Tls,
    /// The same, with TLS 1.2 alone.
    Tls12,
    /// TLS from the first byte on.
    Implicit,
}

/// The server of all tests, started by the first that wants it. Each works in a folder of its own.
#[derive(Clone)]
struct Site {
    line: Line,
    server: Arc<OnceLock<Server>>,
}

impl Site {
    /// It speaks in clear: TLS is the proxy's.
    fn server(&self) -> &Server {
        self.server.get_or_init(|| {
            // All sessions of all tests come from one address; the default is 50 of these.
            let settings = [("FTPFS_SERVER_ARGS", "max_per_ip=0"), ("FTPFS_TLS", "")];
            Server::start_with(Brand::Vsftpd, &settings)
        })
    }

    /// What belongs to the line: `tls::table`, and in names of folders `tls-table`.
    fn name(&self, between: &str, rest: &str) -> String {
        let line = match self.line {
            Line::Clear => return rest.to_owned(),
            Line::Tls => "tls",
            Line::Tls12 => "tls12",
            Line::Implicit => "implicit",
        };
        format!("{line}{between}{rest}")
    }

    /// A place for a test, behind a proxy.
    fn ground(&self, name: &str) -> Ground {
        Ground::new(self.server(), &self.name("-", name), self.line)
    }
}

/// A test whose files no other test's programs get.
fn test_apart<Work>(name: String, work: Work) -> Trial
where
    Work: FnOnce() -> Result<(), Failed> + Send + 'static,
{
    Trial::test(name, move || {
        descriptors::keep_to_this_thread();
        work()
    })
}

fn main() -> ExitCode {
    if let Some(code) = cell::helper().or_else(kept::helper).or_else(stress::helper) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let clear = Site {
        line: Line::Clear,
        server: Arc::default(),
    };
    let on = |line| Site {
        line,
        ..clear.clone()
    };
    let tls = on(Line::Tls);
    let mut trials = proxy::trials(&clear);
    trials.extend(encrypted::trials(&tls));
    trials.push(table::page());
    let all = std::env::var_os("FTPFS_TEST_ALL").is_some_and(|v| v != "0" && !v.is_empty());
    for site in [&clear, &tls] {
        if site.line == Line::Clear || all {
            trials.extend(special::trials(site));
            trials.extend(kept::trials(site));
            trials.extend(copies::trials(site));
            trials.extend(unknown::trials(site));
            trials.extend(recovery::trials(site));
            trials.extend(writeback::trials(site));
            trials.extend(walks::trials(site));
            trials.extend(segments::trials(site));
            trials.extend(table::trials(site, |_, _| true));
        } else {
            trials.extend(table::trials(site, Fault::is_shown_by));
        }
    }
    for line in [Line::Tls12, Line::Implicit] {
        let wanted: fn(&Fault, Operation) -> bool = match all {
            true => |fault, operation| !fault.is_about_tls && fault.is_shown_by(operation),
            false => |fault, operation| {
                operation == Operation::CatLarge
                    && !fault.is_about_tls
                    && fault.is_shown_by(operation)
            },
        };
        trials.extend(table::trials(&on(line), wanted));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
