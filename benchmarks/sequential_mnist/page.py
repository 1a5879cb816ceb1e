"""Figures -> a Markdown page and the picture of the training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.sequential_mnist.train import QUANTIZED

COMMAND = "python -m benchmarks.sequential_mnist.run"
NAMES = {
    "s": "S-MNIST",
    "ps": "PS-MNIST",
    "s_conv": "S-MNIST, convolution + IndRNN",
    "ps_conv": "PS-MNIST, convolution + IndRNN",
}
PAPER = {"s": 0.9916, "ps": 0.9495, "s_conv": 0.9916, "ps_conv": 0.9495}
# (network, S-MNIST, PS-MNIST, where from). None: we could not read it there, and quote no memory.
OTHERS = (
    ("CRNN-SNN conversion (the paper)", 99.16, 94.95, "arXiv 2408.09403"),
    ("IndRNN, not spiking", None, None, "arXiv 1803.04831"),
    ("TC-LIF (two compartments)", 99.20, None, "AAAI 2024, as a later project quotes it"),
    ("BRF (resonate and fire)", None, 95.20, "ICML 2024, as a later project quotes it"),
    ("PRF (parallel resonate and fire)", None, None, "arXiv 2410.03530"),
    ("SpikingSSM", None, None, "arXiv 2408.14909"),
    ("P-SpikeSSM", None, None, "arXiv 2406.02923"),
    ("DelRec (learned delays)", None, 96.21, "arXiv 2509.24852, as quoted in reviews of it"),
)
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 320, 56, 16, 12, 44


def write_page(results: Mapping[str, Mapping[str, Any]], picture: str) -> str:
    """The whole page; every number of our own networks is out of ``results``."""
    cases = "\n\n".join(
        f"{_case(name, told)}\n\n{_finish(results, told)}".rstrip()
        for name, told in results.items()
    )
    rows = [
        *(_row(f"**{NAMES[name]}, ours**", name, told) for name, told in results.items()),
        *(
            f"| {name} | {_percent(s)} | {_percent(ps)} | {source} |"
            for name, s, ps, source in OTHERS
        ),
    ]
    return "\n".join(
        [
            "# Pixel by pixel: S-MNIST and PS-MNIST",
            "",
            f"Written by `{COMMAND} MNIST --cases {' '.join(results)}",
            "--page docs/results/sequential_mnist.md`: with `--start",
            "benchmarks/sequential_mnist/state` it measures the trained networks that are kept",
            "there, without it trains them from nothing, hours on a CPU. A picture is",
            "784 steps of one pixel (PS-MNIST: in one fixed random order); the answer is read",
            "once, after the last. A step is a frame of the converted network: state crosses from",
            "one to the next as recurrent spikes. Where a convolution is named it runs along the",
            "sequence, over a delay line: **a step then sees the last pixels, not one**. Accuracy",
            "on the test part, in %, of the networks as far as they were trained.",
            "",
            "| | S-MNIST | PS-MNIST | from |",
            "|---|---|---|---|",
            *rows,
            "",
            "Empty: the paper's table could not be read here, only its abstract.",
            "",
            _missing(results),
            f"![validation error while training]({picture})",
            "",
            cases,
            "",
        ]
    )


def _missing(results: Mapping[str, Any]) -> str:
    left = [f"{name} (`{case}`)" for case, name in NAMES.items() if case not in results]
    return f"Not trained, so nothing is said of: {', '.join(left)}.\n" if left else ""


def _row(label: str, case: str, told: Mapping[str, Any]) -> str:
    figure = f"{100 * told['figures']['qann']:.2f}"
    cells = ("", figure) if case.startswith("ps") else (figure, "")
    return f"| {label} | {cells[0]} | {cells[1]} | this run, {_progress(told)} |"


def _progress(told: Mapping[str, Any]) -> str:
    done = f"{told['epochs_done']:.1f} of {told['epochs']} epochs"
    return "training finished" if told["finished"] else f"**training not finished: {done}**"


def _case(name: str, told: Mapping[str, Any]) -> str:
    found, spikes, size = told["figures"], told["figures"]["spiking"], told["size"]
    verify = found["verify"]
    gap = 100 * (found["qann"] - PAPER[name])
    met = "met" if gap >= 0 else "**not met**"
    layers = " - ".join(str(hidden) for hidden in size["hidden"])
    window = ""
    if size["window"] > 1:
        window = f", under {size['filters']} filters over the last {size['window']} pixels"
    shift = told["shift"]
    moved = f", in this phase moved by up to {shift} pixels each way" if shift else ""
    rows = (
        ("float weights, activations rounded as trained", found["float"], found["pictures"]),
        ("quantized (QANN)", found["qann"], found["pictures"]),
        ("quantized (QANN), the pictures below", found["qann_of_the_same"], spikes["pictures"]),
        (f"**spiking (SNN)**, engine `{spikes['engine']}`", found["snn"], spikes["pictures"]),
    )
    table = "\n".join(f"| {row} | {100 * right:.2f} | {count:,} |" for row, right, count in rows)
    lines = ["| | time-steps: mean | p99 | most | bound | spikes of a picture |", "|---" * 6 + "|"]
    for encoding, row in spikes["encodings"].items():
        lines.append(
            f"| {encoding} | {row['mean']:.1f} | {row['p99']:.0f} | {row['most']} | {row['bound']} "
            f"| {row['spikes']:,.0f} |"
        )
    steps = "\n".join(lines)
    return f"""## {NAMES[name]}

