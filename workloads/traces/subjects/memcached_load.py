"""A load of memcached: values of many sizes are stored under a clock of its own, some for a second only, and read again.

    memcached_load.py --port PORT [--duration SECONDS] [--connections N]

What is asked, and when, is drawn from a seed. Ends with 0 when every answer was one that memcached gives.
"""

import argparse
import random
import socket
import sys
import time

STEP_SECONDS = 0.02
SETS_EACH = 12
KEYS = 20_000


def store(connection, generator):
    key, length = generator.randrange(KEYS), min(200_000, int(generator.lognormvariate(7.5, 1.2)))
    expires = generator.choice([0, 0, 1])
    connection.sendall(b"set key%d 0 %d %d\r\n%s\r\n" % (key, expires, length, b"x" * length))
    answer = connection.recv(4096)
    if answer not in (b"STORED\r\n", b"SERVER_ERROR out of memory storing object\r\n"):
        sys.exit(f"memcached answered {answer!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--duration", type=float, default=6.0)
    parser.add_argument("--connections", type=int, default=40)
    chosen = parser.parse_args()
    generator = random.Random(1)
    connections = [socket.create_connection(("127.0.0.1", chosen.port)) for _ in range(chosen.connections)]
    begin = time.monotonic()
    for step in range(int(chosen.duration / STEP_SECONDS)):
        time.sleep(max(0.0, begin + step * STEP_SECONDS - time.monotonic()))
        for _ in range(SETS_EACH):
            store(generator.choice(connections), generator)


main()
