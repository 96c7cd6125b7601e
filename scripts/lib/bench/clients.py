"""Who does the work: ftpfs, its peers, and the wire as the limit."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

READY_LIMIT = 30.0


def output(*command):
    """What a program says; nothing if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def first_line(*command):
    lines = output(*command).splitlines()
    return lines[0].strip() if lines else ""


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return any(line.split()[4] == str(path) for line in file)


class NotReady(Exception):
    """The mount did not come up."""


class Client:
    """One way to work on a server."""

    name = ""
    title = ""
    mounts = True

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def version(self):
        raise NotImplementedError


class Mount(Client):
    """A client that mounts. One instance serves one mount at a time."""

    # Milliseconds after which the mount counts as settled, for all alike.
    settle = 0.5

    def __init__(self):
        self.process = None
        self.base = None
        self.path = None
        self.log = None
        self.peak = 0

    def command(self, server):
        raise NotImplementedError

    def environment(self, server):
        return {}

    def place(self):
        """Where the server's root is seen."""
        return self.base / "mnt"

    def ready(self):
        return is_mounted(self.base / "mnt")

    def start(self, link, server):
        """Mounts; the seconds until the mount is there and has answered the first `ls`."""
        self.base = Path(tempfile.mkdtemp(prefix="ftpfs-bench."))
        (self.base / "mnt").mkdir()
        self.log = open(self.base / "log", "wb")
        environment = dict(os.environ, TZ="UTC", HOME=str(self.base), **self.environment(server))
        for variable in list(environment):
            if variable.startswith("XDG_"):
                del environment[variable]
        began = time.monotonic()
        self.process = subprocess.Popen(
            link.near + self.command(server),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() - began > READY_LIMIT:
                raise NotReady(self.said())
            time.sleep(0.001)
        self.path = self.place()
        os.listdir(self.path)
        return time.monotonic() - began

    def said(self):
        """The end of its log."""
        return (self.base / "log").read_text(errors="replace")[-600:]

    def pids(self):
        return [self.process.pid]

    def cpu(self):
        """Seconds of all its processes so far."""
        ticks = 0
        for pid in self.pids():
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += int(words[11]) + int(words[12])
            except (OSError, IndexError):
                pass
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """Peak of resident memory of all its processes, in MiB."""
        total = 0
        for pid in self.pids():
            try:
                found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                total += int(found.group(1)) if found else 0
            except OSError:
                pass
        return total / 1024

    def stop(self, patient=True):
        """Unmounts; what hangs is killed."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.peak = max(self.peak, self.resident())
        mounts = [self.base / "mnt"]
        for mount in mounts:
            if is_mounted(mount):
                subprocess.run(
                    ["fusermount3", "-u", mount] if patient else ["fusermount3", "-u", "-z", mount],
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
        try:
            self.process.wait(20 if patient else 1)
        except subprocess.TimeoutExpired:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        for mount in mounts:
            if is_mounted(mount):
                subprocess.run(["umount", "-l", mount], check=False)
        self.log.close()
        self.process = None
        if not is_mounted(self.base / "mnt"):
            shutil.rmtree(self.base, ignore_errors=True)


class Ftpfs(Mount):
    """This project's, with its defaults."""

    name = title = "ftpfs"
    mine = True

    def __init__(self, program, options=()):
        super().__init__()
        self.program, self.options = program, list(options)

    def version(self):
        commit = first_line("git", "-C", os.path.dirname(__file__), "rev-parse", "--short", "HEAD")
        return f"{first_line(self.program, '--version')} ({commit})"

    def command(self, server):
        options = [word for option in self.options for word in ("-o", option)]
        return [self.program, "-f", *options, server.place(), str(self.base / "mnt")]

    def environment(self, server):
        return {"FTPFS_PASSWORD": server.password}


class FtpfsWriteback(Ftpfs):
    """A close is confirmed by the local disk."""

    name = "ftpfs-writeback"
    title = "ftpfs -o writeback"
    mine = True

    def __init__(self, program, options=()):
        super().__init__(program, [*options, "writeback"])

    def missing(self):
        said = output(self.program, "--help")
        return None if re.search(r"^ +--writeback", said, re.M) else "this ftpfs has no option writeback"


class Rclone(Mount):
    """rclone mount, with or without its cache on disk."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode
        self.name = f"rclone-{mode}"
        self.title = f"rclone mount, cache {mode}"

    def missing(self):
        return None if shutil.which("rclone") else "no package rclone"

    def version(self):
        return first_line("rclone", "version")

    def command(self, server):
        secret = subprocess.run(
            ["rclone", "obscure", server.password], capture_output=True, text=True, check=True
        ).stdout.strip()
        remote = f":ftp,host={server.host},port={server.port},user={server.user},pass={secret}:"
        cache = str(self.base / "cache")
        return [
            "rclone", "mount", remote, str(self.base / "mnt"), "--vfs-cache-mode", self.mode,
            "--vfs-write-back", "0s", "--cache-dir", cache, "--config", "/dev/null",
        ]  # fmt: skip


class CurlFtpFs(Mount):
    """No longer in many distributions."""

    name = title = "curlftpfs"

    def missing(self):
        return None if shutil.which("curlftpfs") else "no package curlftpfs"

    def version(self):
        return first_line("curlftpfs", "--version")

    def command(self, server):
        return ["curlftpfs", "-f", server.full(), str(self.base / "mnt")]


class Gvfs(Mount):
    """gvfsd-ftp behind gvfsd-fuse, in a D-Bus session of its own."""

    name = title = "gvfs"
    daemon = ("/usr/libexec/gvfsd", "/usr/lib/gvfs/gvfsd")

    def _libexec(self):
        for path in self.daemon:
            if os.path.exists(path) and os.path.exists(path + "-fuse") and os.path.exists(path + "-ftp"):
                return path
        return None

    def missing(self):
        if not self._libexec():
            return "no packages gvfs-backends and gvfs-fuse"
        for program in ("dbus-run-session", "gio"):
            if not shutil.which(program):
                return f"no {program}"
        return None

    def version(self):
        return "gvfs " + output("dpkg-query", "-W", "-f", "${Version}", "gvfs-backends").strip()

    def environment(self, server):
        (self.base / "run").mkdir(mode=0o700)
        return {"GIO_USE_VFS": "gvfs", "BENCH_PASSWORD": server.password}

    def command(self, server):
        daemon = self._libexec()
        script = (
            'export XDG_RUNTIME_DIR="$1/run"; "$2" --no-fuse & '
            'until gdbus introspect --session -d org.gtk.vfs.Daemon -o /org/gtk/vfs/Daemon >/dev/null 2>&1; '
            "do sleep 0.05; done; "
            '"$2-fuse" "$1/mnt" -f & '
            'printf "%s\\n" "$BENCH_PASSWORD" | gio mount "$3" || exit 1; wait'
        )
        return ["dbus-run-session", "--", "sh", "-c", script, "gvfs", str(self.base), daemon, server.place()]

    def _inner(self):
        try:
            return [entry for entry in os.listdir(self.base / "mnt") if entry.startswith("ftp:")]
        except OSError:
            return []

    def ready(self):
        return is_mounted(self.base / "mnt") and bool(self._inner())

    def place(self):
        return self.base / "mnt" / self._inner()[0]

    def pids(self):
        """All of its session."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    words = Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                if int(words.rsplit(")", 1)[1].split()[3]) == self.process.pid and "(gvfsd" in words:
                    found.append(int(entry))
        return found

    def stop(self, patient=True):
        if self.process is not None and self.process.poll() is None:
            self.peak = max(self.peak, self.resident())
            subprocess.run(
                ["fusermount3", "-u", "-z", self.base / "mnt"], stderr=subprocess.DEVNULL, check=False
            )
            try:
                os.killpg(self.process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        super().stop(False)


class Wire(Client):
    """A program that transfers without a mount."""

    mounts = False

    def missing(self):
        return None if shutil.which(self.name) else f"no package {self.name}"


class Curl(Wire):
    """One process, one connection, unless curl itself takes more."""

    name = title = "curl"

    def version(self):
        return " ".join(first_line("curl", "--version").split()[:2])

    def commands(self, work, server, sample, scratch):
        """The command for a work, or None where curl has no way to do it."""
        url, served, local = server.full(), server.full("/sample/"), sample.local
        quiet = ["curl", "-sS", "--fail"]
        sizes = sample.sizes
        at = server.full("/place/")

        def quotes(*lines):
            return quiet + [word for line in lines for word in ("-Q", line)] + ["-o", os.devnull, "-I", url]

        match work:
            case "read":
                return quiet + ["-o", os.devnull, served + scratch["large"]]
            case "write":
                return quiet + ["-T", str(local / scratch["large"]), at + "written"]
            case "ls":
                return quiet + ["-o", scratch["output"], served + "many/"]
            case "cat":
                return quiet + ["-o", os.devnull, f"{served}small/f[000-{sizes.small - 1:03}]"]
            case "one":
                return quiet + ["-o", os.devnull, served + "one/f050"]
            case "copy":
                words = []
                for path in sorted((local / "in").rglob("f*")):
                    words += ["-T", str(path), f"{at}in/{path.parent.name}/{path.name}"]
                return quiet + ["--ftp-create-dirs", *words]
            case "parallel":
                words = [w for n in range(4) for w in ("-o", os.devnull, f"{served}parallel{n}")]
                return quiet + ["--parallel", "--parallel-immediate", *words]
            case "append":
                return quiet + ["-a", "-T", scratch["tail"], at + "big"]
            case "rename":
                names = range(sizes.changes)
                return quotes(*(f"{v} /place/{c}{n:03}" for n in names for v, c in (("RNFR", "f"), ("RNTO", "g"))))
            case "unlink":
                return quotes(*(f"DELE /place/f{n:03}" for n in range(sizes.changes)))
            case "mkdir":
                return quotes(*(f"MKD /place/d{n:03}" for n in range(sizes.changes)))
        return None


class Lftp(Wire):
    """One process; where it has a way to use more sessions, four."""

    name = title = "lftp"

    def version(self):
        return " ".join(first_line("lftp", "--version").split()[:4]).replace("LFTP | Version ", "lftp ")

    def commands(self, work, server, sample, scratch):
        sizes, local = sample.sizes, sample.local

        def each(template):
            return "; ".join(template.format(n=n) for n in range(sizes.changes))

        script = {
            "read": f"get1 -o {scratch['got']} /sample/{scratch['large']}",
            "write": f"put {local}/{scratch['large']} -o /place/written",
            "ls": "cd /sample/many; ls",
            "find": f"cd /sample/{scratch['tree']}; find",
            "cat": f"mirror -P4 /sample/small {scratch['got']}",
            "copy": f"mirror -R -P4 {local}/in /place/in",
            "rename": each("mv /place/f{n:03} /place/g{n:03}"),
            "unlink": "rm -f " + " ".join(f"/place/f{n:03}" for n in range(sizes.changes)),
            "mkdir": "mkdir -f " + " ".join(f"/place/d{n:03}" for n in range(sizes.changes)),
        }.get(work)
        if script is None:
            return None
        login = f"open -u {server.user},{server.password} ftp://{server.host}:{server.port}"
        return ["lftp", "--norc", "-c", f"set cmd:fail-exit yes; set ftp:ssl-allow no; {login}; {script}"]


def everyone(program, options):
    """All clients, in the order of the table."""
    return [
        Ftpfs(program, options), FtpfsWriteback(program, options), Rclone("full"), Rclone("off"),
        Gvfs(), CurlFtpFs(), Curl(), Lftp(),
    ]  # fmt: skip
