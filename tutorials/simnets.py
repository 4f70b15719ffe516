# %% [markdown]
# # SimNets: similarity, MEX and unsupervised pre-training
#
# A SimNet compares its input with templates where a ConvNet computes inner products. This tutorial explains
# the two layers of a SimNet, initializes a network from images without labels, checks the paper's statements
# about this initialization, and trains the network.
#
# Paper: N. Cohen, O. Sharir and A. Shashua, *Deep SimNets* (2016). The images are scikit-learn's handwritten
# digits, so nothing is downloaded. To use your own images, set `DATASET` to a folder with one sub-folder per
# class.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[jax,train]"
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import keras_structnets as ksn  # before Keras: it selects a backend that is installed
import keras
import matplotlib.pyplot as plt
import numpy as np

DATASET, EPOCHS, PATCHES = "digits", 5, 5000

data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## Similarity and MEX
#
# A similarity is minus the weighted distance between the input and a template. MEX is a smooth function
# between the minimum, the mean and the maximum of its inputs, and beta selects the place:
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
# ## A SimNet MLP is a kernel machine
#
# Similarity and then MEX with offsets $b$ give, with $\alpha_{rl} = e^{\beta b_{rl}}$ (section 3),
#
# $$ h_r(x) = \frac1\beta \log\Bigl(\frac1n \sum_l \alpha_{rl}\,K(x, z_l)\Bigr) \qquad
# K(x, z_l) = e^{-\beta \sum_i u_{li} |x_i - z_{li}|^p} $$
#
# so each output is the logarithm of a sum of kernels: Gaussian for $p = 2$, Laplacian for $p = 1$. Learned
# weights make the kernel itself learned. Two special cases are well known (footnotes 2 and 3). With linear
# similarity and an infinite beta the outputs are maxout units. With a beta of 1, MEX of sums of logarithms is
# the logarithm of an inner product.

# %%
drawn, beta = np.random.default_rng(0), 0.7
x, z, b = (drawn.normal(size=size).astype("float32") for size in ((5, 4), (4, 6), (6, 3)))
u = drawn.uniform(size=z.shape).astype("float32")
distances = np.abs(x[:, :, None] - z)  # [5, 4, 6]
in_logs = [drawn.uniform(0.1, 2, 6), drawn.uniform(0.1, 2, 6)]
logs = [np.log(part).astype("float32") for part in in_logs]

ops = ksn.ops
pairs = {}
for p, kernel_name in ((2.0, "Gaussian"), (1.0, "Laplacian")):
    kernel = np.exp(-beta * (u * distances**p).sum(1))
    by_kernel = np.log(kernel @ np.exp(beta * b) / len(b)) / beta
    pairs[f"{kernel_name} kernel"] = ops.mex(ops.lp_similarity(x, z, u, p=p), b, beta), by_kernel
maxout = (x @ z)[:, :, None] + b  # [5, 6, 3]
pairs["maxout"] = ops.mex(ops.linear_similarity(x, z), b, np.inf), maxout.max(axis=1)
inner = np.log(in_logs[0] @ in_logs[1]) - np.log(6)
pairs["inner product of logarithms"] = ops.mex(logs[0], logs[1][:, None], 1.0), inner

identities = {}
for name, (found, expected) in pairs.items():
    found = keras.ops.convert_to_numpy(found)
    identities[name] = np.abs(found - expected).max()
    example = f"{found.flat[0]:.5f} and {np.ravel(expected)[0]:.5f}"
    print(f"{name:28} {example}, differ by {identities[name]:.0e} at most")

# %% [markdown]
# The inputs of equal similarity to a template form the surface of an $l_p$ ball around it, which the weights
# stretch. The orange curves have weights of 1 and 4, so the second coordinate counts four times as much.

# %%
ticks = np.linspace(-1.5, 1.5, 121, dtype="float32")
plane = np.stack(np.meshgrid(ticks, ticks), axis=-1)  # [121, 121, 2]
template, uneven = np.zeros((2, 1), "float32"), np.array([[1.0], [4.0]], "float32")

