"""A monitoring server, as small as one can be that allocates like the real thing: an event loop on epoll, a pool of
25 threads, reports of 1 to 500 KB of JSON by HTTP, and the collector as Python sets it.

The event loop reads requests and writes answers. A thread of the pool parses a report, makes objects of its
records (which refer to each other in cycles, so that only the collector frees them), sorts and sums them up, and
writes the answer. Every fourth report stays in a cache for some seconds, or until the cache is full.

    server.py [--port PORT]

prints "listening on PORT" when it does, on the loopback interface alone, and ends with 0 on SIGTERM or SIGINT.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import zlib
from collections import OrderedDict, deque
from multiprocessing.pool import ThreadPool

THREADS = 25
READ_BYTES = 64 * 1024
MOST_BODY_BYTES = 1_000_000
CACHE_SECONDS = 8.0
CACHE_REPORTS = 120
# One report in so many is kept.
KEPT_OF = 4


class Report:
    """What one request sent: its measurements, and what was found in them."""

    def __init__(self, name, records):
        self.name = name
        self.measurements = [Measurement(self, record) for record in records]
        self.by_host = {}
        for measurement in self.measurements:
            self.by_host.setdefault(measurement.host, []).append(measurement)

    def answer(self):
        """Measurements in order with their sums, and a line for each host."""
        self.measurements.sort(key=Measurement.order)
        hosts = {host: sum(found.total for found in of_host) for host, of_host in self.by_host.items()}
        return {
            "report": self.name,
            "count": len(self.measurements),
            "total": sum(measurement.total for measurement in self.measurements),
            "hosts": dict(sorted(hosts.items())),
            "measurements": [measurement.line() for measurement in self.measurements],
        }


class Measurement:
    """One record. It knows its report, and the report it: a cycle, as object models have them."""

    def __init__(self, report, record):
        self.report = report
        self.host = record["host"]
        self.metric = record["metric"]
        self.labels = {name.lower(): str(value) for name, value in record["labels"].items()}
        self.values = [value / 10 for value in record["values"]]
        self.total = sum(record["values"])
        self.message = record["message"].strip()

    def order(self):
        return (-self.total, self.host, self.metric)

    def line(self):
        where = ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))
        return {"key": f"{self.host}/{self.metric}{{{where}}}", "total": self.total, "message": self.message[:40]}


class Cache:
    """Reports of the last seconds, by name; the oldest go when it is full or when their time is over."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kept = OrderedDict()

    def put(self, report):
        with self.lock:
            self.kept[report.name] = (time.monotonic(), report)
            self.kept.move_to_end(report.name)
            if len(self.kept) > CACHE_REPORTS:
                self.kept.popitem(last=False)

    def expire(self):
        oldest = time.monotonic() - CACHE_SECONDS
        with self.lock:
            while self.kept and next(iter(self.kept.values()))[0] < oldest:
                self.kept.popitem(last=False)


class Connection:
    """A client: what of its request has come, and what of its answer has not gone yet."""

    def __init__(self, stream):
        self.stream = stream
        self.incoming = bytearray()
        self.outgoing = memoryview(b"")
        self.is_writing = False
        self.is_closed = False


def take_request(incoming):
    """Takes a whole request from the front: its path and body; none if it has not all come."""
    end = incoming.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = incoming[:end].decode("ascii").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    length = int(headers["Content-Length"])
    if method != "POST" or not 0 <= length <= MOST_BODY_BYTES:
        raise ValueError(f"cannot serve {lines[0]!r} of {length} bytes")
    if len(incoming) < end + 4 + length:
        return None
    body = bytes(incoming[end + 4 : end + 4 + length])
    del incoming[: end + 4 + length]
    return path, body


def serve(path, body, cache):
    """A request's answer, as it goes out."""
    try:
        report = Report(path, json.loads(body))
        status, answer = "200 OK", report.answer()
        if zlib.crc32(path.encode()) % KEPT_OF == 0:
            cache.put(report)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        status, answer = "400 Bad Request", {"error": repr(error)}
    text = json.dumps(answer).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


class Server:
    """The event loop. Threads of the pool hand answers over by `done`, and wake it by a byte in a pipe."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.listener.setblocking(False)
        self.wake_reader, self.wake_writer = os.pipe()
        os.set_blocking(self.wake_reader, False)
        os.set_blocking(self.wake_writer, False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.poll.register(self.wake_reader, select.EPOLLIN)
        self.connections = {}
        self.done = deque()
        self.cache = Cache()
        self.stopping = False

    def stop(self, _signal, _frame):
        self.stopping = True

    def run(self):
        # The signal writes into the pipe too, or the loop would sleep on.
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        with ThreadPool(THREADS) as pool:
            print(f"listening on {self.listener.getsockname()[1]}", flush=True)
            while not self.stopping:
                for descriptor, happened in self.poll.poll(1.0):
                    self.handle(pool, descriptor, happened)
                self.send_done()
                self.cache.expire()
            pool.close()
            pool.join()

    def handle(self, pool, descriptor, happened):
        if descriptor == self.listener.fileno():
            self.accept()
        elif descriptor == self.wake_reader:
            self.drain()
        elif connection := self.connections.get(descriptor):
            try:
                if happened & select.EPOLLOUT:
                    self.write(connection)
                if happened & ~select.EPOLLOUT:
                    self.read(pool, connection)
            except (ConnectionError, ValueError, KeyError) as error:
                print(f"server: a connection is closed: {error!r}", file=sys.stderr)
                self.close(connection)

    def accept(self):
        stream, _ = self.listener.accept()
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections[stream.fileno()] = Connection(stream)
        self.poll.register(stream, select.EPOLLIN)

    def drain(self):
        try:
            while os.read(self.wake_reader, 4096):
                pass
        except BlockingIOError:
            pass

    def wake(self):
        try:
            os.write(self.wake_writer, b"\0")
        except BlockingIOError:
            pass  # The pipe is full of bytes that will wake the loop.

    def read(self, pool, connection):
        try:
            came = connection.stream.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not came:
            self.close(connection)
            return
        connection.incoming += came
        while request := take_request(connection.incoming):
            pool.apply_async(self.work, (connection, *request), error_callback=self.fail)

    def work(self, connection, path, body):
        """Runs in a thread of the pool."""
        answer = serve(path, body, self.cache)
        self.done.append((connection, answer))
        self.wake()

    def fail(self, error):
        print(f"server: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)

    def send_done(self):
        while self.done:
            connection, answer = self.done.popleft()
            if connection.is_closed:
                continue
            connection.outgoing = memoryview(bytes(connection.outgoing) + answer)
            try:
                self.write(connection)
            except ConnectionError as error:
                print(f"server: a connection is closed: {error!r}", file=sys.stderr)
                self.close(connection)

    def write(self, connection):
        try:
            sent = connection.stream.send(connection.outgoing)
        except BlockingIOError:
            sent = 0
        connection.outgoing = connection.outgoing[sent:]
        is_writing = len(connection.outgoing) > 0
        if is_writing != connection.is_writing:
            connection.is_writing = is_writing
            self.poll.modify(connection.stream, select.EPOLLIN | (select.EPOLLOUT if is_writing else 0))

    def close(self, connection):
        connection.is_closed = True
        del self.connections[connection.stream.fileno()]
        self.poll.unregister(connection.stream)
        connection.stream.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 (the default) for any that is free")
    Server(parser.parse_args().port).run()


main()
