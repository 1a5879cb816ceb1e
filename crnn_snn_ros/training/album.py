"""Glimpses as a network sees them, on the device that learns from them.

courses --worker processes--> pages --a thread--> album --draw--> a page for each step
"""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Moved
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.preprocess import InputContract, rolled, see_all
from crnn_snn_ros.sim.glimpses import take_glimpses
from crnn_snn_ros.sim.suites import Setup
from crnn_snn_ros.training.augment import lighten
from crnn_snn_ros.training.probe import nearness

TARGETS = 2 * BEARINGS  # nearness now, and soon
ASKED = "free paths"  # in the names of pages that are kept: another answer is another page


class Page(NamedTuple):
    """Some glimpses."""

    pixels: Tensor  # int8 (N, C, H, W)
    nearness: Tensor  # float32 (N, TARGETS)


Arrays = tuple[NDArray[np.int8], NDArray[np.float32]]  # of a Page
Pages = Generator[Arrays, None, None]


@dataclass(frozen=True)
class Photographer:
    """Makes the page of a course; picklable, for worker processes.

    Args:
        contract: what the network is to see.
        rate_hz: frames a second.
        glimpses: of each course.
        folder: where pages are kept, and found by whoever asks for the same again; None: nowhere.
    """

    contract: InputContract
    rate_hz: float
    glimpses: int
    folder: Path | None = None

    def __call__(self, course: tuple[str, int]) -> Arrays:
        """The page of a suite and a seed.

        Raises:
            ConfigError: nothing can be drawn on this machine.
            DataError: what is kept of it is damaged.
        """
        if self.folder is None:
            return self._take(course)
        path = self.folder / f"{self._name(course)}.npz"
        if not path.exists():
            pixels, near = self._take(course)
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as new:
                np.savez(new, pixels=pixels, nearness=near)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as page:
                return page["pixels"], page["nearness"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}): remove it") from error

    def _name(self, course: tuple[str, int]) -> str:
        asked = (ASKED, self.contract, self.rate_hz, self.glimpses)
        suite, seed = course
        return f"{suite}_{seed}_{blake2b(repr(asked).encode(), digest_size=8).hexdigest()}"

    def _take(self, course: tuple[str, int]) -> Arrays:
        setup = Setup.of(self.contract, self.rate_hz)
        taken = take_glimpses(*course, self.glimpses, setup, self.contract.motion)
        pair = replace(self.contract, motion=min(1, self.contract.motion), wheels=False)
        pixels = np.stack(
            [
                list(see_all(frames, pair, mount, (Moved(), moved)))[-1]
                for frames, mount, moved in zip(
                    taken.frames, taken.mounts, taken.moved, strict=True
                )
            ]
        )
        if self.contract.wheels:
            wheels = np.stack([rolled(moved, self.contract) for moved in taken.lately])
            pixels = np.concatenate([pixels, wheels], axis=1)
        paths = torch.from_numpy(np.concatenate([taken.free_m, taken.soon_m], axis=-1))
        return pixels, nearness(paths).numpy()


class Album:
    """Pages side by side in the memory of one device, looked into while it is being filled.

    Args:
        pages: how many there will be.
        glimpses: on each.
        shape: of a frame, (C, H, W).
        device: where; 25 kB a frame of 96 x 64 pixels in four channels.
    """

    def __init__(
        self, pages: int, glimpses: int, shape: tuple[int, int, int], device: torch.device
    ) -> None:
        count = pages * glimpses
        self._each = glimpses
        self._all = Page(
            torch.empty((count, *shape), dtype=torch.int8, device=device),
            torch.empty((count, TARGETS), device=device),
        )
        self._filled = 0
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._filling: threading.Thread | None = None

    def fill(self, pages: Pages) -> None:
        """Take pages as they come, in a thread of its own, which closes them in the end."""
        self._filling = threading.Thread(target=self._fill, args=(pages,), daemon=True)
        self._filling.start()

    def close(self) -> None:
        """Take no page more."""
        self._closed = True
        if self._filling is not None:
            self._filling.join()

    def draw(self, random: np.random.Generator, pages: int, count: int) -> Page:
        """``count`` glimpses out of the first ``pages``, for which it waits.

        Raises:
            CrnnSnnError: or whatever else befell those that make the pages.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._filled >= pages or self._failure is not None)
            if self._filled < pages:
                assert self._failure is not None
                raise self._failure
        index = torch.from_numpy(random.integers(0, pages * self._each, count))
        index = index.to(self._all.pixels.device)
        return Page(self._all.pixels[index], self._all.nearness[index])

    def _fill(self, pages: Pages) -> None:
        try:
            with closing(pages):
                for pixels, near in pages:
                    if self._closed:
                        return
                    self._add(Page(torch.from_numpy(pixels), torch.from_numpy(near)))
        except BaseException as error:  # it is raised where somebody waits for the page
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _add(self, page: Page) -> None:
        place = slice(self._filled * self._each, (self._filled + 1) * self._each)
        for kept, new in zip(self._all, page, strict=True):
            kept[place].copy_(new)
        with self._changed:
            self._filled += 1
            self._changed.notify_all()


def altered(page: Page, random: np.random.Generator, light: float) -> Page:
    """A page whose glimpses are mirrored by halves, each in a light of its own."""
    pixels, mirrored = lighten(page.pixels[:, None], random, light)
    near = page.nearness.view(-1, 2, BEARINGS)
    near = torch.where(mirrored[:, None, None], near.flip(-1), near)
    return Page(pixels[:, 0], near.flatten(1))
