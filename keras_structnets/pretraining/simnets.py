"""Pre-training of SimNets without labels, layer by layer (Deep SimNets, section 5)."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_structnets import checks, layers
from keras_structnets.pretraining.mixtures import GeneralizedGaussianMixture
from keras_structnets.pretraining.whitening import Whitening, effective_dimension

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_SIMILARITIES = (layers.Similarity1D, layers.Similarity2D, layers.Similarity3D)
_PASSED = (  # between a convolution and its similarity; the identity when the model predicts
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What `pretrain` found for one similarity.

    Attributes:
        name: of the similarity.
        dimension: coordinates of the whitened patches.
        effective_dimension: of the patches, by Minka's criterion.
        n_patches: drawn for it.
        log_likelihoods: of the mixture, per patch, at each step of the fit; empty without a mixture.
        p: the order of the similarity: the shape of the mixture.
        empty_components: components that hold fewer than two patches.
        mixture: the fitted `GeneralizedGaussianMixture` of the whitened patches, or None.
        whitening: the fitted `Whitening` of the patches.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> images = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
        >>> report = ksn.pretraining.pretrain(model, images, templates="keep", verbose=0)
        >>> layer = report.layers[0]
        >>> layer.dimension, layer.n_patches, layer.p, layer.mixture
        (4, 30000, 2.0, None)
    """

    name: str
    dimension: int
    effective_dimension: int
    n_patches: int
    log_likelihoods: list[float]
    p: float
    empty_components: list[int]
    mixture: GeneralizedGaussianMixture | None
    whitening: Whitening


@dataclasses.dataclass(frozen=True)
class Report:
    """What `pretrain` found, layer by layer; `print` shows it as a table.

    Attributes:
        layers: a `LayerReport` for each similarity.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> images = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
        >>> report = ksn.pretraining.pretrain(model, images, templates="keep", verbose=0)
        >>> print(str(report).splitlines()[0])
        layer            patches  dimension (effective)  p     log-likelihood      empty
        >>> len(report.layers)
        1
    """

    layers: list[LayerReport]

    def __str__(self) -> str:
        rows = ["layer            patches  dimension (effective)  p     log-likelihood      empty"]
        for row in self.layers:
            steps = row.log_likelihoods
            likelihood = f"{steps[0]:.2f} -> {steps[-1]:.2f}" if steps else "no mixture"
            dimension = f"{row.dimension} ({row.effective_dimension})"
            rows.append(
                f"{row.name:16} {row.n_patches:7} {dimension:>22}  {row.p:.2f}  "
                f"{likelihood:18}  {len(row.empty_components)}"
            )
        return "\n".join(rows)

    def plot(self) -> Any:
        """A matplotlib figure: variances of each layer's patches, and its mixture's log-likelihood."""
        from matplotlib.figure import Figure

        figure = Figure((4 * len(self.layers), 6), layout="constrained")
        panels = figure.subplots(2, len(self.layers), squeeze=False)
        for (above, below), row in zip(panels.T, self.layers, strict=True):
            above.semilogy(
                np.arange(1, len(row.whitening.eigenvalues_) + 1), row.whitening.eigenvalues_
            )
            above.axvline(row.dimension, color="0.5", linestyle=":", label=f"kept: {row.dimension}")
            above.set(
                title=row.name, xlabel="principal direction", ylabel="variance of the patches"
            )
            above.legend()
            below.plot(row.log_likelihoods)
            below.set(title=f"p = {row.p:.2f}", xlabel="step of EM")
            below.set_ylabel("log-likelihood per patch")
        return figure


