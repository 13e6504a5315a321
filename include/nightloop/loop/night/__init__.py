"""A night between stores and domains, in its order; nothing of a retraining stands here.

arrived, extraction, intake; received, rotation, readmission, cleaning; asof_inputs, refusals, feature_versions,
feature_builds; outcomes; drift_inputs.
"""
