"""Fields that know their own range."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.settings import check, setting, settings


@dataclass(frozen=True)
class Config:
    speed: float = setting(1.0, "m/s", (0.0, 2.0), runtime=True)
    count: int = setting(3, "frames", (1, 9))
    drive: str = setting("a", "kind", choices=("a", "b"))
    name: str = setting("", "any text")
    on: bool = setting(True, "switch")

    def __post_init__(self) -> None:
        check(self)


def test_defaults_and_ends_are_accepted():
    Config(speed=2.0, count=1, drive="b", name="x", on=False)
    assert replace(Config(), speed=2).speed == 2
    assert settings(Config)["speed"][1].runtime
    assert not settings(Config)["count"][1].runtime


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 2.1},
        {"speed": -0.1},
        {"speed": float("nan")},
        {"speed": "1"},
        {"speed": True},
        {"count": 0},
        {"count": 1.0},
        {"count": False},
        {"drive": "c"},
        {"drive": 1},
        {"name": None},
        {"on": 1},
    ],
)
def test_wrong_values_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Config(**wrong)
