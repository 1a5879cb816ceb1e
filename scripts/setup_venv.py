"""Make the virtual environment of the Makefile; standard library only.

    python3 scripts/setup_venv.py .venv

Where ROS 2 is sourced, its rclpy, numpy and OpenCV are used and left as they are; elsewhere ROS
wheels are installed. A torch built for an accelerator is kept, be it in the environment or outside.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from ctypes.util import find_library
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 10), (3, 12))  # first and last for which there are ROS wheels
EXTRAS = ("tools", "report", "export", "sim", "train", "scale", "test", "dev")
OSMESA = "libosmesa6"
CHROMIUM = ("chromium", "chromium-driver")  # Debian's names
OPENCV = "opencv-python-headless"

# Printed as JSON: version of each module that can be imported (None: it cannot), and whether torch
# is built for an accelerator.
PROBE = """
import importlib, json
found = {}
for name in ("rclpy", "numpy", "cv2", "torch"):
    try:
        module = importlib.import_module(name)
    except Exception:
        found[name] = None
    else:
        whole = module.__file__ is not None  # else it is a mere folder of that name
        found[name] = str(getattr(module, "__version__", "unknown")) if whole else None
        if whole and name == "torch":
            found["accelerated"] = bool(module.version.cuda or module.version.hip)
print(json.dumps(found))
"""

# Printed one a line: what the package needs, with the extras in argv, but not the package itself.
REQUIREMENTS = """
import sys
from importlib.metadata import requires
from packaging.requirements import Requirement
for text in requires("crnn_snn_ros"):
    need = Requirement(text)
    if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *sys.argv[1:])):
        need.marker = None
        print(need)
"""


def main() -> int:
    """Make or complete the environment named on the command line; 0 when it is ready."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return _refuse(
            f"{sys.executable} is Python {sys.version.split()[0]}; ROS 2 needs 3.10 to 3.12: "
            "run make PYTHON=/usr/bin/python3.12 or similar"
        )
    # Both: a colcon workspace on top of the wheels sets the first, a container may set the second.
    ros = bool(os.environ.get("AMENT_PREFIX_PATH") and os.environ.get("ROS_DISTRO"))
    outside = _probe(Path(sys.executable))
    if ros and outside["rclpy"] is None:
        return _refuse(
            f"ROS 2 is sourced, but {sys.executable} cannot import its rclpy: "
            "run make PYTHON=/usr/bin/python3, or use a shell where no ROS is sourced"
        )
    python = _make(target, ros, system_packages=ros or bool(outside.get("accelerated")))
    _install(python, ros)
    _install_osmesa()
    _install_for_tests()
    return 0


def _make(target: Path, ros: bool, system_packages: bool) -> Path:
    other = target / f".set-up-{'wheels' if ros else 'ros'}"
    kind = "on the sourced ROS 2" if ros else "with ROS 2 from wheels"
    print(f"make {target} {kind}", flush=True)
    builder = venv.EnvBuilder(system_packages, clear=other.exists(), with_pip=True)
    try:
        builder.create(target)
    except subprocess.CalledProcessError:
        raise SystemExit(_refuse("Python lacks ensurepip: apt-get install python3-venv")) from None
    return target / "bin" / "python"


def _install(python: Path, ros: bool) -> None:
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    found = _probe(python)
    constraints = python.parents[1] / "constraints.txt"
    constraints.write_text(_constraints(found, ros), encoding="utf-8")
    limit = ("--constraint", str(constraints))
    print("install the package", flush=True)
    subprocess.run([*pip, *limit, "setuptools<80", "wheel", "packaging"], check=True)
    editable = ("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    subprocess.run([*pip, *editable], check=True)
    extras = EXTRAS if ros else (*EXTRAS, "ros-jazzy")
    listing = [str(python), "-c", REQUIREMENTS, *extras]
    listed = subprocess.run(listing, check=True, text=True, stdout=subprocess.PIPE).stdout
    needs = [need for need in listed.splitlines() if need]
    if ros and found["cv2"] is not None:  # pip does not know python3-opencv by its own name
        needs = [need for need in needs if not need.startswith(OPENCV)]
    print("install what it needs; this can take minutes", flush=True)
    subprocess.run([*pip, *limit, *needs], check=True)


def _install_osmesa() -> None:
    """Install what the simulator draws with where that may be done; else say how."""
    if not sys.platform.startswith("linux") or find_library("OSMesa") is not None:
        return
    _apt("with which the simulator draws", OSMESA)
    if find_library("OSMesa") is None:
        print(f"setup: the simulator cannot draw yet; run: sudo apt-get install {OSMESA}")


def _install_for_tests() -> None:
    """Install a browser, which a test opens reports in, and ccache: in CI only; else say how."""
    if os.environ.get("CI") == "true" and not shutil.which("ccache"):
        _apt("with which tests compile the same sources once", "ccache")
    if not sys.platform.startswith("linux") or shutil.which("chromedriver"):
        return
    if os.environ.get("CI") == "true":  # 200 MB, which nobody wants for a demo
        _apt("in which a test opens the reports", *CHROMIUM)
    if shutil.which("chromedriver") is None:
        names = " ".join(CHROMIUM)
        print(f"setup: reports are not tested in a browser; to do so: sudo apt-get install {names}")


def _apt(purpose: str, *packages: str) -> None:
    """Install packages of the system where this user may; whatever fails is not fatal."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"install {' '.join(packages)}, {purpose}", flush=True)
    command = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Neither failure matters: what was listed before may do, and the rest works without it.
    subprocess.run(["apt-get", "update", "--quiet"], env=quiet, stdout=subprocess.DEVNULL)
    subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL)


def _constraints(found: dict[str, str | None], ros: bool) -> str:
    """The committed constraints, less those of what is to be kept as it was found."""
    kept: dict[str, str | None] = {}
    if ros and found["numpy"] is not None:
        # OpenCV's newest wheels ask for a numpy newer than the one that ROS was built with.
        kept |= {"numpy": found["numpy"], OPENCV: None}
    if found["torch"] is not None and (ros or found.get("accelerated")):
        kept["torch"] = found["torch"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if re.split(r"[=;\s]", line, maxsplit=1)[0] not in kept]
    for name, version in kept.items():
        print(f"keep {name} {version or 'as the kept numpy allows'}")
    return "\n".join([*lines, *(f"{name}=={v}" for name, v in kept.items() if v)]) + "\n"


def _probe(python: Path) -> dict[str, str | None]:
    command = [str(python.absolute()), "-c", PROBE]  # absolute: a venv is found by its own path
    # Not in the source tree, whose folders could be taken for modules.
    output = subprocess.run(command, cwd="/", text=True, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, str | None] = json.loads(output)
    return found


def _refuse(reason: str) -> int:
    print(f"setup: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
