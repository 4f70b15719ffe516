"""One training run: from a recipe to a folder with the model, its history, curves and results."""

import json
import pathlib
from typing import Any

import keras
import numpy as np

import keras_structnets
from keras_structnets import zoo
from keras_structnets.signatures import Path
from keras_structnets.training import cards, checkpoint, files
from keras_structnets.training.augment import Batches, centre_crop, one_hot
from keras_structnets.training.checkpoint import Checkpoint
from keras_structnets.training.circumstances import circumstances
from keras_structnets.training.data import images_of
from keras_structnets.training.extra import extra
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.saved import accuracy, load_model
from keras_structnets.zoo.registry import parameters_of


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    overwrite: bool = False,
    tensorboard: bool = False,
    verbose: int = 1,
) -> dict[str, Any]:
    """Train what `recipe` says, and write the run's folder.

    The folder `out` gets `<name>.keras`, `history.csv`, `curves.png`, `recipe.toml`, `card.md` and
    `results.json`, where `<name>` is the folder's own name. The accuracy is that of the last epoch
    on held-out images; no epoch is chosen by it. The saved model is loaded again and must predict
    the same.

    After each epoch the run's state is kept in the folder, so that `resume` goes on after a kill at
    any moment; every file is written whole or not at all. When the loss is not finite the run stops,
    and the folder keeps the model as it was after the last good epoch.

    Args:
        recipe: a `Recipe`.
        out: the folder; None for `runs/<model>_<dataset>`.
        overwrite: whether an earlier run in the folder may be replaced.
        tensorboard: whether to write logs for TensorBoard too, to `tensorboard/` in the folder.
        verbose: 1 shows Keras' progress bar, 2 one line per epoch, 0 nothing.

    Returns:
        What is in `results.json`, as a dict.

    Raises:
        ValueError: if the folder holds an earlier run, the data or the recipe do not fit the model,
            or the loss is not a number.
        ImportError: if the extra `train`, or with `tensorboard` the extra of that name, is not installed.
        OSError: if the disk is full or the folder cannot be written; nothing that was there is lost.
        RuntimeError: if the saved model does not predict what the trained one does.

    Example:
        >>> recipe = ksn.training.Recipe("convnet_1layer", epochs=1, batch_size=719)
        >>> results = ksn.training.train(recipe, "runs/mine", verbose=0)
        >>> results["images"], results["parameters"]
        ({'training': 1438, 'held_out': 359}, 3310)
    """
    out = pathlib.Path(out or default_folder(recipe))
    refuse_earlier_run(out, overwrite)
    return _run(recipe, out, False, tensorboard, verbose)


def resume(out: Path, *, tensorboard: bool = False, verbose: int = 1) -> dict[str, Any]:
    """Go on with the run in the folder `out`, which was stopped or killed.

    It ends with the weights that it would have had: on the same machine and backend, to the last bit.
    A run that has ended is left as it is.

    Args:
        out: the run's folder.
        tensorboard: see `train`.
        verbose: see `train`.

    Returns:
        What is in `results.json`, as a dict.

    Raises:
        ValueError: if the folder holds no run, or one of another backend.

    Example:
        >>> recipe = ksn.training.Recipe("convnet_1layer", epochs=1, batch_size=719)
        >>> results = ksn.training.train(recipe, "runs/mine", verbose=0)
        >>> ksn.training.resume("runs/mine") == results
        runs/mine: this run has ended; nothing is left to do
        True
    """
    out = pathlib.Path(out)
    if (out / "results.json").is_file():
        if verbose:
            print(f"{out}: this run has ended; nothing is left to do")
        return json.loads((out / "results.json").read_text(encoding="utf-8"))
    if not (out / "recipe.toml").is_file():
        raise ValueError(
            f"train: {str(out)!r} holds no run to go on with. Give the folder of one, or begin with "
            "structnets train NAME."
        )
    return _run(Recipe.read(out / "recipe.toml"), out, True, tensorboard, verbose)


