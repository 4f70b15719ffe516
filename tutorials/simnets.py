# %% [markdown]
# # SimNets: start from what images look like
#
# A SimNet compares where a ConvNet multiplies. This tutorial takes its parts one by one, gives a network
# its first weights from images without labels, checks what the paper says of them, and trains it.
#
# Paper: N. Cohen, O. Sharir and A. Shashua, *Deep SimNets* (2016), section 5. Nothing is downloaded:
# the images are scikit-learn's handwritten digits. Set `DATASET` to a folder with one sub-folder of
# images per class to see the same with photographs.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[jax,train]"
import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_structnets as ksn

DATASET, EPOCHS, PATCHES = "digits", 5, 5000  # small: about a minute

data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## Similarity and MEX, by hand
#
# A similarity is minus a weighted distance from a template, and MEX is a maximum, a mean or a minimum,
# as its beta says:
#
# $$ s_l(y) = -\sum_t u_{lt}\,|y_t - z_{lt}|^p \qquad\qquad
# \mathrm{MEX}_\beta(c) = \frac1\beta \log \frac1n \sum_i e^{\beta c_i} $$

# %%
y = np.array([[1.0, 2.0, 0.0]], "float32")
templates = np.array([[1, 0], [0, 2], [0, 0]], "float32")  # one per column
weights = np.array([[1, 1], [1, 1], [1, 1]], "float32")
by_hand = [-(0 + 4 + 0), -(1 + 0 + 0)]
by_library = keras.ops.convert_to_numpy(ksn.ops.lp_similarity(y, templates, weights, p=2.0))
print("by hand", by_hand, "by the library", by_library)
assert np.allclose(by_library, by_hand)

betas = np.linspace(-6, 6, 60)
terms = np.array([0.0, 1.0, 3.0], "float32")
values = [float(ksn.ops.mex(terms, beta=float(beta))) for beta in betas]
assert terms.min() < min(values) <= max(values) < terms.max()
assert np.all(np.diff(values) > 0)

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(betas, values)
limits = {"minimum": terms.min(), "mean": terms.mean(), "maximum": terms.max()}
axes.hlines(list(limits.values()), betas[0], betas[-1], color="0.7", linestyle=":")
axes.secondary_yaxis("right").set_yticks(list(limits.values()), labels=list(limits))
axes.set(xlabel="beta", ylabel="MEX of 0, 1 and 3", title="MEX goes from minimum to maximum")
plt.show()

# %% [markdown]
# ## Whitening: the filters of the convolution
#
# Neighbouring pixels agree, so a distance between raw patches counts the same thing many times. The
# convolution before a similarity makes the coordinates uncorrelated with variance 1. Its filters come
# from patches: `"pca"`, `"zca"`, or as in the paper `"ica"`, whose coordinates are as independent as a
# linear map can make them.

# %%
rng = np.random.default_rng(0)
side, channels = 5, data.x_train.shape[-1]


