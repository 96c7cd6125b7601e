# shellcheck shell=bash
# Test servers on loopback: start, stop, restart, status. To be sourced by scripts/servers/<brand>, which sets
# BRAND and defines
#   provide    installs what the brand needs
#   configure  writes its configuration into $STATE and sets the array COMMAND, which serves
#              $ROOT on $LISTEN:$PORT in the foreground
# and then calls `server_main "$@"`.
#
# Settings, by environment (empty or 0 = off):
#   FTPFS_LISTEN=ADDRESS          the address that it serves at (default: 127.0.0.1; not embedded, pyftpdlib;
#                                 of IPv6: proftpd)
#   FTPFS_PASSIVE_PORTS=LOW:HIGH  ports for passive data connections (default: any)
#   FTPFS_MAX_CLIENTS=N           at most N sessions at a time (default: 300 and more, for many mounts at once)
#   FTPFS_READ_ONLY=1             the user may not change anything (not embedded)
#   FTPFS_ANONYMOUS=1             anonymous logins are allowed too, read-only (not embedded)
#   FTPFS_CHROOT=0                the login directory is the served folder, but not the server's "/"
#                                 (vsftpd, proftpd, pure-ftpd)
#   FTPFS_APPEND=1                ProFTPD: AllowStoreRestart on, so that APPE and REST+STOR work
#   FTPFS_LOCALTIME=1             vsftpd: use_localtime=YES, as in Debian's file
#   FTPFS_CASELESS=1              pyftpdlib: "name" and "Name" are the same file, as under Windows
#   FTPFS_UMASK=022               of new files (default: the brand's)
#   FTPFS_TLS=explicit|implicit   nothing but TLS, with the certificate STATE/cert.pem (for localhost and 127.0.0.1)
#   FTPFS_CERTIFICATE=FILE, FTPFS_KEY=FILE   another certificate
#   FTPFS_STOP_WITH=PID           the server stops when the process PID has ended
#   FTPFS_SERVER_ARGS='...'       vsftpd, proftpd: lines added to the configuration; pure-ftpd: arguments

# shellcheck source=scripts/lib/ensure.sh
. "$(dirname "${BASH_SOURCE[0]}")/ensure.sh"
PATH=$PATH:/usr/sbin:/sbin
LOGIN=tester
LISTEN=${FTPFS_LISTEN:-127.0.0.1}
# As it stands in a URL.
HOST=$LISTEN
case "$LISTEN" in *:*) HOST="[$LISTEN]" ;; esac
STATE_PREFIX=${TMPDIR:-/tmp}/ftpfs-server

on() { case "${1:-}" in '' | 0 | no | off) return 1 ;; esac; }

# Whose files the server serves: the caller's; nobody's when that is root, so that refusals are real.
served_uid() {
  local uid=${SUDO_UID:-$(id -u)}
  [ "$uid" = 0 ] && uid=65534
  echo "$uid"
}
served_gid() {
  local gid=${SUDO_GID:-$(id -g)}
  [ "$(served_uid)" = 65534 ] && gid=65534
  echo "$gid"
}

# Servers that change user or root directory are started by root: the script runs itself again by sudo.
by_root() {
  [ "$(id -u)" = 0 ] && return 0
  command -v sudo >/dev/null || die "needs root or sudo"
  local settings name
  settings=("TMPDIR=${TMPDIR:-/tmp}" "CARGO_TARGET_DIR=$FTPFS_TARGET")
  for name in "${!FTPFS_@}" TZ; do
    [ "$name" = FTPFS_PASSWORD ] || [ -z "${!name:-}" ] || settings+=("$name=${!name}")
  done
  exec sudo env "${settings[@]}" "$(readlink -f "$0")" "$@"
}

# --- one instance: its state folder holds brand, pid, url, started, conf..., log, root/

# The start time of a process, which with its number names it once and for all.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Usage: alive STATE
alive() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(started "$pid")" = "$(cat "$1/started" 2>/dev/null)" ] &&
    [ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -c1)" != Z ]
}

report() {
  printf 'url=%s\nroot=%s\npid=%s\nstate=%s\n' "$(cat "$1/url")" "$1/root" "$(cat "$1/pid")" "$1"
}

instances() {
  local state
  for state in "$STATE_PREFIX-$BRAND".??????; do
    [ -f "$state/pid" ] && echo "$state"
  done
}

# Usage: find_instance STATE|URL|PID
find_instance() {
  local state all
  mapfile -t all < <(instances)
  for state in "${all[@]}"; do
    case "$1" in
      "$state" | "$state/" | "$(cat "$state/url")" | "$(cat "$state/pid")") echo "$state" && return 0 ;;
    esac
  done
  return 1
}

