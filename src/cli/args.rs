//! The command line: clap built from the table, and its messages in one line.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::argv::Spot;
use super::asking;
use super::foreign;
use super::settings::{self, Settings};
use super::table::{self, TABLE};
use super::url;
use crate::mount::Ask;

/// A command line that wants something mounted.
#[derive(Debug)]
pub(super) struct Typed {
    /// What to mount, as typed.
    pub(super) source: Vec<u8>,
    /// Where, as typed.
    pub(super) mountpoint: OsString,
    /// Options, later ones winning.
    pub(super) settings: Settings,
    /// Nothing is mounted: what is kept is stored, or listed if there is no source.
    pub(super) recover: bool,
    /// Nothing is mounted: the server is looked at.
    pub(super) check: bool,
    /// Passwords in options: `user=NAME:PASSWORD`, `account=TEXT`, `proxy=URL`.
    pub(super) secrets: Vec<Spot>,
}

/// What came of reading the command line.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Something to mount.
    Mount(Box<Typed>),
    /// Something about a mount that is there.
    Ask(Ask),
    /// Help or version, for standard output.
    Text(String),
}

/// Reads the arguments, the first being the program's name. If `sloppy`, words of a list that nobody knows are passed over.
///
/// # Errors
/// One line that never shows a value which could be a password.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    sloppy: bool,
) -> Result<Parsed, String> {
    let matches = match with_theirs(command()).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Parsed::Text(error.render().to_string()))
                }
                _ => Err(message(&error)),
            };
        }
    };
    not_empty(&matches)?;
    if let Some(ask) = asking::found(&matches)? {
        return Ok(Parsed::Ask(ask));
    }
    let one = |id: &str| matches.get_one::<OsString>(id).cloned().unwrap_or_default();
    let mut typed = Typed {
        source: one("SOURCE").into_vec(),
        mountpoint: one("MOUNTPOINT"),
        settings: Settings::with_defaults()?,
        recover: matches.get_flag("recover"),
        check: matches.get_flag("check"),
        secrets: Vec::new(),
    };
    typed.settings.sloppy = sloppy;
    places_fit(&typed)?;
    for (name, value) in in_order(&matches) {
        let value = value.as_bytes();
        if name == "o" {
            for word in super::words::split(value)? {
                typed.secrets.extend(secret_in(&word.name, word.raw));
            }
            typed.settings.set_list(value)?;
        } else {
            if foreign::ours(name) == "account" {
                // In one argument, or in two, which the system parts with a NUL.
                for between in [&b"="[..], b"\0"] {
                    let text = [b"--account", between, value].concat();
                    typed.secrets.push(Spot::of_account(text));
                }
            } else {
                let secret = secret_in(name.as_bytes(), value.to_vec());
                typed.secrets.extend(secret);
            }
            typed.settings.set(name, Some(value))?;
        }
    }
    Ok(Parsed::Mount(Box::new(typed)))
}

/// What a script makes of a variable that is not set.
fn not_empty(matches: &ArgMatches) -> Result<(), String> {
    let asks = asking::WORDS.iter().any(|word| matches.get_flag(word));
    let first = if asks { "mountpoint" } else { "source" };
    for (id, what) in [("SOURCE", first), ("MOUNTPOINT", "mountpoint")] {
        let place = matches.get_one::<OsString>(id);
        if place.is_some_and(|place| place.is_empty()) {
            return Err(format!("the {what} is empty"));
        }
    }
    Ok(())
}

/// Words that somebody types who knows programs with commands. Each is an option here.
const COMMANDS: [&str; 6] = ["check", "help", "recover", "status", "unmount", "version"];

