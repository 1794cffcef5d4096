"""A server's work without its network: 64 JSON payloads of 1 to 500 KB (log-uniform), each loaded, transformed,
sorted and dumped, 300 times over, by a pool of 25 threads: some 14 million events. Run with PYTHONMALLOC=malloc, so
that every object is a call of malloc. With an argument, that many times instead of 300."""

import json
import math
import random
import sys
from multiprocessing.pool import ThreadPool

THREADS = 25
PAYLOADS = 64
LEAST_BYTES = 1_000
MOST_BYTES = 500_000
WORDS = 1_000
# Of a record's text: a line of a log as a rule, at times a page of it.
MEDIAN_WORDS = 15


def make_record(generator, words):
    length = int(generator.lognormvariate(math.log(MEDIAN_WORDS), 1.0))
    return {
        "id": generator.randrange(10**9),
        "text": " ".join(generator.choices(words, k=1 + length)),
        "values": [generator.random() for _ in range(generator.randrange(8))],
        "tags": {f"tag{generator.randrange(100)}": generator.randrange(10**6) for _ in range(generator.randrange(4))},
    }


def make_payloads(generator):
    """One from each 64th of the range of lengths, in any order: records until it has the length that was drawn."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(generator.choices(letters, k=generator.randrange(2, 12))) for _ in range(WORDS)]
    payloads = []
    for at in range(PAYLOADS):
        wanted = LEAST_BYTES * (MOST_BYTES / LEAST_BYTES) ** ((at + generator.random()) / PAYLOADS)
        records, length = [], 2
        while length < wanted:
            records.append(make_record(generator, words))
            length += len(json.dumps(records[-1])) + 2
        payloads.append(json.dumps(records))
    generator.shuffle(payloads)
    return payloads


def transform(record):
    """A record's summary: its values' mean, deviation and level, and a label to sort by."""
    values, tags = record["values"], record["tags"]
    mean = sum(values) / max(len(values), 1)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values), 1))
    high = sum(1 for value in values if value > mean + deviation)
    return {
        "label": f"{record['text'].upper()} {record['id']}",
        "mean": mean,
        "deviation": deviation,
        "level": "high" if high > 1 else "low",
        "tags": tags,
        "total": sum(tags.values()),
    }


def work(payload):
    """Loads, transforms, sorts and dumps; gives the length of the answer."""
    records = [transform(record) for record in json.loads(payload)]
    records.sort(key=lambda record: (-record["total"], record["label"]))
    return len(json.dumps(records))


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    payloads = make_payloads(random.Random(1))
    with ThreadPool(THREADS) as pool:
        lengths = pool.map(work, (payloads[turn % PAYLOADS] for turn in range(rounds)), chunksize=1)
    print(sum(lengths))


main()