# A process and all that descend from it. (A machine of the smallest kind has no ps.)
family() {
  cat /proc/[0-9]*/stat 2>/dev/null | awk -v top="$1" '
    { pid = $1; sub(/.*\) /, ""); parent[pid] = $2 }
    END {
      for (pid in parent) {
        for (up = pid; up != top && up in parent; up = parent[up]);
        if (up == top) print pid
      }
    }'
}

# Have these processes ended? A process that nobody has reaped has no executable any more.
gone() {
  local pid
  for pid in "$@"; do
    ! readlink -q "/proc/$pid/exe" >/dev/null || return 1
  done
}

# Usage: until_true SECONDS COMMAND...
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
  done
}

stop_instance() {
  local state=$1 members
  if alive "$state"; then
    # Sessions outlive their server unless they are ended too.
    members=$(family "$(cat "$state/pid")")
    # shellcheck disable=SC2086
    {
      kill -TERM $members
      until_true 1 gone $members || kill -KILL $members
      until_true 5 gone $members || die "the server $(cat "$state/pid") does not end"
    } 2>/dev/null
  fi
  rm -rf "$state"
}

# --- starting

# A port below the ephemeral range that nobody listens on now. Another process may still be faster:
# then the server does not start, and the next port is tried.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X $port) .* 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null || break
  done
  echo $port
}

# Does the server greet with 220 and accept the login? One try, a few seconds at most.
logs_in() {
  alive "$STATE" || return 0
  (
    exec 3<>"/dev/tcp/$LISTEN/$PORT" || exit 1
    # Usage: expect CODE: reads one reply, of several lines perhaps.
    expect() {
      local line
      while read -r -t 5 line <&3; do
        case "$line" in
          "$1 "*) return 0 ;;
          "$1-"* | [!0-9]*) ;;
          *) exit 1 ;;
        esac
      done
      exit 1
    }
    # Under TLS its readiness is all that is looked at.
    if [ "${FTPFS_TLS:-}" = implicit ]; then touch "$STATE/ready" && exit; fi
    expect 220
    if [ -n "${FTPFS_TLS:-}" ]; then
      printf 'AUTH TLS\r\n' >&3 && expect 234 && touch "$STATE/ready"
      exit
    fi
    printf 'USER %s\r\n' $LOGIN >&3 && expect 331
    printf 'PASS %s\r\n' "$PASSWORD" >&3 && expect 230
    printf 'QUIT\r\n' >&3
    touch "$STATE/ready"
  ) 2>/dev/null
}

# Certificate and key in one file, as servers want them, and the certificate alone for clients.
certify() {
  if [ -n "${FTPFS_CERTIFICATE:-}" ]; then
    cp "$FTPFS_CERTIFICATE" "$STATE/cert.pem" && cp "$FTPFS_KEY" "$STATE/key.pem" || die "no such certificate"
  else
    [ -e "$FTPFS_TARGET/tls/cert.pem" ] || locked make_certificate
    cp "$FTPFS_TARGET"/tls/{cert,key}.pem "$STATE"
  fi
  (umask 077 && cat "$STATE/key.pem" "$STATE/cert.pem" >"$STATE/tls.pem")
}

# One for all servers of this clone, so that tests know where it is.
make_certificate() {
  local place=$FTPFS_TARGET/tls
  [ ! -e "$place/cert.pem" ] || return 0
  command -v openssl >/dev/null || ensure_packages openssl
  mkdir -p "$place"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=ftpfs test" \
    -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.77.0.2" \
    -keyout "$place/key.pem" -out "$place/new.pem" 2>"$place/log" || die "openssl makes no certificate"
  mv "$place/new.pem" "$place/cert.pem"
}

