-- How did the flags come about? Every revision, 1 where a suspicion was withdrawn.
FROM {flags_history}
