"""What a run leaves to be looked at: logs, progress, plots, drawings, a report."""

from nas_plugin.progress import Progress
from nas_plugin.reporting.architecture_svg import (
    cell_from_architecture,
    cell_from_probabilities,
    cell_prefixes,
    draw_architecture,
)
from nas_plugin.reporting.cell_svg import CellDrawing, Edge
from nas_plugin.reporting.graph_svg import draw_graph
from nas_plugin.reporting.html import write_report
from nas_plugin.reporting.jsonl import JsonlLog, read_jsonl
from nas_plugin.reporting.plots import plot_choices, plot_curves, plot_front, plot_regret
from nas_plugin.reporting.tensorboard import TensorBoardLog

__all__ = [
    "CellDrawing",
    "Edge",
    "JsonlLog",
    "Progress",
    "TensorBoardLog",
    "cell_from_architecture",
    "cell_from_probabilities",
    "cell_prefixes",
    "draw_architecture",
    "draw_graph",
    "plot_choices",
    "plot_curves",
    "plot_front",
    "plot_regret",
    "read_jsonl",
    "write_report",
]
