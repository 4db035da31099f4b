"""A photographed receipt laid flat: its perspective undone, and its bends if wanted.

The receipt is found as one bright sheet (`detector.data.page.background`) and a quadrilateral
fitted to it. That becomes an upright rectangle of about the same area, so the print keeps its
size. A page on which this is not certain, or would change hardly anything, stays as it is.

The flat image shows the sheet and what lies around it, up to a quarter of the sheet's sides and
as far as the page goes: words just beside the sheet, or on a part of it that was not found,
remain. Words further away end up outside the flat image, as does a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.core.errors import InputError
from detector.data.page.background import find_outline
from detector.data.page.sheet import find_quadrilateral, is_convex, outline_bends, side_lengths
from detector.data.page.spline import MAX_SLOPE, Bend, fit_bend, resample
from detector.data.page.warp import warp

Method = Literal["perspective", "spline"]
Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

_SIDE_PX = 512  # longest side of the copy on which the sheet is sought, as for its background
_LEAST_PX = 64  # shorter side of that copy at least; on fewer pixels no side can be fitted
_AROUND = 0.25  # of the sheet's sides, what is shown beside it at most ...
_MARGIN = 0.02  # ... and at least, as the outline is a little uncertain
_SLIGHT = 0.01  # of the longer side: smaller changes cost sharpness and gain nothing
_CUT = 0.005  # of the longer side; outline this near to the page's edge is where the picture ends
_DEEPEST_BEND = 0.1  # of the shorter side; what bulges or gapes more is no bend
_LEAST_DEPTH = 0.1  # of the smallest at the sheet's corners: where the horizon begins
_FAR_PX = 2.0**20  # points further away are taken to be there, so that all stays finite
_FEWEST = 12  # points of the outline; with fewer the spline would be a guess
_RECTANGLE = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
_LARGEST_PX = 32766  # the side of images in cv2
_SHAPE = (
    "{method: perspective | spline, source: [[x, y], ...], flat: [[x, y], ...], "
    "size: [width, height]} as to_dict gives it"
)


@dataclass(frozen=True, eq=False)
class Flattening:
    """The map between a page and its flat image, by pairs of points that lie on each other.

    Points are (K, 2) xy, pixel centres at whole numbers; they may lie outside the images. Each
    is mapped as if it were alone, to the last bit.

    Attributes:
        method: "perspective" is the homography of the first four pairs. "spline" bends the flat
            image before it, by the thin-plate spline through the other pairs
            (`detector.data.page.spline`), which is constant beyond the sheet.
        source: (N, 2) float64 on the page: the sheet's corners, clockwise from the top left,
            then points of its outline.
        flat: (N, 2) float64, the same points in the flat image.
        size: (width, height) of the flat image.
    """

    method: Method
    source: Floats
    flat: Floats
    size: tuple[int, int]

    def to_source(self, points: ArrayLike) -> NDArray[np.float32]:
        """Points of the flat image on the page, (K, 2) float32."""
        p = _near(points)
        if self._bend is not None:
            p = self._bend(p)
        return _project(p, self._matrix, self.flat[:4]).astype(np.float32)

    def to_flat(self, points: ArrayLike) -> NDArray[np.float32]:
        """Points of the page in the flat image, (K, 2) float32; the inverse of `to_source`.

        To 0.1 px on the sheet. Points beyond the horizon of the sheet's plane lie far away.
        """
        p = _project(_near(points), self._inverse, self.source[:4])
        if self._bend is not None:
            p = self._bend.inverse(p)
        return p.astype(np.float32)

    def __call__(self, image: Image, fill: tuple[int, int, int]) -> Image:
        """The flat image of a page, (H, W, 3) uint8 to (height, width, 3) of `size`.

        Resampled once and antialiased; `fill` is what lies outside the page.
        """
        if self._bend is None:
            return warp(image, self._inverse, self.size, fill)
        return resample(image, self.to_source, self.size, fill)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "method": self.method,
            "source": self.source.tolist(),
            "flat": self.flat.tolist(),
            "size": list(self.size),
        }

    @classmethod
    def from_dict(cls, values: object) -> Flattening:
        """What `to_dict` gave; InputError for anything else."""
        try:
            return _checked(values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"flattening: must be {_SHAPE}, got {error}; write the file again"
            ) from None

    @cached_property
    def _matrix(self) -> Floats:
        """The homography from the flat image to the page."""
        return _homography(self.flat[:4], self.source[:4])

    @cached_property
    def _inverse(self) -> Floats:
        return np.asarray(np.linalg.inv(self._matrix), np.float64)

    @cached_property
    def _bend(self) -> Bend | None:
        if self.method == "perspective":
            return None
        bent = _project(self.source[4:], self._inverse, self.source[:4])
        sheet = self.flat[:4]
        box = np.stack([sheet.min(axis=0), sheet.max(axis=0)])
        return fit_bend(self.flat[4:], bent - self.flat[4:], box)


def find_flattening(image: Image, method: Method) -> Flattening | None:
    """How the receipt on a page, (H, W, 3) uint8 RGB, is laid flat.

    None when no sheet is found with certainty, when it is no plausible view of a rectangle, and
    when it already lies flat and upright. A sheet whose bends are no plausible ones gets the
    method "perspective".
    """
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    size = round(width * scale), round(height * scale)
    if min(size) < _LEAST_PX:
        return None
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    outline = find_outline(small)
    corners = None if outline is None else find_quadrilateral(outline, size)
    if outline is None or corners is None:
        return None
    to_page = np.array([width, height]) / size
    on_page = (outline + 0.5) * to_page - 0.5
    return _lay(on_page, (corners + 0.5) * to_page - 0.5, (width, height), method)


def _lay(
    outline: Floats, corners: Floats, page: tuple[int, int], method: Method
) -> Flattening | None:
    """The flattening of a sheet with that outline and those corners on a (width, height) page."""
    lengths = side_lengths(corners)
    shape = (lengths[:2] + lengths[2:]) / 2
    flat = bent = _RECTANGLE * shape
    matrix = _homography(flat, corners)
    inverse = np.asarray(np.linalg.inv(matrix), np.float64)
    seen = _project(outline, inverse, corners)
    if method == "spline":
        # What runs along the edge of the page says nothing about the paper.
        reach = _CUT * max(page)
        inside = ((outline > reach) & (outline < np.array(page) - 1 - reach)).all(axis=1)
        places, moves = outline_bends(seen[inside], shape)
        if not _is_gentle(places, moves, shape):
            return _lay(outline, corners, page, "perspective")
        flat, bent = np.concatenate([flat, places]), np.concatenate([bent, places + moves])
    source = _project(bent, matrix, _RECTANGLE * shape)
    shift = flat - source
    if np.abs(shift - shift.mean(axis=0)).max() < _SLIGHT * shape.max():
        return None
    edge = _project(_RECTANGLE * page - 0.5, inverse, corners)
    low, size = _window(seen, edge, shape)
    if max(size) > _LARGEST_PX:
        return None
    return Flattening(method, source, flat - low, size)


def _is_gentle(places: Floats, moves: Floats, shape: Floats) -> bool:
    """Whether displacements on the sides of a (width, height) `shape` are those of bent paper."""
    if len(places) < _FEWEST or np.abs(moves).max() > _DEEPEST_BEND * shape.min():
        return False
    box = np.array([(0, 0), shape])
    return fit_bend(places, moves, box).slope() <= MAX_SLOPE


def _window(outline: Floats, edge: Floats, shape: Floats) -> tuple[Floats, tuple[int, int]]:
    """What is shown: its top-left point and (width, height).

    `outline` of the sheet and corners of the page, `edge`, as the sheet of that `shape` lies flat.
    """
    low, high = outline.min(axis=0), outline.max(axis=0)
    margin = _MARGIN * shape.max()
    first = np.minimum(low - margin, np.maximum(edge.min(axis=0), low - _AROUND * shape))
    last = np.maximum(high + margin, np.minimum(edge.max(axis=0), high + _AROUND * shape))
    width, height = np.ceil(last - first) + 1
    return first, (int(width), int(height))


def _homography(points: Floats, images: Floats) -> Floats:
    """The (3, 3) matrix that takes four points to `images`; its depth is 1 amid the points."""
    matrix = cv2.getPerspectiveTransform(points.astype(np.float32), images.astype(np.float32))
    return np.asarray(matrix, np.float64) / (matrix[2] @ [*points.mean(axis=0), 1.0])


def _project(points: Floats, matrix: Floats, corners: Floats) -> Floats:
    """(K, 2) points through a homography; from near its horizon on they stay finite.

    `corners` lie safely before the horizon, and all that is as far from it.
    """
    depths = corners @ matrix[2, :2] + matrix[2, 2]
    x, y = points[:, 0], points[:, 1]
    # Not a matrix product: its last bits would depend on how many points there are.
    depth = np.maximum(
        x * matrix[2, 0] + y * matrix[2, 1] + matrix[2, 2], _LEAST_DEPTH * depths.min()
    )
    out = np.empty((len(points), 2))
    out[:, 0] = (x * matrix[0, 0] + y * matrix[0, 1] + matrix[0, 2]) / depth
    out[:, 1] = (x * matrix[1, 0] + y * matrix[1, 1] + matrix[1, 2]) / depth
    return out


def _near(points: ArrayLike) -> Floats:
    return np.clip(np.asarray(points, np.float64).reshape(-1, 2), -_FAR_PX, _FAR_PX)


def _checked(values: object) -> Flattening:
    """What `Flattening.to_dict` gave; ValueError, KeyError or TypeError for anything else."""
    if not isinstance(values, dict) or set(values) != {"method", "source", "flat", "size"}:
        raise ValueError(f"{values!r:.200}")
    method, size = values["method"], values["size"]
    if method not in get_args(Method):
        raise ValueError(f"method {method!r}")
    sides = [n for n in size if type(n) is int and 1 <= n <= _LARGEST_PX]
    if len(sides) != 2 or len(size) != 2:
        raise ValueError(f"size {size!r}")
    source, flat = (np.array(values[key], np.float64) for key in ("source", "flat"))
    fitting = len(source) == 4 if method == "perspective" else len(source) >= 4 + _FEWEST
    if source.shape != flat.shape or source.shape[1:] != (2,) or not fitting:
        raise ValueError(f"source and flat of the shapes {source.shape} and {flat.shape}")
    if not (np.abs([source, flat]) <= _FAR_PX).all():
        raise ValueError("coordinates that are not finite or over a million")
    for corners in (source[:4], flat[:4]):
        if not is_convex(corners):
            raise ValueError(f"corners that are not convex and clockwise, {corners.tolist()}")
    made = Flattening(method, source, flat, (sides[0], sides[1]))
    if not np.isfinite(made.to_source(made.flat)).all():
        raise ValueError("points without a map between them")
    return made
