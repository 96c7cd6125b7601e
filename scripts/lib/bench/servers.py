"""The real servers (scripts/servers), at the far end of a link, with the sample in their root."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

TOP = Path(__file__).resolve().parents[3]


class Server:
    """A running server; `root` is its folder as this machine sees it."""

    def __init__(self, brand, link):
        self.brand = brand
        self.script = str(TOP / "scripts" / "servers" / brand)
        environment = dict(
            os.environ, FTPFS_LISTEN=link.address, FTPFS_STOP_WITH=str(os.getpid()), TZ="UTC"
        )
        started = subprocess.run(
            link.far + [self.script, "start"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if started.returncode:
            sys.exit(f"bench: {brand} does not start")
        said = dict(line.split("=", 1) for line in started.stdout.splitlines())
        self.state = said["state"]
        self.root = Path(said["root"])
        self.url = said["url"]
        parts = urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port
        self.user, self.password = parts.username, parts.password
        self.owner = (self.root.stat().st_uid, self.root.stat().st_gid)
        link.watch(self.port)

    def place(self, path="/"):
        """The URL without the password."""
        return f"ftp://{self.user}@{self.host}:{self.port}{path}"

    def full(self, path="/"):
        """The URL with the password."""
        return self.url.rstrip("/") + path

    def version(self):
        """As the package calls it."""
        package = {"proftpd": "proftpd-core"}.get(self.brand, self.brand)
        policy = subprocess.run(
            ["apt-cache", "policy", package], capture_output=True, text=True, check=False
        ).stdout
        for line in policy.splitlines():
            if "Candidate:" in line:
                return f"{self.brand} {line.split()[1]}"
        return self.brand

    def own(self, *paths):
        """What the bench puts there belongs to the server's user."""
        for path in paths:
            os.chown(path, *self.owner)

    def stop(self):
        subprocess.run([self.script, "stop", self.state], stdin=subprocess.DEVNULL, check=False)