figure, panels = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for axes, p in zip(panels, (0.5, 1.0, 2.0, 4.0), strict=True):
    for weights_of_ball, color in ((None, "C0"), (uneven, "C1")):
        surface = ksn.ops.lp_similarity(plane, template, weights_of_ball, p=p)
        surface = keras.ops.convert_to_numpy(surface)[..., 0]
        axes.contour(ticks, ticks, surface, levels=[-1.0], colors=color)
    axes.plot(0, 0, "k.")
    axes.set(title=f"p = {p:g}", aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
figure.suptitle("similarity -1: weights 1 and 1 (blue), 1 and 4 (orange)")
plt.show()

# %% [markdown]
# ## Whitening: the filters of the convolution
#
# Neighbouring pixels are correlated, so a distance between raw patches counts the same information many
# times. The convolution before a similarity makes the coordinates uncorrelated, with variance 1. Its filters
# are computed from patches by `"pca"`, `"zca"` or, as in the paper, `"ica"`. ICA finds the linear map whose
# coordinates are as independent as possible.

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
# Consider a mixture of Generalized Gaussians of the same shape p. The joint log density of a whitened patch y
# and a component l is a similarity plus a constant:
#
# $$ \log P(y, l) = -\sum_t \alpha_{lt}^{-p}\,|y_t - \mu_{lt}|^p + c_l $$
#
# So the means of the mixture become the templates, its scales give the weights, and the constants become the
# offsets of the MEX layer that follows. The shape p is estimated too: 2 is a Gaussian, 1 a Laplacian. Patches
# of photographs have heavy tails, with p near 1 or below. Pixels of these digits are mostly black or white,
# which gives a p above 2.

# %%
shapes = {}
figure, panels = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
planted = np.random.default_rng(1)
samples = {
    "Laplacian sample": planted.laplace(size=(PATCHES, 4)),
    "Gaussian sample": planted.normal(size=(PATCHES, 4)),
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
# ## Pre-train a network
#
# `pretrain` fits a whitening and a mixture for each convolution and similarity of a model, from the first
# layer to the last. With `templates="log_density"` it takes all of the mixture, as the paper does. The
# patches of the second layer come from the feature maps of the pre-trained first layer. Figure 1 of the
# paper shows the structure of these networks; ours is (d):
#
# ![Figure 1](../docs/pictures/simnets_figure1.png)

# %%
SIZES = {"channels": (16, 32), "padding": "same", "input_shape": data.x_train.shape[1:]}


def build(seed):
    keras.utils.set_random_seed(seed)
    return ksn.zoo.build("simnet_2layer", num_classes=len(data.class_names), **SIZES)


model = build(seed=0)
options = {"templates": "log_density", "n_patches": PATCHES, "verbose": 0}
report = ksn.pretraining.pretrain(model, data.x_train, seed=0, **options)
print(report)

# %%
report.plot()

# %% [markdown]
# The feature maps of the first similarity equal the log densities of the components, up to the constants:

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
# ## Train the network
#
# The next cell trains three networks for the same number of epochs: one from random weights, one from
# whitening filters and random templates, and one from the mixture. Digits are easy, and all three networks
# learn them. `benchmarks/results/simnets_training_tensorflow.md` compares the three initializations on
# photographs.


# %%
def train(start):
    model = build(seed=1)
    if start != "random":
        templates = {"whitened": "keep", "mixture": "log_density"}[start]
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
axes.set(xlabel="epoch", ylabel="validation accuracy", ylim=(None, 1))
axes.xaxis.get_major_locator().set_params(integer=True)
axes.legend(title="initialization")
plt.show()

# %% [markdown]
# These are the weights that the network learned after whitening: the filters of the first convolution, and
# the templates of the first similarity with their weights. Each column is a template. Coordinates whose
# weight is 0 stay white.

# %%
model = trained["whitened"][0]
filters = keras.ops.convert_to_numpy(model.get_layer("similarity_1_whitening").kernel).mean(axis=2)
similarity = model.get_layer("similarity_1")
z = keras.ops.convert_to_numpy(similarity.templates)[0, 0]
u = keras.ops.convert_to_numpy(similarity.similarity_weights)[0, 0]

figure = plt.figure(figsize=(10, 4.2), layout="constrained")
upper, lower = figure.subfigures(2, 1, height_ratios=(1, 3))
for axes, filter_ in zip(upper.subplots(1, 16), np.moveaxis(filters, -1, 0), strict=False):
    axes.imshow(filter_, cmap="RdBu_r", vmin=-np.abs(filter_).max(), vmax=np.abs(filter_).max())
    axes.set(xticks=[], yticks=[])
upper.suptitle("learned filters")
for axes, matrix, name in zip(
    lower.subplots(1, 2),
    (np.where(u > 0, z, np.nan), u),
    ("templates", "their weights"),
    strict=True,
):
    bound = np.nanmax(np.abs(matrix))
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-bound, vmax=bound)
    axes.set(title=name, xlabel="template", ylabel="coordinate")
    figure.colorbar(image, ax=axes)
plt.show()

# %% [markdown]
# ## Results of the paper and of the records
#
# The paper reports 85.5% for the two-layer SimNet on CIFAR-10, and 81.1% for the ConvNet of its Table 1,
# which has more than twice the parameters. The package has trained weights of both. The last row is the
# network above.

# %%
print(f"{'':34}{'parameters':>12}{'epochs':>8}{'accuracy':>10}")
for name in ("simnet_2layer", "caffe_convnet"):
    info = ksn.zoo.info(name)
    printed = info.printed_accuracy["cifar10"]
    epochs = 300 if name == "simnet_2layer" else "?"  # the paper does not say it for the ConvNet
    print(f"{name + ', paper, CIFAR-10':34}{info.printed[10]:>12}{epochs:>8}{printed:>9}%")
    for dataset, record in info.records.items():
        mean = np.mean([run["accuracy"] for run in record.runs])
        label = f"{name}, {dataset}"
        print(f"{label:34}{info.parameters:>12,}{record.runs[0]['epochs']:>8}{mean:>10.1%}")
best = trained["whitened"][1]["val_accuracy"][-1]
label = f"whitened start, {DATASET}"
size = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
print(f"{label:34}{size:>12,}{EPOCHS:>8}{best:>10.1%}")

# %% [markdown]
# ## Save the model, and load it on another backend
#
# A `.keras` file does not depend on the backend. Here a second Python process loads the model on another
# backend, if one is installed.

# %%
READ = """
import sys, keras_structnets, keras, numpy as np
model = keras.saving.load_model("model.keras", compile=False)
np.save("there.npy", model.predict(np.load("images.npy"), verbose=0))
"""
installed = [name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name)]
others = [name for name in installed if name != keras.backend.backend()]
there_difference = 0.0
if others:
    with tempfile.TemporaryDirectory() as folder:
        model.save(pathlib.Path(folder, "model.keras"))
        np.save(pathlib.Path(folder, "images.npy"), data.x_val[:50])
        environment = os.environ | {"KERAS_BACKEND": others[0]}
        subprocess.run([sys.executable, "-c", READ], cwd=folder, env=environment, check=True)
        there = np.load(pathlib.Path(folder, "there.npy"))
    there_difference = np.abs(model.predict(data.x_val[:50], verbose=0) - there).max()
    print(f"{keras.backend.backend()} and {others[0]} differ by {there_difference:.1e} at most")
