"""Two commits side by side: every party that is pipechat has a twin of another commit, which takes
its turns among the others; and what grew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benching.home import Home
from benching.plan import Group
from benching.report import Results, as_table, describe_machine, describe_versions

METRICS = {
    "wall_s": "wall", "cpu_s": "CPU", "peak_mib": "peak memory", "first_ms": "first word",
    "p99_ms": "p99",
}  # fmt: skip
_GREW = 1.05


def with_twins(home: Home, groups: list[Group], name: str, commands: Path) -> list[Group]:
    """The groups with only their parties that are pipechat, each beside its twin of the commit
    `name`, whose program is in the folder `commands`."""
    now, then = str(home.bin / "pipechat"), str(commands / "pipechat")
    twinned = []
    for group in groups:
        ours = [party for party in group.parties if now in party.command]
        twins = [
            replace(
                party,
                name=_twin(party.name, name),
                command=tuple(then if word == now else word for word in party.command),
            )
            for party in ours
        ]
        if ours:
            twinned.append(replace(group, parties=(*ours, *twins)))
    return twinned


def compared(home: Home, results: Results, groups: list[Group], name: str) -> dict[str, Any]:
    """The comparison as a record: for every party and metric, now divided by then."""
    return {
        "compared_with": name,
        "machine": describe_machine(),
        "versions": describe_versions(home),
        "rows": list(_rows(results, groups, name)),
    }


def _rows(results: Results, groups: list[Group], name: str) -> Iterator[dict[str, Any]]:
    for group in groups:
        for party in group.parties[: len(group.parties) // 2]:
            twin = _twin(party.name, name)
            row: dict[str, Any] = {"group": group.name, "party": party.name, "grew": []}
            for metric in METRICS:
                now = results.median(group.name, party.name, metric)
                then = results.median(group.name, twin, metric)
                row[metric] = now / then if now and then else None
                if row[metric] is not None and row[metric] > _GREW:
                    row["grew"].append(METRICS[metric])
            why = (results.reasons.get((group.name, each)) for each in (party.name, twin))
            row["reason"] = next((reason for reason in why if reason), None)
            yield row


def comparison_as_text(record: dict[str, Any]) -> str:
    """`record` for people: a table, and under it what grew by more than 5 %."""
    name = record["compared_with"]
    header = [f"now / {name}", *METRICS.values()]
    rows = record["rows"]
    cells = [
        [f"{row['group']}: {row['party']}", *(_cell(row[metric]) for metric in METRICS)]
        for row in rows
    ]
    grew = [f"{row['group']}, {row['party']}: {', '.join(row['grew'])}" for row in rows]
    grew = [line for line, row in zip(grew, rows, strict=True) if row["grew"]]
    gaps = [
        f"NOT COMPARED: {row['group']}, {row['party']}: {row['reason']}"
        for row in rows
        if row["reason"]
    ]
    machine = "{cpu}, {cores} cores, {system}, Python {python}; load {load}"
    return "\n".join(
        [
            machine.format(**record["machine"]),
            "quotients of medians; the two took turns",
            "",
            *as_table(header, cells),
            "",
            "grew by more than 5 %:" if grew else "nothing grew by more than 5 %",
            *grew,
            *gaps,
        ]
    )


def _twin(party: str, name: str) -> str:
    return f"{party} of {name}"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
