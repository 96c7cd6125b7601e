"""pyftpdlib with its defaults and one user: what scripts/servers/pyftpdlib runs."""

import argparse
import os

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

READ, WRITE = "elr", "adfmwMT"


class CaselessFS(AbstractedFS):
    """Names that differ by case alone are the same, as on servers under Windows; each stays as it was written."""

    def ftp2fs(self, ftppath):
        self.last_name = ftppath.rstrip("/").rpartition("/")[2]
        place = self.root
        for name in self.ftpnorm(ftppath).split("/"):
            if not name:
                continue
            there = os.listdir(place) if os.path.isdir(place) else []
            same = [found for found in there if found.casefold() == name.casefold()]
            place = os.path.join(place, same[0] if same else name)
        return place

    def rename(self, src, dst):
        if src == dst:
            dst = os.path.join(os.path.dirname(dst), self.last_name)
        super().rename(src, dst)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", required=True)
    parser.add_argument("--uid", type=int, required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--umask", type=lambda text: int(text, 8), default=0o022)
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--anonymous", action="store_true")
    parser.add_argument("--caseless", action="store_true")
    parser.add_argument("--max-clients", type=int)
    parser.add_argument("--passive-ports", help="LOW:HIGH")
    parser.add_argument("--certificate", help="nothing but TLS; with its key, PEM")
    args = parser.parse_args()

    with open(args.password_file, encoding="ascii") as file:
        password = file.read()
    authorizer = DummyAuthorizer()
    permissions = READ if args.read_only else READ + WRITE
    authorizer.add_user(args.user, password, args.root, perm=permissions)
    if args.anonymous:
        authorizer.add_anonymous(args.root, perm=READ)

    base = FTPHandler
    if args.certificate:
        # Needs PyOpenSSL, which nobody else does.
        from pyftpdlib.handlers import TLS_FTPHandler as base

    class Handler(base):
        if args.certificate:
            certfile = args.certificate
            tls_control_required = True
            tls_data_required = True

    Handler.authorizer = authorizer
    if args.caseless:
        Handler.abstracted_fs = CaselessFS
    if args.passive_ports:
        low, high = map(int, args.passive_ports.split(":"))
        Handler.passive_ports = range(low, high + 1)

    server = FTPServer(("127.0.0.1", args.port), Handler)
    if args.max_clients:
        # Not max_cons: that counts data connections and the listening socket as well.
        server.max_cons_per_ip = args.max_clients

    # Only now: the interpreter may lie in a folder that the served user cannot enter.
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(args.gid)
        os.setuid(args.uid)
    os.umask(args.umask)
    os.chdir("/")
    server.serve_forever()


if __name__ == "__main__":
    main()
