"""Training: from a recipe to a folder with the model, its history, curves and results."""

import dataclasses
import json
import pathlib
from typing import Any

import keras
import numpy as np

from keras_structnets import zoo
from keras_structnets.signatures import Path
from keras_structnets.training import _io, checkpoint, finetune, report
from keras_structnets.training._io import require
from keras_structnets.training.augment import Batches, center_crop, one_hot
from keras_structnets.training.checkpoint import Checkpoint
from keras_structnets.training.datasets import images_of
from keras_structnets.training.distillation import SAMPLE, distilled, gives_probabilities
from keras_structnets.training.environment import environment
from keras_structnets.training.evaluate import accuracy
from keras_structnets.training.pretraining import build_model, pretrain_from
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.saved import load_model
from keras_structnets.zoo.registry import parameters_of

COMING = f"{_io.PART}next.toml"  # the recipe of a run that has not replaced an earlier one yet
WRITTEN = ("history.csv", "curves.png", "confusion.png", "card.md")


def train(
    recipe: Recipe,
    out: Path | None = None,
    *,
    overwrite: bool = False,
    tensorboard: bool = False,
    verbose: int = 1,
) -> dict[str, Any]:
    """Train a model as described by `recipe`, and write the folder of the run.

    The folder `out` gets `<name>.keras`, `history.csv`, `curves.png`, `confusion.png`, `recipe.toml`,
    `card.md` and `results.json`, where `<name>` is the folder's own name. The accuracy is that of the
    last epoch on the validation images, or with `select = "best_val_loss"` that of the epoch of the
    lowest validation loss. The saved model is loaded again and must predict the same.

    The state of the run is saved after each epoch, so `resume` continues a run that was killed at any
    moment. Files are written atomically. If the loss is not finite, the run stops, and the folder keeps
    the model of the last epoch with a finite loss.

    Args:
        recipe: a `Recipe`.
        out: the folder; None for `runs/<model>_<dataset>`.
        overwrite: whether an earlier run in the folder may be replaced.
        tensorboard: whether to write logs for TensorBoard too, to `tensorboard/` in the folder.
        verbose: 1 shows Keras' progress bar, 2 one line per epoch, 0 nothing.

    Returns:
        The content of `results.json`, as a dict.

    Raises:
        ValueError: if the folder holds an earlier run, the data or the recipe do not fit the model,
            or the loss is not finite.
        ImportError: if the extra `train`, or with `tensorboard` the extra of that name, is not installed.
        OSError: if the disk is full or the folder cannot be written; nothing that was there is lost.
        RuntimeError: if the predictions of the saved model differ from those of the trained one.

    Example:
        >>> recipe = ksn.training.Recipe("convnet_1layer", epochs=1, batch_size=719)
        >>> results = ksn.training.train(recipe, "runs/mine", verbose=0)
        >>> results["images"], results["parameters"]
        ({'training': 1438, 'validation': 359}, 3310)
    """
    out = pathlib.Path(out or report.default_folder(recipe))
    _io.refuse_earlier_run(out, overwrite)
    finetune.refuse_own_folder(recipe, out)
    recipe = finetune.fitted_to_weights(recipe)
    with _io.held(out):
        _io.write(out / COMING, recipe.text(f"structnets train --resume {out}"))
        try:
            return _run(recipe, out, False, tensorboard, verbose)
        finally:
            (out / COMING).unlink(missing_ok=True)  # only a kill leaves it


