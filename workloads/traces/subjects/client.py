"""The load of server.py: 120 connections that each send a report now and then, wait for the answer, and check it.

What is sent, and when, is drawn from a seed before anything runs: another allocator, or a slower server, gets the
same work at the same times. A connection sends its next report when its time has come, and when it has the answer
to the last. Reports come in bursts, as clients do that report on the hour: the rate swells twice over the duration
to three times its mean, and falls nearly to nothing between.

    client.py --port PORT [--requests N] [--duration SECONDS] [--connections N] [--seed N]

ends with 0 when every answer was right, else with 1. A line on stderr says how late the latest report was sent.
"""

import argparse
import bisect
import json
import math
import random
import select
import socket
import string
import sys
import time

LEAST_BYTES = 1_000
MOST_BYTES = 500_000
RECORDS = 4_000
WORDS = 1_000
MOST_WORDS = 2_000
BURSTS = 2
QUIET = 0.05
# A server that takes longer than this for an answer is taken for dead.
PATIENCE_SECONDS = 60.0
READ_BYTES = 256 * 1024


def make_record(generator, words):
    """A measurement. Its message is a line of a log as a rule, and at times pages of it: lognormal, as texts are."""
    length = min(MOST_WORDS, int(generator.lognormvariate(math.log(45), 1.2)))
    return {
        "host": f"node-{generator.randrange(300):03}.{generator.choice(['east', 'west', 'north'])}.example",
        "metric": generator.choice(["cpu", "memory", "disk", "network", "latency"]) + f".{generator.randrange(40)}",
        "time": 1_600_000_000_000 + generator.randrange(10**10),
        "values": [generator.randrange(10**6) for _ in range(generator.randrange(1, 13))],
        "labels": {f"Label{generator.randrange(50)}": generator.randrange(10**5) for _ in range(generator.randrange(6))},
        "message": " ".join(generator.choices(words, k=length)) + " ",
    }


class Book:
    """Records in a ring. A report is a stretch of it, so that no two have the same length, and none has to be written
    anew; sums from the ring's begin tell what its answer must be."""

    def __init__(self, generator):
        letters = string.ascii_lowercase
        words = ["".join(generator.choices(letters, k=generator.randrange(2, 12))) for _ in range(WORDS)]
        records = [make_record(generator, words) for _ in range(RECORDS)]
        self.texts = [json.dumps(record).encode() for record in records] * 2
        self.length_before, self.total_before = [0], [0]
        for text, record in zip(self.texts, records * 2):
            self.length_before.append(self.length_before[-1] + len(text) + 2)
            self.total_before.append(self.total_before[-1] + sum(record["values"]))

    def stretch(self, first, wanted_bytes):
        """The records from `first` on that have that length together, at least one: the place behind the last."""
        end = bisect.bisect_left(self.length_before, self.length_before[first] + wanted_bytes)
        return min(max(end, first + 1), first + RECORDS)

    def report(self, first, end):
        return b"[" + b", ".join(self.texts[first:end]) + b"]"

    def total(self, first, end):
        return self.total_before[end] - self.total_before[first]


def draw_times(generator, count, duration):
    """When so many requests are sent: a Poisson process with the bursts' rate, given its count."""
    steps = 1_000
    share = [0.0]
    for step in range(steps):
        phase = 2 * math.pi * BURSTS * (step + 0.5) / steps
        share.append(share[-1] + QUIET + (0.5 - 0.5 * math.cos(phase)) ** 4)
    times = []
    for _ in range(count):
        at = generator.random() * share[-1]
        step = min(bisect.bisect_right(share, at), steps) - 1
        inside = (at - share[step]) / (share[step + 1] - share[step])
        times.append((step + inside) / steps * duration)
    return sorted(times)


def draw_plan(generator, book, count, duration):
    """A connection's requests: for each its time, and the stretch of the book that it sends."""
    plan = []
    for due in draw_times(generator, count, duration):
        wanted = math.exp(generator.uniform(math.log(LEAST_BYTES), math.log(MOST_BYTES)))
        first = generator.randrange(RECORDS)
        plan.append((due, first, book.stretch(first, wanted)))
    return plan


class WrongAnswer(Exception):
    """An answer that is not what was asked for."""


