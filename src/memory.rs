//! How the allocator keeps memory: bounded by what is in use, not by how many threads used it.

/// Settles the allocator, once, before other threads exist.
///
/// glibc gives each thread an arena of its own and raises the size from which memory is mapped by
/// itself as soon as such memory is freed. File blocks of 128 KiB, made by one thread and freed by
/// another, then stay behind in many arenas: a long read took four times the memory of its cache.
/// Elsewhere nothing needs to be done.
pub fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Below the size of a block: each is mapped, and given back when it is freed.
        const MAPPED_FROM: libc::c_int = 100 << 10;
        #[expect(unsafe_code, reason = "only the C library can set up its allocator")]
        // SAFETY: mallopt changes settings of the allocator; it takes two numbers and no pointer, and
        // runs before any other thread exists.
        let accepted = unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM) == 1
                && libc::mallopt(libc::M_ARENA_MAX, 2) == 1
        };
        if !accepted {
            log::debug!("the allocator keeps its own settings");
        }
    }
}
