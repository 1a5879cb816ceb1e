from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import CameraMount
from crnn_snn_ros.data.data_config import BagConfig, load_data_config
from crnn_snn_ros.io.preprocess import InputContract

GOOD = """
bags:
  - {path: mit.bag, image: /image/compressed, steering: /steering, collision: /collision}
  - {path: /data/other}
splits: {train: [0.0, 0.7], validation: [0.7, 0.85], test: [0.85, 1.0]}
frame_rate_hz: 20
input: {width: 96, height: 64, colour: rgb, crop_top: 0.25}
"""


def load(folder: Path, content: object):
    path = folder / "DATA.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_data_config(path)


def test_everything_is_read(tmp_path):
    config = load(tmp_path, GOOD)
    assert config.bags == (
        BagConfig(tmp_path / "mit.bag", "/image/compressed", "/steering", "/collision"),
        BagConfig(Path("/data/other")),
    )
    assert config.splits == {"train": (0.0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1.0)}
    assert config.frame_rate_hz == 20.0
    assert config.contract == InputContract(96, 64, "rgb", 0.25, 0.0)


def test_the_mount_of_a_camera_is_read(tmp_path):
    content = GOOD.replace("path: mit.bag", "path: mit.bag, mount: [0.22, -0.05, 1.58]")
    config = load(tmp_path, content.replace("width: 96", "width: 96, mount: true"))
    assert config.bags[0].mount == CameraMount(0.22, -0.05, 1.58)
    assert config.bags[1].mount is None
    assert config.contract.mount


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("path: mit.bag", "path: a, mount: 0.2", r"bags\[0\].mount is 0.2, expected a list"),
        ("path: mit.bag", "path: a, mount: [0.2, 0]", r"bags\[0\].mount has 2 numbers"),
        ("path: mit.bag", "path: a, mount: [0, 0, 1]", r"bags\[0\].mount: camera height 0.0 m"),
        ("path: mit.bag", "path: a, mount: [1, 0, 9]", r"bags\[0\].mount: camera field of view"),
        ("width: 96", "width: 96, mount: 1", "input mount 1 is not true or false"),
        ("width: 96", "width: 96, mount: true, steady: true", "steady needs motion"),
        ("width: 96", "width: 96, floor: true", "floor needs steady"),
        ("width: 96", "width: 96, wheels: true", "wheels needs steady"),
        ("width: 96", "width: 96, fov_deg: wide", "fov_deg 'wide' is not within 10..170"),
        (
            "frame_rate_hz",
            "frame_rate",
            r"unknown key 'frame_rate' \(did you mean frame_rate_hz\?\); allowed are bags, splits",
        ),
        ("frame_rate_hz: 20", "", "lacks the key 'frame_rate_hz'"),
        ("frame_rate_hz: 20", "frame_rate_hz: fast", "frame_rate_hz is 'fast', expected a number"),
        ("frame_rate_hz: 20", "frame_rate_hz: .nan", "frame_rate_hz nan is not within"),
        ("frame_rate_hz: 20", "frame_rate_hz: yes", "frame_rate_hz is True, expected a number"),
        (
            "steering:",
            "steer:",
            r"bags\[0\] has an unknown key 'steer' \(did you mean steering\?\); allowed are path",
        ),
        ("path: mit.bag, ", "", r"bags\[0\] lacks the key 'path'"),
        ("path: mit.bag", "path: 7", r"bags\[0\].path is 7, expected text"),
        ("test:", "exam:", "splits has an unknown key 'exam'; allowed are train, validation, test"),
        ("[0.0, 0.7]", "[0.0, 0.71]", r"'train' and 'validation' share frames \(0.7 < 0.71\)"),
        ("[0.0, 0.7]", "[0.7, 0.0]", "split 'train'"),
        ("[0.0, 0.7]", "[0.0, 1.2]", "split 'train'"),
        ("[0.0, 0.7]", "[0.0]", "splits.train has 1 numbers"),
        ("[0.0, 0.7]", "0.7", "splits.train is 0.7, expected a list"),
        ("width: 96", "width: 96.5", "input width 96.5"),
        ("width: 96, ", "", "input lacks the key 'width'"),
        (
            "crop_top",
            "crop_left",
            r"input has an unknown key 'crop_left' \(did you mean crop_top\?\); allowed are width",
        ),
        ("colour: rgb", "colour: red", "input colour 'red'"),
        ("bags:", "bags: [", "is not YAML: while parsing"),
        ("bags:", "bags: []\nbags:", "the key 'bags' is there twice, in what begins on line"),
        (GOOD, "", "the file is None, expected keys and values"),
        (GOOD, "[]", r"the file is \[\], expected keys and values"),
        (GOOD, "!!python/object/apply:os.system [exit]", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, says):
    assert old in GOOD
    with pytest.raises(ConfigError, match=says) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert "DATA.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG = [
    *(None, True, "x" * 3000, [], {}, [[1]], {1: 2}, 10**400, -(10**400)),
    *(-1, 0, 3.5, float("nan"), float("inf")),
]


def places(content, above=()):
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


@pytest.mark.parametrize("place", list(places(yaml.safe_load(GOOD))), ids=str)
def test_whatever_stands_in_a_key_is_taken_or_refused_by_its_name(tmp_path, place):
    refused = 0
    for wrong in WRONG:
        content = part = yaml.safe_load(GOOD)
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = wrong
        try:
            load(tmp_path, content)
        except ConfigError as error:
            refused += 1
            name = [key for key in place if isinstance(key, str)][-1]
            message = str(error).partition("DATA.yaml: ")[2]
            assert name in message or name.rstrip("s") in message
            assert len(message) < 250
    assert refused >= 9


@pytest.mark.parametrize("key", ["bags", "splits"])
def test_empty_parts_are_refused(tmp_path, key):
    content = yaml.safe_load(GOOD)
    content[key] = type(content[key])()
    with pytest.raises(ConfigError, match=f"{key} is empty"):
        load(tmp_path, content)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_data_config(tmp_path / "gone.yaml")


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_files_raise_nothing_but_config_error(tmp_path, data):
    broken = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "DATA.yaml"
    path.write_bytes(broken)
    try:
        load_data_config(path)
    except ConfigError:
        return
