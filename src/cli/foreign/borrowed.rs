//! Values that other programs write in their own way.

use super::super::settings::Settings;
use super::super::value::Value;

/// `cache=no` of curlftpfs and `dir_cache=no` of sshfs.
pub(super) fn cache(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    match value.yes()? {
        true => Ok(()),
        false => settings.set("cache_timeout", Some(b"0")),
    }
}

/// The encoding on this machine.
pub(super) fn utf8_here(_: &mut Settings, value: Value<'_>) -> Result<(), String> {
    let name = value.text()?.to_ascii_lowercase();
    match name.as_str() {
        "utf8" | "utf-8" => Ok(()),
        _ => Err(value
            .wrong("names are UTF-8 on this machine; codepage=NAME is for those on the server")),
    }
}

/// What curlftpfs sends to list a directory.
pub(super) fn list_command(_: &mut Settings, value: Value<'_>) -> Result<(), String> {
    match value.0.to_ascii_uppercase().trim_ascii() {
        b"LIST" | b"LIST -A" => Ok(()),
        _ => Err(value.wrong("how the server lists is found out; leave this option out")),
    }
}

/// The form of a certificate or key.
pub(super) fn pem(_: &mut Settings, value: Value<'_>) -> Result<(), String> {
    match value.0.eq_ignore_ascii_case(b"pem") {
        true => Ok(()),
        false => {
            Err(value.wrong("certificates and keys are read as PEM; openssl(1) converts them"))
        }
    }
}

pub(super) fn debug_level(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    settings.verbose |= value.number(0..=u32::MAX)? > 0;
    Ok(())
}

/// How sshfs translates owners.
pub(super) fn idmap(_: &mut Settings, value: Value<'_>) -> Result<(), String> {
    match value.0 {
        b"user" | b"none" => Ok(()),
        _ => Err(value.wrong("FTP tells no owners; uid=N and gid=N name one for all files")),
    }
}

/// `no` promises nothing.
pub(super) fn compression(_: &mut Settings, value: Value<'_>) -> Result<(), String> {
    match value.yes()? {
        true => Err(value.wrong("FTP has no compression that servers know")),
        false => Ok(()),
    }
}

pub(super) fn passive(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    let active = if value.yes()? { "no" } else { "yes" };
    settings.set("active", Some(active.as_bytes()))
}

/// Modules of libfuse, parted by colons.
pub(super) fn modules(_: &mut Settings, value: Value<'_>) -> Result<(), String> {
    match value.0.split(|b| *b == b':').all(|name| name == b"iconv") {
        true => Ok(()),
        false => Err(value.wrong(
            "only iconv is understood; the folder on the server stands in the address: ftp://HOST/FOLDER",
        )),
    }
}

pub(super) fn daemon(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    settings.foreground = !value.yes()?;
    Ok(())
}

pub(super) fn buffer_size(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    settings.readahead = size(value)?;
    Ok(())
}

pub(super) fn more_readahead(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    settings.readahead = settings.readahead.max(size(value)?);
    Ok(())
}

/// rclone's limit is one for the disk, and `off` is none. As memory it could be far too much.
pub(super) fn cache_limit(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    if !matches!(value.0, b"off" | b"-1") {
        settings.cache_size = settings.cache_size.min(size(value)?);
    }
    Ok(())
}

pub(super) fn file_perms(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    settings.file_perms = Some(value.mask()?);
    Ok(())
}

pub(super) fn dir_perms(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    settings.dir_perms = Some(value.mask()?);
    Ok(())
}

pub(super) fn log_level(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    let (verbose, quiet) = match value.0.to_ascii_uppercase().as_slice() {
        b"DEBUG" | b"INFO" => (true, false),
        b"NOTICE" | b"WARNING" => (false, false),
        b"ERROR" => (false, true),
        _ => return Err(value.wrong("not DEBUG, INFO, NOTICE or ERROR")),
    };
    (settings.verbose, settings.quiet) = (verbose, quiet);
    Ok(())
}

/// 0 is "no limit" for rclone; here the default is one that servers bear.
pub(super) fn concurrency(settings: &mut Settings, value: Value<'_>) -> Result<(), String> {
    if value.0 != b"0" {
        settings.max_conns = value.number(1..=64)?;
    }
    Ok(())
}

/// rclone counts in KiB where it is told no unit.
fn size(value: Value<'_>) -> Result<u64, String> {
    let digits_alone = !value.0.is_empty() && value.0.iter().all(u8::is_ascii_digit);
    match digits_alone {
        true => Value(&[value.0, b"K"].concat()).size(),
        false => value.size(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rclone_counts_in_kib() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("16", Some(16384)),
            ("16M", Some(16 << 20)),
            ("", None),
        ] {
            assert_eq!(size(Value(text.as_bytes())).ok(), bytes, "{text}");
        }
    }
}
