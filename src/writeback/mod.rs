//! What the server does not have yet.
