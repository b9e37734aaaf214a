#!/usr/bin/env python3
"""Measures everything that docs/BENCHMARKS.md shows, on a cluster of its own, and writes it there.

Every row is one call of `quorapay bench` against the leader, and is shown with it. The clusters' files are in a temporary folder
below target/, on the same disk as the repository, and are removed. With --quick the rows are short and only printed.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import queue
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/BENCHMARKS.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 30
CATCH_UP_TIMEOUT_S = 600
CALLERS = [1, 64, 256, 1_000, 4_000]
BATCHES = [(1, 1_000), (1, 8_000), (4, 1_000), (4, 8_000)]
READS = ["payment-by-id", "account", "list"]
POSTGRESQL_CALLERS = [1, 64, 256]
# The generator and each node have a connection for each caller, and files besides.
FILES_BESIDES = 500
POSTGRESQL_PORT_OFFSET = 90


class Refused(Exception):
    """Something about this machine or this build makes figures impossible or worthless."""


class Cluster:
    """ZooKeeper and three nodes by `quorapay dev`; stopped and removed at the end of a `with`."""

    def __init__(self, binary, port):
        self.binary, self.port = binary, port

    def __enter__(self):
        for offset in [0, 1, 2, 100, 101, 102]:
            require_free(self.port + offset)
        target = ROOT / "target"
        target.mkdir(exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=target))
        command = [self.binary, "dev", "--no-input", "--direct", "--port", str(self.port), "--data-dir", str(self.folder / "cluster")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout], daemon=True).start()
        said, deadline = "", time.monotonic() + START_TIMEOUT_S
        while "ready" not in said:
            try:
                said += lines.get(timeout=0.2)
            except queue.Empty:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise Refused(f"the cluster does not start: {said.strip()}")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, number, path):
        """What a node answers, as JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + number}{path}", timeout=10) as answer:
            return json.load(answer)

    def leader_url(self):
        cluster = self.get(0, "/v1/cluster")
        status = next(node["status"] for node in cluster["nodes"] if node["node_id"] == cluster["leader"])
        return status["client_url"]

    def await_views(self):
        """Waits until the views of all nodes show every payment."""
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        while any(self.get(number, "/metrics?format=json")["gauges"]["views_lag_entries"] for number in range(3)):
            if time.monotonic() > deadline:
                raise Refused(f"the views do not catch up within {CATCH_UP_TIMEOUT_S} s")
            time.sleep(0.2)

    def bench(self, arguments):
        """Runs the load generator. Returns its report, with the command as a reader would type it."""
        command = [self.binary, "bench", "--json", "--url", self.leader_url(), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip()}\n{done.stdout}")
        report = json.loads(done.stdout)
        if report["settings"]["build"] != "release":
            raise Refused(f"{self.binary} is a {report['settings']['build']} build; make it with cargo build --release")
        report["command"] = " ".join(["quorapay bench", *arguments])
        print(f"  {report['command']}: {rate(report)}/s", file=sys.stderr, flush=True)
        return report


def require_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Refused(f"port {port} cannot be used ({error.strerror}); choose others with --port") from error


def raise_file_limit():
    """Returns how many callers the limit of open files allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(CALLERS) + FILES_BESIDES
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit - FILES_BESIDES


def output(*command):
    """What a command says; nothing if there is no such command."""
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT).stdout.strip()
    except FileNotFoundError:
        return ""


def machine():
    """The machine, the day and the revision in one line."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    memory_kb = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    source, kind = (output("findmnt", "-n", "-o", "SOURCE,FSTYPE", "-T", str(ROOT)).split() + ["?", "?"])[:2]
    device = pathlib.Path(f"/sys/class/block/{pathlib.Path(source).name}/queue/rotational")
    rotates = {"0": "no spinning disk", "1": "spinning disk"}.get(device.read_text().strip() if device.exists() else "", "")
    disk = ", ".join(part for part in [f"{kind} on {source}", rotates] if part)
    dirty = " with changes" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    revision = (output("git", "rev-parse", "--short=10", "HEAD") or "unknown") + dirty
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory_kb / 2**20:.1f} GiB of memory, Linux {platform.release().split('-')[0]}; {disk}; "
        f"{datetime.date.today().isoformat()}, revision {revision}."
    )


def rate(report):
    """Operations per second that succeeded, with the number of those that did not."""
    results = report["results"]
    failed = sum(results[name] for name in ["refused", "errors", "unknown", "dropped"])
    return f"{results['throughput_per_second']:,.0f}" + (f" ({failed:,} failed)" if failed else "")


def milliseconds(report, name):
    value = report["results"]["latency_us"][name] / 1_000
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def cost(report):
    """Processor time at the leader, at a follower (mean) and in the generator; bytes to the leader's disk."""
    usage = report["results"]["usage"]
    nodes = [(node["leads"], node["per_operation"]) for node in usage["nodes"] if node["per_operation"]]
    leader = next((per for leads, per in nodes if leads), None)
    followers = [per["cpu_us"] for leads, per in nodes if not leads]
    if not leader or not followers:
        return ["-", "-", "-"]
    return [
        f"{leader['cpu_us']:.1f} µs",
        f"{sum(followers) / len(followers):.1f} µs",
        f"{leader['disk_written_bytes']:,.0f} B",
    ]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def by_callers(run):
    head = ["callers", "payments/s", "p50", "p99", "p99.9", "max", "leader", "each follower", "leader's disk", "command"]
    rows, rates = [], {}
    for callers in CALLERS:
        if callers > run.most_callers:
            rows.append([f"{callers:,}", f"not measured: the limit of open files allows {run.most_callers:,} callers", *[""] * 8])
            continue
        with Cluster(run.binary, run.port) as cluster:
            arguments = ["--connections", str(callers), "--duration", run.duration]
            report = cluster.bench(arguments)
        rates[callers] = report["results"]["throughput_per_second"]
        latencies = [milliseconds(report, name) for name in ["p50", "p99", "p99_9", "max"]]
        rows.append([f"{callers:,}", rate(report), *latencies, *cost(report), f"`{report['command']}`"])
    text = "Processor time and bytes written to the leader's disk are for each payment.\n\n"
    return "### One payment in each request\n" + text + table(head, rows), rates


