"""Safe reading, atomic writing, checksummed checkpoints."""

from nas_plugin.files.checkpoint import load_checkpoint, save_checkpoint
from nas_plugin.files.json_file import parse_json, read_json
from nas_plugin.files.npz_file import read_npz
from nas_plugin.files.read import read_bytes, read_text
from nas_plugin.files.rotation import LatestCheckpoint, find_latest, load_latest, save_rotating
from nas_plugin.files.write import append_line, atomic_open, write_atomic, write_json
from nas_plugin.files.yaml_file import read_yaml

__all__ = [
    "LatestCheckpoint",
    "append_line",
    "atomic_open",
    "find_latest",
    "load_checkpoint",
    "load_latest",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_npz",
    "read_text",
    "read_yaml",
    "save_checkpoint",
    "save_rotating",
    "write_atomic",
    "write_json",
]
