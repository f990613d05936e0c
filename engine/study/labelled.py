"""Results that are arrays over named axes, picked by labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .results import Field


class Layout(NamedTuple):
    """What a kind of results consists of."""

    coordinates: Mapping[str, Field]
    """The axes, each with its places."""
    texts: tuple[str, ...]
    """The axes whose places are names."""
    numbers: str
    """Kinds of dtype that the places of the other axes may have."""
    arrays: Mapping[str, Field]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LabelledArrays:
    """Arrays over named axes. The places along each axis are a field of its name.

    Parameters
    ----------
    config : dict              what was asked for
    arrays : {name: float64}   those of the layout
    """

    layout: ClassVar[Layout]
    config: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        for value in [*(getattr(self, field.name) for field in fields(self)), *self.arrays.values()]:
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def position(self, axis: str, label: Any) -> int:
        """Where a label stands on an axis; ValueError if it does not."""
        labels = getattr(self, axis).tolist()
        if label not in labels:
            raise ValueError(f"{axis}: found {label!r}, expected one of {', '.join(map(str, labels[:20]))}")
        return labels.index(label)

    def sel(self, name: str, **labels: Any) -> np.ndarray:
        """Part of an array, by labels: `study.sel("reward", n=500)`; axes that are not named stay."""
        known = self.layout.arrays
        if name not in known:
            raise ValueError(f"name: found {name!r}, expected one of {', '.join(known)}")
        axes = known[name].axes
        for axis in labels:
            if axis not in axes:
                raise ValueError(f"{axis}: no axis of {name}, expected some of {', '.join(axes)}")
        index = tuple(self.position(axis, labels[axis]) if axis in labels else slice(None) for axis in axes)
        return self.arrays[name][index]

    def sizes(self, *axes: str) -> str:
        """How many places axes have, in words."""
        return ", ".join(f"{name} {getattr(self, name).size}" for name in axes)
