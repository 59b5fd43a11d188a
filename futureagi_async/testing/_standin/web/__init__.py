"""How requests are answered: routing, keys, parameters, paging, error bodies, scripted faults."""
