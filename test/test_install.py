"""The package installed in each supported way, in a fresh environment, used from outside the tree.

The environments see the heavy dependencies of the one that runs the tests (its site-packages are
on their path), so nothing is downloaded; the package itself is not seen through that path, as the
first test shows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.timeout(300)  # pip and colcon on a busy machine
TEMPLATES = {
    path.name for path in (ROOT / "crnn_snn_ros" / "evaluation" / "report" / "templates").iterdir()
}
KINDS = ("models", "config", "launch")
SCRIPTS = {
    "crnn_snn": "crnn_snn_ros.cli:main",
    "crnn-snn": "crnn_snn_ros.cli:main",
    "collision_avoidance": "crnn_snn_ros.ros.node:main",
    "simulator": "crnn_snn_ros.ros.simulator_node:main",
}
COLCON = which("colcon", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
# Not find_spec("pip"): setuptools takes it for a run of pip, and no longer stands in for distutils.
HAS_PIP = any(distribution.name == "pip" for distribution in distributions())
needs_pip = pytest.mark.skipif(not HAS_PIP, reason="this environment has no pip")
needs_colcon = pytest.mark.skipif(COLCON is None, reason="colcon is not installed: extra [dev]")

LOOK = """
import json, sys
from importlib.metadata import distribution
import crnn_snn_ros
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.io.resources import resource_path
names = json.loads(sys.argv[1])
try:
    missing = str(resource_path("models", "no such file"))
except ConfigError as error:
    missing = str(error)
