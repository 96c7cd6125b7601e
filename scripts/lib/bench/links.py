"""The lines that are measured: loopback, or the emulator of examples/link between two network namespaces."""

import re
import socket
import subprocess
import sys
import time

# name: (one-way delay, rate), None: the machine's own loopback
LINKS = {
    "loopback": None,
    "20ms": ("10ms", "200M"),
    "100ms": ("50ms", "50M"),
}
TITLES = {
    "loopback": "loopback",
    "20ms": "20 ms, 200 Mbit/s",
    "100ms": "100 ms, 50 Mbit/s",
}
COUNTED = ("commands", "connections", "sessions")

_PING = """
import socket, time
times = []
for _ in range(9):
    s = socket.socket()
    start = time.perf_counter()
    try:
        s.connect(("10.77.0.2", 9))
    except ConnectionRefusedError:
        pass
    times.append(time.perf_counter() - start)
print(sorted(times)[4] * 1000)
"""


class Link:
    """A line that is up until `close`."""

    def __init__(self, name, program):
        self.name = name
        self.near, self.far, self.address = [], [], "127.0.0.1"
        self.emulator = None
        if LINKS[name] is None:
            return
        delay, rate = LINKS[name]
        command = ["chrt", "--rr", "5", program, "--delay", delay, "--rate", rate]
        self.emulator = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        line = self.emulator.stdout.readline()
        places = re.match(r"near=(\S+) far=(\S+)$", line)
        if not places:
            sys.exit("bench: the link emulator does not start (it needs root and /dev/net/tun)")
        self.near = ["nsenter", "--net=" + places.group(1)]
        self.far = ["nsenter", "--net=" + places.group(2)]
        self.address = "10.77.0.2"

    def round_trip(self):
        """Milliseconds, as measured now."""
        if not self.emulator:
            return 0.0
        command = self.near + [sys.executable, "-I", "-S", "-c", _PING]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def _ask(self, order):
        self.emulator.stdin.write(order + "\n")
        self.emulator.stdin.flush()
        return self.emulator.stdout.readline()

    def watch(self, port):
        """The port whose traffic is commands."""
        if self.emulator:
            self._ask(f"control {port}")

    def count(self):
        """What of FTP was seen since the beginning; on loopback None."""
        if not self.emulator:
            return None
        words = dict(word.split("=") for word in self._ask("count").split())
        return {name: int(words[name]) for name in COUNTED}

    def close(self):
        if self.emulator:
            self.emulator.stdin.close()
            try:
                self.emulator.wait(5)
            except subprocess.TimeoutExpired:
                self.emulator.kill()
                self.emulator.wait()


def wait_for_port(address, port, seconds=5.0):
    """Does somebody listen there?"""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection((address, port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False