# The user database of this server alone: the machine's, with the login account in front. Only the
# server sees it, in a mount namespace of its own, so the machine's users stay as they are.
private_users() {
  local hash
  # shellcheck disable=SC2016
  hash=$(perl -e 'print crypt($ARGV[0], "\$5\$rounds=1000\$ftpfs\$")' "$PASSWORD")
  mkdir -p "$STATE/etc/pam.d"
  {
    echo "$LOGIN:$hash:$(served_uid):$(served_gid)::$ROOT:/bin/sh"
    # Another user than the owner of the files: vsftpd refuses an anonymous "/" that is writable.
    on "${FTPFS_ANONYMOUS:-}" && echo "ftp:*:65533:65534::$ROOT:/bin/sh"
    grep -v -e "^$LOGIN:" -e '^ftp:' /etc/passwd
  } >"$STATE/etc/passwd"
  printf 'auth required pam_unix.so\naccount required pam_unix.so\n' >"$STATE/etc/pam.d/$BRAND"
  # The copy of the mount table would keep FUSE mounts alive that are unmounted outside: they go first.
  # shellcheck disable=SC2016
  IN_PRIVATE=(unshare --mount --propagation private sh -c '
    awk "/ - fuse[.]?/ { print \$5 }" /proc/self/mountinfo | while read -r at; do umount -l "$at"; done
    mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/pam.d" /etc/pam.d && exec "$@"' "$STATE/etc")
}

# Ends the server when the process that wanted it has ended without saying so.
watch_caller() {
  on "${FTPFS_STOP_WITH:-}" || return 0
  local began
  began=$(started "$FTPFS_STOP_WITH")
  (
    while [ -d "$STATE" ] && [ -n "$began" ] && [ "$(started "$FTPFS_STOP_WITH")" = "$began" ]; do sleep 0.5; done
    [ ! -d "$STATE" ] || stop_instance "$STATE"
  ) </dev/null >/dev/null 2>&1 &
}

# Usage: launch [PORT]
launch() {
  PORT=${1:-$(free_port)}
  COMMAND=()
  local scheme=ftp
  case "${FTPFS_TLS:-}" in
    '') ;;
    explicit) scheme=ftpes ;;
    implicit) scheme=ftps ;;
    *) die "FTPFS_TLS=$FTPFS_TLS is neither explicit nor implicit" ;;
  esac
  [ "$scheme" = ftp ] || certify
  configure
  (umask 077 && echo "$scheme://$LOGIN:$PASSWORD@$HOST:$PORT/" >"$STATE/url")
  rm -f "$STATE/ready"
  setsid "${COMMAND[@]}" </dev/null >"$STATE/log" 2>&1 &
  echo $! >"$STATE/pid"
  started $! >"$STATE/started"
  disown
  until_true 15 logs_in
  [ -e "$STATE/ready" ]
}

start() {
  provide
  umask 022
  STATE=$(mktemp -d "$STATE_PREFIX-$BRAND.XXXXXX") || die "no place for the state folder"
  chmod 755 "$STATE"
  ROOT=$STATE/root
  mkdir "$ROOT" "$STATE/empty"
  echo "$BRAND" >"$STATE/brand"
  [ "$(id -u)" != 0 ] || chown "$(served_uid):$(served_gid)" "$ROOT"
  PASSWORD=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
  # A server dies at once when its port is taken.
  local try
  for try in 1 2 3 4; do
    if launch; then
      watch_caller
      report "$STATE"
      return 0
    fi
    alive "$STATE" && break
  done
  say "$BRAND does not answer; the end of its log:"
  tail -n 20 "$STATE/log" >&2
  stop_instance "$STATE"
  exit 1
}

# Kills it with all its sessions and starts it anew, at the same address. To be called with the same settings.
restart() {
  local members url try
  provide
  umask 022
  STATE=$(find_instance "$1") || die "no such server: $1"
  ROOT=$STATE/root
  url=$(cat "$STATE/url")
  PASSWORD=${url#*://*:} && PASSWORD=${PASSWORD%%@*}
  members=$(family "$(cat "$STATE/pid")")
  # shellcheck disable=SC2086
  {
    kill -KILL $members
    until_true 5 gone $members || die "the server $(cat "$STATE/pid") does not end"
  } 2>/dev/null
  url=${url%/}
  for try in 1 2 3 4; do
    if launch "${url##*:}"; then
      report "$STATE"
      return 0
    fi
  done
  die "$BRAND does not answer any more"
}

stop() {
  local state
  state=$(find_instance "$1") || die "no such server: $1"
  stop_instance "$state"
}

# All instances, or one; exit code 3 when it is not running.
status() {
  local state any=3 all
  mapfile -t all < <(instances)
  for state in "${all[@]}"; do
    [ -z "${1:-}" ] || [ "$(find_instance "$1")" = "$state" ] || continue
    alive "$state" || continue
    report "$state"
    any=0
  done
  return $any
}

server_main() {
  case "${1:-}:$#" in
    start:1 | stop:2 | restart:2 | status:1 | status:2) "$@" ;;
    *) die "usage: ${0##*/} start | stop STATE|URL|PID | restart STATE|URL|PID | status [STATE|URL|PID]" ;;
  esac
}
