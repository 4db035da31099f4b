from __future__ import annotations

import pytest
import torch

from detector.model.head import Head


def test_logits_have_four_times_the_side():
    assert Head(32)(torch.randn(2, 32, 5, 7)).shape == (2, 1, 20, 28)


@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_starts_near_its_prior_everywhere(prior: float):
    torch.manual_seed(0)
    probability = torch.sigmoid(Head(96, prior=prior)(torch.randn(2, 96, 16, 16)))
    assert probability.mean().item() == pytest.approx(prior, rel=0.15)
    assert probability.std().item() < 0.05


def test_has_the_published_layers():
    # conv 3x3, two batch norms, deconv 2x2, deconv 2x2 to one map with a bias
    head = Head(64)
    expected = 64 * 16 * 9 + 2 * 16 + 16 * 16 * 4 + 2 * 16 + 16 * 4 + 1
    assert sum(p.numel() for p in head.parameters()) == expected
