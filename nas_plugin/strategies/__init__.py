"""Search strategies: ask for a proposal, tell its outcome. Imports neither torch nor nni."""

from nas_plugin.strategies.bananas import Bananas
from nas_plugin.strategies.bohb import Bohb
from nas_plugin.strategies.front import crowding, dominates, fronts
from nas_plugin.strategies.gaussian_process import GaussianProcess
from nas_plugin.strategies.grid import GridSearch
from nas_plugin.strategies.hyperband import Hyperband
from nas_plugin.strategies.local_search import LocalSearch
from nas_plugin.strategies.nsga2 import Nsga2
from nas_plugin.strategies.ppo import Ppo
from nas_plugin.strategies.proposal import (
    Exhausted,
    InfeasibleError,
    Outcome,
    Proposal,
    Trial,
    Waiting,
    by_rank,
    by_value,
)
from nas_plugin.strategies.random import RandomSearch
from nas_plugin.strategies.regularized_evolution import RegularizedEvolution
from nas_plugin.strategies.reinforce import Reinforce
from nas_plugin.strategies.spos import SposEvolution
from nas_plugin.strategies.strategy import Strategy, make_strategy, strategies
from nas_plugin.strategies.successive_halving import SuccessiveHalving
from nas_plugin.strategies.tpe import Tpe
from nas_plugin.strategies.zero_cost import ZeroCost, best_by_score

__all__ = [
    "Bananas",
    "Bohb",
    "Exhausted",
    "GaussianProcess",
    "GridSearch",
    "Hyperband",
    "InfeasibleError",
    "LocalSearch",
    "Nsga2",
    "Outcome",
    "Ppo",
    "Proposal",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "SposEvolution",
    "Strategy",
    "SuccessiveHalving",
    "Tpe",
    "Trial",
    "Waiting",
    "ZeroCost",
    "best_by_score",
    "by_rank",
    "by_value",
    "crowding",
    "dominates",
    "fronts",
    "make_strategy",
    "strategies",
]
