"""Safe reading, atomic writing, checksummed checkpoints."""

from nas_plugin.files.checkpoint import load_checkpoint, save_checkpoint
from nas_plugin.files.folder import check_folder, make_folder
from nas_plugin.files.image_file import read_image
from nas_plugin.files.json_file import parse_json, read_json
from nas_plugin.files.lock import Lock, folder_lock
from nas_plugin.files.npz_file import npz_names, read_npz
from nas_plugin.files.pickle_file import PickledArray, read_pickles
from nas_plugin.files.read import open_bounded, read_bytes, read_lines, read_text
from nas_plugin.files.rotation import LatestCheckpoint, find_latest, load_latest, save_rotating
from nas_plugin.files.tar_file import read_tar
from nas_plugin.files.write import append_line, atomic_open, write_atomic, write_json
from nas_plugin.files.yaml_file import Block, Lines, dump_yaml, parse_yaml, read_yaml
from nas_plugin.files.zip_file import open_zip, read_member

__all__ = [
    "Block",
    "LatestCheckpoint",
    "Lines",
    "Lock",
    "PickledArray",
    "append_line",
    "atomic_open",
    "check_folder",
    "dump_yaml",
    "find_latest",
    "folder_lock",
    "load_checkpoint",
    "load_latest",
    "make_folder",
    "npz_names",
    "open_bounded",
    "open_zip",
    "parse_json",
    "parse_yaml",
    "read_bytes",
    "read_image",
    "read_json",
    "read_lines",
    "read_member",
    "read_npz",
    "read_pickles",
    "read_tar",
    "read_text",
    "read_yaml",
    "save_checkpoint",
    "save_rotating",
    "write_atomic",
    "write_json",
]