IndRNN {layers}, signed, {size["bits"]} bits{window}; seed {told["seed"]}.
{_progress(told)}, in the {told["phase"]}
phase: {told["pictures"]:,} pictures learned from, each as often as it was seen{moved},
{told["minutes"]:.0f} minutes, on {" and then ".join(told["devices"])}, beside
other work. The paper's figure, {100 * PAPER[name]:.2f} %: {met} ({gap:+.2f} points).

| | accuracy, % | pictures |
|---|---|---|
{table}

Differences between the spiking network in both encodings, the int64 QANN and training's own
arithmetic, of every layer at every step of those {spikes["pictures"]:,} pictures: **0** of
{spikes["integers"]:,} integers ({told["proven_on"]}). `verify` (spikes, membranes, recurrent
spikes, cut frames; engines {", ".join(verify["engines"])}): 0 of
{verify["integers"]:,} in {verify["frames"]:,} frames. The
QANN's accuracy on all {found["pictures"]:,} pictures is therefore the SNN's.

{steps}

{spikes["neurons"]} neurons; largest membrane possible: {found["accumulator"]:,}, below 2^24."""


def _finish(results: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    if told["finished"]:
        return ""
    return (
        "The command that goes on to the end, from the state in the folder that it was begun in\n"
        "(`--start benchmarks/sequential_mnist/state` goes on from the state that is kept here):\n"
        f"`{COMMAND} MNIST --cases {' '.join(results)} --page docs/results/sequential_mnist.md`\n"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def draw(curves: Mapping[str, Sequence[Sequence[Any]]]) -> str:
    """SVG of the error on validation pictures against pictures learned from."""
    most = max((point[1] for curve in curves.values() for point in curve), default=1)
    lines = []
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join(f"{_x(p[1] / most):.1f},{_y(1.0 - p[4]):.1f}" for p in curve)
        lines.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        begin = next((point[1] for point in curve if point[0] == QUANTIZED), None)
        if begin is not None:
            x = _x(begin / most)
            lines.append(
                f'<path d="M{x:.1f} {TOP}V{_y(0)}" stroke="{colour}" stroke-dasharray="3"/>'
            )
        lines.append(
            f'<text x="{WIDTH - RIGHT}" y="{TOP + 14 * (number + 1)}" fill="{colour}" '
            f'text-anchor="end">{NAMES[name]}</text>'
        )
    ticks = []
    for tick in range(5):
        y, x = _y(tick / 4), _x(tick / 4)
        ticks += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{25 * tick} %</text>',
            f'<text x="{x:.1f}" y="{_y(0) + 16:.1f}" '
            f'text-anchor="{"end" if tick == 4 else "middle"}">'
            f"{most * tick / 4000:.0f}k</text>",
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#333">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *ticks,
            *lines,
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
            "pictures learned from; error on validation pictures</text>",
            "</svg>",
            "",
        ]
    )


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(error: float) -> float:
    return TOP + (1.0 - error) * (HEIGHT - TOP - BOTTOM)
