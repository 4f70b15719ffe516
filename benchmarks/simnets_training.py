"""What good random weights and pre-training are worth: one budget, several starts.

    KERAS_BACKEND=tensorflow python -m benchmarks.simnets_training FOLDER [--epochs 5] [--seeds 0 1 2]
        [--rows caffe naive random mixture whitened] [--rate RATE]

FOLDER holds one sub-folder of images per class; the last 500 of each class, by file name, are held
out. All rows see every image `--epochs` times in batches of 32, without augmentation, with Adam; the
rate rises from 0 over 0.7 epochs and falls to 0 along a cosine; its height was found in shorter runs
for the ConvNet and for the SimNet as it is built, and not tuned for the naive start. Accuracy on
held-out images after each epoch goes to benchmarks/results/simnets_training_<backend>.json after
each run, the curves beside it as PNG and the table as Markdown: a run that is there already is
replaced, others are kept.

- caffe: caffe_convnet.
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
ROWS = {  # name in the zoo, its sizes, arguments of `pretrain` or None, highest rate
    "caffe": ("caffe_convnet", {}, None, 1e-3),
    "naive": ("simnet_2layer", NAIVE, None, 3e-3),
    "random": ("simnet_2layer", {}, None, 2e-2),
    "mixture": ("simnet_2layer", {}, MIXTURE, 2e-2),
    "whitened": ("simnet_2layer", {}, WHITENED, 2e-2),
}
BATCH, WARMUP = 32, 0.7


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
    model = ksn.zoo.build(name, **sizes)
    start = time.perf_counter()
    if pretraining:
        print(ksn.pretraining.pretrain(model, data.x_train, seed=seed, verbose=2, **pretraining))
    pretrained = time.perf_counter() - start
    recipe = ksn.training.Recipe(
        name,
        epochs=epochs,
        learning_rate=rate,
        batch_size=BATCH,
        schedule="cosine",
        warmup_epochs=WARMUP,
    )
    optimizer = recipe.make_optimizer(-(-len(data.y_train) // BATCH))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        data.x_train,
        data.y_train,
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(data.x_val, data.y_val),
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
