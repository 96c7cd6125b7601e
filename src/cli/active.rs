//! From the options about active mode to what the sessions need.

use super::settings::Settings;
use crate::ftp::{ActiveMode, OwnAddress, printable};
use crate::mount::Failure;
use crate::net::interface_addresses;

/// # Errors
/// Options that contradict each other, and an interface that is not there.
pub(super) fn mode(settings: &Settings) -> Result<Option<ActiveMode>, Failure> {
    let Settings {
        active,
        ftp_port,
        port_range,
        ..
    } = settings;
    if !active {
        return match port_range {
            Some(_) => Err(Failure::usage(
                "option port_range: it is for active mode alone; add active",
            )),
            None => Ok(None),
        };
    }
    if settings.proxy.is_some() {
        return Err(Failure::usage(
            "option active: a connection from the server goes through no proxy; leave one of them out",
        ));
    }
    // With delay_connect, the interface may come up later.
    if let (OwnAddress::Interface(name), false) = (ftp_port, settings.delay_connect) {
        interface_addresses(name).map_err(|error| {
            let name = printable(name.as_bytes());
            Failure::usage(format!(
                "option ftp_port: {name}: neither an address of numbers nor an interface ({error})"
            ))
        })?;
    }
    Ok(Some(ActiveMode {
        address: ftp_port.clone(),
        ports: port_range.clone(),
    }))
}
