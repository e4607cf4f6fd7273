"""HTTP as clients, engines and operators see it: the table of routes, what each answers, errors, access lines."""
