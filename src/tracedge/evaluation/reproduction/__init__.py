"""What `tracedge.evaluation.reproduce` is made of: what is asked for, where, what is missing, models, measures, report."""
