"""Patches of the input of a convolution, drawn at random."""

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def draw_patches(model, convolution, images, n_patches, batch_size, rng, bar):
    """Patches of the convolution's input, at random places inside the image: [n, prod(k) * c]."""
    inputs = keras.Model(model.inputs[0], convolution.input)  # a Sequential has no `input`
    per_image = rng.multinomial(n_patches, np.full(len(images), 1 / len(images)))
    owners = np.repeat(np.arange(len(images)), per_image)
    found = []
    for start in range(0, len(images), batch_size):
        one_size = np.arange(start, start + batch_size) % len(images)  # one compilation
        maps = keras.ops.convert_to_numpy(inputs.predict_on_batch(images[one_size]))
        chosen = owners[(owners >= start) & (owners < start + batch_size)] - start
        found.append(_patches_at_random(maps, chosen, convolution, rng))
        bar.add(1)
    return np.concatenate(found)


def _patches_at_random(maps, chosen, convolution, rng):
    """One patch of maps[i] for each i of `chosen`; a window larger than the map is padded with 0."""
    kernel, dilation = convolution.kernel_size, convolution.dilation_rate
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    lacking = [max(r - n, 0) for r, n in zip(reach, maps.shape[1:-1], strict=True)]
    maps = np.pad(maps, [(0, 0), *((n // 2, n - n // 2) for n in lacking), (0, 0)])
    axes = tuple(range(1, maps.ndim - 1))
    windows = sliding_window_view(maps, reach, axes)  # [b, *positions, c, *reach]
    corners = [rng.integers(0, windows.shape[axis], len(chosen)) for axis in axes]
    found = windows[(chosen, *corners)][(..., *(slice(None, None, d) for d in dilation))]
    return np.moveaxis(found, 1, -1).reshape(len(chosen), -1)
