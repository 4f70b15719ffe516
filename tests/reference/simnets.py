"""Deep SimNets in float64 NumPy, term by term. NaN is a missing value, and its term is left out."""

import itertools
import math

import numpy as np


def similarity(x, templates, similarity_weights=None, p=2.0):
    """-sum_i u_i |x_i - z_i|^p for each vector and template."""
    lead, n_out = x.shape[:-1], templates.shape[1]
    y = np.zeros((*lead, n_out))
    for at in np.ndindex(*lead):
        for j in range(n_out):
            u = 1.0 if similarity_weights is None else similarity_weights[:, j]
            y[(*at, j)] = -np.nansum(u * np.abs(x[at] - templates[:, j]) ** p)
    return y


def linear_similarity(x, templates, similarity_weights=None):
    """sum_i u_i x_i z_i for each vector and template."""
    y = np.zeros((*x.shape[:-1], templates.shape[1]))
    for at in np.ndindex(*x.shape[:-1]):
        for j in range(templates.shape[1]):
            u = 1.0 if similarity_weights is None else similarity_weights[:, j]
            y[(*at, j)] = np.nansum(u * x[at] * templates[:, j])
    return y


def on_patches(
    similarity, x, kernel_size, strides, padding, templates, similarity_weights=None, **order
):
    """A similarity of vectors, of each patch of an image padded with zeros."""
    windows = [window for _, window in _windows(x, kernel_size, strides, padding, 0.0)]
    shape = _output_spatial(x, kernel_size, strides, padding)
    flat = np.stack([w.reshape(x.shape[0], -1) for w in windows], axis=1)
    z = templates.reshape(-1, templates.shape[-1])
    u = None if similarity_weights is None else similarity_weights.reshape(z.shape)
    return similarity(flat, z, u, **order).reshape(x.shape[0], *shape, -1)


def mex_of(terms, beta):
    """(1/beta) log mean exp(beta c) of a 1-D array; its limits at 0 and at plus and minus infinity."""
    terms = [c for c in terms if not math.isnan(c)]
    if beta == 0:
        return math.fsum(terms) / len(terms)
    if math.isinf(beta):
        return max(terms) if beta > 0 else min(terms)
    top = max(beta * c for c in terms)
    excess = math.fsum(math.expm1(beta * c - top) for c in terms)  # accurate for the smallest beta
    return (top + math.log1p(excess / len(terms))) / beta


def mex(x, offsets=None, beta=1.0, units=1):
    """MEX of the last axis, with one set of offsets for each unit."""
    n_out = units if offsets is None else offsets.shape[1]
    y = np.zeros((*x.shape[:-1], n_out))
    for at in np.ndindex(*x.shape[:-1]):
        for j in range(n_out):
            terms = x[at] if offsets is None else x[at] + offsets[:, j]
            y[(*at, j)] = mex_of(terms, float(beta))
    return y


def mex_pool(x, pool_size, strides, padding, beta):
    """MEX of the entries of each window that lie inside the image."""
    shape = _output_spatial(x, pool_size, strides, padding)
    y = np.zeros((x.shape[0], *shape, x.shape[-1]))
    for at, window in _windows(x, pool_size, strides, padding, np.nan):
        for b, c in np.ndindex(x.shape[0], x.shape[-1]):
            y[(b, *at, c)] = mex_of(window[b, ..., c].ravel(), float(beta))
    return y


def mex_pool_with_offsets(
    x, offsets, pool_size, strides, padding, beta, shared_region=None, unshared_region=None
):
    """MEX of the entries inside the image plus the offsets [*regions, *pool_size, c] of its region."""
    shape = _output_spatial(x, pool_size, strides, padding)
    y = np.zeros((x.shape[0], *shape, x.shape[-1]))
    for at, window in _windows(x, pool_size, strides, padding, np.nan):
        region = [0] * len(at)
        if shared_region is not None:
            region = [q // size for q, size in zip(at, shared_region, strict=True)]
        if unshared_region is not None:
            region = [q % size for q, size in zip(at, unshared_region, strict=True)]
        for b, c in np.ndindex(x.shape[0], x.shape[-1]):
            terms = (window[b, ..., c] + offsets[(*region, ..., c)]).ravel()
            y[(b, *at, c)] = mex_of(terms, float(beta))
    return y


def global_mex_pool(x, beta):
    """MEX of all positions."""
    y = np.zeros((x.shape[0], x.shape[-1]))
    for b, c in np.ndindex(*y.shape):
        y[b, c] = mex_of(x[b, ..., c].ravel(), float(beta))
    return y


def _output_spatial(x, window, strides, padding):
    if padding == "same":
        return [-(-n // s) for n, s in zip(x.shape[1:-1], strides, strict=True)]
    return [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, strides, strict=True)]


def _windows(x, window, strides, padding, pad_value):
    """(position, [b, *window, c]) of each window."""
    spatial = _output_spatial(x, window, strides, padding)
    if padding == "same":
        pads = []
        for n, out, k, s in zip(x.shape[1:-1], spatial, window, strides, strict=True):
            total = max((out - 1) * s + k - n, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=pad_value)
    for at in itertools.product(*map(range, spatial)):
        where = tuple(slice(i * s, i * s + k) for i, s, k in zip(at, strides, window, strict=True))
        yield at, x[(slice(None), *where, slice(None))]
