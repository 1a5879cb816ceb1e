"""Figures -> a Markdown page."""

from __future__ import annotations

from typing import Any

NAMES = {"float": "float network", "qann": "quantized (QANN)", "snn": "**spiking (SNN)**"}


def write_page(results: dict[str, Any]) -> str:
    """The whole page; every number of it is out of ``results``."""
    car, stills = results["donkeycar"], results["jetracer"]
    return f"""# Real recordings

Written by `python -m benchmarks.real_data.run DATA --page docs/results/real_data.md` (seed
{results["seed"]}, {results["bits"]} bits, one thread); its figures are those of the run.

## Steering: a Donkey car's drive

1000 frames of one drive of several laps ([autorope/donkeycar](https://github.com/autorope/donkeycar),
its own test data, MIT); trained on the first 70 %, the epoch chosen on the next 15 %, judged on the
last {car["frames"]} frames. RMSE in the tub's own unit (full lock is 1); 95 % intervals over
stretches of a second. It is one drive on one track: nothing is said about another.

{_table("RMSE", {NAMES.get(k, k): v for k, v in car["rmse"].items()})}

SNN equal to QANN on every frame: {_yes(car["qann is snn"])}. {_proof(car["verify"])}

## Left or right of the bottle: stills of a JetRacer

Stills of 224x224 in bursts, about 2 Hz, not video (github
[jsmith-exe/fast-and-furious-with-self-drive-ai](https://github.com/jsmith-exe/fast-and-furious-with-self-drive-ai),
MIT). Trained on the sessions `bottle_02` (but for 30 stills in sequence, which choose the epoch)
and `bottle_03`, judged on the sessions `bottle_04` and `bottle_05`: {stills["left"]} left,
{stills["right"]} right, {stills["bursts"]} bursts. Balanced accuracy of the sign of the steering;
chance is 0.5; 95 % intervals over bursts. "With memory" walks each session in its order; in "every
still alone" the recurrent state is cleared before each.

{_table("balanced accuracy", {_named(k): v for k, v in stills["direction"].items()})}

## Blocked or free: confounded

Held out: `blocked_01` ({stills["blocked"]} stills) against `road_A_03` and `road_A_04`
({stills["free"]}). **Blocked and free floor were never photographed in the same session**, so any
score here measures the day and the place as well as the obstacle; the mean colour alone is a floor
for that. No claim is made from it.

{_table("AUC", {_named(k): [v, None] for k, v in stills["collision"].items()})}

SNN equal to QANN on every still: {_yes(stills["qann is snn"])}. {_proof(stills["verify"])}
"""


def _table(figure: str, rows: dict[str, Any]) -> str:
    lines = [f"| | {figure} | 95 % |", "|---|---|---|"]
    for name, (value, ends) in rows.items():
        span = "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
        lines.append(f"| {name} | {value:.3f} | {span} |")
    return "\n".join(lines)


def _named(key: str) -> str:
    how, _, name = key.partition(": ")
    return f"{NAMES.get(name, name)}, {how}"


def _yes(same: bool) -> str:
    return "yes" if same else "**NO**"


def _proof(verify: dict[str, Any]) -> str:
    frames, integers = verify.get("frames"), verify.get("activations")
    if frames is None or integers is None:
        return "`crnn-snn verify` found no difference."
    return f"`crnn-snn verify`: no difference in {integers:,} integers of {frames} frames."
