"""Lower bounds on what any policy can reach, from knowledge that no policy has."""

from agents.bounds.clairvoyant_bound import clairvoyant
from agents.bounds.hindsight_bound import hindsight

__all__ = ["clairvoyant", "hindsight"]
