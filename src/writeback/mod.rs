//! What the server does not have yet.

mod ranges;
mod staging;

pub use ranges::ByteRanges;
pub use staging::StagingArea;
