"""Lower bounds on the objective of any policy, computed with knowledge that no policy has."""

from agents.bounds.clairvoyant_bound import clairvoyant
from agents.bounds.hindsight_bound import hindsight

__all__ = ["clairvoyant", "hindsight"]
