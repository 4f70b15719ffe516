"""Windows of an image, by padding, slicing and stacking."""

import itertools

from keras import ops


def window_output_size(size, window, stride, padding, dilation=1):
    """Output size along one axis, or None: as Keras counts it for 'valid', and else for 'same'."""
    if size is None:
        return None
    if padding != "valid":
        return -(-size // stride)
    return (size - (window - 1) * dilation - 1) // stride + 1


def same_padding(size, window, stride):
    """(before, after): the padding that Keras' 'same' adds along one axis; `size` may be a tensor."""
    total = (-(-size // stride) - 1) * stride + window - size if stride > 1 else window - 1
    total = max(total, 0) if isinstance(total, int) else ops.maximum(total, 0)
    return total // 2, total - total // 2


def padded(x, window, strides, value=None):
    """The image [b, *spatial, c] with the border that 'same' adds, of `value` or zeros."""
    axes = zip(ops.shape(x)[1:-1], window, strides, strict=True)
    border = [(0, 0), *(same_padding(*axis) for axis in axes), (0, 0)]
    return ops.pad(x, border, constant_values=value)


def windows(x, window, strides, padding):
    """Entries of each window: [b, *spatial, c] -> [prod(window), b, *spatial', c]."""
    return ops.stack(slices(x, window, strides, padding))


def patches(x, window, strides, padding, dilation=None):
    """Flattened windows, channels last: [b, *spatial, c] -> [b, *spatial', prod(window) * c]."""
    if all(k == 1 for k in window) and all(s == 1 for s in strides):
        return x
    return ops.concatenate(slices(x, window, strides, padding, dilation), axis=-1)


def interleaved(images, strides):
    """The image of which each of `images` has the pixels `strides` apart, the last axis first.

    Shapes: prod(strides) of [b, *n, c] -> [b, *(n * strides), c].
    """
    for axis in reversed(range(len(strides))):
        stride, shape = strides[axis], images[0].shape
        groups = (images[i : i + stride] for i in range(0, len(images), stride))
        size = (*shape[: axis + 1], shape[axis + 1] * stride, *shape[axis + 2 :])
        images = [ops.reshape(ops.stack(group, axis + 2), size) for group in groups]
    return images[0]


def slices(x, window, strides, padding, dilation=None):
    """The image as each entry of the window sees it, [b, *spatial', c]; 'same' pads with zeros.

    Slices rather than `extract_patches`: one NaN stays in its own entry, and slices export to every
    format.
    """
    dilation = dilation or (1,) * len(window)
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    if padding == "same":
        x = padded(x, reach, strides)
    starts = [range(0, r, d) for r, d in zip(reach, dilation, strict=True)]
    return [
        x[(slice(None), *map(_slice, offsets, reach, strides), slice(None))]
        for offsets in itertools.product(*starts)
    ]


def _slice(offset, reach, stride):
    """The entry `offset` of each window that lies in the image, whatever its size."""
    return slice(offset, offset - reach + 1 or None, stride)
