"""The same work on real FTP servers by ftpfs, its peers and the wire: `scripts/bench`, which see."""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import clients
import report
import works
from links import LINKS, TITLES, Link
from sample import FULL, QUICK, Sample
from servers import TOP, Server

BRANDS = ("vsftpd", "proftpd", "pure-ftpd")
DEFAULT_BRANDS = ("vsftpd", "proftpd")


BEGAN = time.monotonic()


def say(text):
    print(f"bench: {time.monotonic() - BEGAN:6.1f} {text}", file=sys.stderr, flush=True)


def arguments():
    def names(allowed):
        def split(text):
            for name in text.split(","):
                if name not in allowed:
                    raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(allowed)}")
            return text.split(",")

        return split

    everyone = [client.name for client in clients.everyone("", ())]
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    several = {"action": "extend", "metavar": "NAME,..."}
    parser.add_argument("--link", type=names(LINKS), help=", ".join(LINKS), **several)
    parser.add_argument("--server", type=names(BRANDS), help=", ".join(BRANDS), **several)
    parser.add_argument("--client", type=names(everyone), help=", ".join(everyone), **several)
    parser.add_argument("--work", type=names(works.WORKS), help=", ".join(works.WORKS), **several)
    parser.add_argument("--runs", type=int, help="the median of so many (default 3)")
    parser.add_argument("--quick", action="store_true", help="small samples, one run: does it work at all?")
    parser.add_argument("--limit", type=float, default=60.0, help="cut off after so many seconds (default 60)")
    parser.add_argument("--save", action="store_true", help="put a partial run into benches/RESULTS.md too")
    parser.add_argument("--render", action="store_true", help="only write table and plot anew from the kept figures")
    parser.add_argument("--ftpfs", metavar="PROGRAM", help="measure this program instead of the release build")
    parser.add_argument("--ftpfs-option", metavar="NAME=VALUE", action="append", default=[], help="-o of ftpfs")
    parser.add_argument("--verbose", action="store_true", help="tell each run")
    return parser.parse_args()


class Bench:
    """A whole run."""

    def __init__(self, args, target, kept):
        """`kept`: the folder for the figures, or None."""
        self.kept = kept
        self.earlier = report.load(kept) if kept else None
        self.args = args
        self.sizes = QUICK if args.quick else FULL
        self.runs = args.runs or (1 if args.quick else 3)
        self.sample = Sample(target, self.sizes)
        self.program = args.ftpfs or str(target / "release" / "ftpfs")
        self.emulator = str(target / "release" / "examples" / "link")
        chosen = clients.everyone(self.program, args.ftpfs_option)
        self.clients = []
        self.results = report.Results()
        self.results.notes.append("quick: small samples, one run" if args.quick else f"medians of {self.runs}")
        for client in chosen:
            if args.client and client.name not in args.client:
                continue
            why = client.missing()
            if why:
                self.results.absent[client.title] = why
                say(f"without {client.title}: {why}")
            else:
                self.clients.append(client)
                self.results.versions[client.title] = client.version()

    def run(self):
        for name in self.args.link or LINKS:
            link = Link(name, self.emulator)
            try:
                if link.emulator:
                    round_trip = link.round_trip()
                    self.results.links[name] = f"{TITLES[name]} (round trip measured: {round_trip:.1f} ms)"
                    say(f"link {self.results.links[name]}")
                else:
                    self.results.links[name] = TITLES[name]
                for brand in self.args.server or DEFAULT_BRANDS:
                    self.on_server(link, brand)
            finally:
                link.close()

    def on_server(self, link, brand):
        server = Server(brand, link)
        self.results.versions[brand] = server.version()
        try:
            self.sample.install(server, works.large(link))
            for work in self.args.work or works.WORKS:
                if work in works.LOOPBACK_ONLY and link.name != "loopback":
                    continue
                for client in self.clients:
                    if client.name != "ftpfs-writeback" or work in works.WRITEBACK_WORKS:
                        self.measure(link, server, client, work)
                # A run of hours that ends early has not been for nothing.
                if self.kept:
                    report.keep(self.kept, self.earlier.merged(self.results))
        finally:
            server.stop()

    def measure(self, link, server, client, work):
        """All runs of one work by one client."""
        figures = works.WORKS[work][1]
        cells = {figure: report.Cell() for figure in figures}
        for _ in range(self.runs):
            outcome = self.once(link, server, client, work, cells)
            if self.args.verbose:
                last = {figure: cell.seconds[-1:] for figure, cell in cells.items()}
                say(f"{link.name} {server.brand} {client.name} {outcome or last}")
            if outcome:
                for cell in cells.values():
                    if not cell.seconds or outcome != "too long":
                        cell.state = outcome
                        cell.limit = self.args.limit
                break
        for figure, cell in cells.items():
            if cell.seconds:
                cell.median = statistics.median(cell.seconds)
            elif cell.state == "ok":
                cell.state = "unfit"
            self.results.put(link.name, server.brand, client.title, figure, cell)
            say(f"{link.name} {server.brand} {client.name} {figure}: {report.shown(figure, cell)}")

    def once(self, link, server, client, work, cells):
        """One run; what went wrong, if anything did."""
        function = works.WORKS[work][0]
        works.prepare(work, server, self.sample)
        with tempfile.TemporaryDirectory(prefix="ftpfs-bench-run.") as scratch:
            r = works.Round(link, server, client, self.sample, self.args.limit, Path(scratch))
            patient = False
            try:
                if client.mounts:
                    before = link.count()
                    r.mounted_after = client.start(link, server)
                    if before:
                        after = link.count()
                        r.counts["mount"] = {name: after[name] - before[name] for name in after}
                    time.sleep(client.settle)
                elif work == "mount":
                    raise works.Unfit
                for figure, seconds in function(r).items():
                    cell = cells[figure]
                    cell.seconds.append(seconds)
                    cell.notes |= r.notes
                    if figure in r.counts:
                        cell.counts.append(r.counts[figure])
                patient = True
                return None
            except works.Unfit:
                return "unfit"
            except works.TooLong as error:
                say(f"cut off: {link.name} {server.brand} {client.name} {work}: {error}")
                return "too long"
            except works.Refused as error:
                say(f"refused: {link.name} {server.brand} {client.name} {work}: {error}")
                return "refused"
            except (works.Wrong, clients.NotReady, OSError) as error:
                say(f"FAIL {link.name} {server.brand} {client.name} {work}: {error}")
                if client.mounts and client.process is not None:
                    say(f"its log: {client.said()}")
                return "fail"
            finally:
                if client.mounts:
                    client.stop(patient)
                    self.results.memory(link.name, server.brand, client)


def main():
    args = arguments()
    # A terminated run takes its mounts and servers along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    kept = TOP / "benches"
    if args.render:
        report.keep(kept, report.load(kept))
        return
    if os.geteuid():
        sys.exit("bench: needs root, for network namespaces and servers")
    target = Path(os.environ["FTPFS_TARGET"])
    partial = args.link or args.server or args.client or args.work or args.quick or args.ftpfs or args.ftpfs_option
    bench = Bench(args, target, kept if args.save or not partial else None)
    try:
        bench.run()
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        print(report.table(bench.results))
    if not partial:
        report.keep(kept, bench.results)
    # A peer may refuse or fail, that is a result; ftpfs may not.
    mine = (cell for key, cell in bench.results.cells.items() if key[2].startswith("ftpfs"))
    sys.exit(1 if any(cell.state in ("fail", "refused") for cell in mine) else 0)


main()
