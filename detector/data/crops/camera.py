"""What light, lens, sensor and file do to a crop: no point moves, so labels stay.

Crops are (H, W, 3) uint8 RGB, and so is what comes of them; a crop given is not changed.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

EFFECTS = ("shadow", "blur", "noise", "gamma", "jpeg")  # as `photographed` takes them, in order
# Between these, all uniform.
_SHADE = (0.35, 0.85)  # light left in a shadow
_EDGE = (0.02, 0.3)  # width of its soft edge, a share of the crop's diagonal
_COVER = (0.2, 0.6)  # where the middle of that edge lies, a share of the way across the crop
_DEFOCUS = (0.5, 2.0)  # standard deviation in px: at 2 print of 10 px is a grey line
_SHAKE = (3.0, 9.0)  # length of a motion in px
_NOISE = (2.0, 12.0)  # standard deviation in levels of 255: of daylight, and of a dim room
_QUALITY = (30, 90)  # of JPEG; whole numbers


def photographed(
    image: Image,
    rng: np.random.Generator,
    *,
    shadow: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
    gamma: float = 0.0,
    jpeg: float = 0.0,
) -> Image:
    """The crop as a camera might have taken it; the crop itself where nothing happens.

    shadow, blur, noise, jpeg: probabilities. gamma: the exponent is uniform in 1 +- this.
    Each has a generator of its own, spawned of `rng`, so that one more does not change the others.
    """
    if not (shadow or blur or noise or gamma or jpeg):
        return image
    light, lens, sensor, tone, file = rng.spawn(len(EFFECTS))
    if light.random() < shadow:
        angle = light.uniform(0, 2 * math.pi)
        bounds = (light.uniform(*between) for between in (_COVER, _EDGE, _SHADE))
        image = shade(image, angle, *bounds)
    if lens.random() < blur:
        if lens.random() < 0.5:
            image = defocus(image, lens.uniform(*_DEFOCUS))
        else:
            image = shake(image, lens.uniform(*_SHAKE), lens.uniform(0, math.pi))
    if sensor.random() < noise:
        image = add_noise(image, sensor.uniform(*_NOISE), sensor)
    if gamma:
        image = bend_tones(image, tone.uniform(1 - gamma, 1 + gamma))
    if file.random() < jpeg:
        image = compress(image, int(file.integers(*_QUALITY, endpoint=True)))
    return image


def shade(image: Image, angle: float, cover: float, edge: float, light: float) -> Image:
    """`light`, a share, of the brightness on one side of a line, all of it on the other.

    angle: of the way across the edge, from shade to light, in radians. cover: where its middle
    lies, 0 at the first corner that the way meets, 1 at the last. edge: width of the soft edge, a
    share of the diagonal; brightness rises along it without a kink.
    """
    height, width = image.shape[:2]
    across = [math.cos(angle) * np.arange(width), math.sin(angle) * np.arange(height)]
    first, last = (sum(float(pick(part)) for part in across) for pick in (np.min, np.max))
    soft = max(edge * math.hypot(width, height), 1.0)
    start = first + cover * (last - first) - soft / 2
    columns, rows = ((part / soft).astype(np.float32) for part in across)
    way = np.add.outer(rows, columns - np.float32(start / soft)).clip(0, 1)
    lit = np.float32(light) + np.float32(1 - light) * way * way * (3 - 2 * way)
    return cv2.multiply(image, cv2.merge([lit] * 3), dtype=cv2.CV_8U)  # type: ignore[return-value]


def defocus(image: Image, sigma_px: float) -> Image:
    """Blurred by a Gaussian."""
    return cv2.GaussianBlur(image, (0, 0), sigma_px)  # type: ignore[return-value]


def shake(image: Image, length_px: float, angle: float) -> Image:
    """The mean along a straight motion, `angle` in radians."""
    return cv2.filter2D(image, -1, motion(length_px, angle))  # type: ignore[return-value]


def motion(length_px: float, angle: float) -> NDArray[np.float32]:
    """The odd square kernel of a motion, sum 1: how long it stays over each pixel."""
    reach = math.ceil(length_px / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float64)
    along = (np.arange(16 * reach + 1) / (16 * reach) - 0.5) * length_px
    x, y = reach + along * math.cos(angle), reach + along * math.sin(angle)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for right in (0, 1):
        for down in (0, 1):
            share = np.abs(1 - right - (x - column)) * np.abs(1 - down - (y - row))
            at = np.minimum(row + down, 2 * reach), np.minimum(column + right, 2 * reach)
            np.add.at(kernel, at, share)
    return (kernel / kernel.sum()).astype(np.float32)


def add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of `sigma` levels, the same in all channels: a grey page stays grey.

    Cameras take most of the colour out of their noise.
    """
    height, width = image.shape[:2]
    # A look into a table takes a third of the time of numpy's normal numbers.
    draw = np.frombuffer(rng.bytes(2 * height * width), np.uint16).reshape(height, width)
    noise = (np.float32(sigma) * _normal_quantiles())[draw]
    return cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)  # type: ignore[return-value]


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    """(65536,) values, each as likely as the others, of a normal distribution."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse((i + 0.5) / 2**16) for i in range(2**16)], np.float32)


def bend_tones(image: Image, exponent: float) -> Image:
    """255 (v / 255) ^ exponent of each value: black and white stay."""
    tones = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return cv2.LUT(image, tones)  # type: ignore[return-value]


def compress(image: Image, quality: int) -> Image:
    """What a JPEG file of this quality, 1 to 100, keeps."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(file, cv2.IMREAD_COLOR)
    return cv2.cvtColor(read, cv2.COLOR_BGR2RGB)  # type: ignore[arg-type, return-value]
