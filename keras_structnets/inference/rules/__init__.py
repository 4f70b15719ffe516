"""Rules: what a layer computes, written with nodes. One file for each file of `layers`, and Keras' own.

A rule is `rule(layer, *args, **kwargs) -> Node`, with nodes among the arguments.
"""

import importlib
from collections.abc import Callable

_RULES: dict[type, Callable] = {}
_FILES = ("keras_layers", "gconv", "lowcost", "diffusion", "mex", "similarity")


def rule(*classes):
    """Register the decorated function as the rule of `classes` and of what is derived from them."""

    def decorate(function):
        _RULES.update(dict.fromkeys(classes, function))
        return function

    return decorate


def rule_of(operation):
    """The rule of a layer, or None; also None for a class that computes something of its own."""
    for name in _FILES:
        importlib.import_module(f"{__name__}.{name}")
    for base in type(operation).__mro__:
        if base in _RULES:
            return _RULES[base] if type(operation).call is base.call else None
    return None