def patches_of(images, count):
    """Patches at random places: [count, side * side * channels]."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (side, side), axis=(1, 2))
    windows = np.moveaxis(windows, 3, -1)  # [n, h, w, side, side, channels]
    at = [rng.integers(0, size, count) for size in windows.shape[:3]]
    return windows[tuple(at)].reshape(count, -1).astype("float32")


patches = patches_of(data.x_train, PATCHES)
fresh = patches_of(data.x_val, PATCHES)
whitenings = {
    name: ksn.pretraining.Whitening(name, n_components=16, random_state=0).fit(patches)
    for name in ("pca", "ica")
}
whitening = whitenings["ica"]
before, after = np.cov(fresh.T), np.cov(whitening.transform(fresh).T)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for axes, covariance, title in (
    (left, before, "covariance of patches"),
    (right, after, "after whitening"),
):
    bound = np.abs(covariance).max()
    image = axes.imshow(covariance, cmap="RdBu_r", vmin=-bound, vmax=bound)
    axes.set(title=title, xlabel="coordinate", ylabel="coordinate")
    figure.colorbar(image, ax=axes)
plt.show()

figure, panels = plt.subplots(2, 16, figsize=(10, 1.9), layout="constrained")
for row, (name, fitted) in zip(panels, whitenings.items(), strict=True):
    for axes, component in zip(row, fitted.components_, strict=True):
        shown = component.reshape(side, side, channels).mean(axis=-1)
        axes.imshow(shown, cmap="RdBu_r", vmin=-np.abs(shown).max(), vmax=np.abs(shown).max())
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
figure.suptitle("filters that whiten")
plt.show()

# %% [markdown]
# ## A mixture: templates, weights and p
#
# Take a mixture of Generalized Gaussians with one shape p. The log density of a whitened patch together
# with component l **is** a similarity, plus a constant:
#
# $$ \log P(y, l) = -\sum_t \alpha_{lt}^{-p}\,|y_t - \mu_{lt}|^p + c_l $$
#
# so the means become templates, the scales weights, and the constants offsets of the MEX that follows.
# The shape is fitted too: 2 is a Gaussian, 1 a Laplacian. Patches of photographs have heavy tails, p near 1
# or below; those of these digits are ink or paper and little between, which gives a p above 2.

# %%
shapes = {}
figure, panels = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
planted = np.random.default_rng(1)
samples = {
    "made, Laplacian": planted.laplace(size=(PATCHES, 4)),
    "made, Gaussian": planted.normal(size=(PATCHES, 4)),
    "whitened patches": whitening.transform(patches),
}
for axes, (name, sample) in zip(panels, samples.items(), strict=True):
    mixture = ksn.pretraining.GeneralizedGaussianMixture(1, random_state=0).fit(sample)
    shapes[name] = mixture.shape_
    marginal = ksn.pretraining.GeneralizedGaussianMixture(1, shape=mixture.shape_, random_state=0)
    marginal.fit(sample[:, :1])
    grid = np.linspace(-4, 4, 200)
    axes.hist(sample[:, 0], bins=60, range=(-4, 4), density=True, color="0.8")
    axes.plot(grid, np.exp(marginal.score_samples(grid[:, None])))
    axes.set(title=f"{name}: p = {mixture.shape_:.2f}", xlabel="first coordinate", ylabel="density")
plt.show()

# %% [markdown]
# ## A network that starts from images
#
# `pretrain` does both for every convolution and similarity of a model, front to back: the second layer's
# patches are drawn from the maps that the first one now makes.

# %%
SIZES = {"channels": (16, 32), "padding": "same", "input_shape": data.x_train.shape[1:]}


def build(seed):
    keras.utils.set_random_seed(seed)
    return ksn.zoo.build("simnet_2layer", num_classes=len(data.class_names), **SIZES)


model = build(seed=0)
report = ksn.pretraining.pretrain(model, data.x_train, seed=0, n_patches=PATCHES, verbose=0)
print(report)

# %%
report.plot()

# %% [markdown]
# The maps of the first similarity are the log densities of the components, up to the constants:

# %%
row = report.layers[0]
inner = keras.Model(
    model.input,
    [model.get_layer(f"{row.name}_normalization").output, model.get_layer(row.name).output],
)
coordinates, maps = (keras.ops.convert_to_numpy(v) for v in inner(data.x_val[:8]))
expected = row.mixture.log_joint(coordinates.reshape(-1, coordinates.shape[-1]))
found = maps.reshape(expected.shape) + row.mixture.offsets
difference = np.abs(found - expected).max() / np.abs(expected).max()
print(f"the maps differ from the log densities by {difference:.1e} of the largest")

# %% [markdown]
# ## Train it
#
# Three starts, the same number of epochs: random weights, filters that whiten before random templates, and
# everything from the mixture. Digits are easy, and all three learn them. What each start is worth on
# photographs stands in `benchmarks/results/simnets_training_tensorflow.md`.


# %%
def train(start):
    model = build(seed=1)
    if start != "random":
        templates = {"whitened": "keep", "mixture": "mixture"}[start]
        options = {"temperature": "dimension", "offset_spread": 8.0, "reg": 0.5}
        ksn.pretraining.pretrain(
            model,
            data.x_train,
            seed=1,
            n_patches=PATCHES,
            templates=templates,
            verbose=0,
            **options,
        )
    model.compile(
        keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        data.x_train,
        data.y_train,
        batch_size=32,
        epochs=EPOCHS,
        validation_data=(data.x_val, data.y_val),
        verbose=0,
    ).history
    return model, history


trained = {start: train(start) for start in ("random", "whitened", "mixture")}
figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
for start, (_, history) in trained.items():
    axes.plot(range(1, EPOCHS + 1), history["val_accuracy"], marker=".", label=start)
    print(f"{start}: {history['val_accuracy'][-1]:.1%}")
axes.set(xlabel="epoch", ylabel="accuracy on held-out images", ylim=(None, 1))
axes.xaxis.get_major_locator().set_params(integer=True)
axes.legend(title="start")
plt.show()

# %% [markdown]
# ## One thing to try
#
# How many filters and templates does a layer need? `Whitening(n_components="auto")` and
# `GeneralizedGaussianMixture("auto")` choose by themselves.

# %%
chosen = ksn.pretraining.Whitening("pca", "auto").fit(patches).n_components_
few = ksn.pretraining.GeneralizedGaussianMixture(
    "auto", shape=2.0, max_components=8, random_state=0
)
few.fit(whitening.transform(patches)[:2000])
print(
    f"{chosen} of {patches.shape[1]} directions stand out; {few.n_components_} components suffice"
)

# %% [markdown]
# ## What this tutorial claims, checked

# %%
assert np.abs(after - np.eye(len(after))).max() < 0.15
assert abs(shapes["made, Laplacian"] - 1) < 0.1
assert abs(shapes["made, Gaussian"] - 2) < 0.2
if DATASET == "digits":
    assert shapes["whitened patches"] > 2
assert difference < 1e-4
assert trained["whitened"][1]["val_accuracy"][-1] > 0.9
print("all claims hold on", keras.backend.backend())
