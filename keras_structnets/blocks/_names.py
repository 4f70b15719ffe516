"""Names of the layers of a block."""


def part(name: str | None, what: str) -> str | None:
    """`name_what`; None, which lets Keras choose a name, if the block has no name."""
    return name and f"{name}_{what}"
