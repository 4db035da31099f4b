"""Fonts that can draw the synthetic receipts: the bundled ones, the system's or the user's."""

from __future__ import annotations

import sys
from pathlib import Path

from detector.core.errors import InputError
from detector.core.face import BUNDLED, load_face
from detector.data.synthetic.vocabulary import characters

FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
# Families with Hangul that systems ship; trying every installed font would take minutes.
KOREAN_FAMILIES = (
    "notosanscjk",
    "notoserifcjk",
    "notosanskr",
    "notosansmonocjk",
    "nanum",
    "malgun",
    "gulim",
    "batang",
    "dotum",
    "applesdgothic",
    "applegothic",
    "applemyungjo",
    "baekmuk",
    "unifont",
)
INSTALL_HINT = (
    "install one (Debian and Ubuntu: apt install fonts-nanum; Fedora: dnf install "
    "google-noto-sans-cjk-fonts; macOS and Windows ship one), name a font file or folder with "
    "fonts=PATH, or leave Korean out with languages=en"
)


def can_draw(path: Path, text: str) -> bool:
    """Whether a font has a glyph for every character of `text`; False for an unreadable file."""
    try:
        face = load_face(path, 16)
        missing = bytes(face.getmask("\uffff"))  # a noncharacter: always the `.notdef` glyph
        return all(bytes(face.getmask(c)) != missing for c in text if not c.isspace())
    except OSError:
        return False


def system_folders() -> tuple[Path, ...]:
    """The folders that this kind of system keeps fonts in, whether or not they exist."""
    home = Path.home()
    if sys.platform == "win32":
        return (Path("C:/Windows/Fonts"), home / "AppData/Local/Microsoft/Windows/Fonts")
    if sys.platform == "darwin":
        return (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    return (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".local/share/fonts",
        home / ".fonts",
    )


def fonts_below(folder: Path) -> list[Path]:
    """Font files in a folder and the folders below it, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in FONT_SUFFIXES and p.is_file())


def _system_fonts() -> list[Path]:
    found = [path for folder in system_folders() if folder.is_dir() for path in fonts_below(folder)]
    names = {path: path.name.lower().replace("-", "").replace("_", "") for path in found}
    return [path for path in found if names[path].startswith(KOREAN_FAMILIES)]


def _candidates(where: Path | None) -> tuple[list[Path], str]:
    """Font files to try and, for messages, where they were looked for."""
    if where is None:
        bundled = fonts_below(BUNDLED) if BUNDLED.is_dir() else []
        if bundled:
            return bundled, f"in {BUNDLED}"
        where = Path("system")
    if where == Path("system"):
        return _system_fonts(), "in " + ", ".join(map(str, system_folders()))
    if where.is_dir():
        return fonts_below(where), f"in {where}"
    if where.is_file():
        return [where], f"in {where}"
    raise InputError(
        f"fonts: {where} does not exist; name a font file, a folder of fonts or 'system'"
    )


def find_fonts(where: Path | None, languages: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
    """For each language, the fonts that can draw all of its receipts.

    `where` is a font file, a folder, `system` (the system's font folders) or None: the fonts
    that come with the package, or the system's if those were removed. Raises InputError
    when a language has no font, saying what to install.
    """
    candidates, searched = _candidates(where)
    fonts = {}
    for language in languages:
        able = tuple(path for path in candidates if can_draw(path, characters(language)))
        if not able:
            script = "Hangul" if language == "ko" else "Latin letters"
            raise InputError(
                f"fonts: none of the {len(candidates)} font files found {searched} can draw "
                f"{script} for languages={language}; {INSTALL_HINT}"
            )
        fonts[language] = able
    return fonts
