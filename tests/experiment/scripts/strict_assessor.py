"""An assessor that ends every trial at its first intermediate result."""

from nni.assessor import Assessor, AssessResult


class StrictAssessor(Assessor):
    def assess_trial(self, trial_job_id, trial_history):
        return AssessResult.Bad
