"""Gives each connection to a program of its own, as inetd(8) does: for servers that cannot listen on any port."""

import argparse
import contextlib
import os
import socket


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--max-clients", type=int, default=300, help="more are told 421")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    listener = socket.create_server((args.listen, args.port), backlog=128)
    running = set()
    while True:
        connection, _ = listener.accept()
        # Here and not when they end: a handler of their signals is interrupted by the next one.
        while running:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            running.discard(pid)
        if len(running) >= args.max_clients:
            # Who has gone by then is not to end it.
            with contextlib.suppress(OSError):
                connection.sendall(b"421 Too many connections.\r\n")
        else:
            pid = os.fork()
            if not pid:
                listener.close()
                os.dup2(connection.fileno(), 0)
                os.dup2(connection.fileno(), 1)
                connection.close()
                os.execv(args.command[0], args.command)
            running.add(pid)
        connection.close()


main()