def sustained_and_reads(run):
    head = ["seconds", "payments/s", "slowest 10 s", "fastest 10 s", "stalls over 100 ms", "longest", "p99", "leader's memory"]
    with Cluster(run.binary, run.port) as cluster:
        report = cluster.bench(["--connections", "64", "--duration", run.sustained])
        results = report["results"]
        rates = [window["per_second"] for window in results["windows"]]
        leader = next(node for node in results["usage"]["nodes"] if node["leads"])
        memory, stalls = leader["resident_bytes"], results["stalls"]
        row = [
            f"{results['elapsed_us'] / 1e6:.0f}", rate(report), f"{min(rates):,.0f}",
            f"{max(rates):,.0f}", stalls["count"], f"{stalls['longest_ms']} ms" if stalls["count"] else "-",
            milliseconds(report, "p99"), f"{memory['start'] / 1e6:.0f} to {memory['end'] / 1e6:.0f} MB",
        ]
        views = f"At its end the leader's views were {leader['views_lag_entries']['end']:,} entries behind."
        cluster.await_views()
        reads = read_rows(run, cluster)
    long_run = f"### For longer, 64 callers\n`{report['command']}`\n\n{table(head, [row])}\n\n{views}"
    return long_run, reads


def read_rows(run, cluster):
    head = ["read", "consistency", "reads/s", "p50", "p99", "p99.9", "leader", "command"]
    rows = []
    for workload in READS:
        for consistency in ["local", "linearizable"]:
            arguments = ["--workload", workload, "--consistency", consistency, "--connections", "64", "--duration", run.duration]
            report = cluster.bench(arguments)
            latencies = [milliseconds(report, name) for name in ["p50", "p99", "p99_9"]]
            rows.append([workload, consistency, rate(report), *latencies, cost(report)[0], f"`{report['command']}`"])
    text = "From the leader of the same cluster, after its views have caught up with the payments above.\n\n"
    return "### Reads, 64 callers\n" + text + table(head, rows)


def batches(run):
    head = ["callers", "payments per batch", "payments/s", "p50 of a batch", "p99", "leader", "each follower", "command"]
    rows = []
    for callers, size in BATCHES:
        with Cluster(run.binary, run.port) as cluster:
            arguments = ["--batch", str(size), "--connections", str(callers), "--duration", run.duration]
            report = cluster.bench(arguments)
        latencies = [milliseconds(report, name) for name in ["p50", "p99"]]
        rows.append([callers, f"{size:,}", rate(report), *latencies, *cost(report)[:2], f"`{report['command']}`"])
    text = "NDJSON, one log entry for each batch; the payments have no keys of their own.\n\n"
    return "### Batches\n" + text + table(head, rows)


def postgresql(run, rates):
    callers = [str(callers) for callers in POSTGRESQL_CALLERS if callers in rates]
    command = ["bash", "tests/bench/postgresql.sh", run.duration.rstrip("s"), *callers]
    environment = {**os.environ, "PORT": str(run.port + POSTGRESQL_PORT_OFFSET)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Refused("PostgreSQL could not be measured")
    version, _, *lines = done.stdout.strip().splitlines()
    head, rows = ["callers", "PostgreSQL payments/s", "p50", "p99", "p99.9", "Quorapay payments/s", "ratio"], []
    for line in lines:
        callers, theirs, p50, p99, p99_9, _ = line.split()
        theirs, ours = float(theirs), rates[int(callers)]
        ratio = f"{ours / theirs:.2f}"
        rows.append([callers, f"{theirs:,.0f}", f"{p50} ms", f"{p99} ms", f"{p99_9} ms", f"{ours:,.0f}", ratio])
        print(f"  PostgreSQL, {callers} callers: {theirs:,.0f}/s, ratio {ratio}", file=sys.stderr, flush=True)
    text = f"`{' '.join(command)}`: {version}. The script says what a payment is there.\n\n"
    return "### The same payment in PostgreSQL\n" + text + table(head, rows)


def measure(run):
    payments, rates = by_callers(run)
    sections = [payments, *sustained_and_reads(run), batches(run)]
    if run.postgresql:
        sections.insert(1, postgresql(run, rates))
    return "\n\n".join([machine(), *sections])


def write(text):
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/quorapay", help="the program to measure")
    parser.add_argument("--port", type=int, default=7101, help="of the first node; 102 more are used, and PostgreSQL's at 90 to 92 above")
    parser.add_argument("--quick", action="store_true", help="two seconds for each row; prints and writes nothing")
    parser.add_argument("--without-postgresql", dest="postgresql", action="store_false")
    run = parser.parse_args()
    run.binary = str(pathlib.Path(run.binary).resolve())
    run.duration, run.sustained = ("2s", "20s") if run.quick else ("10s", "120s")
    run.most_callers = raise_file_limit()
    try:
        if not os.access(run.binary, os.X_OK):
            raise Refused(f"there is no {run.binary}; make it with cargo build --release")
        text = measure(run)
    except Refused as refused:
        sys.exit(f"bench: {refused}")
    if run.quick:
        print(text)
    else:
        write(text)
        print(f"written to {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
