//! Greeting, USER, PASS, FEAT, TYPE I.

use std::fmt;
use std::time::Duration;

use crate::net::AddressFamily;

/// A password: any bytes but CR, LF and NUL, and never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes as they are to be sent.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one command that sends them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to get from nothing to a logged-in session.
#[derive(Debug, Clone)]
pub struct LoginConfig {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// TCP port of the control connection.
    pub port: u16,
    /// As sent with USER.
    pub user: Vec<u8>,
    /// As sent with PASS.
    pub password: Secret,
    /// Which addresses may be used.
    pub family: AddressFamily,
    /// For resolving and connecting, together.
    pub connect_timeout: Duration,
    /// For each reply and for each stretch of a transfer without progress.
    pub timeout: Duration,
}
