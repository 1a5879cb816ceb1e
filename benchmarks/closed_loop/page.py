"""Figures -> a Markdown page."""

from __future__ import annotations

from typing import Any

NAMES = {
    "expert": "expert (sees the plan)",
    "teacher": "teacher (knows what a camera could)",
    "straight": "straight ahead",
    "unsteered": "the model's speeds, unsteered",
    "float": "float network",
    "qann": "quantized (QANN)",
    "snn": "**spiking (SNN)**",
    "forgetful": "spiking, state cleared at every frame",
}


def write_page(results: dict[str, Any]) -> str:
    """The whole page; every number of it is out of ``results``."""
    suites = results["suites"]
    one = next(iter(suites.values()))
    tables = "\n\n".join(_suite(suite, found) for suite, found in suites.items())
    same = all(found["qann_is_snn"] for found in suites.values())
    first, last = one["seeds"]
    return f"""# In the closed loop: {results["model"]}

Written by `python -m benchmarks.closed_loop.run MODEL FLOAT DRIVE --page` out of
`crnn-snn simulate`: {one["courses"]} courses of each suite, seeds {first} to {last}; 95 % intervals
in brackets. What the suites and policies are: [simulation.md](../simulation.md).

{tables}

Poses of the quantized and of the spiking network the same, bit for bit, on every course: \
{"yes" if same else "**NO**"}.

## Bits against success, time-steps, time

On courses of the validation seeds; time-steps, spikes and times on the first frames of one drive of
them (`crnn-snn bench`; ratio of minima to the eager float network).

{_points(results["points"])}
"""


def _suite(suite: str, found: dict[str, Any]) -> str:
    lines = [
        f"## {suite}",
        "",
        "| | success, % | collisions/km | mean speed, m/s | timeouts, % |",
        "|---|---|---|---|---|",
    ]
    for name, row in found["policies"].items():
        cells = [
            _interval(100.0, row["success"], row["success_ci95"]),
            _interval(1.0, row["collisions_per_km"], row["collisions_per_km_ci95"]),
            f"{row['mean_speed']:.2f}",
            f"{100 * row['timeouts']:.0f}",
        ]
        lines.append(f"| {NAMES[name]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _points(points: list[dict[str, Any]]) -> str:
    suites = list(points[0]["success"])
    heads = [f"{suite}, %" for suite in suites]
    lines = [
        f"| model | counts to | {' | '.join(heads)} | steps, mean | max | bound | spikes "
        "| native, ms | by float |",
        "|" + "---|" * (8 + len(suites)),
    ]
    for point in points:
        steps, native = point["settle_steps"], point["native"]
        cells = [
            *(_interval(100.0, row["success"], row["success_ci95"]) for row in
              point["success"].values()),
            *(f"{steps['mean']:.1f}", str(steps["max"]), str(steps["bound"])),
            f"{point['spikes']:.0f}",
            *(("", "") if native is None else
              (f"{native['ms_min']:.2f}", f"{native['ratio_to_float_eager']:.2f}")),
        ]  # fmt: skip
        lines.append(f"| {point['name']} | {point['levels']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(factor: float, value: float, ends: list[float]) -> str:
    return f"{factor * value:.1f} ({factor * ends[0]:.1f} to {factor * ends[1]:.1f})"
