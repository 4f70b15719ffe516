"""One training run: from a recipe to a folder with the model, its history, curves and results."""

import csv
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import time

import keras
import numpy as np

import keras_structnets
from keras_structnets import zoo
from keras_structnets.training.data import Augmented, load
from keras_structnets.training.extra import extra
from keras_structnets.training.saved import accuracy, load_model


def train(recipe, out=None, *, overwrite=False, verbose=1):
    """Train what `recipe` says, and write the run's folder.

    The folder `out` gets `<name>.keras`, `history.csv`, `curves.png`, `recipe.toml` and
    `results.json`, where `<name>` is the folder's own name. The accuracy is that of the last epoch
    on held-out images; no epoch is chosen by it. The saved model is loaded again and must predict
    the same.

    Args:
        recipe: a `Recipe`.
        out: the folder; None for `runs/<model>_<dataset>`.
        overwrite: whether an earlier run in the folder may be replaced.
        verbose: 1 shows Keras' progress bar, 2 one line per epoch, 0 nothing.

    Returns:
        What is in `results.json`, as a dict.

    Raises:
        ValueError: if the folder holds an earlier run, the data or the recipe do not fit the model,
            or the loss is not a number.
        ImportError: if the extra `train` is not installed.
        RuntimeError: if the saved model does not predict what the trained one does.

    Example:

    ```python
    results = train(Recipe("simnet_2layer", epochs=30), "runs/mine")
    ```
    """
    out = pathlib.Path(out or default_folder(recipe))
    extra("matplotlib.figure")  # missing libraries show before the training, not after it
    _refuse_earlier_run(out, overwrite)
    model, data = _model_and_data(recipe, verbose)
    start = time.perf_counter()
    if recipe.pretrain != "none":
        _pretrain(model, recipe, data, verbose)
    history = _fit(model, recipe, data, verbose)
    seconds = time.perf_counter() - start
    predictions = model.predict(data.x_val, batch_size=recipe.batch_size, verbose=0)
    results = {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "class_names": data.class_names,
        "images": {"training": len(data.y_train), "held_out": len(data.y_val)},
        "parameters": parameters_of(model),
        "runs": [
            {
                "seed": recipe.seed,
                "backend": keras.backend.backend(),
                "accuracy": accuracy(predictions, data.y_val),
                "epochs": recipe.epochs,
                "seconds": round(seconds, 1),
                **_circumstances(),
            }
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / f"{out.resolve().name}.keras")
    _write_history(out / "history.csv", history)
    _draw_curves(out / "curves.png", history, recipe)
    recipe.write(out / "recipe.toml", _header(out, results))
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _check_saved(out, data.x_val, predictions, recipe.batch_size)
    if verbose:
        print(f"test accuracy {results['runs'][0]['accuracy']:.2%} on {len(data.y_val)} held-out images")
        print(f"{out}: the saved model was loaded again and its predictions are unchanged")
    return results


def pretrain(recipe, out=None, *, overwrite=False, verbose=1):
    """Pre-train the recipe's model on the training images, without their labels.

    The folder `out` gets `<name>.keras`, the report as `pretraining.txt` and `pretraining.png`.

    Args:
        recipe: a `Recipe`; what it says of training has no part. With `pretrain` "none" all is
            pre-trained, as with "mixture".
        out: the folder; None for `runs/<model>_<dataset>_pretrained`.
        overwrite: whether an earlier run in the folder may be replaced.
        verbose: 1 shows a progress bar, 0 nothing.

    Returns:
        The `Report` of `keras_structnets.pretraining.pretrain`.

    Raises:
        ValueError: if the folder holds an earlier run, or the model has nothing to pre-train.
        ImportError: if the extra `train` is not installed.
    """
    folder = default_folder(recipe)
    out = pathlib.Path(out or folder.with_name(f"{folder.name}_pretrained"))
    extra("matplotlib.figure")
    _refuse_earlier_run(out, overwrite)
    model, data = _model_and_data(recipe, verbose)
    report = _pretrain(model, recipe, data, verbose)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / f"{out.resolve().name}.keras")
    (out / "pretraining.txt").write_text(f"{report}\n", encoding="utf-8")
    report.plot().savefig(out / "pretraining.png", dpi=120)
    return report


def default_folder(recipe):
    """`runs/<model>_<dataset>`."""
    return pathlib.Path("runs", f"{recipe.model}_{pathlib.Path(recipe.dataset).resolve().name}")


