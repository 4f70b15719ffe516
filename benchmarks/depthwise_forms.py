"""Two equal forms of a depthwise convolution, and a step of diffusion against a coupled one.

    KERAS_BACKEND=jax python benchmarks/depthwise_forms.py

Times compiled training steps, forward and backward, in turn within one process, and writes the
fastest of each, in milliseconds, to `results/depthwise_forms_<backend>.json`: other work on the
machine disturbs the fastest least. `none` is the model without the layer in question: subtract it.
`keras_structnets/ops/fast_paths.py` states what follows.
"""

import json
import os
import pathlib
import time

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.ops import fast_paths

ROUNDS = 12
SETTINGS = [(32, 32), (128, 8)]  # channels, height and width
RESULTS = pathlib.Path(__file__).parent / "results"


class Form(keras.layers.Layer):
    """A 3x3 depthwise convolution in the given form."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(3, 3, input_shape[-1]), name="kernel")

    def call(self, x):
        x = keras.ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        return self.form(x, keras.ops.convert_to_tensor(self.kernel))


def layers_of(channels):
    return {
        "native": Form(fast_paths.native_depthwise),
        "shifted": Form(fast_paths.shifted_depthwise),
        "chosen": ksn.layers.StencilConv2D(),
        "fully coupled": keras.layers.Conv2D(channels, 3, padding="same", use_bias=False),
        "explicit diffusion": ksn.layers.ExplicitDiffusion2D(),
        "implicit diffusion": ksn.layers.ImplicitDiffusion2D(),
        "circulant diffusion": ksn.layers.CirculantDiffusion2D(),
        "linear mix": ksn.layers.LinearMixConv2D(),
        "none": keras.layers.Identity(),
    }


def model_of(layer, channels, size):
    """A 1x1 convolution first, so that the layer's input needs a gradient too."""
    x = keras.Input((size, size, channels))
    model = keras.Model(x, layer(keras.layers.Conv2D(channels, 1, use_bias=False)(x)))
    model.compile("sgd", "mse")
    return model


def fastest(models, x, y):
    """Milliseconds of the fastest training step of each model, the models taking turns."""
    times = {name: [] for name in models}
    for turn in range(-3, ROUNDS):  # the first turns compile and warm up
        for name, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(x, y)  # returns the loss as a number: the step has ended
            if turn >= 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(min(values), 2) for name, values in times.items()}


def main():
    rng = np.random.default_rng(0)
    report = {"backend": keras.backend.backend(), "batch": 32}
    report["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    for channels, size in SETTINGS:
        x = rng.normal(size=(32, size, size, channels)).astype("float32")
        models = {k: model_of(v, channels, size) for k, v in layers_of(channels).items()}
        report[f"{channels} channels, {size}x{size}"] = fastest(models, x, x)
    images, labels = rng.uniform(0, 255, (32, 32, 32, 3)), rng.integers(0, 10, 32)
    networks = {}
    for name in ("resnet_a", "mobilenet_a", "explicit_rd_a", "implicit_rd_a"):
        networks[name] = ksn.zoo.build(name)
        networks[name].compile("sgd", "sparse_categorical_crossentropy")
    report["networks"] = fastest(networks, images.astype("float32"), labels)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"depthwise_forms_{report['backend']}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