class Connection:
    """One client. It opens its connection for its first request."""

    def __init__(self, number, plan):
        self.number = number
        self.plan = plan
        self.at = 0
        self.stream = None
        self.outgoing = memoryview(b"")
        self.incoming = bytearray()
        self.asked_at = None

    def path(self):
        return f"/report/{self.number}/{self.at}"

    def begin(self, book):
        _, first, end = self.plan[self.at]
        body = book.report(first, end)
        head = f"POST {self.path()} HTTP/1.1\r\nHost: server.example\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.outgoing = memoryview(head.encode() + body)
        self.incoming = bytearray()
        self.asked_at = time.monotonic()

    def write(self):
        try:
            sent = self.stream.send(self.outgoing)
        except BlockingIOError:
            sent = 0
        self.outgoing = self.outgoing[sent:]

    def read(self):
        """Takes in what came; gives the answer's body once it is whole."""
        try:
            came = self.stream.recv(READ_BYTES)
        except BlockingIOError:
            return None
        if not came:
            raise WrongAnswer(f"{self.path()}: the server closed the connection")
        self.incoming += came
        head, gap, body = self.incoming.partition(b"\r\n\r\n")
        if not gap:
            return None
        status, *headers = head.decode("ascii").split("\r\n")
        if not status.startswith("HTTP/1.1 200 "):
            raise WrongAnswer(f"{self.path()}: {status}: {bytes(body[:200])!r}")
        length = int(dict(line.split(": ", 1) for line in headers)["Content-Length"])
        return body if len(body) == length else None

    def check(self, book, body):
        _, first, end = self.plan[self.at]
        answer = json.loads(body)
        totals = [line["total"] for line in answer["measurements"]]
        found = (answer["report"], answer["count"], answer["total"], len(totals), sum(totals), sum(answer["hosts"].values()))
        count, total = end - first, book.total(first, end)
        wanted = (self.path(), count, total, count, total, total)
        if found != wanted:
            raise WrongAnswer(f"{self.path()}: got {found}, not {wanted}")
        if totals != sorted(totals, reverse=True):
            raise WrongAnswer(f"{self.path()}: the measurements are not in order")


class Load:
    """All connections, by one loop."""

    def __init__(self, port, book, connections):
        self.port, self.book = port, book
        self.waiting = [connection for connection in connections if connection.plan]
        self.asking = {}
        self.poll = select.epoll()
        self.start = time.monotonic()
        self.latest = 0.0

    def run(self):
        while self.waiting or self.asking:
            self.send_due()
            for descriptor, happened in self.poll.poll(self.patience()):
                self.handle(self.asking[descriptor], happened)
            self.check_patience()

    def send_due(self):
        now = time.monotonic() - self.start
        still = []
        for connection in self.waiting:
            due = connection.plan[connection.at][0]
            if due > now:
                still.append(connection)
                continue
            self.latest = max(self.latest, now - due)
            if connection.stream is None:
                connection.stream = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
                connection.stream.setblocking(False)
                connection.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.poll.register(connection.stream, 0)
            connection.begin(self.book)
            self.asking[connection.stream.fileno()] = connection
            self.poll.modify(connection.stream, select.EPOLLIN | select.EPOLLOUT)
        self.waiting = still

    def patience(self):
        """Seconds until the next request is due, at most one."""
        now = time.monotonic() - self.start
        next_due = min((connection.plan[connection.at][0] for connection in self.waiting), default=now + 1.0)
        return min(max(next_due - now, 0.0), 1.0)

    def handle(self, connection, happened):
        if happened & select.EPOLLOUT:
            connection.write()
            if not connection.outgoing:
                self.poll.modify(connection.stream, select.EPOLLIN)
        if happened & ~select.EPOLLOUT and (body := connection.read()) is not None:
            connection.check(self.book, body)
            self.poll.modify(connection.stream, 0)
            del self.asking[connection.stream.fileno()]
            connection.at += 1
            if connection.at < len(connection.plan):
                self.waiting.append(connection)

    def check_patience(self):
        now = time.monotonic()
        for connection in self.asking.values():
            if now - connection.asked_at > PATIENCE_SECONDS:
                raise WrongAnswer(f"{connection.path()}: no answer in {PATIENCE_SECONDS:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="the server's port")
    parser.add_argument("--requests", type=int, default=1200, help="requests of all connections together (default: 1200)")
    parser.add_argument("--duration", type=float, default=30.0, help="seconds over which they are sent (default: 30)")
    parser.add_argument("--connections", type=int, default=120, help="connections (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (default: 1)")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    book = Book(generator)
    connections = []
    for number in range(arguments.connections):
        more = number < arguments.requests % arguments.connections
        count = arguments.requests // arguments.connections + more
        connections.append(Connection(number, draw_plan(generator, book, count, arguments.duration)))
    load = Load(arguments.port, book, connections)
    try:
        load.run()
    except (WrongAnswer, OSError, ValueError, KeyError) as error:
        sys.exit(f"client: {error}")
    print(f"client: {arguments.requests} right answers; the latest request was sent {load.latest * 1000:.0f} ms late", file=sys.stderr)


main()
