"""The results as tables in Markdown and as JSON, with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from benching.home import Home
from benching.measuring import Sample
from benching.plan import Group, Row

_PACKAGES = ("pipechat", "openai", "httpx2", "pydantic", "typer", "orjson", "llm")
_TOOLS = ("jq", "curl", "sed", "grep")
_METRIC = {
    "wall": "wall_s", "cpu": "cpu_s", "peak": "peak_mib", "p50": "p50_ms", "p99": "p99_ms",
    "first": "first_ms",
}  # fmt: skip
_METRICS = tuple(Sample.__dataclass_fields__)


@dataclass
class Results:
    """What was measured: by group and party; and what was not, with the reason. `items`: how many
    requests a party makes, where it is not one."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    items: dict[tuple[str, str], int] = field(default_factory=dict)

    def median(self, group: str, party: str, metric: str) -> float | None:
        """None where it was not measured."""
        values = [getattr(sample, metric) for sample in self.samples.get(group, {}).get(party, ())]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    def compare(self, row: Row) -> dict[str, Any]:
        """The row as a record: its value and, beside it, CPU time's."""
        if row.by in ("tail", "worst"):
            return self._tail(row)
        metric = _METRIC[row.by]
        of, to = (self.median(row.group, party, metric) for party in (row.of, row.to))
        share = self.items.get((row.group, row.to), 1) / self.items.get((row.group, row.of), 1)
        record: dict[str, Any] = {**asdict(row), "value": None, "cpu": None}
        if of is None or to is None:
            missing = row.of if of is None else row.to
            whole_group = self.reasons.get((row.group, ""), "not run")
            why = self.reasons.get((row.group, missing), whole_group)
            return {**record, "reason": f"{missing}: {why}"}
        record["value"] = of - to if metric.endswith("_ms") else of / to * share
        if row.by == "wall":
            cpu_of, cpu_to = (self.median(row.group, party, "cpu_s") for party in (row.of, row.to))
            record["cpu"] = cpu_of / cpu_to * share if cpu_of and cpu_to else None
        return record

    def _tail(self, row: Row) -> dict[str, Any]:
        """How far the slowest runs of one party are from its median."""
        record: dict[str, Any] = {**asdict(row), "value": None, "cpu": None}
        walls = [sample.wall_s for sample in self.samples.get(row.group, {}).get(row.of, ())]
        if len(walls) < 2:
            reason = self.reasons.get((row.group, row.of), "not run")
            return {**record, "reason": f"{row.of}: {reason}"}
        p99 = statistics.quantiles(walls, n=100, method="inclusive")[98]
        slowest = p99 if row.by == "tail" else max(walls)
        return {**record, "value": slowest / statistics.median(walls)}


def describe_machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def describe_versions(home: Home) -> dict[str, str]:
    """The versions of all parties."""
    code = "import sys; from importlib.metadata import version; "
    code += "print(*(f'{name} {version(name)}' for name in sys.argv[1:]), sep='\\n')"
    listed = _first_words([str(home.bin / "python"), "-c", code, *_PACKAGES])
    versions = dict(line.split(" ", 1) for line in listed)
    for tool in _TOOLS:
        lines = _first_words([home.tool(tool), "--version"])
        found = re.search(r"\d[\w.]*", lines[0]) if lines else None
        versions[tool] = found[0] if found else "missing"
    return versions


def _first_words(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
    except OSError:
        return []
    return done.stdout.splitlines()


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2] for line in file if line.startswith("model name")]
    except OSError:
        names = _first_words(["sysctl", "-n", "machdep.cpu.brand_string"])
    return names[0].strip() if names else platform.machine()


def as_record(
    results: Results, groups: list[Group], rows: list[Row], about: dict[str, Any]
) -> dict[str, Any]:
    """All of it, for --json. Seconds, MiB and ms, as the names say."""
    measured = [
        {
            "group": group.name,
            "about": group.about,
            "parties": [
                {
                    "party": party.name,
                    "command": party.command,
                    "reason": results.reasons.get((group.name, party.name)),
                    "median": {m: results.median(group.name, party.name, m) for m in _METRICS},
                    "runs": [asdict(s) for s in results.samples[group.name].get(party.name, ())],
                }
                for party in group.parties
            ],
        }
        for group in groups
        if group.name in results.samples
    ]
    not_measured = [
        {"group": group, "party": party or None, "reason": reason}
        for (group, party), reason in results.reasons.items()
    ]
    return {
        **about,
        "rows": [results.compare(row) for row in rows],
        "groups": measured,
        "not_measured": not_measured,
    }


