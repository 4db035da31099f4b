from __future__ import annotations

import pytest

from detector.config.settings import PostprocessConfig
from detector.postprocess.edges import beyond, edges, finer, further, told
from detector.postprocess.sweep import around

BASE = PostprocessConfig()
TRIED = {"thresh": (0.1, 0.2), "box_thresh": (0.2, 0.4), "shape": ("quad", "polygon")}
OWN = frozenset(TRIED)


def values(settings, key: str) -> set:
    return {getattr(setting, key) for setting in settings}


@pytest.mark.parametrize(
    ("at", "more"),
    [
        (0.15, ()),  # between the ends
        (0.1, (0.05,)),
        (0.05, (0.05,)),  # the end of the ladder: still tried, nothing beyond
        (0.2, (0.3,)),
        (0.3, (0.3, 0.4)),
        (0.35, (0.3, 0.4)),
        (0.9, (0.3, 0.4, 0.5, 0.6, 0.7)),
    ],
)
def test_steps_beyond_an_end_by_hand(at: float, more: tuple[float, ...]):
    assert beyond("thresh", (0.2, 0.1), at) == more


def test_further_settings_have_the_shape_and_growth_of_the_best():
    found = {"thresh": 0.1, "box_thresh": 0.4, "shape": "polygon"}
    more = further(BASE, TRIED, found, OWN)
    assert values(more, "shape") == {"polygon"}
    pairs = {(s.thresh, s.box_thresh) for s in more}
    assert pairs == {(0.05, 0.2), (0.05, 0.4), (0.05, 0.45), (0.1, 0.45), (0.2, 0.45)}
    assert not {*map(repr, more)} & {*map(repr, around(BASE, TRIED))}


def test_nothing_further_between_the_ends_or_where_values_were_given():
    assert further(BASE, TRIED | {"thresh": (0.1, 0.2, 0.3)}, {"thresh": 0.2}, {"thresh"}) == ()
    assert further(BASE, TRIED, {"thresh": 0.1, "box_thresh": 0.3}, {"box_thresh"}) == ()


def test_what_a_sweep_leaves_out_between_the_ends_is_nothing_further():
    """Polygons grown by a ratio are not tried where both growths and shapes are."""
    tried = {"thresh": (0.1, 0.2, 0.3), "unclip": ("ratio", "exact"), "shape": ("quad", "polygon")}
    found = {"thresh": 0.2, "unclip": "ratio", "shape": "polygon"}
    assert further(BASE, tried, found, frozenset(tried)) == ()
    assert further(BASE, tried, found | {"thresh": 0.1}, ()) == ()
    more = further(BASE, tried, found | {"thresh": 0.1}, frozenset(tried))
    assert [(s.thresh, s.shape, s.unclip) for s in more] == [(0.05, "polygon", "ratio")]


def test_a_ratio_that_exact_growth_does_not_use_is_at_no_end():
    tried = {"unclip": ("ratio", "exact"), "unclip_ratio": (1.6, 2.0)}
    own = frozenset(tried)
    assert further(BASE, tried, {"unclip": "exact", "unclip_ratio": 1.6}, own) == ()
    more = further(BASE, tried, {"unclip": "ratio", "unclip_ratio": 1.6}, own)
    assert [(s.unclip, s.unclip_ratio) for s in more] == [("ratio", 1.4)]
    settings = around(BASE, tried)
    exact = next(s for s in settings if s.unclip == "exact")
    assert edges(settings, exact) == {}
    assert edges(settings, BASE) == {"unclip_ratio": 1.6}


def test_an_end_is_one_of_several_values_of_the_same_shape():
    settings = [PostprocessConfig(thresh=t, shape="polygon") for t in (0.2, 0.3)]
    settings += [PostprocessConfig(thresh=0.1), PostprocessConfig(thresh=0.4)]
    assert edges(settings, settings[0]) == {"thresh": 0.2}
    assert told(edges(settings, settings[1])) == "thresh=0.3"
    assert edges(settings, settings[2]) == {"thresh": 0.1}
    assert edges(settings[:1], settings[0]) == {}


def test_finer_settings_lie_halfway_to_the_neighbours():
    settings = around(BASE, {"thresh": (0.1, 0.2, 0.4), "box_thresh": (0.5,)})
    chosen = next(s for s in settings if s.thresh == 0.2)
    fine = finer(settings, chosen, {"thresh", "box_thresh"})
    assert values(fine, "thresh") == {0.15, 0.2, 0.25}  # 0.3 is the stored one's
    assert values(fine, "box_thresh") == {0.5}
    assert values(finer(settings, chosen, {"box_thresh"}), "thresh") == {0.2}
