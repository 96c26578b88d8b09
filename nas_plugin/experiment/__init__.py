"""Independent trials: NNI experiments whose tuner, journal and portal are nas_plugin's."""

from nas_plugin._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Journal": "nas_plugin.experiment.journal",
        "MetricError": "nas_plugin.experiment.metrics",
        "NasTuner": "nas_plugin.experiment.tuner",
        "fidelity": "nas_plugin.experiment.trial",
        "from_nni": "nas_plugin.experiment.space_format",
        "get_and_apply_next_architecture": "nas_plugin.experiment.apply",
        "next_architecture": "nas_plugin.experiment.training_script",
        "read_journal": "nas_plugin.experiment.journal",
        "report_final": "nas_plugin.experiment.trial",
        "report_intermediate": "nas_plugin.experiment.trial",
        "tensorboard_folder": "nas_plugin.experiment.trial",
        "to_nni": "nas_plugin.experiment.space_format",
    },
)
