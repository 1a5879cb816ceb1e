"""Find the models, parameter files and launch files that come with the package.

The repository keeps them once, at its top. A built package (``pip install .``, ``colcon build``)
carries a copy inside itself; an editable or symlinked one is read in its source tree. Neither way
needs ROS. ``share/crnn_snn_ros`` holds the same files for the ROS tools.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from crnn_snn_ros.core.errors import ConfigError

Kind = Literal["models", "config", "launch"]

_PACKAGE = Path(__file__).resolve().parents[1]  # resolved: colcon --symlink-install links to it


def resource_path(kind: Kind, name: str) -> Path:
    """Path of a file that came with the package.

    Args:
        kind: ``models``, ``config`` or ``launch``.
        name: the file's name, or its path below that folder with forward slashes.

    Raises:
        ConfigError: ``kind`` is unknown, ``name`` leads out of the folder, or there is no such
            file; the message names the folders that were searched.

    Example:
        >>> resource_path("models", "README.md").name
        'README.md'
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"resource kind '{kind}' is unknown, expected one of {get_args(Kind)}")
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ConfigError(f"resource name '{name}' must be a path below {kind}/, without '..'")
    folders = [folder / kind for folder in _roots()]
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    searched = " and ".join(str(folder) for folder in folders)
    raise ConfigError(
        f"{kind} file '{name}' is not installed: looked in {searched}; "
        "give the path of a file of your own, or install the package again"
    )


def _roots() -> list[Path]:
    roots = [_PACKAGE / "share"]
    source_tree = _PACKAGE.parent
    if (source_tree / "package.xml").is_file():  # else it is a site-packages folder
        roots.append(source_tree)
    return roots
