"""Array types, and the letters that docstrings use for their shapes.

n  runs            k  domains          m  metrics
q  query mixtures  c  linear constraints
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

LARGEST_NUMBER = 1e15
"""Of what is measured: no loss, score or cost comes near it, but a broken export does."""
