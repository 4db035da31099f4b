"""A word left in the run's folder or bucket, and answers of all machines beside it.

What a machine cannot read and write there, its trials could not either.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from detector.core.errors import JobError
from detector.core.files import write_text
from orchestrator.store.bucket import Bucket, BucketError

ASKED = "asked"
WAITS_S = (1.0,)  # between tries of a bucket, which a search asks for minutes


class Exchange(Protocol):
    """A place that all machines are to share; errors are OSError and JobError."""

    def ask(self) -> None:
        """Leave a word, on the machine of the search."""

    def answer(self, name: str) -> None:
        """Read it, on another machine, and leave it again under that machine's name."""

    def heard(self, name: str) -> bool:
        """Whether the answer is there, on the machine of the search."""

    def end(self) -> None:
        """Take everything away."""


@dataclass(frozen=True)
class InFolder:
    """The exchange in a folder that is made below `base`, with the same path on each machine."""

    base: Path
    word: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def _folder(self) -> Path:
        return self.base / f".preflight-{self.word[:8]}"

    def ask(self) -> None:
        self._folder.mkdir(parents=True)
        write_text(self._folder / ASKED, self.word)

    def answer(self, name: str) -> None:
        try:
            found = (self._folder / ASKED).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise JobError("what the search wrote there is not to be seen") from None
        if found != self.word:
            raise JobError("what the search wrote there reads otherwise")
        write_text(self._folder / name, self.word)

    def heard(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            return (self._folder / name).read_text(encoding="utf-8") == self.word
        return False

    def end(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True)
class InBucket:
    """The exchange in a bucket, below its own key."""

    bucket: Bucket
    word: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def _place(self) -> Bucket:
        return Bucket(self.bucket.url, WAITS_S).below(f".preflight-{self.word[:8]}")

    def ask(self) -> None:
        self._put(ASKED)

    def answer(self, name: str) -> None:
        found = self._place.text(ASKED)
        if found != self.word:
            how = "is not to be seen" if found is None else "reads otherwise"
            raise JobError(f"what the search put there {how}")
        self._put(name)

    def heard(self, name: str) -> bool:
        return self._place.text(name) == self.word

    def end(self) -> None:
        with suppress(BucketError):
            for name in self._place.files():
                self._place.delete(name)

    def _put(self, name: str) -> None:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(self.word)
            file.flush()
            self._place.put(Path(file.name), name)
