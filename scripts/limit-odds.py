"""What scripts/limit-odds needs from files: a recommended limit, and the table of the runs' outcomes under it."""

import csv
import math
import os
import statistics
import sys


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def limit(path, variant):
    found = [row["limit_bytes"] for row in rows(path) if row["variant"] == variant]
    if len(found) != 1 or not found[0]:
        sys.exit(f"{path}: no limit of {variant}")
    print(found[0])


def at_most(killed, tried, odds):
    """The chance of this few kills or fewer, at these odds."""
    return sum(math.comb(tried, k) * odds**k * (1 - odds) ** (tried - k) for k in range(killed + 1))


def verdict(killed, tried, odds):
    """Whether the promised odds are possible, at 95 % on both sides."""
    if 1 - at_most(killed - 1, tried, odds) < 0.025:
        return "more than promised"
    return "not contradicted" if at_most(killed, tried, odds) >= 0.025 else "fewer than promised"


def peak(row):
    """What a sample needed: what its group was charged, minus file pages, or what was sampled of it."""
    number = lambda name: int(row[name] or 0)
    charged = number("group_peak_bytes") - number("group_file_bytes")
    return max(charged, number("resident_peak_bytes") + number("group_kernel_bytes"))


def of_subject(folder, subject):
    for planned in rows(os.path.join(folder, subject, "pods.csv")):
        variant = planned["variant"]
        path = os.path.join(folder, subject, variant, "samples.csv")
        if not os.path.exists(path):
            continue
        samples = rows(path)
        killed = sum(row["status"] == "oom" for row in samples)
        other = sum(row["status"] not in ("oom", "ok") for row in samples)
        tried = len(samples) - other
        # A killed run needed more than its limit, and how much more is unknown: the other runs' peaks stand in for it
        # too.
        peaks = [peak(row) for row in samples if row["status"] == "ok"]
        ours, vpa, krr = (int(float(planned[name])) for name in ("limit_bytes", "vpa_bytes", "krr_bytes"))
        slack = lambda bound: statistics.median((bound - one) / bound for one in peaks) if peaks else math.nan
        yield {
            "subject": subject,
            "variant": variant,
            "planned": int(planned["n"]),
            "tried": tried,
            "other": other,
            "killed": killed,
            "odds": float(planned["pod_odds"]),
            "limits": (ours, vpa, krr),
            "slacks": tuple(slack(bound) for bound in (ours, vpa, krr)),
        }


def peaks(path):
    """What each run without a limit needed, for the committed files."""
    print("variant,block,peak_bytes")
    for row in rows(path):
        if row["status"] == "ok":
            print(f"{row['variant']},{row['block']},{peak(row)}")


RULES = {"ours": "limit_bytes", "VPA's": "vpa_bytes", "KRR's": "krr_bytes"}


def rules(folder):
    """What each rule's limits would have done to the same runs: a run whose peak is above a limit is killed under it."""
    print("# The rules compared on the same runs\n")
    print("    RULES=alone scripts/limit-odds\n")
    print("Runs without a limit, other than those that were planned with. A run whose peak is above a rule's limit would have been")
    print("killed under it, but for pages that the kernel takes back first: where an allocator gives pages back lazily (mimalloc),")
    print("kills are counted too high. [smallest](smallest/README.md) has the limits at which programs really end. Slack is the")
    print("limit less the peak, over the limit, in the median of the runs that would have finished.\n")
    print("| subject | variant | runs | " + " | ".join(f"{name} limit | kills | slack" for name in RULES) + " |")
    print("|---|---|---:|" + "---:|---:|---:|" * len(RULES))
    kills, slacks, runs = dict.fromkeys(RULES, 0), {name: [] for name in RULES}, 0
    for subject in sorted(os.listdir(folder)):
        path = os.path.join(folder, subject, "peaks.csv")
        if not os.path.exists(path):
            continue
        found = rows(path)
        for planned in rows(os.path.join(folder, subject, "pods.csv")):
            own = [int(row["peak_bytes"]) for row in found if row["variant"] == planned["variant"]]
            if not own:
                continue
            runs += len(own)
            cells = [subject, planned["variant"], str(len(own))]
            for name, column in RULES.items():
                bound = int(float(planned[column]))
                killed = sum(one > bound for one in own)
                left = [(bound - one) / bound for one in own if one <= bound]
                kills[name] += killed
                slacks[name] += left
                slack = f"{statistics.median(left) * 100:.1f} %" if left else "-"
                cells += [f"{bound / 2**20:.1f} MiB", str(killed), slack]
            print("| " + " | ".join(cells) + " |")
    if runs:
        parts = [f"{name} {kills[name]} kills, {statistics.median(slacks[name]) * 100:.1f} %" for name in RULES if slacks[name]]
        print(f"\nOf {runs} runs, with the median slack of all: " + "; ".join(parts) + ".")


def table(folder):
    subjects = sorted(name for name in os.listdir(folder) if os.path.exists(os.path.join(folder, name, "pods.csv")))
    found = [row for subject in subjects for row in of_subject(folder, subject)]
    mib = lambda value: f"{value / 2**20:.1f} MiB"
    percent = lambda value: f"{value * 100:.1f} %"
    print("# Limits compared with real runs\n")
    print("    scripts/limit-odds\n")
    print("Each variant's limit was recommended by `heaplab plan --pods` from the samples in the third column, and then tried with")
    print("other runs of the same program. Slack is the limit less the real peak, over the limit, in the median of the runs that")
    print("were not killed. VPA's and KRR's rules are of the same samples; what each rule does to the same runs is in")
    print("[rules.md](rules.md).\n")
    print("| subject | variant | samples | limit | VPA's | KRR's | killed | of | odds | kills | slack | VPA's | KRR's |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|")
    for row in found:
        cells = [row["subject"], row["variant"], row["planned"], *map(mib, row["limits"]), row["killed"], row["tried"]]
        cells += [percent(row["odds"]), verdict(row["killed"], row["tried"], row["odds"]), *map(percent, row["slacks"])]
        print("| " + " | ".join(map(str, cells)) + " |")
    killed, tried = sum(row["killed"] for row in found), sum(row["tried"] for row in found)
    if tried:
        odds = found[0]["odds"]
        print(f"\nIn all {killed} of {tried} runs were killed, {percent(killed / tried)} where {percent(odds)} were promised")
        print(f"({verdict(killed, tried, odds)}).")
        middle = [percent(statistics.median(row["slacks"][at] for row in found)) for at in range(3)]
        print(f"Median slack: {middle[0]}; by VPA's rule {middle[1]}, by KRR's {middle[2]}.")
    if others := sum(row["other"] for row in found):
        print(f"\n{others} samples failed for another reason and are left out.")


if __name__ == "__main__":
    {"limit": limit, "table": table, "peaks": peaks, "rules": rules}[sys.argv[1]](*sys.argv[2:])