/// Whether source and mountpoint are there where they are needed, and nowhere else.
fn places_fit(typed: &Typed) -> Result<(), String> {
    let (source, mountpoint) = (&typed.source[..], typed.mountpoint.as_bytes());
    if typed.recover && !mountpoint.is_empty() {
        return Err("--recover mounts nothing: ftpfs --recover [OPTIONS] [SOURCE]".into());
    }
    if typed.check && (typed.recover || !mountpoint.is_empty()) {
        return Err("--check mounts nothing: ftpfs --check [OPTIONS] SOURCE".into());
    }
    if typed.check && source.is_empty() {
        return Err("--check needs an address: ftpfs --check [OPTIONS] SOURCE".into());
    }
    if typed.recover || typed.check {
        return Ok(());
    }
    let command = COMMANDS.iter().find(|word| word.as_bytes() == source);
    // With a folder behind it, it may well be the name of a host.
    let is_command = mountpoint.is_empty() || url::is_url(mountpoint);
    match command.filter(|_| is_command) {
        Some(word) => Err(format!("{word} is an option: type ftpfs --{word}")),
        None if mountpoint.is_empty() => Err(
            "a source and a mountpoint are needed: ftpfs [OPTIONS] SOURCE MOUNTPOINT (see ftpfs --help)"
                .into(),
        ),
        None if url::are_swapped(source, mountpoint) => Err(
            "source and mountpoint are swapped: ftpfs [OPTIONS] SOURCE MOUNTPOINT".into(),
        ),
        None => Ok(()),
    }
}

/// The password in the text of an option.
fn secret_in(name: &[u8], text: Vec<u8>) -> Option<Spot> {
    match foreign::ours(&String::from_utf8_lossy(name)) {
        "user" if text.contains(&b':') => Some(Spot::of_login(text)),
        "proxy" => Spot::of_proxy(text),
        "account" => Some(Spot::of_account(text)),
        _ => None,
    }
}

/// All options as typed, so that the last one wins whichever way it is spelled.
fn in_order(matches: &ArgMatches) -> Vec<(&str, &OsString)> {
    let mut found = Vec::new();
    let theirs = foreign::ROWS
        .iter()
        .flat_map(|row| row.names.iter().copied());
    let names = TABLE
        .iter()
        .map(|spec| spec.name)
        .chain(theirs)
        .chain(["o"]);
    for name in names {
        let (Some(places), Some(values)) =
            (matches.indices_of(name), matches.get_many::<OsString>(name))
        else {
            continue;
        };
        found.extend(places.zip(values).map(|(at, value)| (at, name, value)));
    }
    found.sort_by_key(|(at, ..)| *at);
    found
        .into_iter()
        .map(|(_, name, value)| (name, value))
        .collect()
}