else:
    print("no other backend is installed: this step is skipped")

# %% [markdown]
# ## Exercise
#
# How many filters and templates does a layer need? `Whitening(n_components="auto")` and
# `GeneralizedGaussianMixture("auto")` choose these numbers from the data. `pretrain(..., channels="auto")`
# returns a network with the chosen numbers in each layer; those of the given network are the upper bounds.

# %%
auto = {"channels": "auto", "templates": "log_density", "n_patches": 2000, "max_iter": 10}
fitted = ksn.pretraining.pretrain(build(seed=2), data.x_train, verbose=0, **auto)
for row in fitted.layers:
    of_most = fitted.model.get_layer(row.name).filters
    print(f"{row.name}: {row.dimension} filters and {of_most} templates")
sizes = [network.count_params() for network in (model, fitted.model)]
print(f"{sizes[0]:,} parameters become {sizes[1]:,}")

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
# ## Checks of this tutorial's claims

# %%
assert np.abs(after - np.eye(len(after))).max() < 0.15
assert abs(shapes["Laplacian sample"] - 1) < 0.1
assert abs(shapes["Gaussian sample"] - 2) < 0.2
if DATASET == "digits":
    assert shapes["whitened patches"] > 2
assert difference < 1e-4
assert max(identities.values()) < 1e-5
assert sizes[1] < sizes[0]
assert there_difference < 1e-4
assert u.min() >= 0
assert trained["whitened"][1]["val_accuracy"][-1] > 0.9
print("all claims hold on", keras.backend.backend())
