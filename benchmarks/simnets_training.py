"""What good random weights and pre-training are worth: one budget, several starts.

    KERAS_BACKEND=tensorflow python -m benchmarks.simnets_training FOLDER [--epochs 5] [--seeds 0 1 2]
        [--rows caffe plain random pretrained both]

FOLDER holds one sub-folder of images per class; the last 500 of each class, by file name, are held
out. Each row trains for the same number of epochs with Adam, batch 128, and the rate that falls from
`--rate` to 0 along a cosine. Results, the accuracy on held-out images after each epoch, go to
benchmarks/results/simnets_training_<backend>.json after each run, with the curves beside it as PNG:
a row that is there already is replaced, others are kept.
"""

import argparse
import json
import time

import keras
from matplotlib.figure import Figure

import keras_structnets as ksn
from benchmarks import timing

NAIVE = {"normalize": False, "scale": None, "offset_stddev": 0.1, "pool_beta": 1.0}
ROWS = {  # name of the zoo, its sizes, and arguments of `pretrain` or None
    "caffe": ("caffe_convnet", {}, None),
    "plain": ("simnet_2layer", NAIVE, None),
    "random": ("simnet_2layer", {}, None),
    "pretrained": (
        "simnet_2layer",
        NAIVE,
        {"temperature": "dimension", "offset_spread": 4.0, "max_iter": 30},
    ),
    "both": (
        "simnet_2layer",
        {},
        {"temperature": "dimension", "offset_spread": 4.0, "max_iter": 30},
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    options = parser.parse_args()
    data = ksn.training.load(options.folder, holdout_last_per_class=500)
    result = earlier() | {"training images": len(data.y_train), "held-out images": len(data.y_val)}
    for seed in options.seeds:
        for row in options.rows:
            found = run(row, seed, data, options.epochs, options.rate)
            result.setdefault("runs", {})[f"{row}, seed {seed}"] = found
            timing.save("simnets_training", result)
            draw(result["runs"])


def run(row, seed, data, epochs, rate):
    """Train one row with one seed."""
    name, sizes, pretraining = ROWS[row]
    keras.utils.set_random_seed(seed)
    model = ksn.zoo.build(name, **sizes)
    start = time.perf_counter()
    if pretraining:
        print(ksn.pretraining.pretrain(model, data.x_train, seed=seed, verbose=2, **pretraining))
    pretrained = time.perf_counter() - start
    steps = epochs * -(-len(data.y_train) // 128)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        data.x_train,
        data.y_train,
        batch_size=128,
        epochs=epochs,
        validation_data=(data.x_val, data.y_val),
        verbose=2,
    ).history
    return {
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


def draw(runs):
    """Curves of all runs."""
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    for name, found in runs.items():
        axes.plot(range(1, found["epochs"] + 1), found["accuracy"], marker=".", label=name)
    axes.set(xlabel="epoch", ylabel="accuracy on held-out images")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(timing.RESULTS / f"simnets_training_{keras.backend.backend()}.png", dpi=120)


def earlier():
    """What the file of results holds already."""
    path = timing.RESULTS / f"simnets_training_{keras.backend.backend()}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    main()
