"""Google Cloud Vision: saved answers, `responses` or one of them, beside images of the same stem.

A coordinate of 0 is left out of the JSON. Words are those of `fullTextAnnotation` or, where it has
none, `textAnnotations` after the first, which is the whole text. A picture without text has an
empty answer, `{}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.page.pdf import page_name
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, bad_page, by_stem, size_of
from detector.data.raw.shapes import outline
from detector.data.raw.values import field, first_object, listed, nested

SUFFIXES = (".json",)
# The service itself writes the first of each; its Python library may write the second.
_FULL = ("fullTextAnnotation", "full_text_annotation")
_SINGLE = ("textAnnotations", "text_annotations")
_BESIDE = ("error", "context", "responses")
_BOX = ("boundingBox", "bounding_box", "boundingPoly", "bounding_poly")
_FRACTIONS = ("normalizedVertices", "normalized_vertices")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    if not isinstance(content, dict):
        return False
    if "responses" not in content:
        return content == {} or field(content, *_FULL, *_SINGLE) is not None
    answer = first_object(content["responses"])
    return answer == {} or field(answer, *_FULL, *_SINGLE, *_BESIDE) is not None


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of the file, or those of its answers, with their words."""
    if not claims(file):
        raise InputError(
            f"{file.path}: must be an answer of Cloud Vision with fullTextAnnotation or "
            f"textAnnotations, or an object with the list responses; got {shown(file.json)}"
        )
    answers = [one for answer in _responses(file.json) for one in _responses(answer)]
    for index, answer in enumerate(answers, 1):
        yield _page(file.name, answer, index, len(answers))


def _responses(answer: Any) -> list[Any]:
    """The answers in a list of them, as those about the pages of a file are; else itself."""
    inside = isinstance(answer, dict) and "responses" in answer
    return listed(answer["responses"]) if inside else [answer]


def _page(label: PurePosixPath, answer: Any, index: int, count: int) -> Labelled:
    if not isinstance(answer, dict):
        return bad_page(label, "an answer must be an object", answer)
    page = _named(label, answer.get("context"), index, count)
    if "error" in answer:
        told = shown(field(answer["error"], "message") or answer["error"])
        page.labelled = False
        page.faults.append((None, "bad-page", f"the service answered with an error: {told}"))
    full, single = field(answer, *_FULL), listed(field(answer, *_SINGLE))
    words = list(nested(field(full, "pages"), "blocks", "paragraphs", "words")) or single[1:]
    if not words and (single or field(full, "text")):
        page.labelled = False  # there is text, and the answer was cut down to it
    if any(not _vertices(word) and _fractions(word) for word in words):
        page.unit = "fraction"
    else:
        sheet = first_object(field(full, "pages"))
        page.size = size_of(field(sheet, "width"), field(sheet, "height"))
    for word in words:
        vertices = _vertices(word) if page.unit == "pixel" else _fractions(word)
        page.add(_points(vertices) if isinstance(word, dict) else word, _text(word))
    return page


def _named(label: PurePosixPath, context: Any, index: int, count: int) -> Labelled:
    """The page, called after the file that the answer says it is about, or else the label's."""
    number, uri = field(context, "pageNumber", "page_number"), field(context, "uri")
    number = number if isinstance(number, int) else index
    own = by_stem(label, number, count)
    if not isinstance(uri, str) or not PurePosixPath(uri).suffix:
        return own
    about = by_stem(PurePosixPath(uri), number, count)
    others = (page_name(uri, number), about.image, *about.others, own.image, *own.others)
    return Labelled(uri, others)


def _vertices(word: Any) -> Any:
    return field(field(word, *_BOX), "vertices")


def _fractions(word: Any) -> Any:
    return field(field(word, *_BOX), *_FRACTIONS)


def _points(vertices: Any) -> Any:
    if not isinstance(vertices, list):
        return vertices
    return outline([{"x": 0, "y": 0} | v if isinstance(v, dict) else v for v in vertices])


def _text(word: Any) -> Any:
    """The text of a word; what follows it is told with its symbols and does not belong to it."""
    if field(word, "symbols") is None:
        return field(word, "description")
    texts = [field(symbol, "text") for symbol in listed(field(word, "symbols"))]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else texts
