"""Accuracy of simnet_2layer by its first weights, and of ConvNets, after a few epochs.

    KERAS_BACKEND=tensorflow python -m benchmarks.simnets_training FOLDER [--epochs 5] [--seeds 0 1 2]
        [--rows built-in caffe relu naive random mixture log_density whitened]
    KERAS_BACKEND=tensorflow python -m benchmarks.simnets_training FOLDER --paper --images 6000

FOLDER holds one sub-folder of images per class; the last 500 of each class, by file name, are the
validation images. There is no augmentation. All rows but the first train by Adam in batches of 32; the rate
rises over 0.7 epochs and falls along a cosine. Its height was tuned in shorter runs for "caffe" and
"random". Each run is written to benchmarks/results/simnets_training_<backend>.json at once, and to the
plot and the table beside it. With --paper, the optimizer is that of the paper, SGD with Nesterov momentum and
weight decay in batches of 128, and the files are simnets_pretraining_<images>_<backend>.

- built-in: caffe_convnet trained as in the paper (section 6.3), with the values that come with Caffe.
- caffe: caffe_convnet with the settings of the other rows.
- relu: simnet_2layer with batch normalization and ReLU instead of similarity and MEX.
- naive: simnet_2layer with weights of 1, offsets of spread 0.1 and betas of 1, nothing normalized.
- random: simnet_2layer as `keras_structnets.zoo.build` gives it.
- mixture: the same, its filters and the order of its templates pre-trained.
- log_density: the same, its weights and offsets pre-trained too, as section 5 of the paper says.
- whitened: the same, its filters pre-trained and the rest random (`pretrain(templates="keep")`).
"""

import argparse
import dataclasses
import json
import time

import keras
import numpy as np
from matplotlib.figure import Figure

import keras_structnets as ksn
from benchmarks import timing

NAIVE = {"padding": "same", "normalize": False, "scale": None}
NAIVE |= {"beta": 1.0, "offset_stddev": 0.1, "pool_beta": 1.0}  # of the head
LOG_DENSITY = {"templates": "log_density"}
WITH_ADAM = {"temperature": "dimension", "offset_spread": 8.0, "reg": 0.5}  # of log_density
PAPER = {"optimizer": "nesterov", "learning_rate": 0.01, "l2": 1e-4, "batch_size": 128}
PAPER_ROWS = ("random", "whitened", "mixture", "log_density")
CONVOLUTIONS = {"convolution_1": 1e-4, "convolution_2": 0.01, "convolution_3": 0.01}
SPREADS = CONVOLUTIONS | {"dense": 0.1, "logits": 0.1}  # of the first weights in Caffe's example
ROWS = {  # name in the zoo, its options, arguments of `pretrain` or None, highest rate
    "built-in": ("caffe_convnet", {"include_preprocessing": False}, None, 1e-3),
    "caffe": ("caffe_convnet", {}, None, 1e-3),
    "relu": ("simnet_2layer with ReLU", {}, None, 3e-3),
    "naive": ("simnet_2layer", NAIVE, None, 3e-3),
    "random": ("simnet_2layer", {}, None, 2e-2),
    "mixture": ("simnet_2layer", {}, {"templates": "mixture"}, 2e-2),
    "log_density": ("simnet_2layer", {}, LOG_DENSITY, 2e-2),
    "whitened": ("simnet_2layer", {}, {"templates": "keep"}, 2e-2),
}


class CaffeSGD(keras.optimizers.SGD):
    """Momentum with weight decay in the gradient, and twice the rate for biases."""

    def update_step(self, gradient, variable, learning_rate):
        gradient = gradient + 0.004 * keras.ops.convert_to_tensor(variable)
        rate = 2 * learning_rate if len(variable.shape) == 1 else learning_rate
        super().update_step(gradient, variable, rate)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS))
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--images", type=int, help="train on so many images, drawn at random")
    options = parser.parse_args()
    data = ksn.training.load(options.folder, holdout_last_per_class=500)
    drawn = np.random.default_rng(0).permutation(len(data.x_train))[: options.images]
    data = dataclasses.replace(data, x_train=data.x_train[drawn], y_train=data.y_train[drawn])
    name = f"simnets_pretraining_{len(data.x_train)}" if options.paper else "simnets_training"
    path = timing.RESULTS / f"{name}_{keras.backend.backend()}.json"
    for seed in options.seeds:
        for row in options.rows or (PAPER_ROWS if options.paper else ROWS):
            result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            found = run(row, seed, data, options.epochs, options.paper)
            result.setdefault("runs", {})[f"{row}, seed {seed}"] = found
            timing.save(name, result)
            draw(result["runs"]).savefig(path.with_suffix(".png"), dpi=120)
            path.with_suffix(".md").write_text(table(result["runs"]), encoding="utf-8")


