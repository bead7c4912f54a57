#!/usr/bin/env python3
"""Runs the fifty cases with a tracer and prints one row for each line that it says about a failure.

    TCPTRACE=target/release/tcptrace tests/hostile/run.py [NUMBER...] >rows.md

The live scenes need root. The judgement compares with expected.py; whether the prose is clear is for the reader. Rows
have no times and no client ports of the kernel's choice, so that two runs can be compared with diff.
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
    subprocess.run([path], env={**os.environ, "TCPTRACE": program, "OUT": out}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=90)
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


def words(line):
    cause = line.get("cause") or {}
    return " ; ".join([str(x) for x in (cause.get("evidence") or [])] + [str(x) for x in (cause.get("next") or [])] + [str(line.get("errno") or "")])


def failed(line):
    cause = line.get("cause")
    return line["type"] in ("connect", "stall") or line["outcome"] not in FINE or (cause and cause["name"] != "health_check")


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
    if want["says"] and not re.search(want["says"], said):
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
        want = next((w for w in wants if matches(w, who, line) and (line["outcome"] in w["outcomes"] or failed(line))), None)
        if want is None and not failed(line):
            continue
        if want is not None:
            seen[id(want)] += 1
        cause = line.get("cause") or {}
        verdict = judge(want, line) if want else "false alarm"
        server = line.get("server") or {}
        text = re.sub(r"\s+", " ", words(line)).replace("|", "/")[: int(os.environ.get("WIDTH", "300"))]
        text = re.sub(r"\b\d+(\.\d+)? (ns|µs|ms|s)\b", "T", text)
        text = re.sub(r"pid \d+", "pid N", re.sub(r"hx\d+", "hxN", text))
        out[(who, f"{line['outcome']}", f"{server.get('ip')}:{server.get('port')}", cause.get("name") or "none", cause.get("confidence") or "-", text, verdict)] += 1
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
