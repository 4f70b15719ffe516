"""Pre-training of SimNets without labels, layer by layer (Deep SimNets, section 5)."""

import keras
import numpy as np

from keras_structnets import checks
from keras_structnets.pretraining.mixture import GeneralizedGaussianMixture
from keras_structnets.pretraining.pairs import find_pairs
from keras_structnets.pretraining.patches import draw_patches
from keras_structnets.pretraining.report import LayerReport, Report
from keras_structnets.pretraining.templates import set_similarity
from keras_structnets.pretraining.whitening import Whitening, effective_dimension
from keras_structnets.pretraining.widths import with_widths


def pretrain(
    model: keras.Model,
    images: np.ndarray,
    *,
    seed: int = 0,
    n_patches: int = 30_000,
    batch_size: int = 500,
    whitening: str = "ica",
    templates: str = "mixture",
    channels: str = "keep",
    em_batch_size: int | None = None,
    temperature: float | str = 1.0,
    offset_spread: float = 1.0,
    max_iter: int = 30,
    reg: float = 1e-3,
    verbose: int = 1,
) -> Report:
    """Start every convolution -> similarity of `model` from what unlabelled images look like.

    Layer by layer, front to back: patches of the convolution's input are drawn at random and whitened;
    the whitening becomes the filters W and biases of the convolution. A mixture of Generalized
    Gaussians is fitted to the whitened patches. Its shape becomes p where the layer learns p; otherwise the
    layer's p is its shape.

    With templates="mixture", the means give the order of the templates: along each coordinate, the template
    of the component with the largest mean gets the largest of the initial values, and so on. The values,
    the weights and the offsets stay as they are initialized.

    The paper takes more from the mixture. With templates="log_density", the means are the templates as
    they are, `scale^-p` the weights, and each similarity map is the log density of its component, up to
    the constant c_l (with temperature 1):

        -sum_t u_lt |y_t - z_lt|^p = log P(y and component l) - c_l

    Where a MEX follows, its offsets become c_l plus a random part that differs between its units, for
    with equal offsets all units would learn the same. This is not the default: with the paper's optimizer,
    networks learn less from this start than from random weights. A probable cause is that components of
    patches differ more in their scales than in their means, which lie close to 0. Their maps then measure
    contrast, and a patch and its negative look alike to them.

    A batch normalization between the two is set to the identity, one before the convolution,
    if without parameters, to the mean and variance of what it normalizes.

    Args:
        model: a built model with pairs of a convolution and a 1x1 similarity, in the order of
            computation. It is changed in place, unless `channels` is "auto".
        images: NumPy array of its inputs, [n, *model.input_shape[1:]].
        seed: of the draws and the fits.
        n_patches: how many patches are drawn for each layer, evenly over the images.
        batch_size: images per forward pass.
        whitening: "ica", "pca" or "zca".
        templates: "mixture" for templates in the order of the mixture's means; "log_density" for the
            paper's section 5 to the letter; or "keep" to stop after the whitening.
        channels: "keep", or "auto" to choose the numbers of filters and templates, layer by layer: the
            effective dimension of the patches by Minka's criterion, and the number of components with
            the best integrated completed likelihood. The numbers in `model` are the largest that are
            tried. `model` stays as it is; the attribute `model` of the report is the new one.
        em_batch_size: patches per step of stochastic EM, for `n_patches` too large for steps on all of
            them; None for these. Not with channels="auto".
        temperature: of "log_density". Divides weights and offsets: the maps are log densities over it.
            Sums over many dimensions make MEX a hard maximum, so that few templates learn; a temperature
            of the order of the dimension avoids it. A number, or "dimension" for an eighth of that.
        offset_spread: of "log_density". Deviation of the random part of the offsets.
        max_iter: most steps of EM per layer.
        reg: smallest variance of a component along a whitened coordinate, where the variance of all
            patches is 1. Components of flat patches are so narrow that their weights would be
            hundreds of times those of the others.
        verbose: 1 shows a progress bar.

    Returns:
        A `Report`, with the pre-trained model.

    Raises:
        ValueError: if the model has no such pair, an input has the wrong shape or is not finite, or
            the patches of a layer do not vary at all.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> images = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
        >>> options = {"templates": "log_density", "n_patches": 500, "verbose": 0}
        >>> report = ksn.pretraining.pretrain(model, images, **options)
        >>> maps = model.predict(images, verbose=0)  # log densities, up to the offsets
        >>> likelihoods = report.layers[0].log_likelihoods
        >>> maps.shape, likelihoods[-1] > likelihoods[0]
        ((50, 6, 6, 4), True)

    Reference:
        Deep SimNets, section 5.
    """
    images = _checked(model, images)
    chooses = _checked_options(
        n_patches, batch_size, templates, channels, em_batch_size, temperature
    )
    options = {"max_iter": max_iter, "reg": reg, "batch_size": em_batch_size}
    rng = np.random.default_rng(seed)
    n_pairs, n_batches = len(find_pairs(model)), -(-len(images) // batch_size)
    bar = keras.utils.Progbar(n_pairs * (n_batches + 1), verbose=verbose, unit_name="batch")
    model = with_widths(model, {}) if chooses else model
    rows = []
    for i in range(n_pairs):
        pair = find_pairs(model)[i]
        patches = draw_patches(model, pair.convolution, images, n_patches, batch_size, rng, bar)
        patches = _standardized(pair.before, patches)
        fitted, mixture = _fitted(pair, patches, whitening, templates, rng, chooses, options)
        if chooses:
            model = with_widths(model, _widths(pair, fitted, mixture))
            pair = find_pairs(model)[i]
        _set_convolution(pair, fitted)
        set_similarity(pair, mixture, templates, temperature, offset_spread, rng)
        rows.append(_report(pair, patches, fitted, mixture))
        bar.add(1)
    return Report(rows, model)


def _checked_options(n_patches, batch_size, templates, channels, em_batch_size, temperature):
    """Whether the channels are chosen from the data."""
    checks.integer("pretrain", "n_patches", n_patches, 2)
    checks.integer("pretrain", "batch_size", batch_size)
    checks.one_of("pretrain", "templates", templates, ("mixture", "log_density", "keep"))
    checks.one_of("pretrain", "channels", channels, ("keep", "auto"))
    if em_batch_size is not None:
        checks.integer("pretrain", "em_batch_size", em_batch_size)
        if channels == "auto":
            raise ValueError(
                f"pretrain: `em_batch_size` {em_batch_size!r} is not for channels='auto'. Use None, or "
                "'keep'."
            )
    if temperature != "dimension":
        checks.positive("pretrain", "temperature", temperature)
    return channels == "auto"


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


def _standardized(normalization, patches):
    """The patches [n, k * c] after the normalization that made them is set to their mean and variance.

    One with parameters of its own stays as it is, and so do its patches.
    """
    if normalization is None or normalization.center or normalization.scale:
        return patches
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


def _fitted(pair, patches, whitening, templates, rng, chooses, options):
    """The whitening of the patches, and the mixture of the whitened ones or None."""
    fitted = _whitening(pair, patches, whitening, rng, chooses)
    if templates == "keep":
        return fitted, None
    return fitted, _mixture(pair, fitted.transform(patches), rng, chooses, options)


def _widths(pair, whitening, mixture):
    """Numbers of filters and templates by the layers' names."""
    found = {pair.convolution.name: len(whitening.components_)}
    return found if mixture is None else found | {pair.similarity.name: mixture.n_components_}


def _whitening(pair, patches, method, rng, chooses):
    """At most `filters` coordinates, fewer where the patches do not vary in so many directions.

    If it `chooses`, as many as the effective dimension.
    """
    try:
        n = min(patches.shape[1], pair.convolution.filters)
        if chooses:
            variances = Whitening("pca").fit(patches).eigenvalues_
            n = min(n, effective_dimension(variances, len(patches)))
        return Whitening(method, n, random_state=_seed(rng)).fit(patches)
    except ValueError as error:
        raise ValueError(
            f"pretrain: the patches before {pair.convolution.name!r} can not be whitened: {error}"
        ) from error


def _mixture(pair, y, rng, chooses, options):
    """The mixture of whitened patches y [n, dimension], of the layer's shape unless that is learned."""
    similarity = pair.similarity
    most = min(similarity.filters, max(len(y) // 2, 1))
    return GeneralizedGaussianMixture(
        "auto" if chooses else most,
        max_components=most,
        shape="fit" if similarity.trainable_p else similarity.initial_p,
        random_state=_seed(rng),
        **options,
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