def run(row, seed, data, epochs, paper):
    """Train one row with one seed."""
    name, options, pretraining, rate = ROWS[row]
    if row == "log_density" and not paper:
        pretraining = pretraining | WITH_ADAM
    keras.utils.set_random_seed(seed)
    model = with_relu() if row == "relu" else ksn.zoo.build(name, **options)
    start = time.perf_counter()
    if pretraining:
        print(ksn.pretraining.pretrain(model, data.x_train, seed=seed, verbose=2, **pretraining))
    adam = {"learning_rate": rate, "schedule": "cosine", "warmup_epochs": 0.7, "batch_size": 32}
    recipe = PAPER if paper else adam
    batch = 100 if row == "built-in" else recipe["batch_size"]
    x_train, x_val = data.x_train, data.x_val
    steps = -(-len(x_train) // batch)
    if row == "built-in":
        mean = np.mean(x_train, axis=0, dtype="float32")
        x_train, x_val = x_train - mean, x_val - mean
        optimizer = as_built_in(model, rate, epochs * steps)
    else:
        recipe = ksn.training.Recipe("simnet_2layer", epochs=epochs, **recipe)
        rate, optimizer = recipe.learning_rate, recipe.make_optimizer(steps)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit = {"batch_size": batch, "epochs": epochs, "validation_data": (x_val, data.y_val)}
    history = model.fit(x_train, data.y_train, verbose=2, **fit).history
    return {
        "row": row,
        "rate": rate,
        "accuracy": [round(value, 4) for value in history["val_accuracy"]],
        "loss": [round(value, 4) for value in history["loss"]],
        "seconds": round(time.perf_counter() - start, 1),
    }


def with_relu():
    """simnet_2layer with ReLU instead of similarity and MEX."""
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for width, size in ((32, 5), (32, 1), (64, 5), (64, 1)):
        x = keras.layers.Conv2D(width, size)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
        if (width, size) == (32, 1):
            x = keras.layers.MaxPooling2D(3, 2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))


def as_built_in(model, rate, steps):
    """The optimizer of Caffe's example, which also draws the weights."""
    for name, spread in SPREADS.items():
        kernel = model.get_layer(name).kernel
        kernel.assign(keras.initializers.RandomNormal(stddev=spread)(kernel.shape))
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay
    return CaffeSGD(schedule([steps * 4 // 5], [rate, rate / 10]), momentum=0.9)


def table(runs):
    """Mean and range over the seeds of each row, as Markdown."""
    head = "| start | rate | accuracy after the last epoch | seeds | training loss | seconds |"
    rows, lines = {}, [head, "|---|---|---|---|---|---|"]
    for name, found in runs.items():
        rows.setdefault(name.rpartition(", seed")[0], []).append(found)
    for name, row in rows.items():
        last = [found["accuracy"][-1] for found in row]
        loss = np.mean([found["loss"][-1] for found in row])
        seconds = np.mean([found["seconds"] for found in row])
        spread = f"{np.mean(last):.1%} ({min(last):.1%} to {max(last):.1%})"
        cells = (name, f"{row[0]['rate']:g}", spread, len(row), f"{loss:.3f}", f"{seconds:.0f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def draw(runs):
    """Accuracy by epoch of all runs."""
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    for name, found in runs.items():
        row, accuracy = found["row"], found["accuracy"]
        label = row if name.endswith("seed 0") else None
        colour = f"C{list(ROWS).index(row)}"
        axes.plot(range(1, len(accuracy) + 1), accuracy, ".-", color=colour, label=label)
    axes.set(xlabel="epoch", ylabel="accuracy on validation images")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
