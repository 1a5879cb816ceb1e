from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.data.archives import is_archive, unpack

FILES = {"tub/manifest.json": b"{}", "tub/images/0.jpg": bytes(3000), "tub/._manifest.json": b"mac"}


def make(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in files.items():
                zipped.writestr(name, data)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def unpacked(archive: Path, **limits: int) -> dict[str, bytes]:
    folder = archive.parent / f"{archive.name}.unpacked"
    folder.mkdir()
    unpack(archive, folder, **limits)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


suffixes = pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar", ".zip"])


@suffixes
def test_files_come_out_as_they_went_in(tmp_path, suffix):
    archive = make(tmp_path / f"a{suffix}", FILES)
    assert is_archive(archive)
    assert unpacked(archive) == {n: d for n, d in FILES.items() if "._" not in n}


@suffixes
@pytest.mark.parametrize("name", ["../evil", "tub/../../evil", "{}/evil", "tub\\..\\..\\evil"])
def test_nothing_lands_outside(tmp_path, suffix, name):
    archive = make(tmp_path / f"a{suffix}", {"ok": b"", name.format(tmp_path): b"x"})
    with pytest.raises(DataError, match="outside its folder"):
        unpacked(archive)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("tub/link")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="link or a device"):
        unpacked(tmp_path / "a.tar")


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("tub/link")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        unpacked(tmp_path / "a.zip")


@suffixes
def test_size_is_counted_while_unpacking(tmp_path, suffix):
    archive = make(tmp_path / f"a{suffix}", {"a": bytes(1000), "b": bytes(5_000_000)})
    with pytest.raises(DataError, match="unpacks to more than"):
        unpacked(archive, max_bytes=2_000_000)
    written = sum(p.stat().st_size for p in (tmp_path / f"a{suffix}.unpacked").iterdir())
    assert written <= 2_000_000 + 2**20


@suffixes
def test_the_same_file_twice_is_refused(tmp_path, suffix):
    archive = make(tmp_path / f"a{suffix}", {"a/b": b"1", "a/./b": b"2"})
    with pytest.raises(DataError, match="'b' twice"):
        unpacked(archive)


@suffixes
def test_truncated_archives_are_refused(tmp_path, suffix):
    content = make(tmp_path / f"whole{suffix}", FILES).read_bytes()
    for length in (0, 10, len(content) // 3):
        archive = tmp_path / f"cut{length}{suffix}"
        archive.write_bytes(content[:length])
        with pytest.raises(DataError, match="damaged or unreadable"):
            unpacked(archive)


@given(data=st.data())
@suffixes
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_archives_raise_nothing_but_data_error(tmp_path_factory, suffix, data):
    folder = tmp_path_factory.mktemp("a")
    archive = make(folder / f"a{suffix}", FILES)
    broken = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, min(len(broken), 700) - 1))] = data.draw(
            st.integers(0, 255)
        )
    archive.write_bytes(broken)
    try:
        unpacked(archive)
    except DataError:
        return
