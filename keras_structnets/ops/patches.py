"""Windows of an image, by pad, slice and stack."""

import itertools

from keras import ops


def window_output_size(size, window, stride, padding, dilation=1):
    """Output size along one axis, or None: as Keras counts it for 'valid' and 'same'."""
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    return (size - (window - 1) * dilation - 1) // stride + 1


def same_padding(size, window, stride, dilation=1):
    """(before, after): the padding that Keras' 'same' adds along one axis."""
    total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def windows(x, window, strides, padding, pad_value=0.0):
    """Entries of each window: [b, *spatial, c] -> [prod(window), b, *spatial', c].

    Slices rather than `extract_patches`: one NaN stays in its own entry, and slices export to every
    format.
    """
    spatial = x.shape[1:-1]
    if padding == "same":
        pads = [same_padding(n, k, s) for n, k, s in zip(spatial, window, strides, strict=True)]
        if any(sum(pad) for pad in pads):
            x = ops.pad(x, [(0, 0), *pads, (0, 0)], constant_values=pad_value)
    sizes = [
        window_output_size(n, k, s, padding)
        for n, k, s in zip(spatial, window, strides, strict=True)
    ]
    return ops.stack(
        [
            x[(slice(None), *map(_slice, offsets, sizes, strides), slice(None))]
            for offsets in itertools.product(*map(range, window))
        ]
    )


def patches(x, window, strides, padding, pad_value=0.0):
    """Flattened windows, channels last: [b, *spatial, c] -> [b, *spatial', prod(window) * c]."""
    if all(k == 1 for k in window) and all(s == 1 for s in strides):
        return x
    entries = windows(x, window, strides, padding, pad_value)
    return ops.concatenate([entries[i] for i in range(entries.shape[0])], axis=-1)


def _slice(offset, size, stride):
    return slice(offset, offset + (size - 1) * stride + 1, stride)
