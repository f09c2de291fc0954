"""A section of the settings: a frozen dataclass that is built from plain values and says what is wrong with them."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from ..common.errors import InputError

LONGEST_SHOWN = 60  # letters of a value in a message
LONGEST_LINE = 280  # letters of a message
LONGEST_NAME = 255  # bytes that a file system takes as one name

SectionT = TypeVar("SectionT", bound="Section")


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """Declare a setting: its default, meaning and allowed values (``low <= value <= high``, or a choice)."""
    metadata = {"meaning": meaning, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default_of(field: dataclasses.Field) -> Any:
    """Return a setting's default."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@dataclass(frozen=True)
class Section:
    """A section of the settings; ``parse`` builds it from a mapping and checks names, types and ranges."""

    @classmethod
    def parse(cls: type[SectionT], values: Mapping[str, Any] | None = None, /, **more: Any) -> SectionT:
        """Build the section from plain values.

        Raises:
            InputError: naming every unknown key with its nearest valid name, and every value that doesn't fit.
        """
        section, problems = cls.check({**(values or {}), **more})
        if problems:
            raise InputError(in_one_line(problems))
        return section

    @classmethod
    def check(cls: type[SectionT], values: Mapping[str, Any]) -> tuple[SectionT, list[str]]:
        """Build the section and list what is wrong with ``values``; wrong values keep their defaults."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        hints = typing.get_type_hints(cls)
        good: dict[str, Any] = {}
        problems: list[str] = []
        for key, value in values.items():
            name = cls.name_in_errors(key)
            if key not in fields:
                problems.append(f"unknown setting {name}{nearest(key, fields)}")
                continue
            try:
                good[key] = _convert(_as_text(value, fields[key]) if hints[key] is str else value, hints[key])
                _check_range(good[key], fields[key].metadata)
            except ValueError as problem:
                good.pop(key, None)
                problems.append(f"{name} is {shown(value)}, expected {problem}")
        return cls(**good), problems

    @classmethod
    def name_in_errors(cls, key: str) -> str:
        """What an error calls a setting: ``data.window``."""
        return f"{cls.section_name()}.{key}"

    @classmethod
    def section_name(cls) -> str:
        """The section's name in YAML: ``DataConfig`` -> ``data``."""
        return cls.__name__.removesuffix("Config").lower()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The settings' names."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def rows(cls) -> Iterator[str]:
        """Each setting, its default as YAML writes it and its meaning: a row of a Markdown table."""
        for field in dataclasses.fields(cls):
            words = (("low", "at least"), ("high", "at most"))
            limits = [
                f"{word} {_number(field.metadata[key])}" for key, word in words if field.metadata[key] is not None
            ]
            meaning = ", ".join([field.metadata["meaning"], *limits]).replace("|", "\\|")
            value = default_of(field)
            plain = list(value) if isinstance(value, tuple) else value
            default = yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
            yield f"| `{cls.section_name()}.{field.name}` | `{default}` | {meaning} |"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def nearest(name: object, valid: typing.Iterable[str], further: typing.Iterable[str] = ()) -> str:
    """Suggest the name that the user probably meant: a valid one, or one of ``further``, which are never listed."""
    close = difflib.get_close_matches(str(name)[:LONGEST_SHOWN], [*valid, *further], n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else f" (valid: {', '.join(sorted(valid))})"


def shown(value: object) -> str:
    """A user's value in a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def in_one_line(problems: Sequence[str]) -> str:
    """Problems as one line that a terminal shows whole: as many as fit, the first in any case, then how many more."""
    line = problems[0][:LONGEST_LINE]
    for number, problem in enumerate(problems[1:], start=1):
        if len(line) + len(problem) + 2 > LONGEST_LINE:
            return f"{line}; and {len(problems) - number} more"
        line = f"{line}; {problem}"
    return line


def _convert(value: Any, hint: Any) -> Any:
    """Convert ``value`` to the type ``hint``; raises ValueError with what was expected.

    YAML reads ``2e-4`` as a string (YAML 1.1 wants a dot), so numbers in strings are taken where a number is meant.
    """
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        if value in (None, "None", "null"):
            return None
        return _convert(value, next(a for a in typing.get_args(hint) if a is not type(None)))
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, str) and "," in value:  # `64,64`, as MONAI's command line takes it too
            value = value.strip("[]() ").split(",")
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"a list of {item.__name__}")
        return tuple(_convert(entry, item) for entry in value)
    if origin is collections.abc.Mapping:
        return _convert_mapping(value)
    if hint is bool:
        # MONAI's command line passes `true` as a string.
        known = {True: True, False: False, "true": True, "false": False}
        if not isinstance(value, (bool, str)) or value not in known:
            raise ValueError("true or false")
        return known[value]
    if hint in (int, float):
        return _convert_number(value, hint)
    return _checked_text(value)


def _checked_text(value: Any) -> str:
    """A text that can be written to a file, and be one's name."""
    if not isinstance(value, str):
        raise ValueError("a text (in quotes)")
    try:
        longest = max(len(name) for name in value.encode("utf-8").split(b"/"))
    except UnicodeEncodeError:
        raise ValueError("a text that UTF-8 can write") from None
    if "\0" in value or longest > LONGEST_NAME:
        raise ValueError(f"a text without NUL, and names of at most {LONGEST_NAME} bytes")
    return value


def _convert_mapping(value: Any) -> dict[str, Any]:
    """Keyword arguments: names and plain values, which YAML and a checkpoint can hold."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name.isidentifier() for name in value):
        raise ValueError("names with values below it (name: value)")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("numbers, texts, true or false, and lists of them") from None
    return plain


def _as_text(value: Any, field: dataclasses.Field) -> Any:
    """Restore text that YAML parsed as something else: ``off`` as False, ``2024`` as a number, nothing as None."""
    if value is False and "off" in (field.metadata["choices"] or ()):
        return "off"
    if value in (None, "None") and field.default == "":
        return ""
    return str(value) if type(value) is int else value


def _convert_number(value: Any, kind: type) -> Any:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        if kind is int and not number.is_integer():
            raise ValueError
        return kind(number)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a whole number" if kind is int else "a number") from None


def _check_range(value: Any, metadata: Mapping[str, Any]) -> None:
    low, high, choices = metadata["low"], metadata["high"], metadata["choices"]
    if choices is not None and value not in choices:
        raise ValueError("one of " + ", ".join(repr(choice) for choice in choices))
    for entry in value if isinstance(value, tuple) else (value,):
        if entry is None or isinstance(entry, str):
            continue
        # `not (low <= entry)` also rejects NaN.
        if (low is not None and not low <= entry) or (high is not None and not entry <= high):
            raise ValueError(_range(low, high))


def _range(low: float | None, high: float | None) -> str:
    limits = (("at least", low), ("at most", high))
    return " and ".join(f"{word} {limit}" for word, limit in limits if limit is not None)
