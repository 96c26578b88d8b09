"""Safe reading, atomic writing, checksummed checkpoints."""

from nas_plugin.files.checkpoint import (
    load_checkpoint,
    load_latest,
    save_checkpoint,
    save_rotating,
)
from nas_plugin.files.read import parse_json, read_bytes, read_json, read_npz, read_text
from nas_plugin.files.write import append_line, atomic_open, write_atomic, write_json

__all__ = [
    "append_line",
    "atomic_open",
    "load_checkpoint",
    "load_latest",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_npz",
    "read_text",
    "save_checkpoint",
    "save_rotating",
    "write_atomic",
    "write_json",
]
