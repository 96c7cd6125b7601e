//! From the options about the network to the way that connections take.

use super::settings::Settings;
use crate::ftp::printable;
use crate::mount::Failure;
use crate::net::{Origin, Route};

/// # Errors
/// An interface or an address that this machine does not have.
pub(super) fn route(settings: &Settings) -> Result<Route, Failure> {
    let origin = match &settings.interface {
        Some(text) => Some(Origin::find(text).map_err(|error| {
            Failure::usage(format!(
                "option interface: {}: no interface and no address of this machine ({error})",
                printable(text.as_bytes())
            ))
        })?),
        None => None,
    };
    Ok(Route { origin })
}
