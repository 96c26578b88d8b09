"""Tabular benchmarks: results of every architecture of a space, looked up instead of trained."""

from nas_plugin.benchmarks.benchmark import Benchmark, ValidationView, benchmarks
from nas_plugin.benchmarks.locate import data_folders, open_benchmark
from nas_plugin.benchmarks.nasbench1shot1 import NasBench1Shot1
from nas_plugin.benchmarks.nasbench101 import NasBench101
from nas_plugin.benchmarks.nasbench201 import NasBench201
from nas_plugin.benchmarks.table import Column, Table
from nas_plugin.benchmarks.user_table import UserTable

__all__ = [
    "Benchmark",
    "Column",
    "NasBench1Shot1",
    "NasBench101",
    "NasBench201",
    "Table",
    "UserTable",
    "ValidationView",
    "benchmarks",
    "data_folders",
    "open_benchmark",
]
