"""What a command can be told, as its function or dataclass declares it."""

import dataclasses
import inspect
import typing
from typing import Any

import docstring_parser


def declared(work: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return default and description of every option, also of those that a parameter groups in a dataclass."""
    defaults, described = {}, {}
    for cls in reversed(getattr(work, "__mro__", ())):
        described |= _described(cls)
    described |= _described(work)
    hints = typing.get_type_hints(work)
    for name, parameter in inspect.signature(work).parameters.items():
        group = hints.get(name)
        if inspect.isclass(group) and dataclasses.is_dataclass(group):
            inner = declared(group)
            defaults |= inner[0]
            described |= inner[1]
        else:
            defaults[name] = parameter.default
    return defaults, described


def _described(work: Any) -> dict[str, str]:
    return {p.arg_name: p.description for p in docstring_parser.parse(work.__doc__ or "").params}
