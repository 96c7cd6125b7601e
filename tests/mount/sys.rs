//! The system calls that need `unsafe`.
#![allow(unsafe_code, reason = "mmap and xattr calls have no safe form")]

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, ExitCode};

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

/// The first argument that makes this program print a file through a map instead of running tests.
const PRINT_MAPPED: &str = "--print-mapped";

/// `--print-mapped PATH`: the file as a map shows it, on standard output.
pub(crate) fn helper() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != PRINT_MAPPED {
        return None;
    }
    let file = File::open(arguments.next()?).ok()?;
    let map = map_for_reading(&file).ok()?;
    Some(match io::stdout().write_all(&map) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// The file as a map shows it to another process: a page that cannot be read ends that one (SIGBUS).
pub(crate) fn read_mapped(path: &Path) -> Result<Vec<u8>, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let out = Command::new(program).arg(PRINT_MAPPED).arg(path).output();
    let out = out.map_err(|error| error.to_string())?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(out.status.to_string())
    }
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
