"""A training run that is killed: `python -m tests.unit.killed FOLDER [KILL ...]`.

KILL "write:3" kills the process in the middle of the third file that it writes, "after:0.4" 0.4 s
after the training has begun, "data:1" when it reads its images. Each time another process goes on, and
the last one is not killed.
"""

import os
import pathlib
import signal
import sys
import threading

import keras

from keras_structnets import training, zoo
from keras_structnets.training import trainer

RECIPE = training.Recipe(
    "noisy",
    epochs=12,
    batch_size=256,
    learning_rate=0.01,
    schedule="cosine",
    augmentation=["crop"],
    pad=1,
    ema=0.9,
)


def register():
    """A network with every kind of state: dropout's random seed, moving statistics, an average."""

    @zoo.register("noisy", paper="none", summary="dropout", input_shape=(8, 8, 1))
    def noisy(x):
        x = keras.layers.Conv2D(8, 3, use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        return keras.layers.Dropout(0.2)(keras.layers.ReLU()(x))


def main(folder, *kills):
    """A run in `folder` that is killed and resumed for each of `kills`, and then ends."""
    register()
    for kill in (*kills, None):
        child = os.fork()  # nothing has been computed yet, and importing Keras again takes long
        if not child:
            if kill:
                arm(kill)
            path = pathlib.Path(folder, "recipe.toml")
            if path.exists() and not path.with_name(trainer.COMING).exists():
                training.resume(folder, verbose=0)
            else:
                training.train(RECIPE, folder, overwrite=True, verbose=0)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(kill, os.waitstatus_to_exitcode(status))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kill):
    """Arrange for the death."""
    how, _, number = kill.partition(":")
    if how == "data":
        trainer.images_of = lambda recipe: die()
    elif how == "after":
        begin = keras.Model.fit

        def fit(*args, **kwargs):
            timer = threading.Timer(float(number), die)
            timer.daemon = True
            timer.start()
            return begin(*args, **kwargs)

        keras.Model.fit = fit
    else:
        written, replace = [], os.replace

        def dying_replace(part, path):
            written.append(path)
            if len(written) == int(number):
                whole = pathlib.Path(part).read_bytes()
                pathlib.Path(part).write_bytes(whole[: len(whole) // 2])
                die()
            return replace(part, path)

        os.replace = dying_replace


if __name__ == "__main__":
    main(*sys.argv[1:])
