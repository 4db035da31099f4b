"""MkDocs: the theme's switch between light and dark works without highlight.js.

It turns the two style sheets of highlight.js on and off, which are not loaded here, and stops where
it finds none. So each page has two empty ones.
"""

from __future__ import annotations

from typing import Any

EMPTY = '<style id="hljs-light"></style><style id="hljs-dark"></style>'


def on_post_page(output: str, **_: Any) -> str:
    """The page with the style sheets that the switch looks for."""
    return output.replace("</head>", f"{EMPTY}</head>", 1)
