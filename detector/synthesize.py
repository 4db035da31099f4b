"""`python -m detector.synthesize root=DIR images=N seed=S`: a dataset of synthetic receipts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.config.answer import answer
from detector.config.cli import log, run
from detector.config.sections import Section
from detector.data.synthetic.receipts import synthesize


class SynthesizeConfig(Section):
    root: Path = Field(description="folder to make; new, empty or made with the same settings")
    images: int = Field(ge=1, le=1_000_000, description="training receipts")
    val_images: int | None = Field(
        None, ge=0, le=1_000_000, description="validation receipts; null = a fifth of images"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="the same seed gives the same receipts")
    longest_side_px: int = Field(1024, ge=256, le=4096, description="longest side of an image")
    languages: str = Field("ko,en", description="ko, en or both, separated by commas")
    fonts: Path | None = Field(
        None, description="font file, folder of fonts or 'system'; null = those of the package"
    )


def main(settings: SynthesizeConfig) -> None:
    """Make the dataset; progress goes to stderr."""
    val_images = settings.val_images
    if val_images is None:
        val_images = -(-settings.images // 5)
    root = synthesize(
        settings.root,
        images=settings.images,
        val_images=val_images,
        seed=settings.seed,
        longest_side_px=settings.longest_side_px,
        languages=tuple(part.strip() for part in settings.languages.split(",")),
        fonts=settings.fonts,
        log=log,
    )
    answer({"root": root, "images": settings.images, "val_images": val_images})


if __name__ == "__main__":
    run(
        main,
        SynthesizeConfig,
        program="python -m detector.synthesize",
        description="Make synthetic Korean and English receipts, photographed on a table, in the "
        "layout that training reads (images/ and jsons/).",
    )
