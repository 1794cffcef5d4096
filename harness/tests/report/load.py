"""Loads a run's CSV files unchanged, with pandas and with DuckDB, and prints the result for each column."""

import json
import sys

import duckdb
import pandas

TYPES = {"i": "integer", "u": "integer", "f": "number", "b": "truth", "O": "text", "U": "text", "T": "text"}


def by_pandas(path):
    frame = pandas.read_csv(path)
    columns = {}
    for name in frame.columns:
        column = frame[name]
        kind = "text" if pandas.api.types.is_string_dtype(column) else TYPES[column.dtype.kind]
        columns[name] = {"type": kind, "count": int(column.count())}
        if kind in ("integer", "number"):
            columns[name]["sum"] = float(column.sum())
    return {"rows": len(frame), "columns": columns}


def by_duckdb(path):
    loaded = duckdb.read_csv(path)  # named in the queries below
    columns = {}
    for name, kind in zip(loaded.columns, loaded.types):
        kind = {"BIGINT": "integer", "DOUBLE": "number", "BOOLEAN": "truth", "VARCHAR": "text"}[str(kind)]
        count, = duckdb.sql(f'select count("{name}") from loaded').fetchall()[0]
        columns[name] = {"type": kind, "count": count}
        if kind in ("integer", "number"):
            total, = duckdb.sql(f'select sum("{name}") from loaded').fetchall()[0]
            columns[name]["sum"] = float(total or 0)
    rows, = duckdb.sql("select count(*) from loaded").fetchall()[0]
    return {"rows": rows, "columns": columns}


def peaks(directory):
    """The median peaks, queried as a user would."""
    frame = pandas.read_csv(directory + "/summary.csv")
    frame = frame[frame.metric == "resident_peak_bytes"].set_index("variant")["median"]
    query = f"select variant, median from '{directory}/summary.csv' where metric = 'resident_peak_bytes'"
    return {"pandas": frame.to_dict(), "duckdb": dict(duckdb.sql(query).fetchall())}


directory = sys.argv[1]
found = {}
for name in ("summary.csv", "samples.csv", "timeline.csv", "latency.csv", "heapmap.csv"):
    path = f"{directory}/{name}"
    found[name] = {"pandas": by_pandas(path), "duckdb": by_duckdb(path)}
print(json.dumps({"files": found, "peaks": peaks(directory)}).replace("NaN", "null"))
