"""The integrate-and-fire neurons of other projects, each as one function of a layer's charges.

None of their code is here: they are imported where they are installed. All get a threshold of 1,
with the weights scaled accordingly, and charges of shape (T, N, *shape).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

Fire = Callable[[Tensor, int, int], Tensor]  # charges, n_min, n_max -> spikes (T, N, *shape)


class Peer(NamedTuple):
    """A neuron of another project."""

    fire: Fire
    same: bool  # the bipolar neuron with a spike count between two limits, as ours
    half: bool  # it begins with half a threshold by itself
    folded: bool = True  # takes a whole train; else layers and neurons go step by step


def peers() -> tuple[dict[str, Peer], dict[str, str]]:
    """Those that are installed here, and of the others why not."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for package, make in MAKERS.items():
        try:
            found |= make()
        except ImportError as error:
            missing[package] = str(error)
    return found, missing


def _spikingjelly() -> dict[str, Peer]:
    """STBIFNode, of SpikingJelly 2.0: ours, but for arithmetic in fractions of the threshold."""
    node = import_module("spikingjelly.activation_based.neuron.spikezip").STBIFNode

    def neuron_of(n_min: int, n_max: int, mode: str, device: torch.device) -> Any:
        levels = n_max - n_min + 1
        return node(1.0, levels, pos_max=n_max, neg_min=n_min, step_mode=mode).to(device)

    def multi(charges: Tensor, n_min: int, n_max: int) -> Tensor:
        spikes: Tensor = neuron_of(n_min, n_max, "m", charges.device)(charges)
        return spikes

    def single(charges: Tensor, n_min: int, n_max: int) -> Tensor:
        neuron = neuron_of(n_min, n_max, "s", charges.device)
        return torch.stack([neuron(charge) for charge in charges])

    return {
        "SpikingJelly STBIFNode, multi-step": Peer(multi, True, True),
        "SpikingJelly STBIFNode, single-step": Peer(single, True, True, folded=False),
    }


def _sinabs() -> dict[str, Peer]:
    """IAF with subtraction: no negative spike, no limit of the count."""
    layers, single = import_module("sinabs.layers"), import_module("sinabs.activation").SingleSpike

    def fire(charges: Tensor, _low: int, _high: int) -> Tensor:
        neuron = layers.IAF(spike_fn=single)
        spikes: Tensor = neuron(charges.transpose(0, 1)).transpose(0, 1)
        return spikes

    return {"sinabs IAF": Peer(fire, False, False)}


def _norse() -> dict[str, Peer]:
    """IAF with a reset to zero: no negative spike, no limit of the count."""
    iaf: Any = import_module("norse.torch.functional.iaf")

    def fire(charges: Tensor, _low: int, _high: int) -> Tensor:
        state, spikes = iaf.IAFFeedForwardState(v=torch.zeros_like(charges[0])), []
        for charge in charges:
            spike, state = iaf.iaf_feed_forward_step(charge, state)
            spikes.append(spike)
        return torch.stack(spikes)

    return {"Norse IAF": Peer(fire, False, False)}


def _snntorch() -> dict[str, Peer]:
    """Leaky without leak, by subtraction: no negative spike, no limit of the count."""
    leaky: Any = import_module("snntorch").Leaky

    def fire(charges: Tensor, _low: int, _high: int) -> Tensor:
        neuron = leaky(beta=1.0, threshold=1.0, reset_mechanism="subtract")
        membrane, spikes = torch.zeros_like(charges[0]), []
        for charge in charges:
            spike, membrane = neuron(charge, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return {"snnTorch Leaky (beta 1)": Peer(fire, False, False)}


MAKERS = {
    "spikingjelly": _spikingjelly,
    "sinabs": _sinabs,
    "norse": _norse,
    "snntorch": _snntorch,
}
