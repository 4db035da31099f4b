"""A graph as a network that learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from detector.core.errors import InputError
from detector.model.dbnet import Network
from detector.model.graph.nodes import IMAGE, KEY, Graph, Node, last_uses
from detector.model.graph.operators import OPERATORS
from detector.model.head import Head, in_float32

_PROBE = (2, 3, 64, 96)  # not square: a wrong layout shows


class Part(nn.Module):
    """The nodes of a graph after `entry`, the first of them and no other read from outside.

    `nodes` are those from `entry + 1` on. Their outputs `kept` are what it returns. With `exact`
    the last node with weights works in float32 under autocast, as that of `Head` does.
    """

    def __init__(
        self, nodes: Sequence[Node], *, entry: int, kept: Sequence[int], exact: bool = False
    ) -> None:
        super().__init__()
        numbered = list(enumerate(nodes, start=entry + 1))
        self.entry, self.kept = entry, tuple(kept)
        self.inputs = {index: node.inputs for index, node in numbered}
        self.layers = nn.ModuleDict({str(i): OPERATORS[node.op](node) for i, node in numbered})
        weighted = [index for index, node in numbered if node.shapes]
        self.exact = weighted[-1] if exact and weighted else None
        self.freed: dict[int, list[int]] = {index: [] for index, _ in numbered}
        for source, last in last_uses(nodes):
            if source not in self.kept:
                self.freed[last + entry + 1].append(source)

    def forward(self, images: Tensor) -> list[Tensor]:
        values = {self.entry: images}
        for index, (name, layer) in enumerate(self.layers.items(), start=self.entry + 1):
            inputs = [values[source] for source in self.inputs[index]]
            values[index] = in_float32(layer, *inputs) if index == self.exact else layer(*inputs)
            for source in self.freed[int(name)]:
                del values[source]
        return [values[index] for index in self.kept]


class GraphBackbone(nn.Module):
    """The part of a graph that makes features, as the last of its maps."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.name = graph.name
        self.mean, self.std = graph.mean, graph.std
        nodes = graph.nodes[: graph.features + 1]
        self.body = Part(nodes, entry=IMAGE, kept=(*graph.levels, graph.features))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps that end a stage, finest first, then the features."""
        maps: list[Tensor] = self.body(images)
        return maps

    def checkpoint_stages(self) -> None:
        """Raises InputError: its stages are not apart from each other."""
        raise InputError(
            f"train.grad_checkpointing: there is none for {self.name}, a network that was read "
            "from ONNX, got true; set it to false"
        )


class GraphHead(nn.Module):
    """The part of a graph that makes logits of features."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        nodes, last = graph.nodes[graph.features + 1 :], len(graph.nodes) - 1
        self.body = Part(nodes, entry=graph.features, kept=(last,), exact=True)

    def forward(self, features: Tensor) -> Tensor:
        (logits,) = self.body(features)
        return logits


class GraphNet(Network):
    """The network of a graph, with a threshold branch of ours, which is new."""

    def __init__(self, graph: Graph, width: int) -> None:
        super().__init__()
        self.graph = graph
        self.backbone = GraphBackbone(graph)
        self.probability = GraphHead(graph)
        self.threshold = Head(width)
        self.mean, self.std = graph.mean, graph.std

    def features(self, images: Tensor) -> Tensor:
        maps: list[Tensor] = self.backbone(images)
        return maps[-1]

    def metadata(self) -> dict[str, str]:
        return {KEY: self.graph.model_dump_json()}

    def of_nodes(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by node and name, as they were read, under the names that they have here."""
        found = {}
        for key, tensor in weights.items():
            part = (
                "backbone" if int(key.partition(".")[0]) <= self.graph.features else "probability"
            )
            found[f"{part}.body.layers.{key}"] = tensor
        return found


def build_graph(graph: Graph, place: str) -> GraphNet:
    """The network of a graph, with weights that are yet to be loaded.

    Raises InputError, said to be at `place`, for a graph that makes no map of logits.
    """
    shapes = shapes_of(graph.nodes, place)
    if shapes[-1] != (_PROBE[0], 1, *_PROBE[2:]):
        raise InputError(
            f"{place}: must give one map of the size of the image, got {shapes[-1]} for an image "
            f"of {_PROBE}"
        )
    features = shapes[graph.features]
    if stride_of(features) != 4 or features[1] < 4:
        raise InputError(
            f"{place}: the head must begin with 4 channels or more at a quarter of the side, got "
            f"{features} for an image of {_PROBE}"
        )
    return GraphNet(graph, features[1])


def shapes_of(nodes: Sequence[Node], place: str) -> list[tuple[int, ...]]:
    """The shape of what each node makes of a small image; nothing is computed.

    Raises InputError naming the node that cannot work.
    """
    unknown = sorted({node.op for node in nodes} - OPERATORS.keys())
    if unknown:
        raise InputError(f"{place}: has operations that are not known: {', '.join(unknown)}")
    found: list[tuple[int, ...]] = []
    with torch.device("meta"), torch.no_grad():
        values = {IMAGE: torch.empty(_PROBE)}
        for index, node in enumerate(nodes):
            try:
                layer = OPERATORS[node.op](node).eval()
                values[index] = layer(*(values[source] for source in node.inputs))
            except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise InputError(
                    f"{place}: operation {index} ({node.op}) cannot work on an image of "
                    f"{_PROBE}: {reason}"
                ) from None
            found.append(tuple(values[index].shape))
    return found


def stride_of(shape: Sequence[int]) -> int | None:
    """The pixels of the image on a side of one of a map's; None for what is no map."""
    height, width = _PROBE[2:]
    strides = (1, 2, 4, 8, 16, 32)
    return next((s for s in strides if tuple(shape[2:]) == (height // s, width // s)), None)
