"""An application for gunicorn: a table that is made before the workers are forked, and answers that are made of it.

Each request takes some rows, which the seed of its number draws, and makes a page of them. With --preload the table is
the parent's, and workers write to it only where they count references.
"""

import json
import random

ROWS = 60_000
ROWS_EACH = 120


def make_table():
    generator = random.Random(1)
    return [
        {"id": at, "name": f"row {at} of {generator.randrange(1000)}", "text": "x" * generator.randrange(20, 400)}
        for at in range(ROWS)
    ]


TABLE = make_table()
NUMBER = 0


def app(environ, start_response):
    global NUMBER
    NUMBER += 1
    generator = random.Random(NUMBER % 400)
    rows = [TABLE[generator.randrange(ROWS)] for _ in range(ROWS_EACH)]
    page = json.dumps(rows, indent=1).encode() * generator.randrange(1, 12)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(page)))])
    return [page]
