"""Patches of the input of a convolution, drawn at random."""

import keras
import numpy as np


def draw_patches(model, convolution, images, n_patches, batch_size, rng, bar):
    """Patches of the convolution's input, at random places inside the image: [n, prod(k) * c]."""
    inputs = keras.Model(model.inputs[0], convolution.input)  # a Sequential has no `input`
    per_image = rng.multinomial(n_patches, np.full(len(images), 1 / len(images)))
    found = []
    for start in range(0, len(images), batch_size):
        chosen = np.repeat(
            np.arange(batch_size), _padded(per_image[start : start + batch_size], batch_size)
        )
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        if missing:  # one batch size throughout: one compilation
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        maps = keras.ops.convert_to_numpy(inputs.predict_on_batch(batch))
        found.append(_patches_at_random(maps, chosen, convolution, rng))
        bar.add(1)
    return np.concatenate(found)


def _padded(counts, length):
    return np.concatenate([counts, np.zeros(length - len(counts), int)])


def _patches_at_random(maps, chosen, convolution, rng):
    """One patch of maps[i] for each i of `chosen`; a window larger than the map is padded with 0."""
    kernel, dilation = convolution.kernel_size, convolution.dilation_rate
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    lacking = [max(r - n, 0) for r, n in zip(reach, maps.shape[1:-1], strict=True)]
    if any(lacking):
        maps = np.pad(maps, [(0, 0), *((n // 2, n - n // 2) for n in lacking), (0, 0)])
    rank = len(kernel)
    index = [chosen.reshape(-1, *[1] * rank)]
    for axis, (k, d, r) in enumerate(zip(kernel, dilation, reach, strict=True)):
        corner = rng.integers(0, maps.shape[axis + 1] - r + 1, len(chosen))
        step = np.arange(k) * d
        index.append(
            corner.reshape(-1, *[1] * rank)
            + step.reshape(
                *[1] * axis,
                k,
                *[1] * (rank - axis - 1),
            )
        )
    return maps[tuple(index)].reshape(len(chosen), -1)
