"""The report of driven courses: path on the map, what the camera saw, what the network said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnn_snn_ros.evaluation.driven import DrivenCourse, driven
from crnn_snn_ros.evaluation.pictures import Shown, annotate
from crnn_snn_ros.evaluation.report.page import (
    Figure,
    Plot,
    Report,
    Section,
    State,
    Tile,
    join,
    plot,
    write,
)
from crnn_snn_ros.evaluation.report.plots import (
    COLOURS,
    INK,
    Panel,
    Timeline,
    base,
    time_plot,
)
from crnn_snn_ros.evaluation.report.sections import (
    Cell,
    Glimpse,
    filmstrip,
    model_section,
    table,
    table_section,
)
from crnn_snn_ros.io.model_file import header
from crnn_snn_ros.sim.course import Course, Shape, corners
from crnn_snn_ros.sim.suites import SUITES, driving
from crnn_snn_ros.sim.trace import Trace

_FRAME_PX = 150
_WALL, _OBSTACLE, _MOVER = "rgba(120,120,120,.85)", "rgba(86,140,200,.75)", "rgba(213,94,0,.8)"
_ROUND = 24  # corners of a drawn circle
_FEWEST_PX, _MOST_PX = 260, 560  # height of a map
_WIDTH_PX = 900


def drives_report(
    title: str,
    drives: Sequence[DrivenCourse],
    *,
    header: Mapping[str, Any] | None = None,
    stop_threshold: float = 0.7,
    subtitle: str = "",
    more: Sequence[Section] = (),
    footer: str = "",
) -> Report:
    """Put the report of driven courses together.

    Args:
        title: Of the page.
        drives: At least one.
        header: Of the model file, for its card.
        stop_threshold: Collision probability at which the robot stops.
        subtitle: Below the title.
        more: Sections to put between the drives and the card, such as a suite's table.
        footer: At the end of the page.
    """
    good = sum(drive.succeeded for drive in drives)
    whole: State = "good" if good == len(drives) else "bad"
    text = f"{good} of {len(drives)} courses were driven to the end without contact."
    distance = sum(drive.distance_m for drive in drives)
    seconds = sum(drive.time_s for drive in drives)
    steps = np.concatenate([drive.columns["settle_steps"] for drive in drives])
    known = steps[np.isfinite(steps)]
    tiles = [
        Tile("courses driven to the end", f"{good} of {len(drives)}", "", whole),
        Tile("distance", f"{distance:.1f} m", f"in {seconds:.1f} s"),
        Tile("mean speed", f"{distance / seconds if seconds else 0.0:.2f} m/s"),
    ]
    if len(known):
        tiles.append(Tile("time-steps, most", f"{known.max():.0f}", f"mean {known.mean():.1f}"))
    sections = [_overview(drives)]
    sections += [drive_section(drive, n, stop_threshold) for n, drive in enumerate(drives)]
    sections += [*more, *([model_section(header)] if header is not None else [])]
    return Report(title, subtitle, [(whole, text)], tiles, sections, footer)


def write_traces(
    path: Path, traces: Sequence[Trace], model: Path, *, title: str, subtitle: str = ""
) -> None:
    """Write the report of traced runs of a model.

    Args:
        path: Of the HTML file.
        traces: At least one.
        model: That drove.
        title: Of the page.
        subtitle: Below the title.

    Raises:
        ModelFileError: the model cannot be trusted.
    """
    drives = [driven(trace, SUITES[trace.suite].course(trace.outcome.seed)) for trace in traces]
    stop = driving().stop_threshold
    card = header(model)
    write(path, drives_report(title, drives, header=card, stop_threshold=stop, subtitle=subtitle))


def drive_section(drive: DrivenCourse, number: int, stop_threshold: float) -> Section:
    """Map, filmstrip and traces of one run; frames and traces share their clicks.

    Args:
        drive: The run.
        number: Makes the names of its plots unique in the page.
        stop_threshold: Collision probability at which the robot stops.
    """
    name = f"drive-{number}"
    columns = drive.columns
    panels = [
        Panel("steering, rad", {"SNN": columns["steering_rad"]}),
        Panel("collision probability", {"SNN": columns["collision_probability"]},
              span=(0.0, 1.02), level=stop_threshold),
        Panel("speed, m/s", {"robot": columns["speed_mps"]}),
        Panel("time-steps", {"settled after": columns["settle_steps"]}),
    ]  # fmt: skip
    shown = [panel for panel in panels if any(np.isfinite(v).any() for v in panel.lines.values())]
    timeline = Timeline(f"{name}-traces", columns["time_s"], shown)
    frames = [
        Glimpse(
            annotate(
                shot.image,
                Shown(
                    steering_rad=shot.steering_rad,
                    collision_probability=shot.collision_probability,
                    settled=shot.settled,
                ),
                _FRAME_PX,
            ),
            f"{shot.time_s:.1f} s",
            shot.time_s,
        )
        for shot in drive.snapshots
    ]
    parts = (
        [plot(_map(drive, f"{timeline.name}-map", stop_threshold))]
        if drive.course is not None
        else []
    )
    parts += [filmstrip(frames, timeline.name)] if frames else []
    parts += [plot(time_plot(timeline, f"Traces of {drive.name}"))]
    verdict = "to the end" if drive.succeeded else "not to the end"
    lead = (
        f"{verdict.capitalize()}: {drive.outcome} after {drive.distance_m:.1f} m and "
        f"{drive.time_s:.1f} s. The path turns from blue to yellow as the collision probability "
        f"rises, and red from {stop_threshold:g} on, where the robot stops. Click a frame to find "
        "it on the map and in the traces."
    )
    return Section(name, drive.name, lead, join(parts))


def _overview(drives: Sequence[DrivenCourse]) -> Section:
    rows: list[list[Cell]] = []
    for drive in drives:
        near = drive.columns["collision_probability"]
        speed = drive.distance_m / drive.time_s if drive.time_s else 0.0
        rows.append([
            drive.name, drive.outcome, f"{drive.distance_m:.1f} m", f"{drive.time_s:.1f} s",
            f"{speed:.2f} m/s", f"{np.nanmax(near):.2f}" if np.isfinite(near).any() else "-",
        ])  # fmt: skip
    head = ("course", "outcome", "distance", "time", "mean speed", "highest p")
    lead = "One line for each course; p is the collision probability."
    return table_section("courses", "Courses", lead, table(rows, head))


def _map(drive: DrivenCourse, name: str, stop_threshold: float) -> Plot:
    course = drive.course
    assert course is not None  # the caller looked
    columns = drive.columns
    low_x, low_y, high_x, high_y = course.bounds
    shape = (high_y - low_y + 1.0) / (high_x - low_x + 1.0)
    height = int(min(max(_WIDTH_PX * shape, _FEWEST_PX), _MOST_PX))
    end_s = float(columns["time_s"][-1])
    data = [
        _polygons("walls", course.walls, _WALL),
        _polygons("obstacles", course.obstacles, _OBSTACLE),
        *_movers(course, end_s),
        {"type": "scatter", "mode": "lines", "name": "path", "x": columns["x_m"].tolist(),
         "y": columns["y_m"].tolist(), "customdata": columns["time_s"].tolist(),
         "line": {"color": COLOURS["SNN"], "width": 3},
         "hovertemplate": "%{customdata:.1f} s<extra></extra>"},
        _alarm(drive, stop_threshold),
        _disc(drive),
        {"type": "scatter", "mode": "markers", "name": "here", "x": [None], "y": [None],
         "visible": False, "meta": INK, "hoverinfo": "skip", "showlegend": False,
         "marker": {"size": 15, "symbol": "circle-open", "line": {"width": 3}}, "line": {}},
    ]  # fmt: skip
    layout = base(
        height,
        xaxis={"range": [low_x - 0.3, high_x + 0.3], "zeroline": False, "constrain": "domain",
               "title": {"text": "m"}},
        yaxis={"range": [low_y - 0.3, high_y + 0.3], "zeroline": False, "scaleanchor": "x",
               "constrain": "domain"},
    )  # fmt: skip
    alt = f"Map of {drive.name} with the path; it ended with {drive.outcome}"
    return Plot(name, Figure({"data": data, "layout": layout}), height, alt)


def _alarm(drive: DrivenCourse, stop_threshold: float) -> dict[str, Any]:
    """The path again, as dots whose colour is the collision probability."""
    columns = drive.columns
    near = columns["collision_probability"]
    known = np.isfinite(near)
    return {
        "type": "scatter", "mode": "markers", "name": "p", "x": columns["x_m"].tolist(),
        "y": columns["y_m"].tolist(), "showlegend": False,
        "customdata": np.stack([columns["time_s"], np.nan_to_num(near)], axis=1).tolist(),
        "hovertemplate": "%{customdata[0]:.1f} s, p = %{customdata[1]:.2f}<extra></extra>",
        "visible": bool(known.any()),
        "marker": {"size": 6, "color": np.nan_to_num(near).tolist(), "cmin": 0, "cmax": 1,
                   "colorscale": _scale(stop_threshold),
                   "colorbar": {"title": {"text": "p"}, "thickness": 12, "len": 0.9,
                                "tickvals": [0, 0.25, 0.5, 0.75, 1], "outlinewidth": 0}},
    }  # fmt: skip


def _scale(stop_threshold: float) -> list[list[float | str]]:
    """Blue through yellow up to where the robot stops; from there on red, ever darker."""
    ends = {0.0: "#1583d8", 0.4: "#8fd0c0", 0.8: "#f0e442", 1.0: "#e69f00"}
    below: list[list[float | str]] = [[at * stop_threshold, shade] for at, shade in ends.items()]
    return [*below, [stop_threshold, "#d7301f"], [1.0, "#5c0011"]]


def _disc(drive: DrivenCourse) -> dict[str, Any]:
    """The robot where the run ended."""
    x, y = drive.columns["x_m"][-1], drive.columns["y_m"][-1]
    ring = Shape("cylinder", float(x), float(y), 0.0, drive.robot_radius_m, 0.0, 0.0)
    colour = "#009e73" if drive.succeeded else "#c02a1d"
    return _polygons("end", (ring,), colour)


def _movers(course: Course, time_s: float) -> list[dict[str, Any]]:
    if not course.movers:
        return []
    xs: list[float | None] = []
    ys: list[float | None] = []
    shapes = []
    for mover in course.movers:
        xs += [mover.start[0], mover.end[0], None]
        ys += [mover.start[1], mover.end[1], None]
        x, y = mover.position(np.asarray(time_s))
        shapes.append(mover.shape._replace(x_m=float(x), y_m=float(y)))
    lines = {
        "type": "scatter", "mode": "lines", "x": xs, "y": ys, "showlegend": False,
        "hoverinfo": "skip", "line": {"color": _MOVER, "width": 1, "dash": "dot"}, "name": "ways",
    }  # fmt: skip
    return [lines, _polygons("movers", tuple(shapes), _MOVER)]


def _polygons(name: str, shapes: Sequence[Shape], colour: str) -> dict[str, Any]:
    """Filled outlines in one trace, with a hole in the line between two."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for shape in shapes:
        if shape.kind == "cylinder":
            angles = np.linspace(0.0, 2.0 * np.pi, _ROUND)
            points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * shape.half_x_m
            points += (shape.x_m, shape.y_m)
        else:
            points = corners(shape)[[0, 1, 2, 3, 0]]
        xs += [*points[:, 0].round(3).tolist(), None]
        ys += [*points[:, 1].round(3).tolist(), None]
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": xs, "y": ys, "fill": "toself",
        "fillcolor": colour, "line": {"color": colour, "width": 1}, "hoverinfo": "skip",
    }  # fmt: skip