print(json.dumps({
    "version": distribution("crnn_snn_ros").version,
    "code_version": crnn_snn_ros.__version__,
    "module": crnn_snn_ros.__file__,
    "scripts": {e.name: e.value for e in distribution("crnn_snn_ros").entry_points},
    "resources": [str(resource_path(kind, name)) for kind, name in names],
    "missing": missing,
}))
"""


@dataclass(frozen=True)
class Installed:
    """One way of installing, done: how to look at it from outside."""

    run: Callable[[list[str]], str]  # a command in that environment -> its stdout
    scripts: Path
    share: Path  # where the ROS tools look; not made by an editable install


@pytest.fixture(autouse=True)
def compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sources are not compiled again for every way of installing, where ccache is."""
    if which("ccache") is not None:
        monkeypatch.setenv("CC", "ccache gcc")
        monkeypatch.setenv("CXX", "ccache g++")
        monkeypatch.setenv("CCACHE_NOHASHDIR", "1")
        monkeypatch.setenv("CCACHE_DIR", str(tmp_path_factory.getbasetemp() / "ccache"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what git holds, and one file of each kind, a nested one among them."""
    listing = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    names = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    if not names:
        pytest.skip("the source tree is no git checkout")
    tree = tmp_path / "source tree"
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for name in ("models/tiny/one.snn", "config/probe.yaml", "launch/probe.launch.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(f"probe {name}\n", encoding="utf-8")
    return tree


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Python of a fresh environment that sees our dependencies, but not our package."""
    folder = tmp_path / "environment"
    venv.EnvBuilder(symlinks=True).create(folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    (site_packages / "dependencies.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    return folder / "bin" / "python"


def run(command: list[str], cwd: Path, shell_setup: str = "") -> str:
    """Stdout of a command that must succeed; nothing of the source tree is on its path."""
    search = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [path for path in search if path and Path(path).resolve() != ROOT]
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLCON_PREFIX_PATH")}
    env |= {"PYTHONPATH": os.pathsep.join(kept)} if kept else {}
    cwd.mkdir(parents=True, exist_ok=True)
    command = ["bash", "-ec", f'{shell_setup}\n"$@"', "bash", *command]
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def pip_install(python: Path, *arguments: str) -> Installed:
    prefix = python.parents[1]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    outside = prefix.parent / "outside"
    run([*pip, "--no-deps", "--no-build-isolation", *arguments], outside)
    share = prefix / "share" / "crnn_snn_ros"
    return Installed(lambda command: run(command, outside), prefix / "bin", share)


def colcon_build(tree: Path, *arguments: str) -> Installed:
    assert COLCON is not None
    workspace = tree.parent / "workspace"
    build = [COLCON, "--log-base", "log", "build", "--base-paths", str(tree), *arguments]
    run(build, workspace)
    source = f". '{workspace}/install/local_setup.bash'"
    prefix = workspace / "install" / "crnn_snn_ros"
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "crnn_snn_ros"
    assert marker.is_file(), "the ROS tools do not see the package"
    assert (prefix / "share" / "crnn_snn_ros" / "package.xml").is_file()
    found = run(["bash", "-c", "echo $AMENT_PREFIX_PATH"], workspace, source)
    assert str(prefix) in found.split(os.pathsep)[0]
    return Installed(
        lambda command: run(command, tree.parent / "outside", source),
        prefix / "lib" / "crnn_snn_ros",
        prefix / "share" / "crnn_snn_ros",
    )


def resources_of(tree: Path) -> dict[tuple[str, str], bytes]:
    """Content of every file that must be found, by kind and name."""
    files = [(kind, path) for kind in KINDS for path in sorted((tree / kind).rglob("*"))]
    return {
        (kind, path.relative_to(tree / kind).as_posix()): path.read_bytes()
        for kind, path in files
        if path.is_file() and not path.name.startswith(".")
    }


def exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def check(installed: Installed, python: Path, resources: dict[tuple[str, str], bytes]) -> Path:
    """Assert that all of the package is found; return where its code was imported from."""
    look = [str(python), "-c", LOOK, json.dumps(list(resources))]
    seen = json.loads(installed.run(look))
    assert seen["version"] == seen["code_version"]
    assert seen["scripts"] == SCRIPTS
    assert [Path(path).read_bytes() for path in seen["resources"]] == list(resources.values())
    assert "'no such file' is not installed" in seen["missing"]
    for name in SCRIPTS:
        assert os.access(installed.scripts / name, os.X_OK), f"{name} is missing"
    if exists("crnn_snn_ros.cli"):
        for name in ("crnn_snn", "crnn-snn"):
            assert "usage" in installed.run([str(installed.scripts / name), "--help"]).lower()
    if exists("crnn_snn_ros.ros.node") and find_spec("rclpy") is not None:
        load = "from crnn_snn_ros.ros.node import main; print(callable(main))"
        assert installed.run([str(python), "-c", load]).strip() == "True"
    return Path(seen["module"])


def check_share(installed: Installed, resources: dict[tuple[str, str], bytes]) -> None:
    for (kind, name), content in resources.items():
        assert (installed.share / kind / name).read_bytes() == content


def test_dependencies_do_not_bring_the_package(python: Path) -> None:
    look = "import importlib.util as u; print(u.find_spec('crnn_snn_ros'), u.find_spec('numpy'))"
    package, numpy = run([str(python), "-c", look], python.parents[1]).split(" ", 1)
    assert package == "None"
    assert numpy.strip() != "None"


@needs_pip
def test_pip_install_needs_the_tree_no_more(tree: Path, python: Path) -> None:
    resources = resources_of(tree)
    installed = pip_install(python, str(tree))
    shutil.rmtree(tree)
    module = check(installed, python, resources)
    assert python.parents[1] in module.parents
    templates = module.parent / "evaluation" / "report" / "templates"
    assert {path.name for path in templates.iterdir()} == TEMPLATES
    check_share(installed, resources)


@needs_pip
def test_pip_uninstall_leaves_nothing(tree: Path, python: Path) -> None:
    installed = pip_install(python, str(tree))
    outside = tree.parent / "outside"
    run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "crnn_snn_ros"], outside)
    left = [path for path in python.parents[1].rglob("*crnn*") if path.name != "__pycache__"]
    assert not installed.share.exists()
    assert left == []


PATHS = "from crnn_snn_ros.core.engines.native import native_paths as p; print(' '.join(p()))"
needs_compiler = pytest.mark.skipif(
    which("g++") is None, reason="there is no C++ compiler: apt-get install g++"
)


@needs_pip
@needs_compiler
@pytest.mark.parametrize("options", [(), ("--editable",)])
def test_native_engine_is_built_where_there_is_a_compiler(
    tree: Path, python: Path, options: tuple[str, ...]
) -> None:
    installed = pip_install(python, *options, str(tree))
    assert "portable" in installed.run([str(python), "-c", PATHS]).split()


@needs_pip
@pytest.mark.parametrize("options", [(), ("--editable",)])
def test_package_installs_without_a_compiler(
    tree: Path, python: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for compiler in ("CC", "CXX"):
        monkeypatch.setenv(compiler, "/bin/false")
    installed = pip_install(python, *options, str(tree))
    check(installed, python, resources_of(tree))
    assert installed.run([str(python), "-c", PATHS]).strip() == ""


@needs_pip
def test_editable_install_follows_the_tree(tree: Path, python: Path) -> None:
    installed = pip_install(python, "--editable", str(tree))
    (tree / "models" / "added later.snn").write_bytes(b"new")
    module = check(installed, python, resources_of(tree))
    assert tree in module.parents


@needs_pip
def test_source_distribution_is_complete(tree: Path, python: Path) -> None:
    resources = resources_of(tree)
    run([str(python), "setup.py", "--quiet", "sdist", "--dist-dir", str(tree.parent)], tree)
    shutil.rmtree(tree)
    (archive,) = tree.parent.glob("*.tar.gz")
    installed = pip_install(python, str(archive))
    check(installed, python, resources)
    check_share(installed, resources)


@needs_colcon
def test_colcon_build_needs_the_tree_no_more(tree: Path, python: Path) -> None:
    resources = resources_of(tree)
    installed = colcon_build(tree)
    shutil.rmtree(tree)
    module = check(installed, python, resources)
    assert tree.parent / "workspace" / "install" in module.parents
    check_share(installed, resources)


@needs_colcon
def test_colcon_symlink_install_follows_the_tree(tree: Path, python: Path) -> None:
    resources = resources_of(tree)
    colcon_build(tree)  # the usual way to get there: a plain build first
    installed = colcon_build(tree, "--symlink-install")
    check_share(installed, resources)
    (tree / "models" / "added later.snn").write_bytes(b"new")
    module = check(installed, python, resources_of(tree))
    assert tree in module.resolve().parents
