//! SITE UMASK: a directory gets its mode while it is made, in the round trip of its MKD.

use super::session::{accepted, unexpected};
use super::{Command, FtpError, RemotePath, Reply, Session};

impl Session {
    /// The permission bits that the server takes away from what this session makes (SITE UMASK; vsftpd,
    /// inetutils).
    ///
    /// # Errors
    /// Refused, or an answer that names not exactly one octal number.
    pub fn umask(&mut self) -> Result<u16, FtpError> {
        let command = Command::SiteUmask(None);
        let verb = command.verb();
        let reply = self.accept(command)?;
        mask_in(reply.text()).ok_or_else(|| unexpected(verb, &reply))
    }

    /// MKD while the session's umask is `during`; it is `after` again when this returns, else the session is
    /// broken: later files would get modes that nobody expects. For servers known to answer several commands of one
    /// segment. Tells whether the server has accepted the umask.
    ///
    /// Whoever made a directory of that name meanwhile has nothing to fear: unlike a SITE CHMOD behind it, this changes
    /// nothing where MKD is refused.
    ///
    /// # Errors
    /// Those of MKD.
    pub fn make_directory_masked(
        &mut self,
        path: &RemotePath,
        during: u16,
        after: u16,
    ) -> Result<bool, FtpError> {
        let path = self.argument(path, |p| Command::Mkd(p))?;
        let commands = [
            Command::SiteUmask(Some(during)),
            Command::Mkd(&path),
            Command::SiteUmask(Some(after)),
        ];
        self.control_mut().send(&commands)?;
        let masked = self.control_mut().reply("SITE UMASK")?;
        let made = self.control_mut().reply("MKD")?;
        let restored = self.control_mut().reply("SITE UMASK");
        if !restored.is_ok_and(|reply| is_done(&reply)) {
            self.mark_broken();
        }
        accepted("MKD", made)?;
        Ok(is_done(&masked))
    }
}

/// "Superfluous" (202) is no success: nothing was changed.
fn is_done(reply: &Reply) -> bool {
    reply.is_completion() && reply.code() != 202
}

/// `Your current UMASK is 077`, `Current UMASK is 027`.
fn mask_in(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let mut numbers = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let mask = u16::from_str_radix(numbers.next()?, 8).ok()?;
    (numbers.next().is_none() && mask <= 0o777).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_the_only_number() {
        for (text, mask) in [
            ("Your current UMASK is 077", Some(0o77)),
            ("Current UMASK is 027.", Some(0o27)),
            ("umask is 0", Some(0)),
            ("UMASK set to 022 (was 077)", None),
            ("UMASK is 080", None),
            ("UMASK is 1777", None),
            ("Command okay.", None),
        ] {
            assert_eq!(mask_in(text.as_bytes()), mask, "{text}");
        }
    }
}
