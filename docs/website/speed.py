"""What makes a page of the site light: pictures that come when seen, a script that comes when needed.

The theme's script takes longer than the page on a phone, and fetches the index of the search (2 MB) at once; later.js
loads it when a reader first does something.
"""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

PAIR = re.compile(r"(!\[[^\]]*\]\([^)\s]*?)([\w-]+)-light-(\w+\.webp)\)")
SCRIPTS = re.compile(r'<script src="([^"]*/bundle\.\w+\.min\.js)"></script>')


def with_both_themes(text: str, pictures: Path) -> str:
    """A picture that is there in both themes is shown in the one that the reader has chosen.

    It has its size in pixels, so that nothing jumps when it comes. The first of a page comes at once, later ones when
    they are scrolled to; one of the other theme is never seen, hence never fetched.
    """
    first = True

    def both(match: re.Match[str]) -> str:
        nonlocal first
        head, name, tail = match.groups()
        width, height = size(pictures / f"{name}-light-{tail}")
        order = "fetchpriority=high" if first else "loading=lazy"
        first = False
        return (
            f"{head}{name}-light-{tail}#only-light){{ width={width} height={height} {order} }}"
            f"{head}{name}-dark-{tail}#only-dark){{ width={width} height={height} loading=lazy }}"
        )

    return PAIR.sub(both, text)


def size(picture: Path) -> tuple[int, int]:
    """Width and height in pixels."""
    with Image.open(picture) as image:
        return image.size


def with_later_script(page: str) -> str:
    """The HTML of a page with later.js in the place of the theme's script.

    >>> with_later_script('<script src="../assets/javascripts/bundle.77dd.min.js"></script>')
    '<script src="../assets/later.js" data-theme="../assets/javascripts/bundle.77dd.min.js" defer></script>'

    Raises:
        ValueError: the page has no such script, or several: the theme has changed.
    """
    changed, count = SCRIPTS.subn(_later, page)
    if count != 1:
        raise ValueError(
            f"a page of the site loads the theme's script {count} times, not once: look at what the theme writes now"
        )
    return changed


def _later(match: re.Match[str]) -> str:
    source = match[1]
    folder = source[: source.index("javascripts/")]
    return f'<script src="{folder}later.js" data-theme="{source}" defer></script>'
