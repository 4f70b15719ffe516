"""Parts of SimNets: whitened similarity and the classifier."""

from collections.abc import Sequence

import keras
from keras import initializers

from keras_structnets import checks, layers
from keras_structnets.blocks._names import part
from keras_structnets.initializers import SparseWeights
from keras_structnets.layers import MEX, BatchNormalization
from keras_structnets.ranks import of_rank, rank_of
from keras_structnets.signatures import Sizes, Tensor

SIMILARITIES = {"lp": "Similarity", "linear": "LinearSimilarity"}


def whitened_similarity(
    x: Tensor,
    filters: int,
    kernel_size: Sizes,
    *,
    templates: int | None = None,
    strides: Sizes = 1,
    padding: str = "same",
    p: float = 2.0,
    trainable_p: bool = False,
    normalize: bool = True,
    scale: float | None = 4.0,
    selected: int = 4,
    noise: float = 0.0,
    name: str = "similarity",
    similarity: str = "lp",
    whitening: bool = True,
) -> Tensor:
    """Convolution, then 1x1 similarity: `-sum_t u_lt |(w_t * x)_t - z_lt|^p` (Deep SimNets, 4.2).

    The convolution whitens the patches. `normalize` puts a batch normalization without parameters of
    its own between the two, so that random filters start as pre-trained ones do, with outputs of
    mean 0 and variance 1; it can be folded into the convolution.

    Shapes: [b, *spatial, c] -> [b, *spatial', templates].

    Args:
        x: feature maps.
        filters: channels d of the convolution.
        kernel_size: of the convolution.
        templates: channels n of the similarity; `filters` if None.
        strides: of the convolution.
        padding: of the convolution.
        p: the order.
        trainable_p: whether the order is learned.
        normalize: whether to normalize between the two.
        scale: sum of the initial weights of a template, so that similarities do not grow with the
            dimension; None starts all weights at 1.
        selected: so many coordinates of each template, at random, have these weights, the others
            start at 0. With weights on all coordinates the similarities start almost equal.
        noise: deviation of multiplicative Gaussian noise on the inputs of the similarity, while
            training (section 6.3 and its footnote 6).
        name: prefix of the layers' names.
        similarity: "lp", or "linear" for `sum_t u_lt (w_t * x)_t z_lt`, without p.
        whitening: False leaves the convolution out: the similarity compares the patches themselves
            (Figure 1c), and neither `filters`, if there are `templates`, nor `normalize` has a meaning.

    Raises:
        ValueError: for something else than feature maps, an unknown similarity, or a number out of range.

    Example:
        >>> x = keras.Input((32, 32, 3))
        >>> model = keras.Model(x, ksn.blocks.whitened_similarity(x, 32, kernel_size=5))
        >>> model.output_shape, [layer.name for layer in model.layers[1:]]
        ((None, 32, 32, 32), ['similarity_whitening', 'similarity_normalization', 'similarity'])
    """
    owner = "whitened_similarity"
    x = checks.image(owner, "x", x)
    filters = checks.integer(owner, "filters", filters)
    compare = SIMILARITIES[checks.one_of(owner, "similarity", similarity, SIMILARITIES)]
    padding = checks.one_of(owner, "padding", padding, ("valid", "same"))
    kernel_size = checks.integers(owner, "kernel_size", kernel_size, rank_of(x))
    strides = checks.integers(owner, "strides", strides, rank_of(x))
    window = (kernel_size, strides, padding)
    if whitening:
        x = _whitened(x, filters, window, normalize, name)
    if noise != 0:
        noise = checks.positive(owner, "noise", noise)
        x = keras.layers.GaussianDropout(noise**2 / (1 + noise**2), name=f"{name}_noise")(x)
    options = {"p": p, "trainable_p": trainable_p} if similarity == "lp" else {}
    return of_rank(layers, compare, rank_of(x))(
        filters if templates is None else templates,
        *(() if whitening else window),
        **options,
        templates_initializer=initializers.RandomNormal(stddev=1.5 if normalize else 0.05),
        similarity_weights_initializer="ones" if scale is None else SparseWeights(scale, selected),
        name=name,
    )(x)


def _whitened(x, filters, window, normalize, name):
    conv = of_rank(keras.layers, "Conv", rank_of(x))
    x = conv(filters, *window, name=f"{name}_whitening")(x)
    return normalization(f"{name}_normalization")(x) if normalize else x


def mex_classifier(
    features: Tensor,
    num_classes: int,
    *,
    beta: float = 0.3,
    offset_stddev: float = 8.0,
    pool_beta: float = 0.1,
) -> Tensor:
    """Classification MEX at each position, then global MEX pooling (Deep SimNets, 4.1 and 4.3).

    `MEX_beta2 over positions of MEX_beta1 over channels of (x_l + b_rl)`; both betas are learned.
    The gradient into the network vanishes while the offsets of all classes are equal, so they start
    far apart. `beta` starts small, so that MEX is no hard maximum and many channels learn, and
    `pool_beta` near the mean, so that every position does.

    The layers are called `classification` and `logits`.

    Shapes: [b, *spatial, n] -> [b, num_classes].

    Example:
        >>> features = keras.Input((8, 8, 64))
        >>> model = keras.Model(features, ksn.blocks.mex_classifier(features, num_classes=10))
        >>> model.output_shape, model.count_params()  # offsets [64, 10] and two betas
        ((None, 10), 642)
    """
    features = checks.image("mex_classifier", "features", features)
    offset_stddev = checks.positive("mex_classifier", "offset_stddev", offset_stddev)
    offsets = initializers.RandomNormal(stddev=offset_stddev)
    scores = MEX(num_classes, beta=beta, offsets_initializer=offsets, name="classification")
    pooling = of_rank(layers, "GlobalMEXPooling", rank_of(features))
    return pooling(beta=pool_beta, name="logits")(scores(features))


def normalization(name: str | None = None) -> BatchNormalization:
    """A batch normalization without parameters of its own, which a convolution before it can absorb.

    Example:
        >>> layer = ksn.blocks.normalization()
        >>> y = layer(np.array([[1.0], [3.0]]), training=True)
        >>> keras.ops.convert_to_numpy(y).round(2).tolist(), layer.trainable_weights
        ([[-1.0], [1.0]], [])
    """
    return BatchNormalization(center=False, scale=False, momentum=0.9, name=name)


def mlp_conv(x: Tensor, widths: Sequence[int], kernel_size: Sizes, name: str) -> Tensor:
    """Convolution and 1x1 convolutions, each with ReLU (Network in Network, section 3.2).

    Shapes: [b, *spatial, c] -> [b, *spatial, widths[-1]].

    Args:
        x: feature maps.
        widths: channels of each convolution.
        kernel_size: of the first one; the others are 1x1.
        name: prefix of the layers' names.

    Example:
        >>> x = keras.Input((32, 32, 3))
        >>> model = keras.Model(x, ksn.blocks.mlp_conv(x, (16, 8), kernel_size=5, name="first"))
        >>> [tuple(w.shape) for w in model.weights]
        [(5, 5, 3, 16), (16,), (1, 1, 16, 8), (8,)]
    """
    x = checks.image("mlp_conv", "x", x)
    kernel_size = checks.integers("mlp_conv", "kernel_size", kernel_size, rank_of(x))
    conv = of_rank(keras.layers, "Conv", rank_of(x))
    for i, width in enumerate(checks.structure("mlp_conv", "widths", widths)):
        size = kernel_size if i == 0 else 1
        x = conv(width, size, padding="same", activation="relu", name=part(name, str(i)))(x)
    return x
