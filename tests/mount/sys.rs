//! The system calls that need `unsafe`.
#![allow(unsafe_code, reason = "mmap and xattr calls have no safe form")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memmap2::{Mmap, MmapMut};

/// The file as memory, for reading.
pub(crate) fn map_for_reading(file: &File) -> io::Result<Mmap> {
    // SAFETY: nobody cuts the file while a case has it mapped.
    unsafe { Mmap::map(file) }
}

/// The file as shared memory, for writing.
pub(crate) fn map_for_writing(file: &File) -> io::Result<MmapMut> {
    // SAFETY: nobody cuts the file while a case has it mapped.
    unsafe { MmapMut::map_mut(file) }
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap()
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// getxattr(2) into a small buffer: the length.
pub(crate) fn get_xattr(path: &Path, name: &str) -> io::Result<usize> {
    let (path, name) = (
        c_string(path.as_os_str().as_bytes()),
        c_string(name.as_bytes()),
    );
    let mut value = [0u8; 64];
    // SAFETY: both strings end in NUL, and the buffer has the length that is passed.
    checked(unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    })
}

/// setxattr(2).
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<usize> {
    let (path, name) = (
        c_string(path.as_os_str().as_bytes()),
        c_string(name.as_bytes()),
    );
    // SAFETY: both strings end in NUL, and the value has the length that is passed.
    let result = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    checked(isize::try_from(result).unwrap())
}
