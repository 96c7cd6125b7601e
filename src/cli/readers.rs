//! What reads the source, by itself: for tests and fuzz targets.

use std::ops::Range;
use std::path::PathBuf;

use super::Order;
use super::settings::Settings;
use super::url::Source;

/// What a source says.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceParts {
    /// Name or address, without brackets.
    pub host: String,
    /// Of the control connection.
    pub port: u16,
    /// Decoded.
    pub user: Option<Vec<u8>>,
    /// Decoded.
    pub password: Option<Vec<u8>>,
    /// Where in the source the password is.
    pub password_at: Option<Range<usize>>,
    /// Decoded.
    pub path: Vec<u8>,
    /// The source, and a mount of it, as `{:?}` prints them.
    pub shown: String,
}

/// Reads the source as typed.
///
/// # Errors
/// One line that says what is wrong.
pub fn source(text: &[u8]) -> Result<SourceParts, String> {
    let source = Source::parse(text)?;
    let password = source.password(text);
    let mut shown = format!("{source:?} ");
    let order = Order {
        source: source.clone(),
        password: password.clone(),
        mountpoint: PathBuf::new(),
        settings: Settings::default(),
    };
    shown += &format!("{order:?} {order:#?}");
    Ok(SourceParts {
        host: source.host,
        port: source.port,
        user: source.user,
        password,
        password_at: source.password,
        path: source.path,
        shown,
    })
}
