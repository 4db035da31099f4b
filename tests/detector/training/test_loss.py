from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import detector.training.loss as module
from detector.training.loss import (
    DBLoss,
    balanced_bce,
    bisected,
    dice,
    hardest,
    masked_l1,
    partitioned,
)


class Maps(NamedTuple):
    probability: Tensor
    threshold: Tensor | None


def make_loss(**changes: float) -> DBLoss:
    values = {
        "negative_ratio": 3.0,
        "min_negatives": 2,
        "probability_weight": 5.0,
        "threshold_weight": 10.0,
        "binary_weight": 1.0,
        "step_k": 50.0,
    }
    return DBLoss(**(values | changes))  # type: ignore[arg-type]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def page(*values: float) -> Tensor:
    """One image of one row."""
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def random_batch(seed: int, count: int = 3, side: int = 9) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    shape = (count, 1, side, side)
    shrink = (torch.rand(shape, generator=g) < 0.15).float()
    shrink_mask = (torch.rand(shape, generator=g) < 0.8).float()
    threshold = 0.3 + 0.4 * torch.rand(shape, generator=g)
    threshold_mask = (torch.rand(shape, generator=g) < 0.3).float()
    return shrink, shrink_mask, threshold, threshold_mask


def plain_bce(logits: Tensor, target: Tensor, mask: Tensor, ratio: float, floor: int) -> float:
    """Balanced BCE again, with Python numbers and `sorted`."""
    total, count = 0.0, 0
    for image, truth, wanted in zip(logits, target, mask, strict=True):
        positive, negative = [], []
        for x, t, m in zip(image.flatten(), truth.flatten(), wanted.flatten(), strict=True):
            if m:
                p = 1 / (1 + math.exp(-float(x)))
                (positive if t else negative).append(-math.log(p if t else 1 - p))
        keep = min(len(negative), max(math.floor(ratio * len(positive)), floor))
        total += sum(positive) + sum(sorted(negative, reverse=True)[:keep])
        count += len(positive) + keep
    return total / max(count, 1)


@given(seed=st.integers(0, 999), ratio=st.floats(0.1, 6), floor=st.integers(0, 50))
@examples(30)
def test_balanced_bce_equals_the_formula_in_plain_loops(seed: int, ratio: float, floor: int):
    shrink, mask, _, _ = random_batch(seed)
    logits = 3 * torch.randn(shrink.shape, generator=torch.Generator().manual_seed(seed))
    ours = balanced_bce(logits, shrink, mask, negative_ratio=ratio, min_negatives=floor)
    assert ours.item() == pytest.approx(plain_bce(logits, shrink, mask, ratio, floor), rel=1e-4)


def test_balanced_bce_by_hand():
    # One positive at p = 0.8; negatives at 0.5, 0.4, 0.1; ratio 2 keeps the two hardest.
    logits = page(*map(logit, (0.8, 0.5, 0.4, 0.1)))
    loss = balanced_bce(
        logits, page(1, 0, 0, 0), torch.ones_like(logits), negative_ratio=2.0, min_negatives=0
    )
    assert loss.item() == pytest.approx(-(math.log(0.8) + math.log(0.5) + math.log(0.6)) / 3)


def test_the_floor_of_negatives_holds_for_each_image():
    # Image 0 has text, image 1 has none and keeps the floor of one negative, its hardest.
    logits = torch.cat([page(logit(0.5), logit(0.3)), page(logit(0.2), logit(0.9))])
    target = torch.cat([page(1, 0), page(0, 0)])
    loss = balanced_bce(
        logits, target, torch.ones_like(target), negative_ratio=1.0, min_negatives=1
    )
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.7) + math.log(0.1)) / 3)


def test_ignored_pixels_are_neither_positive_nor_negative():
    logits = page(logit(0.9), -90.0, 90.0, logit(0.2)).requires_grad_()
    target, mask = page(1, 1, 0, 0), page(1, 0, 0, 1)
    loss = balanced_bce(logits, target, mask, negative_ratio=3.0, min_negatives=9)
    assert loss.item() == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.flatten()[1:3].tolist() == [0.0, 0.0]


