"""What trained weights do: the stability of diffusion layers."""

import dataclasses
import math

import keras
import numpy as np

from keras_structnets import layers

__all__ = ["LayerStability", "Stability", "stability"]

_EXPLICIT = (
    layers.ExplicitDiffusion1D,
    layers.ExplicitDiffusion2D,
    layers.ExplicitDiffusion3D,
    layers.CirculantDiffusion1D,
    layers.CirculantDiffusion2D,
    layers.CirculantDiffusion3D,
)
_IMPLICIT = (layers.ImplicitDiffusion1D, layers.ImplicitDiffusion2D, layers.ImplicitDiffusion3D)


@dataclasses.dataclass(frozen=True)
class LayerStability:
    """Stability of one diffusion layer.

    Attributes:
        name: of the layer.
        step_size: `h`.
        spectral_radius: the largest eigenvalue of `K^T K`.
        step_norm: the 2-norm of the step, `I - h K^T K` or `(I + h K^T K)^-1`.

    Example:
        >>> ksn.analysis.LayerStability("diffusion", 0.5, 2.0, 1.0).product
        1.0
    """

    name: str
    step_size: float
    spectral_radius: float
    step_norm: float

    @property
    def product(self) -> float:
        """`h` times the spectral radius. An explicit step is stable up to 2, and monotone up to 1."""
        return self.step_size * self.spectral_radius


@dataclasses.dataclass(frozen=True)
class Stability:
    """Stability of a model, layer by layer; `print` shows it as a table.

    Attributes:
        layers: a `LayerStability` for each diffusion layer.

    Example:
        >>> row = ksn.analysis.LayerStability("diffusion", 0.5, 2.0, 1.0)
        >>> print(ksn.analysis.Stability([row]))
        layer                                 h   radius h radius   norm
        diffusion                           0.5    2.000    1.000  1.000
    """

    layers: list[LayerStability]

    def __str__(self) -> str:
        rows = [f"{'layer':32} {'h':>6} {'radius':>8} {'h radius':>8} {'norm':>6}"]
        rows += [
            f"{row.name:32} {row.step_size:6.3g} {row.spectral_radius:8.3f} {row.product:8.3f} "
            f"{row.step_norm:6.3f}"
            for row in self.layers
        ]
        return "\n".join(rows)


def stability(model: keras.Model) -> Stability:
    """Measure the stability of each diffusion layer of a model, for the images it is built for.

    An explicit step `y - h K^T K y` never increases the 2-norm while `h` times the spectral radius of
    `K^T K` is at most 2. Between 1 and 2 it changes the sign of the components that it should damp most.
    An implicit step never increases the norm. The eigenvalues come from Lanczos iterations on the layer.

    Args:
        model: a functional or Sequential model that is built for images of one size.

    Returns:
        A `Stability` with a row for each explicit, implicit and circulant diffusion.

    Raises:
        ValueError: if the model has no diffusion layer, or takes images of any size.
        ImportError: if SciPy is not installed.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 2)), ksn.layers.ImplicitDiffusion2D(3)])
        >>> ksn.analysis.stability(model).layers[0].step_norm <= 1 + 1e-6
        True

    Reference: Low-cost parameterizations of deep convolutional neural networks, eq. 9 and 11.
    """
    found = [layer for layer in model.layers if isinstance(layer, (*_EXPLICIT, *_IMPLICIT))]
    if not found:
        raise ValueError(
            f"stability: the `model` {model.name!r} has no diffusion layer. Use for example "
            "keras_structnets.zoo.build('explicit_rd_a')."
        )
    return Stability([_of_layer(layer) for layer in found])


def _of_layer(layer):
    shape = layer.input.shape[1:]
    if None in shape:
        raise ValueError(
            f"stability: the layer {layer.name!r} takes images of any size, {tuple(shape)}. Build the "
            "model with a fixed `input_shape`."
        )

    def step(x):
        y = layer(x.reshape(1, *shape).astype("float32"))
        return keras.ops.convert_to_numpy(y).astype("float64").reshape(-1)

    size = math.prod(shape)
    damping = _largest_eigenvalue(lambda x: x - step(x), size)  # of I - step
    radius = damping / (1 - damping) if isinstance(layer, _IMPLICIT) else damping
    norm = math.sqrt(_largest_eigenvalue(lambda x: step(step(x)), size))
    return LayerStability(layer.name, layer.step_size, radius / layer.step_size, norm)


def _largest_eigenvalue(product, size):
    """Of a symmetric matrix, given by its product with a vector."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    start = np.random.default_rng(0).normal(size=size)
    operator = LinearOperator((size, size), matvec=product, dtype="float64")
    return float(eigsh(operator, 1, which="LA", v0=start, tol=1e-5, return_eigenvectors=False)[0])
