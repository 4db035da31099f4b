"""A server that speaks S3, in this process (moto): for tests and `chaos.py`, which stop it too."""

from __future__ import annotations

import logging
import uuid
from types import TracebackType

from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSystem

# A server that takes any, and what whoever starts a process must give it.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}


class Store:
    """Runs while the `with` block does; what is in it outlives `stop`, but not the process."""

    def __init__(self) -> None:
        self._server: ThreadedMotoServer | None = None
        self._port = 0  # any, the first time

    def __enter__(self) -> Store:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Answer again, at the same address."""
        server = ThreadedMotoServer("127.0.0.1", port=self._port, verbose=False)
        server.start()
        self._server, (_, self._port) = server, server.get_host_and_port()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.stop()
        self._server = None

    def address(self, bucket: str, key: str = "") -> str:
        """The address of a key in a bucket here, which may not be there."""
        query = f"scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{self._port}"
        return f"s3://{bucket}/{key}?{query}"

    def new_bucket(self, key: str = "key") -> str:
        """The address of a key in a bucket made for it; needs CREDENTIALS in the environment."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        store, _ = FileSystem.from_uri(f"{self.address(name)}&allow_bucket_creation=true")
        store.create_dir(name)
        return self.address(name, key)
