//! What we remember of the server, and for how long.

mod block;
mod buffer;
mod readahead;
mod reader;
mod filling;
mod stream;
mod segments;
mod lane;
mod trial;
mod pace;
mod listing;
mod directory;
mod small_files;
mod own_time;
#[doc(hidden)]
pub mod readers;
mod walks;
mod ahead;
mod way;

pub use block::{BlockCache, ContentId};
pub use listing::{Entries, Held, ListingCache, Remembered};
pub use own_time::OwnTime;
pub use readahead::ReadaheadWindow;
pub use reader::{Done, FileReader, ReadContext, ReadError};
pub use small_files::{Ahead, Fetched, SMALL, SmallFiles};
