"""A learner's progress as one HTML page: `facts` gathers what is known, `plots` draws, `page` writes."""
