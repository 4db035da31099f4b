from __future__ import annotations

from pathlib import Path

import pytest
from PIL import ImageFont

from detector.core.errors import InputError
from detector.core.face import BUNDLED
from detector.data.synthetic import fonts
from detector.data.synthetic.fonts import can_draw, find_fonts, fonts_below
from detector.data.synthetic.vocabulary import characters


@pytest.fixture
def latin_font(tmp_path):
    """Pillow's own font, which has no Hangul."""
    path = tmp_path / "latin" / "latin.ttf"
    path.parent.mkdir()
    path.write_bytes(ImageFont.load_default(16).font_bytes)
    return path


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("path", fonts_below(BUNDLED), ids=lambda p: p.name)
def test_bundled_fonts_draw_the_whole_vocabulary(path, language):
    missing = [c for c in characters(language) if not can_draw(path, c)]
    assert not missing, f"run make_subset.py (see {BUNDLED / 'README.md'}) for {''.join(missing)}"


def test_bundled_fonts_come_with_their_licence_under_unreserved_names():
    assert "SIL OPEN FONT LICENSE" in (BUNDLED / "OFL.txt").read_text(encoding="utf-8")
    names = {ImageFont.truetype(str(p), 12).getname()[0] for p in fonts_below(BUNDLED)}
    assert names == {"Receipt Mono KR", "Receipt Sans KR", "Receipt Serif KR"}


def test_a_font_without_hangul_cannot_draw_it(latin_font):
    assert can_draw(latin_font, "Total 12,000")
    assert not can_draw(latin_font, "합")


def test_an_unreadable_font_draws_nothing(tmp_path):
    path = tmp_path / "broken.ttf"
    path.write_bytes(b"not a font")
    assert not can_draw(path, "a")


def test_no_hangul_says_what_to_install(latin_font):
    with pytest.raises(InputError, match=r"(?s)can draw Hangul.*fonts-nanum.*languages=en"):
        find_fonts(latin_font.parent, ("ko",))
    assert find_fonts(latin_font.parent, ("en",)) == {"en": (latin_font,)}


def test_a_folder_or_a_file_of_fonts(latin_font, tmp_path):
    assert find_fonts(tmp_path, ("en",)) == find_fonts(latin_font, ("en",))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(InputError, match=r"fonts: .*nowhere does not exist"):
        find_fonts(tmp_path / "nowhere", ("ko",))


def test_system_fonts_are_tried_by_family(latin_font, tmp_path, monkeypatch):
    (tmp_path / "NanumTest-Regular.TTF").write_bytes(latin_font.read_bytes())
    monkeypatch.setattr(fonts, "system_folders", lambda: (tmp_path, tmp_path / "no"))
    found = find_fonts(Path("system"), ("en",))
    assert [p.name for p in found["en"]] == ["NanumTest-Regular.TTF"]


def test_without_the_bundled_fonts_the_system_is_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "BUNDLED", tmp_path / "gone")
    monkeypatch.setattr(fonts, "system_folders", lambda: (tmp_path / "empty",))
    with pytest.raises(InputError, match=r"none of the 0 font files found in .*empty"):
        find_fonts(None, ("ko",))
