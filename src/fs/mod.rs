//! The file system, without the kernel.

mod error;
mod config;
mod api;

pub use api::{
    DirEntry, DrainReport, FtpFs, Looked, NewAttributes, Opened, ReadDone, Space, TimeChange, Wait,
};
pub use config::{FsConfig, OwnerConfig, StagingConfig, UploadPolicy};
pub use error::FsError;
