"""A steady load at a stated rate, for as long as it is told.

    steady.py redis --port PORT --rate N --duration SECONDS    commands to redis: keys with a time to live, cut lists, hashes
    steady.py http --port PORT --rate N --duration SECONDS     reports in JSON, each on a connection of its own
    steady.py sql --rate N --duration SECONDS                  statements for sqlite3 on standard output
    steady.py pages --port PORT --rate N --duration SECONDS    compressed pages, each read slowly on a connection of its own
    steady.py sets --port PORT --rate N --duration SECONDS     values stored in memcached, some of which expire
    steady.py mysql --port PORT --rate N --duration SECONDS    statements to MariaDB, each session for a while

What is sent is drawn from a seed; when it is sent follows from the rate alone, but for pages.
"""

import argparse
import heapq
import itertools
import json
import math
import random
import select
import socket
import sys
import time


def paced(rate, duration):
    """Numbers of what is due, as its time comes."""
    start, number = time.monotonic(), 0
    while (now := time.monotonic() - start) <= duration:
        if number >= now * rate:
            time.sleep(0.002)
            continue
        number += 1
        yield number


def command(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def redis(arguments, generator):
    sockets = [socket.create_connection(("127.0.0.1", arguments.port)) for _ in range(20)]
    blob = generator.randbytes(1 << 16)
    for number in paced(arguments.rate, arguments.duration):
        size, kind = min(60_000, int(generator.lognormvariate(math.log(150), 1.3))), generator.random()
        if kind < 0.5:
            sent = command("SET", f"key:{number}", blob[:size], "EX", generator.randrange(2, 9))
        elif kind < 0.7:
            sent = command("GET", f"key:{max(1, number - generator.randrange(2000))}")
        elif kind < 0.85:
            lists = generator.randrange(50)
            sent = command("RPUSH", f"list:{lists}", blob[:size]) + command("LTRIM", f"list:{lists}", -40, -1)
        else:
            field = f"f{generator.randrange(60)}"
            sent = command("HSET", f"hash:{generator.randrange(40)}", field, blob[: size // 2])
        generator.choice(sockets).sendall(sent)
        for ready in select.select(sockets, [], [], 0)[0]:
            ready.recv(1 << 20)


def http(arguments, generator):
    for number in paced(arguments.rate, arguments.duration):
        length = min(2_000, int(generator.lognormvariate(math.log(60), 1.2)))
        records = [{"m": "x" * generator.randrange(5, 80), "values": [generator.random() for _ in range(8)]} for _ in range(length)]
        body = json.dumps(records).encode()
        head = f"POST /r{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", arguments.port)) as connection:
            connection.sendall(head.encode() + body)
            while connection.recv(1 << 16):
                pass


def sql(arguments, generator):
    write = sys.stdout.write
    write("create table t(id integer primary key,k text,v blob);create index i on t(k);\n")
    key = lambda: f"'k{generator.randrange(5000)}'"
    for number in paced(arguments.rate, arguments.duration):
        size = min(20_000, int(generator.lognormvariate(6, 1)))
        write(f"insert into t(k,v) values({key()},zeroblob({size}));")
        if number > 500:
            write("delete from t where id in (select min(id) from t);")
        if number % 10 == 0:
            write(f"select count(*),sum(length(v)) from (select * from t where k>{key()} order by v limit 200);")
        write("\n")
        sys.stdout.flush()


# How often, and how much at a time, a slow reader takes from its connection, and how much the kernel keeps for it.
SIP_S, SIP_BYTES = 0.03, 4096


def pages(arguments, generator):
    """A page is sent as fast as it is read: each request stays in the server for about half a second. They come at random
    moments.
    """
    order, reading = itertools.count(), []

    def sip():
        while reading and reading[0][0] <= time.monotonic():
            _, _, connection = heapq.heappop(reading)
            try:
                is_open = connection.recv(SIP_BYTES) != b""
            except BlockingIOError:
                # The server has not come to it yet.
                is_open = True
            if is_open:
                heapq.heappush(reading, (time.monotonic() + SIP_S, next(order), connection))
            else:
                connection.close()

    due = time.monotonic()
    end = due + arguments.duration
    while (due := due + generator.expovariate(arguments.rate)) <= end:
        while time.monotonic() < due:
            sip()
            time.sleep(0.002)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIP_BYTES)
        connection.connect(("127.0.0.1", arguments.port))
        page = generator.randrange(10)
        connection.sendall(b"GET /%d.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n" % page)
        connection.setblocking(False)
        heapq.heappush(reading, (time.monotonic() + SIP_S, next(order), connection))
    for _, _, connection in reading:
        connection.close()


