//! Asks for a password at the terminal, without echo.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::credentials::shown;
use crate::mount::{Failure, Status};

/// Asks on `/dev/tty`.
///
/// # Errors
/// No terminal, nothing typed, or Ctrl-C ([`Status::Interrupted`]). The terminal is as it was before.
pub(super) fn password(user: &[u8], host: &str) -> Result<Vec<u8>, Failure> {
    let user = shown(user);
    let question = format!("Password of {user} on {host}: ");
    // Ctrl-C raises SIGINT before the terminal is set back: it stays pending until that is done.
    let interrupt = HeldInterrupt::begin()?;
    let answer = rpassword::prompt_password(question);
    let interrupted = answer
        .as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::Interrupted);
    if interrupted {
        // Left blocked: the pending signal would end the process without a word.
        std::mem::forget(interrupt);
        return Err(Failure::new(Status::Interrupted, "interrupted"));
    }
    drop(interrupt);
    answer.map(String::into_bytes).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "none was typed".to_owned(),
            _ => "there is no terminal to ask at".to_owned(),
        };
        Failure::usage(format!(
            "no password for '{user}' on {host}, and {why} (passfile=FILE, password_stdin, FTPFS_PASSWORD or ~/.netrc)"
        ))
    })
}

/// Keeps SIGINT pending for this thread as long as it lives.
struct HeldInterrupt {
    before: SigSet,
}

impl HeldInterrupt {
    fn begin() -> Result<Self, Failure> {
        let mut held = SigSet::empty();
        held.add(Signal::SIGINT);
        let before = held
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map_err(|e| Failure::system(format!("cannot hold signals: {e}")))?;
        Ok(Self { before })
    }
}

impl Drop for HeldInterrupt {
    fn drop(&mut self) {
        // Fails only for an invalid mask, and this one was valid before.
        self.before.thread_set_mask().ok();
    }
}
