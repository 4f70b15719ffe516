"""Least squares in closed form, from sums over batches."""

from collections.abc import Callable, Iterable

import numpy as np

_SMALLEST = 1e-10  # eigenvalues below it, relative to the largest, count as zero


class LeastSquares:
    """`y_o = sum_s shared_s u_so + sum_q own_qo v_qo`, fitted to all rows that were added.

    Each output o has coefficients u [s, o] of regressors that all outputs share, and v [q, o] of its
    own. Only sums of products are kept, in float64. Directions that the data do not determine get a
    coefficient of zero.
    """

    def __init__(self) -> None:
        self.sums: list[np.ndarray] = []

    def add(self, shared: np.ndarray, own: np.ndarray, y: np.ndarray) -> None:
        """Add rows: shared [n, s], own [q, n, o], y [n, o]."""
        shared, own, y = (array.astype("float64") for array in (shared, own, y))
        by_output = np.moveaxis(own, 2, 0)  # [o, q, n]
        sums = [
            shared.T @ shared,  # [s, s]
            np.transpose(shared.T @ own, (2, 0, 1)),  # [o, q, s]
            by_output @ np.moveaxis(by_output, 1, 2),  # [o, q, q]
            shared.T @ y,  # [s, o]
            np.einsum("qno,no->oq", own, y),
        ]
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)] if self.sums else sums

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """The coefficients u [s, o] and v [q, o]: own ones first, by the Schur complement."""
        of_shared, crossed, of_own, y_shared, y_own = self.sums
        inverse = _inverse(of_shared)
        explained = crossed @ inverse  # [o, q, s]
        complement = of_own - explained @ np.moveaxis(crossed, 1, 2)
        rest = y_own - np.einsum("oqs,so->oq", explained, y_shared)
        v = np.einsum("oqp,op->qo", _inverse(complement), rest)
        return inverse @ (y_shared - np.einsum("oqs,qo->so", crossed, v)), v


class Fit:
    """Weights by least squares: `add` what reaches a layer, batch by batch, then ask for `weights`.

    `rows` makes arguments of `LeastSquares.add` of a batch, `corrected` makes weights of the solution.
    """

    def __init__(self, rows: Callable, corrected: Callable) -> None:
        self.rows, self.corrected, self.problem = rows, corrected, LeastSquares()

    def add(self, x: np.ndarray) -> None:
        """Add the inputs [b, ...] of the layer."""
        for shared, own, y in self.rows(x):
            self.problem.add(shared, own, y)

    def weights(self) -> Iterable[np.ndarray]:
        """The weights that fit all that was added."""
        return self.corrected(*self.problem.solve())


def _inverse(matrices):
    return np.linalg.pinv(matrices, rcond=_SMALLEST, hermitian=True)
