"""A retraining between stores and domains, in its order, on what nights have left; no night imports it.

planning, labelled_rows, leakage_inputs, judging, work, outcome, model_card_inputs; reproduction.
"""
