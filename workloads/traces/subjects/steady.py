"""A steady load at a stated rate, for as long as it is told.

    steady.py redis --port PORT --rate N --duration SECONDS    commands to redis: keys with a time to live, cut lists, hashes
    steady.py http --port PORT --rate N --duration SECONDS     reports in JSON, each on a connection of its own
    steady.py sql --rate N --duration SECONDS                  statements for sqlite3 on standard output

What is sent is drawn from a seed; when it is sent follows from the rate alone.
"""

import argparse
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["redis", "http", "sql"])
    parser.add_argument("--port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--duration", type=float, required=True)
    arguments = parser.parse_args()
    {"redis": redis, "http": http, "sql": sql}[arguments.kind](arguments, random.Random(1))


main()