def test_hardest_shares_the_last_places_among_ties():
    losses = torch.tensor([[3.0, 1.0, 1.0, 1.0, 9.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    candidates = torch.tensor([[True] * 4 + [False], [True] * 5])
    weights = hardest(losses, candidates, torch.tensor([3, 0]))
    assert weights[0].tolist() == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3, 0])
    assert weights[1].tolist() == [0.0] * 5


@given(seed=st.integers(0, 999), data=st.data())
@examples(30)
def test_hardest_keeps_the_count_and_the_largest_sum(seed: int, data: st.DataObject):
    g = torch.Generator().manual_seed(seed)
    losses = torch.randint(0, 6, (2, 20), generator=g).float()  # few values, so many ties
    candidates = torch.rand((2, 20), generator=g) < 0.7
    keep = torch.tensor([data.draw(st.integers(0, int(row.sum()))) for row in candidates])
    weights = hardest(losses, candidates, keep)
    assert weights.sum(1).tolist() == pytest.approx(keep.tolist(), abs=1e-4)
    assert not weights[~candidates].any()
    for row, kept, k, w in zip(losses, candidates, keep, weights, strict=True):
        best = sorted(row[kept].tolist(), reverse=True)[: int(k)]
        assert (row * w).sum().item() == pytest.approx(sum(best), abs=1e-4)


LEAST = 1e-45  # the smallest float32 above 0


@pytest.mark.parametrize("kth", [partitioned, bisected])
@given(
    rows=st.lists(
        st.lists(
            st.sampled_from([-1.0, 0.0, LEAST, 0.25, 0.5, 100.0, math.inf])
            | st.floats(0, 2.0**100, width=32),
            min_size=9,
            max_size=9,
        ),
        min_size=1,
        max_size=4,
    ),
    data=st.data(),
)
@examples(100)
def test_the_kth_largest_is_that_of_a_sort(
    kth: Callable[[Tensor, Tensor], Tensor], rows: list[list[float]], data: st.DataObject
):
    ks = [data.draw(st.integers(0, sum(v >= 0 for v in row))) for row in rows]
    values = torch.tensor(rows, dtype=torch.float32)
    found = kth(values, torch.tensor(ks))
    assert found.shape == (len(rows),)
    for value, row, k in zip(found.tolist(), values.double().tolist(), ks, strict=True):
        assert k == 0 or value == sorted(row, reverse=True)[k - 1]


def sorted_bce(logits: Tensor, target: Tensor, mask: Tensor, ratio: float, floor: int) -> Tensor:
    """Balanced BCE with a sort of each image's negatives, added up in float64."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none").double()
    total, count = losses.new_zeros(()), 0
    for row, truth, wanted in zip(losses, target, mask, strict=True):
        positive, negative = row[(truth == 1) & (wanted == 1)], row[(truth == 0) & (wanted == 1)]
        keep = min(len(negative), max(math.floor(ratio * len(positive)), floor))
        total = total + positive.sum() + negative.sort(descending=True).values[:keep].sum()
        count += len(positive) + keep
    return total / max(count, 1)


@given(
    seed=st.integers(0, 999),
    text=st.sampled_from([0.0, 0.1, 1.0]),
    wanted=st.sampled_from([0.0, 0.5, 1.0]),
    levels=st.sampled_from([1, 5, 10**6]),
    floor=st.sampled_from([0, 40, 10**6]),
)
@examples(60)
@pytest.mark.parametrize("kth", [partitioned, bisected])
def test_balanced_bce_is_that_of_a_sort_in_float64(
    kth: Any, seed: int, text: float, wanted: float, levels: int, floor: int
):
    """No text, nothing wanted, nothing but ties, and more negatives asked for than there are."""
    g = torch.Generator().manual_seed(seed)
    shape = (3, 1, 24, 24)
    target = (torch.rand(shape, generator=g) < text).float()
    mask = (torch.rand(shape, generator=g) < wanted).float()
    logits = (6 * torch.randint(0, levels, shape, generator=g) / levels - 4).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "kth_largest", kth)  # the way of a CPU, and that of a GPU
        ours = balanced_bce(logits, target, mask, negative_ratio=3.0, min_negatives=floor)
    exact = logits.detach().requires_grad_()
    expected = sorted_bce(exact, target, mask, 3.0, floor)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
    ours.backward()
    (expected + 0 * exact.sum()).backward()  # the sum alone where nothing is selected
    mine, theirs = logits.grad, exact.grad
    assert mine is not None
    assert theirs is not None
    # Which of equal pixels a sort takes is chance; here each has its share of their sum.
    for image in range(len(logits)):
        for value in logits[image].unique()[:20]:
            same = (logits[image] == value) & (target[image] == 0) & (mask[image] == 1)
            shares, sought = mine[image][same], theirs[image][same]
            assert shares.double().sum().item() == pytest.approx(sought.sum().item(), abs=1e-7)
            assert len(shares.unique()) <= 1


def test_masked_l1_by_hand_and_empty():
    prediction, target = page(0.5, 0.9, 0.1), page(0.7, 0.3, 0.1)
    assert masked_l1(prediction, target, page(1, 0, 1)).item() == pytest.approx(0.1)
    assert masked_l1(prediction, target, page(0, 0, 0)).item() == 0.0


def test_dice_by_hand():
    # overlap 0.75, |B| = 1.25 without the ignored pixel, |G| = 1: 1 - 1.5 / 2.25
    loss = dice(page(0.75, 0.5, 1.0), page(1, 0, 1), page(1, 1, 0))
    assert loss.item() == pytest.approx(1 / 3)
    assert dice(page(1, 0), page(1, 0), page(1, 1)).item() == 0.0
    assert dice(page(0.4, 0.2), page(0, 0), page(1, 1)).item() == 0.0


def test_total_is_the_weighted_sum_of_the_parts_and_the_step_uses_k():
    batch = random_batch(4)
    g = torch.Generator().manual_seed(5)
    p, t = (torch.randn(batch[0].shape, generator=g) for _ in range(2))
    loss = make_loss(probability_weight=2, threshold_weight=3, binary_weight=7, step_k=11)
    parts = loss(Maps(p, t), *batch)
    expected = 2 * parts.probability + 3 * parts.threshold + 7 * parts.binary
    assert parts.total.item() == pytest.approx(expected.item(), rel=1e-6)

    shrink, mask = batch[0].double(), batch[1].double()
    border = 1 / (1 + torch.exp(-t.double()))
    step = 1 / (1 + torch.exp(-11 * (1 / (1 + torch.exp(-p.double())) - border)))
    overlap = (step * shrink * mask).sum()
    reference = 1 - 2 * overlap / ((step * mask).sum() + (shrink * mask).sum())
    assert parts.binary.item() == pytest.approx(reference.item(), rel=1e-5)
    l1 = ((border - batch[2]).abs() * batch[3]).sum() / batch[3].sum()
    assert parts.threshold.item() == pytest.approx(l1.item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [0.0, 1.0, 60000.0])
def test_extreme_half_precision_logits_give_finite_losses_and_gradients(
    dtype: torch.dtype, size: float
):
    batch = random_batch(1)
    g = torch.Generator().manual_seed(2)
    p, t = (
        (size * torch.randn(batch[0].shape, generator=g).clamp(-1, 1)).to(dtype).requires_grad_()
        for _ in range(2)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = make_loss()(Maps(p, t), *batch)
    assert parts.total.dtype == torch.float32
    assert all(math.isfinite(part.item()) for part in parts)
    parts.total.backward()
    assert p.grad is not None
    assert t.grad is not None
    assert p.grad.isfinite().all()
    assert t.grad.isfinite().all()


def test_a_page_without_text_pushes_probabilities_down():
    p, t = torch.zeros(1, 1, 4, 4, requires_grad=True), torch.zeros(1, 1, 4, 4, requires_grad=True)
    none, whole = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    parts = make_loss()(Maps(p, t), none, whole, none, none)
    assert parts.probability.item() == pytest.approx(math.log(2))
    assert parts.threshold.item() == 0.0
    assert parts.binary.item() == 0.0
    parts.total.backward()
    assert p.grad is not None
    assert (p.grad > 0).all()  # descending lowers every logit
    assert p.grad.sum().item() == pytest.approx(5 * 0.5)
    assert t.grad is not None
    assert not t.grad.any()


def test_an_ignored_page_gives_exactly_zero_and_no_gradient():
    p, t = (torch.full((1, 1, 4, 4), 30.0, requires_grad=True) for _ in range(2))
    none, whole = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    parts = make_loss()(Maps(p, t), whole, none, whole, none)
    assert [part.item() for part in parts] == [0.0] * 4
    parts.total.backward()
    assert p.grad is not None
    assert t.grad is not None
    assert not p.grad.any()
    assert not t.grad.any()


def test_a_broken_network_is_not_hidden():
    batch = random_batch(0)
    p = torch.zeros_like(batch[0])
    p[0, 0, 0, 0] = math.nan
    assert math.isnan(make_loss()(Maps(p, p), *batch).total.item())


def test_learns_the_map_it_is_given():
    batch = random_batch(7)
    p, t = (torch.zeros_like(batch[0], requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([p, t], lr=0.2)
    for _ in range(150):
        parts = make_loss()(Maps(p, t), *batch)
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
    wanted = batch[1] > 0
    assert ((p > 0) == (batch[0] > 0))[wanted].all()
    assert parts.total.item() < 0.2


def test_says_what_is_wrong_with_its_input():
    batch = random_batch(0)
    with pytest.raises(ValueError, match="put the model in training mode"):
        make_loss()(Maps(batch[0], None), *batch)
    with pytest.raises(ValueError, match=r"shape of the logits, \(3, 1, 9, 9\)"):
        make_loss()(Maps(batch[0], batch[0]), batch[0][0], *batch[1:])
