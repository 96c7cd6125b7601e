"""The works: what is done, on which files, and how the result is checked.

Each work is a function of a `Round` that returns {figure: seconds}; it raises `Wrong` when the result is not what it
must be, `Refused` when there is an error instead, `TooLong` when the limit is over, `Unfit` when the client has no way
to do it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from sample import tree_paths

OPS = str(Path(__file__).with_name("ops.py"))


class Wrong(Exception):
    """The result is not what it must be."""


class Refused(Exception):
    """An honest error number."""


class TooLong(Exception):
    """Cut off at the limit."""


class Unfit(Exception):
    """The client has no way to do this."""


def large(link):
    """The name of the large file on this link."""
    return "huge" if link.name == "loopback" else "big"


@dataclass
class Round:
    """One client on one server, once."""

    link: object
    server: object
    client: object
    sample: object
    limit: float
    scratch: Path
    counts: dict = field(default_factory=dict)
    notes: set = field(default_factory=set)

    @property
    def large(self):
        """The large file of this link."""
        return large(self.link)

    @property
    def size(self):
        return getattr(self.sample.sizes, self.large)

    @property
    def served(self):
        return self.client.path / "sample"

    @property
    def work(self):
        """The server's folder for changes, as the client sees it."""
        return self.client.path / "place"

    @property
    def disk(self):
        """The same on the server's disk."""
        return self.server.root / "place"

    def do(self, figure, *operation, near=False):
        """Runs ops.py; what it says. `near`: in the namespace of the clients."""
        before = self.link.count()
        command = [sys.executable, "-I", "-S", "-B", OPS, *map(str, operation)]
        process = subprocess.Popen(
            (self.link.near if near else []) + command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ, TZ="UTC"),
        )
        try:
            said, errors = process.communicate(timeout=self.limit + 1)
        except subprocess.TimeoutExpired:
            process.kill()
            # A process that waits in a dead mount is gone when the mount is.
            after = self.link.count()
            said = {name: after[name] - before[name] for name in after} if before else ""
            raise TooLong(f"so far: {said}") from None
        after = self.link.count()
        if process.returncode:
            raise Refused(errors.strip().splitlines()[-1] if errors.strip() else "it ended without a word")
        result = json.loads(said)
        result["seconds"] = result["end"] - result["start"]
        result["figure"], result["before"] = figure, before
        self.counted(result, after)
        if result["seconds"] > self.limit:
            raise TooLong
        return result

    def counted(self, result, after):
        """What was said on the line meanwhile."""
        if after:
            self.counts[result["figure"]] = {name: n - result["before"][name] for name, n in after.items()}

    def run(self, figure, *command, output=os.devnull, near=False):
        """A program that must succeed."""
        result = self.do(figure, "run", output, *command, near=near)
        if result["code"]:
            raise Refused(f"{command[0]}: exit code {result['code']}: {result['errors']}")
        return result

    def wire(self, work, **scratch):
        """The same by a program without a mount."""
        tree, _ = self.sample.sizes.tree(self.link.name)
        scratch = {"large": self.large, "tree": tree, "got": str(self.scratch / "got"), **scratch}
        command = self.client.commands(work, self.server, self.sample, scratch)
        if command is None:
            raise Unfit
        output = str(self.scratch / "output") if self.client.name == "lftp" else os.devnull
        return self.run(work, *command, output=output, near=True)

    def wire_got(self, *expected):
        """What lftp stored must be the sample; curl throws it away, and its exit code is the check."""
        got = self.scratch / "got"
        if not got.exists():
            return
        paths = sorted(got.iterdir()) if got.is_dir() else [got]
        same(self.sample.digest(*paths), self.sample.digest(*expected))

    def until(self, result, complete, changed):
        """The seconds from the start until the server has it all. For ftpfs that must be so when close has returned; with
        others the last change of these files at the server tells when it was."""
        while not complete():
            if self.client.name == "ftpfs":
                raise Wrong("close returned before the server had everything")
            if time.monotonic() - result["start"] > self.limit:
                raise TooLong
            time.sleep(0.005)
        if self.client.name == "ftpfs" or not self.client.mounts:
            return result["seconds"]
        self.counted(result, self.link.count())
        began = time.time() - (time.monotonic() - result["start"])
        seconds = max(os.stat(path).st_ctime for path in changed) - began
        # The clock of files ticks every 4 ms.
        if seconds <= result["seconds"] + 0.01:
            return result["seconds"]
        self.notes.add("late")
        return seconds


def same(found, expected, what="the content"):
    if found != expected:
        raise Wrong(f"{what} is not that of the server")


def sizes_of(pairs):
    """Has each file at the server the size of its original?"""

    def complete():
        try:
            return all(os.path.getsize(there) == os.path.getsize(here) for there, here in pairs)
        except OSError:
            return False

    return complete


def mount(r):
    """From the start of the program until `ls` of the root has been answered."""
    return {"mount": r.mounted_after}


