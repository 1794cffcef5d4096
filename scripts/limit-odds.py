"""Reads the files of scripts/limit-odds: prints a recommended limit, and the tables of how runs fared under the limits."""

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
    """The probability of at most this many kills at these odds."""
    return sum(math.comb(tried, k) * odds**k * (1 - odds) ** (tried - k) for k in range(killed + 1))


def verdict(killed, tried, odds):
    """Whether the number of kills contradicts the promised odds, in a two-sided test at 95 %."""
    if 1 - at_most(killed - 1, tried, odds) < 0.025:
        return "too low"
    return "not contradicted" if at_most(killed, tried, odds) >= 0.025 else "too high"


def peak(row):
    """The memory that a sample needed: what its group was charged minus file pages, or what was observed if that is more."""
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
        # How much more than its limit a killed run needed is not known: the other runs' peaks stand for it.
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
    """Prints the memory that each run without a limit needed."""
    print("variant,block,peak_bytes")
    for row in rows(path):
        if row["status"] == "ok":
            print(f"{row['variant']},{row['block']},{peak(row)}")


RULES = {
    "heaplab": ("pods.csv", "limit_bytes"),
    "heaplab, strict": ("pods-strict.csv", "limit_bytes"),
    "VPA": ("pods.csv", "vpa_bytes"),
    "KRR": ("pods.csv", "krr_bytes"),
}


def bounds(folder, subject):
    """The limit of each rule for each variant of a subject, and the odds that heaplab's two promise."""
    limits, promised = {}, {}
    for name, (file, column) in RULES.items():
        for row in rows(os.path.join(folder, subject, file)):
            limits.setdefault(row["variant"], {})[name] = int(float(row[column]))
            promised[name] = float(row["pod_odds"])
    return limits, promised


def rules(folder):
    """Compares the rules on the same runs: a run whose peak is above a limit would have been killed under it."""
    subjects = [name for name in sorted(os.listdir(folder)) if os.path.exists(os.path.join(folder, name, "pods-strict.csv"))]
    of_subjects = {subject: bounds(folder, subject) for subject in subjects}
    promised = [promised for _, promised in of_subjects.values()]
    odds = {name: f"{promised[0][name] * 100:g} %" for name in list(RULES)[:2]} if promised else {}
    print("# The rules compared on the same runs\n")
    print("    RULES=alone scripts/limit-odds\n")
    print(f"The limits of four rules, compared with runs without a limit. The limits were computed from other runs of the same")
    print(f"programs. heaplab promises odds of {odds.get('heaplab', '-')} that a run is killed, and of {odds.get('heaplab, strict', '-')} in the columns `strict`.")
    print("A run whose peak is above a limit is counted as killed. This counts too many where an allocator returns pages lazily")
    print("(mimalloc), because the kernel would reclaim them first; [smallest](smallest/README.md) has the limits at which")
    print("programs are really killed. Slack is the limit minus the peak, as a share of the limit: the median of the runs that")
    print("would have finished.\n")
    print("| subject | variant | runs | " + " | ".join(f"{name} | kills | slack" for name in RULES) + " |")
    print("|---|---|---:|" + "---:|---:|---:|" * len(RULES))
    kills, slacks, runs = dict.fromkeys(RULES, 0), {name: [] for name in RULES}, 0
    for subject, (limits, _) in of_subjects.items():
        found = rows(os.path.join(folder, subject, "peaks.csv"))
        for variant, of_rules in limits.items():
            own = [int(row["peak_bytes"]) for row in found if row["variant"] == variant]
            if not own:
                continue
            runs += len(own)
            cells = [subject, variant, str(len(own))]
            for name, bound in of_rules.items():
                killed = sum(one > bound for one in own)
                left = [(bound - one) / bound for one in own if one <= bound]
                kills[name] += killed
                slacks[name] += left
                slack = f"{statistics.median(left) * 100:.1f} %" if left else "-"
                cells += [f"{bound / 2**20:.1f} MiB", str(killed), slack]
            print("| " + " | ".join(cells) + " |")
    if runs:
        parts = [f"{name}: {kills[name]} kills, slack {statistics.median(slacks[name]) * 100:.1f} %" for name in RULES if slacks[name]]
        print(f"\nOf all {runs} runs, with the median slack: " + "; ".join(parts) + ".")


def table(folder):
    subjects = sorted(name for name in os.listdir(folder) if os.path.exists(os.path.join(folder, name, "pods.csv")))
    found = [row for subject in subjects for row in of_subject(folder, subject)]
    mib = lambda value: f"{value / 2**20:.1f} MiB"
    percent = lambda value: f"{value * 100:.1f} %"
    print("# Limits compared with real runs\n")
    print("    scripts/limit-odds\n")
    print("For planners. `heaplab plan --pods` recommended each limit from as many samples as the third column says; the limit")
    print("was then tried on other runs of the same program. Slack is the limit minus the real peak, as a share of the limit: the")
    print("median of the runs that were not killed. VPA's and KRR's limits follow from the same samples. [rules.md](rules.md)")
    print("compares all rules on the same runs.\n")
    print("| subject | variant | samples | limit | VPA's | KRR's | killed | runs | promised odds | the odds are | slack | VPA's | KRR's |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|---:|")
    for row in found:
        cells = [row["subject"], row["variant"], row["planned"], *map(mib, row["limits"]), row["killed"], row["tried"]]
        cells += [percent(row["odds"]), verdict(row["killed"], row["tried"], row["odds"]), *map(percent, row["slacks"])]
        print("| " + " | ".join(map(str, cells)) + " |")
    killed, tried = sum(row["killed"] for row in found), sum(row["tried"] for row in found)
    if tried:
        odds = found[0]["odds"]
        said = {"too low": "more than", "too high": "fewer than", "not contradicted": "in line with"}[verdict(killed, tried, odds)]
        print(f"\nIn all, {killed} of {tried} runs were killed, or {percent(killed / tried)}: {said} the promised {percent(odds)}.")
        middle = [percent(statistics.median(row["slacks"][at] for row in found)) for at in range(3)]
        print(f"Median slack: {middle[0]}; by VPA's rule {middle[1]}, by KRR's {middle[2]}.")
    if others := sum(row["other"] for row in found):
        print(f"\n{others} samples failed for another reason and are not counted.")


if __name__ == "__main__":
    {"limit": limit, "table": table, "peaks": peaks, "rules": rules}[sys.argv[1]](*sys.argv[2:])
