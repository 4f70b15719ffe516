"""What the packages offer: {name: object} of all that stands in their `__all__`."""

import importlib

PACKAGES = (
    "analysis",
    "ops",
    "constraints",
    "inference",
    "conversion",
    "initializers",
    "layers",
    "losses",
    "blocks",
    "zoo",
    "pretraining",
    "training",
)
MODULES = {f"ksn.{name}": importlib.import_module(f"keras_structnets.{name}") for name in PACKAGES}
PUBLIC = {
    f"{package}.{name}": getattr(module, name)
    for package, module in MODULES.items()
    for name in module.__all__
}
