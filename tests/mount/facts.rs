//! What the server brands can do, as far as the cases depend on it.

use crate::support::server::Brand;

/// How symbolic links on the server look to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// As links, with their targets.
    Shown,
    /// As links, but those that lead nowhere or out of the served folder are left out.
    OnlyGood,
    /// As what they point to, so that one to a folder is a folder for unlink and rmdir, and one that
    /// leads nowhere is left out.
    Followed,
    /// As plain files with the size of the target's text: nothing tells them from files.
    AsFiles,
}

/// What a brand can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The server; none is a plain local folder.
    pub(crate) brand: Option<Brand>,
    /// The listing tells permission bits and SITE CHMOD (or MFF) sets them.
    pub(crate) modes: bool,
    /// MFMT or the like sets the time of a file.
    pub(crate) file_times: bool,
    /// A server that refuses the time of a file of somebody else says why; vsftpd does not say whether
    /// it can set times at all, which is known only after it has set one.
    pub(crate) tells_refused_times: bool,
    /// ... and of a folder; pyftpdlib answers MFMT of a folder with 550, and vsftpd MDTM.
    pub(crate) folder_times: bool,
    /// The time of a folder is told to the second; that of a file always is.
    pub(crate) folder_seconds: bool,
    /// Names may be any bytes; else they must be UTF-8.
    pub(crate) any_bytes: bool,
    /// Names may end in a blank and hold control characters and backslashes; Pure-FTPd writes `_`
    /// for the former and refuses the latter.
    pub(crate) odd_names: bool,
    /// Names may hold a byte 255; inetutils drops it (Telnet).
    pub(crate) byte_255: bool,
    /// MKD takes names with `*`; ProFTPD refuses them whatever its settings.
    pub(crate) star_folders: bool,
    /// What may not be stored is refused by the answer to STOR, so that `open` knows it. libunftp
    /// looks only after its 150, so that the program learns it at `close`.
    pub(crate) refuses_at_once: bool,
    /// How links look.
    pub(crate) links: Links,
    /// A link to a folder can be removed; inetutils takes it for the folder, and does nothing.
    pub(crate) removes_links: bool,
    /// The served folder is the server's "/".
    pub(crate) is_root: bool,
    /// The longest listing that the server gives whole. Pure-FTPd's 10,000 (LimitRecursion) hold `.` and `..`,
    /// and with that many it says that it has cut.
    pub(crate) listing: usize,
}

const LOCAL: Facts = Facts {
    brand: None,
    modes: true,
    file_times: true,
    tells_refused_times: true,
    folder_times: true,
    folder_seconds: true,
    any_bytes: true,
    odd_names: true,
    byte_255: true,
    star_folders: true,
    refuses_at_once: true,
    links: Links::Shown,
    removes_links: true,
    is_root: true,
    listing: usize::MAX,
};

/// A plain folder first, then the brands.
static ALL: [Facts; 7] = [
    LOCAL,
    Facts {
        brand: Some(Brand::Vsftpd),
        tells_refused_times: false,
        folder_times: false,
        folder_seconds: false,
        ..LOCAL
    },
    Facts {
        brand: Some(Brand::Proftpd),
        star_folders: false,
        links: Links::OnlyGood,
        ..LOCAL
    },
    Facts {
        brand: Some(Brand::PureFtpd),
        odd_names: false,
        listing: 9_997,
        ..LOCAL
    },
    Facts {
        brand: Some(Brand::Pyftpdlib),
        folder_times: false,
        any_bytes: false,
        links: Links::Followed,
        ..LOCAL
    },
    Facts {
        brand: Some(Brand::Embedded),
        modes: false,
        file_times: false,
        folder_times: false,
        any_bytes: false,
        refuses_at_once: false,
        links: Links::AsFiles,
        ..LOCAL
    },
    Facts {
        brand: Some(Brand::Inetutils),
        byte_255: false,
        removes_links: false,
        is_root: false,
        file_times: false,
        folder_times: false,
        folder_seconds: false,
        ..LOCAL
    },
];

impl Facts {
    /// Of a brand, or of a local folder.
    pub(crate) fn of(brand: Option<Brand>) -> &'static Self {
        ALL.iter()
            .find(|facts| facts.brand == brand)
            .expect("every brand has its facts")
    }

    /// Whether there is a mount and a server, or only a local folder.
    pub(crate) fn is_mount(&self) -> bool {
        self.brand.is_some()
    }

    /// As `scripts/servers` calls it.
    pub(crate) fn name(&self) -> &'static str {
        self.brand.map_or("local", Brand::name)
    }
}
