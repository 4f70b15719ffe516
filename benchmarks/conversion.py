"""A small ResNet on scikit-learn's digits, converted and distilled.

KERAS_BACKEND=torch python -m benchmarks.conversion

It writes benchmarks/results/conversion.json and conversion.md. The teacher is trained once; each
conversion starts from it, with and without images, and is trained for a fifth of its epochs, once on the
labels alone and once with the teacher too. The last row starts from random weights and is trained on the
labels for as many epochs as both together.
"""

import dataclasses
import json
import statistics

import keras
from keras import layers as kl

import keras_structnets as ksn

from . import timing

WIDTHS, EPOCHS, BATCH, SEEDS = (32, 64), 20, 64, (0,)
CONVERSIONS = ("linear_mix", "separable", "low_rank")
BUDGET = 0.25  # of low_rank


def residual_step(x):
    """`x + K relu(N(K x))`, with 3x3 convolutions."""
    y = x
    for i in range(2):
        y = kl.Conv2D(x.shape[-1], 3, padding="same", use_bias=False)(y)
        y = kl.BatchNormalization(momentum=0.9)(y)
        y = kl.ReLU()(y) if i == 0 else y
    return kl.Add()([x, y])


def resnet(widths=WIDTHS):
    """A residual network of plain Keras layers for 8x8 grey images; its outputs are logits."""
    inputs = keras.Input((8, 8, 1))
    x = kl.Conv2D(widths[0], 3, padding="same")(kl.Rescaling(1 / 128, -1)(inputs))
    for width in widths:
        if width != x.shape[-1]:
            x = kl.Conv2D(width, 3, 2, padding="same", use_bias=False)(x)
        for _ in range(2):
            x = residual_step(x)
    return keras.Model(inputs, kl.Dense(10)(kl.GlobalAveragePooling2D()(x)))


def loss():
    """Cross-entropy of logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def optimizer(data, epochs):
    """Adam with a cosine schedule."""
    steps = epochs * -(-len(data.x_train) // BATCH)
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps))


def fit(model, data, epochs):
    """Train, and return the accuracy on the validation images."""
    model.compile(optimizer(data, epochs), loss(), metrics=["accuracy"])
    model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0)
    return accuracy(model, data)


def distill(student, teacher, data, epochs):
    """Train with the teacher's outputs as targets too."""
    divergence = keras.losses.KLDivergence()  # by its name, Keras 3.15 takes that of the logits
    distiller = keras.distillation.Distiller(
        teacher, student, keras.distillation.LogitsDistillation(3.0, divergence)
    )
    return fit(distiller, data, epochs)


def accuracy(model, data):
    """On the validation images."""
    found = keras.ops.argmax(model.predict(data.x_val, verbose=0), axis=-1)
    return float((keras.ops.convert_to_numpy(found) == data.y_val).mean())


def rows_of(seed, data):
    """A row for the teacher, each conversion, and training alone."""
    keras.utils.set_random_seed(seed)
    teacher, n_more = resnet(), EPOCHS // 5
    yield row("teacher", teacher, None, None, fit(teacher, data, EPOCHS), None)
    for to in CONVERSIONS:
        for images in (None, data.x_train):
            teacher.trainable = True  # a distiller froze it, and a frozen layer is converted to one
            new, report = ksn.convert(teacher, to, images=images, budget=BUDGET)
            started, weights = accuracy(new, data), new.get_weights()
            trained = fit(new, data, n_more)
            new.set_weights(weights)
            distilled = distill(new, teacher, data, n_more)
            name = f"{to}, {'projected' if images is None else 'fitted'}"
            yield row(name, new, report, started, trained, distilled)
    alone, _ = ksn.convert(resnet())
    found = fit(alone, data, EPOCHS + n_more)
    yield row("linear_mix, from random weights", alone, None, None, found, None)


def row(name, model, report, started, trained, distilled):
    """What one row says of one seed."""
    layers = [dataclasses.asdict(layer) for layer in report.layers] if report else []
    return {
        "name": name,
        "parameters": model.count_params(),
        "flops": ksn.zoo.flops(model).total,
        "error": report.error if report else None,
        "layers": layers,
        "converted": started,
        "trained": trained,
        "distilled": distilled,
    }


def table(seeds):
    """Means over the seeds."""
    lines = [
        "| network | parameters | FLOPs | accuracy after conversion | after training | with the teacher |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for same in zip(*seeds, strict=True):
        cells = [same[0]["name"], f"{same[0]['parameters']:,}", f"{same[0]['flops']:,}"]
        for key in ("converted", "trained", "distilled"):
            found = [one[key] for one in same if one[key] is not None]
            cells.append(f"{statistics.fmean(found):.1%}" if found else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    """Train, convert and distill, and write both files."""
    data = ksn.training.load("digits")
    seeds = [list(rows_of(seed, data)) for seed in SEEDS]
    about = {"backend": keras.backend.backend(), "epochs": EPOCHS, "epochs_after": EPOCHS // 5}
    text = json.dumps(about | {"seeds": seeds}, indent=1)
    (timing.RESULTS / "conversion.json").write_text(text + "\n", encoding="utf-8")
    (timing.RESULTS / "conversion.md").write_text(table(seeds), encoding="utf-8")
    print(table(seeds))


if __name__ == "__main__":
    main()