def parameters_of(model):
    """Number of trainable parameters."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


def _model_and_data(recipe, verbose):
    data = load(
        recipe.dataset,
        image_size=recipe.image_size,
        validation_fraction=recipe.validation_fraction,
        holdout_last_per_class=recipe.holdout_last_per_class,
    )
    keras.utils.set_random_seed(recipe.seed)
    model = zoo.build(
        recipe.model,
        input_shape=data.x_train.shape[1:],
        num_classes=len(data.class_names),
        **recipe.sizes,
    )
    if verbose:
        print(f"{recipe.model}: {parameters_of(model):,} parameters, on {keras.backend.backend()}")
        print(f"{recipe.dataset}: {data}")
    return model, data


def _pretrain(model, recipe, data, verbose):
    extra("sklearn")
    templates = "keep" if recipe.pretrain == "whitening" else "mixture"
    report = keras_structnets.pretraining.pretrain(
        model, data.x_train, seed=recipe.seed, templates=templates, verbose=verbose
    )
    if verbose:
        print(report)
    return report


def _refuse_earlier_run(out, overwrite):
    if out.exists() and not out.is_dir():
        raise ValueError(f"train: `out` {str(out)!r} is a file. Choose another folder with --out.")
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise ValueError(
            f"train: `out` {str(out)!r} holds an earlier run. Choose another folder with --out, or "
            "replace it with --overwrite."
        )


def _fit(model, recipe, data, verbose):
    """Compile and fit; the history by name of the measure."""
    steps = -(-len(data.x_train) // recipe.batch_size)
    model.compile(
        recipe.make_optimizer(steps), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    options = {
        "epochs": recipe.epochs,
        "validation_data": (data.x_val, data.y_val),
        "callbacks": [keras.callbacks.TerminateOnNaN()],
        "verbose": verbose,
    }
    if recipe.augmentation == "none":
        fitted = model.fit(data.x_train, data.y_train, batch_size=recipe.batch_size, **options)
    else:
        flip = recipe.augmentation == "crop_flip"
        batches = Augmented(
            data.x_train, data.y_train, recipe.batch_size, recipe.seed, recipe.pad, flip
        )
        fitted = model.fit(batches, **options)
    if not np.isfinite(fitted.history["loss"][-1]):
        raise ValueError(
            f"train: the loss is not finite in epoch {len(fitted.history['loss'])}. "
            f"Use a learning_rate below {recipe.learning_rate:g}."
        )
    return fitted.history


def _circumstances():
    backend = keras.backend.backend()
    return {
        "versions": {
            "python": platform.python_version(),
            "keras_structnets": keras_structnets.__version__,
            "keras": keras.version(),
            "numpy": np.__version__,
            backend: _version(backend),
        },
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": platform.machine()},
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
    }


def _version(package):
    for name in (package, f"{package}-cpu", f"{package}-macos", f"{package}-intel"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _commit():
    """The commit of a checkout that the package runs from, or None."""
    root = pathlib.Path(keras_structnets.__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _header(out, results):
    run = results["runs"][0]
    return (
        f"structnets train --recipe {out / 'recipe.toml'}\n"
        f"accuracy {run['accuracy']:.2%}, {run['seconds']:g} s on "
        f"{run['machine']['cores']} cores with {run['backend']}"
    )


def _write_history(path, history):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *history])
        for epoch, row in enumerate(zip(*history.values(), strict=True), start=1):
            writer.writerow([epoch, *map(float, row)])


def _draw_curves(path, history, recipe):
    figure = extra("matplotlib.figure").Figure(figsize=(9, 3.6), layout="constrained")
    extra("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)  # needs no screen
    epochs = range(1, len(history["loss"]) + 1)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, history[measure], label="training")
        axes.plot(epochs, history[f"val_{measure}"], label="held out")
        axes.set(xlabel="epoch", ylabel=measure)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{recipe.model} on {recipe.dataset}")
    figure.savefig(path, dpi=120)


def _check_saved(out, images, predictions, batch_size):
    """Load the saved model and compare: the same program on the same weights."""
    again = load_model(out).predict(images, batch_size=batch_size, verbose=0)
    difference = float(np.max(np.abs(again - predictions)))
    if not difference <= 1e-6:
        raise RuntimeError(
            f"train: {out / out.resolve().name}.keras predicts otherwise than the model that was "
            f"trained, by up to {difference:g}. Do not use it; a layer does not save what it holds."
        )
