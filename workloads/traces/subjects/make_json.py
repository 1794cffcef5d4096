"""Writes so many records as JSON, a line each, drawn from a seed: the first program of a pipeline.

    make_json.py COUNT
"""

import json
import random
import sys

generator = random.Random(1)
made = [
    {"id": at, "size": generator.randrange(10_000), "tags": [f"tag {generator.randrange(500)}" for _ in range(6)]}
    for at in range(int(sys.argv[1]))
]
for record in made:
    print(json.dumps(record))
