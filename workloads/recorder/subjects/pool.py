"""A server's work without its network: 64 JSON payloads of 1 to 500 KB (log-uniform), each loaded, transformed,
sorted and dumped, 300 times over, by a pool of 25 threads. Run with PYTHONMALLOC=malloc, so that every object
is a call of malloc. With an argument, that many times instead of 300."""

import json
import math
import random
import sys
from multiprocessing.pool import ThreadPool

THREADS = 25
PAYLOADS = 64
LEAST_BYTES = 1_000
MOST_BYTES = 500_000


def make(generator):
    """A payload: records until it has the length that was drawn."""
    wanted = math.exp(generator.uniform(math.log(LEAST_BYTES), math.log(MOST_BYTES)))
    records, length = [], 0
    while length < wanted:
        record = {
            "id": generator.randrange(10**9),
            "name": "".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randrange(4, 90))),
            "values": [generator.random() for _ in range(generator.randrange(8))],
            "tags": {f"tag{generator.randrange(100)}": generator.randrange(10**6) for _ in range(generator.randrange(4))},
        }
        records.append(record)
        length += len(json.dumps(record))
    return json.dumps(records)


def work(payload):
    """Loads, transforms, sorts and dumps; gives the length of the answer."""
    records = json.loads(payload)
    for record in records:
        record["total"] = sum(record["values"]) + sum(record["tags"].values())
        record["label"] = record["name"].upper() + str(record["id"])
    records.sort(key=lambda record: (record["total"], record["label"]))
    return len(json.dumps([{key: record[key] for key in ("label", "total", "tags")} for record in records]))


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    generator = random.Random(1)
    payloads = [make(generator) for _ in range(PAYLOADS)]
    with ThreadPool(THREADS) as pool:
        lengths = pool.map(work, (payloads[turn % PAYLOADS] for turn in range(rounds)), chunksize=1)
    print(sum(lengths))


main()
