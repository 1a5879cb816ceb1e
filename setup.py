"""Package metadata, for pip and for colcon (ament_python), which runs this file itself."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

NAME = "crnn_snn_ros"
RESOURCES = ("models", "config", "launch")  # kept once, at the top of the repository

ROS_JAZZY = [  # wheels of ROS 2 Jazzy, for machines without a ROS install
    "ros-jazzy-rclpy[fastrtps]",
    "ros-jazzy-ament-index-python",
    "ros-jazzy-diagnostic-msgs",
    "ros-jazzy-geometry-msgs",
    "ros-jazzy-lifecycle-msgs",
    "ros-jazzy-nav-msgs",
    "ros-jazzy-rcl-interfaces",
    "ros-jazzy-rosgraph-msgs",
    "ros-jazzy-sensor-msgs",
    "ros-jazzy-std-msgs",
    "ros-jazzy-std-srvs",
]
TEST = [
    "cyclonedds>=0.10 ; platform_machine == 'x86_64'",  # a foreign DDS peer; no wheels elsewhere
    "hypothesis>=6",
    "mcap>=1",  # a second reader of the bags that we write
    "pytest>=7",
    "pytest-timeout>=2",
    "selenium>=4",  # clicks through the report in Chromium, where there is one
]
DEV = [
    "colcon-common-extensions",
    "import-linter>=2",
    "mypy>=1.10",
    "pytest-xdist>=3",  # two tests at a time, in `make test`
    "ruff>=0.6",
    "setuptools<80",  # later ones dropped `setup.py develop --editable`, which colcon calls
    "types-PyYAML",
]

NATIVE = Path(NAME, "core", "engines", "native_src")  # of the engine `native`
NATIVE_FLAGS = ["-std=c++17", "-O3", "-g0", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden"]
SCAN = Path(NAME, "training", "native_src", "scan.cpp")  # the recurrence in training
# Rounded as torch rounds; without the other two, rounding down is no vector instruction.
SCAN_FLAGS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
# Instruction sets beyond the portable one. A compiler that does not know one leaves it out.
X86_PATHS = {
    "avx2": ["-mavx2", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt"],
    "avxvnni": ["-mavx2", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt", "-mavxvnni"],
    "avx512vnni": [
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"),
        *("-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt", "-mprefer-vector-width=512"),
    ],
}
ARM_PATHS = {"neondot": ["-march=armv8.2-a+dotprod"]}
NATIVE_PATHS = {"x86_64": X86_PATHS, "aarch64": ARM_PATHS}


def resource_files(kind: str) -> list[Path]:
    """Files below one of RESOURCES, relative to the repository, without caches."""
    return sorted(
        path
        for path in Path(kind).rglob("*")
        if path.is_file() and not any(p[0] in "._" for p in path.parts)
    )


def shared_files() -> list[tuple[str, list[str]]]:
    """What goes to ``share/``, folder by folder, as the ROS tools expect it."""
    share = f"share/{NAME}"
    files = {
        "share/ament_index/resource_index/packages": [f"resource/{NAME}"],
        share: ["package.xml"],
    }
    for path in (path for kind in RESOURCES for path in resource_files(kind)):
        files.setdefault(f"{share}/{path.parent.as_posix()}", []).append(str(path))
    return list(files.items())


class BuildWithResources(build_py):
    """Copy RESOURCES into the package as well, where ``io.resources`` finds them without ROS."""

    def run(self) -> None:
        """Build the modules, then the resources (an editable install reads them in place)."""
        super().run()
        for source, target in self._resources():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target), preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the copies too, so that uninstalling removes them."""
        copies = [str(target) for _, target in self._resources()]
        return [*super().get_outputs(include_bytecode), *copies]

    def _resources(self) -> list[tuple[Path, Path]]:
        if getattr(self, "editable_mode", False):
            return []
        share = Path(self.build_lib, NAME, "share")
        return [(path, share / path) for kind in RESOURCES for path in resource_files(kind)]


