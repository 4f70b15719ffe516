"""Names of the layers of a block."""


def part(name: str | None, what: str) -> str | None:
    """`name_what`; None, which lets Keras choose a name, if the block has no name."""
    if name is not None and not isinstance(name, str):
        raise ValueError(
            f"`name` must be a string or None, got {name!r}. Use for example name='a'."
        )
    return name and f"{name}_{what}"
