"""Generalized convolution from eq. 3-4 of the paper: a loop over positions and neurons."""

import itertools

import numpy as np


def generalized_conv(x, kernel, bias, contract, strides, padding, dilation):
    """[b, *spatial, m, *S] -> [b, *spatial', channels, *S[:-contract], *structure]."""
    rank = len(strides)
    window = kernel.shape[:rank]
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    before, sizes = [], []
    for n, r, s in zip(x.shape[1 : rank + 1], reach, strides, strict=True):
        size = int(np.ceil(n / s)) if padding == "same" else (n - r) // s + 1
        missing = max((size - 1) * s + r - n, 0) if padding == "same" else 0
        sizes.append(size)
        before.append(missing // 2)
    result = {}
    for b in range(x.shape[0]):
        for position in itertools.product(*map(range, sizes)):
            total = 0.0
            for offset in itertools.product(*map(range, window)):
                where = [
                    p * s - f + o * d
                    for p, s, f, o, d in zip(
                        position, strides, before, offset, dilation, strict=True
                    )
                ]
                if any(w < 0 or w >= n for w, n in zip(where, x.shape[1 : rank + 1], strict=True)):
                    continue  # zeros outside the image
                for channel in range(x.shape[rank + 1]):
                    total = total + neuron(
                        x[(b, *where, channel)], kernel[(*offset, channel)], contract
                    )
            result[(b, *position)] = total
    some = next(iter(result.values()))
    y = np.zeros((x.shape[0], *sizes, *some.shape))
    for where, value in result.items():
        y[where] = value
    kept = x.ndim - rank - 2 - contract
    y = np.moveaxis(y, rank + 1 + kept, rank + 1)  # channels in front of the kept axes
    if bias is not None:
        y = y + bias.reshape(bias.shape[0], *(1,) * kept, *bias.shape[1:])
    return y


def neuron(u, w, contract):
    """`V[kept, out] = sum U[kept, c, .., d] W[d, .., c, out]`: the nearest axes meet first."""
    kept, out = u.shape[: u.ndim - contract], w.shape[contract:]
    v = np.zeros((*kept, *out))
    for index in itertools.product(*map(range, u.shape[u.ndim - contract :])):
        u_part = u[(..., *index)]  # [*kept]
        w_part = w[index[::-1]]  # [*out]
        v += u_part.reshape(*kept, *(1,) * len(out)) * w_part
    return v


def structure(x, shape):
    """[b, *spatial, c] -> [b, *spatial, c / prod(shape), *shape], in the order of C arrays."""
    size = int(np.prod(shape))
    y = np.zeros((*x.shape[:-1], x.shape[-1] // size, *shape))
    for c in range(x.shape[-1]):
        y[(..., c // size, *np.unravel_index(c % size, shape))] = x[..., c]
    return y


def destructure(x, rank):
    """[b, *spatial, m, *S] -> [b, *spatial, m * prod(S)]."""
    sizes = x.shape[rank + 1 :]
    y = np.zeros((*x.shape[: rank + 1], int(np.prod(sizes))))
    for c in range(y.shape[-1]):
        y[..., c] = x[(..., *np.unravel_index(c, sizes))]
    return y


def margin_loss(labels, v, m_in=0.9, m_out=0.1, weight=0.5):
    """A loss for each row of the lengths `v` [b, n], given classes [b]."""
    losses = np.zeros(len(v))
    for i, label in enumerate(labels):
        for k, length in enumerate(v[i]):
            if k == label:
                losses[i] += max(0.0, m_in - length) ** 2
            else:
                losses[i] += weight * max(0.0, length - m_out) ** 2
    return losses


def structured_classifier(x, kernel):
    """Logits of [b, h, w, m, *S] by a kernel [1, 1, m, S[-1], n, S[-1]]."""
    tensors = np.tensordot(x.astype("float64"), kernel[0, 0], axes=((3, x.ndim - 1), (0, 1)))
    tensors = np.moveaxis(tensors.mean((1, 2)), -2, 1)  # [b, n, *S[:-1], S[-1]]
    return np.log((tensors.reshape(*tensors.shape[:2], -1) ** 2).sum(-1) + 1e-6)
