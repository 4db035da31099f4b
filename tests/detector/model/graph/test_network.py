"""A graph as a network: that all of it learns, and what is refused of a damaged one."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from onnx_graphs import WIDTH, detector_file, node, weights

from detector.core.errors import InputError
from detector.model.cost import measure
from detector.model.graph.network import GraphNet, build_graph
from detector.model.graph.nodes import read_graph
from detector.training.optimizer import stages

pytest.importorskip("onnx", reason="needs the extra onnx")


@pytest.fixture
def network(tmp_path, read) -> GraphNet:
    """Of a weight a channel and a number too."""
    nodes = [node("Mul", ["x", "a"], "m"), node("Add", ["m", "b"], "n"), node("Mul", "nh", "y")]
    nodes[-1].input[1] = "half"
    constants = {
        "a": weights(8, 1, WIDTH, 1, 1),
        "b": weights(9, 1, WIDTH, 1, 1),
        "half": np.float32(0.5),
    }
    return read(detector_file(tmp_path / "d.onnx", nodes, constants, output="y"))


def test_every_weight_has_a_gradient_and_numbers_stay(network):
    maps = network.train()(torch.randn(2, 3, 64, 96))
    assert maps.threshold.shape == maps.probability.shape == (2, 1, 64, 96)
    (maps.probability.square().sum() + maps.threshold.square().sum()).backward()
    named = dict(network.named_parameters())
    assert [name for name, p in named.items() if p.grad is None or not p.grad.any()] == []
    assert named["backbone.body.layers.2.weight"].shape == (WIDTH, 4, 3, 3)
    # `a` and `b`, a number a channel each.
    vectors = {k: tuple(p.shape) for k, p in named.items() if k.startswith("probability")}
    assert vectors["probability.body.layers.3.weight"] == (WIDTH,)
    assert network.graph.nodes[5].settings["number"] == 0.5


def test_the_threshold_is_of_a_training_alone(network):
    assert network(torch.zeros(1, 3, 32, 32)).threshold is None
    with pytest.raises(ValueError, match="multiples of 32, got 40 x 32"):
        network(torch.zeros(1, 3, 40, 32))


def test_the_last_layer_works_in_float32_under_autocast(network):
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.randn(1, 3, 32, 32)).probability.dtype is torch.float32


def test_it_is_built_again_of_what_it_says_of_itself(network):
    graph = read_graph(network.metadata()["graph"], "kept")
    assert graph == network.graph
    again = build_graph(graph, "kept").eval()
    again.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, 32, 64)
    assert torch.equal(again(images).probability, network(images).probability)
    assert torch.equal(copy.deepcopy(again)(images).probability, again(images).probability)


def test_a_stage_holds_what_a_map_needs_and_no_finer_one_does(tmp_path, read):
    nodes = [
        node("Conv", ["x", "k"], "c", strides=[2, 2]),
        node("Resize", ["c", "", "scales"], "large", mode="nearest"),
        node("Concat", ["x", "large"], "y", axis=1),
    ]
    constants = {"k": weights(8, WIDTH, WIDTH, 2, 2), "scales": np.array([1, 1, 2, 2], np.float32)}
    path = detector_file(tmp_path / "d.onnx", nodes, constants, output="y", channels=2 * WIDTH)
    found = stages(read(path).backbone)
    assert [[p.shape[0] for p in stage] for stage in found] == [[4, WIDTH], [WIDTH]]


def test_it_has_a_cost_and_no_gradient_checkpointing(network):
    cost = measure(lambda: build_graph(network.graph, "kept"), 64)
    assert (cost.backbone, cost.parameters) == ("d", sum(p.numel() for p in network.parameters()))
    # 32 x 32 of 3 to 4 channels and 16 x 16 of 4 to 8, by 3 x 3.
    assert cost.backbone_macs == 32 * 32 * 4 * 3 * 9 + 16 * 16 * 8 * 4 * 9
    with pytest.raises(InputError, match=r"train\.grad_checkpointing: there is none for d, a net"):
        network.backbone.checkpoint_stages()


def _changed(text: str, key: str, value: object, node: int | None = None) -> str:
    content = json.loads(text)
    (content if node is None else content["nodes"][node])[key] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("key", "value", "node", "told"),
    [
        ("op", "shell", 1, r"kept: has operations that are not known: shell"),
        ("settings", {"evil": 1}, 1, r"kept: operation 1 \(relu\) cannot work on an image of"),
        ("inputs", [5], 1, r"kept: its graph: node 1 reads what is not computed before it"),
        ("inputs", [], 1, r"kept: its graph: nodes\.1\.inputs: "),
        ("shapes", {"weight": [4, 3, 0, 3]}, 0, r"kept: its graph: nodes\.0\.shapes\.weight\.2: "),
        ("shapes", {"weight": [2**16, 3, 128, 128]}, 0, "have 1073741824 weights at most, got"),
        ("features", 9, None, "features must be a node before the last, got 9"),
        ("features", 0, None, "the head must begin with 4 channels or more at a quarter"),
        ("levels", [7], None, "levels must be nodes before features"),
        ("version", 2, None, "version: input should be 1, got 2"),
        ("name", None, None, "name: input should be a valid string"),
    ],
)
def test_a_damaged_graph_is_refused(network, key, value, node, told):
    text = _changed(network.metadata()["graph"], key, value, node)
    with pytest.raises(InputError, match=told):
        build_graph(read_graph(text, "kept"), "kept")


def test_a_text_that_is_no_graph_is_refused():
    with pytest.raises(InputError, match=r"^kept: its graph"):
        read_graph("{", "kept")
    with pytest.raises(InputError, match=r"^kept: its graph: name: field required"):
        read_graph("{}", "kept")
