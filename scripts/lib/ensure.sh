# shellcheck shell=bash
# What the scripts need from the machine, installed when it is missing. To be sourced.
#
# Debian and Ubuntu; root, or a user with sudo. Nothing is done, and no network used, when all is there.
# The three FTP servers conflict as packages, so they are unpacked below target/servers and never
# installed; only the libraries they are linked with are.

FTPFS_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FTPFS_TARGET=${CARGO_TARGET_DIR:-$FTPFS_TOP/target}
FTPFS_SERVERS=$FTPFS_TARGET/servers
FTPFS_TOOLS=$FTPFS_TARGET/tools
PYFTPDLIB_VERSION=2.2.0
PYOPENSSL_VERSION=26.4.0
FTP_SRV_VERSION=4.6.3
FSX_VERSION=0.3.2
CARGO_FUZZ_VERSION=0.13.2
CARGO_DEB_VERSION=3.8.0
export DEBIAN_FRONTEND=noninteractive

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo --preserve-env=DEBIAN_FRONTEND "$@"
  else
    die "needs root or sudo for: $*"
  fi
}

# One installer at a time in this clone; a lock of its own file descriptor, freed by the subshell's end.
locked() {
  mkdir -p "$FTPFS_SERVERS"
  (
    flock -w 900 8 || die "another installation has been running for 15 minutes"
    "$@"
  ) 8>"$FTPFS_SERVERS/.lock"
}

# Package lists are fetched once in an hour at most, and only when a package is wanted.
apt_update() {
  local stamp=$FTPFS_SERVERS/.apt-updated
  if [ -z "$(find "$stamp" -mmin -60 2>/dev/null)" ]; then
    say "fetching the package lists"
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 && touch "$stamp"
  fi
}

# Usage: ensure_packages PACKAGE...
ensure_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  apt_update
  say "installing ${missing[*]}"
  as_root apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}" >&2 8>&- \
    || die "apt-get cannot install ${missing[*]}"
}

# Usage: ensure_command COMMAND PACKAGE
ensure_command() {
  command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || locked ensure_packages "$2"
}

# The libraries that a package is linked with.
libraries_of() {
  apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$1" |
    sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p'
}

