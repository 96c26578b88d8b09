"""From a proposal to its metrics, and the driver of a search. Imports torch only to train."""

from nas_plugin.evaluation.budget import Budget
from nas_plugin.evaluation.evaluator import Evaluator, InlineWorker, Workers
from nas_plugin.evaluation.log import SearchLog
from nas_plugin.evaluation.pool import ProcessPool
from nas_plugin.evaluation.search import SearchResult, search
from nas_plugin.evaluation.supernet import SupernetEvaluator
from nas_plugin.evaluation.table import TableEvaluator, table_score
from nas_plugin.evaluation.training import TrainingEvaluator

__all__ = [
    "Budget",
    "Evaluator",
    "InlineWorker",
    "ProcessPool",
    "SearchLog",
    "SearchResult",
    "SupernetEvaluator",
    "TableEvaluator",
    "TrainingEvaluator",
    "Workers",
    "search",
    "table_score",
]