def read(r):
    source = r.sample.served / r.large
    if not r.client.mounts:
        result = r.wire("read")
        r.wire_got(source)
        return {"read": result["seconds"]}
    first = r.do("read", "read", r.served / r.large, r.size)
    again = r.do("reread", "read", r.served / r.large, r.size)
    for result in (first, again):
        same(result["sha256"], r.sample.digest(source))
    return {"read": first["seconds"], "reread": again["seconds"]}


def write(r):
    source = r.sample.local / r.large
    written = r.disk / "written"
    if r.client.mounts:
        result = r.do("write", "write", r.work / "written", source)
    else:
        result = r.wire("write")
    seconds = r.until(result, sizes_of([(written, source)]), [written])
    same(r.sample.digest(written), r.sample.digest(source))
    return {"write": seconds}


def ls(r):
    """`ls -l` of a large directory."""
    if not r.client.mounts:
        return {"ls": r.wire("ls", output=str(r.scratch / "output"))["seconds"]}
    figures = {}
    for figure in ("ls", "ls-warm"):
        output = r.scratch / "output"
        command = ("ls", "-l", "--time-style=+%s", r.served / "many")
        figures[figure] = r.run(figure, *command, output=output)["seconds"]
        found = {}
        for line in output.read_text().splitlines()[1:]:
            words = line.split()
            found[words[6]] = (int(words[4]), int(words[5]))
        expected = r.sample.many()
        same({n: v[0] for n, v in found.items()}, {n: v[0] for n, v in expected.items()}, "the listing")
        if any(abs(found[name][1] - when) >= 60 for name, (_, when) in expected.items()):
            r.notes.add("times")
    return figures


def find(r):
    """All names of a tree."""
    tree, count = r.sample.sizes.tree(r.link.name)
    output = r.scratch / "output"
    if not r.client.mounts:
        return {"find": r.wire("find")["seconds"]}
    result = r.run("find", "find", r.served / tree, output=output)
    top = f"{r.served / tree}"
    found = sorted(line[len(top) :].lstrip("/") for line in output.read_text().splitlines())
    paths = tree_paths(count)
    same(found, sorted(["", *paths, *(f"{p}/file{n}" for p in paths for n in range(5))]), "the tree")
    return {"find": result["seconds"]}


def cat(r):
    """Many small files, one after the other."""
    names = [f"small/f{n:03}" for n in range(r.sample.sizes.small)]
    sources = [r.sample.served / name for name in names]
    if not r.client.mounts:
        result = r.wire("cat")
        r.wire_got(*sources)
        return {"cat": result["seconds"]}
    output = r.scratch / "output"
    result = r.run("cat", "cat", *(r.served / name for name in names), output=output)
    same(r.sample.digest(output), r.sample.digest(*sources))
    return {"cat": result["seconds"]}


def one(r):
    """A small file that was never read, from a mount at rest that knows its directory."""
    if not r.client.mounts:
        return {"one": r.wire("one")["seconds"]}
    names = [f"one/f{n:03}" for n in (50, 17, 83, 34, 69)]
    os.listdir(r.served / "one")
    result = r.do("one", "read-each", *(r.served / name for name in names))
    same(result["sha256"], r.sample.digest(*(r.sample.served / name for name in names)))
    if "one" in r.counts:
        r.counts["one"] = {name: n / len(names) for name, n in r.counts["one"].items()}
    return {"one": result["seconds"]}


def random(r):
    """Small reads all over a large file."""
    import hashlib

    import ops

    if not r.client.mounts:
        raise Unfit
    count = r.sample.sizes.preads
    size = r.sample.sizes.big
    result = r.do("random", "pread", r.served / "big", size, count)
    data = (r.sample.served / "big").read_bytes()
    expected = hashlib.sha256(b"".join(data[at : at + 4096] for at in ops.offsets(size, count)))
    same(result["sha256"], expected.hexdigest())
    return {"random": result["seconds"]}


def copy(r):
    """`cp -r` of small files in, each close confirmed."""
    sources = sorted((r.sample.local / "in").rglob("f*"))
    there = [r.disk / "in" / path.relative_to(r.sample.local / "in") for path in sources]
    if r.client.mounts:
        result = r.run("copy", "cp", "-r", r.sample.local / "in", r.work / "in")
    else:
        result = r.wire("copy")
    seconds = stored(r, result, there, sources)
    return {"copy": seconds}


def stored(r, result, there, sources):
    """Until the server has all of them. With `writeback` the figure ends with the program, as its user sees it."""
    seconds = r.until(result, sizes_of(list(zip(there, sources))), there)
    same(r.sample.digest(*there), r.sample.digest(*sources))
    return result["seconds"] if r.client.name == "ftpfs-writeback" else seconds


def tar(r):
    """An archive of small files, unpacked."""
    if not r.client.mounts:
        raise Unfit
    count = r.sample.sizes.packed
    result = r.run("tar", "tar", "xf", r.sample.local / "packed.tar", "-C", r.work, "--no-same-owner")
    there = [r.disk / "packed" / f"f{n:03}" for n in range(count)]
    sources = [r.sample.local / "in" / f"d{n % 3}" / f"f{n:03}" for n in range(count)]
    return {"tar": stored(r, result, there, sources)}


