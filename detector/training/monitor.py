"""TensorBoard events of one training: curves and annotated pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from detector.core.draw import draw
from detector.data.labels.annotations import Page, read_image
from detector.data.page.preprocess import compose, resize_affine
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import Detections
from detector.postprocess.sweep_scores import SweepScores
from detector.training.event_files import wait_for_the_next_second, write_events
from detector.training.storage.best import BOX_THRESH

PICTURE_SIDE_PX = 800  # the longest side of each of the three parts
CAPTIONS = ("true", "predicted", "probability")
CAPTION_PX = 64  # TensorBoard shows a picture at a quarter of its size until it is clicked
JPEG_QUALITY = 85  # a picture per page and epoch: as PNG they would outgrow the checkpoints
CURVE = "sweep/hmean_by_box_thresh_percent"


class Monitor:
    """Writes scalars and pictures into `folder`, one step per epoch.

    `finished` epochs are kept when a training is resumed; later events of an interrupted
    attempt are hidden, so that no epoch shows twice.
    """

    def __init__(self, folder: Path, *, finished: int) -> None:
        wait_for_the_next_second(folder)
        self._writer = SummaryWriter(str(folder), purge_step=finished + 1)

    def scalars(self, values: dict[str, float], epoch: int) -> None:
        """One point per value; names like `loss/total` are grouped by their first part."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def page(self, page: Page, page_map: PageMap, found: Detections, epoch: int) -> None:
        """The page with true outlines, with predicted ones, and its probability map."""
        picture = page_picture(page, page_map, found)
        height, width = picture.shape[:2]
        ok, coded = cv2.imencode(
            ".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        assert ok, "cv2 could not code a picture as JPEG"
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=coded.tobytes()
        )
        value = Summary.Value(tag=f"pages/{page.name}", image=image)
        self._writer._get_file_writer().add_summary(Summary(value=[value]), epoch)

    def close(self) -> None:
        self._writer.close()


def curves(metrics: Mapping[str, float]) -> dict[str, float]:
    """The figures worth a curve, grouped by what they are: `cleval/hmean`, `loss/total`, ..."""
    groups = {
        "cleval": ("hmean", "precision", "recall", "hmean_pooled"),
        "sweep": ("tuned_hmean", "crossfit_hmean", "configured_hmean"),
        "iou": ("iou_hmean", "iou_precision", "iou_recall"),
        "train": ("lr", "seconds", "skipped", "waiting"),
    }
    found = {k: v for k, v in metrics.items() if k.startswith("loss/")}
    for group, names in groups.items():
        shown = {name: metrics[name] for name in names if name in metrics}
        found |= {f"{group}/{k.removeprefix('iou_')}": v for k, v in shown.items()}
    return found


def page_picture(page: Page, page_map: PageMap, found: Detections) -> NDArray[np.uint8]:
    """`(H, W, 3)` uint8 RGB: three parts side by side, each with its caption above.

    They are the page with its true words (don't-care ones grey), the same with the predicted ones
    on top, and the probability map in grey, where it lies on the page. A flattened page's map is
    shown flat.
    """
    image = read_image(page.path)
    words = [w.points for w in page.words if not w.ignore]
    ignored = [w.points for w in page.words if w.ignore]
    scale = PICTURE_SIDE_PX / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    pages = [
        draw(image, predicted=predicted, true=words, ignored=ignored)
        for predicted in ((), found.polygons)
    ]
    to_picture = resize_affine((image.shape[1], image.shape[0]), size)
    to_page = np.asarray(cv2.invertAffineTransform(page_map.affine), np.float64)
    grey = cv2.warpAffine(page_map.probability, compose(to_picture, to_page), size)
    parts = [cv2.resize(drawn, size, interpolation=cv2.INTER_AREA) for drawn in pages]
    parts.append(np.repeat((grey * 255).round().astype(np.uint8)[..., None], 3, axis=2))
    titled = [_titled(part, text) for part, text in zip(parts, CAPTIONS, strict=True)]
    return np.concatenate(titled, axis=1)


def _titled(part: NDArray[Any], text: str) -> NDArray[np.uint8]:
    bar = np.full((CAPTION_PX, part.shape[1], 3), 255, np.uint8)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.5, 3)
    size = min(1.5, 1.5 * part.shape[1] / (width + 24))  # a receipt may be narrow
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(bar, text, (12, 46), font, size, (0, 0, 0), 3, cv2.LINE_AA)
    return np.concatenate([bar, part], axis=0)


def box_thresh_curve(swept: SweepScores | None, epoch: int) -> dict[str, Any]:
    """How the scores of an epoch depend on box_thresh, the other settings being the best.

    It holds the `epoch`, and as lists of equal length `box_thresh`, in rising order, with `hmean`,
    `precision` and `recall` as `evaluate` gives them. Empty without a sweep.
    """
    if swept is None:
        return {}
    indices = swept.along("box_thresh", around=swept.best())
    scores = [swept.scores(i) for i in indices]
    return {
        "epoch": epoch,
        "box_thresh": [swept.settings[i].box_thresh for i in indices],
        "hmean": [s.hmean for s in scores],
        "precision": [s.precision for s in scores],
        "recall": [s.recall for s in scores],
    }


def box_thresh_scalars(folder: Path) -> dict[int, Summary.Value]:
    """The kept H-means by box_thresh in percent, which is the step of the curve in TensorBoard.

    Empty where no sweep was made, or one with a single box_thresh.
    """
    path = folder / BOX_THRESH
    if not path.is_file():
        return {}
    curve = json.loads(path.read_text(encoding="utf-8"))
    points = dict(zip(curve["box_thresh"], curve["hmean"], strict=True))
    if len(points) < 2:
        return {}
    return {
        round(100 * at): Summary.Value(tag=CURVE, simple_value=hmean)
        for at, hmean in points.items()
    }


def show_box_thresh(folder: Path) -> None:
    """Add the kept curve to the TensorBoard events of a training that is over."""
    points = box_thresh_scalars(folder)
    if not points:
        return
    write_events(
        folder, [Event(step=at, summary=Summary(value=[value])) for at, value in points.items()]
    )
