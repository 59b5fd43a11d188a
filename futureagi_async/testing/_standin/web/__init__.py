"""How a request becomes an answer: routing, keys, paging, error bodies, scripted faults."""
