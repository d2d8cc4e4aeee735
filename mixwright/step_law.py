"""Learning rate and batch size from model and data size.

Source:
    Li et al., "Predictable Scale: Part I, Step Law", arXiv:2503.04715 [S: several summaries agree,
    the body was not read]: with AdamW and a final learning rate of 1e-5, over 3,700 models of 60M
    to 1B parameters and 2B to 100B tokens, the best learning rate is `1.79 N^-0.713 D^0.307` and
    the best batch `0.58 D^0.571` tokens.

Departures:
    * The learning rate is clipped to [1e-4, 2e-2]: for proxies the law leaves its range, and says
      .055 for 1M parameters and 1B tokens.
    * The batch is rounded to whole sequences, at least one.

A public replication found another exponent of the data, so a short sweep should overrule the law.
"""

from dataclasses import dataclass

from mixwright.errors import InvalidInputError

_LOWEST, _HIGHEST = 1e-4, 2e-2
_LEAST_PARAMETERS, _LEAST_TOKENS = 5e7, 2e9


@dataclass(frozen=True, slots=True)
class StepLaw:
    """What the law says.

    Attributes:
        learning_rate: to use, clipped.
        batch_tokens: the law's batch.
        sequences: the batch in whole sequences.
        law_learning_rate: before clipping.
        is_extrapolated: whether model or data are smaller than those the law was measured on.
    """

    learning_rate: float
    batch_tokens: float
    sequences: int
    law_learning_rate: float
    is_extrapolated: bool


def step_law(body_parameters: float, tokens: float, context: int) -> StepLaw:
    """Return learning rate and batch for a model.

    Args:
        body_parameters: N, without embedding and head.
        tokens: D, of the whole training.
        context: tokens a sequence.

    Raises:
        InvalidInputError: a size that is not positive.
    """
    if min(body_parameters, tokens, context) <= 0:
        raise InvalidInputError("parameters, tokens and context have to be positive")
    rate = 1.79 * body_parameters**-0.713 * tokens**0.307
    batch = 0.58 * tokens**0.571
    return StepLaw(
        learning_rate=min(max(rate, _LOWEST), _HIGHEST),
        batch_tokens=batch,
        sequences=max(1, round(batch / context)),
        law_learning_rate=rate,
        is_extrapolated=body_parameters < _LEAST_PARAMETERS or tokens < _LEAST_TOKENS,
    )
