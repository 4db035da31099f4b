"""A small valid answer of each text recognition service."""

from __future__ import annotations

from fuzz_seeds import SIZE, Seed, each

SHARES = [{"X": 0.1, "Y": 0.2}, {"X": 0.5, "Y": 0.2}, {"X": 0.5, "Y": 0.4}, {"X": 0.1, "Y": 0.4}]
CORNERS = [{"x": 10}, {"x": 50, "y": 20}, {"x": 50, "y": 40}, {"x": 10, "y": 40}]
TEXTRACT = {
    "DocumentMetadata": {"Pages": 1},
    "Blocks": [
        {"BlockType": "LINE", "Page": 1, "Text": "합계"},
        {"BlockType": "WORD", "Page": 1, "Text": "합계", "Geometry": {"Polygon": SHARES}},
        {
            "BlockType": "WORD",
            "Geometry": {"BoundingBox": {"Left": 0.1, "Top": 0.5, "Width": 0.2, "Height": 0.1}},
        },
    ],
}
AZURE = (
    {
        "analyzeResult": {
            "modelId": "prebuilt-read",
            "pages": [
                {
                    **{"pageNumber": 1, "unit": "inch", "width": 8, "height": 6},
                    "words": [{"content": "합계", "polygon": [1, 2, 4, 2, 4, 3, 1, 3]}],
                    "selectionMarks": [{"state": "selected"}],
                }
            ],
        }
    },
    {
        "readResult": {
            "blocks": [
                {"lines": [{"words": [{"text": "합계", "boundingPolygon": CORNERS[1:]}]}]},
            ]
        },
        "metadata": SIZE,
    },
)
VISION = (
    {
        "responses": [
            {
                "fullTextAnnotation": {
                    "text": "합계",
                    "pages": [
                        SIZE | {"blocks": [{"paragraphs": [{"words": [
                            {"boundingBox": {"vertices": CORNERS}, "symbols": [{"text": "합"}]}
                        ]}]}]}
                    ],
                },
                "context": {"uri": "gs://bucket/a.jpg", "pageNumber": 1},
            }
        ]
    },
    {
        "textAnnotations": [
            {"description": "합계", "boundingPoly": {"vertices": CORNERS}},
            {"description": "합계", "boundingPoly": {"vertices": CORNERS}},
        ]
    },
)  # fmt: skip
SEEDS: dict[str, tuple[Seed, ...]] = {
    "aws_textract": (each(TEXTRACT, "Blocks *"), each([TEXTRACT], "* Blocks *")),
    "azure_read": tuple(each(document) for document in AZURE),
    "google_vision": tuple(each(document) for document in VISION),
}
