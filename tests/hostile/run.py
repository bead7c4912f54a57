#!/usr/bin/env python3
"""Runs the fifty cases with a tracer and prints one row for each failure that it reports.

    TCPTRACE=target/release/tcptrace tests/hostile/run.py [NUMBER...] >rows.md

The live scenes need root. OUT=directory keeps their lines, and AGAIN=1 judges those instead of running a scene. The
judgement compares with expected.py; whether the prose is clear is for the reader. Rows have no times and no client
ports of the kernel's choice, so that two runs can be compared with diff.
"""

import collections
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

from expected import EXPECTED, OPTIONS

HERE = os.path.dirname(os.path.abspath(__file__))
RANK = {"possible": 1, "likely": 2, "certain": 3}
FINE = {"established", "closed", "half_closed", "reset_by_client", "midstream", "answer_only"}


def lines_of(number, program, out):
    """The tracer's lines as (observer, line)."""
    if int(number) <= 30:
        (path,) = glob.glob(f"{HERE}/captures/{number}-*.pcap")
        done = subprocess.run([program, "-r", path, "--all", "--json", *OPTIONS.get(number, [])], capture_output=True, text=True, timeout=60)
        return [("-", json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]
    (path,) = glob.glob(f"{HERE}/{number}-*.sh")
    if "AGAIN" in os.environ:  # judges the lines of the last run once more
        return kept(number, out)
    environment = {**os.environ, "TCPTRACE": program, "OUT": out}
    done = subprocess.run([path], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    if done.returncode:
        sys.exit(f"{path} ended with {done.returncode}")
    return kept(number, out)


def kept(number, out):
    lines = []
    for name in sorted(glob.glob(f"{out}/{number}-*.json")):
        who = name.split(".")[-2]
        lines += [(who, json.loads(line)) for line in open(name) if line.startswith("{")]
    return lines


def matches(want, who, line):
    server, client = line.get("server") or {}, line.get("client") or {}
    return (
        want["type"] == line["type"]
        and (want["observer"] is None or want["observer"] == who)
        and (want["port"] is None or want["port"] == server.get("port"))
        and (want["server"] is None or want["server"] == server.get("ip"))
        and (want["client"] is None or want["client"][0] <= client.get("port", 0) <= want["client"][1])
    )


def evidence(line):
    cause = line.get("cause") or {}
    errno = [str(line["errno"])] if line.get("errno") else []
    return " ; ".join([str(x) for x in (cause.get("evidence") or [])] + errno)


def words(line):
    cause = line.get("cause") or {}
    return " ; ".join([evidence(line)] + [str(x) for x in (cause.get("next") or [])])


def failed(line):
    cause = line.get("cause")
    line.setdefault("outcome", "not_sent" if line["type"] == "connect" else "-")
    if cause and cause["name"] == "health_check":
        return False
    return line["type"] in ("connect", "stall") or line["outcome"] not in FINE or bool(cause)


def tells(want, lines):
    return any(failed(line) for who, line in lines if line["type"] == want["type"] and matches(want, who, line))


def judge(want, line):
    cause = line.get("cause") or {}
    name, sure = cause.get("name"), cause.get("confidence") or "possible"
    said, problems = words(line), []
    if line["outcome"] not in want["outcomes"]:
        problems.append("wrong outcome")
    if name in want["causes"] and (name in (None, "unknown") or RANK[sure] <= RANK[want["causes"][name]]):
        pass
    elif name in (None, "unknown"):
        problems.append("proof unused")
    else:
        problems.append(f"wrong {sure}")
    where = said if want["port"] == 10050 else evidence(line)  # a chain may stand in the next step as well
    if want["says"] and not re.search(want["says"], where):
        problems.append("proof unused")
    if want["never"] and re.search(want["never"], said):
        problems.append("false words")
    tries = (line.get("syn") or {}).get("tries")
    if want["tries"] and tries and tries != want["tries"]:
        problems.append(f"{tries} tries")
    return ", ".join(dict.fromkeys(problems)) or "right"


def rows(number, lines):
    wants, seen = EXPECTED[number], collections.Counter()
    out = collections.Counter()
    for who, line in lines:
        if line["type"] in ("flood", "scan", "avoided", "outage"):
            out[(who, line["type"], "-", "-", "-", "a finding", "false alarm")] += 1
        if line["type"] not in ("attempt", "connect"):
            continue
        line.setdefault("outcome", "not_sent")
        want = next((w for w in wants if matches(w, who, line)), None)
        hidden = (line.get("cause") or {}).get("name") == "health_check"
        if hidden and (want is None or "health_check" not in want["causes"]):
            continue  # counted, not told as a failure
        # A connection of the same ports that simply worked is no answer, unless no line of them tells of a failure.
        if not failed(line) and not hidden and (want is None or None not in want["causes"] and tells(want, lines)):
            continue
        if want is not None:
            seen[id(want)] += 1
        cause = line.get("cause") or {}
        verdict = judge(want, line) if want else "false alarm"
        server = line.get("server") or {}
        text = re.sub(r"\s+", " ", words(line)).replace("|", "/")[: int(os.environ.get("WIDTH", "300"))]
        text = re.sub(r"\b\d+(\.\d+)? (ns|µs|ms|s)\b", "T", text)
        if (line.get("client") or {}).get("ip"):
            text = re.sub(rf"(?<![\w.:]){re.escape(line['client']['ip'])}(?!\w|\.\d)", "CLIENT", text)
        text = re.sub(r"grew by \d+", "grew by N", re.sub(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC", text))
        text = re.sub(r"pid \d+", "pid N", re.sub(r"hx\d+", "hxN", text))
        name = re.sub(r"fe80::[0-9a-f:]+:(\d+)$", r"fe80::…:\1", f"{server.get('ip')}:{server.get('port')}")
        out[(who, line["outcome"], name, cause.get("name") or "none", cause.get("confidence") or "-", text, verdict)] += 1
    for want in wants:
        if seen[id(want)] < want["least"]:
            out[(want["observer"] or "-", "nothing said", f"{want['server'] or ''}:{want['port'] or ''}", "-", "-", f"{seen[id(want)]} of {want['least']} lines", "missed")] += 1
    if not out:
        out[("-", "nothing failed", "-", "-", "-", "", "right")] += 1
    return out


def main():
    program = os.path.abspath(os.environ["TCPTRACE"])
    chosen = sys.argv[1:] or sorted(EXPECTED)
    out = os.environ.get("OUT") or tempfile.mkdtemp()
    print("| case | seen at | outcome | server | cause | confidence | times | evidence; next step | judgement |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for number in chosen:
        for row, times in sorted(rows(number, lines_of(number, program, out)).items()):
            who, outcome, server, cause, sure, text, verdict = row
            print(f"| {number} | {who} | {outcome} | {server} | {cause} | {sure} | {times} | {text} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
