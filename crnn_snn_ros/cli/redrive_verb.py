"""``crnn-snn redrive``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json, print_table, progress_bar
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.config import SightConfig


def redrive_verb(
    data: Positional[Path],
    out: Path = Path("out/redriven"),
    look_frames: int = 0,
    sight: Annotated[SightConfig, tyro.conf.arg(name="")] = SightConfig(),  # noqa: B008
    processes: int = 1,
    scheduler: str | None = None,
    json: bool = False,
) -> int:
    """Drive recorded simulator drives anew, by the commands that drove them: for another camera.

    The ways are the same, to the last bit; pictures and labels are of today. What is there already
    is left alone, so a run may be cut off and repeated.

    Example: crnn-snn redrive out/dagger/drives/data.yaml --out out/wide --width 128 --fov-deg 115

    Args:
        data: Data file of the drives.
        out: Folder of the new bags and of their data.yaml.
        look_frames: Frames after which a course looks otherwise; 0: never.
        sight: What a network is to see that learns from them.
        processes: Drives at the same time.
        scheduler: Address of a Dask scheduler, whose workers do it instead (docs/scale_out.md).
        json: One JSON object on stdout.
    """
    try:
        from crnn_snn_ros.sim.record import Recording
        from crnn_snn_ros.sim.redrive import redrive
        from crnn_snn_ros.sim.suites import Setup
    except ImportError as error:
        raise ConfigError(f"{error}; pip install 'crnn_snn_ros[sim]'") from None
    from crnn_snn_ros.data.data_config import load_data_config
    from crnn_snn_ros.io.preprocess import InputContract
    from crnn_snn_ros.io.processes import Workers

    if (out / "data.yaml").resolve() == data.resolve():
        raise ConfigError(f"--out {out} is where these drives are; give another folder")
    config = load_data_config(data)
    contract = InputContract(colour="rgb", **asdict(sight))
    setup = Setup.of(contract, config.frame_rate_hz)
    recording = Recording(out, contract=contract, look_frames=look_frames)
    with progress_bar(len(config.bags), quiet=json) as bar:
        outcomes = redrive(
            config.bags,
            setup,
            recording,
            Workers(processes, scheduler),
            lambda _: bar.update(bar.task_ids[0], advance=1),
        )
    new = [outcome for outcome in outcomes if outcome is not None]
    found = {"drives": len(outcomes), "new": len(new), "distance_m": sum(o.distance_m for o in new)}
    if json:
        print_json({"data": str(out / "data.yaml"), **found})
    else:
        print_table(f"drives in {out}", found)
    return 0
