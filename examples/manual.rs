//! Writes the manual pages and the completions for shells into a folder:
//! `cargo run --example manual -- FOLDER`. They say what `--help` says, because they are made from the
//! same definitions; an example, so that what makes them is no part of the program.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

const ABOUT: &str = "The files of an FTP or FTPS server appear below MOUNTPOINT, and every program can work with \
them. When the command returns, the mount is usable; if it cannot be, one line says why. close(2) and fsync(2) \
return when the server has confirmed the data.";

/// Usual sections behind the options of ftpfs(1): (heading, [(term, text)]).
const BEHIND: &[(&str, &[(&str, &str)])] = &[
    (
        "ENVIRONMENT",
        &[
            ("FTPFS_PASSWORD", "the password"),
            (
                "XDG_RUNTIME_DIR",
                "where --status and --unmount reach a mount",
            ),
            (
                "CREDENTIALS_DIRECTORY",
                "set by systemd: its file ftpfs.password holds the password",
            ),
            (
                "XDG_CACHE_HOME, XDG_STATE_HOME",
                "where files being written and those that could not be stored are kept",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "~/.netrc",
                "logins by host; others must not be able to read it",
            ),
            (
                "~/.cache/ftpfs",
                "files being written, unless staging_dir names another folder",
            ),
            (
                "/etc/fuse.conf",
                "user_allow_other lets users give allow_other",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            (
                "ftpfs ftp://user@ftp.example.com/htdocs ~/web",
                "asks for the password",
            ),
            (
                "ftpfs -o ro,passfile=/home/me/.web ftpes://user@ftp.example.com// ~/web",
                "encrypted, the whole server, read-only",
            ),
            (
                "ftpfs --check ftp://ftp.example.com",
                "says what a server is and can",
            ),
            (
                "ftpfs --unmount ~/web",
                "unmounts, and waits until the server has everything",
            ),
        ],
    ),
];

const AS_HELPER: &[&str] = &[
    "mount(8) runs this program for the file system type ftpfs, with the options of its command line or of the line \
in fstab(5); it is ftpfs(1) under another name. The type fuse.ftpfs does the same through mount.fuse3(8), or through a link \
named /sbin/mount.fuse.ftpfs. It takes what mount(8) gives to helpers: SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE].",
    "Exit status, as that of mount(8): 0 mounted, 1 wrong usage, 2 the system or the mountpoint, 8 interrupted, 32 not mounted, \
because of the server, the login or the encryption. By way of mount.fuse3(8) (the types fuse and fuse.ftpfs) it is that of ftpfs(1).",
    "On lines with user or users the login stands in the address, or in username=NAME: mount(8) takes user=NAME for a word of its \
own.",
    "The password cannot be asked for at boot: name a file that only root can read by passfile, or use netrc.",
];

const FSTAB: &[(&str, &str)] = &[
    (
        "ftp://web42@ftp.example.com/htdocs /mnt/web ftpfs \
noauto,nofail,_netdev,x-systemd.automount,passfile=/etc/ftpfs/web42,uid=1000,gid=1000,allow_other 0 0",
        "in /etc/fstab: mounted at the first access, does not delay the boot",
    ),
    (
        "mount -t ftpfs -o ro ftp://ftp.example.com /mnt",
        "as root, at once",
    ),
    (
        "systemctl enable --now ftpfs@web",
        "as a service of systemd, configured by /etc/ftpfs/web.conf",
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("usage: manual FOLDER".into());
    };
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("ftpfs.1"), program_page()?)?;
    fs::write(folder.join("mount.ftpfs.8"), helper_page()?)?;
    complete(&folder)?;
    Ok(())
}

fn program_page() -> Result<Vec<u8>, Box<dyn Error>> {
    let command = ftpfs::cli::command();
    let after = command.get_after_long_help().map(ToString::to_string);
    let man = Man::new(command.long_about(ABOUT)).manual("ftpfs");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    paragraphs(&mut roff, after.unwrap_or_default().split("\n\n"));
    for (heading, rows) in BEHIND {
        roff.control("SH", [*heading]);
        terms(&mut roff, rows);
    }
    see_also(
        &mut roff,
        &["mount.ftpfs(8)", "fusermount3(1)", "netrc(5)", "sshfs(1)"],
    );
    roff.to_writer(&mut page)?;
    Ok(page)
}

