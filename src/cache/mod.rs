//! What we remember of the server, and for how long.

mod block;
mod readahead;

pub use block::{BlockCache, ContentId};
pub use readahead::ReadaheadWindow;
