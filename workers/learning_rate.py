"""Learning-rate schedules, as multiples of the peak over the steps of a training."""

import math

from workers.order import OptimizerOrder

_COSINE_END = 0.1


def multiplier(optimizer: OptimizerOrder, step: int, num_steps: int) -> float:
    """Return what the peak learning rate is multiplied by at `step`, counted from 0.

    All warm up linearly over `warmup` of the steps. Then `constant` stays; `wsd` (warm-up, stable,
    decay) stays and falls linearly to 0 over the last `decay` of the steps; `linear` falls to 0
    over all the rest; `cosine` falls to a tenth.
    """
    warm = math.ceil(optimizer.warmup * num_steps)
    if step < warm:
        return (step + 1) / warm
    if optimizer.schedule == "constant":
        return 1.0
    if optimizer.schedule == "wsd":
        fall = max(1, math.ceil(optimizer.decay * num_steps))
        return min(1.0, (num_steps - step) / fall) if optimizer.decay else 1.0
    share = (step - warm) / max(1, num_steps - warm)
    if optimizer.schedule == "linear":
        return 1.0 - share
    return _COSINE_END + (1 - _COSINE_END) * 0.5 * (1 + math.cos(math.pi * share))
