"""Where a trained model and the labels disagree: words to look at once more."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from detector.core.geometry import Points, offset_polygon, perimeter, polygon_area
from detector.data.labels.exclusion import Suspicion
from detector.data.labels.pages import Page
from detector.inference.detector import Detector
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import Detections
from detector.review.cleaning import valid_shapes, values_inside
from detector.review.look import Judge

#: A word's region with a lower mean probability is one the model does not see. Half of the
#: lowest threshold anybody gives the map, 0.3: below that no pixel of it becomes a detection.
UNSEEN = 0.15

#: A detection with less of its area on words has no word of its own.
COVERED = 0.2

_SHRINK_RATIO = 0.4  # DB's (Liao et al. 2020, eq. 10), which the map is trained with


def disagreement(page: Page, page_map: PageMap) -> list[Suspicion]:
    """Words whose shrunk region has a mean probability under `UNSEEN`, lowest first.

    Don't-care words are left out.
    """
    found = []
    for word in page.words:
        if word.ignore:
            continue
        values = values_inside(page_map.probability, _shrunk(page_map.to_map(word.points)))
        mean = float(values.mean()) if values.size else 0.0
        if mean < UNSEEN:
            score = round(1 - 0.5 * mean / UNSEEN, 3)
            reason = f"mean probability {mean:.3f} inside"
            found.append(Suspicion(page.name, word.id, "model-disagrees", score, reason))
    return sorted(found, key=lambda s: -s.score)


def unlabelled(page: Page, detections: Detections) -> list[Suspicion]:
    """Detections that lie on words, don't-care or not, with under `COVERED` of their area.

    They are called new-1, new-2 and so on, in the order of `detections`; score is the
    detection's, 0.5 at least.
    """
    words = shapely.union_all(valid_shapes(word.points for word in page.words))
    found: list[Suspicion] = []
    outlines = valid_shapes(detections.polygons)
    for i, (outline, score) in enumerate(zip(outlines, detections.scores.tolist(), strict=True)):
        if outline.intersection(words).area < COVERED * outline.area:
            corners = detections.polygons[i].round(1).tolist()
            points = tuple((x, y) for x, y in corners)
            name, reason = f"new-{len(found) + 1}", f"detected with {score:.2f}, not annotated"
            kept = round(max(score, 0.5), 3)
            found.append(Suspicion(page.name, name, "model-disagrees", kept, reason, points))
    return found


def judge_of(detector: Detector) -> Judge:
    """`judge(page, image)`: both kinds of doubts; `image` is the page's, `(H, W, 3)` uint8 RGB."""

    def judge(page: Page, image: NDArray[np.uint8]) -> list[Suspicion]:
        page_map = detector.map_of(image)
        return disagreement(page, page_map) + unlabelled(page, detector.locate(page_map))

    return judge


def _shrunk(points: Points) -> Points:
    """The core that the map marks; the outline itself when nothing is left of it."""
    distance = polygon_area(points) * (1 - _SHRINK_RATIO**2) / max(perimeter(points), 1e-9)
    pieces = offset_polygon(points, -distance)
    return pieces[0] if pieces else points
