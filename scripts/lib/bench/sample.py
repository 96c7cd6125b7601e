"""What is read and written: made once, always the same bytes, kept in the target folder."""

import hashlib
import os
import random
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024
DAY = 86400
# Changes whenever the sample does: an older one is made anew.
EDITION = "3"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    big: int = 64 * MIB
    huge: int = 256 * MIB
    parallel: int = 16 * MIB
    many: int = 10_000
    small: int = 500
    copied: int = 300
    packed: int = 100
    changes: int = 100
    preads: int = 200

    def tree(self, link):
        """Which tree is walked, and how many directories it has."""
        return ("tree100", 100) if link == "100ms" or self.many < 10_000 else ("tree", 1000)


FULL = Sizes()
QUICK = Sizes(
    big=8 * MIB, huge=16 * MIB, parallel=2 * MIB, many=1000, small=100, copied=50, packed=30,
    changes=30, preads=40,
)


def tree_paths(count):
    """Directories, each with five files: a tenth of them at the top, the others inside these."""
    tops = [f"d{n:02}" for n in range(count // 10)]
    inner = [f"{top}/e{n}" for top in tops for n in range(9)]
    return tops + inner


def _write(path, seed, size):
    some = random.Random(seed)
    with open(path, "wb") as file:
        while size > 0:
            piece = min(size, MIB)
            file.write(some.randbytes(piece))
            size -= piece


def _make(base, sizes):
    served, local = base / "served", base / "local"
    for folder in ("many", "small", "one", "tree", "tree100"):
        (served / folder).mkdir(parents=True)
    (local / "in").mkdir(parents=True)
    _write(served / "big", "big", sizes.big)
    _write(served / "huge", "huge", sizes.huge)
    for n in range(4):
        _write(served / f"parallel{n}", f"parallel{n}", sizes.parallel)
    for n in range(sizes.many):
        (served / "many" / f"file-{n:05}.txt").write_bytes(b"x" * (n % 100))
    for n in range(sizes.small):
        _write(served / "small" / f"f{n:03}", f"small{n}", 4 * KIB)
    for n in range(100):
        _write(served / "one" / f"f{n:03}", f"one{n}", 4 * KIB)
    for name, count in (("tree", 1000), ("tree100", 100)):
        for path in tree_paths(count):
            (served / name / path).mkdir()
            for n in range(5):
                (served / name / path / f"file{n}").write_bytes(b"x" * n)
    for n in range(sizes.copied):
        folder = local / "in" / f"d{n % 3}"
        folder.mkdir(exist_ok=True)
        _write(folder / f"f{n:03}", f"copied{n}", 1 * KIB + n * 37 % (12 * KIB))
    _write(local / "big", "local big", sizes.big)
    _write(local / "huge", "local huge", sizes.huge)
    with tarfile.open(local / "packed.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for n in range(sizes.packed):
            tar.add(local / "in" / f"d{n % 3}" / f"f{n % sizes.copied:03}", f"packed/f{n:03}")


class Sample:
    """The made sample."""

    def __init__(self, target, sizes):
        self.sizes = sizes
        self.base = target / "bench" / ("sample" if sizes is FULL else "sample-quick")
        mark = self.base / ".complete"
        if not mark.exists() or mark.read_text() != EDITION:
            shutil.rmtree(self.base, ignore_errors=True)
            _make(self.base, sizes)
            mark.write_text(EDITION)
        self.served, self.local = self.base / "served", self.base / "local"

    def install(self, server, large):
        """Puts it into the server's root, with `large` as the large file. Times are fixed, but of the last weeks: LIST tells only those to the
        minute."""
        to = server.root / "sample"
        to.mkdir()
        unused = {"big", "huge"} - {"big", large}
        parts = [entry.path for entry in os.scandir(self.served) if entry.name not in unused]
        subprocess.run(["cp", "-a", "--reflink=auto", *parts, to], check=True)
        subprocess.run(["chown", "-R", "%d:%d" % server.owner, to], check=True)
        today = int(time.time()) // DAY * DAY
        for n, entry in enumerate(sorted(os.scandir(to / "many"), key=lambda e: e.name)):
            when = today - DAY - n * 97 % (90 * DAY)
            os.utime(entry.path, (when, when))
        for entry in os.scandir(to):
            os.utime(entry.path, (today - DAY, today - DAY))

    def many(self):
        """Name, size and time of each file of the large directory."""
        today = int(time.time()) // DAY * DAY
        return {
            f"file-{n:05}.txt": (n % 100, today - DAY - n * 97 % (90 * DAY))
            for n in range(self.sizes.many)
        }

    def digest(self, *paths):
        """Of all of them, one after the other."""
        total = hashlib.sha256()
        for path in paths:
            with open(path, "rb") as file:
                while piece := file.read(MIB):
                    total.update(piece)
        return total.hexdigest()
