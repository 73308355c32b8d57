-- How did the means come about? Every revision.
FROM {rolling_history}