/// What clap knows of the command line: the help text, the manual and the completions are made from it.
pub fn command() -> Command {
    let raw = || ValueParser::os_string();
    let mut command = Command::new("ftpfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Mounts an FTP server as a folder")
        .override_usage("ftpfs [OPTIONS] SOURCE MOUNTPOINT\n       ftpfs --check [OPTIONS] SOURCE\n       ftpfs --recover [OPTIONS] [SOURCE]\n       ftpfs --status [--json | --watch] [MOUNTPOINT]\n       ftpfs --unmount MOUNTPOINT")
        .after_help(AFTER)
        .after_long_help(after_long())
        .arg(
            Arg::new("SOURCE")
                .value_parser(raw())
                .help("ftp://[USER@]HOST[:PORT]/PATH or [USER@]HOST[:PATH]"),
        )
        .arg(
            Arg::new("MOUNTPOINT")
                .value_parser(raw())
                .help("an empty folder"),
        )
        .arg(
            Arg::new("o")
                .short('o')
                .action(ArgAction::Append)
                .value_name("NAME[=VALUE],...")
                .value_parser(raw())
                .help("options as mount(8) takes them; each also exists as --NAME VALUE"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("log in, look, and say what the server is and can; mounts and changes nothing"),
        )
        .arg(
            Arg::new("recover")
                .long("recover")
                .action(ArgAction::SetTrue)
                .help("store what an earlier mount of SOURCE could not; without SOURCE list what is kept"),
        )
        .args(asking::arguments());
    for spec in TABLE {
        let hyphenated = spec.name.replace('_', "-");
        let mut arg = Arg::new(spec.name)
            .long(hyphenated.clone())
            .action(ArgAction::Append)
            .value_parser(raw())
            .help_heading(spec.group.heading())
            .help(match spec.default {
                "" => spec.help.to_owned(),
                default => format!("{} [default: {default}]", spec.help),
            });
        let others = spec
            .aliases
            .iter()
            .flat_map(|a| [a.replace('_', "-"), (*a).to_owned()]);
        for alias in others.chain([spec.name.to_owned()]) {
            if alias != hyphenated {
                arg = arg.alias(alias);
            }
        }
        if let Some(letter) = spec.short {
            arg = arg.short(letter);
        }
        arg = if spec.is_switch() {
            as_switch(arg)
        } else {
            arg.value_name(spec.value)
        };
        command = command.arg(arg);
    }
    command
}

/// Adds the options of other programs, of which the help text and what is made like it say nothing.
fn with_theirs(mut command: Command) -> Command {
    for row in foreign::ROWS {
        for name in row.names {
            let arg = Arg::new(*name)
                .action(ArgAction::Append)
                .value_parser(ValueParser::os_string())
                .hide(true);
            let mut letters = name.chars();
            let arg = match (letters.next(), letters.next()) {
                (Some(letter), None) => arg.short(letter),
                _ => spelled(arg, name),
            };
            command = command.arg(match row.takes_value {
                true => arg,
                false => as_switch(arg),
            });
        }
    }
    command
}

/// `--some-name` and `--some_name`; `--SomeName` and `--somename`, unless another is called so.
fn spelled(arg: Arg, name: &'static str) -> Arg {
    let (hyphenated, small) = (name.replace('_', "-"), name.to_ascii_lowercase());
    let other = (hyphenated != name).then(|| name.to_owned());
    let theirs = foreign::find(&small).is_some_and(|row| row.names.contains(&small.as_str()));
    let is_other = theirs || table::find(&small).is_some();
    let small = (!is_other).then_some(small);
    arg.long(hyphenated).aliases(other.into_iter().chain(small))
}

/// `--name`, or `--name=no` to take it back.
fn as_switch(arg: Arg) -> Arg {
    arg.num_args(0..=1)
        .require_equals(true)
        .default_missing_value("yes")
}

const AFTER: &str = "Unmount with: ftpfs --unmount MOUNTPOINT, or fusermount3 -u MOUNTPOINT";

fn after_long() -> String {
    format!(
        "Every option can be given as --some-name VALUE or as -o some_name=VALUE. In an -o list a comma inside a value \
is typed \\, or the value stands in double quotes. Generic mount options (defaults, _netdev, nofail, x-*, ...) are \
accepted, and the options of curlftpfs, sshfs and rclone are understood.\n\n\
A password is looked for in: SOURCE, user=NAME:PASSWORD, passfile, passcommand, standard input (password_stdin), the \
environment variable FTPFS_PASSWORD, ftpfs.password among systemd's credentials, ~/.netrc, and at last asked for. Without a user: ~/.netrc, then anonymous.\n\n\
Exit status: 0 mounted (with -f: unmounted, everything stored), 1 wrong usage, 2 the system refused, 3 login refused, \
4 no encryption that can be trusted, 5 server not reached, 6 no such folder on the server, 7 something could not be stored, 130 interrupted.\n\n\
{AFTER}"
    )
}

/// clap's complaint in one line, in our words, and without any value.
fn message(error: &clap::Error) -> String {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => {
            text.split(['=', ' ']).next().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let hint = settings::nearest(argument.trim_start_matches('-'), true)
                .map(|known| format!("; did you mean --{}?", known.replace('_', "-")));
            let hint = hint.unwrap_or_default();
            format!("unknown option {argument}{hint} (ftpfs --help lists all)")
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("unknown option {argument} (ftpfs --help lists all)")
        }
        ErrorKind::UnknownArgument => {
            "more than a source and a mountpoint: ftpfs [OPTIONS] SOURCE MOUNTPOINT".into()
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::NoEquals => {
            format!("option {argument} needs a value")
        }
        ErrorKind::TooManyValues => format!("option {argument} takes no value"),
        _ => "the command line cannot be understood: ftpfs [OPTIONS] SOURCE MOUNTPOINT (see ftpfs --help)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &[&str]) -> Result<Typed, String> {
        let args = ["ftpfs"].iter().chain(line).map(OsString::from);
        match parse(args, false)? {
            Parsed::Mount(typed) => Ok(*typed),
            Parsed::Text(text) => Err(text),
            Parsed::Ask(ask) => Err(format!("{ask:?}")),
        }
    }

    #[test]
    fn clap_accepts_the_table() {
        with_theirs(command()).debug_assert();
    }

    #[test]
    fn both_spellings_and_the_last_one_wins() {
        for line in [
            &["-o", "cache_timeout=7", "h", "m"][..],
            &["--cache-timeout", "7", "h", "m"],
            &["--cache_timeout=7", "h", "m"],
            &["h", "m", "-ocache-timeout=7,_netdev"],
            &["-o", "cache_timeout=3", "--cache-timeout=7", "h", "m"],
            &["--cache-timeout=3", "h", "m", "-o", "cache_timeout=7"],
        ] {
            let typed = typed(line).unwrap();
            assert_eq!(typed.settings.cache_timeout.as_secs(), 7, "{line:?}");
            assert_eq!(typed.source, b"h");
            assert_eq!(typed.mountpoint, "m");
        }
    }

    #[test]
    fn switches() {
        let t = typed(&["-fdrv", "h", "m"]).unwrap().settings;
        assert!(t.foreground && t.debug && t.read_only && t.verbose);
        let t = typed(&["--strict", "h", "m", "-ostrict=no"]).unwrap();
        assert!(!t.settings.strict);
        assert!(
            typed(&["--read-only", "h", "m"])
                .unwrap()
                .settings
                .read_only
        );
    }

    #[test]
    fn complaints_are_one_line_and_show_no_value() {
        for (line, part) in [
            (
                &["--cache-timout=9", "h", "m"][..],
                "did you mean --cache-timeout?",
            ),
            (&["-X", "h", "m"], "unknown option -X"),
            (
                &["--nonsense=s3cret", "h", "m"],
                "unknown option --nonsense",
            ),
            (&["h"], "a source and a mountpoint are needed"),
            (&[], "a source and a mountpoint are needed"),
            (&["--check"], "--check needs an address"),
            (&["--json"], "belong to --status"),
            (&["--watch", "m"], "belong to --status"),
            (&["help"], "help is an option: type ftpfs --help"),
            (&["check", "ftp://h"], "type ftpfs --check"),
            (&["/mnt", "ftp://u:s3cret@h/"], "are swapped"),
            (&["", "m"], "the source is empty"),
            (&["h", ""], "the mountpoint is empty"),
            (&["--recover", ""], "the source is empty"),
            (&["--unmount", ""], "the mountpoint is empty"),
            (&["--stat"], "did you mean --status?"),
            (&["h", "m", "ftp://u:s3cret@h/"], "more than a source"),
            (&["h", "m", "--timeout"], "option --timeout needs a value"),
            (&["h", "m", "-o"], "option -o needs a value"),
            (
                &["h", "m", "--recover=s3cret"],
                "option --recover takes no value",
            ),
        ] {
            let message = typed(line).unwrap_err();
            assert!(message.contains(part), "{line:?}: {message}");
            assert!(!message.contains("s3cret"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn passwords_are_noted() {
        for [in_list, alone] in [["user", "--user"], ["username", "--username"]] {
            let list = format!(r"ro,{in_list}=me:a\,b,proxy=http://me:pw@h:1");
            let t = typed(&["h", "m", "-o", &list, alone, "you:pw"]).unwrap();
            let noted = t.secrets.iter().map(|spot| &spot.text[..]);
            let in_list = format!(r"{in_list}=me:a\,b");
            let expected = [in_list.as_bytes(), b"proxy=http://me:pw@h:1", b"you:pw"];
            assert_eq!(noted.collect::<Vec<_>>(), expected);
            assert_eq!(t.settings.user.unwrap(), b"you:pw");
        }
    }
}
