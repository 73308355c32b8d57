-- Which messages were refused, and why?
FROM {rejects}
