"""The figures: kept as JSON, shown as a Markdown table and a plot."""

import datetime
import json
import os
import platform
import re
import statistics
from dataclasses import dataclass, field

import plot
from links import LINKS

FIGURES = {
    "mount": "mount until the first `ls`",
    "read": "read a large file in order",
    "reread": "read it again",
    "write": "write a large file, until the server has it",
    "ls": "`ls -l` of 10,000 entries, cold",
    "ls-warm": "the same, warm",
    "find": "`find` of 1,000 directories (100 at 100 ms)",
    "cat": "`cat` of 500 files of 4 KiB",
    "one": "one cold small file, from a mount at rest",
    "random": "200 random reads of 4 KiB in 64 MiB",
    "copy": "`cp -r` of 300 small files in",
    "tar": "`tar x` of 100 small files",
    "parallel": "4 readers, 16 MiB each",
    "patch": "4 KiB changed in 64 MiB, first time",
    "patch-again": "4 KiB changed in 64 MiB, again",
    "append": "1 KiB appended to 64 MiB",
    "rename": "100 renames",
    "unlink": "100 unlinks",
    "mkdir": "100 mkdirs",
    "cpu-read": "CPU for 1 GiB read",
    "cpu-write": "CPU for 1 GiB written",
    "memory": "peak resident memory",
}
NOTES = {
    "late": ("ᴸ", "close returned before the server had the file; the time is that until it had it"),
    "times": ("ᵀ", "the listing shows wrong times of files"),
}


@dataclass
class Cell:
    """One figure of one client on one server."""

    seconds: list = field(default_factory=list)
    counts: list = field(default_factory=list)
    notes: set = field(default_factory=set)
    state: str = "ok"
    median: float = 0.0
    limit: float = 60.0
    date: str = ""

    def as_json(self):
        return {**vars(self), "notes": sorted(self.notes)}

    @staticmethod
    def of_json(values):
        return Cell(**{**values, "notes": set(values["notes"])})


def shown(figure, cell):
    """As in the table."""
    if cell.state == "unfit":
        return "—"
    if cell.state in ("fail", "refused"):
        return {"fail": "FAIL", "refused": "refused"}[cell.state]
    if cell.state == "too long":
        return f"> {cell.limit:g} s"
    if figure == "memory":
        return f"{cell.median:.0f} MiB"
    digits = 3 if cell.median < 0.1 else 2 if cell.median < 10 else 1
    text = f"{cell.median:.{digits}f} s" + "".join(NOTES[note][0] for note in sorted(cell.notes))
    if cell.counts:
        commands, connections = (
            statistics.median(count[name] for count in cell.counts) for name in ("commands", "connections")
        )
        text += f" ({commands:g}, {connections:g})"
    return text


@dataclass
class Results:
    """Everything of a run; keys are (link, server, client, figure)."""

    cells: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    absent: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def put(self, link, server, client, figure, cell):
        cell.date = datetime.date.today().isoformat()
        self.cells[(link, server, client, figure)] = cell

    def memory(self, link, server, client):
        """Notes the peak of a client that mounts."""
        key = (link, server, client.title, "memory")
        cell = self.cells.get(key) or Cell()
        cell.median = max(cell.median, client.peak)
        cell.seconds = [cell.median]
        client.peak = 0
        if cell.median:
            self.put(*key, cell)

    def merged(self, other):
        """With the figures of another run, which win. Of a client that did not do all that it did before, a lower peak of
        memory says nothing."""
        cells = {**self.cells, **other.cells}
        for key, cell in self.cells.items():
            did = {known[3] for known in self.cells if known[:3] == key[:3]}
            does = {known[3] for known in other.cells if known[:3] == key[:3]}
            if key[3] == "memory" and not did <= does and cell.median > cells[key].median:
                cells[key] = cell
        return Results(
            cells,
            {**self.links, **other.links},
            {**self.versions, **other.versions},
            {name: why for name, why in {**self.absent, **other.absent}.items() if name not in other.versions},
            other.notes,
        )

    def clients(self):
        return list(dict.fromkeys(key[2] for key in self.cells))


def machine():
    model = re.search(r"^model name\s*: (.*)$", open("/proc/cpuinfo", encoding="utf-8").read(), re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo", encoding="utf-8").read()).group(1))
    return (
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, "
        f"{memory / 1048576:.0f} GiB, Linux {platform.release()}"
    )


def headed(title, version):
    """The head of a column: who, and in which version."""
    number = re.search(r"\d+\.\d[\w.+~-]*", version)
    return f"{title}<br>{number.group()}" if number else title


def table(results):
    """All figures as Markdown."""
    lines = []
    names = results.clients()
    order = list(results.versions) or names
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    for link in LINKS:
        servers = dict.fromkeys(key[1] for key in results.cells if key[0] == link)
        for server in servers:
            mine = {key[2:]: cell for key, cell in results.cells.items() if key[:2] == (link, server)}
            columns = [name for name in names if any(key[0] == name for key in mine)]
            lines += ["", f"### {server}, {results.links.get(link, link)}", ""]
            heads = [headed(name, results.versions.get(name, "")) for name in columns]
            lines.append("| work | " + " | ".join(heads) + " |")
            lines.append("|---|" + "---|" * len(columns))
            for figure, title in FIGURES.items():
                if not any((name, figure) in mine for name in columns):
                    continue
                row = [shown(figure, mine[name, figure]) if (name, figure) in mine else "" for name in columns]
                lines.append(f"| {title} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def page(results):
    """The whole of RESULTS.md."""
    dates = sorted({cell.date for cell in results.cells.values()})
    lines = [
        "# Results of scripts/bench",
        "",
        f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1]))) if dates else 'never'} on: {machine()}.",
        "",
        "Versions: " + "; ".join(dict.fromkeys(results.versions.values())) + ".",
        "",
    ]
    if results.absent:
        lines += ["Not measured: " + "; ".join(f"{name} ({why})" for name, why in results.absent.items()) + ".", ""]
    lines += [
        f"Seconds, {'; '.join(results.notes)}; in brackets FTP commands and data connections, as seen on the line. The large "
        "file has 64 MiB, 256 MiB on loopback. Each figure is from a fresh mount, half a second after it is "
        "there; for `curl` and `lftp` it includes the login. Contents are compared each time: FAIL is a wrong "
        "result, `refused` an honest error, — what the client has no way to do. Peers run with their defaults, rclone without its pause before it uploads.",
        "",
        *(f"- {mark}: {meaning}" for mark, meaning in NOTES.values()),
        "",
        "![ftpfs against the best peer](results.svg)",
    ]
    return "\n".join(lines) + "\n" + table(results) + "\n"


def keep(folder, results):
    """Writes figures, page and plot."""
    folder.mkdir(exist_ok=True)
    stored = {
        **{name: getattr(results, name) for name in ("links", "versions", "absent", "notes")},
        "cells": [[*key, cell.as_json()] for key, cell in results.cells.items()],
    }
    (folder / "results.json").write_text(json.dumps(stored, indent=None, ensure_ascii=False) + "\n")
    (folder / "RESULTS.md").write_text(page(results))
    (folder / "results.svg").write_text(plot.svg(results))


def load(folder):
    """The figures that are kept."""
    try:
        stored = json.loads((folder / "results.json").read_text())
    except FileNotFoundError:
        return Results()
    cells = {tuple(key): Cell.of_json(values) for *key, values in stored.pop("cells")}
    return Results(cells=cells, **stored)
