"""A tuner that makes a mistake in one of its callbacks."""

from nas_plugin.experiment import NasTuner


class BrokenTuner(NasTuner):
    """Raises where it is told to.

    Args:
        where: A method of the tuner, or ``construct``.
    """

    def __init__(self, where, **arguments):
        super().__init__(**arguments)
        if where == "construct":
            raise RuntimeError("a mistake in construct")

        def mistake(*_):
            raise RuntimeError(f"a mistake in {where}")

        setattr(self, where, mistake)
