"""The paper's tables again: what is asked for, where, what is missing, models, measures, report; `reproduce` runs them."""
