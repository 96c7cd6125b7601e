//! The process: parse, mount, exit code.

use std::io::Write;
use std::process::ExitCode;

use ftpfs::cli::{self, Called, Order, Wish};
use ftpfs::daemon::{self, Report, Reporter, Side};
use ftpfs::logging;
use ftpfs::memory;
use ftpfs::mount::{self, Failure, MountConfig, Status};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any mount uses.
const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    memory::settle();
    allow_descriptors();
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Wish::Text(text)) => print(&text),
        Ok(Wish::Mount(order)) => mount(*order),
        Ok(Wish::Recover(order)) => recover(*order),
        Ok(Wish::Check(order)) => check(*order),
        Ok(Wish::Ask(what)) => mount::ask(&what),
        Ok(Wish::ListKept(directory)) => mount::list_kept(&directory),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody reads standard error any more, nothing is lost.
            let called = Called::by(std::env::args_os().next().as_deref());
            drop(writeln!(std::io::stderr(), "{}: {failure}", called.name()));
            ExitCode::from(called.exit_code(failure.status))
        }
    }
}

/// Descriptors for connections, staged files and those who ask: as many as are allowed, not as many as programs usually
/// need.
fn allow_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    let most = limits
        .maximum
        .map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if limits.current.is_some_and(|now| now < most) {
        let wanted = Rlimit {
            current: Some(most),
            ..limits
        };
        // They are enough until they are used up, which is told then.
        setrlimit(Resource::Nofile, wanted).unwrap_or_default();
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|e| Failure::system(format!("standard output: {e}")))
}

fn recover(order: Order) -> Result<(), Failure> {
    start_log(&order)?;
    mount::recover(order.resolve_recovery()?)
}

/// A file for the log that cannot be opened is one that the command line names.
fn start_log(order: &Order) -> Result<(), Failure> {
    logging::start(&order.logging()).map_err(|e| Failure::usage(format!("log: {e}")))
}

fn check(order: Order) -> Result<(), Failure> {
    start_log(&order)?;
    mount::check(order.resolve_recovery()?)
}

fn mount(order: Order) -> Result<(), Failure> {
    start_log(&order)?;
    let config = order.resolve()?;
    if config.foreground {
        return mount::run(&config, || Ok(()));
    }
    let patience = config.patience();
    match daemon::fork(patience) {
        Ok(Side::Parent(report)) => {
            if matches!(report, Report::Died(_)) {
                mount::take_away_dead(&config.session.mountpoint);
            }
            parent(report, patience.as_secs())
        }
        Ok(Side::Child(reporter)) => child(&config, reporter),
        Err(error) => Err(Failure::system(format!(
            "cannot go to the background: {error}"
        ))),
    }
}

fn parent(report: Report, seconds: u64) -> Result<(), Failure> {
    match report {
        Report::Ready => Ok(()),
        Report::Failed(code, message) => Err(Failure::new(Status::from_code(code), message)),
        Report::Died(how) => Err(Failure::system(format!(
            "the background process ended before it could mount: {how} (try again with -f)"
        ))),
        Report::Silent => Err(Failure::new(
            Status::Network,
            format!(
                "not mounted after {seconds} s; given up (try again with -d to see what it waits for)"
            ),
        )),
    }
}

/// Goes on in the background. What fails before the mount is usable is the parent's to tell, what
/// fails later goes to the log.
fn child(config: &MountConfig, reporter: Reporter) -> Result<(), Failure> {
    let mut reporter = Some(reporter);
    let outcome = mount::run(config, || {
        reporter.take().map_or(Ok(()), Reporter::ready)?;
        logging::detach();
        Ok(())
    });
    match (outcome, reporter) {
        (Err(failure), Some(reporter)) => {
            reporter.failed(failure.status.code(), &failure.message);
            // The parent prints the message.
            std::process::exit(failure.status.code().into());
        }
        (Err(failure), None) => {
            log::error!("{failure}");
            Err(failure)
        }
        (Ok(()), _) => Ok(()),
    }
}
