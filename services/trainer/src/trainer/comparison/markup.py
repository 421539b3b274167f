"""Builds HTML from nested elements; text is escaped unless it is markup already."""

from __future__ import annotations

import html

_VOID = {"meta", "img", "col"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | None) -> Markup:
    """Return an element.

    Args:
        tag: Its name.
        children: Its contents; what is not Markup is escaped.
        attributes: Its attributes; ``class_`` stands for class, an inner underscore for a hyphen, None for nothing.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    inner = "".join(child if isinstance(child, Markup) else html.escape(child) for child in children)
    return Markup(f"<{tag}{written}>{inner}</{tag}>")