def parallel(r):
    """Four readers at the same time."""
    names = [f"parallel{n}" for n in range(4)]
    if not r.client.mounts:
        return {"parallel": r.wire("parallel")["seconds"]}
    result = r.do("parallel", "read-all", *(r.served / name for name in names))
    same(result["sha256"], r.sample.digest(*(r.sample.served / name for name in names)))
    return {"parallel": result["seconds"]}


def changed_copy(r):
    """A large file at the server that may be changed, and what it will be."""
    there = r.disk / "big"
    content = bytearray((r.sample.served / "big").read_bytes())
    return there, content


def matches(there, content):
    return lambda: os.path.getsize(there) == len(content) and there.read_bytes() == content


def patch(r):
    """4 KiB in the middle of a large file: the first time on a mount, and then."""
    from random import Random

    if not r.client.mounts:
        raise Unfit
    there, content = changed_copy(r)
    figures = {}
    for figure, offset in (("patch", len(content) // 2), ("patch-again", len(content) // 4)):
        content[offset : offset + 4096] = Random(offset).randbytes(4096)
        result = r.do(figure, "patch", r.work / "big", offset, 4096)
        figures[figure] = r.until(result, matches(there, content), [there])
    return figures


def append(r):
    """1 KiB at the end of a large file."""
    from random import Random

    there, content = changed_copy(r)
    tail = Random(1024).randbytes(1024)
    content += tail
    if r.client.mounts:
        result = r.do("append", "append", r.work / "big", 1024)
    else:
        (r.scratch / "tail").write_bytes(tail)
        result = r.wire("append", tail=str(r.scratch / "tail"))
    return {"append": r.until(result, matches(there, content), [there])}


def changes(name, after):
    """One kind of change to many names, in one process."""

    def change(r):
        count = r.sample.sizes.changes
        result = r.do(name, name, r.work, count) if r.client.mounts else r.wire(name)
        expected = {after.format(n=n) for n in range(count)} if after else set()
        return {name: r.until(result, lambda: set(os.listdir(r.disk)) == expected, [r.disk])}

    change.__doc__ = f"{name}, many times."
    return change


def cpu(r):
    """CPU seconds of the client's processes for 1 GiB (with the large file: four times 256 MiB), on loopback."""
    per_gib = (1 << 30) / (4 * r.size)
    if not r.client.mounts:
        used = {work: sum(r.wire(work)["cpu"] for _ in range(4)) for work in ("read", "write")}
        r.notes.clear()
        return {f"cpu-{work}": seconds * per_gib for work, seconds in used.items()}
    before = r.client.cpu()
    for n in range(4):
        result = r.do("cpu-read", "read", r.work / f"huge{n}", r.size)
        same(result["sha256"], r.sample.digest(r.sample.served / r.large))
    middle = r.client.cpu()
    pairs = [(r.disk / f"written{n}", r.sample.local / r.large) for n in range(4)]
    for there, source in pairs:
        result = r.do("cpu-write", "write", r.work / there.name, source)
        r.until(result, sizes_of([(there, source)]), [there])
    after = r.client.cpu()
    for there, source in pairs:
        same(r.sample.digest(there), r.sample.digest(source))
    r.notes.clear()
    return {"cpu-read": (middle - before) * per_gib, "cpu-write": (after - middle) * per_gib}


# name: (function, figures, what must lie in the server's `work` before)
WORKS = {
    "mount": (mount, ("mount",), ""),
    "read": (read, ("read", "reread"), ""),
    "write": (write, ("write",), ""),
    "ls": (ls, ("ls", "ls-warm"), ""),
    "find": (find, ("find",), ""),
    "cat": (cat, ("cat",), ""),
    "one": (one, ("one",), ""),
    "random": (random, ("random",), ""),
    "copy": (copy, ("copy",), ""),
    "tar": (tar, ("tar",), ""),
    "parallel": (parallel, ("parallel",), ""),
    "patch": (patch, ("patch", "patch-again"), "big"),
    "append": (append, ("append",), "big"),
    "rename": (changes("rename", "g{n:03}"), ("rename",), "files"),
    "unlink": (changes("unlink", ""), ("unlink",), "files"),
    "mkdir": (changes("mkdir", "d{n:03}"), ("mkdir",), ""),
    "cpu": (cpu, ("cpu-read", "cpu-write"), "links"),
}
# Works where the time ends with the server's having it, so that writeback has something to show.
WRITEBACK_WORKS = ("copy", "tar")
LOOPBACK_ONLY = ("cpu",)


def prepare(name, server, sample):
    """An empty folder `work` at the server, with what the work changes."""
    folder = server.root / "place"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = [folder]
    kind = WORKS[name][2]
    if kind == "big":
        shutil.copyfile(sample.served / "big", folder / "big")
        made.append(folder / "big")
    elif kind == "files":
        for n in range(sample.sizes.changes):
            (folder / f"f{n:03}").write_bytes(b"x")
            made.append(folder / f"f{n:03}")
    elif kind == "links":
        for n in range(4):
            os.link(server.root / "sample" / "huge", folder / f"huge{n}")
    server.own(*made)
    for path in made:
        os.utime(path, (time.time() - 3600,) * 2)
