//! Where a transfer begins: REST (RFC 3659 section 5), and what its answer means for the session.

use super::{Command, FtpError, Reply, Session};

impl Session {
    /// Whether REST has to go before the transfer. An offset that the server may still hold is taken back: it would
    /// begin another file there, for reading and for writing.
    pub(super) fn needs_restart(&self, verb: &str, offset: u64) -> bool {
        offset > 0 || moves_a_file(verb) && self.holds_offset()
    }

    /// Sends REST alone. A session that cannot take an offset back is broken.
    ///
    /// # Errors
    /// Refused; a lost session.
    pub(super) fn restart(&mut self, offset: u64, verb: &'static str) -> Result<(), FtpError> {
        let reply = self.control_mut().exchange(Command::Rest(offset))?;
        if offset == 0 && reply.is_negative() {
            self.mark_broken();
            return Err(FtpError::Broken { verb });
        }
        restarted(reply)?;
        self.set_holds_offset(offset > 0);
        Ok(())
    }

    /// The answer to REST, when the transfer command is on its way already: refused, the transfer begins elsewhere, and
    /// the session is broken.
    ///
    /// # Errors
    /// Refused.
    pub(super) fn has_restarted(
        &mut self,
        reply: Reply,
        offset: u64,
        verb: &'static str,
    ) -> Result<(), FtpError> {
        if reply.is_negative() {
            self.mark_broken();
            let broken = Err(FtpError::Broken { verb });
            return if offset == 0 {
                broken
            } else {
                restarted(reply).and(broken)
            };
        }
        self.set_holds_offset(offset > 0);
        Ok(())
    }
}

/// Whether REST matters to it.
pub(super) fn moves_a_file(verb: &str) -> bool {
    matches!(verb, "RETR" | "STOR" | "APPE")
}

fn restarted(reply: Reply) -> Result<(), FtpError> {
    if reply.is_negative() {
        return Err(FtpError::Refused {
            verb: "REST",
            reply,
        });
    }
    Ok(())
}
