"""A network as plain data: what is done in which order, with the shapes of its weights.

It is kept as JSON beside the weights, so that nothing else is needed to build the network again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from detector.config.sections import describe_faults
from detector.core.errors import InputError
from detector.core.plain import parse_json

IMAGE = -1  # the input of the network, where nodes are counted from 0
KEY = "graph"  # of the metadata beside the weights
Channels = tuple[float, float, float]
MOST_WEIGHTS = 2**30  # 4 GiB, which are allocated before they are compared with what is there
Side = Annotated[int, Field(ge=1, le=2**16)]  # of a tensor of weights


class Node(BaseModel):
    """One operation: `inputs` are nodes before it, or IMAGE; `shapes` are those of its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    op: str
    inputs: tuple[int, ...] = Field(min_length=1)
    settings: dict[str, Any] = {}
    shapes: dict[str, tuple[Side, ...]] = {}


class Graph(BaseModel):
    """A network that makes logits, those of the last node, of an RGB image.

    All that is computed passes the node `features`, which the branches of the head read.
    `levels` are nodes before it that end a stage, the finest first. `mean` and `std` normalise
    the image. `source` and `licence` say where it is from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    name: str = Field(min_length=1)
    source: str
    licence: str
    mean: Channels
    std: Channels
    nodes: tuple[Node, ...] = Field(min_length=1)
    features: int
    levels: tuple[int, ...]

    @model_validator(mode="after")
    def _check(self) -> Graph:
        late = [i for i, node in enumerate(self.nodes) if not all(-1 <= n < i for n in node.inputs)]
        if late:
            raise ValueError(f"node {late[0]} reads what is not computed before it")
        if not 0 <= self.features < len(self.nodes) - 1:
            raise ValueError(f"features must be a node before the last, got {self.features}")
        if not all(0 <= level < self.features for level in self.levels):
            raise ValueError("levels must be nodes before features")
        held = sum(math.prod(shape) for node in self.nodes for shape in node.shapes.values())
        if held > MOST_WEIGHTS:
            raise ValueError(f"must have {MOST_WEIGHTS} weights at most, got {held}")
        if passing(self.nodes, self.features):
            raise ValueError(f"node {self.features} is passed by, so it cannot be features")
        return self


def passing(nodes: Sequence[Node], cut: int) -> bool:
    """Whether something after node `cut` reads what was computed before it."""
    return any(source < cut for node in nodes[cut + 1 :] for source in node.inputs)


def ancestors(nodes: Sequence[Node], end: int) -> set[int]:
    """The nodes that `end` depends on, itself and perhaps IMAGE among them."""
    found, open_ = {end}, [end]
    while open_:
        node = open_.pop()
        for source in nodes[node].inputs if node != IMAGE else ():
            if source not in found:
                found.add(source)
                open_.append(source)
    return found


def last_uses(nodes: Sequence[Node]) -> Iterator[tuple[int, int]]:
    """Pairs of a node, or IMAGE, and the last one that reads it."""
    seen: set[int] = set()
    for index, node in reversed(list(enumerate(nodes))):
        for source in node.inputs:
            if source not in seen:
                seen.add(source)
                yield source, index


def read_graph(text: str, place: str) -> Graph:
    """The graph that a JSON text stands for; InputError, said to be at `place`."""
    place = f"{place}: its {KEY}"
    return checked_graph(parse_json(text, place), place)


def checked_graph(content: Any, place: str) -> Graph:
    """The graph of these fields; InputError, said to be at `place`."""
    try:
        return Graph.model_validate(content)
    except ValidationError as error:
        lines = describe_faults(error, Graph)[:5]
        raise InputError("\n".join(f"{place}: {line}" for line in lines)) from None
