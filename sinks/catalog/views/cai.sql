-- What is Korea's index of each station and hour, and what explains it? The newest revisions.
FROM {cai}