def sets(arguments, generator):
    """As many clients as the rate asks for, one for each 25 values a second; of the values a third expires in seconds."""
    sockets = [socket.create_connection(("127.0.0.1", arguments.port)) for _ in range(max(2, int(arguments.rate / 25)))]
    for _ in paced(arguments.rate, arguments.duration):
        length = min(200_000, int(generator.lognormvariate(7, 1.2)))
        expires = generator.choice([0, 0, generator.randrange(1, 10)])
        connection = generator.choice(sockets)
        connection.sendall(b"set key%d 0 %d %d\r\n%s\r\n" % (generator.randrange(200_000), expires, length, bytes(length)))
        answer = connection.recv(4096)
        if answer not in (b"STORED\r\n", b"SERVER_ERROR out of memory storing object\r\n"):
            sys.exit(f"memcached answered {answer!r}")


class Session:
    """A client of MariaDB: what its protocol needs for a user without a password and for statements."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.stream = self.socket.makefile("rb")
        self.packet()
        # Protocol 4.1 with secure connections and plug-in names, packets of up to 16 MiB, UTF-8, and an empty password.
        self.send(1, b"\x00\x82\x08\x00" + b"\xff\xff\xff\x00" + b"\x21" + bytes(23) + b"root\x00\x00mysql_native_password\x00")
        self.checked(self.packet())

    def send(self, sequence, content):
        self.socket.sendall(len(content).to_bytes(3, "little") + bytes([sequence]) + content)

    def packet(self):
        head = self.stream.read(4)
        return self.stream.read(int.from_bytes(head[:3], "little"))

    def checked(self, packet):
        if not packet or packet[0] == 0xFF:
            sys.exit(f"MariaDB answered {packet!r}")
        return packet

    def ask(self, statement):
        """The number of rows."""
        self.send(0, b"\x03" + statement.encode())
        if self.checked(self.packet())[0] == 0:
            return 0
        ends = rows = 0
        while ends < 2:
            if (packet := self.checked(self.packet()))[0] == 0xFE and len(packet) < 9:
                ends += 1
            elif ends:
                rows += 1
        return rows

    def close(self):
        self.send(0, b"\x01")
        self.socket.close()


def mysql(arguments, generator):
    """As many sessions as the rate asks for, one for each five statements a second; each ends after about fifty."""
    first = Session(arguments.port)
    first.ask("create database if not exists shop")
    first.ask("create table shop.orders(id int primary key auto_increment,k int,v text,key(k)) engine=innodb")
    sessions = [Session(arguments.port) for _ in range(max(2, int(arguments.rate / 5)))]
    for number in paced(arguments.rate, arguments.duration):
        chosen, kind = generator.randrange(len(sessions)), generator.random()
        if kind < 0.02:
            sessions[chosen].close()
            sessions[chosen] = Session(arguments.port)
        key, length = generator.randrange(1000), min(60_000, int(generator.lognormvariate(6, 1.2)))
        if kind < 0.4:
            statement = f"insert into shop.orders(k,v) values({key},'{'v' * length}')"
        elif kind < 0.6:
            statement = f"delete from shop.orders where id<{number // 2 - 2000} limit 5"
        elif kind < 0.8:
            statement = f"select * from shop.orders where k={key} order by v"
        else:
            statement = f"select k,count(*),group_concat(left(v,50)) from shop.orders where id>{number // 3} group by k order by 2 limit 20"
        sessions[chosen].ask(statement)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["redis", "http", "sql", "pages", "sets", "mysql"])
    parser.add_argument("--port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--duration", type=float, required=True)
    arguments = parser.parse_args()
    globals()[arguments.kind](arguments, random.Random(1))


main()