def _run(recipe, out, goes_on, tensorboard, verbose):
    extra("matplotlib.figure")  # missing libraries show before the training, not after it
    logs = [_tensorboard(out)] if tensorboard else []
    model, data = _model_and_data(recipe, verbose)
    if not goes_on:
        _clear(files.make_folder(out))
        recipe.write(out / "recipe.toml", f"structnets train --resume {out}")
    state = _fit(model, recipe, data, out, logs, verbose)
    predictions = model.predict(data.x_val, batch_size=recipe.batch_size, verbose=0)
    results = {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "class_names": data.class_names,
        "images": {"training": len(data.y_train), "held_out": len(data.y_val)},
        "input_shape": list(model.input_shape[1:]),
        "sizes": recipe.sizes,
        "parameters": parameters_of(model),
        "flops": flops_of(model),
        "runs": [
            {
                "seed": recipe.seed,
                "backend": keras.backend.backend(),
                "accuracy": accuracy(predictions, data.y_val),
                "epochs": recipe.epochs,
                "seconds": round(state.seconds, 1),
                **circumstances(),
            }
        ],
    }
    path = out / f"{out.resolve().name}.keras"
    files.write_model(path, model)
    results["weights"] = {  # neither size nor checksum: Keras' archives carry the time
        "file": path.name,
        "dtype": "float32",
        "accuracy": results["runs"][0]["accuracy"],
    }
    _draw_curves(out / "curves.png", state.history, recipe)
    _check_saved(out, data.x_val, predictions, recipe.batch_size)
    recipe.write(out / "recipe.toml", header(out, results))
    files.write(out / "card.md", cards.card(out, results, recipe))
    files.write(out / "results.json", json.dumps(results, indent=2) + "\n")
    state.path.unlink(missing_ok=True)
    if verbose:
        run = results["runs"][0]
        print(f"test accuracy {run['accuracy']:.2%} on {len(data.y_val)} held-out images")
        print(f"{out}: the saved model was loaded again and its predictions are unchanged")
    return results


def pretrain(
    recipe: Recipe, out: Path | None = None, *, overwrite: bool = False, verbose: int = 1
) -> "keras_structnets.pretraining.Report":
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

    Example:
        >>> recipe = ksn.training.Recipe("simnet_1layer_l2", sizes={"templates": 4})
        >>> report = ksn.training.pretrain(recipe, "runs/started", verbose=0)
        >>> report.layers[0].dimension  # of the whitened patches: 5x5 pixels
        25
        >>> model = keras.saving.load_model("runs/started/started.keras")
    """
    folder = default_folder(recipe)
    out = pathlib.Path(out or folder.with_name(f"{folder.name}_pretrained"))
    extra("matplotlib.figure")
    refuse_earlier_run(out, overwrite)
    model, data = _model_and_data(recipe, verbose)
    report = _pretrain(model, recipe, data, verbose)
    files.make_folder(out)
    files.write_model(out / f"{out.resolve().name}.keras", model)
    files.write(out / "pretraining.txt", f"{report}\n")
    files.write_by(out / "pretraining.png", lambda file: report.plot().savefig(file, dpi=120))
    return report


def default_folder(recipe):
    """`runs/<model>_<dataset>`."""
    return pathlib.Path("runs", f"{recipe.model}_{pathlib.Path(recipe.dataset).resolve().name}")


def _model_and_data(recipe, verbose):
    data = images_of(recipe)
    keras.utils.set_random_seed(recipe.seed)
    model = zoo.build(
        recipe.model,
        input_shape=data.x_val.shape[1:],
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
    images = centre_crop(data.x_train, model.input_shape[1:3])
    report = keras_structnets.pretraining.pretrain(
        model, images, seed=recipe.seed, templates=templates, verbose=verbose
    )
    if verbose:
        print(report)
    return report


def refuse_earlier_run(out, overwrite):
    """A ValueError if `out` is a file, or holds a run that may not be replaced."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"train: `out` {str(out)!r} is a file. Choose another folder with --out.")
    if (
        not overwrite
        and out.is_dir()
        and any(not file.name.startswith(files.PART) for file in out.iterdir())
    ):
        unfinished = (out / "recipe.toml").exists() and not (out / "results.json").exists()
        go_on = f"Go on with it by --resume {out}, choose" if unfinished else "Choose"
        raise ValueError(
            f"train: `out` {str(out)!r} holds an earlier run. {go_on} another folder with --out, or "
            "replace it with --overwrite."
        )


