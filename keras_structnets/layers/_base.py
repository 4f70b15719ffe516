"""What the layers share: a configuration made of the arguments, and spatial axes."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from keras_structnets import checks
from keras_structnets.ops.precision import floating
from keras_structnets.ops.windows import window_output_size
from keras_structnets.signatures import Shape, Sizes, Tensor

PACKAGE = "keras_structnets"
register = keras.saving.register_keras_serializable(package=PACKAGE)


class Layer(keras.layers.Layer):
    """A layer that keeps each argument as an attribute of the same name, and in its configuration.

    Each class in the hierarchy takes its own arguments and passes the others on; the signature of
    the class shows all of them. A class without a docstring has that of its base.
    """

    __signature__: inspect.Signature

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__doc__ = inspect.getdoc(cls)
        named: dict[str, inspect.Parameter] = {}
        for base in cls.__mro__[: cls.__mro__.index(Layer)]:
            own = vars(base).get("__init__")
            parameters = list(inspect.signature(own).parameters.values()) if own else []
            for parameter in parameters[1:]:
                if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                    named.setdefault(parameter.name, parameter)
        rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD, annotation=Any)
        by_kind = sorted(named.values(), key=lambda parameter: parameter.kind)
        cls.__signature__ = inspect.Signature([*by_kind, rest])

    def get_config(self) -> dict[str, Any]:
        return self._config()

    def _config(self, **given: Any) -> dict[str, Any]:
        """The arguments as attributes hold them, but for those that are `given`."""
        classes = (c for c in type(self).__mro__ if issubclass(c, Layer))
        ours = next(c for c in classes if c.__module__.startswith(f"{PACKAGE}."))
        names = [n for n in ours.__signature__.parameters if n not in ("kwargs", *given)]
        kept = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in names}
        return super().get_config() | kept | given

    def _floating(self, x: Tensor) -> Tensor:
        """`x`; integers and booleans as numbers of the layer's own type."""
        return floating(x, self.compute_dtype)

    def _require_static(self, axes: str, shape: Shape) -> None:
        checks.static_size(type(self).__name__, axes, shape)


class SpatialLayer(Layer):
    """A layer of [batch, *spatial, channels] with `rank` spatial axes."""

    rank: int

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        checks.channels_last(type(self).__name__)

    def _per_axis(self, name: str, value: Sizes) -> tuple[int, ...]:
        """`value` as one integer for each spatial axis."""
        return checks.integers(type(self).__name__, name, value, self.rank)

    def _one_of(self, name: str, value: str, choices: Sequence[str]) -> str:
        return checks.one_of(type(self).__name__, name, value, choices)

    def _check_image(self, input_shape: Shape) -> None:
        axes = f"[batch, {self.rank} spatial, channels]"
        checks.rank_of_input(type(self).__name__, input_shape, self.rank + 2, axes)

    def _check_window(self, window: Sizes, spatial: Shape, dilation: Sizes | None = None) -> None:
        checks.kernel_fits(type(self).__name__, window, spatial, self.padding, dilation)

    def _output_sizes(
        self, spatial: Shape, window: Sequence[int], dilation: Sequence[int] | None = None
    ) -> Shape:
        """Spatial sizes after windows with the layer's strides and padding."""
        dilation = dilation or (1,) * self.rank
        axes = zip(spatial, window, self.strides, dilation, strict=True)
        return tuple(window_output_size(n, k, s, self.padding, d) for n, k, s, d in axes)