fn helper_page() -> Result<Vec<u8>, Box<dyn Error>> {
    let command = Command::new("mount.ftpfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("lets mount(8) and fstab(5) mount FTP servers");
    let man = Man::new(command).section("8").manual("ftpfs");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([
        bold("mount -t ftpfs "),
        roman("[-o "),
        italic("OPTIONS"),
        roman("] "),
        italic("SOURCE MOUNTPOINT"),
    ]);
    roff.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut roff, AS_HELPER.iter().copied());
    roff.control("SH", ["OPTIONS"]);
    let all = ftpfs::cli::command();
    for arg in all.get_arguments().filter(|arg| is_of_mount(arg)) {
        let mut term = vec![bold(arg.get_id().as_str())];
        if let Some([value, ..]) = arg.get_value_names() {
            term.extend([roman("="), italic(value.as_str())]);
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        roff.control("TP", []);
        roff.text(term);
        roff.text([roman(help)]);
    }
    roff.control("SH", ["EXAMPLES"]);
    terms(&mut roff, FSTAB);
    see_also(
        &mut roff,
        &["ftpfs(1)", "mount(8)", "fstab(5)", "systemd.mount(5)"],
    );
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// Options that exist as `-o`: those of the table, which have a heading.
fn is_of_mount(arg: &Arg) -> bool {
    arg.get_help_heading().is_some() && !arg.is_hide_set()
}

fn paragraphs<'a>(roff: &mut Roff, texts: impl Iterator<Item = &'a str>) {
    for text in texts {
        roff.control("PP", []);
        roff.text([roman(text)]);
    }
}

fn terms(roff: &mut Roff, rows: &[(&str, &str)]) {
    for (term, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*text)]);
    }
}

fn see_also(roff: &mut Roff, pages: &[&str]) {
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
}

/// clap_complete has options for bash to offer where a mountpoint stands; with nothing to offer, bash has files.
const PLACES: &str = r#"
_ftpfs_or_places() {
    _ftpfs "$@"
    [[ $2 == -* || ${COMPREPLY[0]} != -* ]] || COMPREPLY=()
}
complete -F _ftpfs_or_places -o bashdefault -o default ftpfs
"#;

/// Under the names that the shells look for. Hidden options are understood, but not offered.
fn complete(folder: &Path) -> Result<(), Box<dyn Error>> {
    let all = ftpfs::cli::command();
    let shown = all.get_arguments().filter(|arg| !arg.is_hide_set());
    let about = all.get_about().cloned().unwrap_or_default();
    let mut command = Command::new("ftpfs")
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .args(shown.cloned().map(with_values));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "ftpfs", folder)?;
    }
    let mut bash = OpenOptions::new()
        .append(true)
        .open(folder.join("ftpfs.bash"))?;
    bash.write_all(PLACES.as_bytes())?;
    Ok(())
}

/// What can stand behind an option, for a shell to offer.
fn with_values(arg: Arg) -> Arg {
    // A switch can be taken back (`--strict=no`), but nothing has to follow it.
    if arg.get_num_args().is_some_and(|n| n.min_values() == 0) {
        return arg.num_args(0).require_equals(false);
    }
    let name = match arg.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => arg.get_id().to_string(),
    };
    match name.as_str() {
        "FILE" => arg.value_hint(ValueHint::FilePath),
        "DIR" | "MOUNTPOINT" => arg.value_hint(ValueHint::DirPath),
        "SOURCE" => arg.value_hint(ValueHint::Url),
        words if words.contains('|') && words == words.to_lowercase() => {
            let words: Vec<String> = words.split('|').map(str::to_owned).collect();
            arg.value_parser(PossibleValuesParser::new(words))
        }
        _ => arg,
    }
}
