"""Generative models on images: train, look inside, judge. See FAMILIES, DATASETS and load."""

from genmodels.config import UserError
from genmodels.data import DATASETS
from genmodels.families import FAMILIES
from genmodels.runs import Run
from genmodels.runs import find as load

__all__ = ["DATASETS", "FAMILIES", "Run", "UserError", "load"]