def as_text(record: dict[str, Any]) -> str:
    """`record` for people: how it was measured, the rows, then every party."""
    machine, versions = record["machine"], record["versions"]
    parts = [
        "{cpu}, {cores} cores, {system}, Python {python}; load {load}".format(**machine),
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        *(f"- {note}" for note in record["notes"]),
        "",
        *as_table(["row", "wall", "CPU", "at most"], [_row_cells(row) for row in record["rows"]]),
    ]
    for group in record["groups"]:
        title = f"{group['group']}: {group['about']}"
        parts += ["", title, "", *_party_table(group["parties"])]
    for gap in record["not_measured"]:
        where = gap["group"] + (f", {gap['party']}" if gap["party"] else "")
        parts.append(f"NOT MEASURED: {where}: {gap['reason']}")
    return "\n".join(parts)


def _row_cells(row: dict[str, Any]) -> list[str]:
    target = "" if row["at_most"] is None else f"{row['at_most']:g}"
    if row["value"] is None:
        return [row["title"], "not measured", "", target]
    return [row["title"], f"{row['value']:.3f}", _number(row["cpu"], 1, 3), target]


def _party_table(parties: list[dict[str, Any]]) -> list[str]:
    late = any(party["median"]["first_ms"] is not None for party in parties)
    header = ["party", "wall ms", "least–most", "CPU ms", "peak MiB", "runs"]
    cells = []
    for party in parties:
        median, walls = party["median"], [run["wall_s"] * 1000 for run in party["runs"]]
        line = [
            party["party"],
            _number(median["wall_s"], 1000, 1),
            f"{min(walls):.1f}–{max(walls):.1f}" if walls else "–",
            _number(median["cpu_s"], 1000, 1),
            _peak(party),
            str(len(walls)),
        ]
        if late:
            line += [_number(median["first_ms"], 1, 0)]
            line += [_number(median["p50_ms"], 1, 3), _number(median["p99_ms"], 1, 3)]
        cells.append(line)
    return as_table(header + (["first ms", "p50 ms", "p99 ms"] if late else []), cells)


def _peak(party: dict[str, Any]) -> str:
    peak: float | None = party["median"]["peak_mib"]
    if peak is None:
        return ""
    return f"≤ {peak:.1f}" if peak < _own_mib() + 0.5 else f"{peak:.1f}"


def _own_mib() -> float:
    """The bench's own peak, which a child begins with: Linux counts the moment before exec."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return own / (2**20 if sys.platform == "darwin" else 1024)


def _number(value: float | None, factor: float, digits: int) -> str:
    return "" if value is None else f"{value * factor:.{digits}f}"


def as_table(header: list[str], lines: list[list[str]]) -> list[str]:
    """A table in Markdown: text to the left, numbers to the right."""
    # A bar inside a cell would end it.
    cells = [[cell.replace("|", "\\|") for cell in line] for line in [header, *lines]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    rule = ["-" * (width - 1) + ":" if column else "-" * width
            for column, width in enumerate(widths)]  # fmt: skip
    aligned = [
        [cell.rjust(width) if column else cell.ljust(width)
         for column, (cell, width) in enumerate(zip(line, widths, strict=True))]
        for line in cells
    ]  # fmt: skip
    return [f"| {' | '.join(line)} |" for line in (aligned[0], rule, *aligned[1:])]


def how_it_was_measured() -> list[str]:
    """What a reader of the numbers must know."""
    return [
        "whole processes, taking turns in random order after a warm-up; medians of the runs",
        "all Python parties from one environment, compiled, PYTHON* unset; stdout is a file",
        "pipechat keeps a session of one turn and llm its log, as both do for their users",
        "the server renders the response beforehand, one HTTP chunk an event, and sends it in "
        "one piece: `curl alone` is what the server itself takes",
        "`curl|sed|jq` is live, as the others are (sed -u, jq --unbuffered); sed -u reads byte by "
        "byte, `stdbuf -oL sed` does not and is live as well",
        "CPU: user and system, children included; peak memory: of the largest process (≤: it "
        "hides below the bench's own, with which a child begins)",
    ]


def as_json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, indent=1)
