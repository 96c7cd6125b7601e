"""The plot: for each work the time of ftpfs against that of the best peer, as SVG."""

from html import escape

SHOWN = {
    "read": "read 64 MiB",
    "write": "write 64 MiB",
    "ls": "ls -l, 10,000 entries",
    "find": "find, 1,000 directories",
    "cat": "cat, 500 small files",
    "random": "200 random reads",
    "copy": "cp -r, 300 files in",
    "patch": "4 KiB changed in 64 MiB",
    "append": "1 KiB appended",
    "rename": "100 renames",
    "unlink": "100 unlinks",
    "mkdir": "100 mkdirs",
    "mount": "mount and ls",
}
LIMIT = 60.0
WIRE = ("curl", "lftp")
LEFT, WIDTH, ROW, BAR = 190, 560, 40, 13
COLOURS = {"ftpfs": "#2f7d4f", "peer": "#9aa3ab"}


def _best(results, link, server, figure):
    """The quickest peer: (seconds, name); cut off ones count as the limit."""
    found = []
    for (a, b, client, name), cell in results.cells.items():
        if (a, b, name) == (link, server, figure) and not client.startswith("ftpfs") and client not in WIRE:
            if cell.state == "ok" and cell.seconds:
                found.append((cell.median, client, False))
            elif cell.state == "too long":
                found.append((LIMIT, client, True))
    return min(found) if found else None


def _mine(results, link, server, figure):
    cell = results.cells.get((link, server, "ftpfs", figure))
    if cell is None or cell.state not in ("ok", "too long"):
        return None
    return (cell.median, "ftpfs", False) if cell.state == "ok" else (LIMIT, "ftpfs", True)


def svg(results, link="20ms", server="vsftpd"):
    """Bars on a scale of square roots, so that short times are seen beside long ones."""
    rows = []
    for figure, title in SHOWN.items():
        mine, peer = (f(results, link, server, figure) for f in (_mine, _best))
        if mine:
            rows.append((title, mine, peer))
    height = 70 + ROW * len(rows)
    top = max([1.0] + [entry[0] for _, *pair in rows for entry in pair if entry])
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 150} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="10" y="24" font-size="15" font-weight="bold">Seconds on {server}, '
        f"{escape(results.links.get(link, link).split(' (')[0])}: ftpfs and the best other mount</text>",
        '<text x="10" y="44" fill="#555">shorter is better; bars grow with the square root of the time</text>',
    ]
    y = 60
    for title, mine, peer in rows:
        out.append(f'<text x="{LEFT - 10}" y="{y + 19}" text-anchor="end">{escape(title)}</text>')
        for offset, entry, colour in ((0, mine, COLOURS["ftpfs"]), (BAR + 1, peer, COLOURS["peer"])):
            if entry is None:
                continue
            seconds, name, cut = entry
            width = max(1.0, WIDTH * (seconds / top) ** 0.5)
            label = f"{'> ' if cut else ''}{seconds:.{3 if seconds < 0.1 else 2}f} s"
            label += " nobody" if cut and name != "ftpfs" else f" {name}"
            out.append(f'<rect x="{LEFT}" y="{y + offset}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
            out.append(
                f'<text x="{LEFT + width + 6:.1f}" y="{y + offset + 11}" font-size="11">{escape(label)}</text>'
            )
        y += ROW
    out.append("</svg>")
    return "\n".join(out) + "\n"
