"""A retraining between stores and domains, in its order, on what nights have left; no night imports it.

labelled_rows, leakage_inputs, training_inputs, model_card_inputs.
"""
