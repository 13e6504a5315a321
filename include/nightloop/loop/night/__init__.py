"""A night between stores and domains, in its order; what only a retraining reads stands beside it.

arrived, extraction, intake; received, rotation, readmission, cleaning; asof_inputs, refusals, feature_versions,
feature_builds; outcomes; drift_inputs.
"""
