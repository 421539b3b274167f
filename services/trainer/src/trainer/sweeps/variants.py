"""The variants of a sweep: from a YAML file, or from lists of values that are paired or combined."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.parameter import Value
from trainer.config.parameter_names import parse_param
from trainer.config.variant import STANDARD_VARIANTS, Variant, describe_params, make_variant, parse_variant
from trainer.util import yaml_file
from trainer.util.errors import InputError

#: More than this is a slip of the hand: at a second each it would take hours.
MOST = 10_000

#: Where other estimators are listed, for messages.
OTHERS_PLACE = "another estimator is an item of the file --variants: '- estimator: module:Class'"

_Lists = dict[str, list[Value]]


@dataclass(frozen=True)
class VariantSet:
    """The variants of a sweep, how they came about in words, and warnings on what was left out."""

    variants: tuple[Variant, ...]
    words: str
    warnings: tuple[str, ...] = ()


def select_variants(
    path: Path | list[Any] | None, grid: Sequence[str], paired: Sequence[str], base: Mapping[str, Value]
) -> VariantSet:
    """Return the variants that the command line asks for; the standard ones where it asks for none.

    Args:
        path: A YAML file (see ``load_variants``), or what one would hold.
        grid: ``name=value,value,…``: every value with every value of the others.
        paired: ``name=value,value,…``: the first values together, the second values together, and so on.
        base: What the variants have in common.

    Raises:
        InputError: The lists or the file cannot be used; the message names place and remedy.
    """
    if path is not None:
        if grid or paired:
            raise InputError("--variants and --grid or --paired both list variants; give either the file or the lists")
        loaded = load_variants(path, base)
        source = "the configuration" if isinstance(path, list) else path
        return VariantSet(tuple(loaded), f"{_count(len(loaded), 'variant')} of {source}")
    if grid or paired:
        return combine_lists(grid, paired, base)
    standard = [make_variant(overrides, base) for overrides in STANDARD_VARIANTS]
    return VariantSet(tuple(standard), f"the {len(standard)} standard variants")


def load_variants(path: Path | list[Any], base: Mapping[str, Value]) -> list[Variant]:
    """Return the variants that a YAML file lists.

    Args:
        path: A file with a list, or the list itself, of mappings from parameter to value; ``name`` names the variant.
            ``estimator``, and perhaps ``estimator_params``, stand in the parameters' place for another estimator.
        base: What the variants have in common.

    Raises:
        InputError: The file cannot be read or holds something else; the message names file, item and remedy.
    """
    content: Any = path
    if not isinstance(path, list):
        content = yaml_file.read(path, "--variants", "a YAML list of variants")
    source = "variants" if isinstance(path, list) else path
    if not isinstance(content, list):
        found = yaml_file.what(content)
        raise InputError(f"{source}: holds {found}; write a list of variants, each starting with '- '")
    if not content:
        raise InputError(f"{source}: lists no variants; add one such as '- n_estimators: 500'")
    variants: list[Variant] = []
    seen: dict[str, int] = {}
    named: dict[str, int] = {}
    for number, item in enumerate(content, start=1):
        where = f"{yaml_file.place(source, item)}: item {number}"
        if not isinstance(item, dict):
            raise InputError(
                f"{where} is {yaml_file.what(item)};"
                " write a mapping such as {n_estimators: 500, learning_rate: 0.025}"
            )
        name = item.get("name")
        if name is not None and (not isinstance(name, (str, int, float)) or not str(name).strip()):
            raise InputError(f"{where}: name must be text, not {yaml_file.what(name)}")
        try:
            own = {key: value for key, value in item.items() if key != "name"}
            variant = parse_variant(own, base, str(name) if name is not None else None)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        twin = seen.setdefault(_identity(variant), number)
        if twin != number:
            raise InputError(f"{where} is the same variant as item {twin}; remove one of them")
        namesake = named.setdefault(variant.name, number)
        if namesake != number:
            raise InputError(f"{where} has the name of item {namesake}, {variant.name!r}; give it another")
        variants.append(variant)
    return variants


def combine_lists(grid: Sequence[str], paired: Sequence[str], base: Mapping[str, Value]) -> VariantSet:
    """Return the variants of lists of values; where both kinds are given, each pair with each point of the grid.

    Args:
        grid: ``name=value,value,…``: every value with every value of the others.
        paired: ``name=value,value,…``, all of the same length: the first values together, and so on.
        base: What the variants have in common.

    Raises:
        InputError: A list cannot be read, lengths differ, or a parameter is listed twice.
    """
    lists = {"--grid": _parse_all("--grid", grid), "--paired": _parse_all("--paired", paired)}
    in_grid, in_pairs = lists["--grid"], lists["--paired"]
    for name in in_grid.keys() & in_pairs.keys():
        raise InputError(f"{name} is listed by --grid and by --paired; list it once")
    _check_lengths(in_pairs)
    pairs = [dict(zip(in_pairs, values, strict=True)) for values in zip(*in_pairs.values(), strict=True)] or [{}]
    sizes = [len(values) for values in in_grid.values()]
    total = len(pairs) * math.prod(sizes)
    if total > MOST:
        raise InputError(f"--grid and --paired make {total:,} variants, more than {MOST:,}; shorten the lists")
    points = [dict(zip(in_grid, values, strict=True)) for values in itertools.product(*in_grid.values())]
    variants: dict[str, Variant] = {}
    for pair, point in itertools.product(pairs, points):
        overrides = {**pair, **point}
        try:
            variant = make_variant(overrides, base)
        except InputError as error:
            raise InputError(f"{describe_params(overrides)}: {error}") from None
        variants.setdefault(_identity(variant), variant)
    dropped = total - len(variants)
    warnings = (
        [f"{_count(dropped, 'duplicate')} dropped: the lists name the same variant more than once"] if dropped else []
    )
    return VariantSet(
        tuple(variants.values()), _words(len(pairs) if in_pairs else 0, sizes, len(variants)), tuple(warnings)
    )


def _parse_all(option: str, texts: Sequence[str]) -> _Lists:
    lists: _Lists = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if name.startswith("estimator"):
            raise InputError(f"{option}: lists LightGBM's parameters; {OTHERS_PLACE}")
        if not equals or not name:
            raise InputError(f"{option} {text!r}: write a parameter and its values, such as n_estimators=200,500")
        parsed: list[Value] = []
        for value in values.split(","):
            if not value.strip():
                raise InputError(f"{option} {text!r}: a value is missing; write such as {name}=200,500")
            try:
                known, converted = parse_param(name, value.strip())
            except InputError as error:
                raise InputError(f"{option}: {error}") from None
            parsed.append(converted)
        if known in lists:
            raise InputError(f"{option} lists {known} twice; put all of its values into one list")
        lists[known] = parsed
    return lists


def _check_lengths(pairs: _Lists) -> None:
    (first, *others) = pairs or [""]
    for name in others:
        if len(pairs[name]) != len(pairs[first]):
            raise InputError(
                f"--paired: {first} has {_count(len(pairs[first]), 'value')} but {name} has {len(pairs[name])};"
                " give each as many as the others, or use --grid to combine every value with every other"
            )


def _words(pairs: int, sizes: Sequence[int], variants: int) -> str:
    grid = f"grid of {' × '.join(str(size) for size in sizes)}"
    if not sizes:
        return _count(pairs, "pair") + (f" = {_count(variants, 'variant')}" if variants != pairs else "")
    if pairs:
        grid = f"{_count(pairs, 'pair')} × {grid}"
    return f"{grid} = {_count(variants, 'variant')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _identity(variant: Variant) -> str:
    return repr((sorted(variant.params.items()), variant.other))
