"""The work itself, as a program of its own, so that it can be cut off: ops.py OPERATION ARGUMENT...

Prints one line of JSON: start and end (CLOCK_MONOTONIC, the same for all processes), perhaps more. Memory is touched
and expected contents are read before the clock runs; contents are looked at after it has stopped.
"""

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time

CHUNK = 128 * 1024
clock = time.monotonic


def fill(path, buffer):
    """Reads the file into the buffer; how many bytes it had."""
    with open(path, "rb", buffering=0) as file:
        at = 0
        while True:
            count = file.readinto(buffer[at : at + CHUNK])
            if not count:
                return at
            at += count


def room(size):
    buffer = bytearray(size + CHUNK)
    for at in range(0, len(buffer), 4096):
        buffer[at] = 1
    return memoryview(buffer)


def digest(parts):
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def read(path, size):
    buffer = room(int(size))
    start = clock()
    count = fill(path, buffer)
    end = clock()
    return {"start": start, "end": end, "sha256": digest([buffer[:count]])}


def read_all(*paths):
    """Several readers at the same time, each with a file."""
    buffers = [room(os.path.getsize(path)) for path in paths]
    counts = [0] * len(paths)

    def reader(n):
        counts[n] = fill(paths[n], buffers[n])

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(len(paths))]
    start = clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = clock()
    return {"start": start, "end": end, "sha256": digest(b[:n] for b, n in zip(buffers, counts))}


def read_each(*paths):
    """One cold small file after the other, with pauses: the middle one of the times."""
    times, parts = [], []
    for path in paths:
        time.sleep(0.7)
        start = clock()
        with open(path, "rb", buffering=0) as file:
            part = file.read(CHUNK)
        times.append(clock() - start)
        parts.append(part)
    middle = sorted(times)[len(times) // 2]
    return {"start": 0, "end": middle, "sha256": digest(parts)}


def offsets(size, count):
    some = random.Random(size)
    return [some.randrange(size // 4096) * 4096 for _ in range(int(count))]


def pread(path, size, count):
    places = offsets(int(size), count)
    parts = []
    start = clock()
    file = os.open(path, os.O_RDONLY)
    for place in places:
        parts.append(os.pread(file, 4096, place))
    os.close(file)
    end = clock()
    return {"start": start, "end": end, "sha256": digest(parts)}


def write(path, source):
    with open(source, "rb") as file:
        data = memoryview(file.read())
    start = clock()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    at = 0
    while at < len(data):
        at += os.write(file, data[at : at + CHUNK])
    os.close(file)
    return {"start": start, "end": clock()}


def patch(path, offset, size):
    data = random.Random(int(offset)).randbytes(int(size))
    start = clock()
    file = os.open(path, os.O_RDWR)
    os.pwrite(file, data, int(offset))
    os.close(file)
    return {"start": start, "end": clock()}


def append(path, size):
    data = random.Random(int(size)).randbytes(int(size))
    start = clock()
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, data)
    os.close(file)
    return {"start": start, "end": clock()}


def rename(folder, count):
    start = clock()
    for n in range(int(count)):
        os.rename(f"{folder}/f{n:03}", f"{folder}/g{n:03}")
    return {"start": start, "end": clock()}


def unlink(folder, count):
    start = clock()
    for n in range(int(count)):
        os.unlink(f"{folder}/f{n:03}")
    return {"start": start, "end": clock()}


def mkdir(folder, count):
    start = clock()
    for n in range(int(count)):
        os.mkdir(f"{folder}/d{n:03}")
    return {"start": start, "end": clock()}


def run(output, *command):
    """A program, its output in a file."""
    with open(output, "wb") as out:
        start = clock()
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
        end = clock()
    errors = done.stderr.decode(errors="replace").strip()[-300:]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    return {"start": start, "end": end, "code": done.returncode, "errors": errors, "cpu": cpu}


OPERATIONS = {
    f.__name__.replace("_", "-"): f
    for f in (read, read_all, read_each, pread, write, patch, append, rename, unlink, mkdir, run)
}

if __name__ == "__main__":
    print(json.dumps(OPERATIONS[sys.argv[1]](*sys.argv[2:])))
