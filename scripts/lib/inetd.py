"""Gives each connection to a program of its own, as inetd(8) does: for servers that cannot listen on any port."""

import argparse
import os
import signal
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

    def reap(*_):
        while running:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            running.discard(pid)

    signal.signal(signal.SIGCHLD, reap)
    while True:
        connection, _ = listener.accept()
        # Not while a child is entered into the list.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if len(running) >= args.max_clients:
            connection.sendall(b"421 Too many connections.\r\n")
        else:
            pid = os.fork()
            if not pid:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
                listener.close()
                os.dup2(connection.fileno(), 0)
                os.dup2(connection.fileno(), 1)
                connection.close()
                os.execv(args.command[0], args.command)
            running.add(pid)
        connection.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


main()
