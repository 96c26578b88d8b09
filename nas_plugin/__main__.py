"""``python -m nas_plugin`` is the command line."""

import sys

from nas_plugin.signals import handle_signals

if __name__ == "__main__":
    handle_signals()

    from nas_plugin.cli import main

    sys.exit(main())
