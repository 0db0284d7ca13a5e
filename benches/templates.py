#!/usr/bin/env python3
"""`make bench-templates`: `stagewright template` as a whole process against a warm Helm, in one run.

Charts are generated (`template_charts.py`) below `target/bench-charts`; `--charts FOLDER` adds every chart in a folder.
For each chart both peers render in turn, round after round; the table has the best wall time of each, the processor
time (user and system, all threads) of its best round, and the peak of resident memory:

- ours: a process from its start to its exit, output written to a file. Memory: its peak when all that it prints is
  made, read while a full pipe holds the process.
- Helm: one call within a warm process (see `scripts/helm_peer.py`), the chart read anew as `helm template` does.
  Memory: the peak of a fresh process after one rendering; what it has before that is printed below the table.

A chart whose outputs differ is told and does not count; then the exit code is 1.
"""
import argparse
import fcntl
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benches")]
from helm_peer import Helm, HelmError  # noqa: E402
from template_charts import write_all  # noqa: E402


def command(program, chart):
    return [program, "template", "release-name", str(chart), "--no-hooks", "--namespace", "default"]


def ours(program, chart):
    """Returns output, wall and processor time (ms) of one process."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(command(program, chart), stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = (time.perf_counter() - begin) * 1e3
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    return (text if process.returncode == 0 else None), wall, (usage.ru_utime + usage.ru_stime) * 1e3


def our_peak_kb(program, chart):
    """Peak memory of a process that is held by a pipe that nobody reads, so that it can be asked."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(command(program, chart), stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    peak = 0
    if os.read(read, 1):
        time.sleep(0.02)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        peak = int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else 0
    while os.read(read, 1 << 16):
        pass
    os.close(read)
    process.wait()
    return peak


def processor_ms(pid):
    """Processor time of all threads of a process so far."""
    spent = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        spent += int(file.read_text(encoding="ascii").split()[0])
    return spent / 1e6


def measure(program, chart, rounds):
    """Returns a row of the table, or the words of what went wrong."""
    with Helm() as helm:
        try:
            theirs = helm.render(chart)
        except HelmError as error:
            return f"Helm refuses: {str(error).splitlines()[0][:160]}"
        their_peak = helm.peak_kb()
        helm.render(chart)
        best = [(math.inf, 0.0), (math.inf, 0.0)]
        for _ in range(rounds):
            text, wall, busy = ours(program, chart)
            if text is None:
                return "our process fails"
            best[0] = min(best[0], (wall, busy))
            before = processor_ms(helm.process.pid)
            again = helm.render(chart)
            best[1] = min(best[1], (helm.ms, processor_ms(helm.process.pid) - before))
        if theirs != again:
            return "Helm renders it differently each time"
        if text != theirs:
            return "outputs differ"
    return len(text.encode()), *best[0], *best[1], our_peak_kb(program, chart) / 1024, their_peak / 1024


def geometric_mean(numbers):
    return math.exp(sum(math.log(n) for n in numbers) / len(numbers))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "target" / "release" / "stagewright"))
    parser.add_argument("--charts", metavar="FOLDER", help="measure every chart in this folder too")
    parser.add_argument("--only", metavar="NAME", action="append", help="measure only this chart; repeatable")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    charts = write_all(ROOT / "target" / "bench-charts")
    if arguments.charts:
        charts += sorted(path.parent for path in Path(arguments.charts).glob("*/Chart.yaml"))
    if arguments.only:
        charts = [chart for chart in charts if chart.name in arguments.only]
    with Helm() as helm:
        helm.start()
        idle = helm.peak_kb() / 1024
    print("| chart | output | ours | processor | Helm, warm | processor | ratio | ours, memory | Helm, memory | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    rows, bad = [], []
    for chart in charts:
        row = measure(arguments.program, chart, arguments.rounds)
        if isinstance(row, str):
            bad.append(f"{chart.name}: {row}")
            continue
        size, wall, busy, helm_wall, helm_busy, peak, helm_peak = row
        rows.append(row)
        print(f"| {chart.name} | {size / 1e3:,.0f} kB | {wall:.1f} ms | {busy:.1f} ms | {helm_wall:.1f} ms "
              f"| {helm_busy:.1f} ms | {helm_wall / wall:.1f} | {peak:.0f} MB | {helm_peak:.0f} MB "
              f"| {peak / helm_peak:.2f} |", flush=True)
    if rows:
        times = [row[3] / row[1] for row in rows]
        busy = [row[4] / max(row[2], 0.01) for row in rows]
        memory = [row[5] / row[6] for row in rows]
        print(f"\n{len(rows)} charts. Times faster: {geometric_mean(times):.1f} (geometric mean; least {min(times):.1f}); "
              f"by processor time {geometric_mean(busy):.1f} (least {min(busy):.1f}).")
        print(f"Memory: {geometric_mean(memory):.2f} of Helm's (geometric mean; most {max(memory):.2f}); "
              f"Helm's process has {idle:.0f} MB before it renders.")
    for words in bad:
        print(f"does not count: {words}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
