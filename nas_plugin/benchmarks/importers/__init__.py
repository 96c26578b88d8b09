"""Reading published and one's own result files into compact tables, running nothing in them."""

from nas_plugin.benchmarks.importers.detect import import_benchmark
from nas_plugin.benchmarks.importers.user_table import import_user_table

__all__ = ["import_benchmark", "import_user_table"]