def resume(out: Path, *, tensorboard: bool = False, verbose: int = 1) -> dict[str, Any]:
    """Resume the run in the folder `out`, which was stopped or killed.

    On the same machine and backend, a resumed run is bit-identical to an uninterrupted one. A run that
    has ended is left as it is.

    Args:
        out: the run's folder.
        tensorboard: see `train`.
        verbose: see `train`.

    Returns:
        The content of `results.json`, as a dict.

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
    if (out / COMING).is_file():
        raise ValueError(
            f"train: a run that was to overwrite the one in {str(out)!r} was killed before it began. "
            "Start it again with --overwrite."
        )
    if (out / "results.json").is_file():
        results = _io.read_results(out)
        (out / checkpoint.NAME).unlink(
            missing_ok=True
        )  # a kill may have come before it was removed
        if verbose:
            print(f"{out}: this run has ended; nothing is left to do")
        return results
    if not (out / "recipe.toml").is_file():
        raise ValueError(
            f"train: {str(out)!r} holds no run to resume. Give the folder of one, or start with "
            "structnets train NAME."
        )
    with _io.held(out):
        return _run(Recipe.read(out / "recipe.toml"), out, True, tensorboard, verbose)


def _run(recipe, out, resumes, tensorboard, verbose):
    require("matplotlib.figure")  # missing libraries show before the training, not after it
    logs = [_tensorboard(out)] if tensorboard else []
    data = images_of(recipe)
    phases = _phases(recipe, data)
    model = phases[-1].model
    if verbose:
        count = f"{parameters_of(model):,} {'trained ' if recipe.freeze else ''}parameters"
        print(f"{recipe.model}: {count}, on {keras.backend.backend()}")
        print(f"{recipe.dataset}: {data}")
    if not resumes:
        _clear(out)
        (out / COMING).replace(out / "recipe.toml")
    for phase in phases:
        state = _fit(phase, recipe, data, out, logs, verbose)
    epoch = state.select()
    finetune.unfreeze(model, recipe)
    predictions = model.predict(data.x_val, batch_size=recipe.batch_size, verbose=0)
    results = _results(model, recipe, data, predictions, state.seconds)
    if recipe.select != "last":
        results["runs"][0]["selected_epoch"] = epoch
    report.draw_confusion(out / "confusion.png", predictions, data, recipe)
    _write(out, model, recipe, results, state.history)
    _check_saved(out, data.x_val, predictions, recipe.batch_size)
    _io.write(out / "results.json", json.dumps(results, indent=2) + "\n")
    state.path.unlink(missing_ok=True)
    if verbose:
        found, n = results["runs"][0]["accuracy"], len(data.y_val)
        print(f"validation accuracy {found:.2%} on {n} images")
        print(f"wrote {out}/: the saved model predicts the same as the trained one")
    return results


def _results(model, recipe, data, predictions, seconds):
    """What `results.json` says, without the name of the weights file."""
    run = {
        "seed": recipe.seed,
        "backend": keras.backend.backend(),
        "accuracy": accuracy(predictions, data.y_val),
        "epochs": recipe.epochs,
        "seconds": round(seconds, 1),
        **environment(),
    }
    return {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "class_names": data.class_names,
        "images": {"training": len(data.y_train), "validation": len(data.y_val)},
        "input_shape": list(model.input_shape[1:]),
        "sizes": recipe.sizes,
        "normalize": recipe.normalize,
        "parameters": parameters_of(model),
        "flops": flops_of(model),
        "runs": [run],
    }


def _write(out, model, recipe, results, history):
    """Write all files but `results.json`, which says that the run has ended."""
    path = _model_path(out)
    _io.write_model(path, model, results["class_names"])
    results["weights"] = {  # neither size nor checksum: Keras' archives carry the time
        "file": path.name,
        "dtype": "float32",
        "accuracy": results["runs"][0]["accuracy"],
    }
    report.draw_curves(out / "curves.png", history, recipe)
    recipe.write(out / "recipe.toml", report.recipe_header(out, results))
    _io.write(out / "card.md", report.record_card(out, results, recipe))


def _model_path(out):
    return out / f"{out.resolve().name}.keras"


@dataclasses.dataclass(frozen=True, eq=False)
class _Phase:
    """A part of the training in which all images have one size."""

    model: keras.Model
    fitted: keras.Model  # the same, or a distiller of it
    batches: Batches
    end: int  # the epoch after its last


def _phases(recipe, data):
    """The phase of small crops, if there is one, and the last phase, each with a compiled model."""
    ends = {recipe.crop_size or data.x_train.shape[1:-1]: recipe.epochs}
    if recipe.small_crop_size:
        ends = {recipe.small_crop_size: recipe.small_crop_epochs} | ends
    phases = []
    for size, end in ends.items():
        model = build_model(recipe, data, size)
        batches = Batches(data.x_train, data.y_train, len(data.class_names), recipe, size)
        phases.append(_Phase(model, _compiled(model, recipe, data, len(batches)), batches, end))
    first, last = ([w.shape for w in phases[i].model.weights] for i in (0, -1))
    if first != last:
        raise ValueError(
            f"train: weights of {recipe.model!r} depend on the image size, and `small_crop_size` needs "
            "the same weights for all sizes. Remove the key, or use a model that pools over the image."
        )
    return phases


def _compiled(model, recipe, data, steps_per_epoch):
    """What is fitted, the model or a distiller of it, with its loss and a built optimizer."""
    fitted = distilled(model, recipe, data) if recipe.teacher else model
    from_logits = bool(recipe.teacher) or (
        finetune.is_saved(recipe) and not gives_probabilities(model, data.x_val[:SAMPLE])
    )
    fitted.compile(
        recipe.make_optimizer(steps_per_epoch),
        keras.losses.CategoricalCrossentropy(from_logits, recipe.label_smoothing),
        metrics=["accuracy"],
    )
    fitted.optimizer.build(fitted.trainable_variables)
    return fitted


def _clear(out):
    """Take away what an earlier run left; its recipe first, so that nothing resumes it."""
    for file in ("recipe.toml", "results.json", checkpoint.NAME, *WRITTEN, _model_path(out).name):
        (out / file).unlink(missing_ok=True)


def _fit(phase, recipe, data, out, logs, verbose):
    """Fit one phase, from the checkpoint if there is one; the `Checkpoint` of its end."""
    model, state = phase.fitted, Checkpoint(out, recipe, phase.batches)
    state.set_model(model)
    done = 0
    if state.path.is_file():
        done = state.restore()
        if verbose:
            print(f"{out}: {done} of {recipe.epochs} epochs are done")
    else:
        if recipe.pretrain != "none":
            pretrain_from(phase.model, recipe, data, verbose)
        state.save()
    if done < phase.end:
        _fit_from(done, phase, recipe, data, state, logs, verbose)
    elif done == recipe.epochs:  # it was killed after the last epoch, which `fit` ends by this:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    if recipe.ema:  # on JAX each weight now shares its array with its average, and `predict`, which
        for weight in model.trainable_variables:  # gives arrays away, would lose both
            weight.assign(keras.ops.convert_to_numpy(weight).copy())
    return state


def _fit_from(done, phase, recipe, data, state, logs, verbose):
    """Run the epochs of a phase from `done`; a ValueError if the loss is not finite."""
    average = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    history = phase.fitted.fit(
        phase.batches,
        epochs=phase.end,
        initial_epoch=done,
        shuffle=False,  # `Batches` does
        validation_data=(
            center_crop(data.x_val, phase.batches.size),
            one_hot(data.y_val, len(data.class_names)),
        ),
        validation_batch_size=recipe.batch_size,
        # `state` comes before the average, and so sees the weights that are validated
        callbacks=[keras.callbacks.TerminateOnNaN(), state, *average, *logs],
        verbose=verbose,
    )
    if not np.isfinite(history.history["loss"][-1]):
        _stop_at_last_good_epoch(phase.model, recipe, state, state.path.parent)


def _stop_at_last_good_epoch(model, recipe, state, out):
    done = state.restore()
    advice = f"Use a learning_rate below {recipe.learning_rate:g}."
    if done:
        path = _model_path(out)
        _io.write_model(path, model)
        advice = f"{path} is the model after epoch {done}. {advice}"
    else:
        _clear(out)
    raise ValueError(f"train: the loss is not finite in epoch {done + 1}. {advice}")


def _tensorboard(out):
    for module in ("tensorflow", "tensorboard"):
        require(module, "Run: pip install 'keras_structnets[tensorboard]'")
    return keras.callbacks.TensorBoard(out / "tensorboard")


def flops_of(model):
    """Operations for one image, or None for a model of layers that there is no rule for."""
    try:
        return zoo.flops(model).total
    except ValueError:
        return None


def _check_saved(out, images, predictions, batch_size):
    """Load the saved model and compare: the same program on the same weights."""
    again = load_model(out).predict(images, batch_size=batch_size, verbose=0)
    difference = float(np.max(np.abs(again - predictions)))
    if not difference <= 1e-6:
        raise RuntimeError(
            f"train: {_model_path(out)} predicts otherwise than the model that was "
            f"trained, by up to {difference:g}. Do not use it; a layer does not save what it holds."
        )
