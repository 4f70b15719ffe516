"""Names for what signatures take and return; backends differ in the types behind the first three."""

import os
from collections.abc import Sequence
from typing import Any

Tensor = Any  # of the backend, a NumPy array, or a KerasTensor while a model is built
Scalar = Any  # a number or a scalar tensor
Identifier = Any  # what `keras.initializers.get` takes, or its like for regularizers and so on
Sizes = int | Sequence[int]  # one for all spatial axes, or one for each
Shape = tuple[Any, ...]  # of integers, batch axis first; None where a size is not known
Path = str | os.PathLike[str]
