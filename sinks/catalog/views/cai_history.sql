-- How did each row of cai change as late readings came? Every revision.
FROM {cai_history}