def _clear(out):
    """Take away what an earlier run left; its results first, so that it counts as ended no more."""
    name = out.resolve().name
    written = ("results.json", checkpoint.NAME, "history.csv", "curves.png", "card.md")
    for file in (*written, f"{name}.keras"):
        (out / file).unlink(missing_ok=True)


def _fit(model, recipe, data, out, logs, verbose):
    """Compile and fit, from the checkpoint if there is one; the `Checkpoint` of the end."""
    n_classes = len(data.class_names)
    batches = Batches(data.x_train, data.y_train, n_classes, recipe)
    model.compile(
        recipe.make_optimizer(len(batches)),
        keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    state = Checkpoint(out, recipe.seed, batches)
    state.set_model(model)
    done = 0
    if state.path.is_file():
        done = state.restore()
        if verbose:
            print(f"{out}: {done} of {recipe.epochs} epochs are done")
    else:
        if recipe.pretrain != "none":
            _pretrain(model, recipe, data, verbose)
        state.save()
    average = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    if done == recipe.epochs:  # it was killed after the last epoch, which `fit` ends by this:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    else:
        fitted = model.fit(
            batches,
            epochs=recipe.epochs,
            initial_epoch=done,
            shuffle=False,  # `Batches` does
            validation_data=(data.x_val, one_hot(data.y_val, n_classes)),
            validation_batch_size=recipe.batch_size,
            callbacks=[keras.callbacks.TerminateOnNaN(), *average, state, *logs],
            verbose=verbose,
        )
        if not np.isfinite(fitted.history["loss"][-1]):
            _stop_at_last_good_epoch(model, recipe, state, out)
    if recipe.ema:  # on JAX each weight now shares its array with its average, and `predict`, which
        for weight in model.trainable_variables:  # gives arrays away, would lose both
            weight.assign(keras.ops.convert_to_numpy(weight).copy())
    return state


def _stop_at_last_good_epoch(model, recipe, state, out):
    done = state.restore()
    advice = f"Use a learning_rate below {recipe.learning_rate:g}."
    if done:
        path = out / f"{out.resolve().name}.keras"
        files.write_model(path, model)
        advice = f"{path} is the model after epoch {done}. {advice}"
    else:
        _clear(out)
        (out / "recipe.toml").unlink()
        if not any(out.iterdir()):
            out.rmdir()
    raise ValueError(f"train: the loss is not finite in epoch {done + 1}. {advice}")


def _tensorboard(out):
    for module in ("tensorflow", "tensorboard"):
        extra(module, "Run: pip install 'keras_structnets[tensorboard]'")
    return keras.callbacks.TensorBoard(out / "tensorboard")


def flops_of(model):
    """Operations for one image, or None for a model of layers that there is no rule for."""
    try:
        return zoo.flops(model).total
    except ValueError:
        return None


def header(out, results):
    """What a recipe opens with: its command, and what came of it."""
    lines = [f"structnets train {out / 'recipe.toml'}"]
    for run in results["runs"]:
        lines.append(
            f"seed {run['seed']}: accuracy {run['accuracy']:.2%}, {run['seconds']:g} s on "
            f"{run['machine']['cores']} cores with {run['backend']}"
        )
    return "\n".join(lines)


def _draw_curves(path, history, recipe):
    figure = extra("matplotlib.figure").Figure(figsize=(9, 3.6), layout="constrained")
    extra("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)  # needs no screen
    epochs = range(1, len(history) + 1)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[measure] for row in history], label="training")
        axes.plot(epochs, [row[f"val_{measure}"] for row in history], label="held out")
        axes.set(xlabel="epoch", ylabel=measure)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{recipe.model} on {cards.title(recipe.dataset)}")
    files.write_by(path, lambda file: figure.savefig(file, dpi=120))


def _check_saved(out, images, predictions, batch_size):
    """Load the saved model and compare: the same program on the same weights."""
    again = load_model(out).predict(images, batch_size=batch_size, verbose=0)
    difference = float(np.max(np.abs(again - predictions)))
    if not difference <= 1e-6:
        raise RuntimeError(
            f"train: {out / out.resolve().name}.keras predicts otherwise than the model that was "
            f"trained, by up to {difference:g}. Do not use it; a layer does not save what it holds."
        )
