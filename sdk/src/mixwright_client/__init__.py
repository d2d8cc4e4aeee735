"""Client of a Mixwright server, for training jobs: weights by step, and what they are chosen by.

Importing it imports no torch; what computes with tensors does so when it is used.
"""

from mixwright_client.client import Client, ClientError, ProblemError, UnreachableError
from mixwright_client.courier import Pace
from mixwright_client.domain_loss import DomainLoss
from mixwright_client.ledger import Entry, Ledger, LedgerError
from mixwright_client.multipliers import SAMPLING_IS_FIXED, loss_multipliers
from mixwright_client.pull import WeightsFile, pull, write_weights
from mixwright_client.relay import relay
from mixwright_client.sample_weights import local_sample_weights, sample_weights
from mixwright_client.sampler import BatchPlan, MixtureBatchSampler
from mixwright_client.settings import Settings
from mixwright_client.training import Training

__all__ = [
    "SAMPLING_IS_FIXED",
    "BatchPlan",
    "Client",
    "ClientError",
    "DomainLoss",
    "Entry",
    "Ledger",
    "LedgerError",
    "MixtureBatchSampler",
    "Pace",
    "ProblemError",
    "Settings",
    "Training",
    "UnreachableError",
    "WeightsFile",
    "local_sample_weights",
    "loss_multipliers",
    "pull",
    "relay",
    "sample_weights",
    "write_weights",
]

__version__ = "0.1.0"
