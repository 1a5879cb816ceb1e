"""package.xml, setup.py, CHANGELOG.rst and the constraints say the same as the code does."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import crnn_snn_ros

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "crnn_snn_ros"

# Import name: name on the package index, rosdep key. None: rosdep has no key for it (read in
# rosdistro's python.yaml of 2026-08), so ROS users install it with pip.
OUTSIDE_ROS: dict[str, tuple[str, str | None]] = {
    "cv2": ("opencv-python-headless", "python3-opencv"),
    "distributed": ("distributed", None),
    "jinja2": ("jinja2", "python3-jinja2"),
    "lz4": ("lz4", None),
    "markupsafe": ("markupsafe", None),
    "mujoco": ("mujoco", None),
    "numpy": ("numpy", "python3-numpy"),
    "onnx": ("onnx", None),
    "onnxruntime": ("onnxruntime", "python3-onnxruntime-pip"),
    "plotly": ("plotly", None),
    "rich": ("rich", "python3-rich"),
    "rosbags": ("rosbags", "python3-rosbags-pip"),
    "safetensors": ("safetensors", None),
    "sklearn": ("scikit-learn", "python3-sklearn"),
    "torch": ("torch", "python3-torch"),
    "tyro": ("tyro", None),
    "yaml": ("pyyaml", "python3-yaml"),
    "zstandard": ("zstandard", None),
}
# What another package always brings along (triton: torch for CUDA)
COMES_WITH = {"builtin_interfaces": "rclpy", "triton": "python3-torch"}
ROBOT = ("core", "io", "pipeline.py", "ros")  # what runs on the robot, without any extra
NO_WHEEL = {"launch", "launch_ros", "sensor_msgs_py"}  # not on the package index: imported if there


@pytest.fixture(scope="module")
def setup() -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    code = """
import json
from setuptools import Distribution
from distutils.core import run_setup
given = run_setup("setup.py", stop_after="init")
print(json.dumps({"version": given.get_version(), "install": given.install_requires,
                  "extras": given.extras_require, "python": str(given.python_requires),
                  "license": given.get_license()}))
"""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, check=True
    ).stdout
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def project(requirement: str) -> str:
    """Name in a requirement, as the index compares it."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def keys(manifest: ElementTree.Element, tag: str) -> set[str]:
    return {element.text or "" for element in manifest.iter(tag)}


def imports(files: Iterator[Path], at_import: bool) -> dict[str, Path]:
    """Packages outside the standard library and ours that are imported, with where.

    ``at_import``: only by what runs when the module is imported, not inside functions.
    """
    found: dict[str, Path] = {}
    for file in files:
        stack: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
        while stack:
            node = stack.pop()
            if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                stack.extend(node.orelse)
                continue
            stack.extend(ast.iter_child_nodes(node))
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for top in (name.split(".")[0] for name in names):
                if top not in sys.stdlib_module_names and top != "crnn_snn_ros":
                    found[top] = file.relative_to(ROOT)
    return found


def robot_files() -> Iterator[Path]:
    for name in ROBOT:
        yield from (PACKAGE / name).rglob("*.py") if "." not in name else PACKAGE.glob(name)


def test_versions_agree(setup: dict[str, Any], manifest: ElementTree.Element) -> None:
    changes = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    newest = re.search(r"^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)\n-+$", changes, re.MULTILINE)
    assert newest is not None, "CHANGELOG.rst has no heading 'X.Y.Z (YYYY-MM-DD)'"
    version = manifest.findtext("version")
    assert {setup["version"], crnn_snn_ros.__version__, newest.group(1)} == {version}


def test_license_is_the_one_named(setup: dict[str, Any], manifest: ElementTree.Element) -> None:
    assert setup["license"] == manifest.findtext("license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]


def test_every_import_is_declared(setup: dict[str, Any], manifest: ElementTree.Element) -> None:
    extras = [need for needs in setup["extras"].values() for need in needs]
    declared = {project(need) for need in (*setup["install"], *extras)}
    ros = keys(manifest, "exec_depend")
    for name, file in imports(PACKAGE.rglob("*.py"), at_import=False).items():
        if name in OUTSIDE_ROS:
            assert OUTSIDE_ROS[name][0] in declared, f"{file} imports {name}: not in setup.py"
        else:
            assert COMES_WITH.get(name, name) in ros, f"{file} imports {name}: not in package.xml"


def test_the_robot_needs_no_extra(setup: dict[str, Any], manifest: ElementTree.Element) -> None:
    installed = {project(need) for need in setup["install"]}
    known = keys(manifest, "exec_depend")
    for name, file in imports(robot_files(), at_import=True).items():
        if name in OUTSIDE_ROS:
            on_index, rosdep_key = OUTSIDE_ROS[name]
            assert on_index in installed, f"{file} imports {name}, which only an extra brings"
            assert rosdep_key is None or rosdep_key in known, f"{file}: {rosdep_key} not declared"


def test_rosdep_gets_the_same_runtime_as_pip(
    setup: dict[str, Any], manifest: ElementTree.Element
) -> None:
    by_project = dict(OUTSIDE_ROS.values())
    asked = {by_project[project(need)] for need in setup["install"]} - {None}
    assert asked == {key for key in keys(manifest, "exec_depend") if key.startswith("python3-")}


def test_ros_comes_from_ros_or_from_its_extra(
    setup: dict[str, Any], manifest: ElementTree.Element
) -> None:
    assert not [need for need in setup["install"] if "ros" in need or "rclpy" in need]
    packages = {key for key in keys(manifest, "exec_depend") if not key.startswith("python3-")}
    wheels = {project(need).removeprefix("ros-jazzy-").replace("-", "_")
              for need in setup["extras"]["ros-jazzy"]}  # fmt: skip
    assert wheels == packages - NO_WHEEL


def test_everything_asked_for_is_pinned(setup: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[^ ]+( ; python_version (<|>=) \"3.11\")?", pin)
               for pin in pins)  # fmt: skip
    extras = [need for needs in setup["extras"].values() for need in needs]
    missing = {project(n) for n in (*setup["install"], *extras)} - {project(p) for p in pins}
    assert missing == set()
    assert "torch==2.13.0" in pins
    assert setup["python"] == ">=3.10"
