-- What was each light told, and why?
FROM {light_states}
