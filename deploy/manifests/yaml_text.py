"""Plain dictionaries as YAML that a person can read and edit."""

from __future__ import annotations

from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice, not as an anchor and an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(head: str, *documents: dict[str, Any]) -> str:
    """Documents in the order of their keys, under a head comment.

    Args:
        head: What the file is and how it is used; each line becomes a comment.
        documents: One or more; several are parted by `---`.
    """
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    bodies = [
        yaml.dump(document, Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True)
        for document in documents
    ]
    return comment + "---\n".join(bodies)
