"""Stops: callbacks that end a search, or the training of a candidate, before it collapses."""

from nas_plugin.trainers.stops.eigenvalue import EigenvalueStop
from nas_plugin.trainers.stops.oles import OperationStop
from nas_plugin.trainers.stops.skips import RankingStop, SkipStop
from nas_plugin.trainers.stops.stop import Stop, stops

__all__ = ["EigenvalueStop", "OperationStop", "RankingStop", "SkipStop", "Stop", "stops"]