class BuildNative(build_ext):
    """Compile libraries that know nothing of Python, or do without them: ctypes loads them."""

    def build_extension(self, ext: Extension) -> None:
        """Compile and link one of them."""
        is_scan = ext.name.endswith("._scan")
        objects = self._compile(SCAN, "scan", SCAN_FLAGS) if is_scan else self._engine()
        self.compiler.link_shared_object(objects, self.get_ext_fullpath(ext.name))

    def _engine(self) -> list[Any]:
        """One kernel per instruction set."""
        kernel = NATIVE / "kernel.cpp"
        objects = self._compile(kernel, "portable", [])
        names = []
        for name, flags in NATIVE_PATHS.get(platform.machine(), {}).items():
            try:
                objects += self._compile(kernel, name, flags)
                names.append(name)
            except CompileError:
                self.announce(f"native: this compiler does not know {name}", level=3)
        built = [f"-DNATIVE_HAS_{name.upper()}" for name in names]
        return objects + self._compile(NATIVE / "library.cpp", "library", built)

    def copy_extensions_to_source(self) -> None:
        """Old setuptools would stop at an optional library that could not be built."""
        self.extensions = [ext for ext in self.extensions if self._is_built(ext)]
        super().copy_extensions_to_source()

    def _is_built(self, ext: Extension) -> bool:
        file = self.get_ext_filename(self.get_ext_fullname(ext.name))
        return Path(self.build_lib, file).exists()

    def _compile(self, source: Path, name: str, flags: list[str]) -> list[Any]:
        macros = [(f"NATIVE_{name.upper()}", None), ("NATIVE_NAME", f"run_{name}")]
        return self.compiler.compile(
            [str(source)],
            output_dir=str(Path(self.build_temp, name)),
            macros=macros,
            extra_postargs=[*NATIVE_FLAGS, *flags],
        )


def native_extensions() -> list[Extension]:
    """Optional: without a compiler the package installs all the same."""
    sources = [str(NATIVE / name) for name in ("kernel.cpp", "library.cpp")]
    return [
        Extension(f"{NAME}.core.engines._native", sources, optional=True),
        Extension(f"{NAME}.training._scan", [str(SCAN)], optional=True),
    ]


os.chdir(Path(__file__).parent)  # not resolved: colcon runs a link to this file in its build folder

setup(
    name=NAME,
    version="0.1.0",
    description="Lossless CRNN to spiking network conversion, and a collision avoidance node",
    license="Apache-2.0",
    author="crnn_snn_ros maintainers",
    maintainer="crnn_snn_ros maintainers",
    keywords=["ROS 2", "spiking neural network", "collision avoidance", "quantization"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "evaluation/report/templates/*"]},
    data_files=shared_files(),
    zip_safe=False,
    # rclpy and the messages come from the ROS install, or from the extra [ros-jazzy].
    install_requires=[
        "numpy>=1.21",
        "opencv-python-headless>=4.5",
        "pyyaml>=5.4",
        "safetensors>=0.4",
        "torch>=2.1",
    ],
    extras_require={
        "ros-jazzy": ROS_JAZZY,
        "bench": ["matplotlib>=3.7"],  # pictures of benchmarks/study
        "export": ["onnx>=1.16", "onnxruntime>=1.17"],
        "report": ["jinja2>=3.1", "markupsafe>=2", "plotly>=6", "scikit-learn>=1.3"],
        "scale": ["distributed>=2024.8"],  # of Dask: --scheduler
        "sim": ["mujoco>=3.17"],  # draws with OSMesa: libosmesa6, a package of the system
        "tools": ["lz4>=4", "rich>=13", "rosbags>=0.11", "tyro>=1", "zstandard>=0.20"],
        "train": ["tensorboard>=2.10"],  # only for --tensorboard
        "test": TEST,
        "dev": [*DEV, *TEST],
    },
    entry_points={
        "console_scripts": [
            "crnn_snn = crnn_snn_ros.cli:main",
            "crnn-snn = crnn_snn_ros.cli:main",
            "collision_avoidance = crnn_snn_ros.ros.node:main",
            "simulator = crnn_snn_ros.ros.simulator_node:main",
        ]
    },
    cmdclass={"build_py": BuildWithResources, "build_ext": BuildNative},
    ext_modules=native_extensions(),
)
