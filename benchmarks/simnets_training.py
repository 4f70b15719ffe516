"""What good random weights and pre-training are worth: one budget, several starts.

    KERAS_BACKEND=tensorflow python -m benchmarks.simnets_training FOLDER [--epochs 5] [--seeds 0 1 2]
        [--rows built-in caffe relu naive random mixture whitened] [--rate RATE]

FOLDER holds one sub-folder of images per class; the last 500 of each class, by file name, are held
out. All rows see every image `--epochs` times, without augmentation. All but the first do it in batches
of 32, with Adam; the rate rises from 0 over 0.7 epochs and falls to 0 along a cosine; its height was
found in shorter runs for the ConvNet and for the SimNet as it is built, and not tuned for "naive" and
"relu". Accuracy on held-out images after each epoch goes to
benchmarks/results/simnets_training_<backend>.json after each run, the curves beside it as PNG and the
table as Markdown: a run that is there already is replaced, others are kept.

- built-in: caffe_convnet with the values that come with Caffe, as the paper trains it (section 6.3),
  while it tunes those of the SimNet: the mean image subtracted from pixels of 0 to 255, weights drawn
  from narrow Gaussians, batches of 100, momentum of 0.9, weight decay of 0.004, twice the rate for
  biases, and a rate that falls to a tenth after four fifths of the training.
- caffe: caffe_convnet with the settings of the other rows, its rate tuned.
- relu: the convolutions and poolings of simnet_2layer with neurons of today: batch normalization and
  ReLU, for a similarity a 1x1 convolution with the same, for the MEX the mean over the positions and a
  dense layer. It tells what the structure allows in the budget, whatever the neurons.
- naive: simnet_2layer with weights of 1, offsets of spread 0.1, betas of 1, nothing normalized, and
  padded convolutions.
- random: simnet_2layer as `keras_structnets.zoo.build` gives it.
- mixture: the same, wholly pre-trained: filters, templates, weights and offsets.
- whitened: the same, its filters pre-trained and the rest random (`pretrain(templates="keep")`).
"""

import argparse
import json
import time

import keras
import numpy as np
from matplotlib.figure import Figure

import keras_structnets as ksn
from benchmarks import timing

