"""The table of scripts/limit-smallest: the limits that `heaplab limit` found for replays and for programs, and how far apart they are."""

import csv
import glob
import os
import statistics
import sys

MIB = 1 << 20


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def predicted_peaks(path):
    """The whole process's peak, predicted from the recording, by variant."""
    is_peak = lambda row: row["metric"] == "predicted_resident_peak_bytes" and row["median"]
    return {row["variant"]: float(row["median"]) for row in rows(path) if is_peak(row)}


def of_subject(folder, name):
    """For each variant: the program's limit, the limit from its replay, and the peak predicted without a search."""
    peaks = predicted_peaks(os.path.join(folder, f"{name}-heap.csv"))
    path = os.path.join(folder, f"{name}-replay.csv")
    replays = {row["variant"]: row for row in rows(path)} if os.path.exists(path) else {}
    for row in rows(os.path.join(folder, f"{name}-program.csv")):
        variant = row["variant"]
        replay = replays.get(variant)
        real = float(row["limit_bytes"]) if row["limit_bytes"] else None
        peak = peaks.get(variant)
        predicted = None
        if replay and replay["limit_bytes"] and peak:
            # The process's memory outside the replay's group: its predicted peak minus the most that the group was charged.
            predicted = float(replay["limit_bytes"]) + peak - float(replay["free_peak_bytes"])
        yield name, variant, real, predicted, peak


def main(folder):
    names = sorted(os.path.basename(path)[: -len("-program.csv")] for path in glob.glob(os.path.join(folder, "*-program.csv")))
    found = [row for name in names for row in of_subject(folder, name)]
    shown = lambda value: f"{value / MIB:.1f} MiB" if value else "-"
    print("# The smallest limit, from the replay and from the program\n")
    print("    scripts/limit-smallest\n")
    print("For planners. `heaplab limit` bisects each limit to 2 %: it is the smallest control group in which the replay, or")
    print("the real program, finishes. The replay's limit covers the heap. To it is added the process's other memory: its")
    print("predicted peak minus the most that the replay's group was charged. The last two columns are the predicted peak")
    print("itself, without a search. A dash means not measured.\n")
    print("| subject | variant | program | from the replay | error | predicted peak | error |")
    print("|---|---|---:|---:|---:|---:|---:|")
    errors = {"replay": [], "peak": []}
    for name, variant, real, predicted, peak in found:
        cells = [name, variant, shown(real)]
        for kind, value in (("replay", predicted), ("peak", peak)):
            error = value / real - 1 if value and real else None
            errors[kind] += [abs(error)] if error is not None else []
            cells += [shown(value), f"{error * 100:+.1f} %" if error is not None else "-"]
        print("| " + " | ".join(cells) + " |")
    for kind, told in (("replay", "From the replay"), ("peak", "By the predicted peak")):
        if each := errors[kind]:
            print(f"\n{told}: median error {statistics.median(each) * 100:.1f} % over {len(each)} limits, worst {max(each) * 100:.1f} %.")
    print("\nCauses of the errors:\n")
    print("- mimalloc returns pages lazily: under a limit the kernel reclaims them. How many it reclaims depends on the moment,")
    print("  which differs between a replay and the program. Both limits are below the peak, by different amounts.")
    print("- awk runs for a fraction of a second, so the samples behind the prediction miss the last of its growth.")
    print("- The kernel's memory for a process, its page tables and stacks, is not added: 0.3 to 1 MiB here.")


if __name__ == "__main__":
    main(sys.argv[1])
