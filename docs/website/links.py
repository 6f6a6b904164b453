"""Links between files of the repository become links between pages of the site."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)((?:\s+\"[^\"]*\")?)\)")
#: A line that only leads to the other language: the site has a switch.
SWITCH_LINE = re.compile(r"^\[(?:中文|English)\]\([^)]*\)\s*\n", re.MULTILINE)
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def is_external(target: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*:", target) is not None


def rewrite_links(text: str, source: str, path: str, pages: Mapping[str, str]) -> str:
    """Markdown of `source` with its links as seen from the page `path`. LookupError names a link that leads nowhere.

    `pages` has the page (or picture) of each file of the repository.
    """

    def renew(match: re.Match[str]) -> str:
        target = match[2]
        if is_external(target) or target.startswith("#"):
            return match[0]
        file, _, anchor = target.partition("#")
        resolved = os.path.normpath(PurePosixPath(source).parent / unquote(file))
        if resolved not in pages:
            raise LookupError(f"{source} links to {target}, which is no page of the site")
        relative = os.path.relpath(pages[resolved], PurePosixPath(path).parent)
        return f"{match[1]}({quote(relative)}{'#' + anchor if anchor else ''}{match[3]})"

    parts = CODE.split(SWITCH_LINE.sub("", text))
    return "".join(part if index % 2 else LINK.sub(renew, part) for index, part in enumerate(parts))
