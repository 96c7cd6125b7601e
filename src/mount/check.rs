//! `--check`: logs in, looks, and says what the server is, what it can, and which options would help.

use std::io::Write as _;

use super::{Failure, MountConfig, connect};
use crate::ftp::Security;
use crate::ftp::listing::Precision;
use crate::ftp::{ListCommand, printable};
use crate::remote::Findings;

/// Looks at the server and the folder in `config`, and prints what was found. The mountpoint is ignored.
///
/// # Errors
/// What would hinder the mount.
pub fn check(mut config: MountConfig) -> Result<(), Failure> {
    config.delay_connect = false;
    // A few questions, one after the other: sessions opened ahead would be of no use to anybody.
    config.pool.ahead = false;
    let (remote, root) = connect(&config)?;
    let findings = remote
        .examine(&root)
        .map_err(|error| super::folder_failure(&config.login, &root, &error))?;
    remote.close();
    let text = text_of(&config, &root.to_string(), &findings);
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|e| Failure::system(format!("standard output: {e}")))
}

fn text_of(config: &MountConfig, folder: &str, found: &Findings) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Nothing that the server says moves the cursor.
        let value = printable(value.as_bytes());
        text.push_str(&format!("{name:<12} {value}\n"));
    };
    line("server", &found.greeting);
    match &config.login.route.proxy {
        Some(proxy) => line("proxy", &proxy.to_string()),
        None => line("address", &found.peer.to_string()),
    }
    if let Some(time) = found.round_trip {
        line(
            "round trip",
            &format!("{:.2} ms", time.as_secs_f64() * 1000.0),
        );
    }
    line("encryption", &encryption(config, found));
    let lines = match found.unparsed {
        0 => String::new(),
        count => format!("; {count} lines could not be read, see the log"),
    };
    line(
        "folder",
        &format!("{folder}, {} entries{lines}", found.entries),
    );
    line("listing", &listing(found));
    if let Some(seconds) = found.clock {
        line("its clock", &format!("{seconds:+} s from UTC in listings"));
    }
    if let Some((size, time)) = found.version {
        let said = |yes| if yes { "yes" } else { "no" };
        line("SIZE, MDTM", &format!("{}, {}", said(size), said(time)));
    }
    line(
        "commands",
        match found.pipelining {
            true => "several at once",
            false => "one by one: each waits for the answer to the one before",
        },
    );
    let mode = if found.active { "active" } else { "passive" };
    line("data", &format!("{mode}, {}", found.data));
    let more = match found.is_full {
        true => "the server refuses more",
        false => "as many as max_conns allows",
    };
    line(
        "connections",
        &format!("{} at a time: {more}", found.connections),
    );
    let free = match found.free {
        Some(bytes) => format!("{bytes} bytes"),
        None => "not told".to_owned(),
    };
    line("free space", &free);
    line("features", &found.features.join(", "));
    for advice in advice(config, found) {
        line("advice", &advice);
    }
    text
}

fn encryption(config: &MountConfig, found: &Findings) -> String {
    match found.encryption {
        Some(tls) => match tls.certificate {
            Some(print) => {
                let hex: String = print.iter().map(|byte| format!("{byte:02X}")).collect();
                format!("{}, certificate SHA-256 {hex}", tls.version)
            }
            None => tls.version.to_string(),
        },
        None if matches!(config.login.security, Security::Off) => "off".to_owned(),
        None => "none: the server refuses AUTH TLS".to_owned(),
    }
}

fn listing(found: &Findings) -> String {
    let exact = found.precision.is_some_and(|p| p >= Precision::Second);
    let times = match found.precision {
        Some(_) if exact && found.listing != ListCommand::Mlsd => ", times made exact by MDTM",
        Some(Precision::Day) => ", times to the day",
        Some(Precision::Minute) => ", times to the minute",
        Some(Precision::Second) => ", times to the second",
        Some(Precision::Subsecond) => ", times to a part of a second",
        None => "",
    };
    let command = found.listing;
    format!("{command}{times}")
}

fn advice(config: &MountConfig, found: &Findings) -> Vec<String> {
    let mut advice = Vec::new();
    let local = found.peer.ip().is_loopback() && config.login.route.proxy.is_none();
    match (found.encryption, &config.login.security) {
        (Some(_), Security::Offered(_)) => advice.push(
            "tls=require, or ftpes://, so that nobody in between can make it look like a server without encryption".into(),
        ),
        (None, Security::Offered(_)) if !local => {
            advice.push("password and data cross the network in clear: only in a network that you trust".into());
        }
        _ => {}
    }
    let exact = found.precision.is_none_or(|p| p >= Precision::Second);
    if !exact && found.version.is_some_and(|(_, time)| !time) {
        advice.push(
            "times are no more exact than the listing: rsync wants --modify-window=60".into(),
        );
    }
    if found.version.is_some_and(|(size, _)| !size) {
        advice.push(
            "sizes cannot be asked: an upload is believed when the server confirms it".into(),
        );
    }
    advice
}
