"""The own arguments of an architecture, `sizes`: their defaults, their check, and a call with them."""

import inspect
from collections.abc import Callable
from typing import Any

from keras_structnets import checks


def defaults(function: Callable) -> dict[str, Any]:
    """Defaults of the keyword-only arguments of `function`."""
    return {
        p.name: p.default
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def completed(owner: str, sizes: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """`known` with the values of `sizes`.

    Raises:
        ValueError: for a size that is not known.
    """
    for size in sizes:
        if size not in known:
            raise ValueError(
                f"{owner}: unknown argument `{size}`={sizes[size]!r}."
                f"{checks.did_you_mean(size, known)} "
                f"Use one of {sorted(known) or 'none: it takes no sizes'}."
            )
    return known | sizes


def call(function: Callable, sizes: dict[str, Any], *args: Any) -> Any:
    """`function(*args)` with those of `sizes` that it takes."""
    names = inspect.signature(function).parameters
    return function(*args, **{name: value for name, value in sizes.items() if name in names})
