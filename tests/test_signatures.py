"""Every public function, class and method says the types of what it takes and of what it returns.

Mypy, which `make lint` runs, checks that the types fit; it cannot ask for them in public places alone.
"""

import inspect

import pytest

from tests.public import PUBLIC

pytestmark = pytest.mark.no_backend


def functions(thing):
    """The function `thing`, or the public methods and properties of a class of ours."""
    if not inspect.isclass(thing):
        return [thing]
    ours = [base for base in thing.__mro__ if base.__module__.startswith("keras_structnets")]
    members = {name: member for base in reversed(ours) for name, member in vars(base).items()}
    public = [m for name, m in members.items() if name == "__init__" or not name.startswith("_")]
    inner = [getattr(m, "fget", None) or getattr(m, "__func__", m) for m in public]
    return [member for member in inner if inspect.isfunction(member)]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_signature_has_all_its_types(name):
    found = functions(PUBLIC[name])
    assert found
    for function in found:
        lacking = {*inspect.signature(function).parameters, "return"} - {"self", "cls"}
        assert not lacking - set(function.__annotations__), function.__qualname__
