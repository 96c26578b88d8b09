"""``python -m tests.mutations``, as `make mutants` runs it."""

from __future__ import annotations

import sys

from tests.mutations.run import main

sys.exit(main())
