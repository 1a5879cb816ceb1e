"""io.resources in a source checkout; installed packages are in test_install.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.io import resources
from crnn_snn_ros.io.resources import resource_path

ROOT = Path(__file__).resolve().parents[1]


def test_finds_the_one_copy_in_the_checkout() -> None:
    assert resource_path("models", "README.md") == ROOT / "models" / "README.md"


def test_says_where_it_looked_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        resource_path("models", "nothing.snn")
    message = str(caught.value)
    assert "'nothing.snn'" in message
    assert str(ROOT / "models") in message
    assert str(ROOT / "crnn_snn_ros" / "share" / "models") in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["", ".", "../setup.py", "a/../../setup.py", "/etc/passwd"])
def test_stays_in_its_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="must be a path below models/"):
        resource_path("models", name)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="'test' is unknown"):
        resource_path("test", "test_resources.py")  # type: ignore[arg-type]


def test_folder_beside_an_installed_package_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another distribution may put a folder named models into site-packages."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "default.snn").write_bytes(b"not ours")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "crnn_snn_ros")
    with pytest.raises(ConfigError, match=r"default\.snn"):
        resource_path("models", "default.snn")