def pretrain(
    model: keras.Model,
    images: np.ndarray,
    *,
    seed: int = 0,
    n_patches: int = 30_000,
    batch_size: int = 500,
    whitening: str = "ica",
    templates: str = "mixture",
    temperature: float | str = 1.0,
    offset_spread: float = 1.0,
    max_iter: int = 30,
    reg: float = 1e-3,
    verbose: int = 1,
) -> Report:
    """Start every convolution -> similarity of `model` from what unlabelled images look like.

    Layer by layer, front to back: patches of the convolution's input are drawn at random and whitened;
    the whitening becomes the filters W and biases of the convolution. A mixture of Generalized
    Gaussians is fitted to the whitened patches; its means become the templates, `scale^-p` the weights,
    its shape p (where the layer learns p; otherwise the shape is the layer's p). With temperature 1
    each similarity map is then the log density of its component, up to the constant c_l:

        -sum_t u_lt |y_t - z_lt|^p = log P(y and component l) - c_l

    Where a MEX follows, its offsets become c_l plus a random part that differs between its units, for
    with equal offsets all units would learn the same.

    A batch normalization between the two is set to the identity, one before the convolution,
    if without parameters, to the mean and variance of what it normalizes.

    Args:
        model: a built model with pairs of a convolution and a 1x1 similarity, in the order of
            computation. It is changed in place.
        images: NumPy array of its inputs, [n, *model.input_shape[1:]].
        seed: of the draws and the fits.
        n_patches: how many patches are drawn for each layer, evenly over the images.
        batch_size: images per forward pass.
        whitening: "ica", "pca" or "zca".
        templates: "mixture" for all of the paper's section 5, or "keep" to stop after the whitening
            and leave the similarities and offsets as they are, which trains as well on the
            photographs of `benchmarks/simnets_training.py` and needs no temperature.
        temperature: divides weights and offsets: the maps are log densities over it. Sums over many
            dimensions make MEX a hard maximum, so that few templates learn; a temperature of the order
            of the dimension avoids it. A number, or "dimension" for an eighth of that.
        offset_spread: deviation of the random part of the offsets.
        max_iter: most steps of EM per layer.
        reg: smallest variance of a component along a whitened coordinate, where the variance of all
            patches is 1. Components of flat patches are so narrow that their weights would be
            hundreds of times those of the others.
        verbose: 1 shows a progress bar.

    Returns:
        A `Report`.

    Raises:
        ValueError: if the model has no such pair, an input has the wrong shape or is not finite, or
            the patches of a layer do not vary at all.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> images = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
        >>> report = ksn.pretraining.pretrain(model, images, n_patches=500, verbose=0)
        >>> maps = model.predict(images, verbose=0)  # log densities, up to the offsets
        >>> likelihoods = report.layers[0].log_likelihoods
        >>> maps.shape, likelihoods[-1] > likelihoods[0]
        ((50, 6, 6, 4), True)

    Reference:
        Deep SimNets, section 5.
    """
    images = _checked(model, images)
    n_patches = checks.integer("pretrain", "n_patches", n_patches, 2)
    checks.one_of("pretrain", "templates", templates, ("mixture", "keep"))
    checks.integer("pretrain", "batch_size", batch_size)
    if temperature != "dimension":
        checks.positive("pretrain", "temperature", temperature)
    rng = np.random.default_rng(seed)
    pairs = find_pairs(model)
    n_batches = -(-len(images) // batch_size)
    bar = keras.utils.Progbar(len(pairs) * (n_batches + 1), verbose=verbose, unit_name="batch")
    rows = []
    for pair in pairs:
        patches = _draw(model, pair.convolution, images, n_patches, batch_size, rng, bar)
        if pair.before is not None and not (pair.before.center or pair.before.scale):
            patches = _standardize(pair.before, patches)
        fitted = _whitening(pair, patches, whitening, rng)
        _set_convolution(pair, fitted)
        mixture = None
        if templates == "mixture":
            mixture = _mixture(pair, fitted.transform(patches), max_iter, reg, rng)
            _set_similarity(pair, mixture, temperature, offset_spread, rng)
        rows.append(_report(pair, patches, fitted, mixture))
        bar.add(1)
    return Report(rows)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A convolution, normalizations before and after it (or None), its similarity, a MEX after that."""

    before: keras.layers.Layer | None
    convolution: keras.layers.Layer
    normalization: keras.layers.Layer | None
    similarity: keras.layers.Layer
    mex: keras.layers.Layer | None


def find_pairs(model: keras.Model) -> list[Pair]:
    """The convolution -> 1x1 similarity pairs of a model, in the order of computation.

    Raises:
        ValueError: if there are none.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> pairs = ksn.pretraining.find_pairs(model)
        >>> pairs[0].convolution is convolution, pairs[0].similarity is similarity
        (True, True)
    """
    made_by = {id(layer.output): layer for layer in model.layers}
    pairs = []
    for similarity in model.layers:
        if not isinstance(similarity, _SIMILARITIES) or set(similarity.kernel_size) != {1}:
            continue
        source, normalization = _behind_normalization(similarity, made_by)
        if isinstance(source, _CONVOLUTIONS) and _is_affine(source):
            before = _behind_normalization(source, made_by)[1]
            followers = [a for a in model.layers if getattr(a, "input", None) is similarity.output]
            mex = next((a for a in followers if isinstance(a, layers.MEX)), None)
            pairs.append(Pair(before, source, normalization, similarity, mex))
    if not pairs:
        raise ValueError(
            f"pretrain: the `model` {model.name!r} has no convolution (with bias, without activation, "
            "in one group) followed by a 1x1 similarity. Use for example "
            "keras_structnets.zoo.build('simnet_2layer')."
        )
    return pairs


def _behind_normalization(layer, made_by):
    """What makes the input of `layer`, noise and normalization aside, and that normalization or None."""
    source, normalization = made_by.get(id(layer.input)), None
    while isinstance(source, (*_PASSED, keras.layers.BatchNormalization)):
        if isinstance(source, keras.layers.BatchNormalization):
            normalization = source
        source = made_by.get(id(source.input))
    return source, normalization


def _is_affine(convolution):
    linear = convolution.activation in (None, keras.activations.linear)
    return linear and convolution.use_bias and convolution.groups == 1


def _checked(model, images):
    images = np.asarray(images)
    expected = tuple(model.input_shape[1:])
    if images.ndim != len(expected) + 1 or images.shape[1:] != expected or not len(images):
        raise ValueError(
            f"pretrain: `images` must have shape [n, {', '.join(map(str, expected))}] with n of at "
            f"least 1, got {images.shape}. Use images of the size that the model was built for."
        )
    if not np.all(np.isfinite(images)):
        raise ValueError(
            "pretrain: `images` holds NaN or infinity. Remove or replace those images."
        )
    return images


def _draw(model, convolution, images, n_patches, batch_size, rng, bar):
    """Patches of the convolution's input, at random places inside the image: [n, prod(k) * c]."""
    inputs = keras.Model(model.inputs[0], convolution.input)  # a Sequential has no `input`
    per_image = rng.multinomial(n_patches, np.full(len(images), 1 / len(images)))
    found = []
    for start in range(0, len(images), batch_size):
        chosen = np.repeat(
            np.arange(batch_size), _padded(per_image[start : start + batch_size], batch_size)
        )
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        if missing:  # one batch size throughout: one compilation
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        maps = keras.ops.convert_to_numpy(inputs.predict_on_batch(batch))
        found.append(_patches_at_random(maps, chosen, convolution, rng))
        bar.add(1)
    return np.concatenate(found)


def _standardize(normalization, patches):
    """Set a normalization to the mean and variance of the patches that it made; those then [n, k * c]."""
    x = patches.reshape(-1, normalization.moving_mean.shape[0])
    mean, variance = x.mean(axis=0, dtype="float64"), x.var(axis=0, dtype="float64")
    variance = np.where(variance > 1e-12, variance, 1.0)  # a constant map stays as it is
    old_mean, old_variance = (
        keras.ops.convert_to_numpy(w).astype("float64")
        for w in (normalization.moving_mean, normalization.moving_variance)
    )
    scale = np.sqrt(old_variance + normalization.epsilon)
    normalization.moving_mean.assign(old_mean + mean * scale)
    new_variance = variance * scale**2
    normalization.moving_variance.assign(np.maximum(new_variance - normalization.epsilon, 0))
    return ((x - mean) / np.sqrt(variance)).reshape(patches.shape).astype(patches.dtype)


def _padded(counts, length):
    return np.concatenate([counts, np.zeros(length - len(counts), int)])


def _patches_at_random(maps, chosen, convolution, rng):
    """One patch of maps[i] for each i of `chosen`; a window larger than the map is padded with 0."""
    kernel, dilation = convolution.kernel_size, convolution.dilation_rate
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    lacking = [max(r - n, 0) for r, n in zip(reach, maps.shape[1:-1], strict=True)]
    if any(lacking):
        maps = np.pad(maps, [(0, 0), *((n // 2, n - n // 2) for n in lacking), (0, 0)])
    rank = len(kernel)
    index = [chosen.reshape(-1, *[1] * rank)]
    for axis, (k, d, r) in enumerate(zip(kernel, dilation, reach, strict=True)):
        corner = rng.integers(0, maps.shape[axis + 1] - r + 1, len(chosen))
        step = np.arange(k) * d
        index.append(
            corner.reshape(-1, *[1] * rank)
            + step.reshape(
                *[1] * axis,
                k,
                *[1] * (rank - axis - 1),
            )
        )
    return maps[tuple(index)].reshape(len(chosen), -1)


def _whitening(pair, patches, method, rng):
    """At most `filters` coordinates, fewer where the patches do not vary in so many directions."""
    try:
        n = min(patches.shape[1], pair.convolution.filters)
        return Whitening(method, n, random_state=_seed(rng)).fit(patches)
    except ValueError as error:
        raise ValueError(
            f"pretrain: the patches before {pair.convolution.name!r} can not be whitened: {error}"
        ) from error


def _mixture(pair, y, max_iter, reg, rng):
    """The mixture of whitened patches y [n, dimension], of the layer's shape unless that is learned."""
    similarity = pair.similarity
    return GeneralizedGaussianMixture(
        min(similarity.filters, max(len(y) // 2, 1)),
        shape="fit" if similarity.trainable_p else similarity.initial_p,
        max_iter=max_iter,
        reg=reg,
        random_state=_seed(rng),
    ).fit(y)


def _seed(rng):
    return int(rng.integers(2**31))


def _report(pair, patches, whitening, mixture):
    found = (
        ([], pair.similarity.initial_p, [])
        if mixture is None
        else (mixture.log_likelihoods_, mixture.shape_, mixture.empty_components_)
    )
    log_likelihoods, p, empty = found
    return LayerReport(
        pair.similarity.name,
        len(whitening.components_),
        effective_dimension(whitening.eigenvalues_, len(patches), whitening.floor),
        len(patches),
        [float(value) for value in log_likelihoods],
        float(p),
        [int(i) for i in empty],
        mixture,
        whitening,
    )


def _set_convolution(pair, whitening):
    """Filters and biases that whiten; those left over give 0."""
    convolution, n = pair.convolution, len(whitening.components_)
    kernel = np.zeros(convolution.kernel.shape, "float32")
    kernel[..., :n] = whitening.components_.T.reshape(*kernel.shape[:-1], n)
    bias = np.zeros(convolution.filters, "float32")
    bias[:n] = -whitening.components_ @ whitening.mean_
    convolution.kernel.assign(kernel)
    convolution.bias.assign(bias)
    if pair.normalization is not None:
        identity = pair.normalization
        identity.moving_mean.assign(np.zeros(convolution.filters))
        identity.moving_variance.assign(np.full(convolution.filters, 1 - identity.epsilon))
        if identity.center:
            identity.beta.assign(np.zeros(convolution.filters))
        if identity.scale:
            identity.gamma.assign(np.ones(convolution.filters))


def _set_similarity(pair, mixture, temperature, offset_spread, rng):
    """Templates, weights, p and offsets of the mixture; weights and c_l over the temperature.

    Templates without a component repeat one of the others, with half of its prior.
    """
    similarity = pair.similarity
    k, n = len(mixture.means_), similarity.filters
    chosen = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    share = np.bincount(chosen, minlength=k)[chosen]
    shape = similarity.templates.shape
    templates, weights = np.zeros(shape, "float32"), np.zeros(shape, "float32")
    d = mixture.means_.shape[1]
    if temperature == "dimension":
        temperature = max(d / 8, 1.0)
    templates[..., :d, :] = mixture.templates[:, chosen]
    weights[..., :d, :] = mixture.weights[:, chosen] / temperature
    similarity.templates.assign(templates)
    if similarity.use_similarity_weights:
        similarity.similarity_weights.assign(weights)
    if similarity.trainable_p:
        similarity.p.assign(mixture.shape_)
    if pair.mex is not None and pair.mex.offsets is not None:
        offsets = (mixture.offsets[chosen] - np.log(share)) / temperature
        spread = offset_spread * rng.standard_normal(pair.mex.offsets.shape)
        pair.mex.offsets.assign(offsets[:, None] + spread)
