"""One version on one page, after Mitchell et al. 2019, "Model Cards for Model Reporting". Measures nothing."""