NAIVE = {"padding": "same", "normalize": False, "scale": None}
NAIVE |= {"beta": 1.0, "offset_stddev": 0.1, "pool_beta": 1.0}  # of the head
WHITENED = {"templates": "keep"}
MIXTURE = {"temperature": "dimension", "offset_spread": 8.0, "reg": 0.5}
BUILT_IN = {"include_preprocessing": False}
SPREADS = {  # of the first weights in Caffe's example
    "convolution_1": 1e-4,
    "convolution_2": 0.01,
    "convolution_3": 0.01,
    "dense": 0.1,
    "logits": 0.1,
}
ROWS = {  # name in the zoo, its sizes, arguments of `pretrain` or None, highest rate
    "built-in": ("caffe_convnet", BUILT_IN, None, 1e-3),
    "caffe": ("caffe_convnet", {}, None, 1e-3),
    "relu": ("simnet_2layer with ReLU", {}, None, 3e-3),
    "naive": ("simnet_2layer", NAIVE, None, 3e-3),
    "random": ("simnet_2layer", {}, None, 2e-2),
    "mixture": ("simnet_2layer", {}, MIXTURE, 2e-2),
    "whitened": ("simnet_2layer", {}, WHITENED, 2e-2),
}
BATCH, WARMUP = 32, 0.7


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
    parser.add_argument("--rate", type=float, help="instead of each row's own; kept under its name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    options = parser.parse_args()
    data = ksn.training.load(options.folder, holdout_last_per_class=500)
    for seed in options.seeds:
        for row in options.rows:
            found = run(row, seed, data, options.epochs, options.rate)
            name = row if options.rate is None else f"{row} at rate {options.rate:g}"
            result = earlier()
            result |= {"training images": len(data.y_train), "held-out images": len(data.y_val)}
            result.setdefault("runs", {})[f"{name}, seed {seed}"] = found
            timing.save("simnets_training", result)
            draw(result["runs"])
            tabulate(result["runs"])


def run(row, seed, data, epochs, rate):
    """Train one row with one seed."""
    name, sizes, pretraining, own_rate = ROWS[row]
    rate = rate or own_rate
    keras.utils.set_random_seed(seed)
    model = with_relu() if row == "relu" else ksn.zoo.build(name, **sizes)
    start = time.perf_counter()
    if pretraining:
        print(ksn.pretraining.pretrain(model, data.x_train, seed=seed, verbose=2, **pretraining))
    pretrained = time.perf_counter() - start
    x_train, x_val, batch = data.x_train, data.x_val, BATCH
    if row == "built-in":
        batch = 100
        mean = np.mean(x_train, axis=0, dtype="float32")
        x_train, x_val = x_train - mean, x_val - mean
        optimizer = as_built_in(model, rate, epochs * -(-len(x_train) // batch))
    else:
        recipe = ksn.training.Recipe(
            "simnet_2layer",  # of this nothing but the optimizer is used
            epochs=epochs,
            learning_rate=rate,
            batch_size=batch,
            schedule="cosine",
            warmup_epochs=WARMUP,
        )
        optimizer = recipe.make_optimizer(-(-len(x_train) // batch))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x_train,
        data.y_train,
        batch_size=batch,
        epochs=epochs,
        validation_data=(x_val, data.y_val),
        verbose=2,
    ).history
    return {
        "row": row,
        "model": name,
        "sizes": sizes,
        "pretraining": pretraining,
        "epochs": epochs,
        "rate": rate,
        "accuracy": [round(value, 4) for value in history["val_accuracy"]],
        "loss": [round(value, 4) for value in history["loss"]],
        "seconds": round(time.perf_counter() - start, 1),
        "seconds of pretraining": round(pretrained, 1),
    }


def with_relu():
    """simnet_2layer with ReLU in place of similarity and MEX."""
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for width in (32, 64):
        for size in (5, 1):
            x = keras.layers.Conv2D(width, size)(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
        if width == 32:
            x = keras.layers.MaxPooling2D(3, 2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))


def as_built_in(model, rate, steps):
    """The optimizer of Caffe's example; its weights are drawn too."""
    for name, spread in SPREADS.items():
        kernel = model.get_layer(name).kernel
        kernel.assign(keras.initializers.RandomNormal(stddev=spread)(kernel.shape))
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps * 4 // 5], [rate, rate / 10]
    )
    return CaffeSGD(schedule, momentum=0.9)


def tabulate(runs):
    """Mean and range over the seeds, row by row."""
    lines = ["| start | rate | accuracy after the last epoch | seeds | training loss | seconds |"]
    lines.append("|---|---|---|---|---|---|")
    rows = {}
    for name, found in runs.items():
        rows.setdefault(name.rpartition(", seed")[0], []).append(found)
    for name, row in rows.items():
        last = [found["accuracy"][-1] for found in row]
        loss, seconds = (
            np.mean([f[k] if k == "seconds" else f[k][-1] for f in row])
            for k in ("loss", "seconds")
        )
        spread = f"{np.mean(last):.1%} ({min(last):.1%} to {max(last):.1%})"
        lines.append(
            f"| {name} | {row[0]['rate']:g} | {spread} | {len(row)} | {loss:.3f} | {seconds:.0f} |"
        )
    path = timing.RESULTS / f"simnets_training_{keras.backend.backend()}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(runs):
    """Curves of all runs."""
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    colours = {row: f"C{i}" for i, row in enumerate(ROWS)}
    for name, found in runs.items():
        if name.startswith(f"{found['row']}, "):  # not those that only compare rates
            epochs, colour = range(1, found["epochs"] + 1), colours[found["row"]]
            label = found["row"] if name.endswith("seed 0") else None
            axes.plot(epochs, found["accuracy"], marker=".", color=colour, label=label)
    axes.set(
        xlabel="epoch",
        ylabel="accuracy on held-out images",
        xticks=range(1, 1 + max(f["epochs"] for f in runs.values())),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(timing.RESULTS / f"simnets_training_{keras.backend.backend()}.png", dpi=120)


def earlier():
    """What the file of results holds already."""
    path = timing.RESULTS / f"simnets_training_{keras.backend.backend()}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    main()
