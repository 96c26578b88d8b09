"""``python -m nas_plugin`` is the command line."""

import sys

from nas_plugin.cli import main

sys.exit(main())
