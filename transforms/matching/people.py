"""Likeness of people: which records of rosters are of one person.

``normalised`` → ``keys`` → ``candidates`` → ``decide`` → ``clusters``. All of it is pure: frames in, frames out.
"""

from transforms.matching.blocks import KEYS, candidates, keys
from transforms.matching.cluster import clusters
from transforms.matching.decide import Decisions, decide
from transforms.matching.evidence import plain
from transforms.matching.frequencies import COUNTS, Frequencies, frequencies
from transforms.matching.kinds import KINDS
from transforms.matching.normal import PERSON, normalised
from transforms.matching.policy import REGISTER, ROSTER, Policy
from transforms.matching.possible import possible, possible_of_few
from transforms.matching.weights import REGISTER_WEIGHTS, WEIGHTS, Weights

__all__ = [
    "COUNTS",
    "KEYS",
    "KINDS",
    "PERSON",
    "REGISTER",
    "REGISTER_WEIGHTS",
    "ROSTER",
    "WEIGHTS",
    "Decisions",
    "Frequencies",
    "Policy",
    "Weights",
    "candidates",
    "clusters",
    "decide",
    "frequencies",
    "keys",
    "normalised",
    "plain",
    "possible",
    "possible_of_few",
]