# Unpacked wholly, and able to run: a kept target folder may have come to another machine.
is_unpacked() {
  [ -e "$FTPFS_SERVERS/$1/.complete" ] && ! ldd "$FTPFS_SERVERS/$1"/usr/sbin/*ftpd 2>/dev/null | grep -q 'not found'
}

# Usage: unpack PACKAGE: its files below target/servers/PACKAGE, its libraries installed.
unpack() {
  local package=$1 work=$FTPFS_SERVERS/.unpack-$1 libraries
  is_unpacked "$package" && return 0
  apt_update
  say "unpacking $package"
  rm -rf "$work" "${FTPFS_SERVERS:?}/$package"
  mkdir -p "$work" "$FTPFS_SERVERS/$package"
  (cd "$work" && apt-get -qq -o APT::Sandbox::User= download "$package" >&2) || die "apt-get cannot download $package"
  mapfile -t libraries < <(libraries_of "$package")
  ensure_packages "${libraries[@]}"
  dpkg -x "$work"/*.deb "$FTPFS_SERVERS/$package" && touch "$FTPFS_SERVERS/$package/.complete"
  rm -rf "$work"
}

ensure_unpacked() {
  is_unpacked "$1" || locked unpack "$1"
  is_unpacked "$1" || die "$1 cannot be run here: $(ldd "$FTPFS_SERVERS/$1"/usr/sbin/*ftpd 2>&1 | grep 'not found')"
}

# Installed, and able to run: the machine's Python may be another one than that of a kept target folder.
has_pyftpdlib() {
  local venv=$FTPFS_SERVERS/pyftpdlib
  [ -e "$venv/.complete" ] &&
    "$venv/bin/python" -I -c "import pyftpdlib.servers, OpenSSL; assert pyftpdlib.__ver__ == '$PYFTPDLIB_VERSION'" 2>/dev/null
}

install_pyftpdlib() {
  local venv=$FTPFS_SERVERS/pyftpdlib
  has_pyftpdlib && return 0
  ensure_packages python3 python3-venv
  say "installing pyftpdlib $PYFTPDLIB_VERSION from PyPI"
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv" >&2 8>&- &&
    "$venv/bin/pip" -q --disable-pip-version-check install "pyftpdlib==$PYFTPDLIB_VERSION" "pyopenssl==$PYOPENSSL_VERSION" >&2 8>&- &&
    "$venv/bin/python" -c 'import pyftpdlib.servers' && touch "$venv/.complete" ||
    die "cannot install pyftpdlib"
}

ensure_pyftpdlib() { has_pyftpdlib || locked install_pyftpdlib; }

install_ftp_srv() {
  local place=$FTPFS_SERVERS/ftp-srv
  [ -e "$place/.complete" ] && return 0
  command -v node >/dev/null && command -v npm >/dev/null || ensure_packages nodejs npm
  say "installing ftp-srv $FTP_SRV_VERSION from npm"
  rm -rf "$place" && mkdir -p "$place" &&
    npm install --silent --no-audit --no-fund --prefix "$place" "ftp-srv@$FTP_SRV_VERSION" >&2 8>&- &&
    touch "$place/.complete" || die "cannot install ftp-srv"
}

# A kept target folder may have come to a machine without Node.
ensure_ftp_srv() {
  [ -e "$FTPFS_SERVERS/ftp-srv/.complete" ] && command -v node >/dev/null || locked install_ftp_srv
  command -v node >/dev/null || locked ensure_packages nodejs
}

install_fsx() {
  [ -x "$FTPFS_TOOLS/bin/fsx" ] && return 0
  say "installing fsx $FSX_VERSION from crates.io"
  cargo install -q fsx --version "$FSX_VERSION" --locked --root "$FTPFS_TOOLS" 8>&- || die "cannot install fsx"
}

ensure_fsx() { [ -x "$FTPFS_TOOLS/bin/fsx" ] || locked install_fsx; }

install_cargo_fuzz() {
  [ -x "$FTPFS_TOOLS/bin/cargo-fuzz" ] && return 0
  say "installing cargo-fuzz $CARGO_FUZZ_VERSION from crates.io"
  cargo install -q cargo-fuzz --version "$CARGO_FUZZ_VERSION" --locked --root "$FTPFS_TOOLS" 8>&- ||
    die "cannot install cargo-fuzz"
}

ensure_cargo_fuzz() { [ -x "$FTPFS_TOOLS/bin/cargo-fuzz" ] || locked install_cargo_fuzz; }

# A debug build, without the compressors that the system has: seconds instead of minutes.
install_cargo_deb() {
  [ -x "$FTPFS_TOOLS/bin/cargo-deb" ] && return 0
  say "installing cargo-deb $CARGO_DEB_VERSION from crates.io"
  cargo install -q cargo-deb --version "$CARGO_DEB_VERSION" --locked --debug --no-default-features \
    --root "$FTPFS_TOOLS" 8>&- || die "cannot install cargo-deb"
}

ensure_cargo_deb() { [ -x "$FTPFS_TOOLS/bin/cargo-deb" ] || locked install_cargo_deb; }

# A mount by a plain user needs fusermount3 and access to /dev/fuse.
ensure_fuse() {
  ensure_command fusermount3 fuse3
  [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null
  [ -e /dev/fuse ] || die "there is no /dev/fuse: load the kernel module fuse (in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
}

# A C compiler is what cargo links with; everything else about Rust is the user's.
ensure_rust() {
  command -v cargo >/dev/null || die "Rust is missing: see https://rustup.rs"
  ensure_command cc gcc
}

# The programs that the mount tests run on remote files.
ensure_test_tools() {
  ensure_command git git
  ensure_command rsync rsync
  ensure_command vim vim
  ensure_command sqlite3 sqlite3
  ensure_command make make
  ensure_command gcc gcc
  ensure_command curl curl
  ensure_command getfattr attr
  ensure_command unshare util-linux
}

# Like ensure_packages, but a package that cannot be had is said and left out.
try_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  apt_update
  for package in "${missing[@]}"; do
    if [ -z "$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: \([^(].*\)/\1/p')" ]; then
      say "there is no package $package here"
    else
      (ensure_packages "$package") || say "$package cannot be installed"
    fi
  done
}

# What scripts/bench compares with, and what it does it with.
ensure_bench_tools() {
  ensure_command python3 python3
  ensure_command ip iproute2
  ensure_command nsenter util-linux
  ensure_command curl curl
  ensure_command lftp lftp
  [ -e /dev/net/tun ] || as_root modprobe tun 2>/dev/null
  [ -e /dev/net/tun ] || die "there is no /dev/net/tun: load the kernel module tun"
  locked try_packages rclone curlftpfs gvfs-backends gvfs-fuse gvfs-daemons dbus-daemon libglib2.0-bin
}
