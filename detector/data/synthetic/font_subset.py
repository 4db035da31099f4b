"""Make the bundled fonts from the Nanum fonts, with `fonttools` (see the README.md of the fonts).

From the repository root:

    PYTHONPATH=. python detector/data/synthetic/font_subset.py FOLDER_OF_NANUM_TTF
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from detector.core.face import BUNDLED
from detector.data.synthetic.vocabulary import characters

FONTS = {
    "NanumGothicCoding.ttf": ("ReceiptMonoKR.ttf", "Receipt Mono KR"),
    "NanumBarunGothicBold.ttf": ("ReceiptSansKR.ttf", "Receipt Sans KR"),
    "NanumMyeongjo.ttf": ("ReceiptSerifKR.ttf", "Receipt Serif KR"),
}
COPYRIGHT, FAMILY, STYLE, UNIQUE, FULL, VERSION, POSTSCRIPT, LICENSE, LICENSE_URL = (
    *range(7),
    13,
    14,
)


def subset(source: Path, target: Path, family: str, wanted: set[int]) -> None:
    """Write the `wanted` characters of `source` to `target`, under another name.

    The licence reserves the original names, so a changed font may not carry them.
    """
    font = TTFont(source)
    original = font["name"].getDebugName(COPYRIGHT)
    options = Options(hinting=False, layout_features=[], notdef_outline=True)
    options.drop_tables += ["DSIG", "GSUB", "GPOS", "GDEF"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    names = {
        COPYRIGHT: f"{original} Modified: fewer characters, no hinting, another name.",
        FAMILY: family,
        STYLE: "Regular",
        UNIQUE: f"{target.stem};1.0",
        FULL: family,
        VERSION: "Version 1.0",
        POSTSCRIPT: target.stem,
        LICENSE: "This Font Software is licensed under the SIL Open Font License, Version 1.1.",
        LICENSE_URL: "https://openfontlicense.org",
    }
    font["name"].names = []
    for name_id, text in names.items():
        font["name"].setName(text, name_id, 3, 1, 0x409)
    font.recalcTimestamp = False
    font.save(target)


def main() -> None:
    source = Path(sys.argv[1])
    wanted = {0x20, *map(ord, characters("ko") + characters("en"))}
    for name, (file_name, family) in FONTS.items():
        subset(source / name, BUNDLED / file_name, family, wanted)


if __name__ == "__main__":
    main()
