//! What we remember of the server, and for how long.
